"""Keeps Airflow's four processes and the embedded PostgreSQL running.

    up       makes the platform run, whatever state it was found in
    down     stops everything
    status   says what is true, also of a platform that is half dead

    CLARITY_HOME/run/<name>.json    process id and birth of the supervisor and of each process it watches
    CLARITY_HOME/logs/<name>.log    what each of them says

`python -m cli.supervisor` is the process that watches; `up` starts it.
"""

import http
import http.client
import importlib.metadata
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Literal

import psycopg

from cli import airflow_env, broker, parsing, processes, vendors
from cli.processes import Record
from control import registry
from warehouse import database, server
from warehouse.errors import ClarityError, MisuseError
from warehouse.home import Report, home, locked, write_private

# No log servers: they would listen on all interfaces, and every process here reads the same disk.
COMPONENTS: dict[str, tuple[str, ...]] = {
    "api-server": ("api-server",),
    "scheduler": ("scheduler", "--skip-serve-logs"),
    "dag-processor": ("dag-processor",),
    "triggerer": ("triggerer", "--skip-serve-logs"),
}
SUPERVISOR, POSTGRES, REDIS = "supervisor", "postgresql", "redis"

UP_WITHIN = 180.0
STARTING_FOR = 60.0
HEARTBEAT_IS_OLD = 30.0  # Airflow beats every 5 s
GIVE_UP_AFTER_DEATHS = 3
TASKS_MAY_END_WITHIN = 15.0
API_MAY_END_WITHIN = 5.0
LONGEST_PAUSE = 30.0
FORGIVEN_AFTER = 60.0
LOG_LIMIT = 20_000_000
SECONDS_BETWEEN_LOOKS = 3.0
SECONDS_FOR_A_PARSE = 10.0
LISTENS_EVERY = 10.0  # seconds
SILENT_AT_MOST = 9  # looks in a row without a sign of life

# whose heartbeats Airflow keeps, and under which name; the API server is asked
BEATS = {"scheduler": "SchedulerJob", "dag-processor": "DagProcessorJob", "triggerer": "TriggererJob"}

State = Literal["running", "starting", "failing", "stopped"]
Beats = list[datetime | None]


@dataclass(frozen=True)
class ComponentState:
    """`since` is in seconds of the Unix epoch."""

    name: str
    state: State
    detail: str
    pid: int | None = None
    since: float | None = None


# ------------------------------------------------------------------------------------------------- for the commands


def up(report: Report) -> None:
    """Start what is missing and return when everything is healthy. Of two at once the second waits for the first."""
    with _one_at_a_time(report):
        database.ensure_up()
        if not _supervisor_lives():
            _airflow_database().close()
            _clear_leftovers(report)
            airflow_env.choose_port()
            _spawn_supervisor()
        _await_health(report)


def down(report: Report) -> None:
    """Stop everything, the embedded PostgreSQL last. Running tasks get a moment to end."""
    with _one_at_a_time(report):
        supervisor = processes.recorded(SUPERVISOR)
        if supervisor and supervisor.pid and supervisor.is_alive:
            report("stopping Airflow")
            os.kill(supervisor.pid, signal.SIGTERM)
            _wait_until(lambda: not supervisor.is_alive, TASKS_MAY_END_WITHIN + API_MAY_END_WITHIN + 10)
        _clear_leftovers(report)
        if database.is_embedded():
            report("stopping PostgreSQL")
            server.stop(report)


def status() -> list[ComponentState]:
    """The state of PostgreSQL, the supervisor and Airflow's processes, found out now and without starting anything."""
    supervised, health = _supervisor_lives(), _health()
    if airflow_env.is_in_container():
        unknown = [(name, Record(name, None, None, 0.0)) for name in COMPONENTS]
        return [
            _state_of_postgres(),
            *_state_of_redis(),
            *(ComponentState(name, *_judge(name, record, health)) for name, record in unknown),
        ]
    return [
        _state_of_postgres(),
        *_state_of_redis(),
        _state_of_supervisor(),
        *(_state_of(name, processes.recorded(name), health, supervised) for name in COMPONENTS),
        *_state_of_vendors(supervised),
    ]


def log_file(name: str) -> Path:
    folder = home() / "logs"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder / f"{name}.log"


def _one_at_a_time(report: Report) -> AbstractContextManager[None]:
    return locked(processes.run_folder() / "up-and-down.lock", report)


def _supervisor_lives() -> bool:
    record = processes.recorded(SUPERVISOR)
    return record is not None and record.is_alive


