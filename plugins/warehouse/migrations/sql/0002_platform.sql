-- ── control: versions, members, leases, positions ────────────────────────────────────────────────────────────────

create table control.scoring_config_versions (
    tenant_id text not null references control.tenants on delete cascade,
    type text not null,
    version integer not null,
    config jsonb not null,
    created_by text not null,
    created_at timestamptz not null default now(),
    primary key (tenant_id, type, version)
);

create table control.members (
    id text primary key,
    tenant_id text not null references control.tenants on delete cascade,
    user_id text not null,
    role text not null check (role in ('admin', 'manager', 'viewer')),
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    unique (tenant_id, user_id)
);
select control.keep_updated_at('control.members');

-- One row per tenant. The fence is part of a key: a run's transaction holds it with FOR KEY SHARE, which lets the
-- heartbeat move expires_at and makes whoever would take the lease over (and so change the fence) wait.
create table control.run_leases (
    tenant_id text primary key references control.tenants on delete cascade,
    holder text,
    stage text,
    fence bigint not null default 0,
    acquired_at timestamptz,
    expires_at timestamptz,
    unique (tenant_id, fence)
);

create function control.hold_lease(expected bigint) returns bigint
language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
    perform from control.run_leases
    where tenant_id = (select control.session_tenant()) and fence = expected and holder is not null
    for key share;
    if not found then
        raise exception 'the run lease with fence % is no longer in force: another run has the tenant now', expected
            using errcode = 'object_not_in_prerequisite_state';
    end if;
    return expected;
end $$;
grant execute on function control.hold_lease(bigint) to clarity_pipeline, clarity_control;

-- Where each stream stands. The landing transaction locks the row and numbers its versions from last_seq, so that the
-- order of numbers is the order of commits and a reader's watermark skips nothing.
create table control.stream_states (
    tenant_id text not null references control.tenants on delete cascade,
    connector_id text not null,
    connector text not null,
    stream text not null,
    state jsonb,
    last_seq bigint not null default 0,
    last_full_count bigint,
    updated_at timestamptz not null default now(),
    primary key (tenant_id, connector, stream),
    foreign key (tenant_id, connector_id) references control.connectors (tenant_id, id) on delete cascade
);

-- how far each model has read each stream; `upto` is the bound of the transaction under way
create table control.watermarks (
    tenant_id text not null references control.tenants on delete cascade,
    model text not null,
    stream text not null,
    seq bigint not null default 0,
    upto bigint not null default 0,
    primary key (tenant_id, model, stream)
);

create table control.model_runs (
    tenant_id text not null references control.tenants on delete cascade,
    run_id text not null,
    model text not null,
    status text not null,
    rows_affected bigint,
    seconds double precision,
    message text,
    finished_at timestamptz not null default now()
);
create index on control.model_runs (tenant_id, run_id);

-- ── quality ──────────────────────────────────────────────────────────────────────────────────────────────────────

create table quality.quarantine (
    id text primary key,
    tenant_id text not null references control.tenants on delete cascade,
    connector text not null,
    stream text not null,
    record_id text,
    reason text not null,
    record jsonb,
    position text,
    sync_id text,
    created_at timestamptz not null default now(),
    replayed_at timestamptz
);
create index on quality.quarantine (tenant_id, connector, stream);

create table quality.failures (
    id text primary key,
    tenant_id text not null references control.tenants on delete cascade,
    run_id text not null,
    model text not null,
    test text not null,
    key text,
    reason text not null,
    failed_row jsonb,
    created_at timestamptz not null default now()
);
create index on quality.failures (tenant_id, run_id);

-- ── canonical: what the reference leaves to us ───────────────────────────────────────────────────────────────────

alter table canonical.activities
    add column deleted_at timestamptz,
    add column source text,
    add column external_id text,
    add column source_type text,
    add column person_ref text,
    add column is_bot boolean not null default false,
    add constraint activities_tenant_id_external_id_key unique (tenant_id, external_id);
-- activities whose person has not landed yet: looked at again in every run, so the few must be found without a scan
create index on canonical.activities (tenant_id, person_ref) where person_ref is not null;

create table canonical.identities (
    tenant_id text not null references control.tenants on delete cascade,
    entity text not null,
    source text not null,
    source_id text not null,
    id text not null,
    created_at timestamptz not null default now(),
    primary key (tenant_id, entity, source, source_id)
);
create index on canonical.identities (tenant_id, id);

-- Days of a person whose activities changed since the rollup last read them, whoever changed them: dbt, a merge, an
-- erasure. The rollup recounts just these.
create table canonical.touched_person_days (
    tenant_id text not null references control.tenants on delete cascade,
    person_id text not null,
    day date not null,
    primary key (tenant_id, person_id, day)
);

