"""A real platform for the tests: an embedded PostgreSQL for each process of a run, deployed, with fresh tenants."""

import gc
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest


@dataclass(frozen=True)
class Tenant:
    id: str
    slug: str


# Where the processes of one test run find what they share, told by the one that starts them all.
SHARED = "CLARITY_TESTS_SHARED"


def pytest_configure(config: pytest.Config) -> None:
    # until all is collected there is nothing to clean up, and looking for it is a sixth of the time that takes
    gc.disable()
    if not hasattr(config, "workerinput"):
        os.environ[SHARED] = tempfile.mkdtemp(prefix="clarity-shared-")
        # the database's OS user walks through it
        Path(os.environ[SHARED]).chmod(0o755)


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Each process collects from another folder on. pytest rewrites each test that it reads, which takes seconds,
    and leaves it to whoever reads it later: those who read side by side would all do the same work."""
    report = yield
    workers = getattr(collector.config, "workerinput", None)
    if workers and isinstance(collector, pytest.Directory):
        begin = len(report.result) * int(workers["workerid"].removeprefix("gw")) // workers["workercount"]
        report.result = report.result[begin:] + report.result[:begin]
    return report


# What takes longest begins first. Begun last, all other processes would wait for it.
LONGEST = ("chaos/test_kills.py", "contract_suite/test_contract_suite.py", "warehouse/test_server.py", "chaos/")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All processes in the same order, whichever they collected in."""
    rank = {item: next((at for at, part in enumerate(LONGEST) if part in item.nodeid), len(LONGEST)) for item in items}
    items.sort(key=lambda item: (rank[item], item.path))


def pytest_collection_finish() -> None:
    """What has been collected stays to the end. Without this it is gone through thousands of times, in search of what
    nobody uses any more, and finds nothing: a tenth of the processor's time."""
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
    gc.enable()
    # Each time it starts, dbt looks for the module that it was called by, in the source of everything below it on the
    # stack. Below pytest that is a second.
    if flags := sys.modules.get("dbt_common.behavior_flags"):
        flags.BehaviorFlagRendered._default_source = staticmethod(lambda: "tests")


def pytest_unconfigure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        shutil.rmtree(os.environ[SHARED])


@contextmanager
def temporary_home(like: Path | None = None) -> Iterator[Path]:
    """A CLARITY_HOME that nobody else uses, gone afterwards with whatever runs in it. Empty, or a copy of one at rest.

    Not below pytest's own folder: that one is closed, so as root the database would be kept elsewhere.
    """
    from cli import supervisor
    from warehouse import server
    from warehouse.home import home

    folder = Path(tempfile.mkdtemp(prefix="clarity-"))
    if like:
        subprocess.run(["cp", "-a", f"{like}/.", folder], check=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CLARITY_HOME", str(folder))
        patch.delenv("CLARITY_DATABASE_URL", raising=False)
        # runs begin when a test says so: one whose hour had come would score as of a day that nobody reckons with
        patch.setenv("AIRFLOW__SCHEDULER__USE_JOB_SCHEDULE", "false")
        (home() / "airflow-port").write_text(str(_free_port()), encoding="utf-8")
        try:
            yield folder
        finally:
            # killed: stopping them cleanly takes 5 s of processor and up to 20 of patience, and nobody looks any more
            supervisor._clear_leftovers(lambda _line: None)
            server.stop()
            shutil.rmtree(folder)


def _free_port() -> int:
    """A port of the system's choice: two platforms that start at once would both take the preferred one for free."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def sockets_of(process: psutil.Process) -> list[Any]:
    """One that ended meanwhile has none. Airflow's workers show theirs to root alone: an ordinary user goes without."""
    try:
        return list(process.net_connections("all"))
    except psutil.NoSuchProcess:
        return []
    except psutil.AccessDenied:
        if os.geteuid() == 0:
            raise
        return []


def command_line_of(process: psutil.Process) -> str:
    """One that ended meanwhile has none."""
    try:
        return " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return ""


def deployed_home() -> Path:
    """What `clarity migrate` leaves behind, at rest. Made once in a test run and copied: that takes no time at all."""
    from steps import deploy
    from warehouse import server
    from warehouse.home import locked

    made = Path(os.environ[SHARED]) / "deployed"
    with locked(made.with_suffix(".lock")):
        if not made.is_dir():
            with temporary_home() as folder:
                deploy.run(report=lambda _line: None)
                server.stop()
                # each copy finds a port of its own
                (folder / "postgres.json").unlink()
                draft = made.with_suffix(".draft")
                subprocess.run(["cp", "-a", folder, draft], check=True)
            draft.rename(made)
    return made


def parsed_already(home: Path) -> None:
    """Spare a home that is deployed from nothing to parse the dbt project, which is half of the work."""
    folder = home / "dbt" / "deploy"
    folder.mkdir(parents=True)
    for parsed in (deployed_home() / "dbt" / "deploy").glob("parsed-*"):
        shutil.copy(parsed, folder)


@dataclass(frozen=True)
class Said:
    """How a command ended, and what it printed; of what went wrong the words, however the lines were broken."""

    code: int
    out: str
    err: str

    @property
    def answer(self) -> Any:
        return json.loads(self.out)


Clarity = Callable[..., Said]


@pytest.fixture
def clarity(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Clarity:
    """The command line in this process: to start one for each command takes a second of importing."""
    from cli.main import main

    def clarity(*words: str) -> Said:
        monkeypatch.setattr(sys, "argv", ["clarity", *words])
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        return Said(int(ended.value.code or 0), printed.out, " ".join(printed.err.split()))

    return clarity


@pytest.fixture(scope="session")
def platform() -> Iterator[Path]:
    """A deployed platform without Airflow, for this process alone, so that tests and a running demo never meet."""
    from warehouse import server, sessions

    with temporary_home(like=deployed_home()) as folder, pytest.MonkeyPatch.context() as patch:
        # hundreds of tenants come and go in this process, and a registrar's session that has never deleted one first
        # reads what each table is and how it hangs on tenants: 40 ms
        patch.setattr(sessions, "AT_MOST", 16)
        # whoever has an Airflow to look after goes first: it takes a sixth of a processor for as long as it is there
        os.nice(5)
        server.start()
        yield folder


@pytest.fixture
def tenant(platform: Path) -> Iterator[Tenant]:
    """A fresh tenant with the default configurations, gone after the test."""
    yield from _fresh_tenant()


@pytest.fixture
def other_tenant(platform: Path) -> Iterator[Tenant]:
    """A second one, for whatever must not be seen."""
    yield from _fresh_tenant()


def _fresh_tenant() -> Iterator[Tenant]:
    from control import tenants
    from steps import provision

    slug = f"t_{uuid.uuid4().hex[:12]}"
    tenant_id = provision.create_tenant(f"Tenant {slug}", slug, actor="system:tests")
    yield Tenant(tenant_id, slug)
    tenants.delete(tenant_id, actor="system:tests")
