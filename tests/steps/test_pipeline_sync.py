"""The extracts of a run alone, over all of a tenant's connectors."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from steps import pipeline, provision
from tests.conftest import Tenant
from tests.control import vault
from warehouse import database, lease
from warehouse.errors import MisuseError

TESTS = "system:tests"
VAULT = {"base_url": "https://vault.example", "client_secret": "cs", "refresh_token": "rt"}


@pytest.fixture
def slug(tenant: Tenant, tmp_path: Path) -> Iterator[str]:
    """A tenant with two connectors, of which one has a stream that always fails."""
    with vault.installed(), database.connect(database.owner_conninfo(), autocommit=True) as owner:
        for stream in vault.STREAMS:
            owner.execute("select control.make_raw_table(%s)", [f"vault__{stream.name}"])
        provision.add_connector(tenant.id, "vault", VAULT, actor=TESTS)
        provision.add_connector(tenant.id, "files", {"folder": str(tmp_path)}, actor=TESTS)
        (tmp_path / "accounts.csv").write_text("id,name\n1,A\n")
        yield tenant.slug


def test_a_connector_that_fails_does_not_hold_up_the_others(slug: str) -> None:
    told: list[str] = []
    files, vault_ = pipeline.sync(slug, report=told.append)
    assert (files["connector"], files["streams"]["accounts"]["created"], files["failure"]) == ("files", 1, "")
    assert vault_["streams"]["things"]["created"] == 1
    assert vault_["failure"].startswith("refusals: ")
    assert [line for line in told if line.startswith("extract ")] == ["extract files", "extract vault"]


def test_a_connector_whose_credentials_do_not_open_does_not_hold_up_the_others(slug: str, tenant: Tenant) -> None:
    with database.control_session(tenant.id) as control:
        control.execute("update control.connectors set config = '{}' where type = 'files'")
    files, vault_ = pipeline.sync(slug)
    assert (files["streams"], "add the connector again" in files["failure"]) == ({}, True)
    assert vault_["streams"]["things"]["created"] == 1


def test_a_stream_is_read_at_the_connectors_that_have_it(slug: str) -> None:
    (summary,) = pipeline.sync(slug, streams=["things"])
    assert (summary["connector"], list(summary["streams"])) == ("vault", ["things"])


def test_one_connector_alone_is_read_when_named(slug: str) -> None:
    (summary,) = pipeline.sync(slug, connector="files")
    assert summary["connector"] == "files"
    with pytest.raises(MisuseError, match="there is no stream 'things': files has accounts"):
        pipeline.sync(slug, connector="files", streams=["things"])


def test_the_tenant_is_free_for_the_next_run_afterwards(slug: str, tenant: Tenant) -> None:
    pipeline.sync(slug, connector="files")
    with lease.hold(tenant.id, "test:next", stage="next", patience=0):
        """Nobody had to be waited for."""
