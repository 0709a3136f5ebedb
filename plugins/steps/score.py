"""Scores a tenant as of a day: what dbt rolled up goes in, candidates for publication come out.

A run makes anew what can have changed, and no more. The mark that the last publication left says how much that is:

    no mark, other rules      everything, with its reasons
    another day               everybody's numbers; reasons where a number moved or something is new
    the same day and rules    accounts of which something changed, with all their people

`docs/scoring.md` tells why that comes to the same.
"""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date
from typing import Any, LiteralString

import numpy as np
import pandas as pd
import psycopg
from psycopg import sql

from scoring.arrays import Flags, Objects, numbers
from scoring.engine import score
from steps import bulk, group_candidates
from steps.publish import CANDIDATE_TABLES
from steps.score_inputs import VALUES, Known, Portion
from steps.score_rules import Rules
from warehouse import database

CANDIDATES: dict[str, LiteralString] = {
    "entity_type": "text",
    "entity_id": "text",
    "fit_score": "numeric",
    "engagement_score": "numeric",
    "combined_score": "numeric",
    "tier": "text",
    "fit_high": "boolean",
    "engagement_high": "boolean",
    "told_fit_score": "numeric",
    "told_engagement_score": "numeric",
    "told_combined_score": "numeric",
    "told_tier": "text",
    "is_material": "boolean",
    "score_breakdown": "jsonb",
}
_MOVE = ("from", "to", "scores")
_SCORES = ("fit_score", "engagement_score", "combined_score")

# A deal's contacts and stages come from tables without a trigger; what they come to is written down when it changes.
_CHANGED_DEALS = """
insert into scores.unscored (tenant_id, id)
select distinct a.tenant_id, a.account_id
from rollups.rollup_opportunity_attributes as a
where a.tenant_id = %(tenant)s and a.account_id is not null
    and a.known_since > coalesce(%(until)s::timestamptz, '-infinity')
on conflict do nothing
"""
# Somebody erased is a contact still, until the next transform: then no tie leads from their company to the deal.
_CONTACTS_GONE = """
insert into scores.unscored (tenant_id, id)
select distinct f.tenant_id, f.account_id
from rollups.rollup_opportunity_contacts as c
join rollups.rollup_opportunity_facts as f on f.tenant_id = c.tenant_id and f.opportunity_id = c.opportunity_id
where c.tenant_id = %(tenant)s
    and not exists (select from canonical.people as p where p.tenant_id = c.tenant_id and p.id = c.person_id)
on conflict do nothing
"""
# Who is a contact in another company's deal is scored together with that company.
_TIED = """
with ties as (
    select f.account_id as one, coalesce(p.account_id, p.id) as other
    from rollups.rollup_opportunity_contacts as c
    join rollups.rollup_opportunity_facts as f on f.tenant_id = c.tenant_id and f.opportunity_id = c.opportunity_id
    join canonical.people as p on p.tenant_id = c.tenant_id and p.id = c.person_id
    where c.tenant_id = %(tenant)s and f.account_id is distinct from p.account_id
)

insert into scores.unscored (tenant_id, id)
select %(tenant)s, ties.one from ties join scores.unscored as u on u.tenant_id = %(tenant)s and u.id = ties.other
union
select %(tenant)s, ties.other from ties join scores.unscored as u on u.tenant_id = %(tenant)s and u.id = ties.one
on conflict do nothing
"""
_TAKEN_OVER = """
insert into scores.score_candidates (
    tenant_id, run_id, as_of, score_version, entity_type, entity_id, fit_score, engagement_score, combined_score, tier,
    fit_high, engagement_high, told_fit_score, told_engagement_score, told_combined_score, told_tier, is_material,
    score_breakdown
)
select %s, %s, %s, %s, scored.* from scored
"""
_MARK = """
insert into scores.scoring_marks as mark (
    tenant_id, run_id, as_of, rules, opportunities_known_until, candidates, is_published, news
) values (
    %(tenant)s, %(run)s, %(as_of)s, %(rules)s,
    (select max(known_since) from rollups.rollup_opportunity_attributes where tenant_id = %(tenant)s),
    %(candidates)s, false, %(news)s
)
on conflict (tenant_id) do update set
    run_id = excluded.run_id, as_of = excluded.as_of, rules = excluded.rules,
    opportunities_known_until = excluded.opportunities_known_until, candidates = excluded.candidates,
    is_published = false, news = excluded.news,
    before = case when %(again)s then mark.before else to_jsonb(mark) - array['before', 'news'] end
"""


# A candidate without a score in force, and a score in force whose tier is another, are what people ask about first.
_WOULD_MOVE = """
select coalesce(e.tier, 'none'), c.tier, count(*)
from scores.score_candidates as c
left join scores.engagements as e
    on e.tenant_id = c.tenant_id and e.entity_type = c.entity_type and e.entity_id = c.entity_id
where c.tenant_id = %(tenant)s
    and (c.fit_score, c.engagement_score, c.combined_score, c.tier)
    is distinct from (e.fit_score, e.engagement_score, e.combined_score, e.tier)
group by 1, 2
order by 1, 2
"""


