"""A whole platform: it follows the registry without a restart, and it ends right whatever is killed.

PostgreSQL, a task, any process of Airflow: killed with -9 in the middle of a run. After `clarity up` it ends right.

CHAOS_KILLS says how often (3 in `make test`, 50 in `make chaos`), CHAOS_SEED repeats a sequence.
"""

import random
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import psutil
import pytest

from cli import platform as platform_commands
from cli import processes, supervisor
from cli.airflow_api import SETTLED, Airflow
from control import settings, tenants
from docs import take_screenshots
from sandbox import companies
from steps import pipeline, provision
from tests.chaos.conftest import KILLS, SEED, silent
from tests.end_to_end.conftest import TODAY
from tests.end_to_end.content import content
from warehouse import server
from warehouse.errors import ClarityError

# the first ones are those of a short sequence
VICTIMS = ("postgresql", "scheduler", "task", "dag-processor", "api-server", "triggerer")
PATIENCE = 300
# new, changed, paused and deleted tenants show in Airflow
WITHIN = 60
# extract, transform, score, publish; the last one is over too soon to be sure of it
TASKS = 4


@dataclass
class Company:
    """A tenant and the folder that its connector reads."""

    id: str
    slug: str
    folder: Path

    def advance(self, days: int) -> None:
        companies.write_csv(self.folder, companies.advance(companies.read_world(self.folder), days))


def company(home: Path) -> Company:
    slug = f"t_{uuid.uuid4().hex[:12]}"
    folder = home / "sources" / slug
    companies.write_csv(folder, companies.generate(4711, 8, TODAY))
    tenant_id = provision.create_tenant(f"Company {slug}", slug, actor="system:tests")
    provision.add_connector(tenant_id, "files", {"folder": str(folder)}, actor="system:tests")
    return Company(tenant_id, slug, folder)


@pytest.fixture
def airflow(running: Path) -> Iterator[Airflow]:
    with closing(Airflow()) as session:
        yield session


def test_new_changed_paused_and_deleted_tenants_show_within_a_minute(running: Path, airflow: Airflow) -> None:
    changed, paused, gone = (company(running) for _ in range(3))
    began = time.monotonic()
    new = dags_of(changed) + dags_of(paused) + dags_of(gone)
    wait_until(lambda: all(airflow.has_dag(dag, tag="source:files") for dag in new), WITHIN)
    print(f"\nfleet: new tenants are there after {time.monotonic() - began:.0f} s")

    settings.change(changed.id, actor="system:tests", assignments=["timezone=Asia/Kathmandu"])
    tenants.set_paused(paused.id, True, actor="system:tests")
    tenants.delete(gone.id, actor="system:tests")
    began = time.monotonic()
    wait_until(
        lambda: (
            all("Asia/Kathmandu" in airflow.dag(dag)["doc_md"] for dag in dags_of(changed))
            and all(airflow.has_dag(dag, tag="paused") for dag in dags_of(paused))
            and not set(dags_of(gone)) & set(airflow.dags())
        ),
        WITHIN,
    )
    print(f"fleet: changes are there after {time.monotonic() - began:.0f} s")
    assert all(airflow.dag(dag)["timetable_summary"] is None for dag in dags_of(paused))


def dags_of(tenant: Company) -> list[str]:
    return [f"pipeline__{tenant.slug}", f"rescore__{tenant.slug}"]


def test_the_pictures_of_a_finished_run_are_taken(running: Path, airflow: Airflow, tmp_path: Path) -> None:
    tenant = company(running)
    dag_id = f"pipeline__{tenant.slug}"
    wait_until(lambda: airflow.has_dag(dag_id, tag="source:files"), WITHIN)
    run_id = airflow.trigger(dag_id, {"as_of": TODAY.isoformat()})
    assert ending(airflow, dag_id, run_id) == "success"
    graph, grid = take_screenshots.take(dag_id, run_id, tmp_path)
    for image in (graph, grid):
        assert image.read_bytes().startswith(b"\x89PNG")
        assert image.stat().st_size > 20_000, "the page is empty"


def test_backfilled_nights_are_scored_as_of_their_days_and_published_to_nobody(running: Path, airflow: Airflow) -> None:
    tenant = company(running)
    pipeline.run(tenant.slug, as_of=TODAY)
    before = content(tenant)
    dag_id = f"rescore__{tenant.slug}"
    wait_until(lambda: airflow.has_dag(dag_id), WITHIN)
    runs = airflow.backfill(dag_id, "2026-02-07T00:00:00Z", "2026-02-09T00:00:00Z")
    looked = []
    for run_id in runs:
        assert ending(airflow, dag_id, run_id) == "success"
        looked.append(airflow.returned(dag_id, run_id, "score"))
        states = {task.name: task.state for task in airflow.tasks(dag_id, run_id)}
        assert states == {"score": "success", "publish": "skipped", "writeback": "skipped", "conclude": "success"}
    assert [(summary["as_of"], summary["kept"]) for summary in looked] == [("2026-02-07", False), ("2026-02-08", False)]
    assert all(summary["would_move"] for summary in looked)
    assert content(tenant) == before


