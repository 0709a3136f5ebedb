{{ config(
    unique_key=["tenant_id", "day", "entity_type", "tier"],
    meta={"vanished_rows": "delete"},
    indexes=[{"columns": ["tenant_id", "day", "entity_type", "tier"], "unique": true}],
) }}

-- Whoever asks for the scores of a day that has passed gets them published after those of later days. Nobody leaves a
-- tier before they came into it: what was published later counts on no earlier day.
with movements as (
    select
        tenant_id,
        entity_type,
        tier_before,
        tier_now,
        max(moved_on) over (
            partition by tenant_id, entity_type, entity_id
            order by moved_at, moved_on
            rows between unbounded preceding and current row
        ) as day
    from {{ ref("mart_revenue__tier_movements") }}
),

changes as (
    select
        tenant_id,
        entity_type,
        day,
        tier_now as tier,
        1 as came,
        0 as went
    from movements
    where tier_now is not null
    union all
    select
        tenant_id,
        entity_type,
        day,
        tier_before as tier,
        0 as came,
        1 as went
    from movements
    where tier_before is not null
),

by_day as (
    select
        tenant_id,
        entity_type,
        day,
        tier,
        sum(came) as came,
        sum(went) as went
    from changes
    group by tenant_id, entity_type, day, tier
),

-- a day on which nobody moved was scored all the same
last_scored as materialized (
    select
        tenant_id,
        max(as_of) as day
    from {{ source("scores", "engagements") }}
    group by tenant_id
),

spans as (
    select
        by_day.tenant_id,
        by_day.entity_type,
        min(by_day.day) as first_day,
        greatest(max(by_day.day), max(last_scored.day)) as last_day
    from by_day
    left join last_scored on by_day.tenant_id = last_scored.tenant_id
    group by by_day.tenant_id, by_day.entity_type
),

grid as (
    select
        spans.tenant_id,
        spans.entity_type,
        tiers.tier,
        (spans.first_day + passed_days.passed) as day
    from spans
    cross join lateral generate_series(0, spans.last_day - spans.first_day) as passed_days (passed)
    cross join (values ('hot'), ('warm'), ('cool'), ('cold')) as tiers (tier)
)

select
    grid.tenant_id,
    grid.day,
    grid.entity_type,
    grid.tier,
    (sum(coalesce(by_day.came, 0) - coalesce(by_day.went, 0)) over (
        partition by grid.tenant_id, grid.entity_type, grid.tier
        order by grid.day
    ))::integer as entities,
    coalesce(by_day.came, 0)::integer as came,
    coalesce(by_day.went, 0)::integer as went
from grid
left join by_day
    on
        grid.tenant_id = by_day.tenant_id
        and grid.entity_type = by_day.entity_type
        and grid.tier = by_day.tier
        and grid.day = by_day.day
