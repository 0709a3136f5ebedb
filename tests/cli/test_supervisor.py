"""A real platform, started, wounded and stopped. The tests follow each other: each finds what the one before left."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path

import psutil
import pytest

from cli import airflow_env, processes, supervisor, vendors
from cli.processes import Record
from cli.supervisor import COMPONENTS, POSTGRES, SUPERVISOR, ComponentState
from tests.conftest import command_line_of, sockets_of
from warehouse import migrate, server
from warehouse.errors import ClarityError

UP = "from cli import supervisor; supervisor.up(print)"


def _silent(_line: str) -> None:
    """Nobody listens."""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A migrated platform in a home of its own, whatever else the session runs."""
    folder = tmp_path_factory.mktemp("supervised")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CLARITY_HOME", str(folder))
        patch.delenv("CLARITY_DATABASE_URL", raising=False)
        yield folder
        supervisor.down(_silent)


@pytest.fixture(scope="module")
def up(home: Path) -> Path:
    migrate.migrate(_silent, [])
    supervisor.up(_silent)
    return home


def test_a_platform_that_was_never_started_is_stopped_not_broken(home: Path) -> None:
    assert {component.state for component in supervisor.status()} == {"stopped"}
    supervisor.down(_silent)


def test_up_before_the_first_migration_says_what_to_run(home: Path) -> None:
    with pytest.raises(ClarityError, match="clarity migrate"):
        supervisor.up(_silent)
    assert _state(SUPERVISOR).state == "stopped"


def test_after_up_everything_runs(up: Path) -> None:
    # on a busy machine the API server may be silent for longer than `status` listens
    _wait_until(lambda: {component.state for component in supervisor.status()} == {"running"}, 30)
    assert [component.name for component in supervisor.status()] == [POSTGRES, SUPERVISOR, *COMPONENTS]


def test_up_again_changes_nothing(up: Path) -> None:
    before = {name: _pid(name) for name in (SUPERVISOR, *COMPONENTS)}
    supervisor.up(_silent)
    assert {name: _pid(name) for name in (SUPERVISOR, *COMPONENTS)} == before


def test_every_socket_of_the_platform_listens_on_loopback(up: Path) -> None:
    listening = {
        connection.laddr
        for process in _family()
        for connection in sockets_of(process)
        if connection.status == psutil.CONN_LISTEN
    }
    assert (airflow_env.HOST, airflow_env.port()) in listening
    assert {address.ip for address in listening} == {"127.0.0.1"}, listening


def test_no_password_stands_on_a_command_line(up: Path) -> None:
    secrets = [airflow_env.admin_password(), *json.loads((up / "secrets.json").read_text()).values()]
    for process in _family():
        assert not any(secret in command_line_of(process) for secret in secrets), process


def test_airflow_lets_in_the_administrator_and_nobody_without_the_password(up: Path) -> None:
    import httpx

    def log_in(password: str) -> int:
        credentials = {"username": airflow_env.ADMIN, "password": password}
        return httpx.post(f"{airflow_env.web_address()}/auth/token", json=credentials, trust_env=False).status_code

    assert log_in(airflow_env.admin_password()) == httpx.codes.CREATED
    assert log_in("admin") == httpx.codes.UNAUTHORIZED
    assert airflow_env.passwords_file().stat().st_mode & 0o077 == 0


def test_a_killed_postgresql_is_started_again(up: Path) -> None:
    killed = server.state().pid
    assert killed is not None
    os.kill(killed, signal.SIGKILL)
    _wait_until(lambda: server.state().answering and server.state().pid != killed, 20)


def test_a_killed_scheduler_takes_its_workers_along_and_is_started_again(up: Path) -> None:
    _wait_until(lambda: len(_scheduler_and_workers()) > 1, 60)
    family, killed = _scheduler_and_workers(), processes.recorded("scheduler")
    assert killed is not None
    _kill(killed)
    _wait_until(lambda: _pid("scheduler") not in (None, killed.pid), 20)
    assert not [process for process in family if _lives(process)]
    assert "restarted" in _state("scheduler").detail


def test_a_killed_supervisor_is_told_of_and_two_ups_at_once_repair_it_once(up: Path) -> None:
    unwatched = [record for name in COMPONENTS if (record := processes.recorded(name))]
    killed = processes.recorded(SUPERVISOR)
    assert killed is not None
    _kill(killed)
    _wait_until(lambda: not killed.is_alive, 5)

    assert _state(SUPERVISOR).state == "failing"
    assert "clarity up" in _state(SUPERVISOR).detail
    assert _state("api-server").state == "running", "it still answers, and status says so"

    environment = airflow_env.environment()
    both = [subprocess.Popen([sys.executable, "-c", UP], env=environment, stdout=subprocess.DEVNULL) for _ in range(2)]
    assert [process.wait(120) for process in both] == [0, 0]
    _wait_until(lambda: {component.state for component in supervisor.status()} == {"running"}, 30)
    assert not [record for record in unwatched if record.is_alive]
    assert len([process for process in psutil.process_iter() if _is_supervisor(process)]) == 1


