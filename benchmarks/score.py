"""What scoring costs, next to bare numpy, to one SQL query, and to reading and writing alone: `make bench-score`.

Everything is made for the run and gone afterwards: a database server, a tenant for each size, what its people did.
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import psutil
from psycopg import sql

from benchmarks import chart, score_world
from benchmarks.measure import PROJECT, ran, say
from benchmarks.score_step import WRITTEN
from benchmarks.score_world import World
from steps import deploy, provision
from tests.conftest import temporary_home
from warehouse import database

CHART = PROJECT / "docs" / "images" / "bench-score.svg"
SIZES = (10_000, 100_000, 1_000_000)
ENGINE_ROWS = 1_000_000

OURS, BARE, NEWS, NEXT = "a first night", "reading and writing alone", "1 % have news, same day", "the next day"
# Above this part of the processors, in percent, what others do is seen in the figures.
BUSY = 10
SECONDS_TO_SEE_WHAT_OTHERS_DO = 3

TIMES_BARE, GIGABYTES, PART_WITH_NEWS, PART_NEXT_DAY = 2.0, 3, 0.25, 0.60


@dataclass(frozen=True)
class Result:
    contender: str
    people: int
    seconds: float
    memory: float
    scored: int
    moved: int


def measure(sizes: list[int]) -> tuple[list[Result], float]:
    """Each size from nothing to its scores, then one person in a hundred, then the next day, then the floor."""
    results: list[Result] = []
    busy = 0.0
    with temporary_home(), tempfile.TemporaryDirectory(prefix="clarity-bench-") as folder:
        say("starting a database server of its own")
        deploy.run(report=lambda _line: None)
        for people in sizes:
            world, slug = World(people), f"bench_{people}"
            tenant_id = provision.create_tenant(slug, slug, actor="system:bench")
            say(f"{people:,} people, {world.daily_rows:,} daily rows, {world.accounts:,} accounts")
            with database.connect(database.admin_conninfo(), autocommit=True) as admin:
                score_world.fill(admin, tenant_id, world)
            busy = max(busy, psutil.cpu_percent(SECONDS_TO_SEE_WHAT_OTHERS_DO))
            results.append(_ran(OURS, people, "night", tenant_id, score_world.AS_OF.isoformat()))
            rows = Path(folder) / slug
            _write_down(tenant_id, rows)
            with database.connect(database.admin_conninfo(), autocommit=True) as admin:
                score_world.more_signals(admin, tenant_id, world)
            _tidied()
            results.append(_ran(NEWS, people, "night", tenant_id, score_world.AS_OF.isoformat()))
            _tidied()
            results.append(_ran(NEXT, people, "night", tenant_id, score_world.day_after().isoformat()))
            _emptied()
            results.append(_ran(BARE, people, "bare", tenant_id, str(rows)))
            _emptied()
    return results, busy


def _ran(contender: str, people: int, what: str, *arguments: str) -> Result:
    """In a process of its own."""
    with database.connect(database.admin_conninfo(), autocommit=True) as admin:
        admin.execute("checkpoint")
    figures = ran([sys.executable, "-m", "benchmarks.score_step", what, *arguments])
    result = Result(contender, people, **figures)
    say(f"  {contender}: {result.seconds:.1f} s, {result.memory:.0f} MB, {result.moved:,.0f} scores moved")
    return result


def _tidied() -> None:
    """Between two runs lie hours, in which the server tidies up what was written."""
    with database.connect(database.admin_conninfo(), autocommit=True) as admin:
        for table in WRITTEN:
            admin.execute(sql.SQL("vacuum analyze {}").format(sql.Identifier("scores", table)))


def _write_down(tenant_id: str, folder: Path) -> None:
    """What the night has written, for the floor to write again."""
    folder.mkdir()
    with database.run_session(tenant_id) as connection:
        for table in WRITTEN:
            query = sql.SQL("copy (select * from {}) to stdout").format(sql.Identifier("scores", table))
            with connection.cursor().copy(query) as copy, (folder / table).open("wb") as file:
                for block in copy:
                    file.write(block)
    # else the disk would be busy with them during the next turn
    os.sync()


def _emptied() -> None:
    with database.connect(database.admin_conninfo(), autocommit=True) as admin:
        for table in (*WRITTEN, "scoring_marks", "unscored"):
            admin.execute(sql.SQL("truncate {} cascade").format(sql.Identifier("scores", table)))


def table(results: list[Result]) -> str:
    lines = [
        "| | people | seconds | µs per person | peak memory | scored | moved |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for it in results:
        cost = it.seconds / it.people * 1e6
        lines.append(
            f"| {it.contender} | {it.people:,} | {it.seconds:.1f} | {cost:.0f} | {it.memory:.0f} MB"
            f" | {it.scored:,.0f} | {it.moved:,.0f} |"
        )
    return "\n".join(lines)


def verdicts(results: list[Result]) -> list[tuple[str, bool]]:
    """The promises, held against the largest size."""
    people = max(it.people for it in results)
    of = {it.contender: it for it in results if it.people == people}
    night = of[OURS].seconds
    times, news, after = night / of[BARE].seconds, of[NEWS].seconds / night, of[NEXT].seconds / night
    memory = max(it.memory for it in of.values()) / 1024
    return [
        (f"{times:.2f} times reading and writing alone; at most {TIMES_BARE:g} promised", times <= TIMES_BARE),
        (f"{memory:.1f} GB of memory at the most; under {GIGABYTES} promised", memory < GIGABYTES),
        (
            f"news of 1 % on the same day: {news:.0%} of a night; under {PART_WITH_NEWS:.0%} promised",
            news < PART_WITH_NEWS,
        ),
        (f"the next day: {after:.0%} of a night; under {PART_NEXT_DAY:.0%} promised", after < PART_NEXT_DAY),
    ]


def main() -> int:
    parser = argparse.ArgumentParser(prog="make bench-score", description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, metavar="PEOPLE", help="default: %(default)s")
    parser.add_argument("--rows", type=int, default=ENGINE_ROWS, help="daily rows for the engine; default: %(default)s")
    parser.add_argument("--chart", type=Path, default=CHART, help="the SVG file to write; default: %(default)s")
    arguments = parser.parse_args()
    if min(arguments.sizes) < 100:
        parser.error("a size is a number of people, 100 or more")
    # also who is ended leaves nothing behind
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended"))
    say("the engine beside bare numpy and one SQL query")
    engine = subprocess.run(
        [sys.executable, "-m", "benchmarks.score_engine", "--rows", str(arguments.rows)], cwd=PROJECT, check=False
    )
    results, busy = measure(sorted(set(arguments.sizes)))
    order = (OURS, BARE, NEWS, NEXT)
    costs = {
        people: {
            contender: it.seconds / people * 1e6
            for contender in order
            for it in results
            if (it.people, it.contender) == (people, contender)
        }
        for people in sorted({it.people for it in results})
    }
    arguments.chart.parent.mkdir(parents=True, exist_ok=True)
    title = "What scoring a person costs, in microseconds, by number of people"
    arguments.chart.write_text(chart.svg(costs, title, "people"), encoding="utf-8")
    say(f"the chart is in {arguments.chart}")
    print(f"\n{table(results)}\n")
    outcome = [("the engine beside numpy and SQL, as above", engine.returncode == 0), *verdicts(results)]
    for sentence, is_kept in outcome:
        print(f"{'kept' if is_kept else 'BROKEN'}: {sentence}")
    if busy > BUSY:
        print(f"Others used up to {busy:.0f} % of the processors meanwhile: an idle machine gives other figures.")
    return 0 if all(is_kept for _, is_kept in outcome) else 1


if __name__ == "__main__":
    sys.exit(main())
