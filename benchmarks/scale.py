"""What a fleet of tenants needs, reckoned from what one costs here: `make bench-scale`.

A real Airflow in a home of its own. Measured are the bytes that an activity takes through all layers, the processor
time of runs that find nothing new and of runs that find a week, and the connections that they hold. From these, and
from what is assumed and printed beside, the needs of 10, 500 and 5,000 tenants are reckoned.
"""

import argparse
import os
import platform as machine
import re
import signal
import sys
import tempfile
import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg

from benchmarks import fleet
from benchmarks.measure import say
from cli import platform
from cli.airflow_api import Airflow
from control import registry, tables
from sandbox import companies
from steps import pipeline, provision
from tests.conftest import temporary_home
from warehouse import database

ACTOR = "system:bench"
FLEETS = (10, 500, 5_000)
IDLE = 4
# A tenant of a size whose second half is what is counted: what a tenant costs without any activity falls out.
ACCOUNTS, ACTIVITIES = 150, 10_000
RUNS_A_DAY = 6

# A week holds weekends, as years do.
NEWS = timedelta(days=7)
SECONDS_AT_REST = 30

IDLE_RUN, IDLE_NIGHT, BUSY_RUN, BUSY_NIGHT = "idle pipeline", "idle night", "busy pipeline", "busy night"
AT_REST = "at rest, a minute"

SIZES = """
select n.nspname, sum(pg_table_size(c.oid)), sum(pg_indexes_size(c.oid))
from pg_class as c join pg_namespace as n on n.oid = c.relnamespace
where c.relkind = 'r' and n.nspname = any(array['raw', 'canonical', 'rollups', 'scores', 'marts', 'quality', 'control'])
group by n.nspname
"""
# By whom: a tenant's login, Airflow's, or another of the platform's own.
CONNECTIONS = """
select
    case
        when usename ~ '^[rc]_[0-9a-f]{20}$' then 'tenants'' logins'
        when usename = 'clarity_airflow' then 'Airflow'
        else 'the platform''s own'
    end,
    count(*)
from pg_stat_activity where usename is not null and pid <> pg_backend_pid() group by 1
"""
# What would have to hold the tenant before a table could be partitioned by it.
KEYS = """
select c.conrelid::regclass::text, pg_get_constraintdef(c.oid)
from pg_constraint as c
join pg_class as t on t.oid = c.conrelid
join pg_namespace as n on n.oid = t.relnamespace
join pg_attribute as a on a.attrelid = t.oid and a.attname = 'tenant_id'
where c.contype in ('p', 'u') and not a.attnum = any(c.conkey)
    and n.nspname = any(array['raw', 'canonical', 'rollups', 'scores', 'marts', 'quality', 'control'])
order by 1, 2
"""

PARTITIONS = 16
INDEXES = """
select pg_get_indexdef(i.indexrelid)
from pg_index as i
join pg_attribute as a on a.attrelid = i.indrelid and a.attname = 'tenant_id'
where i.indrelid = 'canonical.activities'::regclass and (not i.indisunique or a.attnum = any(i.indkey))
"""
A_TENANTS_QUESTION = "select count(*), max(occurred_at) from {} where occurred_at >= now() - interval '30 days'"


@dataclass(frozen=True)
class Bytes:
    """What a layer takes, in its tables and in their indexes."""

    tables: float
    indexes: float

    @property
    def all(self) -> float:
        return self.tables + self.indexes


@dataclass(frozen=True)
class Answer:
    """Milliseconds to plan and to answer a question, and how many tables or partitions were looked into for it."""

    planned: float
    done: float
    read: int


@dataclass(frozen=True)
class Measured:
    activities: int
    per_activity: dict[str, Bytes]
    people: int
    per_person: float
    bills: dict[str, fleet.Bill]
    busy_news: int
    tasks_at_once: int
    connections: dict[str, int]
    without_the_tenant: int
    questions: dict[str, Answer]


@dataclass(frozen=True)
class Assumed:
    """A tenant as the table assumes it: the activities of a year, all kept, and as many of them a day."""

    activities: int
    people: int
    cores: int
    tasks_per_core: int = 2

    @property
    def a_day(self) -> float:
        return self.activities / 365


