with versions as (
    select * from {{ ref("stg_files__people") }}
    union all
    select * from {{ ref("stg_salesforce__contacts") }}
    union all
    select * from {{ ref("stg_salesforce__leads") }}
    union all
    select * from {{ ref("stg_customerio__people") }}
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
    account_ref,
    email,
    first_name,
    last_name,
    title,
    phone,
    company,
    industry,
    employee_count,
    annual_revenue,
    is_lead,
    continues_as,
    source_data
from versions
