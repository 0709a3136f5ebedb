"""What dbt's part of a run costs, next to hand-written SQL and to dbt itself: `make bench-transform`.

A year of a tenant's activities goes from raw to canonical and to the daily rollups; then nothing is new; then a few
days more. Everything is made for the run and gone afterwards.
"""

import argparse
import os
import platform
import signal
import sys
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import orjson
import psutil
import psycopg

from benchmarks import chart, people
from benchmarks.measure import PROJECT, say
from control import connectors
from steps import deploy, project, provision, rules, transform
from tests.conftest import temporary_home
from warehouse import database, lease
from warehouse.home import home

BY_HAND = PROJECT / "benchmarks" / "handwritten.sql"
CHART = PROJECT / "docs" / "images" / "bench-transform.svg"
SIZES = (10_000, 100_000, 1_000_000)
NEW_ROWS = 10_000
LAYERS = ("canonical", "rollups")

TIMES_BY_HAND, SECONDS_FOR_NEW, SHARE_OF_FIRST = 1.5, 2.0, 0.2
# Above this part of the processors, in percent, what others do is seen in the figures.
BUSY = 10

EMPTY = """
truncate canonical.accounts, canonical.people, canonical.opportunities, canonical.activities, canonical.identities,
    canonical.touched_entities, canonical.moved_entities, canonical.touched_attributes, canonical.touched_person_days,
    canonical.touched_days, control.watermarks, rollups.rollup_person_signals_daily, rollups.rollup_activity_daily,
    rollups.rollup_account_attributes, rollups.rollup_person_attributes, rollups.rollup_opportunity_attributes,
    rollups.rollup_opportunity_contacts, rollups.rollup_opportunity_facts, rollups.rollup_opportunity_stages cascade
"""
RESULT = """
select
    (select count(*) from canonical.accounts where external_id <> '_none'), (select count(*) from canonical.people),
    (select count(*) from canonical.activities), (select sum(count) from rollups.rollup_person_signals_daily),
    (select count(*) from rollups.rollup_person_signals_daily),
    (select sum(hashtext(concat(day, source, channel, signal, activities, people, accounts))::bigint)
        from rollups.rollup_activity_daily)
"""
TABLES = """
select oid::regclass::text from pg_class
where relkind = 'r' and relnamespace::regnamespace::text in ('canonical', 'rollups') order by 1
"""


@dataclass
class Customer:
    """A tenant, and how much has happened there."""

    world: int
    id: str = ""
    connector_id: str = ""
    slug: str = field(default_factory=lambda: f"bench_{uuid.uuid4().hex[:8]}")

    def __post_init__(self) -> None:
        self.id = provision.create_tenant(self.slug, self.slug, actor="system:bench")
        with database.control_session(self.id) as control:
            self.connector_id = connectors.add(
                control, tenant_id=self.id, connector_type="files", config={"folder": "unread"}, actor="system:bench"
            )

    def land(self, stream: str, first: int, last: int) -> None:
        with _admin() as admin:
            people.land(admin, self.id, self.connector_id, stream, first, last, self.world)
            admin.execute("checkpoint")

    def run(self) -> float:
        return _seconds(self._run)

    def _run(self) -> None:
        with lease.hold(self.id, "bench", stage="transform") as held:
            transform.run(self.slug, f"run-{held.fence}", held.fence, select=LAYERS)

    def by_dbt(self) -> float:
        """The same run as dbt does it, in this process, with its manifest at hand."""
        with lease.hold(self.id, "bench", stage="transform") as held, database.run_session(self.id) as connection:
            about = {"tenant_id": self.id, "run_id": "by-dbt", "fence": held.fence}
            about |= rules.variables(connection, self.id)
            words = ["build", "--target", "run", "--select", *LAYERS, "--vars", orjson.dumps(about).decode()]
            words += ["--exclude", "config.materialized:view"]
            words += [f"test_name:{name}" for name in project.HELD_BY_THE_DATABASE]
            words += ["--exclude-resource-type", "unit_test"]
            folder, manifest = home() / "dbt" / "bench", project.manifest()
            with project.session(database.conninfo_in_force(database.run_login(self.id))):
                return _seconds(lambda: _must(not project.failures(project.invoke(folder, words, manifest), folder)))

    def by_hand(self) -> float:
        """Without our triggers, which note what changed: somebody who writes this SQL would not have them."""
        statements = BY_HAND.read_bytes()

        def run() -> None:
            with database.run_session(self.id, application="by hand") as connection:
                connection.execute(statements)

        noting = ("accounts", "people", "activities")
        with database.connect(database.owner_conninfo(), autocommit=True) as owner:
            for table in noting:
                owner.execute(f"alter table canonical.{table} disable trigger user".encode())
            try:
                return _seconds(run)
            finally:
                for table in noting:
                    owner.execute(f"alter table canonical.{table} enable trigger user".encode())

    def result(self) -> tuple[object, ...]:
        with database.run_session(self.id) as connection:
            row = connection.execute(RESULT).fetchone()
        return tuple(row or ())

    def rows(self) -> dict[str, object]:
        """Where the rows of each table are and which transaction put them there, as a number."""
        with _admin() as admin:
            tables = [name for (name,) in admin.execute(TABLES.encode()).fetchall()]
            query = "select count(*), sum(hashtext(ctid::text || '/' || xmin::text)::bigint) from {}"
            return {table: admin.execute(query.format(table).encode()).fetchone() for table in tables}


