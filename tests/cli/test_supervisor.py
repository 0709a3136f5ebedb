"""What the supervisor says and does where no Airflow runs. What it does to one that runs: tests/chaos/test_kills.py."""

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
import pytest

from cli import airflow_env, processes, supervisor
from cli.processes import Record
from cli.supervisor import SILENT_AT_MOST, SUPERVISOR, UP_WITHIN, ComponentState, Supervisor, Watched
from warehouse.errors import ClarityError


def _silent(_line: str) -> None:
    """Nobody listens."""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A home of its own, whatever else the session runs."""
    folder = tmp_path_factory.mktemp("supervised")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CLARITY_HOME", str(folder))
        patch.delenv("CLARITY_DATABASE_URL", raising=False)
        yield folder
        supervisor.down(_silent)


def test_a_platform_that_was_never_started_is_stopped_not_broken(home: Path) -> None:
    assert {component.state for component in supervisor.status()} == {"stopped"}
    supervisor.down(_silent)


def test_up_before_the_first_migration_says_what_to_run(home: Path) -> None:
    with pytest.raises(ClarityError, match="clarity migrate"):
        supervisor.up(_silent)
    assert _state(SUPERVISOR).state == "stopped"


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


def test_who_hangs_is_killed_and_who_speaks_now_and_then_or_has_just_started_is_not(home: Path) -> None:
    process = subprocess.Popen(["sleep", "60"], start_new_session=True)
    watched = Watched("scheduler", [], process, started_at=time.monotonic())
    try:
        for _ in range(2 * SILENT_AT_MOST):
            watched.listen(has_spoken=False)
        watched.started_at -= UP_WITHIN
        for _ in range(2):
            watched.listen(has_spoken=True)
            for _ in range(SILENT_AT_MOST - 1):
                watched.listen(has_spoken=False)
        assert process.poll() is None
        watched.listen(has_spoken=False)
        assert process.wait(10) == -signal.SIGKILL
    finally:
        process.kill()
        process.wait()


def test_a_heartbeat_is_one_that_was_not_there_before_whatever_the_clock_says(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone, first = datetime(2026, 3, 9, tzinfo=UTC), datetime(2026, 3, 10, tzinfo=UTC)
    earlier = first - timedelta(seconds=5)
    beats = iter([[gone, first], [gone, first], [gone, earlier], [gone, earlier]])
    monkeypatch.setattr(supervisor, "_airflow_database", lambda *_, **__: nullcontext())
    monkeypatch.setattr(supervisor, "_heartbeats", lambda _airflow: {"SchedulerJob": next(beats)})
    watching, silences = Supervisor(), []
    for _ in range(4):
        watching.listen_at = 0.0
        watching.listen()
        silences.append({component.name: component.silences for component in watching.components})
    assert [look["scheduler"] for look in silences] == [0, 1, 0, 1]
    # the two have no row, and at the API server's address nobody answers
    assert silences[-1] == {"api-server": 4, "scheduler": 1, "dag-processor": 4, "triggerer": 4}


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


def _wait_until(condition: Callable[[], bool], patience: float) -> None:
    deadline = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < deadline, f"not within {patience} s"
        time.sleep(0.1)
