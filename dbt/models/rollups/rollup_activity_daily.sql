{{ config(
    unique_key=["tenant_id", "day", "source", "channel", "signal"],
    meta={"vanished_rows": "delete"},
    indexes=[{"columns": ["tenant_id", "day", "source", "channel", "signal"], "unique": true}],
    pre_hook="{{ plan_for('0', '1') }}",
    post_hook="delete from {{ source('canonical', 'touched_days') }}",
) }}

{% set standing = "activities.deleted_at is null and not activities.is_bot" %}

with touched as (
    select
        tenant_id,
        day
    from {{ source("canonical", "touched_days") }}
),

-- day by day: each is found by its index, and counted in memory however many there are
counted as (
    select
        touched.tenant_id,
        touched.day,
        of_the_day.source,
        of_the_day.channel,
        of_the_day.signal,
        of_the_day.activities,
        of_the_day.people,
        of_the_day.accounts,
        of_the_day.by_machines,
        of_the_day.taken_back,
        of_the_day.latest_at
    from touched
    cross join lateral ( -- noqa: ST05
        with activities as (
            select
                present.type,
                present.source,
                present.channel,
                present.person_id,
                present.account_id,
                present.occasion,
                present.is_bot,
                present.deleted_at,
                present.occurred_at
            from {{ ref("activities") }} as present
            where
                present.tenant_id = touched.tenant_id
                and present.occurred_at >= touched.day::timestamp at time zone 'UTC'
                and present.occurred_at < (touched.day + 1)::timestamp at time zone 'UTC'
            -- asked for in this order, they are looked up by the time: to a planner that knows nothing of a tenant yet
            -- the index on the tenant alone looks as good, and finds all activities for each day
            order by present.tenant_id, present.occurred_at
            offset 0
        )

        select
            activities.type as signal,
            coalesce(activities.source, 'unknown') as source,
            coalesce(activities.channel, 'unknown') as channel,
            (
                count(*) filter (where {{ standing }} and activities.occasion is null)
                + count(distinct coalesce(activities.person_id, '') || '/' || activities.occasion) filter (
                    where {{ standing }} and activities.occasion is not null
                )
            )::integer as activities,
            (count(distinct activities.person_id) filter (where {{ standing }}))::integer as people,
            (count(distinct activities.account_id) filter (where {{ standing }}))::integer as accounts,
            (count(*) filter (where activities.deleted_at is null and activities.is_bot))::integer as by_machines,
            (count(*) filter (where activities.deleted_at is not null))::integer as taken_back,
            max(activities.occurred_at) filter (where activities.deleted_at is null) as latest_at
        from activities
        group by activities.type, coalesce(activities.source, 'unknown'), coalesce(activities.channel, 'unknown')
    ) as of_the_day
)

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
    taken_back,
    latest_at
from counted

{% if is_incremental() %}
    union all

    select
        untouched.tenant_id,
        untouched.day,
        untouched.source,
        untouched.channel,
        untouched.signal,
        untouched.activities,
        untouched.people,
        untouched.accounts,
        untouched.by_machines,
        untouched.taken_back,
        untouched.latest_at
    from {{ this }} as untouched
    where not exists (
        select 1
        from touched
        where
            touched.tenant_id = untouched.tenant_id
            and touched.day = untouched.day
    )
{% endif %}
