-- ── a day later nearly every score is another ────────────────────────────────────────────────────────────────────

-- A row that is rewritten finds room on its own page, and as long as no index holds what changed, no index is touched.
-- scored_at changes with every score. Of all kinds of index only BRIN lets such a row stay where it is: it keeps the
-- first and the last time of some pages, not an entry per row.
drop index scores.engagements_scored_at_idx;
create index on scores.engagements using brin (scored_at);
alter table scores.engagements set (fillfactor = 50);
alter table scores.buying_groups set (fillfactor = 60);
alter table scores.buying_group_members set (fillfactor = 80);

-- Who says itself when a score changed need not be asked row by row.
drop trigger touch on scores.engagements;
create trigger touch before update on scores.engagements for each row
when (new.updated_at = old.updated_at and old.* is distinct from new.*) execute function control.touch();

-- Who makes a candidate has read the score in force beside it: there it is decided what history says. What waits to be
-- published while this is upgraded is told once more than it need be.
alter table scores.score_candidates
    add column told_fit_score numeric,
    add column told_engagement_score numeric,
    add column told_combined_score numeric,
    add column told_tier text,
    add column is_material boolean not null default true;
alter table scores.score_candidates alter column is_material drop default;

-- Of members too only what is another becomes a candidate; who is gone is told, and nothing is said of them.
alter table scores.group_member_candidates
    alter column role drop not null,
    alter column role_confidence drop not null,
    alter column is_confirmed drop not null,
    add column is_gone boolean not null default false;
alter table scores.group_member_candidates alter column is_gone drop default;

-- When a score last moved: no index on all of a tenant's scores tells it at once.
alter table scores.scoring_marks add column moved_at timestamptz;