create function canonical.note_touched_days() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
    -- when a tenant is deleted its activities go with it, and nothing is left to recount
    if tg_op = 'INSERT' then
        insert into canonical.touched_person_days
        select distinct tenant_id, person_id, (occurred_at at time zone 'UTC')::date
        from new_rows where person_id is not null
        on conflict do nothing;
    elsif tg_op = 'UPDATE' then
        insert into canonical.touched_person_days
        select tenant_id, person_id, (occurred_at at time zone 'UTC')::date from old_rows where person_id is not null
        union
        select tenant_id, person_id, (occurred_at at time zone 'UTC')::date from new_rows where person_id is not null
        on conflict do nothing;
    else
        insert into canonical.touched_person_days
        select distinct tenant_id, person_id, (occurred_at at time zone 'UTC')::date
        from old_rows
        where person_id is not null and exists (select from control.tenants where id = old_rows.tenant_id)
        on conflict do nothing;
    end if;
    return null;
end $$;
create trigger touched_by_insert after insert on canonical.activities
referencing new table as new_rows for each statement execute function canonical.note_touched_days();
create trigger touched_by_update after update on canonical.activities
referencing old table as old_rows new table as new_rows
for each statement execute function canonical.note_touched_days();
create trigger touched_by_delete after delete on canonical.activities
referencing old table as old_rows for each statement execute function canonical.note_touched_days();

-- ── scores ───────────────────────────────────────────────────────────────────────────────────────────────────────

-- both sides' states are kept with the published score: hysteresis starts from them
alter table scores.engagements
    add column as_of date,
    add column fit_high boolean,
    add column engagement_high boolean;

create table scores.score_candidates (
    tenant_id text not null references control.tenants on delete cascade,
    entity_type text not null,
    entity_id text not null,
    as_of date not null,
    fit_score numeric,
    engagement_score numeric,
    combined_score numeric,
    tier text,
    fit_high boolean,
    engagement_high boolean,
    score_version integer not null,
    score_breakdown jsonb not null,
    run_id text not null,
    primary key (tenant_id, entity_type, entity_id)
);

create table scores.score_history (
    tenant_id text not null references control.tenants on delete cascade,
    entity_type text not null,
    entity_id text not null,
    published_at timestamptz not null default now(),
    as_of date not null,
    fit_score numeric,
    engagement_score numeric,
    combined_score numeric,
    tier text,
    score_version integer not null,
    score_breakdown jsonb not null,
    primary key (tenant_id, entity_type, entity_id, published_at)
);
create index on scores.score_history (tenant_id, published_at);

create table scores.writeback_receipts (
    id text primary key,
    tenant_id text not null references control.tenants on delete cascade,
    connector_id text not null,
    run_id text not null,
    entity_type text not null,
    entity_id text not null,
    target_record_id text not null,
    field text not null,
    value_before jsonb,
    value_sent jsonb,
    outcome text not null default 'intended',
    error text,
    intended_at timestamptz not null default now(),
    settled_at timestamptz,
    foreign key (tenant_id, connector_id) references control.connectors (tenant_id, id) on delete cascade
);
create index on scores.writeback_receipts (tenant_id, run_id);
create index on scores.writeback_receipts (tenant_id, connector_id) where outcome = 'intended';

-- ── raw: one table per stream, all alike ─────────────────────────────────────────────────────────────────────────

create function control.make_raw_table(stream_table text) returns void
language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
    if stream_table !~ '^[a-z][a-z0-9_]{0,59}$' then
        raise exception '% is not a name for a raw table', stream_table;
    end if;
    if to_regclass('raw.' || stream_table) is null then
        execute format(
            'create table raw.%I ('
            ' tenant_id text not null references control.tenants on delete cascade,'
            ' record_id text not null, payload jsonb not null, payload_hash bytea not null,'
            ' is_deleted boolean not null default false, source_updated_at timestamptz,'
            ' sync_id text not null, seq bigint not null, landed_at timestamptz not null default now(),'
            ' primary key (tenant_id, record_id, seq), unique (tenant_id, seq))', stream_table);
    end if;
    perform control.secure(format('raw.%I', stream_table)::regclass, writes => 'insert');
end $$;

-- ── policies ─────────────────────────────────────────────────────────────────────────────────────────────────────

select control.secure(relation::regclass, writes => writes)
from (values
    ('control.scoring_config_versions', ''),
    ('control.members', ''),
    ('control.run_leases', 'insert, update'),
    ('control.stream_states', 'insert, update'),
    ('control.watermarks', 'insert, update'),
    ('control.model_runs', 'insert'),
    ('quality.quarantine', 'insert, update'),
    ('quality.failures', 'insert, delete'),
    ('canonical.identities', 'insert'),
    ('canonical.touched_person_days', 'insert, delete'),
    ('scores.score_candidates', 'insert, update, delete'),
    ('scores.score_history', 'insert'),
    ('scores.writeback_receipts', 'insert, update')
) as tables (relation, writes);

create policy registrar on control.scoring_config_versions for insert to clarity_registrar with check (true);
grant insert on control.scoring_config_versions to clarity_registrar;
