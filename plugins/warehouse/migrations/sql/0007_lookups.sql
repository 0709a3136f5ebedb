-- ── an index for each way of asking ──────────────────────────────────────────────────────────────────────────────────

-- Versions are asked for by record or by number. The planner may take a tenant for nearly empty: the statistics are
-- older than its rows. The index by number is then as good to it for finding a record, and all of the tenant's versions
-- are read for each. So that index is for those alone who say `seq > 0`, which is true of every version.
create or replace function control.make_raw_table(stream_table text) returns void
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
            ' sync_id text not null, seq bigint not null check (seq > 0), landed_at timestamptz not null default now(),'
            ' primary key (tenant_id, record_id, seq))', stream_table);
        execute format('create unique index on raw.%I (tenant_id, seq) where seq > 0', stream_table);
    end if;
    perform control.secure(format('raw.%I', stream_table)::regclass, writes => 'insert');
end $$;

do $$
declare
    stream_table regclass;
begin
    for stream_table in select oid from pg_class where relnamespace = 'raw'::regnamespace and relkind = 'r' loop
        execute format('create unique index on %s (tenant_id, seq) where seq > 0', stream_table);
        execute format(
            'alter table %s drop constraint %I, add check (seq > 0)', stream_table,
            (select conname from pg_constraint where conrelid = stream_table and contype = 'u'));
    end loop;
end $$;

-- ── what the planner knows of a table that a run has just filled ─────────────────────────────────────────────────────

-- Autovacuum comes within minutes, the run's next statement at once. To a planner that takes a tenant for one row all
-- indexes that begin with the tenant are alike, and a look-up by the wrong one reads all that the tenant has. So a table
-- that has more than doubled is looked at right away: only its sizes are, which are no tenant's secret. Autovacuum, which
-- can't see these rows before they are committed and may have written down pages without any, makes room for whoever
-- waits; if another run is at it, once is enough.
create function control.analyze_if_grown(relation regclass) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp set lock_timeout = '5s'
as $$
begin
    if exists (
        select from pg_class as c
        cross join lateral (select pg_relation_size(c.oid) / current_setting('block_size')::integer as pages) as now
        where c.oid = relation
            and c.relkind = 'r'
            and c.relnamespace::regnamespace::text in ('canonical', 'rollups', 'scores', 'marts')
            and now.pages > 100
            and (now.pages > 100 + 2 * c.relpages or c.reltuples < c.relpages)
    ) then
        execute format('analyze %s', relation);
    end if;
exception when lock_not_available then
    return;
end $$;
grant execute on function control.analyze_if_grown(regclass) to clarity_pipeline;

-- What a person did on a day is counted anew when one of it changes, and costs the same however much they ever did.
create index on canonical.activities (tenant_id, person_id, occurred_at);
