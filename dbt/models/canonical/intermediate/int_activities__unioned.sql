with versions as (
    select * from {{ ref("stg_files__activities") }}
)

select
    tenant_id,
    source,
    stream,
    source_id,
    seq,
    source_updated_at,
    person_ref,
    account_ref,
    source_type,
    channel,
    occurred_at,
    is_bot,
    properties,
    source_data,
    case when is_deleted then coalesce(source_updated_at, landed_at) end as deleted_at
from versions
