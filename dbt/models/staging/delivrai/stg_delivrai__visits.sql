{# A visitor of whom no address is known is nobody to us. #}
select
    tenant_id,
    'delivrai'::text as source,
    'delivrai__visits'::text as stream,
    record_id as source_id,
    seq,
    source_updated_at,
    landed_at,
    is_deleted or {{ email_of("email") }} is null as is_deleted,
    {{ person_by_email(email_of("email")) }} as person_ref,
    {{ account_by_domain(email_of("email")) }} as account_ref,
    {{ text_of("kind") }} as source_type,
    null::text as channel,
    {{ moment_of("at") }} as occurred_at,
    null::text as occasion,
    false as is_bot,
    {{ text_of("user_agent") }} as user_agent,
    jsonb_build_object('address', payload -> 'email', 'event', payload -> 'event_type') as properties,
    payload as source_data
from {{ source("raw", "delivrai__visits") }}
