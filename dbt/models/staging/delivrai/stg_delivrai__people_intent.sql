{# Somebody of whom no address is known is nobody to us: it stays in raw, paid for, and is no activity. #}
select
    tenant_id,
    'delivrai'::text as source,
    'delivrai__people_intent'::text as stream,
    record_id as source_id,
    seq,
    source_updated_at,
    landed_at,
    is_deleted or {{ email_of("seen_email") }} is null as is_deleted,
    {{ person_by_email(email_of("seen_email")) }} as person_ref,
    {{ account_by_domain(email_of("seen_email")) }} as account_ref,
    {{ text_of("kind") }} as source_type,
    null::text as channel,
    {{ moment_of("at") }} as occurred_at,
    null::text as occasion,
    false as is_bot,
    null::text as user_agent,
    jsonb_build_object(
        'address', payload -> 'seen_email',
        'topic', payload -> 'topic',
        'score', payload -> 'score',
        'percentile', payload -> 'perc_score'
    ) as properties,
    payload as source_data
from {{ source("raw", "delivrai__people_intent") }}
