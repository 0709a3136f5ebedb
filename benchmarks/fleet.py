"""What a fleet of idle tenants costs: `make bench-fleet`.

A real Airflow in a home of its own, with tenants at whom nothing is new. Counted is the processor time of every
process, as the system keeps it, by who spent it.
"""

import argparse
import os
import platform as machine
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import psutil

from benchmarks.measure import PROJECT, ran, say
from cli import airflow_env, platform, processes, supervisor
from cli.airflow_api import SETTLED, Airflow
from cli.parsing import BUNDLE, FILES
from control import registry
from sandbox import companies
from steps import pipeline, provision
from tests.conftest import temporary_home
from warehouse import database, server
from warehouse.home import project_root

ACTOR = "system:bench"
TENANTS, REGISTERED, BY_COSMOS = 100, 500, 4
ACCOUNTS = 3
COSMOS_PYTHON = PROJECT / ".venv-fleet" / "bin" / "python"

PIPELINE, NIGHT = "pipeline, nothing new", "the night, a day later"

CPU_SECONDS_PER_RUN, MINUTES_PER_NIGHT, SECONDS_TO_PARSE = 10, 10, 5

PARSE = """
import os, sys, time
from airflow.dag_processing.dagbag import DagBag
began = time.monotonic()
bag = DagBag(dag_folder=sys.argv[1])
assert len(bag.dags) == 1, bag.import_errors
print(time.monotonic() - began)
"""

# What the dag-processor has a process do for a file, a fork of itself: parse it, and serialize what is in it.
PROCESS = """
import os, sys, time
from pathlib import Path
file, bundle, tenants = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
sys.argv[1:] = ["dag-processor"]
import structlog
from airflow.dag_processing.processor import DagFileParseRequest, _parse_file
request = DagFileParseRequest(file=str(file), bundle_path=file.parent, bundle_name=bundle, callback_requests=[])
print("ready", flush=True)
sys.stdin.readline()
if os.fork():
    sys.exit(os.waitstatus_to_exitcode(os.wait()[1]))
began = time.monotonic()
parsed = _parse_file(request, structlog.get_logger())
seconds = time.monotonic() - began
assert len(parsed.serialized_dags) == tenants, (len(parsed.serialized_dags), parsed.import_errors)
print(seconds)
"""

# Nothing is ever started for them.
PAPER_TENANTS = """
insert into control.tenants (id, clerk_org_id, name, slug, settings, paused_at)
select 'paper_' || n, 'paper_' || n, 'Paper ' || n, 'paper_' || to_char(n, 'FM000'), '{}', now()
from generate_series(1, %s) as n
"""


@dataclass(frozen=True)
class Bill:
    """Seconds of processor by who spent them, and how long it took."""

    runs: int
    seconds: float
    spent: dict[str, float]

    @property
    def tasks(self) -> float:
        return self.spent["tasks"] / self.runs

    @property
    def everything(self) -> float:
        return sum(self.spent.values()) / self.runs


class Meter:
    """Processor time since the start of this meter, of processes that have ended as well."""

    def __init__(self) -> None:
        self._began, self._before = time.monotonic(), _spent()

    def bill(self, runs: int) -> Bill:
        after = _spent()
        return Bill(runs, time.monotonic() - self._began, {who: after[who] - self._before[who] for who in after})


def _spent() -> dict[str, float]:
    """A process that has ended is counted with its parent. Tasks are what the scheduler's workers and theirs do."""
    spent = {"tasks": 0.0}
    for name in supervisor.COMPONENTS:
        record = processes.recorded(name)
        assert record is not None
        leader = psutil.Process(record.pid)
        times = leader.cpu_times()
        spent[name] = times.user + times.system
        of_children = times.children_user + times.children_system + _all_of(leader.children(recursive=True))
        spent["tasks" if name == "scheduler" else name] += of_children
    postmaster = psutil.Process(server.state().pid)
    spent["PostgreSQL"] = _all_of([postmaster, *postmaster.children()])
    return spent


def _all_of(family: Iterable[psutil.Process]) -> float:
    total = 0.0
    for process in family:
        try:
            total += sum(process.cpu_times()[:4])
        except psutil.NoSuchProcess:
            # between two looks it was counted with its parent
            continue
    return total


