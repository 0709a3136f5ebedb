{{ config(
    unique_key=["tenant_id", "id"],
    meta={"only_if": "{{ is_touched('opportunity') }}"},
    pre_hook="{{ plan_for(touched('opportunity'), known_things('opportunity')) }}",
    post_hook=["{{ take_out_the_waiting() }}", "{{ forget_touched('opportunity') }}"],
) }}

with members as (
    {{ touched_members("opportunity") }}
),

records as (
    {{ current_records("opportunities", "members") }}
),

placed as (
    select
        records.*,
        members.id,
        case
            when records.account_ref is null
                then {{ entity_id("records.tenant_id", "'account'", "'clarity'", placeholder_account()) }}
            else named.id
        end as account_id
    from records
    inner join members
        on
            records.tenant_id = members.tenant_id
            and records.source = members.source
            and records.source_id = members.source_id
    left join {{ ref("identities") }} as named
        on
            records.tenant_id = named.tenant_id
            and records.source = named.source
            and records.account_ref = named.source_id
            and named.entity = 'account'
)

-- one whose account has not landed waits: nothing here says where it belongs
select
    placed.id,
    placed.tenant_id,
    placed.account_id,
    placed.name,
    placed.stage,
    placed.amount,
    placed.close_date,
    placed.source,
    {{ external_id("placed.source", "placed.source_id") }} as external_id,
    placed.source_data || jsonb_build_object(
        '_facts', jsonb_build_object(
            'is_closed', coalesce(placed.is_closed, false),
            'is_won', placed.is_won,
            'stage_changed_at', placed.stage_changed_at
        )
    ) as source_data,
    placed.deleted_at
from placed
inner join {{ ref("accounts") }} as accounts
    on
        placed.tenant_id = accounts.tenant_id
        and placed.account_id = accounts.id
