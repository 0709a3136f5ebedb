{% set columns = [
    "account_id", "stage", "is_closed", "is_won", "stage_entered_on", "days_in_stage_before", "contacts",
    "is_deleted"
] %}

{{ config(
    unique_key=["tenant_id", "opportunity_id", "known_since"],
    merge_exclude_columns=columns,
    indexes=[{"columns": ["tenant_id", "opportunity_id", "known_since"], "unique": true}],
    meta={"append_only": true},
) }}

with contacts as (
    select
        tenant_id,
        opportunity_id,
        jsonb_object_agg(person_id, role) as contacts
    from {{ ref("rollup_opportunity_contacts") }}
    group by tenant_id, opportunity_id
),

present as (
    select
        facts.tenant_id,
        facts.opportunity_id,
        facts.account_id,
        facts.stage,
        facts.is_closed,
        facts.is_won,
        facts.stage_entered_on,
        facts.days_in_stage_before,
        contacts.contacts,
        facts.is_deleted
    from {{ ref("rollup_opportunity_facts") }} as facts
    left join contacts
        on
            facts.tenant_id = contacts.tenant_id
            and facts.opportunity_id = contacts.opportunity_id
)

{{ told_anew("opportunity_id", columns) }}
