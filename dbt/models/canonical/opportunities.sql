{{ config(
    unique_key=["tenant_id", "id"],
    post_hook="{{ set_aside(ref('int_opportunities__latest'), 'failed.name is null', 'name_is_known', 'the opportunity has no name') }}",
) }}

select
    identities.id,
    landed.tenant_id,
    accounts.id as account_id,
    landed.name,
    landed.stage,
    landed.amount,
    landed.close_date,
    landed.source,
    {{ external_id("landed.source", "landed.source_id") }} as external_id,
    landed.source_data || jsonb_build_object(
        '_facts', jsonb_build_object(
            'is_closed', landed.is_closed,
            'stage_changed_at', landed.stage_changed_at,
            'contact_refs', landed.contact_refs
        )
    ) as source_data,
    landed.deleted_at
from {{ ref("int_opportunities__latest") }} as landed
inner join {{ ref("identities") }} as identities
    on
        landed.tenant_id = identities.tenant_id
        and landed.source = identities.source
        and landed.source_id = identities.source_id
        and identities.entity = 'opportunity'
left join {{ ref("identities") }} as account_identities
    on
        landed.tenant_id = account_identities.tenant_id
        and landed.source = account_identities.source
        and landed.account_ref = account_identities.source_id
        and account_identities.entity = 'account'
-- an opportunity whose account has not landed waits; one that names none hangs on the placeholder
inner join {{ ref("accounts") }} as accounts
    on
        landed.tenant_id = accounts.tenant_id
        and (
            account_identities.id = accounts.id
            or (landed.account_ref is null and accounts.external_id = {{ placeholder_account() }})
        )
where landed.name is not null
