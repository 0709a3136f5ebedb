"""What the gate measures: counts and shares, one query per suite, in the database and with the tenant's own login.

What has hardly changed is not measured: where only few rows are others, no share can have moved far. So a run that
found nothing new asks what landed, how old each source is, and no more. What few rows change night by night adds up:
it is compared with what was measured last, however long ago that was.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

import psycopg

# The shares of rows that have to be new before a suite is measured again.
NEWS = {"canonical": 0.01, "candidates": 0.05}
RUNS_REMEMBERED = 30
DAYS_REMEMBERED = 90
TIERS = ("hot", "warm", "cool", "cold")

# A run may read a connector twice: a task that was killed has read a part of it.
_LANDED = """
select
    c.type,
    sum(s.records_created + s.records_updated + s.records_deleted)::float8 as landed,
    sum(s.records_failed)::float8 as rejected,
    (array_agg(s.status order by s.started_at desc))[1] = 'completed' as arrived
from control.sync_logs as s
join control.connectors as c on c.tenant_id = s.tenant_id and c.id = s.connector_id
where s.tenant_id = %(tenant)s and s.run_id = %(run)s
group by c.type
"""
_AGES = """
select type, extract(epoch from now() - coalesce(last_sync_at, created_at))::float8 / 3600
from control.connectors where tenant_id = %(tenant)s
"""
# By kind of thing: all accounts may be others, and they are few beside the people.
_WRITTEN = """
select model, sum(rows_affected)::float8 from control.model_runs
where tenant_id = %(tenant)s and finished_at > %(since)s
    and model in ('accounts', 'people', 'opportunities', 'activities')
group by model
"""
_MADE = """
select entity_type, count(*)::float8 from scores.score_candidates where tenant_id = %(tenant)s group by entity_type
"""
_CANONICAL = """
with a as (
    select
        count(*)::float8 as everything, count(domain)::float8 as domain, count(industry)::float8 as industry,
        count(employee_count)::float8 as employee_count, count(annual_revenue)::float8 as annual_revenue,
        (count(*) filter (where employee_count not between 0 and 10000000 or annual_revenue not between 0 and 1e13)
        )::float8 as impossible
    from canonical.accounts
    where tenant_id = %(tenant)s and deleted_at is null and external_id is distinct from '_none'
),

p as (
    select
        count(*)::float8 as everything, count(email)::float8 as email, count(title)::float8 as title,
        count(account_id)::float8 as account_id
    from canonical.people where tenant_id = %(tenant)s and deleted_at is null
),

o as (
    select
        count(*)::float8 as everything, count(stage)::float8 as stage, count(amount)::float8 as amount,
        count(close_date)::float8 as close_date, (count(*) filter (where amount not between -1e13 and 1e13)
        )::float8 as impossible
    from canonical.opportunities where tenant_id = %(tenant)s and deleted_at is null
),

d as (
    select
        coalesce(sum(activities) filter (where day > %(day)s::date - 28 and day <= %(day)s::date), 0)::float8 as recent,
        coalesce(sum(activities) filter (
            where day > greatest(%(day)s::date, (now() at time zone 'UTC')::date) + 1
        ), 0)::float8 as impossible,
        coalesce(sum(activities), 0)::float8 as everything
    from rollups.rollup_activity_daily where tenant_id = %(tenant)s
)

select to_jsonb(a), to_jsonb(p), to_jsonb(o), to_jsonb(d) from a, p, o, d
"""
# What would be in force: the candidates, and whatever has none.
_CANDIDATES = """
select
    coalesce(c.entity_type, e.entity_type), count(*)::float8,
    avg(case when c.entity_id is null then e.combined_score else c.combined_score end)::float8,
    stddev_pop(case when c.entity_id is null then e.combined_score else c.combined_score end)::float8,
    (count(*) filter (where coalesce(c.tier, e.tier) = 'hot'))::float8,
    (count(*) filter (where coalesce(c.tier, e.tier) = 'warm'))::float8,
    (count(*) filter (where coalesce(c.tier, e.tier) = 'cool'))::float8,
    (count(*) filter (where coalesce(c.tier, e.tier) = 'cold'))::float8
