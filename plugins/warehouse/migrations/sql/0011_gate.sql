-- ── the gate before publication ──────────────────────────────────────────────────────────────────────────────────

-- What a run measured before it published, or did not. Counts and shares only: nobody is in here.
create table quality.metrics (
    tenant_id text not null references control.tenants on delete cascade,
    run_id text not null,
    metric text not null,
    value double precision not null,
    -- only what the gate let pass is a measure for what comes
    has_passed boolean not null default false,
    measured_at timestamptz not null default clock_timestamp(),
    primary key (tenant_id, metric, measured_at)
);
create index on quality.metrics (tenant_id, run_id);

-- What was expected of each metric, and what became of it.
create table quality.expectation_results (
    tenant_id text not null references control.tenants on delete cascade,
    run_id text not null,
    suite text not null check (suite in ('raw', 'canonical', 'candidates')),
    expectation text not null,
    observed double precision not null,
    lower_bound double precision,
    upper_bound double precision,
    verdict text not null check (verdict in ('pass', 'no history', 'warning', 'breach', 'accepted')),
    -- since when it has not been met without a break; null while it is
    since timestamptz,
    sentence text not null,
    remedy text not null,
    accepted_by text,
    accepted_because text,
    checked_at timestamptz not null default clock_timestamp(),
    primary key (tenant_id, run_id, expectation)
);
create index on quality.expectation_results (tenant_id, expectation, checked_at);

-- how much was written since the gate last measured
create index on control.model_runs (tenant_id, finished_at);

-- ── incidents ────────────────────────────────────────────────────────────────────────────────────────────────────

-- Something wrong at a tenant, from when it was first seen until it was over, however many tasks and runs saw it.
create table control.incidents (
    id text primary key default gen_random_uuid()::text,
    tenant_id text not null references control.tenants on delete cascade,
    stage text not null,
    cause text not null,
    severity text not null check (severity in ('failure', 'degradation')),
    reason text not null,
    remedy text not null,
    -- the run that saw it last
    run_id text not null,
    times bigint not null default 1,
    opened_at timestamptz not null default now(),
    last_seen_at timestamptz not null default now(),
    recovered_at timestamptz,
    -- by channel, when its beginning and its end were told there
    told jsonb not null default '{}',
    end_told jsonb not null default '{}'
);
create unique index on control.incidents (tenant_id, stage, cause) where recovered_at is null;
create index on control.incidents (tenant_id, last_seen_at);

-- Where a tenant's own people want to be told, sealed as connectors are.
create table control.alert_channels (
    tenant_id text not null references control.tenants on delete cascade,
    kind text not null check (kind in ('slack', 'webhook', 'email')),
    sealed text not null,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    primary key (tenant_id, kind)
);
select control.keep_updated_at('control.alert_channels');

select control.secure(relation::regclass, writes => writes)
from (values
    ('quality.metrics', 'insert, update, delete'),
    ('quality.expectation_results', 'insert, update, delete'),
    ('control.incidents', 'insert, update'),
    ('control.alert_channels', '')
) as tables (relation, writes);
