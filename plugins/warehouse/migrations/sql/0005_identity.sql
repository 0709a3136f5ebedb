-- ── who is who ───────────────────────────────────────────────────────────────────────────────────────────────────

-- What each record says about its belonging, so that a change finds those whom it concerns without reading raw again.
alter table canonical.identities
    add column stream text,
    add column first_landed_at timestamptz,
    -- the record that this one was merged into or converted to
    add column continues_as text,
    -- the end of that chain, as far as it has landed
    add column head text,
    -- records with the same key are the same thing; addresses are in it as digests
    add column match_key text,
    -- of a company its own domain, of a person that of their address
    add column domain text,
    -- of a person or an opportunity, the source's id of their account
    add column account_ref text,
    -- the last version that was read: a new one touches the thing
    add column last_seq bigint;
create index on canonical.identities (tenant_id, entity, match_key);
create index on canonical.identities (tenant_id, entity, domain) where domain is not null;
create index on canonical.identities (tenant_id, source, account_ref) where account_ref is not null;
create index on canonical.identities (tenant_id, source, continues_as) where continues_as is not null;

-- Things to be looked at again, whoever made that necessary: each canonical model takes up its own and forgets them.
create table canonical.touched_entities (
    tenant_id text not null references control.tenants on delete cascade,
    entity text not null,
    id text not null,
    primary key (tenant_id, entity, id)
);

-- Ids that a record has left, by a merge or because it turned out to be somebody else, and the one it has now.
create table canonical.moved_entities (
    tenant_id text not null references control.tenants on delete cascade,
    entity text not null,
    id text not null,
    became text not null,
    primary key (tenant_id, entity, id, became)
);

create function canonical.note_changed_identities() returns trigger
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
        on conflict do nothing;
        -- whoever was with a company because of the domain that it no longer has
        insert into canonical.touched_entities
        select p.tenant_id, p.entity, p.id
        from old_rows as o
        join canonical.identities as p on p.tenant_id = o.tenant_id and p.entity = 'person' and p.domain = o.domain
        where o.entity = 'account' and p.account_ref is null
        on conflict do nothing;
    end if;
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
create trigger noted_by_insert after insert on canonical.identities
referencing new table as new_rows for each statement execute function canonical.note_changed_identities();
create trigger noted_by_update after update on canonical.identities
referencing old table as old_rows new table as new_rows
for each statement execute function canonical.note_changed_identities();
create trigger noted_by_delete after delete on canonical.identities
referencing old table as old_rows for each statement execute function canonical.note_changed_identities();

-- ── people and activities ────────────────────────────────────────────────────────────────────────────────────────

alter table canonical.people
    add column is_lead boolean not null default false,
    -- what a lead says of its company: a person without an account is scored on it
    add column industry text,
    add column employee_count integer,
    add column annual_revenue numeric;

-- What the source names stays with the activity: who that is can change.
alter table canonical.activities
    add column account_ref text,
    add column occasion text;
-- mails of a thread and sightings of a meeting count once per person: one of them changes what the others count
create index on canonical.activities (tenant_id, person_id, occasion) where occasion is not null;
-- activities that wait for somebody: looked at again in every run, so the few must be found without a scan
drop index canonical.activities_tenant_id_person_ref_idx;
create index on canonical.activities (tenant_id, person_ref) where person_id is null and person_ref is not null;
create index on canonical.activities (tenant_id, account_ref)
where person_id is null and account_id is null and account_ref is not null;

-- Days whose activities changed since they were last counted by channel, with and without a person.
create table canonical.touched_days (
    tenant_id text not null references control.tenants on delete cascade,
    day date not null,
    primary key (tenant_id, day)
);

-- A row per person and write, appended: a first load names every day of everybody.
alter table canonical.touched_person_days
    drop constraint touched_person_days_pkey,
    add column days date[];
update canonical.touched_person_days set days = array[day];
alter table canonical.touched_person_days
    drop column day,
    alter column days set not null;
