"""A whole platform: it follows the registry without a restart, and it ends right whatever is killed.

PostgreSQL, a task, any process of Airflow: killed with -9 in the middle of a run. After `clarity up` it ends right. All
on one platform: to start one takes 25 seconds of processor.

CHAOS_KILLS says how often (3 in `make test`, 50 in `make chaos`), CHAOS_SEED repeats a sequence.
"""

import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import httpx
import psutil
import psycopg
import pytest

from cli import airflow_env, parsing, processes, supervisor, vendors
from cli import platform as platform_commands
from cli.airflow_api import SETTLED, Airflow
from cli.processes import Record
from cli.supervisor import COMPONENTS, POSTGRES, SUPERVISOR, ComponentState
from control import settings, tenants
from docs import take_screenshots
from sandbox import companies
from steps import pipeline, provision
from tests.chaos.conftest import KILLS, SEED, silent
from tests.conftest import command_line_of, sockets_of
from tests.end_to_end.conftest import TODAY
from tests.end_to_end.content import content
from warehouse import database, server
from warehouse.errors import ClarityError

# the first ones are those of a short sequence
VICTIMS = ("postgresql", "scheduler", "task", "dag-processor", "api-server", "triggerer")
PATIENCE = 300
# new, changed, paused and deleted tenants show in Airflow
WITHIN = 60
# extract, transform, score, publish; the last one is over too soon to be sure of it
TASKS = 4
UP = "from cli import supervisor; supervisor.up(print)"


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


@pytest.mark.long
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

    # what nothing is new in is not parsed again, unless somebody lost a part of it
    def last_parsed() -> str:
        return str(airflow.dag(dags_of(changed)[0])["last_parsed_time"])

    wait_until(lambda: not news(), WITHIN)
    before = last_parsed()
    time.sleep(airflow_env.SECONDS_BETWEEN_PARSES + 5)
    assert last_parsed() == before
    with airflow_database() as metadata:
        metadata.execute("update dag set is_stale = true where dag_id = any(%s)", [dags_of(changed)])
    wait_until(lambda: last_parsed() != before, WITHIN)
    assert all(airflow.has_dag(dag, tag="source:files") for dag in dags_of(changed))


def news() -> Mapping[str, str]:
    with airflow_database() as metadata:
        return parsing.news(metadata)


def airflow_database() -> psycopg.Connection:
    return database.connect(database.airflow_url(driver="postgresql"))


def dags_of(tenant: Company) -> list[str]:
    return [f"pipeline__{tenant.slug}", f"rescore__{tenant.slug}"]


@pytest.mark.long
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


@pytest.mark.long
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


@pytest.mark.timeout(900 + 360 * KILLS)
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
        # each look is a question or more to the API server, which answers ten in a second's work
        time.sleep(1)


# ── the platform as `clarity up` leaves it, looked at, wounded and stopped: each test finds what the one before left ──


def test_after_up_everything_runs(running: Path) -> None:
    # on a busy machine the API server may be silent for longer than `status` listens
    wait_until(lambda: {component.state for component in supervisor.status()} == {"running"}, 30)
    assert [component.name for component in supervisor.status()] == [POSTGRES, SUPERVISOR, *COMPONENTS]


def test_up_again_changes_nothing(running: Path) -> None:
    before = {name: pid(name) for name in (SUPERVISOR, *COMPONENTS)}
    supervisor.up(silent)
    assert {name: pid(name) for name in (SUPERVISOR, *COMPONENTS)} == before


def test_every_socket_of_the_platform_listens_on_loopback(running: Path) -> None:
    listening = {
        connection.laddr
        for process in everybody()
        for connection in sockets_of(process)
        if connection.status == psutil.CONN_LISTEN
    }
    assert (airflow_env.HOST, airflow_env.port()) in listening
    assert {address.ip for address in listening} == {"127.0.0.1"}, listening


def test_no_password_stands_on_a_command_line(running: Path) -> None:
    secrets = [airflow_env.admin_password(), *json.loads((running / "secrets.json").read_text()).values()]
    for process in everybody():
        assert not any(secret in command_line_of(process) for secret in secrets), process


def test_airflow_lets_in_the_administrator_and_nobody_without_the_password(running: Path) -> None:
    def log_in(password: str) -> int:
        credentials = {"username": airflow_env.ADMIN, "password": password}
        return httpx.post(f"{airflow_env.web_address()}/auth/token", json=credentials, trust_env=False).status_code

    assert log_in(airflow_env.admin_password()) == httpx.codes.CREATED
    assert log_in("admin") == httpx.codes.UNAUTHORIZED
    assert airflow_env.passwords_file().stat().st_mode & 0o077 == 0


def test_a_killed_postgresql_is_started_again(running: Path) -> None:
    killed = server.state().pid
    assert killed is not None
    os.kill(killed, signal.SIGKILL)
    wait_until(lambda: server.state().answering and server.state().pid != killed, 20)


