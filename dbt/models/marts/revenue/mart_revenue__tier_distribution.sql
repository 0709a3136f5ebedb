{{ config(
    unique_key=["tenant_id", "entity_type", "tier"],
    meta={"vanished_rows": "delete"},
    indexes=[{"columns": ["tenant_id", "entity_type", "tier"], "unique": true}],
) }}

with counted as (
    select
        tenant_id,
        entity_type,
        tier,
        count(*) as entities
    from {{ ref("int_scores__described") }}
    group by tenant_id, entity_type, tier
),

kinds as (
    select
        tenant_id,
        entity_type,
        sum(entities) as entities
    from counted
    group by tenant_id, entity_type
),

-- a tier that nobody is in is an answer too
grid as (
    select
        kinds.tenant_id,
        kinds.entity_type,
        tiers.tier,
        kinds.entities as of_all
    from kinds
    cross join (values ('hot'), ('warm'), ('cool'), ('cold')) as tiers (tier)
)

select
    grid.tenant_id,
    grid.entity_type,
    grid.tier,
    coalesce(counted.entities, 0)::integer as entities,
    round(coalesce(counted.entities, 0) / grid.of_all, 4) as proportion
from grid
left join counted
    on
        grid.tenant_id = counted.tenant_id
        and grid.entity_type = counted.entity_type
        and grid.tier = counted.tier
