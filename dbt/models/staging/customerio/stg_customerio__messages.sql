select
    tenant_id,
    'customerio'::text as source,
    'customerio__messages'::text as stream,
    record_id as source_id,
    seq,
    source_updated_at,
    landed_at,
    is_deleted,
    {{ reference_of("cio_id") }} as person_ref,
    null::text as account_ref,
    {{ text_of("type") }} as source_type,
    null::text as channel,
    {{ moment_of("occurred_at") }} as occurred_at,
    null::text as occasion,
    coalesce(payload ->> 'is_human' = 'false', false) as is_bot,
    null::text as user_agent,
    jsonb_build_object(
        'message', payload -> 'id',
        'subject', payload -> 'subject',
        'campaign', payload -> 'campaign_id',
        'newsletter', payload -> 'newsletter_id'
    ) as properties,
    payload as source_data
from {{ source("raw", "customerio__messages") }}
