{{ config(
    unique_key=["tenant_id", "day", "source", "channel", "signal"],
    meta={"vanished_rows": "delete"},
    indexes=[
        {"columns": ["tenant_id", "day", "source", "channel", "signal"], "unique": true},
        {"columns": ["tenant_id", "channel", "day"]},
    ],
) }}

select
    tenant_id,
    day,
    source,
    channel,
    signal,
    activities,
    people,
    accounts,
    by_machines,
    taken_back
from {{ ref("rollup_activity_daily") }}
