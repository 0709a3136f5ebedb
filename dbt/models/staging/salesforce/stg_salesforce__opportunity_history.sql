select
    tenant_id,
    'salesforce'::text as source,
    'salesforce__opportunity_history'::text as stream,
    record_id as source_id,
    seq,
    source_updated_at,
    landed_at,
    is_deleted,
    {{ reference_of("OpportunityId") }} as opportunity_ref,
    {{ text_of("StageName") }} as stage,
    {{ moment_of("CreatedDate") }} as changed_at,
    payload as source_data
from {{ source("raw", "salesforce__opportunity_history") }}
