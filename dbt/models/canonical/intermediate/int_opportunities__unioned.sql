with versions as (
    select * from {{ ref("stg_files__opportunities") }}
    union all
    select * from {{ ref("stg_salesforce__opportunities") }}
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
    name,
    stage,
    amount,
    close_date,
    is_closed,
    is_won,
    stage_changed_at,
    source_data
from versions