create index on canonical.touched_person_days (tenant_id);

create or replace function canonical.note_touched_days() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
    if tg_op in ('INSERT', 'UPDATE') then
        insert into canonical.touched_days
        select distinct tenant_id, (occurred_at at time zone 'UTC')::date from new_rows
        on conflict do nothing;
        insert into canonical.touched_person_days
        select tenant_id, person_id, array_agg(distinct (occurred_at at time zone 'UTC')::date)
        from new_rows where person_id is not null
        group by tenant_id, person_id;
        if exists (select from new_rows where occasion is not null) then
            insert into canonical.touched_person_days
            select other.tenant_id, other.person_id, array_agg(distinct (other.occurred_at at time zone 'UTC')::date)
            from new_rows
            join canonical.activities as other using (tenant_id, person_id, occasion)
            where new_rows.occasion is not null
            group by other.tenant_id, other.person_id;
        end if;
    end if;
    -- when a tenant is deleted its activities go with it, and nothing is left to recount
    if tg_op in ('UPDATE', 'DELETE') then
        insert into canonical.touched_days
        select distinct tenant_id, (occurred_at at time zone 'UTC')::date from old_rows where exists (select from control.tenants where id = old_rows.tenant_id)
        on conflict do nothing;
        insert into canonical.touched_person_days
        select tenant_id, person_id, array_agg(distinct (occurred_at at time zone 'UTC')::date)
        from old_rows where person_id is not null and exists (select from control.tenants where id = old_rows.tenant_id)
        group by tenant_id, person_id;
        if exists (select from old_rows where occasion is not null) then
            insert into canonical.touched_person_days
            select other.tenant_id, other.person_id, array_agg(distinct (other.occurred_at at time zone 'UTC')::date)
            from old_rows
            join canonical.activities as other using (tenant_id, person_id, occasion)
            where old_rows.occasion is not null and exists (select from control.tenants where id = old_rows.tenant_id)
            group by other.tenant_id, other.person_id;
        end if;
    end if;
    return null;
end $$;

-- ── what things were like when ───────────────────────────────────────────────────────────────────────────────────

-- Things whose scored attributes may have changed since they were last written down, whoever changed them.
create table canonical.touched_attributes (
    tenant_id text not null references control.tenants on delete cascade,
    entity text not null,
    id text not null,
    primary key (tenant_id, entity, id)
);

create function canonical.note_touched_attributes() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
    insert into canonical.touched_attributes
    select rows.tenant_id, tg_argv[0], rows.id
    from touched_rows as rows
    where exists (select from control.tenants where id = rows.tenant_id)
    on conflict do nothing;
    return null;
end $$;

do $$
declare
    entity record;
begin
    for entity in select * from (values ('account', 'accounts'), ('person', 'people')) as e (name, things) loop
        execute format(
            'create trigger attributes_touched_by_insert after insert on canonical.%I referencing new table as'
            ' touched_rows for each statement execute function canonical.note_touched_attributes(%L)',
            entity.things, entity.name);
        execute format(
            'create trigger attributes_touched_by_update after update on canonical.%I referencing new table as'
            ' touched_rows for each statement execute function canonical.note_touched_attributes(%L)',
            entity.things, entity.name);
        execute format(
            'create trigger attributes_touched_by_delete after delete on canonical.%I referencing old table as'
            ' touched_rows for each statement execute function canonical.note_touched_attributes(%L)',
            entity.things, entity.name);
    end loop;
end $$;

-- ── what a model read by which rules ─────────────────────────────────────────────────────────────────────────────

-- A digest of everything that decides what a version becomes: mappings, settings, seeds and the models themselves.
-- When it changes, the model reads its streams from the beginning.
alter table control.watermarks add column rules text;

-- ── scores as they were ──────────────────────────────────────────────────────────────────────────────────────────

