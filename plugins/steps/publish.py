"""Candidates become scores and buying groups: past the gate first, then all at once, and only where something moved.

A reader sees the whole of the last publication or the whole of this one. A breach publishes nothing: the last good
scores stay, and rows that can't be scores are in quality.failures. The mark then says that the candidates were never
published, so that the next run makes everything anew.
"""

import uuid
from dataclasses import dataclass
from datetime import date
from typing import LiteralString

import psycopg
from psycopg import sql
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from steps import quality
from steps.quality import Acceptance, Breach
from steps.quality_metrics import Waiting
from warehouse import database
from warehouse.errors import ClarityError

SHOWN_FAILURES = 100
# Nothing is known of how many rows candidates have: of so many, a loop over another table would be endless.
MANY = 5_000


@dataclass(frozen=True)
class Check:
    name: str
    reason: str
    failing: LiteralString  # a condition on score_candidates, true for a row that must not be published


ON_VALUES = (
    Check(
        "scores_within_bounds",
        "a score is outside 0 to 100",
        "not (coalesce(fit_score, 0) between 0 and 100 and engagement_score between 0 and 100"
        " and combined_score between 0 and 100)",
    ),
    Check(
        "scores_present",
        "engagement, combined score or tier is missing",
        "engagement_score is null or combined_score is null or tier is null",
    ),
    Check("tier_known", "the tier is none of ours", "tier not in ('hot', 'warm', 'cool', 'cold')"),
)
KNOWN = Check(
    "entity_known",
    "what was scored is not in canonical any more",
    "not exists (select from canonical.accounts as e where c.entity_type = 'account' and e.id = c.entity_id)"
    " and not exists (select from canonical.people as e where c.entity_type = 'person' and e.id = c.entity_id)"
    " and not exists"
    " (select from canonical.opportunities as e where c.entity_type = 'opportunity' and e.id = c.entity_id)",
)

HISTORY = """
insert into scores.score_history (
    tenant_id, entity_type, entity_id, as_of, fit_score, engagement_score, combined_score, tier, score_version,
    score_breakdown
)
select
    c.tenant_id, c.entity_type, c.entity_id, c.as_of, c.fit_score, c.engagement_score, c.combined_score, c.tier,
    c.score_version, c.score_breakdown
from scores.score_candidates as c
where c.tenant_id = %(tenant)s and c.is_material
"""

# Of a candidate that was made because something was new, nothing need have moved. No join finds out what did: of rows
# as wide as these it would make heaps on the disk. Row by row, in the order of the candidates, which is that of the
# scores in force, each page is visited once, and the new version finds room beside the old one.
ENGAGEMENTS = """
insert into scores.engagements as e (
    id, tenant_id, entity_type, entity_id, as_of, fit_score, engagement_score, combined_score, tier, fit_high,
    engagement_high, score_version, score_breakdown, told_fit_score, told_engagement_score, told_combined_score,
    told_tier
)
select
    -- a change that is not material is one of a row in force, which keeps its id
    case
        when c.is_material then md5(concat_ws('|', c.tenant_id, c.entity_type, c.entity_id))::uuid::text
        else c.entity_id
    end,
    c.tenant_id, c.entity_type, c.entity_id, c.as_of, c.fit_score, c.engagement_score, c.combined_score, c.tier,
    c.fit_high, c.engagement_high, c.score_version, c.score_breakdown, c.told_fit_score, c.told_engagement_score,
    c.told_combined_score, c.told_tier
from scores.score_candidates as c
where c.tenant_id = %(tenant)s
on conflict (tenant_id, entity_type, entity_id) do update set
    as_of = excluded.as_of, fit_score = excluded.fit_score, engagement_score = excluded.engagement_score,
    combined_score = excluded.combined_score, tier = excluded.tier, fit_high = excluded.fit_high,
    engagement_high = excluded.engagement_high, score_version = excluded.score_version,
    score_breakdown = excluded.score_breakdown, scored_at = now(), updated_at = now(),
    told_fit_score = excluded.told_fit_score, told_engagement_score = excluded.told_engagement_score,
    told_combined_score = excluded.told_combined_score, told_tier = excluded.told_tier
where
    (e.engagement_score, e.combined_score, e.fit_score, e.tier, e.fit_high, e.engagement_high, e.score_version,
        e.score_breakdown)
    is distinct from (excluded.engagement_score, excluded.combined_score, excluded.fit_score, excluded.tier,
        excluded.fit_high, excluded.engagement_high, excluded.score_version, excluded.score_breakdown)
"""

