{{ config(
    unique_key=["tenant_id", "person_id", "signal", "day", "known_since"],
    merge_exclude_columns=["count"],
    indexes=[
        {"columns": ["tenant_id", "person_id", "day", "signal", "known_since"], "unique": true},
        {"columns": ["tenant_id", "day"]},
    ],
    meta={"append_only": true},
    pre_hook="{{ plan_for(touched_days_of_people(), versions_read('activities'), without_hashing=true) }}",
    post_hook="{{ forget_touched_days() }}",
) }}

with days as (
    select distinct
        tenant_id,
        person_id,
        unnest(days) as day
    from {{ source("canonical", "touched_person_days") }}
),

-- Under the policies an index serves only a comparison with what is there already: to work it out is a function's part.
touched as (
    select
        tenant_id,
        person_id,
        day,
        day::timestamp at time zone 'UTC' as starts_at,
        (day + 1)::timestamp at time zone 'UTC' as ends_at
    from days
),

counted as (
    select
        touched.tenant_id,
        touched.person_id,
        activities.type as signal,
        touched.day,
        count(*) as times
    from touched
    inner join {{ ref("activities") }} as activities
        on
            touched.tenant_id = activities.tenant_id
            and touched.person_id = activities.person_id
            and touched.day = (activities.occurred_at at time zone 'UTC')::date
            and touched.starts_at <= activities.occurred_at
            and touched.ends_at > activities.occurred_at
    where
        activities.deleted_at is null
        and not activities.is_bot
        -- of a thread or a meeting the first one counts
        and (
            activities.occasion is null
            or not exists (
                select 1
                from {{ ref("activities") }} as earlier
                where
                    earlier.tenant_id = activities.tenant_id
                    and earlier.person_id = activities.person_id
                    and earlier.occasion = activities.occasion
                    and earlier.type = activities.type
                    and earlier.deleted_at is null
                    and not earlier.is_bot
                    and (earlier.occurred_at, earlier.id) < (activities.occurred_at, activities.id)
            )
        )
    group by touched.tenant_id, touched.person_id, activities.type, touched.day
),

recorded as (
    {% if is_incremental() -%}
        select
            touched.tenant_id,
            touched.person_id,
            deltas.signal,
            touched.day,
            sum(deltas.count) as times
        from touched
        inner join {{ this }} as deltas
            on
                touched.tenant_id = deltas.tenant_id
                and touched.person_id = deltas.person_id
                and touched.day = deltas.day
        group by touched.tenant_id, touched.person_id, deltas.signal, touched.day
    {%- else -%}
        select
            tenant_id,
            person_id,
            null::text as signal,
            day,
            0 as times
        from touched
        where false
    {%- endif %}
)

select
    coalesce(counted.tenant_id, recorded.tenant_id) as tenant_id,
    coalesce(counted.person_id, recorded.person_id) as person_id,
    coalesce(counted.signal, recorded.signal) as signal,
    coalesce(counted.day, recorded.day) as day,
    (coalesce(counted.times, 0) - coalesce(recorded.times, 0))::integer as count,
    now() as known_since
from counted
full outer join recorded
    on
        counted.tenant_id = recorded.tenant_id
        and counted.person_id = recorded.person_id
        and counted.signal = recorded.signal
        and counted.day = recorded.day
where coalesce(counted.times, 0) <> coalesce(recorded.times, 0)
-- in the order of the key: a first load then meets each page of its index once
order by tenant_id, person_id, day, signal