-- what the score of one was on a day, without reading all that came after it
create index on scores.score_history (tenant_id, entity_type, entity_id, as_of, published_at);

-- views of the last deploy that nothing makes any more
drop view if exists staging.int_accounts__latest, staging.int_people__latest, staging.int_opportunities__latest cascade;

select control.secure(relation::regclass, writes => writes)
from (values
    ('canonical.identities', 'insert, update, delete'),
    -- things that became others go
    ('canonical.accounts', 'insert, update, delete'),
    ('canonical.people', 'insert, update, delete'),
    ('canonical.opportunities', 'insert, update, delete'),
    ('canonical.activities', 'insert, update, delete'),
    ('canonical.touched_entities', 'insert, delete'),
    ('canonical.moved_entities', 'insert, delete'),
    ('canonical.touched_attributes', 'insert, delete'),
    ('canonical.touched_days', 'insert, delete')
) as tables (relation, writes);

-- ── domains ──────────────────────────────────────────────────────────────────────────────────────────────────────

-- A domain as the DNS writes it: the same in Unicode and in punycode (RFC 3492). Nothing for what is too long to be one.
create function control.ascii_domain(domain text) returns text
language plpgsql immutable strict parallel safe set search_path = pg_catalog, pg_temp
as $$
declare
    plain text := lower(domain);
    label text;
    labels text[] := '{}';
    points int[];
    encoded text;
    code int;
    lowest int;
    delta int;
    bias int;
    written int;
    basic int;
    quotient int;
    threshold int;
    position_weight int;
begin
    if length(plain) > 253 then
        return null;
    end if;
    if plain !~ '[^\x01-\x7f]' then
        return plain;
    end if;
    -- full-width letters and dots, accents on their own, marks that nobody sees
    plain := translate(lower(normalize(plain, nfkc)), U&'\3002\00AD\200B\2060\FEFF', '.');
    foreach label in array string_to_array(plain, '.') loop
        if label !~ '[^\x01-\x7f]' then
            labels := labels || label;
            continue;
        end if;
        points := array(
            select ascii(letter) from unnest(string_to_array(label, null)) with ordinality as letters (letter, place)
            order by place
        );
        encoded := regexp_replace(label, '[^\x01-\x7f]', '', 'g');
        basic := length(encoded);
        written := basic;
        encoded := encoded || case when basic > 0 then '-' else '' end;
        lowest := 128;
        delta := 0;
        bias := 72;
        while written < cardinality(points) loop
            code := (select min(point) from unnest(points) as point where point >= lowest);
            delta := delta + (code - lowest) * (written + 1);
            for place in 1..cardinality(points) loop
                if points[place] < code then
                    delta := delta + 1;
                elsif points[place] = code then
                    quotient := delta;
                    position_weight := 36;
                    loop
                        threshold := greatest(1, least(26, position_weight - bias));
                        exit when quotient < threshold;
                        encoded := encoded || substr(
                            'abcdefghijklmnopqrstuvwxyz0123456789',
                            1 + threshold + (quotient - threshold) % (36 - threshold), 1
                        );
                        quotient := (quotient - threshold) / (36 - threshold);
                        position_weight := position_weight + 36;
                    end loop;
                    encoded := encoded || substr('abcdefghijklmnopqrstuvwxyz0123456789', 1 + quotient, 1);
                    delta := delta / case when written = basic then 700 else 2 end;
                    delta := delta + delta / (written + 1);
                    bias := 0;
                    while delta > 455 loop
                        delta := delta / 35;
                        bias := bias + 36;
                    end loop;
                    bias := bias + 36 * delta / (delta + 38);
                    delta := 0;
                    written := written + 1;
                end if;
            end loop;
            delta := delta + 1;
            lowest := code + 1;
        end loop;
        labels := labels || ('xn--' || encoded);
    end loop;
    return array_to_string(labels, '.');
end $$;
grant execute on function control.ascii_domain(text) to clarity_pipeline, clarity_control;
