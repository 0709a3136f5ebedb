"""Maintenance: what has had its time goes, and what was left behind is cleared away.

A tenant's lease is held while its rows are looked at, so no run of it is under way. Everything happens in short
transactions, and what is due is found by looking: killed at any moment and run again, it does the rest.

By a tenant's own `retentionDays`, which is off until somebody sets it:

    raw                         versions of a record that a later one has replaced, once every model has read them
    raw, of activities          activities that happened before the days that any score looks at
    rollups                     differences known longer than that become one per person, signal and day
    quality                     refused records and failed tests
    control                     logs of syncs and models, but for the last of each connector and model
    scores.writeback_receipts   what was written back and settled: such a run can't be undone any more

What scores are made of (canonical, rollups), the scores, their history and the audit trail stay.

Whoever's it is: syncs that were killed are closed, webhooks known longer than a vendor repeats them are forgotten, and
so is that a vendor was asked about somebody, once it may be asked again; the gate's pages of the last runs are made.
"""

import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, LiteralString

import psycopg
from psycopg import sql

from control import access, clerk, quality, registry, settings, tables
from control.registry import TenantEntry
from steps import plan, quality_pages
from steps.score_rules import Rules
from warehouse import database, landing, lease
from warehouse.errors import ClarityError
from warehouse.home import home

Report = Callable[[str], None]

BATCH = 20_000
# a run that is under way is not kept waiting, nor waited for: the next maintenance finds the tenant again
PATIENCE = 5.0
# vendors repeat a webhook for a week at most
WEBHOOKS_KNOWN_FOR_DAYS = 30
WORKERS_ANSWERS_DAYS = 2
# nobody writes a file that long
DRAFT_HOURS = 24
TASK_LOG_DAYS = 90
# Airflow keeps a folder per DAG, and a tenant's DAGs are named after it
LOGS_OF_A_DAG = "dag_id="
DAGS_OF_TENANTS = ("pipeline__", "rescore__")

# In each: %(before)s is the moment by the tenant's retention.
OUTLIVED: dict[str, LiteralString] = {
    "quality.quarantine": "coalesce(t.replayed_at, t.created_at) < %(before)s",
    "quality.failures": "t.created_at < %(before)s",
    "control.sync_logs": """t.completed_at < %(before)s and exists (
        select from control.sync_logs as later where later.tenant_id = t.tenant_id
            and later.connector_id = t.connector_id and later.started_at > t.started_at)""",
    "control.model_runs": """t.finished_at < %(before)s and exists (
        select from control.model_runs as later where later.tenant_id = t.tenant_id
            and later.model = t.model and later.finished_at > t.finished_at)""",
    "scores.writeback_receipts": "t.settled_at < %(before)s and t.outcome not in ('planned', 'sending')",
}
REPLACED: LiteralString = """t.landed_at < %(before)s and t.seq <= %(read)s and exists (
    select from {table} as later where later.tenant_id = t.tenant_id and later.record_id = t.record_id
        and (coalesce(later.source_updated_at, '-infinity'), later.seq)
            > (coalesce(t.source_updated_at, '-infinity'), t.seq))"""
# an external id is the source's own, with the source's name before it where it is not the CRM's
LONG_AGO: LiteralString = """t.landed_at < %(before)s and t.seq <= %(read)s and t.record_id in (
    select case when starts_with(a.external_id, %(connector)s || ':')
        then substr(a.external_id, length(%(connector)s) + 2) else a.external_id end
    from canonical.activities as a
    where a.tenant_id = %(tenant)s and a.source = %(connector)s and a.occurred_at < %(unscored_before)s)"""


@dataclass
class Done:
    """Rows removed or changed by table, over all tenants; who was left for the next time."""

    removed: Counter[str] = field(default_factory=Counter)
    closed_syncs: int = 0
    compacted: int = 0
    files: list[str] = field(default_factory=list)
    busy: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def as_dict(self) -> dict[str, Any]:
        return {**vars(self), "removed": dict(sorted(self.removed.items())), "seconds": round(self.seconds, 2)}


