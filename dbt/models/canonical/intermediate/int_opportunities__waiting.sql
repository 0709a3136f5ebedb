select
    identities.tenant_id,
    identities.source,
    identities.source_id,
    identities.account_ref
from {{ ref("identities") }} as identities
where
    identities.entity = 'opportunity'
    and not exists (
        select 1 from {{ ref("opportunities") }} as known
        where
            identities.tenant_id = known.tenant_id
            and identities.id = known.id
    )
