select
    tenant_id,
    'customerio'::text as source,
    'customerio__campaigns'::text as stream,
    record_id as source_id,
    seq,
    source_updated_at,
    landed_at,
    is_deleted,
    {{ text_of("name") }} as name,
    {{ text_of("state") }} as status,
    {{ truth_of("active") }} as is_active,
    payload as source_data
from {{ source("raw", "customerio__campaigns") }}