# Candidates are what moved, so who has no candidate may still be scored: who is not there any more is not.
VANISHED = """
delete from scores.engagements as e
where e.tenant_id = %(tenant)s
    and not exists (
        select from canonical.accounts as a
        where a.tenant_id = e.tenant_id and a.id = e.entity_id and e.entity_type = 'account' and a.deleted_at is null
            and a.external_id is distinct from '_none'
    )
    and not exists (
        select from canonical.people as p
        where p.tenant_id = e.tenant_id and p.id = e.entity_id and e.entity_type = 'person' and p.deleted_at is null
    )
    and not exists (
        select from rollups.rollup_opportunity_facts as o
        where o.tenant_id = e.tenant_id and o.opportunity_id = e.entity_id and e.entity_type = 'opportunity'
            and not o.is_deleted
    )
"""

# A group with a role that somebody confirmed is kept, whatever became of its deal.
VANISHED_GROUPS = """
delete from scores.buying_groups as g
where g.tenant_id = %(tenant)s
    and (
        not exists (
            select from canonical.accounts as a
            where a.tenant_id = g.tenant_id and a.id = g.account_id and a.deleted_at is null
        )
        or (
            exists (
                select from scores.regrouped_accounts as r
                where r.tenant_id = g.tenant_id and r.account_id = g.account_id
            )
            and not exists (
                select from scores.group_candidates as c
                where c.tenant_id = g.tenant_id and c.account_id = g.account_id
                    and c.solution_tag = coalesce(g.solution_tag, '')
            )
        )
    )
    and not exists (
        select from scores.buying_group_members as m
        where m.tenant_id = g.tenant_id and m.buying_group_id = g.id and m.is_confirmed
    )
"""

# A group that was handed over with a merged account keeps its id, so the id that follows from the key may be taken.
GROUPS = """
insert into scores.buying_groups as g (
    id, tenant_id, account_id, opportunity_id, solution_tag, name, completeness_score, engaged_completeness,
    missing_roles, candidates_for_gaps, role_template_id
)
select
    case when taken.id is null then told.id else gen_random_uuid()::text end,
    told.tenant_id, told.account_id, told.opportunity_id, nullif(told.solution_tag, ''), told.name,
    told.completeness_score, told.engaged_completeness, told.missing_roles, told.candidates_for_gaps, told.template
from (
    select
        c.*, concat_ws(': ', a.name, nullif(c.solution_tag, '')) as name,
        md5(concat_ws('|', 'buying group', c.tenant_id, c.account_id, c.solution_tag))::uuid::text as id
    from scores.group_candidates as c
    join canonical.accounts as a on a.tenant_id = c.tenant_id and a.id = c.account_id
    where c.tenant_id = %(tenant)s
) as told
left join scores.buying_groups as taken on taken.id = told.id
where not exists (
    select from scores.buying_groups as same
    where same.tenant_id = told.tenant_id and same.account_id = told.account_id
        and coalesce(same.solution_tag, '') = told.solution_tag
        and (same.opportunity_id, same.name, same.completeness_score, same.engaged_completeness, same.missing_roles,
            same.candidates_for_gaps, same.role_template_id)
        is not distinct from (told.opportunity_id, told.name, told.completeness_score, told.engaged_completeness,
            told.missing_roles, told.candidates_for_gaps, told.template)
)
order by told.account_id, told.solution_tag
on conflict (tenant_id, account_id, solution_tag) do update set
    opportunity_id = excluded.opportunity_id, name = excluded.name, completeness_score = excluded.completeness_score,
    engaged_completeness = excluded.engaged_completeness, missing_roles = excluded.missing_roles,
    candidates_for_gaps = excluded.candidates_for_gaps, role_template_id = excluded.role_template_id
"""

# Somebody discovered whom the CRM has learnt of is the same member, with a name now.
PROMOTED = """
update scores.buying_group_members as m set person_id = known.person_id
from (
    select m.id, min(p.id) as person_id
    from scores.buying_group_members as m
    join scores.buying_groups as g on g.tenant_id = m.tenant_id and g.id = m.buying_group_id
    join canonical.people as p
        on p.tenant_id = g.tenant_id and p.account_id = g.account_id and lower(p.email) = lower(m.discovered_email)
        and p.deleted_at is null
    where m.tenant_id = %(tenant)s and m.person_id is null
    group by m.id
) as known
where m.tenant_id = %(tenant)s and m.id = known.id
    and not exists (
        select from scores.buying_group_members as other
        where other.buying_group_id = m.buying_group_id and other.person_id = known.person_id
    )
"""