@pytest.mark.timeout(60 + 360 * KILLS)
def test_a_run_that_lost_a_process_ends_as_if_nothing_had_happened(running: Path, airflow: Airflow) -> None:
    print(f"\nchaos: {KILLS} kills, CHAOS_SEED={SEED}")
    dice = random.Random(SEED)
    # two tenants with the same world: one runs in Airflow and is wounded, the other runs undisturbed
    wounded, spared = company(running), company(running)
    dag_id = f"pipeline__{wounded.slug}"
    wait_until(lambda: airflow.has_dag(dag_id, tag="source:files"), 60)
    began = time.monotonic()
    assert ending(airflow, dag_id, airflow.trigger(dag_id, {"as_of": TODAY.isoformat()})) == "success"
    duration = time.monotonic() - began
    pipeline.run(spared.slug, as_of=TODAY)
    assert content(wounded) == content(spared)

    day = TODAY
    for number in range(KILLS):
        # once each in a short sequence, so that none is left out by chance
        victim = VICTIMS[number] if number < len(VICTIMS) else dice.choice(VICTIMS)
        day += timedelta(days=1)
        for each in (wounded, spared):
            each.advance(1)
        run_id = airflow.trigger(dag_id, {"as_of": day.isoformat()})
        if victim == "task":
            # counted, not timed: on a machine that has become less busy the run would be over by then
            place = dice.randint(1, TASKS)
            print(f"chaos: kill {number + 1}, task {place} of the run", flush=True)
            killed = kill(victim, place)
        else:
            moment = dice.uniform(0.05, 0.95) * duration
            print(f"chaos: kill {number + 1}, {victim} after {moment:.1f} s", flush=True)
            time.sleep(moment)
            killed = kill(victim)
        began = time.monotonic()
        platform_commands.start(silent)
        state = ending(airflow, dag_id, run_id)
        print(f"chaos: {killed}; the run was {state} after {time.monotonic() - began:.1f} s more", flush=True)
        assert state == "success", post_mortem(airflow, dag_id, run_id)
        pipeline.run(spared.slug, as_of=day)
        assert content(wounded) == content(spared)
    wait_until(lambda: airflow.unfinished(dag_id) == [], PATIENCE)


def kill(victim: str, place: int = 1) -> str:
    """Kill -9 and say what was killed; of tasks the one that is the `place`th to start from now on."""
    if victim == "postgresql":
        pid = server.state().pid
        assert pid is not None
        target = psutil.Process(pid)
    else:
        component = processes.recorded("scheduler" if victim == "task" else victim)
        assert component is not None
        assert component.pid is not None
        target = psutil.Process(component.pid)
        if victim == "task":
            target = task_number(place, target)
    name = f"{victim} {target.pid}"
    target.kill()
    return name


def task_number(place: int, scheduler: psutil.Process) -> psutil.Process:
    """A process two levels below the scheduler: its workers' children run the tasks."""
    seen: list[psutil.Process] = []
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        for worker in scheduler.children():
            for task in children_of(worker):
                if task not in seen:
                    seen.append(task)
                if len(seen) == place:
                    return task
        time.sleep(0.02)
    raise AssertionError(f"{len(seen)} tasks ran within 120 s")


def children_of(worker: psutil.Process) -> list[psutil.Process]:
    try:
        return worker.children()
    except psutil.NoSuchProcess:
        return []


def ending(airflow: Airflow, dag_id: str, run_id: str) -> str:
    """How the run ended, once it has; while PostgreSQL comes back Airflow may refuse to answer."""
    deadline, state = time.monotonic() + PATIENCE, "unknown"
    while time.monotonic() < deadline:
        try:
            state = airflow.run_state(dag_id, run_id)
        except ClarityError:
            time.sleep(1)
            continue
        if state in SETTLED:
            return state
        time.sleep(0.5)
    return f"{state} after {PATIENCE} s"


def post_mortem(airflow: Airflow, dag_id: str, run_id: str) -> str:
    """What to look at when a run did not end: the home is gone by then."""
    states = [f"{task.name}: {task.state}" for task in airflow.tasks(dag_id, run_id)]
    logs = [supervisor.log_file(name) for name in (supervisor.SUPERVISOR, "scheduler")]
    ends = [f"{log.name}:\n" + "\n".join(log.read_text(errors="replace").splitlines()[-40:]) for log in logs]
    return "\n".join([*states, *ends])


def wait_until(condition: Callable[[], bool], patience: float) -> None:
    deadline = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.3)