@dataclass(frozen=True)
class Fleet:
    slugs: list[str]
    today: date

    def dags(self, kind: str) -> list[str]:
        return [f"{kind}__{slug}" for slug in self.slugs]


def settle(tenants: int, folder: Path, today: date) -> Fleet:
    """Tenants who have been read and scored, and at whom nothing has been new since."""
    companies.write_csv(folder, companies.generate(8, ACCOUNTS, today))
    slugs = [f"idle_{number:03}" for number in range(tenants)]
    for number, slug in enumerate(slugs, start=1):
        tenant_id = provision.create_tenant(slug, slug, actor=ACTOR)
        provision.add_connector(tenant_id, "files", {"folder": str(folder)}, actor=ACTOR)
        pipeline.run(slug, as_of=today)
        if number % 25 == 0 or number == tenants:
            say(f"  {number} of {tenants} tenants are read and scored")
    return Fleet(slugs, today)


def run_all(airflow: Airflow, dags: list[str], as_of: date) -> Bill:
    """All of them at once, as if their hour had come. Returns what it cost until the last one ended."""
    meter = Meter()
    runs = {dag: airflow.trigger(dag, {"as_of": as_of.isoformat()}) for dag in dags}
    while runs:
        time.sleep(1)
        for dag, run in list(runs.items()):
            state = airflow.run_state(dag, run)
            if state in SETTLED:
                del runs[dag]
                if state != "success":
                    sys.exit(f"not a measurement: {dag} {run} ended {state}")
    return meter.bill(len(dags))


def at_rest(seconds: float) -> Bill:
    """What it costs that all this is up and nothing runs: per minute, as if a minute were a run."""
    meter = Meter()
    time.sleep(seconds)
    bill = meter.bill(1)
    return Bill(1, seconds, {who: spent * 60 / seconds for who, spent in bill.spent.items()})


def measure(tenants: int, registered: int) -> tuple[dict[str, Bill], dict[str, float]]:
    today = datetime.now(UTC).date()
    with temporary_home(), tempfile.TemporaryDirectory(prefix="clarity-bench-") as sources:
        say("starting a platform of its own")
        platform.start(lambda _line: None)
        fleet = settle(tenants, Path(sources), today)
        airflow = Airflow()
        last = fleet.dags("rescore")[-1]
        wait(lambda: airflow.has_dag(last, tag="source:files"), f"Airflow knows {last}")
        # the first run of a process pays for what later ones find warm
        run_all(airflow, fleet.dags("pipeline")[:2], today)
        bills = {}
        for what, kind, day in (
            (PIPELINE, "pipeline", today),
            (NIGHT, "rescore", today + timedelta(days=1)),
        ):
            bills[what] = run_all(airflow, fleet.dags(kind), day)
            say(f"  {what}: {bills[what].seconds:.0f} s for {tenants} tenants")
        bills["at rest, a minute"] = at_rest(60)
        return bills, parsing(airflow, registered - tenants, fleet.dags("pipeline")[0])


