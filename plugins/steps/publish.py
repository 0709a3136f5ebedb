"""Candidates become scores: checked first, then all at once, and only where something moved.

A reader sees the whole of the last publication or the whole of this one. A breach publishes nothing: the last good
scores stay, and the failing rows are in quality.failures.
"""

import uuid
from dataclasses import dataclass
from typing import LiteralString

import psycopg
from psycopg import sql
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from control import settings
from warehouse import database
from warehouse.errors import ClarityError

SHOWN_FAILURES = 100


@dataclass(frozen=True)
class Check:
    name: str
    reason: str
    failing: LiteralString  # a condition on score_candidates, true for a row that must not be published


CHECKS = (
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
    Check(
        "entity_known",
        "what was scored is not in canonical any more",
        "not exists (select from canonical.accounts as e where c.entity_type = 'account' and e.id = c.entity_id)"
        " and not exists (select from canonical.people as e where c.entity_type = 'person' and e.id = c.entity_id)"
        " and not exists"
        " (select from canonical.opportunities as e where c.entity_type = 'opportunity' and e.id = c.entity_id)",
    ),
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
left join lateral (
    select h.tier, h.combined_score, h.fit_score, h.engagement_score
    from scores.score_history as h
    where h.tenant_id = c.tenant_id and h.entity_type = c.entity_type and h.entity_id = c.entity_id
    order by h.published_at desc
    limit 1
) as last on true
where c.tenant_id = %(tenant)s
    and (
        last.tier is null or last.tier <> c.tier
        or abs(last.combined_score - c.combined_score) >= %(material)s
        or abs(last.engagement_score - c.engagement_score) >= %(material)s
        or abs(last.fit_score - c.fit_score) >= %(material)s
        or (last.fit_score is null) <> (c.fit_score is null)
    )
"""

ENGAGEMENTS = """
insert into scores.engagements as e (
    id, tenant_id, entity_type, entity_id, as_of, fit_score, engagement_score, combined_score, tier, fit_high,
    engagement_high, score_version, score_breakdown
)
select
    md5(concat_ws('|', c.tenant_id, c.entity_type, c.entity_id))::uuid::text,
    c.tenant_id, c.entity_type, c.entity_id, c.as_of, c.fit_score, c.engagement_score, c.combined_score, c.tier,
    c.fit_high, c.engagement_high, c.score_version, c.score_breakdown
from scores.score_candidates as c
where c.tenant_id = %(tenant)s
    and not exists (
        select from scores.engagements as same
        where same.tenant_id = c.tenant_id and same.entity_type = c.entity_type and same.entity_id = c.entity_id
            and (same.fit_score, same.engagement_score, same.combined_score, same.tier, same.fit_high,
                same.engagement_high, same.score_version, same.score_breakdown)
            is not distinct from (c.fit_score, c.engagement_score, c.combined_score, c.tier, c.fit_high,
                c.engagement_high, c.score_version, c.score_breakdown)
    )
order by c.entity_type, c.entity_id
on conflict (tenant_id, entity_type, entity_id) do update set
    as_of = excluded.as_of, fit_score = excluded.fit_score, engagement_score = excluded.engagement_score,
    combined_score = excluded.combined_score, tier = excluded.tier, fit_high = excluded.fit_high,
    engagement_high = excluded.engagement_high, score_version = excluded.score_version,
    score_breakdown = excluded.score_breakdown, scored_at = now()
"""

VANISHED = """
delete from scores.engagements as e
where e.tenant_id = %(tenant)s
    and not exists (
        select from scores.score_candidates as c
        where c.tenant_id = e.tenant_id and c.entity_type = e.entity_type and c.entity_id = e.entity_id
    )
"""


def run(tenant_id: str, run_id: str, fence: int) -> dict[str, int]:
    """Publish this run's candidates. Run again after a crash it finds them published and does nothing."""
    with database.run_session(tenant_id, application="publish") as connection:
        connection.execute("select control.hold_lease(%s)", [fence])
        waiting = connection.execute(
            "select count(*) from scores.score_candidates where tenant_id = %s and run_id = %s", [tenant_id, run_id]
        ).fetchone()
        if waiting == (0,):
            return {"candidates": 0, "moved": 0, "vanished": 0, "history": 0}
        breaches = _breaches(connection, tenant_id, run_id)
        if not breaches:
            # a smaller change, within the same tier, is no news: neither history nor writeback moves
            material = settings.effective(connection, tenant_id).history_material_points
            history = connection.execute(HISTORY, {"tenant": tenant_id, "material": material}).rowcount
            moved = connection.execute(ENGAGEMENTS, {"tenant": tenant_id}).rowcount
            vanished = connection.execute(VANISHED, {"tenant": tenant_id}).rowcount
            published = connection.execute(
                "delete from scores.score_candidates where tenant_id = %s", [tenant_id]
            ).rowcount
    if breaches:
        raise ClarityError(
            f"nothing published, the last good scores stay: {'; '.join(breaches)}."
            f" The rows are in quality.failures, run_id {run_id}"
        )
    return {"candidates": published, "moved": moved, "vanished": vanished, "history": history}


def _breaches(connection: psycopg.Connection, tenant_id: str, run_id: str) -> list[str]:
    """Failed checks, a sentence each; their rows are noted."""
    found = []
    for check in CHECKS:
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
        found.append(f"{check.reason} ({rows[0]['failing']} rows)")
        connection.cursor().executemany(
            "insert into quality.failures (id, tenant_id, run_id, model, test, key, reason, failed_row)"
            " values (%s, %s, %s, 'score_candidates', %s, %s, %s, %s)",
            [
                (str(uuid.uuid4()), tenant_id, run_id, check.name, row["entity_id"], check.reason, Jsonb(row))
                for row in rows
            ],
        )
    return found