VANISHED_MEMBERS = """
delete from scores.buying_group_members as m
using scores.group_member_candidates as c
join scores.buying_groups as g
    on g.tenant_id = c.tenant_id and g.account_id = c.account_id and coalesce(g.solution_tag, '') = c.solution_tag
where c.tenant_id = %(tenant)s and c.is_gone and m.tenant_id = c.tenant_id and m.buying_group_id = g.id
    and c.person_id = coalesce(m.person_id, lower(m.discovered_email)) and not m.is_confirmed
"""

CHANGED_MEMBERS = """
update scores.buying_group_members as m
set role = c.role, role_confidence = c.role_confidence, role_source = c.role_source
from scores.group_member_candidates as c
join scores.buying_groups as g
    on g.tenant_id = c.tenant_id and g.account_id = c.account_id and coalesce(g.solution_tag, '') = c.solution_tag
where c.tenant_id = %(tenant)s and not c.is_gone and m.tenant_id = c.tenant_id and m.buying_group_id = g.id
    and coalesce(c.person_id, lower(c.discovered_email)) = coalesce(m.person_id, lower(m.discovered_email))
    and not m.is_confirmed
    and (m.role, m.role_confidence, m.role_source) is distinct from (c.role, c.role_confidence, c.role_source)
"""

NEW_MEMBERS = """
insert into scores.buying_group_members (
    id, tenant_id, buying_group_id, person_id, role, role_confidence, role_source, is_confirmed, is_discovered,
    discovery_source, discovered_email
)
select
    case when taken.id is null then told.id else gen_random_uuid()::text end,
    told.tenant_id, told.buying_group_id, told.person_id, told.role, told.role_confidence, told.role_source,
    told.is_confirmed, told.person_id is null, told.discovery_source, told.discovered_email
from (
    select
        c.*, g.id as buying_group_id,
        md5(concat_ws('|', 'member', g.id, c.person_id, lower(c.discovered_email)))::uuid::text as id
    from scores.group_member_candidates as c
    join scores.buying_groups as g
        on g.tenant_id = c.tenant_id and g.account_id = c.account_id
        and coalesce(g.solution_tag, '') = c.solution_tag
    where c.tenant_id = %(tenant)s and not c.is_gone
) as told
left join scores.buying_group_members as taken on taken.id = told.id
where not exists (
    select from scores.buying_group_members as m
    where m.tenant_id = told.tenant_id and m.buying_group_id = told.buying_group_id
        and coalesce(m.person_id, lower(m.discovered_email)) = coalesce(told.person_id, lower(told.discovered_email))
)
order by told.buying_group_id, told.person_id, told.discovered_email
"""

CANDIDATE_TABLES = ("score_candidates", "group_candidates", "group_member_candidates", "regrouped_accounts")
NOTHING = {"candidates": 0, "moved": 0, "vanished": 0, "history": 0, "groups": 0, "members": 0}


class CandidatesLost(ClarityError):
    """Candidates are not logged: a crash of the database takes them. Scoring again as of the day brings them back."""

    def __init__(self, message: str, as_of: date) -> None:
        super().__init__(message)
        self.as_of = as_of


def run(tenant_id: str, run_id: str, fence: int, *, accepted: Acceptance | None = None) -> dict[str, int]:
    """Publish this run's candidates. Run again after a crash it finds them published and does nothing.

    Raises Breach, after writing it down, where the gate holds them back; `accepted` lets pass what is only unusual.
    Raises CandidatesLost where they have to be made again first.
    """
    with database.run_session(tenant_id, application="publish") as connection:
        connection.execute("select control.hold_lease(%s)", [fence])
        mark = _mark(connection, tenant_id, run_id)
        if mark is not None and mark.is_published:
            return NOTHING
        waiting = _waiting(connection, tenant_id, run_id, mark)
        failing = {}
        if waiting is not None:
            _plan(connection, tenant_id, waiting.candidates)
            failing = _failing_rows(connection, tenant_id, run_id)
        verdict = quality.judge(connection, tenant_id, run_id, waiting, failing, accepted)
        done = NOTHING
        if waiting is not None and not verdict.is_breach:
            done = {"candidates": waiting.candidates, **_publish(connection, tenant_id)}
    if verdict.is_breach:
        raise Breach(f"nothing published, the last good scores stay: {verdict.sentence} {verdict.remedy}")
    return done


