select
    tenant_id,
    'salesforce'::text as source,
    'salesforce__users'::text as stream,
    record_id as source_id,
    seq,
    source_updated_at,
    landed_at,
    is_deleted,
    {{ text_of("Username") }} as username,
    {{ email_of("Email") }} as email,
    {{ text_of("FirstName") }} as first_name,
    {{ text_of("LastName") }} as last_name,
    {{ text_of("Title") }} as title,
    {{ text_of("Department") }} as department,
    {{ truth_of("IsActive") }} as is_active,
    payload as source_data
from {{ source("raw", "salesforce__users") }}
