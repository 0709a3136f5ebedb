{{ config(
    unique_key=["tenant_id", "id"],
    post_hook="{{ set_aside(ref('int_accounts__latest'), 'failed.name is null', 'name_is_known', 'the account has no name') }}",
) }}

select
    identities.id,
    landed.tenant_id,
    landed.name,
    landed.domain,
    landed.industry,
    landed.employee_count,
    landed.annual_revenue,
    landed.source,
    {{ external_id("landed.source", "landed.source_id") }} as external_id,
    landed.source_data,
    landed.deleted_at
from {{ ref("int_accounts__latest") }} as landed
inner join {{ ref("identities") }} as identities
    on
        landed.tenant_id = identities.tenant_id
        and landed.source = identities.source
        and landed.source_id = identities.source_id
        and identities.entity = 'account'
where landed.name is not null

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
