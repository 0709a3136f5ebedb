{# A meeting that is called off, or that either side has declined, does not take place. #}
{%- set is_off = (
    "payload ->> 'isCancelled' = 'true' or payload ->> 'response' = 'declined' or payload ->> 'ourResponse' = 'declined'"
) -%}

select
    tenant_id,
    'o365'::text as source,
    'o365__events'::text as stream,
    record_id as source_id,
    seq,
    source_updated_at,
    landed_at,
    is_deleted or coalesce({{ is_off }}, false) as is_deleted,
    {{ person_by_email(email_of("address")) }} as person_ref,
    {{ account_by_domain(email_of("address")) }} as account_ref,
    {{ text_of("kind") }} as source_type,
    null::text as channel,
    {{ moment_of("at") }} as occurred_at,
    -- as Salesforce's events have it: nobody is in two meetings at once
    'meeting ' || extract(epoch from {{ moment_of("at") }})::bigint as occasion,
    false as is_bot,
    null::text as user_agent,
    jsonb_build_object(
        'domain', payload -> 'domain',
        'address', payload -> 'address',
        'response', payload -> 'response',
        'ical_uid', payload -> 'iCalUId',
        'ends', payload -> 'ends'
    ) as properties,
    payload as source_data
from {{ source("raw", "o365__events") }}
