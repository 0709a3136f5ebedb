select
    tenant_id,
    'salesforce'::text as source,
    'salesforce__leads'::text as stream,
    record_id as source_id,
    seq,
    source_updated_at,
    landed_at,
    is_deleted,
    case when {{ truth_of("IsConverted") }} then {{ reference_of("ConvertedAccountId") }} end as account_ref,
    {{ email_of("Email") }} as email,
    {{ text_of("FirstName") }} as first_name,
    {{ text_of("LastName") }} as last_name,
    {{ text_of("Title") }} as title,
    {{ text_of("Phone") }} as phone,
    {{ text_of("Company") }} as company,
    {{ text_of("Industry") }} as industry,
    {{ integer_of("NumberOfEmployees") }} as employee_count,
    {{ number_of("AnnualRevenue") }} as annual_revenue,
    true as is_lead,
    coalesce(
        {{ reference_of("MasterRecordId") }},
        case when {{ truth_of("IsConverted") }} then {{ reference_of("ConvertedContactId") }} end
    ) as continues_as,
    payload as source_data
from {{ source("raw", "salesforce__leads") }}
