"""Why a run is red: what failed first, what was not refreshed by it, and the safe command to run next.

What the tasks of the run came to stands in Airflow's own database, what they said in their logs, what they did in
ours. The database answers when Airflow does not; and where Airflow keeps its tables elsewhere, ours tell what they can.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg

from control import access, registry
from control.registry import TenantEntry
from warehouse import database
from warehouse.errors import MisuseError
from warehouse.home import home, setting

# in the order of the data; what fails first is the cause, what comes after it did not happen
STAGES = ("extract", "transform", "score", "quality", "publish", "writeback")
REFRESHED_BY = {
    "transform": "canonical tables and rollups",
    "score": "scores",
    "publish": "published scores and marts",
    "writeback": "the CRM",
}
DAGS = ("pipeline__", "rescore__")
RUN_IDS = ("scheduled__", "manual__", "backfill__", "asset_triggered__")
KILLED = "its log ends without an error: its process was killed, or its machine went away"
ELSEWHERE = "its log is on the disk of the worker that ran it, or gone with it: the task's page in Airflow asks there"


@dataclass(frozen=True)
class Failure:
    """`task` is as a person says it: `extract salesforce`."""

    task: str
    said: str

    @property
    def stage(self) -> str:
        return self.task.partition(" ")[0]


@dataclass(frozen=True)
class WhyRed:
    run: str
    failures: Sequence[Failure]
    not_refreshed: Sequence[str]
    still_good: str
    next: str
    succeeded_since: str

    @property
    def lines(self) -> list[str]:
        cause, *others = self.failures
        return [
            f"{self.run} failed.",
            f"  cause          {cause.task}: {cause.said}",
            *(f"  failed too     {other.task}: {other.said}" for other in others),
            f"  not refreshed  {'; '.join(self.not_refreshed)}",
            f"  still good     {self.still_good}",
            *([f"  since then     {self.succeeded_since} succeeded"] if self.succeeded_since else []),
            f"  next           {self.next}",
        ]

    @property
    def facts(self) -> dict[str, Any]:
        return {**asdict(self), "cause": asdict(self.failures[0])}


@dataclass(frozen=True)
class _Task:
    """What Airflow knows of a task of the run."""

    task_id: str
    map_index: int
    label: str
    state: str
    tries: int

    @property
    def name(self) -> str:
        return f"{self.task_id} {self.label}".strip()


def run(named: str, *, actor: str) -> WhyRed:
    """`named` is a run, as `pipeline__acme/<run id>` or its id alone, or a tenant or a DAG, whose last red run is
    meant. MisuseError if there is no such run, or if it is not red."""
    dag_id, _, run_id = named.rpartition("/")
    if not dag_id:
        dag_id, run_id = _found(named, actor)
    slug = dag_id.partition("__")[2] if dag_id.startswith(DAGS) else dag_id
    tenant = registry.tenant(slug)
    access.require(tenant.id, actor, "run.show")
    if not run_id:
        dag_id, run_id = _last_red(tenant, [dag_id] if dag_id != slug else [f"{kind}{slug}" for kind in DAGS])
    whole = f"{dag_id}/{run_id}" if dag_id else run_id
    with database.run_session(tenant.id, application="why-red") as connection:
        failures = _failures(connection, tenant.id, dag_id, run_id, whole)
        if not failures:
            raise MisuseError(f"nothing of {whole} failed, as far as is known here")
        return WhyRed(
            whole,
            failures,
            _not_refreshed(connection, tenant.id, failures),
            _still_good(connection, tenant.id),
            _next(tenant.slug, failures[0]),
            _succeeded_since(dag_id, run_id),
        )


# ── which run ────────────────────────────────────────────────────────────────────────────────────────────────────────


def _found(named: str, actor: str) -> tuple[str, str]:
    """The DAG and the run that are meant; an empty run means the last red one."""
    if not named.startswith(RUN_IDS):
        return named, ""
    # a run's id says nothing about whose it is
    access.require_system(actor, "why-red of a run without its DAG")
    dags = [
        dag for (dag,) in _airflow("select dag_id from dag_run where run_id = %s and state = 'failed'", [named]) or []
    ]
    if len(dags) != 1:
        several = f"{len(dags)} DAGs have a red run" if dags else "no red run is known"
        raise MisuseError(f"{several} of that name: say whose it is, as in pipeline__acme/{named[:80]}")
    return str(dags[0]), named


def _last_red(tenant: TenantEntry, dags: Sequence[str]) -> tuple[str, str]:
    rows = _airflow(
        "select dag_id, run_id from dag_run where dag_id = any(%s) and state = 'failed' order by end_date desc limit 1",
        [list(dags)],
    )
    if rows is None:
        rows = [_split(run) for run in _last_red_by_ours(tenant.id)]
    if not rows:
        raise MisuseError(f"no run of {tenant.slug} is red, as far as is known here")
    return rows[0][0], rows[0][1]


def _last_red_by_ours(tenant_id: str) -> Iterator[str]:
    with database.run_session(tenant_id, application="why-red") as connection:
        row = connection.execute(
            "select run_id from ("
            " select run_id, started_at as at from control.sync_logs where tenant_id = %(tenant)s and status = 'failed'"
            " union all"
            " select run_id, finished_at from control.model_runs where tenant_id = %(tenant)s and status = 'error'"
            ") as red where run_id is not null order by at desc limit 1",
            {"tenant": tenant_id},
        ).fetchone()
    yield from row or ()


def _split(run: str) -> tuple[str, str]:
    dag_id, _, run_id = run.rpartition("/")
    return dag_id, run_id


def _succeeded_since(dag_id: str, run_id: str) -> str:
    rows = _airflow(
        "select later.run_id from dag_run as later join dag_run as red on red.dag_id = later.dag_id"
        " where red.dag_id = %s and red.run_id = %s and later.state = 'success' and later.end_date > red.end_date"
        " order by later.end_date desc limit 1",
        [dag_id, run_id],
    )
    return str(rows[0][0]) if rows else ""


def _airflow(query: str, parameters: Sequence[Any]) -> list[tuple[Any, ...]] | None:
    """What Airflow's database says; None if it is not here."""
    try:
        with database.connect(database.airflow_url(driver="postgresql"), application="why-red", patience=5) as there:
            return there.execute(query.encode(), parameters).fetchall()
    except psycopg.errors.UndefinedTable:
        return None


