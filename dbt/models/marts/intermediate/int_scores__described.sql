with entities as (
    select
        tenant_id,
        'account' as entity_type,
        id as entity_id,
        external_id,
        name,
        id as account_id
    from {{ ref("accounts") }}
    where deleted_at is null and external_id <> {{ placeholder_account() }}
    union all
    select
        tenant_id,
        'person' as entity_type,
        id as entity_id,
        external_id,
        coalesce(nullif(concat_ws(' ', first_name, last_name), ''), email, external_id) as name,
        account_id
    from {{ ref("people") }}
    where deleted_at is null
    union all
    select
        tenant_id,
        'opportunity' as entity_type,
        id as entity_id,
        external_id,
        name,
        account_id
    from {{ ref("opportunities") }}
    where deleted_at is null
)

select
    entities.tenant_id,
    entities.entity_type,
    entities.entity_id,
    entities.external_id,
    entities.name,
    accounts.id as account_id,
    accounts.name as account_name,
    scored.fit_score as fit,
    scored.engagement_score as engagement,
    scored.combined_score as combined,
    scored.tier,
    scored.as_of as scored_as_of,
    scored.scored_at,
    scored.score_breakdown ->> 'because' as because,
    scored.score_breakdown ->> 'to_be_hot' as to_be_hot
from {{ source("scores", "engagements") }} as scored
inner join entities
    on
        scored.tenant_id = entities.tenant_id
        and scored.entity_type = entities.entity_type
        and scored.entity_id = entities.entity_id
left join {{ ref("accounts") }} as accounts
    on
        entities.tenant_id = accounts.tenant_id
        and entities.account_id = accounts.id
        and accounts.external_id <> {{ placeholder_account() }}
