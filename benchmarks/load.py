"""How fast Salesforce tasks land, next to dlt and to a bare COPY and INSERT: `make bench-load`.

Everything is made for the run and gone afterwards: a database server, a tenant for each contender, the pages.
"""

import argparse
import os
import platform
import signal
import subprocess
import sys
import tempfile
import uuid
from collections import defaultdict
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import psutil

from benchmarks import chart, contenders, dlt_append, tasks
from benchmarks.measure import PROJECT, ran, say
from control import connectors
from steps import provision
from tests.conftest import temporary_home
from warehouse import database, migrate

DLT_PYTHON = PROJECT / ".venv-bench" / "bin" / "python"
CHART = PROJECT / "docs" / "images" / "bench-load.svg"
TITLE = "What landing a row costs, in microseconds, by number of rows"
SIZES = (10_000, 100_000, 1_000_000)
NEW_ROWS = 10_000
DLT_DATABASE = "dlt_bench"

OURS, BARE, DLT = "GTM Clarity", "bare COPY and INSERT", "dlt"
BARE_WAYS = {"a transaction per page": "bare_by_page", "one transaction": "bare_at_once"}
DLT_WAYS = {"insert_values": ("insert_values",), "csv": ("csv",)}
DLT_TUNED = {"csv, tuned: two processes": ("csv", "tuned")}

# Above this part of the processors, in percent, what others do is seen in the figures.
BUSY = 10
SECONDS_TO_SEE_WHAT_OTHERS_DO = 3

TIMES_DLT, TIMES_BARE, MEGABYTES = 3.5, 1.5, 300


@dataclass(frozen=True)
class Result:
    contender: str
    way: str
    rows: int
    seconds: float
    memory: float
    again: float = 0.0
    on_top: float = 0.0

    @property
    def rate(self) -> float:
        return self.rows / self.seconds

    @property
    def name(self) -> str:
        return f"{self.contender}, {self.way}" if self.way else self.contender


class Arena:
    """The server that all of them write to, and the pages that all of them read."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._pages: dict[tuple[int, int], Path] = {}
        migrate.migrate(lambda _line: None, ["salesforce__tasks"])

    def pages(self, rows: int, first: int = 0) -> Path:
        if (rows, first) not in self._pages:
            say(f"  writing {rows:,} tasks as pages")
            self._pages[rows, first] = self._folder / f"{first}-{rows}"
            tasks.write_pages(self._pages[rows, first], rows, first=first)
            # else the disk would be busy with them while the first contender has its turn
            os.sync()
        return self._pages[rows, first]

    def ours(self, rows: int) -> Result:
        return Result(OURS, "", rows, **self._ran_by_a_tenant("ours", rows, self.pages(NEW_ROWS, first=rows)))

    def bare(self, rows: int, way: str) -> Result:
        return Result(BARE, way, rows, **self._ran_by_a_tenant(BARE_WAYS[way], rows))

    def dlt(self, rows: int, way: str) -> Result:
        """In a database of its own with the administrator's login: nothing of ours is in its way."""
        with database.connect(database.admin_conninfo(), autocommit=True) as admin:
            admin.execute(f"drop database if exists {DLT_DATABASE}".encode())
            admin.execute(f"create database {DLT_DATABASE}".encode())
            admin.execute("checkpoint")
        address = database.url(database.admin_conninfo(DLT_DATABASE))
        figures = ran(
            [str(DLT_PYTHON), "-m", "benchmarks.dlt_append", str(self.pages(rows)), *(DLT_WAYS | DLT_TUNED)[way]],
            {**os.environ, "DLT_BENCH_URL": address},
        )
        with database.connect(database.admin_conninfo(DLT_DATABASE)) as admin:
            landed = admin.execute(f"select count(*) from {dlt_append.SCHEMA}.tasks".encode()).fetchone()
        if landed != (rows,):
            sys.exit(f"not a measurement: dlt was to append {rows:,} rows, and its table holds {landed}")
        with database.connect(database.admin_conninfo(), autocommit=True) as admin:
            admin.execute(f"drop database {DLT_DATABASE}".encode())
        return Result(DLT, way, rows, **figures)

    def _ran_by_a_tenant(self, contender: str, rows: int, *more: Path) -> dict[str, float]:
        slug = f"bench_{uuid.uuid4().hex[:8]}"
        tenant_id = provision.create_tenant(slug, slug, actor="system:bench")
        with database.control_session(tenant_id) as control:
            connector_id = connectors.add(
                control, tenant_id=tenant_id, connector_type="salesforce", config={}, actor="system:bench"
            )
        with database.connect(database.admin_conninfo(), autocommit=True) as admin:
            admin.execute(f"truncate {contenders.TABLE}".encode())
            admin.execute("checkpoint")
        arguments = [contender, str(self.pages(rows)), tenant_id, connector_id, *map(str, more)]
        return ran([sys.executable, "-m", "benchmarks.contenders", *arguments])


@dataclass(frozen=True)
class Measured:
    """`trials` are the ways to run a peer that were tried and do not count."""

    results: list[Result]
    trials: list[Result]
    versions: dict[str, str]
    busy: float


