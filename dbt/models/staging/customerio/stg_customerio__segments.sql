select
    tenant_id,
    'customerio'::text as source,
    'customerio__segments'::text as stream,
    record_id as source_id,
    seq,
    source_updated_at,
    landed_at,
    is_deleted,
    {{ text_of("name") }} as name,
    {{ text_of("type") }} as segment_type,
    {{ text_of("state") }} as status,
    payload as source_data
from {{ source("raw", "customerio__segments") }}
