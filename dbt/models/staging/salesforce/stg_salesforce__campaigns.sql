select
    tenant_id,
    'salesforce'::text as source,
    'salesforce__campaigns'::text as stream,
    record_id as source_id,
    seq,
    source_updated_at,
    landed_at,
    is_deleted,
    {{ text_of("Name") }} as name,
    {{ text_of("Type") }} as campaign_type,
    {{ text_of("Status") }} as status,
    {{ moment_of("StartDate") }} as started_at,
    {{ truth_of("IsActive") }} as is_active,
    payload as source_data
from {{ source("raw", "salesforce__campaigns") }}
