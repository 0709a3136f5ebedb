"""The demo's vendors: stand-ins in one process, which the supervisor keeps running wherever there is a demo.

    CLARITY_HOME/demo/vendors.json   which days have come in their world, and at which port each of them stands

The platform's own tenants know nothing of this: to them these are addresses like any other.
"""

import json
import socket
import sys
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path

import psutil

from cli import airflow_env, processes
from warehouse.home import home, write_private

NAME = "vendors"


@dataclass(frozen=True)
class Plan:
    days: tuple[str, ...]
    ports: Mapping[str, int]


def planned() -> Plan | None:
    try:
        told = json.loads(_file().read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    return Plan(tuple(told["days"]), told["ports"])


def plan(places: Iterable[str], today: date) -> Plan:
    """Where these vendors stand as of today: at the ports that they had, unless a stranger has taken one since."""
    before = planned() or Plan((), {})
    days = before.days if str(today) in before.days else (*before.days, str(today))
    ours = (record := processes.recorded(NAME)) is not None and record.is_alive
    ports: dict[str, int] = {}
    for place in places:
        known = before.ports.get(place)
        ports[place] = known if known and (ours or airflow_env.is_free(known)) else _free_port(ports.values())
    made = Plan(days, ports)
    if made != before:
        _file().parent.mkdir(mode=0o700, exist_ok=True)
        write_private(_file(), json.dumps(asdict(made)))
    return made


def command() -> list[str] | None:
    """What the supervisor runs; None where there is no demo."""
    made = planned()
    if made is None:
        return None
    # the day is part of it, so that another day is another process
    return [sys.executable, "-m", "sandbox", "demo", "--plan", str(_file()), "--day", made.days[-1]]


def who_is_silent(pid: int) -> str | None:
    """Which of them does not answer yet, or whether the process is still that of another day."""
    made = planned()
    try:
        if made is None or made.days[-1] not in psutil.Process(pid).cmdline():
            return "their world is of another day"
    except psutil.NoSuchProcess:
        return "have just ended"
    return next((f"{place} does not answer" for place, port in made.ports.items() if not _answers(port)), None)


def _answers(port: int) -> bool:
    try:
        with socket.create_connection((airflow_env.HOST, port), timeout=1):
            return True
    except OSError:
        return False


def _free_port(taken: Collection[int]) -> int:
    while True:
        with socket.socket() as probe:
            probe.bind((airflow_env.HOST, 0))
            port = int(probe.getsockname()[1])
        if port not in taken:
            return port


def _file() -> Path:
    return home() / "demo" / "vendors.json"
