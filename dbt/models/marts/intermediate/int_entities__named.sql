with entities as (
    select
        tenant_id,
        'account' as entity_type,
        id as entity_id,
        external_id,
        name,
        id as account_id,
        deleted_at
    from {{ ref("accounts") }}
    where external_id <> {{ placeholder_account() }}
    union all
    select
        tenant_id,
        'person' as entity_type,
        id as entity_id,
        external_id,
        coalesce(nullif(concat_ws(' ', first_name, last_name), ''), email, external_id) as name,
        account_id,
        deleted_at
    from {{ ref("people") }}
    union all
    select
        tenant_id,
        'opportunity' as entity_type,
        id as entity_id,
        external_id,
        name,
        account_id,
        deleted_at
    from {{ ref("opportunities") }}
)

select
    entities.tenant_id,
    entities.entity_type,
    entities.entity_id,
    entities.external_id,
    entities.name,
    accounts.id as account_id,
    accounts.name as account_name,
    entities.deleted_at
from entities
left join {{ ref("accounts") }} as accounts
    on
        entities.tenant_id = accounts.tenant_id
        and entities.account_id = accounts.id
        and accounts.external_id <> {{ placeholder_account() }}
