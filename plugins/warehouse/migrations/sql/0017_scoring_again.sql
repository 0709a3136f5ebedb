-- Candidates are not logged, so a crash of the server takes them. To make the same ones again a run keeps, until they
-- are published, from where it had begun: the mark that it found, and what was news to it.
alter table scores.scoring_marks
add column before jsonb,
add column news text[] not null default '{}';
