with versions as (
    select * from {{ ref("stg_fathom__meetings") }}
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
    title,
    started_at,
    ended_at,
    participants,
    source_data
from versions
