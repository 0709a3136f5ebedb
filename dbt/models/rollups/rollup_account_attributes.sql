{{ config(
    unique_key=["tenant_id", "account_id", "known_since"],
    merge_exclude_columns=["industry", "employee_count", "annual_revenue", "custom", "is_deleted"],
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
),

recorded as (
    {% if is_incremental() -%}
        select distinct on (known.tenant_id, known.account_id) known.*
        from touched
        inner join {{ this }} as known
            on
                touched.tenant_id = known.tenant_id
                and touched.id = known.account_id
        order by known.tenant_id asc, known.account_id asc, known.known_since desc
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
    present.account_id,
    present.industry,
    present.employee_count,
    present.annual_revenue,
    present.custom,
    present.is_deleted,
    now() as known_since
from present
left join recorded
    on
        present.tenant_id = recorded.tenant_id
        and present.account_id = recorded.account_id
where
    recorded.account_id is null
    or (
        present.industry, present.employee_count, present.annual_revenue, present.custom, present.is_deleted
    )
    is distinct from (
        recorded.industry, recorded.employee_count, recorded.annual_revenue, recorded.custom, recorded.is_deleted
    )
