-- ── vendors who are paid by the person ───────────────────────────────────────────────────────────────────────────

-- About whom such a vendor was asked, by the digest of the address, whether it knew anything or not: until then it is
-- not asked again.
create table control.lookups (
    tenant_id text not null references control.tenants on delete cascade,
    connector_id text not null,
    digest text not null,
    good_until timestamptz not null,
    primary key (tenant_id, connector_id, digest),
    foreign key (tenant_id, connector_id) references control.connectors (tenant_id, id) on delete cascade
);
select control.secure('control.lookups', writes => 'insert, update');

-- What a source other than the CRM says that somebody is, by address. Nobody becomes a person by it: it is evidence for
-- the part that a person, or somebody discovered, plays in a buying group.
create table canonical.profiles (
    id text primary key,
    tenant_id text not null references control.tenants on delete cascade,
    email text not null,
    title text,
    seniority text,
    department text,
    source text,
    external_id text,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    unique (tenant_id, id)
);
create index on canonical.profiles (tenant_id, email);
select control.secure('canonical.profiles', writes => 'insert, update');
select control.keep_updated_at('canonical.profiles');

-- Whose group is to be formed anew: that of the person with the address, or of the account where somebody with it did
-- something. The key of an address is that of canonical.identities.
create function scores.note_profiles() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
    insert into scores.unscored (tenant_id, id)
    select p.tenant_id, coalesce(p.account_id, p.id)
    from touched_rows as rows
    join canonical.people as p on p.tenant_id = rows.tenant_id and p.email = rows.email
    where exists (select from scores.scoring_marks as m where m.tenant_id = rows.tenant_id)
        and exists (select from control.tenants as t where t.id = rows.tenant_id)
    union
    select a.tenant_id, a.account_id
    from touched_rows as rows
    join canonical.activities as a
        on a.tenant_id = rows.tenant_id and a.person_ref = 'email:' || md5(rows.email)
    where a.person_id is null and a.account_id is not null
        and exists (select from scores.scoring_marks as m where m.tenant_id = rows.tenant_id)
        and exists (select from control.tenants as t where t.id = rows.tenant_id)
    on conflict do nothing;
    return null;
end $$;
create trigger profiles_by_insert after insert on canonical.profiles referencing new table as touched_rows
for each statement execute function scores.note_profiles();
create trigger profiles_by_update after update on canonical.profiles referencing new table as touched_rows
for each statement execute function scores.note_profiles();
create trigger profiles_by_delete after delete on canonical.profiles referencing old table as touched_rows
for each statement execute function scores.note_profiles();
