with versions as (
    select * from {{ ref("stg_files__accounts") }}
    union all
    select * from {{ ref("stg_salesforce__accounts") }}
)

select
    tenant_id,
    source,
    stream,
    source_id,
    seq,
    source_updated_at,
    landed_at,
    is_deleted,
    name,
    domain,
    industry,
    employee_count,
    annual_revenue,
    continues_as,
    source_data
from versions