class Watch:
    """The most connections that were open at one moment, by whose, and the most tasks that ran."""

    def __init__(self) -> None:
        self.most: dict[str, int] = {}
        self.tasks = 0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> "Watch":
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._done.set()
        self._thread.join()

    def _look(self) -> None:
        airflow = database.connect(database.airflow_url(driver="postgresql"), autocommit=True)
        with database.connect(database.admin_conninfo(), autocommit=True) as admin, airflow:
            while not self._done.wait(0.1):
                for whose, count in admin.execute(CONNECTIONS.encode()).fetchall():
                    self.most[whose] = max(self.most.get(whose, 0), count)
                row = airflow.execute("select count(*) from task_instance where state = 'running'").fetchone()
                assert row is not None
                self.tasks = max(self.tasks, row[0])


def measure(tenants: int, activities: int) -> Measured:
    today = datetime.now(UTC).date()
    with temporary_home(), tempfile.TemporaryDirectory(prefix="clarity-bench-") as sources:
        folder = Path(sources)
        say("starting a platform of its own")
        platform.start(lambda _line: None)
        idle = fleet.settle(tenants, folder / "idle", today)
        counted, per_activity, people, per_person = bytes_taken(folder, activities, today)
        airflow = Airflow()
        last = "rescore__full"
        fleet.wait(lambda: airflow.has_dag(last, tag="source:files"), f"Airflow knows {last}")
        # the first run of a process pays for what later ones find warm
        fleet.run_all(airflow, idle.dags("pipeline")[:2], today)
        bills = {}
        with Watch() as watch:
            bills[IDLE_RUN] = fleet.run_all(airflow, idle.dags("pipeline"), today)
            bills[IDLE_NIGHT] = fleet.run_all(airflow, idle.dags("rescore"), today + timedelta(days=1))
            news = write_news(folder / "full")
            bills[BUSY_RUN] = fleet.run_all(airflow, ["pipeline__full"], today + NEWS)
            bills[BUSY_NIGHT] = fleet.run_all(airflow, ["rescore__full"], today + NEWS + timedelta(days=1))
        bills[AT_REST] = fleet.at_rest(SECONDS_AT_REST)
        for what, bill in bills.items():
            say(f"  {what}: {bill.everything:.2f} CPU-seconds a run")
        questions = in_partitions("full")
        return Measured(
            activities=counted,
            per_activity=per_activity,
            people=people,
            per_person=per_person,
            bills=bills,
            busy_news=news,
            tasks_at_once=watch.tasks,
            connections=watch.most,
            without_the_tenant=len(keys_without_the_tenant()),
            questions=questions,
        )


def bytes_taken(folder: Path, activities: int, today: date) -> tuple[int, dict[str, Bytes], int, float]:
    """What the second half of a tenant's activities adds, layer by layer, and how many those were; how many people the
    tenant has, and what all that does not come from activities takes for each of them."""
    market = replace(companies.Market(), activities_per_year=activities)
    whole = companies.generate(9, ACCOUNTS, today, market=market)
    # the same accounts and people, and every second thing that they did
    half = replace(whole, activities=whole.activities[::2])
    sizes, counts = [], []
    for slug, company in (("half", half), ("full", whole)):
        before = _sizes()
        companies.write_csv(folder / slug, company)
        tenant_id = provision.create_tenant(slug, slug, actor=ACTOR)
        provision.add_connector(tenant_id, "files", {"folder": str(folder / slug)}, actor=ACTOR)
        pipeline.run(slug, as_of=today)
        after = _sizes()
        sizes.append({layer: _less(after[layer], before[layer]) for layer in after})
        counts.append(len(company.activities))
        say(f"  {counts[-1]:,} activities of {len(whole.people):,} people take {_all(sizes[-1]) / 1e6:.1f} MB")
    more = counts[1] - counts[0]
    added = {layer: _less(sizes[1][layer], sizes[0][layer]) for layer in sizes[1]}
    per_activity = {layer: Bytes(size.tables / more, size.indexes / more) for layer, size in added.items()}
    besides = _all(sizes[1]) - counts[1] * _all(per_activity)
    return more, per_activity, len(whole.people), besides / len(whole.people)


def _all(layers: Mapping[str, Bytes]) -> float:
    return sum(size.all for size in layers.values())


def _less(one: Bytes, other: Bytes) -> Bytes:
    return Bytes(one.tables - other.tables, one.indexes - other.indexes)