def waiting_run(tenant_id: str) -> str:
    """The run whose candidates wait for publication."""
    with database.run_session(tenant_id, application="publish") as connection:
        row = connection.execute(
            "select run_id from scores.scoring_marks where tenant_id = %s and not is_published", [tenant_id]
        ).fetchone()
    if row is None:
        raise ClarityError("nothing waits to be published: the scores in force are those of the last run")
    return str(row[0])


@dataclass(frozen=True)
class _Mark:
    candidates: int
    as_of: date
    is_published: bool


def _mark(connection: psycopg.Connection, tenant_id: str, run_id: str) -> _Mark | None:
    """What this run's scoring has left; None if it found nothing to score."""
    row = connection.execute(
        "select candidates, as_of, is_published from scores.scoring_marks where tenant_id = %s and run_id = %s",
        [tenant_id, run_id],
    ).fetchone()
    return _Mark(*row) if row else None


def _waiting(connection: psycopg.Connection, tenant_id: str, run_id: str, mark: _Mark | None) -> Waiting | None:
    """The candidates of this run, all of which are there; None if there are none to publish."""
    if mark is None:
        return None
    there = connection.execute(
        "select count(*) from scores.score_candidates where tenant_id = %s and run_id = %s", [tenant_id, run_id]
    ).fetchone()
    if there != (mark.candidates,):
        raise CandidatesLost(
            f"of the {mark.candidates} candidates of this run the database has {there and there[0]}: it crashed since"
            " they were made",
            mark.as_of,
        )
    return Waiting(mark.candidates, mark.as_of)


def _plan(connection: psycopg.Connection, tenant_id: str, waiting: int) -> None:
    many = connection.execute(
        "select %s + count(*) > %s from scores.group_member_candidates where tenant_id = %s", [waiting, MANY, tenant_id]
    ).fetchone()
    if many == (True,):
        connection.execute("set local enable_nestloop = off")


def _publish(connection: psycopg.Connection, tenant_id: str) -> dict[str, int]:
    def each(*statements: LiteralString) -> int:
        return sum(connection.execute(one, parameters).rowcount for one in statements)

    parameters = {"tenant": tenant_id}
    done = {
        "history": each(HISTORY),
        "moved": each(ENGAGEMENTS),
        "vanished": each(VANISHED),
        "groups": each(VANISHED_GROUPS, GROUPS),
        "members": each(PROMOTED, VANISHED_MEMBERS, CHANGED_MEMBERS, NEW_MEMBERS),
    }
    for table in CANDIDATE_TABLES:
        connection.execute(
            sql.SQL("delete from {} where tenant_id = %s").format(sql.Identifier("scores", table)), [tenant_id]
        )
    connection.execute(
        "update scores.scoring_marks set is_published = true, before = null, news = '{}',"
        " moved_at = case when %s then now() else moved_at end where tenant_id = %s",
        [done["moved"] > 0, tenant_id],
    )
    return done


def _failing_rows(connection: psycopg.Connection, tenant_id: str, run_id: str) -> dict[str, tuple[str, int]]:
    """By check, what it finds wrong and with how many candidates; some of them are noted."""
    found = {check.name: (check.reason, 0) for check in (*ON_VALUES, KNOWN)}
    # candidates are wide: one look at all of them says whether any value needs a closer one
    any_failing = sql.SQL(" or ").join(sql.SQL("({})").format(sql.SQL(check.failing)) for check in ON_VALUES)
    suspicious = connection.execute(
        sql.SQL("select exists (select from scores.score_candidates where tenant_id = %s and ({}))").format(
            any_failing
        ),
        [tenant_id],
    ).fetchone()
    for check in (*(ON_VALUES if suspicious == (True,) else ()), KNOWN):
        with connection.cursor(row_factory=dict_row) as cursor:
            rows = cursor.execute(
                sql.SQL(
                    "select entity_type, entity_id, fit_score::text, engagement_score::text, combined_score::text,"
                    " tier, count(*) over () as failing from scores.score_candidates as c"
                    " where c.tenant_id = %s and ({failing}) limit %s"
                ).format(failing=sql.SQL(check.failing)),
                [tenant_id, SHOWN_FAILURES],
            ).fetchall()
        if not rows:
            continue
        found[check.name] = (check.reason, rows[0]["failing"])
        connection.cursor().executemany(
            "insert into quality.failures (id, tenant_id, run_id, model, test, key, reason, failed_row)"
            " values (%s, %s, %s, 'score_candidates', %s, %s, %s, %s)",
            [
                (str(uuid.uuid4()), tenant_id, run_id, check.name, row["entity_id"], check.reason, Jsonb(row))
                for row in rows
            ],
        )
    return found
