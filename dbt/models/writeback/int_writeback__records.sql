select
    accounts.tenant_id,
    'account' as entity_type,
    accounts.id as entity_id,
    accounts.source as connector,
    'accounts' as stream,
    accounts.external_id as record_id,
    accounts.name,
    accounts.source_data
from {{ ref("accounts") }} as accounts
where accounts.deleted_at is null and accounts.external_id <> {{ placeholder_account() }}
union all
select
    people.tenant_id,
    'person' as entity_type,
    people.id as entity_id,
    people.source as connector,
    case when people.is_lead then 'leads' else 'contacts' end as stream,
    people.external_id as record_id,
    coalesce(nullif(concat_ws(' ', people.first_name, people.last_name), ''), people.email) as name,
    people.source_data
from {{ ref("people") }} as people
where people.deleted_at is null
union all
select
    opportunities.tenant_id,
    'opportunity' as entity_type,
    opportunities.id as entity_id,
    opportunities.source as connector,
    'opportunities' as stream,
    opportunities.external_id as record_id,
    opportunities.name,
    opportunities.source_data
from {{ ref("opportunities") }} as opportunities
where opportunities.deleted_at is null