# ── what failed ──────────────────────────────────────────────────────────────────────────────────────────────────────


def _failures(connection: psycopg.Connection, tenant_id: str, dag_id: str, run_id: str, whole: str) -> list[Failure]:
    """In the order of the stages. Of each what it said last, by its log or else by what it left in our tables."""
    by_ours = _by_ours(connection, tenant_id, whole)
    rows = _airflow(
        "select task_id, map_index, coalesce(rendered_map_index, ''), state, try_number from task_instance"
        " where dag_id = %s and run_id = %s and state = 'failed' and task_id <> 'conclude'",
        [dag_id, run_id],
    )
    if not rows:
        found = [Failure(task, said) for task, said in by_ours.items()]
    else:
        tasks = [_Task(*row) for row in rows]
        silent = ELSEWHERE if setting("CLARITY_EXECUTOR") == "celery" else KILLED
        found = [
            Failure(task.name, _last_error(dag_id, run_id, task) or by_ours.get(task.name) or silent) for task in tasks
        ]
    return sorted(found, key=lambda each: (_place(each.stage), each.task))


def _place(stage: str) -> int:
    return STAGES.index(stage) if stage in STAGES else len(STAGES)


def _by_ours(connection: psycopg.Connection, tenant_id: str, whole: str) -> dict[str, str]:
    syncs = connection.execute(
        "select distinct on (c.type) 'extract ' || c.type, s.error_message from control.sync_logs as s"
        " join control.connectors as c on c.tenant_id = s.tenant_id and c.id = s.connector_id"
        " where s.tenant_id = %s and s.run_id = %s and s.status = 'failed' order by c.type, s.started_at desc",
        [tenant_id, whole],
    ).fetchall()
    models = connection.execute(
        "select 'transform', string_agg(distinct model || ': ' || message, '; ') from control.model_runs"
        " where tenant_id = %s and run_id = %s and status = 'error' having count(*) > 0",
        [tenant_id, whole],
    ).fetchall()
    refused = connection.execute(
        "select case when model = 'score_candidates' then 'publish' else 'transform' end,"
        " string_agg(distinct reason, '; ') || ' (rows in quality.failures)' from quality.failures"
        " where tenant_id = %s and run_id = %s group by 1",
        [tenant_id, whole],
    ).fetchall()
    return {str(task): str(said) for task, said in [*refused, *models, *syncs]}


def _last_error(dag_id: str, run_id: str, task: _Task) -> str:
    """The sentence that the last attempt ended with."""
    folder = home() / "airflow" / "logs" / f"dag_id={dag_id}" / f"run_id={run_id}" / f"task_id={task.task_id}"
    if task.map_index >= 0:
        folder /= f"map_index={task.map_index}"
    attempts = sorted(folder.glob("attempt=*.log"), key=lambda file: int(file.stem.partition("=")[2]))
    said = [sentence for file in attempts[-1:] for sentence in _errors(file)]
    return said[-1] if said else ""


def _errors(log: Path) -> Iterator[str]:
    for line in log.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if entry.get("level") in ("error", "critical"):
            detail = entry.get("error_detail") or [{}]
            yield str(detail[0].get("exc_value") or entry.get("event", ""))


# ── what it means, and what to do ────────────────────────────────────────────────────────────────────────────────────


def _not_refreshed(connection: psycopg.Connection, tenant_id: str, failures: Sequence[Failure]) -> list[str]:
    told = []
    for failure in failures:
        if failure.stage == "extract":
            connector = failure.task.partition(" ")[2]
            row = connection.execute(
                "select last_sync_at from control.connectors where tenant_id = %s and type = %s", [tenant_id, connector]
            ).fetchone()
            told.append(f"what {connector} has told since {_moment(row[0]) if row and row[0] else 'ever'}")
    place = min((_place(each.stage) for each in failures if each.stage != "extract"), default=None)
    if place is not None:
        told += [what for stage, what in REFRESHED_BY.items() if _place(stage) >= place]
    return told


def _still_good(connection: psycopg.Connection, tenant_id: str) -> str:
    row = connection.execute(
        "select count(*), max(as_of), max(scored_at) from scores.engagements where tenant_id = %s", [tenant_id]
    ).fetchone()
    if row is None or not row[0]:
        return "nothing yet: this tenant has never been scored"
    mark = connection.execute(
        "select as_of from scores.scoring_marks where tenant_id = %s and is_published", [tenant_id]
    ).fetchone()
    return f"{row[0]:,} scores as of {mark[0] if mark else row[1]}, the last of them moved {_moment(row[2])}"


def _next(slug: str, cause: Failure) -> str:
    if cause.stage == "extract":
        return f"clarity connector test {slug} {cause.task.partition(' ')[2]}"
    if cause.stage == "writeback":
        return f"clarity writeback {slug} --dry-run"
    return f"clarity run {slug}"


def _moment(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
