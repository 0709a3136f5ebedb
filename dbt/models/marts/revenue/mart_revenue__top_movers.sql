{{ config(
    unique_key=["tenant_id", "over_days", "entity_type", "entity_id"],
    meta={"vanished_rows": "delete"},
    indexes=[{"columns": ["tenant_id", "over_days", "entity_type", "entity_id"], "unique": true}],
) }}

{% set shown = 50 %}

-- materialized, or it would be asked for once per entity
with newest as materialized (
    select
        tenant_id,
        max(as_of) as day
    from {{ source("scores", "engagements") }}
    group by tenant_id
),

compared as (
    select
        described.tenant_id,
        described.entity_type,
        described.entity_id,
        described.external_id,
        described.name,
        described.account_id,
        described.account_name,
        described.tier,
        described.combined,
        described.because,
        periods.over_days,
        newest.day as newest_day,
        earlier.published_at as published_before,
        earlier.tier as tier_before,
        earlier.combined_score as combined_before,
        described.combined - earlier.combined_score as moved_by
    from newest
    inner join {{ ref("int_scores__described") }} as described
        on newest.tenant_id = described.tenant_id
    cross join (values (7), (30)) as periods (over_days)
    cross join lateral (
        select
            history.published_at,
            history.tier,
            history.combined_score
        from {{ source("scores", "score_history") }} as history
        where
            history.tenant_id = described.tenant_id
            and history.entity_type = described.entity_type
            and history.entity_id = described.entity_id
            and history.as_of <= newest.day - periods.over_days
        order by history.as_of desc, history.published_at desc
        limit 1
    ) as earlier
),

ranked as (
    select
        compared.*,
        case when compared.moved_by > 0 then 'up' else 'down' end as direction,
        row_number() over (
            partition by compared.tenant_id, compared.over_days, compared.entity_type, compared.moved_by > 0
            order by abs(compared.moved_by) desc, compared.entity_id asc
        ) as place
    from compared
    where compared.moved_by <> 0
)

select
    ranked.tenant_id,
    ranked.over_days,
    ranked.entity_type,
    ranked.entity_id,
    ranked.direction,
    ranked.place::integer as place,
    ranked.external_id,
    ranked.name,
    ranked.account_id,
    ranked.account_name,
    ranked.combined_before,
    ranked.combined as combined_now,
    ranked.moved_by,
    ranked.tier_before,
    ranked.tier as tier_now,
    then_said.because as because_before,
    ranked.because as because_now,
    ranked.newest_day as up_to
from ranked
inner join lateral (
    select history.score_breakdown ->> 'because' as because
    from {{ source("scores", "score_history") }} as history
    where
        history.tenant_id = ranked.tenant_id
        and history.entity_type = ranked.entity_type
        and history.entity_id = ranked.entity_id
        and history.published_at = ranked.published_before
    order by history.published_at
    limit 1
) as then_said on true
where ranked.place <= {{ shown }}
