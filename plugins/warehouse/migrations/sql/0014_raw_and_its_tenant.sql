-- ── raw rows and their tenant ────────────────────────────────────────────────────────────────────────────────────

-- A foreign key from raw to the tenants asks for each row, a million times over, whether the one tenant that a session
-- can write for is there: a tenth of what landing a row costs. What the key promised is kept by the statement instead.
-- Before rows come in, the session's tenant is held until the transaction ends: it is there, and nobody can remove it
-- meanwhile. The policy lets no row of another tenant in. And when a tenant goes, its raw rows go with it.

create policy owner_holds on control.tenants to clarity_owner
using (id = (select control.session_tenant())) with check (false);

create function control.hold_tenant() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    perform from control.tenants where id = control.session_tenant() for key share;
    if not found then
        raise exception 'rows of % come in by a login of a tenant that there is, and % is none',
            tg_table_name, session_user using errcode = 'foreign_key_violation';
    end if;
    return null;
end $$;

-- Its owner sees no row of raw, but for those of the tenant that is being removed.
create function control.remove_raw() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    stream_table regclass;
begin
    perform set_config('clarity.removed_tenant', old.id, true);
    for stream_table in select oid from pg_class where relnamespace = 'raw'::regnamespace and relkind = 'r' loop
        execute format('delete from %s where tenant_id = $1', stream_table) using old.id;
    end loop;
    perform set_config('clarity.removed_tenant', '', true);
    return null;
end $$;

create trigger remove_raw after delete on control.tenants for each row execute function control.remove_raw();

create function control.tie_to_tenant(stream_table regclass) returns void
language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
    execute format(
        'create or replace trigger hold_tenant before insert on %s'
        ' for each statement execute function control.hold_tenant()', stream_table);
    execute format('drop policy if exists owner_removes on %s', stream_table);
    execute format(
        'create policy owner_removes on %s to clarity_owner'
        ' using (tenant_id = (select current_setting(''clarity.removed_tenant'', true))) with check (false)',
        stream_table);
end $$;

create or replace function control.make_raw_table(stream_table text) returns void
language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    made regclass;
begin
    if stream_table !~ '^[a-z][a-z0-9_]{0,59}$' then
        raise exception '% is not a name for a raw table', stream_table;
    end if;
    if to_regclass('raw.' || stream_table) is null then
        execute format(
            'create table raw.%I ('
            ' tenant_id text not null,'
            ' record_id text not null, payload jsonb not null, payload_hash bytea not null,'
            ' is_deleted boolean not null default false, source_updated_at timestamptz,'
            ' sync_id text not null, seq bigint not null check (seq > 0), landed_at timestamptz not null default now(),'
            ' primary key (tenant_id, record_id, seq))', stream_table);
        execute format('create unique index on raw.%I (tenant_id, seq) where seq > 0', stream_table);
    end if;
    made := format('raw.%I', stream_table)::regclass;
    perform control.secure(made, writes => 'insert');
    perform control.tie_to_tenant(made);
end $$;

do $$
declare
    stream_table regclass;
    name text;
begin
    for stream_table in select oid from pg_class where relnamespace = 'raw'::regnamespace and relkind = 'r' loop
        for name in
            select conname from pg_constraint
            where conrelid = stream_table and contype = 'f' and confrelid = 'control.tenants'::regclass
        loop
            execute format('alter table %s drop constraint %I', stream_table, name);
        end loop;
        perform control.tie_to_tenant(stream_table);
    end loop;
end $$;
