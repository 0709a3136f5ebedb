from collections.abc import Iterator

import psycopg
import pytest

from sandbox.salesforce import Org, serve
from steps import writeback_sending
from tests.conftest import Tenant
from tests.writeback.crm import Crm
from warehouse import database


@pytest.fixture(scope="session")
def administrator(platform: object) -> Iterator[psycopg.Connection]:
    with database.connect(database.admin_conninfo(), autocommit=True) as connection:
        yield connection


@pytest.fixture
def crm(tenant: Tenant, administrator: psycopg.Connection, monkeypatch: pytest.MonkeyPatch) -> Iterator[Crm]:
    """A connected org with our fields. Who is busy is asked again at once."""
    monkeypatch.setattr(writeback_sending, "PAUSES", (0.0, 0.01, 0.01, 0.01))
    with serve(Org(seed=7, accounts=1, activities_per_year=1)) as served:
        made = Crm(tenant, served, administrator)
        made.connect()
        made.add_fields("Account", "Contact", "Lead", "Opportunity")
        yield made
