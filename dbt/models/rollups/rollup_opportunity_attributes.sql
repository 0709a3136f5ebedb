{{ config(
    unique_key=["tenant_id", "opportunity_id", "known_since"],
    merge_exclude_columns=[
        "account_id", "stage", "is_closed", "is_won", "stage_entered_on", "days_in_stage_before", "contacts", "is_deleted"
    ],
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
),

recorded as (
    {% if is_incremental() -%}
        select distinct on (known.tenant_id, known.opportunity_id) known.*
        from {{ this }} as known
        order by known.tenant_id asc, known.opportunity_id asc, known.known_since desc
    {%- else -%}
        select
            *,
            now() as known_since
        from present
        where false
    {%- endif %}
)

select
    present.tenant_id,
    present.opportunity_id,
    present.account_id,
    present.stage,
    present.is_closed,
    present.is_won,
    present.stage_entered_on,
    present.days_in_stage_before,
    present.contacts,
    present.is_deleted,
    now() as known_since
from present
left join recorded
    on
        present.tenant_id = recorded.tenant_id
        and present.opportunity_id = recorded.opportunity_id
where
    recorded.opportunity_id is null
    or (
        present.account_id, present.stage, present.is_closed, present.is_won, present.stage_entered_on,
        present.days_in_stage_before, present.contacts, present.is_deleted
    )
    is distinct from (
        recorded.account_id, recorded.stage, recorded.is_closed, recorded.is_won, recorded.stage_entered_on,
        recorded.days_in_stage_before, recorded.contacts, recorded.is_deleted
    )