from (
    select entity_type, entity_id, combined_score, tier from scores.score_candidates where tenant_id = %(tenant)s
) as c
full join (
    select entity_type, entity_id, combined_score, tier from scores.engagements where tenant_id = %(tenant)s
) as e on e.entity_type = c.entity_type and e.entity_id = c.entity_id
group by 1
"""
# A rejected run's own metrics are no measure for the next one; of what landed, each run counts.
_LAST = """
select distinct on (metric) metric, value, measured_at from quality.metrics
where tenant_id = %(tenant)s and has_passed
order by metric asc, measured_at desc
"""
_VOLUMES = """
select metric, array_agg(value order by measured_at desc) from (
    select metric, value, measured_at, row_number() over (partition by metric order by measured_at desc) as age
    from quality.metrics
    where tenant_id = %(tenant)s and has_passed and metric like 'raw.%%.landed'
) as each_run
where age <= %(runs)s group by metric
"""


@dataclass(frozen=True)
class Waiting:
    """Candidates that wait for publication: how many, and of which day their scores are."""

    candidates: int
    as_of: date


@dataclass(frozen=True)
class History:
    """What each metric was when it last passed the gate, and what landed in the runs until now, newest first."""

    last: Mapping[str, float]
    measured_at: Mapping[str, Any]
    volumes: Mapping[str, list[float]]

    @classmethod
    def of(cls, connection: psycopg.Connection, tenant_id: str) -> "History":
        asked = {"tenant": tenant_id, "runs": RUNS_REMEMBERED}
        rows = connection.execute(_LAST, asked).fetchall()
        volumes = connection.execute(_VOLUMES, asked).fetchall()
        return cls({name: value for name, value, _ in rows}, {name: at for name, _, at in rows}, dict(volumes))


def measure(
    connection: psycopg.Connection, tenant_id: str, run_id: str, waiting: Waiting | None, history: History
) -> dict[str, float]:
    """Every metric of this run by its name, which begins with its suite."""
    asked = {"tenant": tenant_id, "run": run_id}
    metrics = _raw(connection, asked)
    if waiting is None:
        return metrics
    since = history.measured_at.get("canonical.accounts.count", "-infinity")
    if _is_worth_it("canonical", connection.execute(_WRITTEN, {**asked, "since": since}).fetchall(), history):
        metrics |= _canonical(connection, {**asked, "day": waiting.as_of})
    if _is_worth_it("candidates", connection.execute(_MADE, asked).fetchall(), history):
        metrics |= _candidates(connection, asked)
        ((version,),) = connection.execute(
            "select coalesce(max(score_version), 0)::float8 from scores.score_candidates where tenant_id = %(tenant)s",
            asked,
        ).fetchall()
        metrics |= {"candidates.score_version": version, "candidates.day": float(waiting.as_of.toordinal())}
    return metrics


def remember(connection: psycopg.Connection, tenant_id: str, run_id: str, metrics: Mapping[str, float]) -> None:
    """Keep what this run measured, in place of what an earlier attempt of it did."""
    connection.execute(
        "delete from quality.metrics where tenant_id = %s and run_id = %s and not has_passed", [tenant_id, run_id]
    )
    connection.execute(
        "insert into quality.metrics (tenant_id, run_id, metric, value)"
        " select %s, %s, m.metric, m.value from unnest(%s::text[], %s::float8[]) as m (metric, value)",
        [tenant_id, run_id, list(metrics), list(metrics.values())],
    )


def passed(connection: psycopg.Connection, tenant_id: str, run_id: str) -> None:
    """From now on these are the measure; what is too old to be one goes."""
    connection.execute(
        "update quality.metrics set has_passed = true where tenant_id = %s and run_id = %s", [tenant_id, run_id]
    )
    connection.execute(
        "delete from quality.metrics as m where m.tenant_id = %s and m.measured_at < now() - make_interval(days => %s)"
        " and exists (select from quality.metrics as later where later.tenant_id = m.tenant_id"
        " and later.metric = m.metric and later.has_passed and later.measured_at > m.measured_at)",
        [tenant_id, DAYS_REMEMBERED],
    )


def _raw(connection: psycopg.Connection, asked: Mapping[str, Any]) -> dict[str, float]:
    metrics = {}
    for connector, landed, rejected, arrived in connection.execute(_LANDED, asked):
        metrics[f"raw.{connector}.landed"] = landed
        metrics[f"raw.{connector}.offered"] = landed + rejected
        metrics[f"raw.{connector}.arrived"] = float(arrived)
        metrics[f"raw.{connector}.rejected_share"] = _share(rejected, landed + rejected)
    for connector, hours in connection.execute(_AGES, asked):
        metrics[f"raw.{connector}.hours_since_good_sync"] = hours
    return metrics


def _is_worth_it(suite: str, changed: Iterable[tuple[str, float]], history: History) -> bool:
    """Whether of any kind of thing enough are others than when they were measured last."""
    return any(
        rows > 0 and rows >= NEWS[suite] * history.last.get(f"{suite}.{kind}.count", 0) for kind, rows in changed
    )


def _canonical(connection: psycopg.Connection, asked: Mapping[str, Any]) -> dict[str, float]:
    (found,) = connection.execute(_CANONICAL, asked).fetchall()
    # JSON knows no difference between 3 and 3.0
    accounts, people, opportunities, days = ({name: float(value) for name, value in each.items()} for each in found)
    metrics = {}
    for entity, counted in (("accounts", accounts), ("people", people), ("opportunities", opportunities)):
        everything = counted.pop("everything")
        metrics[f"canonical.{entity}.count"] = everything
        if (impossible := counted.pop("impossible", None)) is not None:
            metrics[f"canonical.{entity}.impossible_share"] = _share(impossible, everything)
        for column, known in counted.items():
            metrics[f"canonical.{entity}.{column}_null_share"] = _share(everything - known, everything)
    metrics["canonical.day"] = float(asked["day"].toordinal())
    metrics["canonical.activities.count"] = days["everything"]
    metrics["canonical.activities.last_28_days"] = days["recent"]
    metrics["canonical.activities.impossible_share"] = _share(days["impossible"], days["everything"])
    return metrics


def _candidates(connection: psycopg.Connection, asked: Mapping[str, Any]) -> dict[str, float]:
    metrics = {}
    for kind, count, mean, spread, *tiers in connection.execute(_CANDIDATES, asked):
        metrics[f"candidates.{kind}.count"] = count
        if mean is not None:
            metrics[f"candidates.{kind}.mean"] = mean
            metrics[f"candidates.{kind}.spread"] = spread
        for tier, of_it in zip(TIERS, tiers, strict=True):
            metrics[f"candidates.{kind}.{tier}_share"] = _share(of_it, count)
    return metrics


def _share(part: float, whole: float) -> float:
    return part / whole if whole else 0.0
