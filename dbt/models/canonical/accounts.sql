{{ config(
    unique_key=["tenant_id", "id"],
    meta={"only_if": "{{ is_touched('account') }} or {{ placeholder_is_missing() }}"},
    pre_hook=["{{ plan_for(touched('account'), known_things('account')) }}", "{{ free_external_ids('account') }}"],
    post_hook="{{ forget_touched('account') }}",
) }}

with members as (
    {{ touched_members("account") }}
),

records as (
    {{ current_records("accounts", "members") }}
),

chosen as (
    {{ leading_records("records", "members") }}
)

select
    id,
    tenant_id,
    name,
    domain,
    industry,
    employee_count,
    annual_revenue,
    source,
    {{ external_id("source", "source_id") }} as external_id,
    source_data,
    deleted_at
from chosen

union all

-- what opportunities without an account hang on; a tenant sees itself here, and the owner nobody
select
    {{ entity_id("tenants.id", "'account'", "'clarity'", placeholder_account()) }} as id,
    tenants.id as tenant_id,
    '(no account)' as name,
    null as domain,
    null as industry,
    null as employee_count,
    null as annual_revenue,
    'clarity' as source,
    {{ placeholder_account() }} as external_id,
    null as source_data,
    null as deleted_at
from {{ source("control", "tenants") }} as tenants
