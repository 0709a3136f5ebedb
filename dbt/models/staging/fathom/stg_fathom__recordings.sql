{# The recording itself, which belongs to a company and is nobody's doing. #}
select
    tenant_id,
    'fathom'::text as source,
    'fathom__meetings'::text as stream,
    record_id as source_id,
    seq,
    source_updated_at,
    landed_at,
    is_deleted,
    null::text as person_ref,
    {{ account_by_domain(email_of("address")) }} as account_ref,
    {{ text_of("kind") }} as source_type,
    null::text as channel,
    {{ moment_of("at") }} as occurred_at,
    null::text as occasion,
    false as is_bot,
    null::text as user_agent,
    jsonb_build_object('title', payload -> 'title', 'url', payload -> 'url') as properties,
    payload as source_data
from {{ source("raw", "fathom__meetings") }}
