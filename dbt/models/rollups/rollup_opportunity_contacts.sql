{{ config(
    unique_key=["tenant_id", "opportunity_id", "person_id"],
    meta={"vanished_rows": "delete"},
    indexes=[{"columns": ["tenant_id", "opportunity_id", "person_id"], "unique": true}],
) }}

-- which removes what is none of ours any more:
-- depends_on: {{ ref("activities") }}

-- all that a record's latest version says: one contact, or all of an opportunity's
with ranked as (
    select
        tenant_id,
        source,
        opportunity_ref,
        person_ref,
        role,
        is_primary,
        is_deleted,
        rank() over (
            partition by tenant_id, stream, source_id
            order by source_updated_at desc nulls last, seq desc
        ) as age
    from {{ ref("int_contact_roles__unioned") }}
),

named as (
    select
        ranked.tenant_id,
        opportunities.id as opportunity_id,
        people.id as person_id,
        ranked.role as source_role,
        roles.role,
        coalesce(ranked.is_primary, false) as is_primary
    from ranked
    inner join {{ ref("identities") }} as deals
        on
            ranked.tenant_id = deals.tenant_id
            and ranked.source = deals.source
            and ranked.opportunity_ref = deals.source_id
            and deals.entity = 'opportunity'
    inner join {{ ref("opportunities") }} as opportunities
        on
            deals.tenant_id = opportunities.tenant_id
            and deals.id = opportunities.id
    inner join {{ ref("identities") }} as who
        on
            ranked.tenant_id = who.tenant_id
            and ranked.source = who.source
            and ranked.person_ref = who.source_id
            and who.entity = 'person'
    inner join {{ ref("people") }} as people
        on
            who.tenant_id = people.tenant_id
            and who.id = people.id
    left join {{ ref("contact_roles") }} as roles
        on lower(ranked.role) = roles.source_role
    where
        ranked.age = 1
        and not ranked.is_deleted
        and opportunities.deleted_at is null
        and people.deleted_at is null
)

-- somebody may be named twice: the primary role first, then the one that says more
select distinct on (named.tenant_id, named.opportunity_id, named.person_id)
    named.tenant_id,
    named.opportunity_id,
    named.person_id,
    named.source_role,
    named.is_primary,
    coalesce(named.role, 'unknown') as role
from named
order by
    named.tenant_id asc,
    named.opportunity_id asc,
    named.person_id asc,
    named.is_primary desc,
    named.role asc nulls last,
    named.source_role asc nulls last
