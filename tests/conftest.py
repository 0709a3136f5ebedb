"""A real platform for the tests: one embedded PostgreSQL per session, deployed, and fresh tenants in it."""

import shutil
import socket
import tempfile
import uuid
from collections.abc import Iterator
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


@contextmanager
def temporary_home() -> Iterator[Path]:
    """A CLARITY_HOME that nobody else uses, gone afterwards with whatever runs in it.

    Not below pytest's own folder: that one is closed, so as root the database would be kept elsewhere.
    """
    from cli import supervisor
    from warehouse import server
    from warehouse.home import home

    folder = Path(tempfile.mkdtemp(prefix="clarity-"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CLARITY_HOME", str(folder))
        patch.delenv("CLARITY_DATABASE_URL", raising=False)
        (home() / "airflow-port").write_text(str(_free_port()), encoding="utf-8")
        try:
            yield folder
        finally:
            supervisor.down(lambda _line: None)
            server.stop()
            shutil.rmtree(folder)


def _free_port() -> int:
    """A port of the system's choice: two platforms that start at once would both take the preferred one for free."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def sockets_of(process: psutil.Process) -> list[Any]:
    """One that ended meanwhile has none."""
    try:
        return list(process.net_connections("all"))
    except psutil.NoSuchProcess:
        return []


def command_line_of(process: psutil.Process) -> str:
    """One that ended meanwhile has none."""
    try:
        return " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return ""


@pytest.fixture(scope="session")
def clarity_home() -> Iterator[Path]:
    """A CLARITY_HOME for this session alone, so that tests and a running demo never meet."""
    with temporary_home() as folder:
        yield folder


@pytest.fixture(scope="session")
def platform(clarity_home: Path) -> Path:
    """A deployed platform without Airflow: what `clarity migrate` leaves behind."""
    from steps import deploy

    deploy.run(report=lambda _line: None)
    return clarity_home


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
