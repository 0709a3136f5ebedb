"""A real platform for the tests: one embedded PostgreSQL per session, deployed, and fresh tenants in it."""

import os
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest


@dataclass(frozen=True)
class Tenant:
    id: str
    slug: str


@pytest.fixture(scope="session")
def clarity_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A CLARITY_HOME for this session alone, so that tests and a running demo never meet."""
    folder = tmp_path_factory.mktemp("clarity-home")
    before = os.environ.get("CLARITY_HOME")
    os.environ["CLARITY_HOME"] = str(folder)
    yield folder
    if before is None:
        del os.environ["CLARITY_HOME"]
    else:
        os.environ["CLARITY_HOME"] = before


@pytest.fixture(scope="session")
def platform(clarity_home: Path) -> Iterator[Path]:
    """A deployed platform without Airflow: what `clarity migrate` leaves behind."""
    from steps import deploy
    from warehouse import server

    deploy.run(report=lambda _line: None)
    yield clarity_home
    server.stop()


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
