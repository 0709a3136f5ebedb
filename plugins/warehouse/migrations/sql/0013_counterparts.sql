-- ── whoever is known by an address alone ─────────────────────────────────────────────────────────────────────────

-- An activity may name an address or a domain in the place of a record. When that becomes somebody else's, it is looked
-- at again like those of a thing that became another.
create or replace function canonical.note_changed_identities() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
    if tg_op = 'DELETE' then
        insert into canonical.touched_entities
        select tenant_id, entity, id from old_rows
        where exists (select from control.tenants where id = old_rows.tenant_id)
        union
        select d.tenant_id, d.entity, d.id
        from old_rows as o
        join canonical.identities as d
            on d.tenant_id = o.tenant_id and d.source = o.source and d.account_ref = o.source_id
        where o.entity = 'account' and exists (select from control.tenants where id = o.tenant_id)
        union
        select p.tenant_id, p.entity, p.id
        from old_rows as o
        join canonical.identities as p on p.tenant_id = o.tenant_id and p.entity = 'person' and p.domain = o.domain
        where o.entity = 'account' and p.account_ref is null
            and exists (select from control.tenants where id = o.tenant_id)
        on conflict do nothing;
        insert into canonical.moved_entities
        select tenant_id, entity, id, id from old_rows
        where exists (select from control.tenants where id = old_rows.tenant_id)
        on conflict do nothing;
        return null;
    end if;
    insert into canonical.touched_entities
    select tenant_id, entity, id from new_rows
    on conflict do nothing;
    if tg_op = 'UPDATE' then
        insert into canonical.touched_entities
        select o.tenant_id, o.entity, o.id
        from old_rows as o
        join new_rows as n using (tenant_id, entity, source, source_id)
        where o.id <> n.id
        on conflict do nothing;
        insert into canonical.moved_entities
        select o.tenant_id, o.entity, o.id, n.id
        from old_rows as o
        join new_rows as n using (tenant_id, entity, source, source_id)
        where o.id <> n.id
            -- mails name an address or a domain, and whose that is has changed
            or o.entity = 'person' and o.match_key is distinct from n.match_key
            or o.entity = 'account' and o.domain is distinct from n.domain
        on conflict do nothing;
        -- whoever was with a company because of the domain that it no longer has
        insert into canonical.touched_entities
        select p.tenant_id, p.entity, p.id
        from old_rows as o
        join canonical.identities as p on p.tenant_id = o.tenant_id and p.entity = 'person' and p.domain = o.domain
        where o.entity = 'account' and p.account_ref is null
        on conflict do nothing;
    end if;
    -- of several companies with one domain it may be another now that mails at that domain are with
    insert into canonical.moved_entities
    select k.tenant_id, k.entity, k.id, k.id
    from new_rows as n
    join canonical.identities as k
        on k.tenant_id = n.tenant_id and k.entity = 'account' and k.domain = n.domain and k.id <> n.id
    where n.entity = 'account'
    on conflict do nothing;
    -- whoever names the company, and people without one whose address is at its domain
    insert into canonical.touched_entities
    select d.tenant_id, d.entity, d.id
    from new_rows as n
    join canonical.identities as d
        on d.tenant_id = n.tenant_id and d.source = n.source and d.account_ref = n.source_id
    where n.entity = 'account'
    union
    select p.tenant_id, p.entity, p.id
    from new_rows as n
    join canonical.identities as p on p.tenant_id = n.tenant_id and p.entity = 'person' and p.domain = n.domain
    where n.entity = 'account' and p.account_ref is null
    on conflict do nothing;
    return null;
end $$;

-- What was done at an account by nobody whom we know tells of its buying group: the account is to be scored anew.
create function scores.note_counterparts() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
    insert into scores.unscored (tenant_id, id)
    select distinct rows.tenant_id, rows.account_id
    from touched_rows as rows
    where rows.person_id is null and rows.account_id is not null
        and exists (select from scores.scoring_marks as m where m.tenant_id = rows.tenant_id)
        and exists (select from control.tenants as t where t.id = rows.tenant_id)
    on conflict do nothing;
    return null;
end $$;
create trigger counterparts_by_insert after insert on canonical.activities referencing new table as touched_rows
for each statement execute function scores.note_counterparts();
create trigger counterparts_before_update after update on canonical.activities referencing old table as touched_rows
for each statement execute function scores.note_counterparts();
create trigger counterparts_by_update after update on canonical.activities referencing new table as touched_rows
for each statement execute function scores.note_counterparts();
create trigger counterparts_by_delete after delete on canonical.activities referencing old table as touched_rows
for each statement execute function scores.note_counterparts();
