select
    landed.tenant_id,
    landed.source,
    landed.source_id,
    landed.account_ref
from {{ ref("int_opportunities__latest") }} as landed
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
where landed.account_ref is not null and accounts.id is null
