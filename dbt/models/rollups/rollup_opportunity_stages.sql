{{ config(
    unique_key=["tenant_id", "opportunity_id", "entered_at"],
    meta={"vanished_rows": "delete"},
    indexes=[{"columns": ["tenant_id", "opportunity_id", "entered_at"], "unique": true}],
) }}

-- which removes what is none of ours any more:
-- depends_on: {{ ref("activities") }}

with versions as (
    select distinct on (tenant_id, stream, source_id)
        tenant_id,
        source,
        opportunity_ref,
        stage,
        changed_at
    from {{ ref("int_stage_changes__unioned") }}
    where changed_at is not null and stage is not null
    order by
        tenant_id asc,
        stream asc,
        source_id asc,
        source_updated_at desc nulls last,
        seq desc
),

changes as (
    select distinct on (versions.tenant_id, deals.id, versions.changed_at)
        versions.tenant_id,
        deals.id as opportunity_id,
        versions.stage,
        versions.changed_at
    from versions
    inner join {{ ref("identities") }} as deals
        on
            versions.tenant_id = deals.tenant_id
            and versions.source = deals.source
            and versions.opportunity_ref = deals.source_id
            and deals.entity = 'opportunity'
    inner join {{ ref("opportunities") }} as opportunities
        on
            deals.tenant_id = opportunities.tenant_id
            and deals.id = opportunities.id
    order by
        versions.tenant_id asc,
        deals.id asc,
        versions.changed_at asc,
        versions.stage asc
),

-- a history also tells of amounts and dates: only another stage is a new stay
entries as (
    select
        changes.tenant_id,
        changes.opportunity_id,
        changes.stage,
        changes.changed_at,
        lag(changes.stage) over (
            partition by changes.tenant_id, changes.opportunity_id
            order by changes.changed_at
        ) as stage_before
    from changes
)

select
    entries.tenant_id,
    entries.opportunity_id,
    entries.stage,
    entries.changed_at as entered_at,
    lead(entries.changed_at) over (
        partition by entries.tenant_id, entries.opportunity_id
        order by entries.changed_at
    ) as left_at
from entries
where entries.stage is distinct from entries.stage_before
