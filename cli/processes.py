"""Processes of ours that outlive the command that started them, told apart from strangers with the same number.

A record names a process by its id and its birth, so that an id which the system gave to somebody else since is neither
believed nor killed. Each recorded process leads a session of its own: what it forked can be found after it died.
"""

import json
import os
import sys
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from warehouse.home import home, write_private

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True)
class Record:
    """`pid` is None for a process that died and is to be started again; `since` is when it started or died."""

    name: str
    pid: int | None
    birth: str | None
    since: float
    restarts: int = 0

    @property
    def is_alive(self) -> bool:
        return self.pid is not None and self.birth is not None and birth(self.pid) == self.birth

    def save(self) -> None:
        write_private(_file(self.name), json.dumps(asdict(self)))


def run_folder() -> Path:
    folder = home() / "run"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


def started(name: str, pid: int, restarts: int = 0) -> Record:
    record = Record(name, pid, birth(pid), time.time(), restarts)
    record.save()
    return record


def died(name: str, restarts: int) -> None:
    Record(name, None, None, time.time(), restarts).save()


def recorded(name: str) -> Record | None:
    try:
        return Record(**json.loads(_file(name).read_text()))
    except FileNotFoundError:
        return None


def forget(name: str) -> None:
    _file(name).unlink(missing_ok=True)


def birth(pid: int) -> str | None:
    """When this process began, in terms that no change of the clock alters. None if it is gone: a zombie is."""
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        if sys.platform == "linux":
            ticks_since_boot = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
            return f"{BOOT_ID.read_text().strip()} {ticks_since_boot}"
        return str(process.create_time())
    except (psutil.NoSuchProcess, FileNotFoundError, ProcessLookupError):
        return None


def family(record: Record) -> list[psutil.Process]:
    """What lives in the session that the recorded process led, itself included.

    While the leader lives, the session's number is its own. After that a stranger may have been given it: then only a
    process that says in its environment that it works for our CLARITY_HOME is ours.
    """
    if record.pid is None:
        return []
    leader_is_ours = record.is_alive
    return [
        process
        for process in psutil.process_iter()
        if _session(process.pid) == record.pid and (leader_is_ours or _works_for_us(process))
    ]


def kill(processes: Iterable[psutil.Process]) -> None:
    """SIGKILL, and wait until they are gone. psutil refuses a process whose number has changed hands."""
    victims = list(processes)
    for process in victims:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue
    deadline = time.monotonic() + 5
    while any(birth(process.pid) for process in victims if process.is_running()) and time.monotonic() < deadline:
        time.sleep(0.02)


def _file(name: str) -> Path:
    return run_folder() / f"{name}.json"


def _session(pid: int) -> int | None:
    try:
        return os.getsid(pid)
    except (ProcessLookupError, PermissionError):
        return None


def _works_for_us(process: psutil.Process) -> bool:
    try:
        return process.environ().get("CLARITY_HOME") == str(home())
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        return _is_a_worker_of_this_user(process)


def _is_a_worker_of_this_user(process: psutil.Process) -> bool:
    """Airflow's workers show their environment to root alone; to others their owner and their title must do."""
    try:
        return process.uids().real == os.getuid() and " ".join(process.cmdline()).startswith("airflow worker")
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return False
