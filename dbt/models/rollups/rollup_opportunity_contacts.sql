{{ config(
    unique_key=["tenant_id", "opportunity_id", "person_id"],
    meta={"vanished_rows": "delete"},
    indexes=[{"columns": ["tenant_id", "opportunity_id", "person_id"], "unique": true}],
) }}

-- materialized, or everything after it would be joined once per opportunity
with named as materialized (
    select
        opportunities.tenant_id,
        opportunities.id as opportunity_id,
        opportunities.source,
        contacts.source_id
    from {{ ref("opportunities") }} as opportunities
    cross join
        lateral jsonb_array_elements_text(opportunities.source_data -> '_facts' -> 'contact_refs')
            as contacts (source_id)
    where opportunities.deleted_at is null
)

select distinct
    named.tenant_id,
    named.opportunity_id,
    people.id as person_id
from named
inner join {{ ref("identities") }} as identities
    on
        named.tenant_id = identities.tenant_id
        and named.source = identities.source
        and named.source_id = identities.source_id
        and identities.entity = 'person'
inner join {{ ref("people") }} as people
    on
        identities.tenant_id = people.tenant_id
        and identities.id = people.id
where people.deleted_at is null