def _sizes() -> dict[str, Bytes]:
    """After what autovacuum would do within the minute; the space that it frees counts, for it stays the tables'."""
    with psycopg.connect(database.admin_conninfo(), autocommit=True) as admin:
        admin.execute("vacuum")
        rows = admin.execute(SIZES.encode()).fetchall()
    return {layer: Bytes(float(tables), float(indexes)) for layer, tables, indexes in rows}


def write_news(folder: Path) -> int:
    """Let a week pass in this world. Returns how many activities it brought."""
    before = companies.read_world(folder)
    after = companies.advance(before, NEWS.days)
    companies.write_csv(folder, after)
    return len(after.activities) - len(before.activities)


def reckon(measured: Measured, assumed: Assumed, tenants: int) -> dict[str, float]:
    """Each need by its name, from one tenant's costs times how many there are."""
    bills, at_rest = measured.bills, measured.bills[AT_REST].everything / 60
    # everybody is scored anew in a night, and a tenant that idles has hardly anybody
    per_person = max(0.0, bills[BUSY_NIGHT].everything - bills[IDLE_NIGHT].everything) / measured.people
    night = bills[IDLE_NIGHT].everything + assumed.people * per_person
    # what a new activity costs beyond a run at whom nothing is new
    per_activity = max(0.0, bills[BUSY_RUN].everything - bills[IDLE_RUN].everything) / max(1, measured.busy_news)
    day = RUNS_A_DAY * bills[IDLE_RUN].everything + assumed.a_day * per_activity
    cpu_hours = tenants * (night + day) / 3600
    bytes_of_one = assumed.activities * _all(measured.per_activity) + assumed.people * measured.per_person
    tasks = assumed.cores * assumed.tasks_per_core
    per_task = measured.connections.get("tenants' logins", 0) / max(1, measured.tasks_at_once)
    return {
        "activities kept, millions": tenants * assumed.activities / 1e6,
        "CPU-hours of the nights": tenants * night / 3600,
        "CPU-hours a day": cpu_hours,
        "cores, half of each for the busy hours": cpu_hours / 24 / 0.5 + at_rest,
        "PostgreSQL, GB": tenants * bytes_of_one / 1e9,
        f"connections of {tasks} tasks": tasks * per_task + measured.connections.get("Airflow", 0),
        "logins": tenants * 2,
    }


def keys_without_the_tenant() -> list[tuple[str, str]]:
    with database.connect(database.admin_conninfo()) as admin:
        return [(str(table), str(definition)) for table, definition in admin.execute(KEYS.encode()).fetchall()]


def in_partitions(slug: str) -> dict[str, Answer]:
    """One question of a tenant's, to the activities as they are and to a copy in partitions by the tenant's hash."""
    with database.connect(database.admin_conninfo(), autocommit=True) as admin:
        admin.execute("create schema scratch")
        admin.execute("grant usage on schema scratch to clarity_pipeline")
        # the primary key of the original lacks the tenant, so that it can't be taken over
        admin.execute(
            "create table scratch.activities (like canonical.activities including defaults including generated)"
            " partition by hash (tenant_id)"
        )
        for number in range(PARTITIONS):
            admin.execute(
                f"create table scratch.activities_{number} partition of scratch.activities"
                f" for values with (modulus {PARTITIONS}, remainder {number})".encode()
            )
        columns = ", ".join(tables.columns(admin, "canonical.activities"))
        copy = f"insert into scratch.activities ({columns}) select {columns} from canonical.activities"
        admin.execute(copy.encode())
        for number, (definition,) in enumerate(admin.execute(INDEXES.encode()).fetchall()):
            unnamed = re.sub(r"INDEX \S+ ON canonical", f"INDEX copied_{number} ON scratch", definition)
            admin.execute(unnamed.encode())
        try:
            admin.execute("alter table scratch.activities add primary key (id)")
        except psycopg.errors.FeatureNotSupported as refused:
            say(f"  {str(refused).splitlines()[0]}")
        admin.execute("alter table scratch.activities add primary key (tenant_id, id)")
        admin.execute("alter table scratch.activities enable row level security")
        admin.execute(
            "create policy tenant on scratch.activities using (tenant_id = (select control.session_tenant()))"
        )
        admin.execute("grant select on scratch.activities to clarity_pipeline")
        admin.execute("vacuum analyze scratch.activities")
    asked = {}
    with database.run_session(registry.tenant(slug).id, autocommit=True) as connection:
        for what, table in (
            ("as it is", "canonical.activities"),
            (f"in {PARTITIONS} partitions", "scratch.activities"),
        ):
            question = f"explain (analyze, format json) {A_TENANTS_QUESTION.format(table)}".encode()
            answers = []
            for _ in range(5):
                row = connection.execute(question).fetchone()
                assert row is not None
                ((plan,),) = row
                answers.append(Answer(plan["Planning Time"], plan["Execution Time"], _looked_into(plan["Plan"])))
            asked[what] = min(answers, key=lambda answer: answer.planned + answer.done)
    return asked


