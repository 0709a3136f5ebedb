"""Tenants with a small invented company behind their files connector."""

from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest

from sandbox import companies
from steps import provision
from tests.conftest import Tenant

TODAY = date(2026, 3, 10)
Supplied = Callable[[Tenant, int], Path]


@pytest.fixture
def supplied(tmp_path: Path) -> Supplied:
    """Gives a tenant a company made from a seed. Returns the folder that its connector reads."""

    def supply(tenant: Tenant, seed: int) -> Path:
        folder = tmp_path / tenant.slug
        companies.write_csv(folder, companies.generate(seed, 8, TODAY))
        provision.add_connector(tenant.id, "files", {"folder": str(folder)}, actor="system:tests")
        return folder

    return supply
