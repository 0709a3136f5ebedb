{{ config(
    unique_key=["tenant_id", "connector", "stream"],
    meta={"vanished_rows": "delete"},
    indexes=[{"columns": ["tenant_id", "connector", "stream"], "unique": true}],
) }}

with newest_sync as (
    select distinct on (tenant_id, connector_id)
        tenant_id,
        connector_id,
        started_at,
        status,
        error_details
    from {{ source("control", "sync_logs") }}
    order by tenant_id asc, connector_id asc, started_at desc
),

newest_activity as (
    select
        tenant_id,
        source,
        max(latest_at) as latest_at
    from {{ ref("rollup_activity_daily") }}
    group by tenant_id, source
)

select
    stream_states.tenant_id,
    stream_states.connector,
    stream_states.stream,
    connectors.status as connector_status,
    stream_states.last_seq as versions,
    stream_states.updated_at as last_landed_at,
    newest_sync.started_at as last_sync_at,
    newest_sync.status as last_sync_status,
    connectors.last_sync_at as last_good_sync_at,
    newest_activity.latest_at as newest_activity_at,
    coalesce(
        newest_sync.error_details -> 'failing' ->> stream_states.stream,
        newest_sync.error_details -> 'failing' ->> '*'
    ) as failing_because
from {{ source("control", "stream_states") }} as stream_states
inner join {{ source("control", "connectors") }} as connectors
    on
        stream_states.tenant_id = connectors.tenant_id
        and stream_states.connector_id = connectors.id
left join newest_sync
    on
        stream_states.tenant_id = newest_sync.tenant_id
        and stream_states.connector_id = newest_sync.connector_id
left join newest_activity
    on
        stream_states.tenant_id = newest_activity.tenant_id
        and stream_states.connector = newest_activity.source