def _clear_leftovers(report: Report) -> None:
    """End what a killed supervisor left behind, so that nothing runs twice."""
    for name in (SUPERVISOR, MIGRATION, *COMPONENTS, vendors.NAME):
        if record := processes.recorded(name):
            if leftovers := processes.family(record):
                report(f"ending what was left of {name}")
                processes.kill(leftovers)
            processes.forget(name)


def _spawn_supervisor() -> None:
    with open(log_file(SUPERVISOR), "ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "cli.supervisor"],
            stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
            env=airflow_env.environment(), cwd="/", umask=0o077, start_new_session=True,
        )  # fmt: skip
    processes.started(SUPERVISOR, process.pid)
    # Reaped when it ends, should this process live that long.
    threading.Thread(target=process.wait, daemon=True).start()


def _await_health(report: Report) -> None:
    began, told, restarts_before = time.monotonic(), set[str](), dict[str, int]()
    while True:
        states = status()
        for component in states:
            if component.state == "running" and component.name not in told:
                told.add(component.name)
                report(f"{component.name} {component.detail}")
        if all(component.state == "running" for component in states):
            # what the first task would wait for; until it is built the API server answers nobody, `status` neither
            _ask("/execution/health", timeout=60)
            return
        if not _supervisor_lives():
            raise ClarityError(f"Airflow did not start. {_last_words(SUPERVISOR)}")
        for name in (*COMPONENTS, vendors.NAME):
            if record := processes.recorded(name):
                deaths = record.restarts - restarts_before.setdefault(name, record.restarts)
                if deaths >= GIVE_UP_AFTER_DEATHS:
                    raise ClarityError(f"{name} has died {deaths} times. {_last_words(name)}")
        if time.monotonic() - began > UP_WITHIN:
            late = next(component for component in states if component.state != "running")
            raise ClarityError(
                f"{late.name} is not healthy after {UP_WITHIN:.0f} s: {late.detail}. {_last_words(late.name)}"
            )
        time.sleep(0.2)


def _last_words(name: str) -> str:
    file = log_file(name)
    lines = file.read_text(errors="replace").splitlines()[-15:] if file.exists() else []
    return "\n".join([f"The end of {file}:", *(f"    {line}" for line in lines)])


# ------------------------------------------------------------------------------------------------- what is true now


def _state_of_postgres() -> ComponentState:
    if not database.is_embedded():
        return _state_of_external_postgres()
    state = server.state()
    if not state.running:
        return ComponentState(POSTGRES, "stopped", "run `clarity up`")
    return ComponentState(POSTGRES, "running" if state.answering else "failing", state.detail, state.pid)


def _state_of_external_postgres() -> ComponentState:
    try:
        # a container knows no administrator
        known = database.registry_conninfo() if airflow_env.is_in_container() else database.admin_conninfo()
        with psycopg.connect(known, connect_timeout=3) as connection:
            return ComponentState(POSTGRES, "running", f"answers on {connection.info.host}:{connection.info.port}")
    except psycopg.OperationalError as error:
        reason = str(error).strip().splitlines()[-1]
        return ComponentState(POSTGRES, "failing", f"{database.URL_VARIABLE} points to a server that refuses: {reason}")


def _state_of_redis() -> list[ComponentState]:
    """Of those alone who have workers on other machines."""
    if not airflow_env.by_celery():
        return []
    try:
        return [ComponentState(REDIS, "running", broker.ask())]
    except ClarityError as error:
        return [ComponentState(REDIS, "failing", str(error))]


def _state_of_supervisor() -> ComponentState:
    record = processes.recorded(SUPERVISOR)
    if record is None:
        return ComponentState(SUPERVISOR, "stopped", "run `clarity up`")
    if record.is_alive:
        return ComponentState(SUPERVISOR, "running", "watches the others", record.pid, record.since)
    detail = (
        f"ended without being asked to; what still runs is not watched: run `clarity up` (log: {log_file(SUPERVISOR)})"
    )
    return ComponentState(SUPERVISOR, "failing", detail)


def _state_of(name: str, record: Record | None, health: dict[str, Any] | None, supervised: bool) -> ComponentState:
    if record is None:
        return ComponentState(name, "starting" if supervised else "stopped", "waits for its turn" if supervised else "")
    if not record.is_alive:
        remedy = "is about to be started again" if supervised else "nobody starts it again: run `clarity up`"
        return ComponentState(name, "failing", f"died; {remedy} (log: {log_file(name)})", since=record.since)
    state, detail = _judge(name, record, health)
    again = f", restarted {record.restarts} times" if record.restarts else ""
    return ComponentState(name, state, detail + again, record.pid, record.since)


