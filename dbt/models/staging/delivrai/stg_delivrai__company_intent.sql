{# Somebody at the company, whoever it is: an activity of the account alone. #}
select
    tenant_id,
    'delivrai'::text as source,
    'delivrai__company_intent'::text as stream,
    record_id as source_id,
    seq,
    source_updated_at,
    landed_at,
    is_deleted,
    null::text as person_ref,
    'domain:' || {{ domain_of("domain") }} as account_ref,
    {{ text_of("kind") }} as source_type,
    null::text as channel,
    {{ moment_of("at") }} as occurred_at,
    null::text as occasion,
    false as is_bot,
    null::text as user_agent,
    jsonb_build_object(
        'topic', payload -> 'topic',
        'people', payload -> 'people_count',
        'score', payload -> 'score',
        'percentile', payload -> 'perc_score'
    ) as properties,
    payload as source_data
from {{ source("raw", "delivrai__company_intent") }}
