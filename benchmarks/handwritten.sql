-- What somebody would write who knows the tables and these records, and wants them there once: every record has one
-- version, nobody was merged, nothing is missing. For the rest see what the models do.
set enable_nestloop = off;

insert into canonical.accounts (
    id, tenant_id, name, domain, industry, employee_count, annual_revenue, source, external_id, source_data
)
select
    md5(tenant_id || 'account' || record_id)::uuid::text, tenant_id, payload ->> 'name', payload ->> 'domain',
    payload ->> 'industry', (payload ->> 'employee_count')::integer, (payload ->> 'annual_revenue')::numeric, 'files',
    'files:' || record_id, payload
from raw.files__accounts;

insert into canonical.people (
    id, tenant_id, account_id, email, first_name, last_name, title, source, external_id, source_data
)
select
    md5(raw.tenant_id || 'person' || raw.record_id)::uuid::text, raw.tenant_id, accounts.id,
    lower(raw.payload ->> 'email'), raw.payload ->> 'first_name', raw.payload ->> 'last_name', raw.payload ->> 'title',
    'files', 'files:' || raw.record_id, raw.payload
from raw.files__people as raw
left join canonical.accounts on accounts.external_id = 'files:' || (raw.payload ->> 'account_id');

insert into canonical.activities (
    id, tenant_id, person_id, account_id, type, channel, occurred_at, properties, source, external_id, source_type,
    person_ref
)
select
    md5(raw.tenant_id || 'activity' || raw.record_id)::uuid::text, raw.tenant_id, people.id, people.account_id,
    raw.payload ->> 'type',
    case raw.payload ->> 'type'
        when 'meeting_attend' then 'meetings' when 'form_fill' then 'web' when 'page_view' then 'web'
        when 'email_open' then 'email' when 'email_click' then 'email'
    end,
    (raw.payload ->> 'occurred_at')::timestamptz, raw.payload -> 'properties', 'files', 'files:' || raw.record_id,
    raw.payload ->> 'type', raw.payload ->> 'person_id'
from raw.files__activities as raw
left join canonical.people on people.external_id = 'files:' || (raw.payload ->> 'person_id');

insert into rollups.rollup_person_signals_daily (tenant_id, person_id, signal, day, count, known_since)
select tenant_id, person_id, type, (occurred_at at time zone 'UTC')::date, count(*)::integer, now()
from canonical.activities
where person_id is not null
group by 1, 2, 3, 4;

insert into rollups.rollup_activity_daily (
    tenant_id, day, source, channel, signal, activities, people, accounts, by_machines, taken_back, latest_at
)
select
    tenant_id, (occurred_at at time zone 'UTC')::date, source, channel, type, count(*)::integer,
    count(distinct person_id)::integer, count(distinct account_id)::integer, 0, 0, max(occurred_at)
from canonical.activities
group by 1, 2, 3, 4, 5;
