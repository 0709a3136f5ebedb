{{ config(
    unique_key=["tenant_id", "run_id", "model"],
    meta={"vanished_rows": "delete"},
    indexes=[
        {"columns": ["tenant_id", "run_id", "model"], "unique": true},
        {"columns": ["tenant_id", "model", "finished_at"]},
    ],
) }}

{% set shown = 30 %}

with runs as (
    select
        tenant_id,
        run_id,
        row_number() over (partition by tenant_id order by max(finished_at) desc, run_id asc) as place
    from {{ source("control", "model_runs") }}
    group by tenant_id, run_id
)

-- a task that was begun again has told about its models twice: the last time counts
select distinct on (noted.tenant_id, noted.run_id, noted.model)
    noted.tenant_id,
    noted.run_id,
    noted.model,
    noted.status,
    noted.rows_affected,
    noted.finished_at,
    noted.message,
    round(noted.seconds::numeric, 3) as seconds
from {{ source("control", "model_runs") }} as noted
inner join runs
    on
        noted.tenant_id = runs.tenant_id
        and noted.run_id = runs.run_id
where runs.place <= {{ shown }}
order by
    noted.tenant_id asc,
    noted.run_id asc,
    noted.model asc,
    noted.finished_at desc
