with versions as (
    select
        tenant_id,
        'files'::text as source,
        'files__opportunities'::text as stream,
        record_id,
        seq,
        source_updated_at,
        landed_at,
        is_deleted,
        payload,
        {{ text_of("stage") }} as stage,
        {{ moment_of("stage_changed_at") }} as changed_at
    from {{ source("raw", "files__opportunities") }}
),

changes as (
    select
        *,
        record_id || ':' || to_char(changed_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as change_id
    from versions
    where stage is not null and changed_at is not null
)

select
    tenant_id,
    source,
    stream,
    change_id as source_id,
    seq,
    source_updated_at,
    landed_at,
    is_deleted,
    record_id as opportunity_ref,
    stage,
    changed_at,
    payload as source_data
from changes