def _state_of_vendors(supervised: bool) -> list[ComponentState]:
    """Those of the demo, where there is one."""
    if vendors.command() is None:
        return []
    state = _state_of(vendors.NAME, processes.recorded(vendors.NAME), None, supervised)
    if state.pid is None:
        return [state]
    silence = vendors.who_is_silent(state.pid)
    return [replace(state, state=state.state if silence else "running", detail=silence or "answer")]


def _judge(name: str, record: Record, health: dict[str, Any] | None) -> tuple[State, str]:
    not_yet: State = "starting" if time.time() - record.since < STARTING_FOR else "failing"
    if health is None:
        unknown = "its heartbeat is unknown while the api-server is silent"
        return not_yet, "does not answer" if name == "api-server" else unknown
    if health["metadatabase"]["status"] != "healthy":
        return "failing", "has lost its database"
    if name == "api-server":
        return "running", f"answers on {airflow_env.web_address()}"
    key = name.replace("-", "_")
    beat = (health.get(key) or {}).get(f"latest_{key}_heartbeat")
    moment = datetime.fromisoformat(beat).timestamp() if beat else 0.0
    if moment < record.since:
        return not_yet, "has not given a heartbeat yet"
    age = time.time() - moment
    return ("running" if age < HEARTBEAT_IS_OLD else "failing"), f"gave its last heartbeat {age:.0f} s ago"


def is_healthy() -> bool:
    """Whether Airflow answers and its scheduler and its database are well."""
    return _scheduler_is_there()


def _health() -> dict[str, Any] | None:
    """What Airflow says about itself, None if it does not answer."""
    health = _ask("/api/v2/monitor/health", timeout=5)
    return health if health and "metadatabase" in health else None


def _ask(path: str, timeout: float) -> dict[str, Any] | None:
    """Spoken directly to the API server: no proxy of the caller's, and None for every kind of silence."""
    connection = http.client.HTTPConnection(airflow_env.host(), airflow_env.port(), timeout=timeout)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        content: dict[str, Any] = json.loads(answer.read())
        return content if answer.status == http.HTTPStatus.OK else None
    except (OSError, http.client.HTTPException, ValueError):
        return None
    finally:
        connection.close()


# ------------------------------------------------------------------------------------------------- the watching process

MIGRATION = "migration"


@dataclass
class Watched:
    """A process that is started again whenever it ends, each time after a longer pause; one that hangs is ended."""

    name: str
    command: list[str]
    process: subprocess.Popen[bytes] | None = None
    restarts: int = 0
    failures: int = 0
    started_at: float = 0.0
    start_at: float = field(default_factory=time.monotonic)
    silences: int = 0

    def start(self) -> None:
        with open(log_file(self.name), "ab") as log:
            self.process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
                env=airflow_env.environment(), cwd=airflow_env.airflow_home(), umask=0o077, start_new_session=True,
            )  # fmt: skip
        self.started_at, self.silences = time.monotonic(), 0
        processes.started(self.name, self.process.pid, self.restarts)
        if self.name == "api-server":
            threading.Thread(target=_warm_up, args=[self.process.pid], daemon=True).start()

    def tend(self) -> None:
        """Start it if it is due; notice if it ended."""
        _shorten_log(self.name)
        if self.process is None:
            if time.monotonic() >= self.start_at:
                self.start()
        elif self.has_ended():
            code = self.bury()
            steady = time.monotonic() - self.started_at > FORGIVEN_AFTER
            self.failures = 1 if steady else self.failures + 1
            self.restarts += 1
            pause = min(LONGEST_PAUSE, 0.5 * 2 ** (self.failures - 1))
            self.start_at = time.monotonic() + pause
            _say(f"{self.name} ended with {code}; starting it again in {pause:.1f} s")
            processes.died(self.name, self.restarts)

    def listen(self, has_spoken: bool) -> None:
        """Kill it if it hangs; `tend` starts it again. Looks are counted, not seconds: while the database is away
        nobody can give a heartbeat, and nobody looks. A busy machine takes its time to start Airflow."""
        self.silences = 0 if has_spoken else self.silences + 1
        is_starting = time.monotonic() - self.started_at < UP_WITHIN
        if self.process and self.silences >= SILENT_AT_MOST and not is_starting:
            silence = self.silences * LISTENS_EVERY
            _say(f"{self.name} hangs: it runs, but has given no sign of life for {silence:.0f} s; killing it")
            self.process.kill()

    def has_ended(self) -> bool:
        return self.process is None or processes.birth(self.process.pid) is None

    def bury(self) -> int | None:
        """End what it left running, then collect its exit code: until then nobody else can be given its number."""
        if self.process is None:
            return None
        record = processes.recorded(self.name)
        if record:
            processes.kill(processes.family(record))
        code = self.process.wait()
        self.process = None
        return code

    def ask_to_end(self) -> None:
        if self.process and not self.has_ended():
            self.process.terminate()


