{{ config(
    unique_key=["tenant_id", "entity_type", "fit_band", "engagement_band"],
    meta={"vanished_rows": "delete"},
    indexes=[{"columns": ["tenant_id", "entity_type", "fit_band", "engagement_band"], "unique": true}],
) }}

with bands as (
    select
        lowest,
        lowest || ' to ' || (lowest + 20) as band
    from (values (0), (20), (40), (60), (80)) as steps (lowest)
),

fit_bands as (
    select
        lowest,
        band
    from bands
    union all
    select
        null as lowest,
        'unknown' as band
),

placed as (
    select
        tenant_id,
        entity_type,
        tier,
        case when fit < 80 then floor(fit / 20) * 20 when fit >= 80 then 80 end as fit_from,
        case when engagement < 80 then floor(engagement / 20) * 20 else 80 end as engagement_from
    from {{ ref("int_scores__described") }}
    where engagement is not null
),

counted as (
    select
        tenant_id,
        entity_type,
        fit_from,
        engagement_from,
        count(*) as entities,
        count(*) filter (where tier = 'hot') as hot
    from placed
    group by tenant_id, entity_type, fit_from, engagement_from
),

kinds as (
    select
        tenant_id,
        entity_type,
        sum(entities) as entities
    from counted
    group by tenant_id, entity_type
),

-- a cell that nobody is in is an answer too
grid as (
    select
        kinds.tenant_id,
        kinds.entity_type,
        fits.band as fit_band,
        fits.lowest as fit_from,
        engagements.band as engagement_band,
        engagements.lowest as engagement_from,
        kinds.entities as of_all
    from kinds
    cross join fit_bands as fits
    cross join bands as engagements
)

select
    grid.tenant_id,
    grid.entity_type,
    grid.fit_band,
    grid.engagement_band,
    grid.fit_from,
    grid.engagement_from,
    coalesce(counted.entities, 0)::integer as entities,
    coalesce(counted.hot, 0)::integer as hot,
    round(coalesce(counted.entities, 0) / grid.of_all, 4) as proportion
from grid
left join counted
    on
        grid.tenant_id = counted.tenant_id
        and grid.entity_type = counted.entity_type
        and grid.engagement_from = counted.engagement_from
        and grid.fit_from is not distinct from counted.fit_from
