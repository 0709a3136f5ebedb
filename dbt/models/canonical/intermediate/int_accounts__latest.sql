with versions as (
    select * from {{ ref("stg_files__accounts") }}
)

select distinct on (tenant_id, source, source_id)
    tenant_id,
    source,
    source_id,
    seq,
    name,
    domain,
    industry,
    employee_count,
    annual_revenue,
    source_data,
    case when is_deleted then coalesce(source_updated_at, landed_at) end as deleted_at
from versions
order by tenant_id asc, source asc, source_id asc, source_updated_at desc nulls last, seq desc
