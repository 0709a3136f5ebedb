{#
    A mail that was removed has been sent all the same. Of a thread the first answer counts; a mail that several sellers
    have in their mailboxes is one, which its own id says.
#}
{%- set occasion = (
    "case when payload ->> 'kind' = 'Mail received' then 'thread ' || " ~ reference_of("thread")
    ~ " else 'mail ' || " ~ reference_of("internetMessageId") ~ " end"
) -%}

select
    tenant_id,
    'o365'::text as source,
    'o365__messages'::text as stream,
    record_id as source_id,
    seq,
    source_updated_at,
    landed_at,
    is_deleted,
    {{ person_by_email(email_of("address")) }} as person_ref,
    {{ account_by_domain(email_of("address")) }} as account_ref,
    {{ text_of("kind") }} as source_type,
    null::text as channel,
    {{ moment_of("at") }} as occurred_at,
    {{ occasion }} as occasion,
    false as is_bot,
    null::text as user_agent,
    jsonb_build_object(
        'domain', payload -> 'domain',
        'address', payload -> 'address',
        'part', payload -> 'part',
        'thread', payload -> 'thread'
    ) as properties,
    payload as source_data
from {{ source("raw", "o365__messages") }}
