select
    tenant_id,
    'salesforce'::text as source,
    'salesforce__opportunity_contact_roles'::text as stream,
    record_id as source_id,
    seq,
    source_updated_at,
    landed_at,
    is_deleted,
    {{ reference_of("OpportunityId") }} as opportunity_ref,
    {{ reference_of("ContactId") }} as person_ref,
    {{ text_of("Role") }} as role,
    {{ truth_of("IsPrimary") }} as is_primary,
    payload as source_data
from {{ source("raw", "salesforce__opportunity_contact_roles") }}