class Supervisor:
    def __init__(self) -> None:
        self.components = [Watched(name, _airflow(*arguments)) for name, arguments in COMPONENTS.items()]
        self.vendors: Watched | None = None
        self.stop = threading.Event()
        self.look_at_database_at = 0.0
        self.database_failures = 0
        self.look_at_tenants_at = 0.0
        self.looks_in_vain = 0
        self.listen_at = 0.0
        self.beats: dict[str, Beats] = {}

    def run(self) -> None:
        predecessor = processes.recorded(SUPERVISOR)
        if predecessor and predecessor.is_alive and predecessor.pid != os.getpid():
            raise MisuseError("another supervisor watches this platform already: see `clarity status`")
        processes.started(SUPERVISOR, os.getpid())
        airflow_env.prepare()
        self.migrate()
        while not self.stop.wait(0.2):
            if self.database_is_up():
                for component in self.components:
                    component.tend()
                self.listen()
                self.tend_vendors()
                self.tend_dags()
        self.shut_down()

    def migrate(self) -> None:
        """Bring Airflow's own tables to the installed version, unless they are known to be there."""
        if self.stop.is_set() or _schema_is_current():
            return
        _say("migrating Airflow's database")
        migration = Watched(MIGRATION, _airflow("db", "migrate"))
        migration.start()
        while not migration.has_ended() and not self.stop.wait(0.1):
            pass
        migration.ask_to_end()
        code = migration.bury()
        processes.forget(MIGRATION)
        if code != 0 and not self.stop.is_set():
            raise ClarityError(f"Airflow's database can't be migrated. {_last_words(MIGRATION)}")
        if code == 0:
            _remember_schema()

    def listen(self) -> None:
        """Who lives may still hang: a scheduler that had lost its database was seen to neither go on nor end."""
        if time.monotonic() < self.listen_at:
            return
        self.listen_at = time.monotonic() + LISTENS_EVERY
        try:
            with _airflow_database("supervisor", patience=registry.TIMEOUT_SECONDS) as airflow:
                beats = _heartbeats(airflow)
        except (psycopg.Error, ClarityError) as error:
            _say(f"who gives a heartbeat can't be known: {error}")
            return
        speaking = {name: beats.get(job) != self.beats.get(job) for name, job in BEATS.items()}
        speaking["api-server"] = _health() is not None
        for component in self.components:
            component.listen(speaking[component.name])
        self.beats = beats

    def tend_vendors(self) -> None:
        """The demo's vendors run where there is a demo; those of another day give way."""
        command = vendors.command()
        if self.vendors and self.vendors.command != command:
            self.vendors.ask_to_end()
            _wait_until(self.vendors.has_ended, API_MAY_END_WITHIN)
            self.vendors.bury()
            self.vendors = None
        if command and self.vendors is None:
            self.vendors = Watched(vendors.NAME, command)
        if self.vendors:
            self.vendors.tend()

    def tend_dags(self) -> None:
        """Have the tenants' DAGs parsed as soon as Airflow's are others than there should be."""
        if time.monotonic() < self.look_at_tenants_at:
            return
        try:
            with _airflow_database("supervisor", patience=registry.TIMEOUT_SECONDS) as airflow:
                news = parsing.news(airflow)
                for kind, what in news.items():
                    _say(f"asking for a parse of each {kind}: {what}")
                parsing.ask(airflow, news)
            is_well = not news
        except (psycopg.Error, ClarityError) as error:
            _say(f"which tenants there are can't be known: {error}")
            is_well = False
        # a parse takes its time, and more of them help nobody whose DAGs can't be parsed
        self.looks_in_vain = 0 if is_well else self.looks_in_vain + 1
        pause = SECONDS_BETWEEN_LOOKS if is_well else min(LONGEST_PAUSE, SECONDS_FOR_A_PARSE * self.looks_in_vain)
        self.look_at_tenants_at = time.monotonic() + pause

    def database_is_up(self) -> bool:
        """Looks every 2 seconds, and starts the embedded server again if it died."""
        if not database.is_embedded() or time.monotonic() < self.look_at_database_at:
            return self.database_failures == 0
        pause = 2.0
        if not server.state().running:
            _say("PostgreSQL died; starting it again")
            try:
                server.start(_say)
                self.database_failures = 0
            except ClarityError as error:
                self.database_failures += 1
                pause = min(LONGEST_PAUSE, 2.0**self.database_failures)
                _say(f"{error}; next attempt in {pause:.0f} s")
        else:
            self.database_failures = 0
        self.look_at_database_at = time.monotonic() + pause
        return self.database_failures == 0

    def shut_down(self) -> None:
        """The API server goes last, for a task that is ending reports to it, and with it whoever such a task reads."""
        api_server, *others = self.components
        last = [api_server, *([self.vendors] if self.vendors else [])]
        for group, patience in ((others, TASKS_MAY_END_WITHIN), (last, API_MAY_END_WITHIN)):
            for component in group:
                component.ask_to_end()
            _wait_until(partial(_have_ended, group), patience)
            for component in group:
                if not component.has_ended():
                    _say(f"{component.name} did not end within {patience:.0f} s; killing it")
                component.bury()
                processes.forget(component.name)


