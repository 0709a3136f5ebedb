{{ config(
    unique_key=["tenant_id", "tier"],
    meta={"vanished_rows": "delete"},
    indexes=[{"columns": ["tenant_id", "tier"], "unique": true}],
) }}

with closed as (
    select
        opportunities.tenant_id,
        opportunities.id as opportunity_id,
        opportunities.account_id,
        opportunities.amount,
        coalesce(facts.is_won, false) as is_won,
        coalesce(facts.stage_entered_on, (opportunities.close_date at time zone 'UTC')::date) as closed_on
    from {{ ref("opportunities") }} as opportunities
    inner join {{ ref("rollup_opportunity_facts") }} as facts
        on
            opportunities.tenant_id = facts.tenant_id
            and opportunities.id = facts.opportunity_id
    where opportunities.deleted_at is null and facts.is_closed
),

-- the tier at the end of the day on which it closed: its own, else that of its account
then_known as (
    select distinct on (closed.tenant_id, closed.opportunity_id)
        closed.tenant_id,
        closed.opportunity_id,
        movements.tier_now as tier
    from closed
    inner join {{ ref("mart_revenue__tier_movements") }} as movements
        on
            closed.tenant_id = movements.tenant_id
            and movements.entity_id in (closed.opportunity_id, closed.account_id)
            and closed.closed_on >= movements.moved_on
    where movements.entity_type in ('opportunity', 'account') and movements.tier_now is not null
    order by
        closed.tenant_id asc,
        closed.opportunity_id asc,
        movements.entity_type = 'opportunity' desc,
        movements.moved_at desc
),

told as (
    select
        closed.tenant_id,
        closed.is_won,
        closed.amount,
        then_known.tier is not null as is_known_then,
        coalesce(then_known.tier, own.tier, of_account.tier, 'unscored') as tier
    from closed
    left join then_known
        on
            closed.tenant_id = then_known.tenant_id
            and closed.opportunity_id = then_known.opportunity_id
    left join {{ ref("int_scores__described") }} as own
        on
            closed.tenant_id = own.tenant_id
            and closed.opportunity_id = own.entity_id
            and own.entity_type = 'opportunity'
    left join {{ ref("int_scores__described") }} as of_account
        on
            closed.tenant_id = of_account.tenant_id
            and closed.account_id = of_account.entity_id
            and of_account.entity_type = 'account'
)

select
    tenant_id,
    tier,
    count(*) filter (where is_won)::integer as won,
    count(*) filter (where not is_won)::integer as lost,
    round(avg(is_won::integer), 4) as win_rate,
    coalesce(sum(amount) filter (where is_won), 0) as won_amount,
    coalesce(sum(amount) filter (where not is_won), 0) as lost_amount,
    count(*) filter (where is_known_then)::integer as known_then
from told
group by tenant_id, tier
