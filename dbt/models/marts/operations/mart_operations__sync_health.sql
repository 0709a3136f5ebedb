{{ config(
    unique_key=["tenant_id", "day", "connector"],
    meta={"vanished_rows": "delete"},
    indexes=[{"columns": ["tenant_id", "day", "connector"], "unique": true}],
) }}

select
    syncs.tenant_id,
    connectors.type as connector,
    (syncs.started_at at time zone 'UTC')::date as day,
    count(*)::integer as syncs,
    count(*) filter (where syncs.status = 'failed')::integer as failed,
    sum(syncs.records_created) as created,
    sum(syncs.records_updated) as updated,
    sum(syncs.records_deleted) as deleted,
    sum(syncs.records_failed) as refused,
    round(extract(epoch from sum(syncs.completed_at - syncs.started_at))::numeric, 1) as seconds,
    round(extract(epoch from max(syncs.completed_at - syncs.started_at))::numeric, 1) as longest_seconds,
    max(syncs.started_at) filter (where syncs.status = 'failed') as last_failed_at,
    (
        array_agg(syncs.error_message order by syncs.started_at desc) filter (where syncs.status = 'failed')
    )[1] as last_error
from {{ source("control", "sync_logs") }} as syncs
inner join {{ source("control", "connectors") }} as connectors
    on
        syncs.tenant_id = connectors.tenant_id
        and syncs.connector_id = connectors.id
group by syncs.tenant_id, (syncs.started_at at time zone 'UTC')::date, connectors.type