def _have_ended(components: list[Watched]) -> bool:
    return all(component.has_ended() for component in components)


def _warm_up(pid: int) -> None:
    """Have the API server build what it builds at the first task's first call, or that task waits 3 to 14 s for it.

    Not before the scheduler is there: the API server answers nobody else meanwhile, and `up` waits for its answer.
    """
    for question in (_scheduler_is_there, lambda: _ask("/execution/health", timeout=60)):
        while processes.birth(pid) and not question():
            time.sleep(0.5)


def _scheduler_is_there() -> bool:
    health = _health()
    return health is not None and health["scheduler"]["status"] == "healthy"


def _airflow(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "airflow", *arguments]


def _schema_is_current() -> bool:
    """One query instead of Airflow's own check: that one costs its whole import."""
    try:
        known: dict[str, str | None] = json.loads(_schema_file().read_text())
    except FileNotFoundError:
        return False
    return known == {"airflow": importlib.metadata.version("apache-airflow"), "revision": _revision()}


def _remember_schema() -> None:
    known = {"airflow": importlib.metadata.version("apache-airflow"), "revision": _revision()}
    write_private(_schema_file(), json.dumps(known))


def _revision() -> str | None:
    with _airflow_database() as connection:
        if connection.execute("select to_regclass('alembic_version')").fetchone() == (None,):
            return None
        row = connection.execute("select version_num from alembic_version").fetchone()
        return row[0] if row else None


def _airflow_database(application: str = "clarity up", patience: int = database.CONNECT_TIMEOUT) -> psycopg.Connection:
    return database.connect(database.airflow_url(driver="postgresql"), application=application, patience=patience)


def _heartbeats(airflow: psycopg.Connection) -> dict[str, Beats]:
    """All of a kind, also of those that have gone: to somebody who waits for a change they make no difference."""
    beats = "select job_type, array_agg(latest_heartbeat order by id) from job where state = 'running' group by 1"
    return dict(airflow.execute(beats).fetchall())


def _schema_file() -> Path:
    return airflow_env.airflow_home() / "schema.json"


def _shorten_log(name: str) -> None:
    """Keep what a long log says in a second file and begin anew. Its writer appends, so it may go on meanwhile."""
    file = log_file(name)
    if file.exists() and file.stat().st_size > LOG_LIMIT:
        shutil.copyfile(file, file.with_suffix(".log.1"))
        os.truncate(file, 0)


def _wait_until(condition: Callable[[], bool], patience: float) -> None:
    deadline = time.monotonic() + patience
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)


def _say(line: str) -> None:
    print(f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} {line}", flush=True)


def main() -> int:
    supervisor = Supervisor()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: supervisor.stop.set())
    try:
        supervisor.run()
    except ClarityError as error:
        _say(str(error))
        supervisor.shut_down()
        return error.exit_code
    processes.forget(SUPERVISOR)
    return 0


if __name__ == "__main__":
    sys.exit(main())
