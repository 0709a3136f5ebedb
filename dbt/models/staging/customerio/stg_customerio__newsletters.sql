select
    tenant_id,
    'customerio'::text as source,
    'customerio__newsletters'::text as stream,
    record_id as source_id,
    seq,
    source_updated_at,
    landed_at,
    is_deleted,
    {{ text_of("name") }} as name,
    {{ text_of("type") }} as newsletter_type,
    payload as source_data
from {{ source("raw", "customerio__newsletters") }}