@dataclass(frozen=True)
class Result:
    rows: int
    by_hand: float
    first: float
    nothing: float
    nothing_by_dbt: float
    more: float
    touched: tuple[str, ...]


def measure(sizes: list[int]) -> tuple[list[Result], str, float]:
    with temporary_home():
        say("starting a database server of its own")
        deploy.run(lambda _line: None)
        busy = psutil.cpu_percent(3)
        results = [_measured(rows) for rows in sizes]
        with _admin() as admin:
            ((version,),) = admin.execute("select current_setting('server_version')").fetchall()
    return results, str(version), busy


def _measured(rows: int) -> Result:
    say(f"{rows:,} activities")
    customer = Customer(rows)
    for stream, count in people.numbers(rows).items():
        customer.land(stream, 1, count)
    by_hand = _told("by hand", customer.by_hand())
    expected = customer.result()
    with _admin() as admin:
        admin.execute(EMPTY.encode())
        admin.execute("vacuum")
        admin.execute("checkpoint")
    first = _told("first run", customer.run())
    if customer.result() != expected:
        sys.exit(f"not a measurement: by hand {expected}, by the run {customer.result()}")
    # what autovacuum does within the minute; else the next run would meet its beginning or not, as chance has it
    with _admin() as admin:
        admin.execute("vacuum analyze")
    before = customer.rows()
    nothing = _told("nothing new", min(customer.run() for _ in range(3)))
    after = customer.rows()
    touched = tuple(table for table in before if before[table] != after[table])
    nothing_by_dbt = _told("nothing new, by dbt", min(customer.by_dbt() for _ in range(2)))
    customer.land("activities", rows + 1, rows + NEW_ROWS)
    more = _told(f"{NEW_ROWS:,} more", customer.run())
    with _admin() as admin:
        admin.execute(EMPTY.encode())
        admin.execute(b"truncate raw.files__accounts, raw.files__people, raw.files__activities")
    return Result(rows, by_hand, first, nothing, nothing_by_dbt, more, touched)


def _admin() -> psycopg.Connection:
    return psycopg.connect(database.admin_conninfo(), autocommit=True)


def _seconds(work: Callable[[], None]) -> float:
    started = time.monotonic()
    work()
    return time.monotonic() - started


def _must(holds: bool) -> None:
    if not holds:
        sys.exit("not a measurement: dbt failed")


def _told(what: str, seconds: float) -> float:
    say(f"  {what}: {seconds:.2f} s")
    return seconds


def table(results: list[Result]) -> str:
    lines = [
        "| activities | by hand | first run | nothing new | nothing new, by dbt | 10,000 more |",
        "|---:|---:|---:|---:|---:|---:|",
    ]
    for it in results:
        figures = (it.by_hand, it.first, it.nothing, it.nothing_by_dbt, it.more)
        lines.append(f"| {it.rows:,} | {' | '.join(f'{figure:.2f} s' for figure in figures)} |")
    return "\n".join(lines)


def verdicts(it: Result) -> list[tuple[str, bool]]:
    """The promises, held against the largest size."""
    times, extra, share = it.first / it.by_hand, it.more - it.nothing, it.nothing / it.first
    return [
        (f"{times:.2f} times the time of hand-written SQL; at most {TIMES_BY_HAND} promised", times <= TIMES_BY_HAND),
        (
            f"{NEW_ROWS:,} new activities take {extra:.1f} s more than none; at most {SECONDS_FOR_NEW:.0f} promised",
            extra <= SECONDS_FOR_NEW,
        ),
        (
            f"a run with nothing new takes {share:.1%} of the first; under {SHARE_OF_FIRST:.0%} promised",
            share < SHARE_OF_FIRST,
        ),
        (
            f"a run with nothing new touches {', '.join(it.touched) or 'no row'}; no row promised",
            not it.touched,
        ),
        (
            f"a run with nothing new is {it.nothing_by_dbt / it.nothing:.1f} times as quick as by dbt;"
            " quicker than dbt promised",
            it.nothing < it.nothing_by_dbt,
        ),
    ]


def main() -> int:
    parser = argparse.ArgumentParser(prog="make bench-transform", description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, metavar="ROWS", help="default: %(default)s")
    parser.add_argument("--chart", type=Path, default=CHART, help="the SVG file to write; default: %(default)s")
    arguments = parser.parse_args()
    if min(arguments.sizes) < 1:
        parser.error("a size is a number of activities")
    # also who is ended leaves nothing behind
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended"))
    results, server, busy = measure(sorted(set(arguments.sizes)))
    costs = {
        it.rows: {"by hand": it.by_hand / it.rows * 1e6, "GTM Clarity": it.first / it.rows * 1e6} for it in results
    }
    arguments.chart.parent.mkdir(parents=True, exist_ok=True)
    title = "What an activity costs from raw to the rollups, in microseconds"
    arguments.chart.write_text(chart.svg(costs, title, "activities"), encoding="utf-8")
    say(f"the chart is in {arguments.chart}")
    print(f"{os.cpu_count()} cores; PostgreSQL {server}, Python {platform.python_version()}\n\n{table(results)}\n")
    outcome = verdicts(results[-1])
    for sentence, is_kept in outcome:
        print(f"{'kept' if is_kept else 'BROKEN'}: {sentence}")
    if busy > BUSY:
        print(f"Others used {busy:.0f} % of the processors: an idle machine gives other figures.")
    return 0 if all(is_kept for _, is_kept in outcome) else 1


if __name__ == "__main__":
    sys.exit(main())