def run(
    *,
    slug: str | None = None,
    dry_run: bool = False,
    actor: str = "system:maintenance",
    report: Report = lambda _line: None,
) -> dict[str, Any]:
    """Maintain one tenant, or all of them and the platform. A dry run counts and changes nothing.

    What fails for one tenant does not hold up the others; at the end ClarityError names them.
    """
    access.require_system(actor, "maintenance")
    started, done, failures = time.monotonic(), Done(), list[str]()
    everybody = [registry.tenant(slug)] if slug else registry.everybody()
    for number, tenant in enumerate(everybody, start=1):
        try:
            if _is_at_work(tenant):
                done.busy.append(tenant.slug)
                continue
            with lease.hold(tenant.id, lease.local_holder(), stage="maintenance", patience=PATIENCE) as held:
                _Maintenance(tenant, held.fence, dry_run, done).run()
            if not dry_run:
                # what makes them takes seconds to load: no run is to pay for that
                quality_pages.make(tenant.id, tenant.slug)
        except (ClarityError, psycopg.Error) as error:
            failures.append(f"{tenant.slug}: {error}")
        report(f"{number} of {len(everybody)} tenants, {done.removed.total():,} rows so far")
    if slug is None and not failures:
        done.removed["control.clerk_events"] += clerk.forget_events(
            older_than_days=WEBHOOKS_KNOWN_FOR_DAYS, dry_run=dry_run
        )
        done.removed["celery_taskmeta"] += _forget_workers_answers(dry_run)
        done.files += sweep({tenant.slug for tenant in everybody}, dry_run=dry_run)
    done.removed = +done.removed
    done.seconds = time.monotonic() - started
    if failures:
        raise ClarityError(f"maintenance is not complete. {'; '.join(failures)}")
    return done.as_dict()


def sweep(slugs: set[str], *, dry_run: bool = False) -> list[str]:
    """Clear away what was left behind on this machine's disk, and what it keeps of tenants that are gone."""
    found = list(_left_behind(slugs))
    for place in () if dry_run else found:
        _remove(place)
    return [str(place.relative_to(home())) for place in found]


def _is_at_work(tenant: TenantEntry) -> bool:
    with database.control_session(tenant.id) as connection:
        return lease.current(connection, tenant.id) is not None


@dataclass(frozen=True)
class _Maintenance:
    """One tenant's, while its lease is held."""

    tenant: TenantEntry
    fence: int
    dry_run: bool
    done: Done

    def run(self) -> None:
        with database.control_session(self.tenant.id, autocommit=True) as connection:
            self._close_killed_syncs(connection)
            self._remove(
                connection,
                "control.webhook_inbox",
                sql.SQL("t.landed_at < now() - make_interval(days => %(days)s)"),
                {"days": WEBHOOKS_KNOWN_FOR_DAYS},
            )
            self._remove(connection, "control.lookups", sql.SQL("t.good_until < now()"), {})
            days = settings.effective(connection, self.tenant.id).retention_days
            if days is None:
                return
            now = datetime.now(UTC)
            before = now - timedelta(days=days)
            # what a score may still look at is kept however short the retention is
            unscored = now - timedelta(days=max(days, Rules.of(connection, self.tenant.id).window) + 1)
            for table, condition in OUTLIVED.items():
                self._remove(connection, table, sql.SQL(condition), {"before": before})
            self._thin_raw(connection, before, unscored)
            self._compact(connection, unscored)

    def _close_killed_syncs(self, connection: psycopg.Connection) -> None:
        with self._transaction(connection):
            self.done.closed_syncs += connection.execute(
                "update control.sync_logs set status = 'failed', completed_at = now(),"
                " error_message = 'the sync was interrupted; the next one goes on from its last page'"
                " where tenant_id = %s and status = 'running'",
                [self.tenant.id],
            ).rowcount

    def _thin_raw(self, connection: psycopg.Connection, before: datetime, unscored: datetime) -> None:
        activities = tables.landed_for(connection, "activities")
        for table, read in _read_by_all(connection, self.tenant.id).items():
            name, values = f"raw.{table}", {"before": before, "read": read, "unscored_before": unscored}
            self._remove(connection, name, sql.SQL(REPLACED).format(table=tables.identifier(name)), values)
            if table in activities:
                values["connector"] = table.partition("__")[0]
                self._remove(connection, name, sql.SQL(LONG_AGO), values)

    def _compact(self, connection: psycopg.Connection, before: datetime) -> None:
        """Differences of one person's day that have all been known for long become their sum.

        The sum of a day stays what it was, at every moment from `before` on; earlier ones can't be told apart any more.
        """
        found = BATCH
        while found >= BATCH:
            with self._transaction(connection):
                connection.execute(
                    "create temp table several on commit drop as"
                    " select person_id, signal, day, sum(count)::integer as total, max(known_since) as known_since"
                    " from rollups.rollup_person_signals_daily where tenant_id = %s and known_since < %s"
                    " group by person_id, signal, day having count(*) > 1 or sum(count) = 0 limit %s",
                    [self.tenant.id, before, None if self.dry_run else BATCH],
                )
                # first the sum is put into the last of them, then the others go, and all of what comes to nothing
                found = connection.execute(
                    "update rollups.rollup_person_signals_daily as d set count = s.total from several as s"
                    " where d.tenant_id = %s and d.person_id = s.person_id and d.signal = s.signal and d.day = s.day"
                    " and d.known_since = s.known_since",
                    [self.tenant.id],
                ).rowcount
                self.done.compacted += connection.execute(
                    "delete from rollups.rollup_person_signals_daily as d using several as s"
                    " where d.tenant_id = %s and d.person_id = s.person_id and d.signal = s.signal and d.day = s.day"
                    " and d.known_since < %s and (d.known_since < s.known_since or s.total = 0)",
                    [self.tenant.id, before],
                ).rowcount
            if self.dry_run:
                return

    def _remove(
        self, connection: psycopg.Connection, table: str, condition: sql.SQL | sql.Composed, values: dict[str, Any]
    ) -> None:
        delete = sql.SQL(
            "delete from {table} where ctid = any(array("
            "select t.ctid from {table} as t where t.tenant_id = %(tenant)s and {condition} limit %(batch)s))"
        ).format(table=tables.identifier(table), condition=condition)
        # a dry run finds all at once, and takes it back
        values = {**values, "tenant": self.tenant.id, "batch": None if self.dry_run else BATCH}
        gone = BATCH
        while gone >= BATCH:
            with self._transaction(connection):
                gone = connection.execute(delete, values).rowcount
            self.done.removed[table] += gone
            if self.dry_run:
                return

    @contextmanager
    def _transaction(self, connection: psycopg.Connection) -> Iterator[None]:
        """One of whoever holds the lease; a dry run takes back what it did."""
        with landing.fenced(connection, self.fence):
            yield
            if self.dry_run:
                raise psycopg.Rollback


