select
    tenant_id,
    'salesforce'::text as source,
    'salesforce__accounts'::text as stream,
    record_id as source_id,
    seq,
    source_updated_at,
    landed_at,
    is_deleted,
    {{ text_of("Name") }} as name,
    {{ domain_of("Website") }} as domain,
    {{ text_of("Industry") }} as industry,
    {{ integer_of("NumberOfEmployees") }} as employee_count,
    {{ number_of("AnnualRevenue") }} as annual_revenue,
    {{ reference_of("MasterRecordId") }} as continues_as,
    payload as source_data
from {{ source("raw", "salesforce__accounts") }}