def measure(sizes: list[int]) -> Measured:
    """Each contender with each size. Of the ways to run a peer all are tried, and the quickest counts.

    dlt counts as it comes, with the format that suits it best: one process reads and loads, as with us. What two would
    do is measured beside it.
    """
    with temporary_home(), tempfile.TemporaryDirectory(prefix="clarity-bench-") as folder:
        say("starting a database server of its own")
        arena = Arena(Path(folder))
        trial = sizes[(len(sizes) - 1) // 2]
        say(f"how the peers are quickest, with {trial:,} rows")
        bare = [_told(arena.bare(trial, way)) for way in BARE_WAYS]
        dlt = [_told(arena.dlt(trial, way)) for way in DLT_WAYS]
        best_bare, best_dlt = (min(ways, key=lambda each: each.seconds) for ways in (bare, dlt))
        dlt += [_told(arena.dlt(trial, way)) for way in DLT_TUNED]
        results = []
        busy = 0.0
        for rows in sizes:
            arena.pages(rows)
            busy = max(busy, psutil.cpu_percent(SECONDS_TO_SEE_WHAT_OTHERS_DO))
            say(f"{rows:,} rows")
            results += [
                _told(arena.ours(rows)),
                _told(arena.bare(rows, best_bare.way)),
                _told(arena.dlt(rows, best_dlt.way)),
            ]
        trials = [each for each in bare + dlt if each not in (best_bare, best_dlt)]
        return Measured(results, trials, _versions(), busy)


def _told(result: Result) -> Result:
    say(f"  {result.name}: {result.rows:,} rows in {result.seconds:.1f} s, {result.rate:,.0f} rows/s")
    return result


def _versions() -> dict[str, str]:
    version_of_dlt = "import importlib.metadata as m; print(m.version('dlt'))"
    with database.connect(database.admin_conninfo()) as admin:
        (postgres,) = admin.execute("select current_setting('server_version')").fetchall()[0]
    return {
        "dlt": subprocess.check_output([str(DLT_PYTHON), "-c", version_of_dlt], text=True).strip(),
        "PostgreSQL": str(postgres),
        "psycopg": metadata.version("psycopg"),
        "Python": platform.python_version(),
    }


def table(measured: Measured) -> str:
    lines = [
        "| | rows | seconds | rows/s | µs per row | peak memory |",
        "|---|---:|---:|---:|---:|---:|",
        *(_line(each.name, each.rows, each.seconds, each.memory) for each in measured.results),
        *(_line(f"not counted: {each.name}", each.rows, each.seconds, each.memory) for each in measured.trials),
    ]
    for each in (each for each in measured.results if each.contender == OURS):
        lines.append(_line(f"{OURS}, the same {each.rows:,} again: nothing is new", each.rows, each.again))
        lines.append(_line(f"{OURS}, {NEW_ROWS:,} new ones on top of {each.rows:,}", NEW_ROWS, each.on_top))
    return "\n".join(lines)


def _line(what: str, rows: int, seconds: float, memory: float | None = None) -> str:
    peak = "" if memory is None else f"{memory:.0f} MB"
    return f"| {what} | {rows:,} | {seconds:.1f} | {rows / seconds:,.0f} | {seconds / rows * 1e6:.1f} | {peak} |"


def verdicts(results: list[Result]) -> list[tuple[str, bool]]:
    """The promises, held against the largest size."""
    rows = max(each.rows for each in results)
    of = {each.contender: each for each in results if each.rows == rows}
    ours = of[OURS]
    times_dlt, times_bare = ours.rate / of[DLT].rate, ours.seconds / of[BARE].seconds
    return [
        (f"{times_dlt:.2f} times the rows per second of dlt; at least {TIMES_DLT} promised", times_dlt >= TIMES_DLT),
        (
            f"{times_bare:.2f} times the time of bare COPY and INSERT; at most {TIMES_BARE} promised",
            times_bare <= TIMES_BARE,
        ),
        (f"{ours.memory:.0f} MB of memory at the most; under {MEGABYTES} promised", ours.memory < MEGABYTES),
    ]


def main() -> int:
    parser = argparse.ArgumentParser(prog="make bench-load", description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, metavar="ROWS", help="default: %(default)s")
    parser.add_argument("--chart", type=Path, default=CHART, help="the SVG file to write; default: %(default)s")
    arguments = parser.parse_args()
    if not DLT_PYTHON.exists():
        parser.error("dlt is not installed in .venv-bench; start this by `make bench-load`")
    if min(arguments.sizes) < 1:
        parser.error("a size is a number of rows")
    # also who is ended leaves nothing behind: neither a server nor pages
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended"))
    measured = measure(sorted(set(arguments.sizes)))
    costs: dict[int, dict[str, float]] = defaultdict(dict)
    for each in measured.results:
        costs[each.rows][each.contender] = each.seconds / each.rows * 1e6
    arguments.chart.parent.mkdir(parents=True, exist_ok=True)
    arguments.chart.write_text(
        chart.svg(costs, "What landing a row costs, in microseconds, by number of rows"), encoding="utf-8"
    )
    say(f"the chart is in {arguments.chart}")
    print(f"{os.cpu_count()} cores; {', '.join(f'{name} {version}' for name, version in measured.versions.items())}\n")
    print(f"{table(measured)}\n")
    outcome = verdicts(measured.results)
    for sentence, is_kept in outcome:
        print(f"{'kept' if is_kept else 'BROKEN'}: {sentence}")
    if measured.busy > BUSY:
        print(
            f"Others used up to {measured.busy:.0f} % of the processors meanwhile: an idle machine gives other figures."
        )
    return 0 if all(is_kept for _, is_kept in outcome) else 1


if __name__ == "__main__":
    sys.exit(main())