@dataclass(frozen=True)
class Extent:
    """How much is to be scored. `news` are the accounts, and people without one, of which something changed."""

    everything: bool
    only_unscored: bool
    news: frozenset[str]


def run(
    tenant_id: str,
    run_id: str,
    fence: int,
    as_of: date,
    *,
    dry_run: bool = False,
    forwards_only: bool = False,
) -> dict[str, Any]:
    """Replace the tenant's candidates by what its scores as of the day would change. Published scores stay.

    A dry run keeps nothing, and says what would move. So does, if it goes `forwards_only`, a run for a day before the
    one that the scores in force are of: readers do not go back in time because an old night is run again.

    A run that scores for the second time, because its candidates or its process were lost, begins where it began first.
    """
    # one of its own: how much of its temporary tables it holds in memory can be said but before it has had one
    run_login = database.conninfo(database.run_login(tenant_id))
    with database.connect(run_login, application="score") as connection:
        rules = Rules.of(connection, tenant_id)
        connection.execute("select control.hold_lease(%s)", [fence])
        mark = _last_mark(connection, tenant_id)
        again = mark is not None and mark.run_id == run_id and not mark.is_published
        if again:
            mark = _mark_before(connection, tenant_id)
        if mark is not None:
            _note_the_rest(connection, tenant_id, mark.opportunities_known_until)
        connection.commit()

        connection.execute("select control.hold_lease(%s)", [fence])
        # before anything is read: what changes from here on is noted again, for the next run
        news = connection.execute("delete from scores.unscored where tenant_id = %s returning id", [tenant_id])
        everything = mark is None or not mark.is_published or mark.rules != rules.digest
        is_past = forwards_only and mark is not None and as_of < mark.as_of
        same_day = mark is not None and mark.as_of == as_of and not everything
        extent = Extent(everything, same_day, frozenset(one for (one,) in news))
        # the candidates of the first time must not stay, even if there is nothing to replace them by
        if extent.only_unscored and not extent.news and not again:
            return {"as_of": as_of.isoformat(), "scored": {}, "candidates": 0, "kept": not dry_run}
        scored, candidates = _replace_candidates(connection, tenant_id, run_id, as_of, rules, extent)
        connection.execute(
            _MARK.encode(),
            {
                "tenant": tenant_id,
                "run": run_id,
                "as_of": as_of,
                "rules": rules.digest,
                "candidates": candidates,
                "again": again,
                "news": [] if everything else list(extent.news),
            },
        )
        summary = {"as_of": as_of.isoformat(), "scored": scored, "candidates": candidates}
        if not dry_run and not is_past:
            return {**summary, "kept": True}
        moves = connection.execute(_WOULD_MOVE.encode(), {"tenant": tenant_id}).fetchall()
        connection.rollback()
    return {**summary, "kept": False, "would_move": [dict(zip(_MOVE, move, strict=True)) for move in moves]}


@dataclass(frozen=True)
class _LastMark:
    run_id: str
    as_of: date
    rules: str
    opportunities_known_until: Any
    is_published: bool


def _last_mark(connection: psycopg.Connection, tenant_id: str) -> _LastMark | None:
    row = connection.execute(
        "select run_id, as_of, rules, opportunities_known_until, is_published from scores.scoring_marks"
        " where tenant_id = %s",
        [tenant_id],
    ).fetchone()
    return _LastMark(*row) if row else None


def _mark_before(connection: psycopg.Connection, tenant_id: str) -> _LastMark | None:
    """The mark that this run found when it scored first. What it took as news then is noted again."""
    connection.execute(
        "insert into scores.unscored (tenant_id, id) select tenant_id, unnest(news) from scores.scoring_marks"
        " where tenant_id = %s on conflict do nothing",
        [tenant_id],
    )
    row = connection.execute(
        "select before.run_id, before.as_of, before.rules, before.opportunities_known_until, before.is_published"
        " from scores.scoring_marks as mark,"
        " jsonb_populate_record(null::scores.scoring_marks, mark.before) as before"
        " where mark.tenant_id = %s and mark.before is not null",
        [tenant_id],
    ).fetchone()
    return _LastMark(*row) if row else None


def _note_the_rest(connection: psycopg.Connection, tenant_id: str, until: Any) -> None:
    """What no trigger noted, and whoever is tied to what was noted."""
    connection.execute(_CHANGED_DEALS, {"tenant": tenant_id, "until": until})
    connection.execute(_CONTACTS_GONE, {"tenant": tenant_id})
    while connection.execute(_TIED, {"tenant": tenant_id}).rowcount:
        pass