def test_where_there_is_a_demo_its_vendors_run_too_and_give_way_to_those_of_another_day(up: Path) -> None:
    assert vendors.NAME not in {component.name for component in supervisor.status()}
    ports = vendors.plan(["tolmarra/fathom"], date(2026, 3, 9)).ports
    _wait_until(lambda: _state(vendors.NAME).state == "running", 60)
    first = _pid(vendors.NAME)
    assert vendors.plan(["tolmarra/fathom"], date(2026, 3, 10)).ports == ports
    assert _state(vendors.NAME).state != "running"
    _wait_until(lambda: _state(vendors.NAME).state == "running", 60)
    assert _pid(vendors.NAME) != first


def test_down_leaves_no_process_and_frees_the_ports(up: Path) -> None:
    demo = vendors.planned()
    assert demo is not None
    family, ports = _family(), [airflow_env.port(), server.state().port, *demo.ports.values()]
    assert len(family) > len(COMPONENTS) + 2
    supervisor.down(_silent)
    assert not [process for process in family if _lives(process)]
    assert {component.state for component in supervisor.status()} == {"stopped"}
    for port in ports:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))


def test_a_stranger_with_a_recorded_number_is_neither_believed_nor_killed(home: Path) -> None:
    stranger = subprocess.Popen(["sleep", "60"], start_new_session=True, env={"CLARITY_HOME": "/somewhere/else"})
    try:
        Record("scheduler", stranger.pid, "born before the last boot", time.time()).save()
        assert _state("scheduler").state == "failing"
        assert _state("scheduler").pid is None
        supervisor.down(_silent)
        assert stranger.poll() is None
        assert processes.recorded("scheduler") is None
    finally:
        stranger.kill()
        stranger.wait()


def test_what_a_dead_leader_forked_is_found_by_the_home_it_works_for(home: Path) -> None:
    forked = "import os, time; os.fork() == 0 and time.sleep(60)"
    leader = subprocess.Popen([sys.executable, "-c", forked], start_new_session=True)
    record = processes.started("scheduler", leader.pid)
    leader.wait()
    assert not record.is_alive
    assert len(processes.family(record)) == 1
    supervisor.down(_silent)
    assert processes.family(record) == []


def test_a_zombie_counts_as_gone(home: Path) -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    _wait_until(lambda: psutil.Process(child.pid).status() == psutil.STATUS_ZOMBIE, 10)
    assert processes.birth(child.pid) is None
    child.wait()


def test_a_port_that_somebody_else_took_is_replaced_and_remembered(home: Path) -> None:
    before = airflow_env.choose_port()
    assert airflow_env.choose_port() == before
    with socket.socket() as somebody:
        somebody.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        somebody.bind((airflow_env.HOST, before))
        somebody.listen()
        somebody.listen()
        after = airflow_env.choose_port()
    assert after != before
    assert airflow_env.port() == after


def _state(name: str) -> ComponentState:
    return next(component for component in supervisor.status() if component.name == name)


def _scheduler_and_workers() -> list[psutil.Process]:
    record = processes.recorded("scheduler")
    return processes.family(record) if record else []


def _pid(name: str) -> int | None:
    record = processes.recorded(name)
    return record.pid if record else None


def _kill(record: Record) -> None:
    assert record.pid is not None
    assert record.is_alive
    os.kill(record.pid, signal.SIGKILL)


def _family() -> list[psutil.Process]:
    """Every process of the platform, whoever forked it."""
    leaders = [record for name in (SUPERVISOR, *COMPONENTS, vendors.NAME) if (record := processes.recorded(name))]
    postmaster = psutil.Process(server.state().pid)
    return [
        *(p for leader in leaders for p in processes.family(leader)),
        postmaster,
        *postmaster.children(recursive=True),
    ]


def _lives(process: psutil.Process) -> bool:
    """A number that somebody else was given since is not the process that we knew."""
    return process.is_running() and processes.birth(process.pid) is not None


def _is_supervisor(process: psutil.Process) -> bool:
    record = processes.recorded(SUPERVISOR)
    try:
        ours = process.environ().get("CLARITY_HOME") == os.environ["CLARITY_HOME"]
        return ours and process.cmdline()[1:] == ["-m", "cli.supervisor"] and record is not None
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return False


def _wait_until(condition: Callable[[], bool], patience: float) -> None:
    deadline = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < deadline, f"not within {patience} s"
        time.sleep(0.1)