def _read_by_all(connection: psycopg.Connection, tenant_id: str) -> dict[str, int]:
    """The landing tables that models read, and up to which version all of these have."""
    rows = connection.execute(
        "select stream, min(seq) from control.watermarks where tenant_id = %s"
        " and to_regclass('raw.' || quote_ident(stream)) is not null group by stream order by stream",
        [tenant_id],
    ).fetchall()
    return {str(table): int(seq) for table, seq in rows}


def _forget_workers_answers(dry_run: bool) -> int:
    """Workers on other machines note in Airflow's database how each task ended; soon after nobody asks for it."""
    with database.connect(database.airflow_url(driver="postgresql"), application="maintenance") as airflow:
        if airflow.execute("select to_regclass('celery_taskmeta')").fetchone() == (None,):
            return 0
        forgotten = airflow.execute(
            "delete from celery_taskmeta where date_done < (now() at time zone 'UTC') - make_interval(days => %s)",
            [WORKERS_ANSWERS_DAYS],
        ).rowcount
        if dry_run:
            airflow.rollback()
        return forgotten


# ── what lies about on the disk ──────────────────────────────────────────────────────────────────────────────────────


def _left_behind(slugs: set[str]) -> Iterator[Path]:
    """Drafts whose writers were killed, logs of tenants that are gone, and logs that nobody looks for any more."""
    for draft in (*plan.folder().glob("draft-*"), *home().glob(".*.json.*"), *home().glob("registry.*")):
        if _is_older(draft, hours=DRAFT_HOURS):
            yield draft
    pages = (folder for folder in sorted(quality.pages().glob("*")) if folder.is_dir() and folder.name not in slugs)
    yield from pages
    logs = home() / "airflow" / "logs"
    for folder in sorted(logs.glob(f"{LOGS_OF_A_DAG}*")):
        dag_id = folder.name.removeprefix(LOGS_OF_A_DAG)
        slug = next((dag_id.removeprefix(name) for name in DAGS_OF_TENANTS if dag_id.startswith(name)), None)
        if slug is not None and slug not in slugs:
            yield folder
        else:
            yield from (run for run in sorted(folder.iterdir()) if _is_older(run, hours=24 * TASK_LOG_DAYS))


def _is_older(place: Path, *, hours: int) -> bool:
    try:
        return time.time() - place.stat().st_mtime > hours * 3600
    except FileNotFoundError:
        # its writer has just put it into its place
        return False


def _remove(place: Path) -> None:
    if place.is_dir():
        shutil.rmtree(place)
    else:
        place.unlink(missing_ok=True)
