-- ── who is to be scored anew ─────────────────────────────────────────────────────────────────────────────────────

-- What the scores in force were made of, and whether the last candidates became scores. As long as day and rules are
-- the same, a run scores only what is unscored.
create table scores.scoring_marks (
    tenant_id text primary key references control.tenants on delete cascade,
    run_id text not null,
    as_of date not null,
    -- a digest of all that decides how scores are made: configurations, templates, settings and the engine itself
    rules text not null,
    -- the last change of an opportunity that was scored; its contacts and stages are in no table that could tell
    opportunities_known_until timestamptz,
    candidates bigint not null,
    is_published boolean not null default false,
    updated_at timestamptz not null default now()
);
select control.keep_updated_at('scores.scoring_marks');

-- Accounts of which something changed since they were scored, and people without an account, whoever changed them. An
-- account is scored with all its people: what is made of several of them then needs nothing that was kept.
create table scores.unscored (
    tenant_id text not null references control.tenants on delete cascade,
    id text not null,
    primary key (tenant_id, id)
);

-- Until a tenant has scores, everything is unscored and nothing is noted.
create function scores.note_unscored_accounts() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
    insert into scores.unscored (tenant_id, id)
    select rows.tenant_id, rows.id
    from touched_rows as rows
    where exists (select from scores.scoring_marks as m where m.tenant_id = rows.tenant_id)
        and exists (select from control.tenants as t where t.id = rows.tenant_id)
    on conflict do nothing;
    return null;
end $$;

-- of people and opportunities, the account that they are with
create function scores.note_unscored() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
    insert into scores.unscored (tenant_id, id)
    select distinct rows.tenant_id, coalesce(rows.account_id, rows.id)
    from touched_rows as rows
    where exists (select from scores.scoring_marks as m where m.tenant_id = rows.tenant_id)
        and exists (select from control.tenants as t where t.id = rows.tenant_id)
    on conflict do nothing;
    return null;
end $$;

do $$
declare
    entity record;
begin
    for entity in
        select * from (
            values ('accounts', 'note_unscored_accounts'), ('people', 'note_unscored'), ('opportunities', 'note_unscored')
        ) as e (things, note)
    loop
        execute format(
            'create trigger unscored_by_insert after insert on canonical.%I referencing new table as touched_rows'
            ' for each statement execute function scores.%I()', entity.things, entity.note);
        -- whoever leaves an account changes it as well
        execute format(
            'create trigger unscored_before_update after update on canonical.%I referencing old table as touched_rows'
            ' for each statement execute function scores.%I()', entity.things, entity.note);
        execute format(
            'create trigger unscored_by_update after update on canonical.%I referencing new table as touched_rows'
            ' for each statement execute function scores.%I()', entity.things, entity.note);
        execute format(
            'create trigger unscored_by_delete after delete on canonical.%I referencing old table as touched_rows'
            ' for each statement execute function scores.%I()', entity.things, entity.note);
    end loop;
end $$;

-- The rollup forgets the days that it has recounted: whose they were is to be scored anew.
create function scores.note_recounted() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
    insert into scores.unscored (tenant_id, id)
    select distinct p.tenant_id, coalesce(p.account_id, p.id)
    from recounted as r
    join canonical.people as p on p.tenant_id = r.tenant_id and p.id = r.person_id
    where exists (select from scores.scoring_marks as m where m.tenant_id = r.tenant_id)
        and exists (select from control.tenants as t where t.id = r.tenant_id)
    on conflict do nothing;
    return null;
end $$;
create trigger unscored_by_recount after delete on canonical.touched_person_days
referencing old table as recounted for each statement execute function scores.note_recounted();

-- ── candidates ───────────────────────────────────────────────────────────────────────────────────────────────────

-- They live from one task to the next and can be made again, so they need no write-ahead log: a server that crashes
-- loses them, and publish then says so.
alter table scores.score_candidates set unlogged;

create unlogged table scores.group_candidates (
    tenant_id text not null references control.tenants on delete cascade,
    -- of the account's own group the tag is ''
    account_id text not null,
    solution_tag text not null,
    opportunity_id text,
    template text,
    completeness_score numeric,
    engaged_completeness numeric,
    missing_roles jsonb not null,
    candidates_for_gaps jsonb not null,
    primary key (tenant_id, account_id, solution_tag)
);

create unlogged table scores.group_member_candidates (
    tenant_id text not null references control.tenants on delete cascade,
    account_id text not null,
    solution_tag text not null,
    person_id text,
    discovered_email text,
    discovery_source text,
    role text not null,
    role_confidence numeric not null,
    role_source text,
    is_confirmed boolean not null
);
create index on scores.group_member_candidates (tenant_id, account_id);

-- accounts whose groups were formed anew: what they had and have no more goes
create unlogged table scores.regrouped_accounts (
    tenant_id text not null references control.tenants on delete cascade,
    account_id text not null,
    primary key (tenant_id, account_id)
);

-- ── what history last said of each ───────────────────────────────────────────────────────────────────────────────

-- Kept with the score, so that finding out whether a change is material does not cost what history holds.
alter table scores.engagements
    add column told_fit_score numeric,
    add column told_engagement_score numeric,
    add column told_combined_score numeric,
    add column told_tier text;

-- ── buying groups: what the reference leaves to us ───────────────────────────────────────────────────────────────

alter table scores.buying_groups
    add column engaged_completeness numeric,
    -- names of roles, and who could take them: [{role, rank, person_id, discovered_email, confidence, reason}]
    add column missing_roles jsonb,
    add column candidates_for_gaps jsonb;

select control.secure(relation::regclass, writes => writes)
from (values
    ('scores.scoring_marks', 'insert, update, delete'),
    ('scores.unscored', 'insert, delete'),
    ('scores.group_candidates', 'insert, delete'),
    ('scores.group_member_candidates', 'insert, delete'),
    ('scores.regrouped_accounts', 'insert, delete')
) as tables (relation, writes);
