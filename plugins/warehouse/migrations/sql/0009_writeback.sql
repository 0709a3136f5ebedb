-- ── where scores may go ──────────────────────────────────────────────────────────────────────────────────────────

-- What the CRM itself says of each target, by stream and field: {"contacts": {"Score__c": {"kind": "number", ...}}}.
-- Every run asks anew; a field that is not in it, because it vanished or may not be written, is not proposed.
alter table control.writeback_configs add column targets jsonb not null default '{}';
grant update (targets) on control.writeback_configs to clarity_pipeline;

-- ── what was sent ────────────────────────────────────────────────────────────────────────────────────────────────

-- The first form had a row per field, and nothing ever wrote one.
drop table scores.writeback_receipts;

-- A row per record and run. It is there before anything is sent, with what the record showed until then, so that what
-- a killed run may have sent is known and settled by looking.
create table scores.writeback_receipts (
    id text primary key default gen_random_uuid()::text,
    tenant_id text not null references control.tenants on delete cascade,
    connector_id text not null,
    run_id text not null,
    stream text not null,
    entity_type text not null,
    entity_id text not null,
    record_id text not null,
    -- by field: what the record showed, and what it is to show
    shown jsonb not null,
    wanted jsonb not null,
    -- the vendor's mark of the version that showed it; marks of later versions are greater
    seen_version text,
    -- the receipt that this one takes back
    undoes text,
    outcome text not null default 'planned' check (outcome in (
        'planned', 'sending', 'written', 'agreed', 'overridden', 'busy', 'rejected', 'gone', 'left', 'unsent'
    )),
    error_code text,
    error text,
    -- where the vendor works on it by itself: the job that has to end before one can look
    ticket text,
    planned_at timestamptz not null default now(),
    sent_at timestamptz,
    settled_at timestamptz,
    undone_at timestamptz,
    foreign key (tenant_id, connector_id) references control.connectors (tenant_id, id) on delete cascade
);
create index on scores.writeback_receipts (tenant_id, run_id);
create unique index on scores.writeback_receipts (tenant_id, connector_id, stream, record_id)
where outcome in ('planned', 'sending');

-- Each record as we last left it: what somebody else has done since is the difference.
create table scores.writeback_records (
    tenant_id text not null references control.tenants on delete cascade,
    connector_id text not null,
    record_id text not null,
    stream text not null,
    entity_type text not null,
    entity_id text not null,
    sent jsonb not null default '{}',
    -- the version that our last writing followed: what raw has of it, or of an earlier one, is older than what we sent
    seen_version text,
    sent_at timestamptz,
    -- deleted in the CRM when this was its version; a later one is alive again
    gone_version text,
    -- fields that an undone run had written, by that run: they wait to be released
    held jsonb not null default '{}',
    primary key (tenant_id, connector_id, record_id),
    foreign key (tenant_id, connector_id) references control.connectors (tenant_id, id) on delete cascade
);

-- Where somebody has changed what we wrote, and what became of it.
create table scores.writeback_overrides (
    tenant_id text not null references control.tenants on delete cascade,
    connector_id text not null,
    record_id text not null,
    field text not null,
    stream text not null,
    entity_type text not null,
    entity_id text not null,
    ours jsonb,
    theirs jsonb,
    -- the vendor's id of whoever changed the record last
    changed_by text,
    -- ours, theirs or ask, as it was then
    policy text not null,
    run_id text not null,
    noticed_at timestamptz not null default now(),
    released_at timestamptz,
    primary key (tenant_id, connector_id, record_id, field),
    foreign key (tenant_id, connector_id) references control.connectors (tenant_id, id) on delete cascade
);

select control.secure(relation::regclass, writes => writes)
from (values
    ('scores.writeback_receipts', 'insert, update, delete'),
    ('scores.writeback_records', 'insert, update'),
    ('scores.writeback_overrides', 'insert, update')
) as tables (relation, writes);