def wait(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        if time.monotonic() > deadline:
            sys.exit(f"not a measurement: within two minutes it did not come about that {what}")
        time.sleep(0.5)


def parsing(airflow: Airflow, registered: int, one: str) -> dict[str, float]:
    """Seconds to parse the DAGs of so many tenants: by what the dag-processor does with their two files, side by side;
    until Airflow knows them, which takes writing a thousand rows as well; and in a process that runs one task."""
    with database.connect(database.admin_conninfo()) as admin:
        admin.execute(PAPER_TENANTS, [registered])
    last = {kind: f"{kind}__paper_{registered:03}" for kind in FILES}
    began = time.monotonic()
    wait(lambda: all(map(airflow.has_dag, last.values())), f"Airflow knows {' and '.join(last.values())}")
    until = time.monotonic() - began
    # Airflow's own note of how long a file took is no measure: of two that end together the one is looked at when the
    # other has been written
    by_file = side_by_side(len(registry.everybody()))
    ended = subprocess.run(
        [sys.executable, "-c", PARSE, str(project_root() / "dags" / FILES["pipeline"])],
        env=airflow_env.environment() | {"_AIRFLOW_PARSING_CONTEXT_DAG_ID": one},
        capture_output=True,
        text=True,
        check=True,
    )
    return {
        **{f"by the dag-processor, {file}": taken for file, taken in by_file.items()},
        "until they are in Airflow": until,
        "in a task's process": float(ended.stdout.split()[-1]),
    }


def side_by_side(tenants: int) -> dict[str, float]:
    """Both files at once, each in a process of its own, as the dag-processor has them."""
    folder, environment = project_root() / "dags", airflow_env.environment()
    processes = {
        file: subprocess.Popen(
            [sys.executable, "-c", PROCESS, str(folder / file), BUNDLE, str(tenants)],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for file in FILES.values()
    }
    for process in processes.values():
        assert process.stdout
        while process.stdout.readline().strip() != "ready":
            if process.poll() is not None:
                sys.exit("not a measurement: a DAG file could not be parsed, see above")
    for process in processes.values():
        assert process.stdin
        process.stdin.write("\n")
        process.stdin.flush()
    said = {file: process.communicate()[0] for file, process in processes.items()}
    if any(process.returncode for process in processes.values()):
        sys.exit("not a measurement: a DAG file could not be parsed, see above")
    return {file: float(words.split()[-1]) for file, words in said.items()}


def table(bills: dict[str, Bill]) -> str:
    who = list(next(iter(bills.values())).spent)
    lines = [
        f"| | runs | seconds | CPU-seconds a run | {' | '.join(who)} |",
        f"|---|{'---:|' * (3 + len(who))}",
    ]
    for what, bill in bills.items():
        parts = " | ".join(f"{bill.spent[each] / bill.runs:.2f}" for each in who)
        lines.append(f"| {what} | {bill.runs} | {bill.seconds:.0f} | {bill.everything:.2f} | {parts} |")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(prog="make bench-fleet", description=__doc__)
    parser.add_argument("--tenants", type=int, default=TENANTS, help="default: %(default)s")
    parser.add_argument("--registered", type=int, default=REGISTERED, help="to parse; default: %(default)s")
    parser.add_argument("--by-cosmos", type=int, default=BY_COSMOS, help="tenants for the peer; default: %(default)s")
    arguments = parser.parse_args()
    # also who is ended leaves nothing behind
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended"))
    bills, seconds = measure(arguments.tenants, arguments.registered)
    by_cosmos = by_a_task_per_model(arguments.by_cosmos) if arguments.by_cosmos else None
    if by_cosmos:
        bills["transform alone, a Cosmos task per model"] = by_cosmos
    print(f"{os.cpu_count()} cores; Python {machine.python_version()}\n\n{table(bills)}\n")
    for what, spent in seconds.items():
        print(f"{arguments.registered} tenants {what}: {spent:.2f} s")
    print()
    outcome = verdicts(bills, seconds, arguments.tenants)
    for sentence, is_kept in outcome:
        print(f"{'kept' if is_kept else 'BROKEN'}: {sentence}")
    return 0 if all(is_kept for _, is_kept in outcome) else 1


def by_a_task_per_model(tenants: int) -> Bill:
    if not COSMOS_PYTHON.exists():
        sys.exit("Cosmos is not installed in .venv-fleet; start this by `make bench-fleet`, or say --by-cosmos 0")
    # that environment has everything but us
    ours = {"PYTHONPATH": f"{PROJECT}{os.pathsep}{PROJECT / 'plugins'}"}
    return Bill(**ran([str(COSMOS_PYTHON), "-m", "benchmarks.fleet_cosmos", str(tenants)], {**os.environ, **ours}))


def verdicts(bills: dict[str, Bill], seconds: dict[str, float], tenants: int) -> list[tuple[str, bool]]:
    run, night = bills[PIPELINE].tasks, bills[NIGHT].seconds / 60 * 100 / tenants
    parsed = max(seconds[f"by the dag-processor, {file}"] for file in FILES.values())
    return [
        (
            f"the tasks of an idle tenant's pipeline take {run:.1f} CPU-seconds; under {CPU_SECONDS_PER_RUN} promised",
            run < CPU_SECONDS_PER_RUN,
        ),
        (
            f"the night of 100 idle tenants takes {night:.1f} minutes; under {MINUTES_PER_NIGHT} promised",
            night < MINUTES_PER_NIGHT,
        ),
        (
            f"parsing takes {parsed:.1f} s, two files side by side; under {SECONDS_TO_PARSE} promised",
            parsed < SECONDS_TO_PARSE,
        ),
    ]


if __name__ == "__main__":
    sys.exit(main())
