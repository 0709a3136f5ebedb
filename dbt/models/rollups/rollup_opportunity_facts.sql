{{ config(
    unique_key=["tenant_id", "opportunity_id"],
    meta={"vanished_rows": "delete"},
    indexes=[{"columns": ["tenant_id", "opportunity_id"], "unique": true}],
) }}

-- which removes what is none of ours any more:
-- depends_on: {{ ref("activities") }}

with told as (
    select
        tenant_id,
        id as opportunity_id,
        account_id,
        stage,
        (source_data -> '_facts' ->> 'is_closed')::boolean as is_closed,
        (source_data -> '_facts' ->> 'is_won')::boolean as is_won,
        (source_data -> '_facts' ->> 'stage_changed_at')::timestamptz as stage_changed_at,
        deleted_at is not null as is_deleted
    from {{ ref("opportunities") }}
),

stays as (
    select
        told.tenant_id,
        told.opportunity_id,
        max(case when history.left_at is null then history.entered_at end) as entered_at,
        sum(date_part('epoch', history.left_at - history.entered_at)) as total_seconds
    from told
    inner join {{ ref("rollup_opportunity_stages") }} as history
        on
            told.tenant_id = history.tenant_id
            and told.opportunity_id = history.opportunity_id
            and told.stage = history.stage
    group by told.tenant_id, told.opportunity_id
)

select
    told.tenant_id,
    told.opportunity_id,
    told.account_id,
    told.stage,
    told.is_closed,
    told.is_won,
    told.is_deleted,
    (coalesce(told.stage_changed_at, stays.entered_at) at time zone 'UTC')::date as stage_entered_on,
    coalesce(round((stays.total_seconds / 86400)::numeric), 0)::integer as days_in_stage_before
from told
left join stays
    on
        told.tenant_id = stays.tenant_id
        and told.opportunity_id = stays.opportunity_id
