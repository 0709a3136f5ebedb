{{ config(
    unique_key=["tenant_id", "account_tier", "stage"],
    meta={"vanished_rows": "delete"},
    indexes=[{"columns": ["tenant_id", "account_tier", "stage"], "unique": true}],
) }}

select
    opportunities.tenant_id,
    coalesce(scored.tier, 'unscored') as account_tier,
    coalesce(opportunities.stage, 'unknown') as stage,
    count(*)::integer as opportunities,
    coalesce(sum(opportunities.amount), 0) as amount,
    count(*) filter (where opportunities.amount is null)::integer as without_amount,
    count(distinct scored.account_id)::integer as accounts
from {{ ref("opportunities") }} as opportunities
inner join {{ ref("rollup_opportunity_facts") }} as facts
    on
        opportunities.tenant_id = facts.tenant_id
        and opportunities.id = facts.opportunity_id
left join {{ ref("int_scores__described") }} as scored
    on
        opportunities.tenant_id = scored.tenant_id
        and opportunities.account_id = scored.entity_id
        and scored.entity_type = 'account'
where opportunities.deleted_at is null and not facts.is_closed
group by
    opportunities.tenant_id,
    coalesce(scored.tier, 'unscored'),
    coalesce(opportunities.stage, 'unknown')
