{% set columns = ["industry", "employee_count", "annual_revenue", "custom", "is_deleted"] %}

{{ config(
    unique_key=["tenant_id", "account_id", "known_since"],
    merge_exclude_columns=columns,
    indexes=[{"columns": ["tenant_id", "account_id", "known_since"], "unique": true}],
    meta={"append_only": true},
    pre_hook="{{ plan_for(touched_attributes('account'), known_things('account')) }}",
    post_hook="{{ forget_touched_attributes('account') }}",
) }}

-- which removes those that have become part of others:
-- depends_on: {{ ref("activities") }}

with touched as (
    select
        tenant_id,
        id
    from {{ source("canonical", "touched_attributes") }}
    where entity = 'account'
),

-- of one that has become part of another nothing is left but that it is gone
present as (
    select
        touched.tenant_id,
        touched.id as account_id,
        accounts.industry,
        accounts.employee_count,
        accounts.annual_revenue,
        {{ custom_fields("accounts.source_data") }} as custom,
        accounts.id is null or accounts.deleted_at is not null as is_deleted
    from touched
    left join {{ ref("accounts") }} as accounts
        on
            touched.tenant_id = accounts.tenant_id
            and touched.id = accounts.id
)

{{ told_anew("account_id", columns) }}
