with versions as (
    select * from {{ ref("stg_files__stage_changes") }}
    union all
    select * from {{ ref("stg_salesforce__opportunity_history") }}
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
    opportunity_ref,
    stage,
    changed_at,
    source_data
from versions