def _replace_candidates(
    connection: psycopg.Connection, tenant_id: str, run_id: str, as_of: date, rules: Rules, extent: Extent
) -> tuple[dict[str, int], int]:
    """Counts of what was scored, by type, and of candidates."""
    for table in CANDIDATE_TABLES:
        connection.execute(
            sql.SQL("delete from {} where tenant_id = %s").format(sql.Identifier("scores", table)), [tenant_id]
        )
    # else what is copied of a portion goes through the disk before it is taken over
    connection.execute("set local temp_buffers = '96MB'")
    bulk.make_temporary(connection, "scored", CANDIDATES)
    grouping = group_candidates.Grouping(connection, tenant_id, rules) if rules.buying_groups else None
    scored: dict[str, int] = {}
    candidates = 0
    with bulk.reader(tenant_id) as reader:
        known = Known(
            reader,
            tenant_id,
            as_of,
            custom=[criterion.field for criterion in rules.configs.fit.custom],
            solution_field=rules.solution_field,
            window=rules.window,
            only_unscored=extent.only_unscored,
        )

    def write(columns: list[list[str]], formed: group_candidates.Formed | None) -> None:
        bulk.copy_in(connection, "scored", columns)
        connection.execute(_TAKEN_OVER, [tenant_id, run_id, as_of, rules.score_version])
        connection.execute("truncate scored")
        if grouping is not None and formed is not None:
            grouping.write(formed)

    # while the database takes one portion, the next is computed
    with ThreadPoolExecutor(max_workers=1) as writer:
        writing: Future[None] | None = None
        for portion in known:
            found = score(portion.inputs, rules.configs, as_of)
            for kind, count in found.table["entity_type"].value_counts().items():
                scored[str(kind)] = scored.get(str(kind), 0) + int(count)
            moved = _moved(found.table, portion, rules.score_version)
            is_candidate = moved | _with_news(portion, extent.news) | extent.everything | extent.only_unscored
            chosen = np.flatnonzero(is_candidate)
            candidates += len(chosen)
            told = _told(found.table, portion.published, moved, rules.material_points)
            columns = _columns(found.table.iloc[chosen], told.iloc[chosen], found.breakdowns(chosen))
            formed = grouping.formed(portion, found, extent.news, everything=extent.everything) if grouping else None
            if writing is not None:
                writing.result()
            writing = writer.submit(write, columns, formed)
        if writing is not None:
            writing.result()
    return scored, candidates


def _moved(table: pd.DataFrame, portion: Portion, version: int) -> Flags:
    """Where a value is another than the one in force, or none is in force."""
    assert (table["entity_id"].to_numpy() == portion.published["entity_id"].to_numpy()).all()
    before = portion.published
    moved: Flags = ~before["is_known"].to_numpy(dtype=bool)
    for name in VALUES:
        now = table[name].to_numpy(dtype=object) if name != "score_version" else np.full(len(table), version)
        then = before[name].to_numpy(dtype=object)
        moved |= (now != then) & ~(pd.isna(now) & pd.isna(then))
    return moved


def _told(table: pd.DataFrame, before: pd.DataFrame, moved: Flags, material_points: float) -> pd.DataFrame:
    """What history will have said last of each, and whether it is to say so now: a smaller change, within the same
    tier, is no news. Scores move by tenths: even where the least of changes is material, none at all is not."""
    tenths = np.round(max(material_points, 0.1) * 10, 6)
    far: Flags = (table["tier"] != before["told_tier"]).to_numpy(dtype=bool)
    for name in _SCORES:
        now, then = numbers(table[name]), numbers(before[f"told_{name}"])
        far = far | (np.isnan(now) != np.isnan(then)) | (np.rint(np.abs(now - then) * 10) >= tenths)
    is_material = moved & far
    columns = {f"told_{name}": table[name].where(is_material, before[f"told_{name}"]) for name in (*_SCORES, "tier")}
    return pd.DataFrame({**columns, "is_material": is_material})


def _with_news(portion: Portion, news: frozenset[str]) -> Flags:
    inputs = portion.inputs
    people = inputs.people["account_id"].where(inputs.people["account_id"].notna(), inputs.people["person_id"])
    units = pd.concat([inputs.accounts["account_id"], inputs.opportunities["account_id"], people])
    return np.asarray(units.isin(news).to_numpy(), dtype=bool)


def _columns(table: pd.DataFrame, told: pd.DataFrame, reasons: Objects) -> list[list[str]]:
    """As CANDIDATES names them."""
    known = [*table.columns, *told.columns]
    assert [*known, "score_breakdown"] == [*CANDIDATES]
    return [*(_text(table[name]) for name in table), *(_text(told[name]) for name in told), reasons.tolist()]


def _text(column: pd.Series) -> list[str]:
    return ["" if value is None or value != value else str(value) for value in column.tolist()]
