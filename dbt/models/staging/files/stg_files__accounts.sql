select
    tenant_id,
    'files'::text as source,
    'files__accounts'::text as stream,
    record_id as source_id,
    seq,
    source_updated_at,
    landed_at,
    is_deleted,
    {{ text_of("name") }} as name,
    {{ domain_in("coalesce(" ~ field("domain") ~ ", " ~ field("website") ~ ")") }} as domain,
    {{ text_of("industry") }} as industry,
    {{ integer_of("employee_count") }} as employee_count,
    {{ number_of("annual_revenue") }} as annual_revenue,
    {{ reference_of("merged_into") }} as continues_as,
    payload as source_data
from {{ source("raw", "files__accounts") }}
