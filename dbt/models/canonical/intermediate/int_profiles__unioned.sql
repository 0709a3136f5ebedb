with versions as (
    select * from {{ ref("stg_delivrai__contacts") }}
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
    email,
    title,
    seniority,
    department,
    source_data
from versions