@pytest.mark.long
def test_who_hangs_is_killed_and_started_again(running: Path) -> None:
    hanging = [record for name in ("scheduler", "api-server") if (record := processes.recorded(name))]
    assert len(hanging) == 2
    for record in hanging:
        kill_recorded(record, signal.SIGSTOP)
    wait_until(lambda: not any(record.is_alive for record in hanging), 300)
    said = supervisor.log_file(SUPERVISOR).read_text()
    assert all(f"{record.name} hangs" in said for record in hanging)
    wait_until(lambda: all(state_of(record.name).state == "running" for record in hanging), 120)


@pytest.mark.long
def test_a_killed_scheduler_takes_its_workers_along_and_is_started_again(running: Path) -> None:
    wait_until(lambda: len(scheduler_and_workers()) > 1, 60)
    family, killed = scheduler_and_workers(), processes.recorded("scheduler")
    assert killed is not None
    kill_recorded(killed)
    wait_until(lambda: pid("scheduler") not in (None, killed.pid), 20)
    assert not [process for process in family if lives(process)]
    assert "restarted" in state_of("scheduler").detail


@pytest.mark.long
def test_a_killed_supervisor_is_told_of_and_two_ups_at_once_repair_it_once(running: Path) -> None:
    unwatched = [record for name in COMPONENTS if (record := processes.recorded(name))]
    killed = processes.recorded(SUPERVISOR)
    assert killed is not None
    kill_recorded(killed)
    wait_until(lambda: not killed.is_alive, 5)

    assert state_of(SUPERVISOR).state == "failing"
    assert "clarity up" in state_of(SUPERVISOR).detail
    assert state_of("api-server").state == "running", "it still answers, and status says so"

    environment = airflow_env.environment()
    both = [subprocess.Popen([sys.executable, "-c", UP], env=environment, stdout=subprocess.DEVNULL) for _ in range(2)]
    assert [process.wait(120) for process in both] == [0, 0]
    wait_until(lambda: {component.state for component in supervisor.status()} == {"running"}, 30)
    assert not [record for record in unwatched if record.is_alive]
    assert len([process for process in psutil.process_iter() if is_supervisor(process)]) == 1


@pytest.mark.long
def test_where_there_is_a_demo_its_vendors_run_too_and_give_way_to_those_of_another_day(running: Path) -> None:
    assert vendors.NAME not in {component.name for component in supervisor.status()}
    ports = vendors.plan(["tolmarra/fathom"], TODAY - timedelta(days=1)).ports
    wait_until(lambda: state_of(vendors.NAME).state == "running", 60)
    first = pid(vendors.NAME)
    assert vendors.plan(["tolmarra/fathom"], TODAY).ports == ports
    assert state_of(vendors.NAME).state != "running"
    wait_until(lambda: state_of(vendors.NAME).state == "running", 60)
    assert pid(vendors.NAME) != first


@pytest.mark.long
def test_down_leaves_no_process_and_frees_the_ports(running: Path) -> None:
    demo = vendors.planned()
    assert demo is not None
    family, ports = everybody(), [airflow_env.port(), server.state().port, *demo.ports.values()]
    assert len(family) > len(COMPONENTS) + 2
    supervisor.down(silent)
    assert not [process for process in family if lives(process)]
    assert {component.state for component in supervisor.status()} == {"stopped"}
    for port in ports:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))


def state_of(name: str) -> ComponentState:
    return next(component for component in supervisor.status() if component.name == name)


def scheduler_and_workers() -> list[psutil.Process]:
    record = processes.recorded("scheduler")
    return processes.family(record) if record else []


def pid(name: str) -> int | None:
    record = processes.recorded(name)
    return record.pid if record else None


def kill_recorded(record: Record, by: signal.Signals = signal.SIGKILL) -> None:
    assert record.pid is not None
    assert record.is_alive
    os.kill(record.pid, by)


def everybody() -> list[psutil.Process]:
    """Every process of the platform, whoever forked it."""
    leaders = [record for name in (SUPERVISOR, *COMPONENTS, vendors.NAME) if (record := processes.recorded(name))]
    postmaster = psutil.Process(server.state().pid)
    return [
        *(p for leader in leaders for p in processes.family(leader)),
        postmaster,
        *postmaster.children(recursive=True),
    ]


def lives(process: psutil.Process) -> bool:
    """A number that somebody else was given since is not the process that we knew."""
    return process.is_running() and processes.birth(process.pid) is not None


def is_supervisor(process: psutil.Process) -> bool:
    record = processes.recorded(SUPERVISOR)
    try:
        ours = process.environ().get("CLARITY_HOME") == os.environ["CLARITY_HOME"]
        return ours and process.cmdline()[1:] == ["-m", "cli.supervisor"] and record is not None
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return False
