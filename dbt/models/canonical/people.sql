{{ config(
    unique_key=["tenant_id", "id"],
    post_hook="{{ move_activities_with_their_people() }}",
) }}

select
    identities.id,
    landed.tenant_id,
    accounts.id as account_id,
    landed.email,
    landed.first_name,
    landed.last_name,
    landed.title,
    landed.phone,
    landed.source,
    {{ external_id("landed.source", "landed.source_id") }} as external_id,
    landed.source_data,
    landed.deleted_at
from {{ ref("int_people__latest") }} as landed
inner join {{ ref("identities") }} as identities
    on
        landed.tenant_id = identities.tenant_id
        and landed.source = identities.source
        and landed.source_id = identities.source_id
        and identities.entity = 'person'
left join {{ ref("identities") }} as account_identities
    on
        landed.tenant_id = account_identities.tenant_id
        and landed.source = account_identities.source
        and landed.account_ref = account_identities.source_id
        and account_identities.entity = 'account'
left join {{ ref("accounts") }} as accounts
    on
        account_identities.tenant_id = accounts.tenant_id
        and account_identities.id = accounts.id