def _looked_into(node: dict[str, Any]) -> int:
    """How many relations named like the activities this part of a plan has read."""
    is_one = str(node.get("Relation Name")).startswith("activities") and node["Actual Loops"] > 0
    return int(is_one) + sum(_looked_into(below) for below in node.get("Plans", []))


def tables_of(measured: Measured, assumed: Assumed) -> str:
    lines = ["| bytes an activity | tables | indexes | all |", "|---|---:|---:|---:|"]
    layers = sorted(measured.per_activity.items(), key=lambda item: -item[1].all)
    lines += [f"| {layer} | {size.tables:,.0f} | {size.indexes:,.0f} | {size.all:,.0f} |" for layer, size in layers]
    tables, indexes = (sum(getattr(size, part) for _, size in layers) for part in ("tables", "indexes"))
    lines += [f"| **all layers** | {tables:,.0f} | {indexes:,.0f} | {tables + indexes:,.0f} |"]
    lines += [f"| besides, for each of {measured.people:,} people | | | {measured.per_person:,.0f} |", ""]
    lines += [fleet.table(measured.bills), ""]
    lines += ["| connections at most | |", "|---|---:|"]
    lines += [f"| {whose} | {count} |" for whose, count in sorted(measured.connections.items())]
    lines += [f"| tasks running | {measured.tasks_at_once} |", ""]
    lines += [
        "| a tenant's question to its activities | ms to plan | ms to answer | tables read |",
        "|---|---:|---:|---:|",
    ]
    lines += [
        f"| {what} | {answer.planned:.2f} | {answer.done:.2f} | {answer.read} |"
        for what, answer in measured.questions.items()
    ]
    lines += [f"\n{measured.without_the_tenant} primary keys and unique constraints lack the tenant.\n"]
    reckoned = {tenants: reckon(measured, assumed, tenants) for tenants in FLEETS}
    lines += [f"| reckoned | {' | '.join(f'{tenants:,} tenants' for tenants in FLEETS)} |", f"|---|{'---:|' * 3}"]
    for need in reckoned[FLEETS[0]]:
        lines.append(f"| {need} | {' | '.join(f'{_short(reckoned[tenants][need])}' for tenants in FLEETS)} |")
    return "\n".join(lines)


def _short(figure: float) -> str:
    return f"{figure:,.2f}" if figure < 10 else f"{figure:,.0f}"


def main() -> int:
    parser = argparse.ArgumentParser(prog="make bench-scale", description=__doc__)
    parser.add_argument("--tenants", type=int, default=IDLE, help="idle ones; default: %(default)s")
    parser.add_argument("--activities", type=int, default=ACTIVITIES, help="of the busy one; default: %(default)s")
    parser.add_argument(
        "--a-year",
        type=int,
        default=100_000,
        help="activities of a tenant that the table assumes; default: %(default)s",
    )
    parser.add_argument("--people", type=int, default=2_500, help="assumed people; default: %(default)s")
    arguments = parser.parse_args()
    # also who is ended leaves nothing behind
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended"))
    measured = measure(arguments.tenants, arguments.activities)
    assumed = Assumed(arguments.a_year, arguments.people, os.cpu_count() or 1)
    print(f"{os.cpu_count()} cores; Python {machine.python_version()}")
    print(f"bytes: by {measured.activities:,} activities more; busy: a week with {measured.busy_news:,} new ones")
    print(
        f"assumed of a tenant: {assumed.people:,} people, {assumed.activities:,} activities a year, one year kept,"
        f" {RUNS_A_DAY} pipelines a day\n"
    )
    print(tables_of(measured, assumed))
    return 0


if __name__ == "__main__":
    sys.exit(main())
