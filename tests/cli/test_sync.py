"""`clarity sync`: what arrived, stream by stream, and what did not."""

from collections.abc import Callable
from pathlib import Path

import pytest

from sandbox import delivrai
from sandbox.delivrai import Index
from steps import provision
from tests.conftest import Clarity, Said, Tenant
from tests.connectors.contract_suite.delivrai import keys

Sync = Callable[..., Said]


@pytest.fixture
def folder(tmp_path: Path, tenant: Tenant) -> Path:
    provision.add_connector(tenant.id, "files", {"folder": str(tmp_path)}, actor="system:tests")
    (tmp_path / "accounts.csv").write_text("id,name\n1,A\n2\n3,C\n")
    return tmp_path


@pytest.fixture
def sync(tenant: Tenant, clarity: Clarity) -> Sync:
    return lambda *words, globally=(): clarity(*globally, "sync", tenant.slug, *words)


def test_it_ends_with_what_arrived_by_stream(folder: Path, sync: Sync) -> None:
    said = sync()
    assert said.code == 0
    header, *rows = (line.split() for line in said.out.splitlines() if not line.lstrip().startswith("·"))
    assert header == ["connector", "stream", "created", "updated", "unchanged", "deleted", "quarantined"]
    assert ["files", "accounts", "2", "0", "0", "0", "1"] in rows
    assert "people.csv is not in" in " ".join(said.out.split())


def test_a_program_gets_the_same_as_facts(folder: Path, sync: Sync) -> None:
    (told,) = sync("--stream", "accounts", globally=("--json",)).answer["syncs"]
    assert told["streams"] == {
        "accounts": {"created": 2, "updated": 0, "unchanged": 0, "deleted": 0, "failed": 1},
    }
    assert told["failures"] == {}


def test_full_reads_again_what_is_known(folder: Path, sync: Sync) -> None:
    sync()
    (told,) = sync("--full", "--connector", "files", globally=("--json",)).answer["syncs"]
    assert told["streams"]["accounts"]["unchanged"] == 2


def test_a_stream_that_failed_is_named_with_what_to_do_and_the_others_are_counted(folder: Path, sync: Sync) -> None:
    (folder / "people.csv").write_text("e-mail\na@b.example\n")
    said = sync(globally=("--json",))
    assert said.code == 1
    assert said.answer["syncs"][0]["streams"]["accounts"]["created"] == 2
    assert "people" in said.answer["syncs"][0]["failures"]
    assert said.err.startswith("clarity: not everything arrived. files: people: ")
    assert "'id'" in said.err
    table = sync().out
    assert any("people" in line and "failed" in line for line in table.splitlines())


def test_names_that_are_not_there_are_misuse_that_names_those_there_are(
    folder: Path, sync: Sync, tenant: Tenant
) -> None:
    said = sync("--connector", "fax")
    assert (said.code, f"{tenant.slug} has no fax connector; it has files" in said.err) == (2, True)
    said = sync("--stream", "planets")
    assert (said.code, "no stream 'planets': files has accounts, people" in said.err) == (2, True)


def test_a_dry_run_says_what_a_sync_would_cost_and_buys_nothing(folder: Path, sync: Sync, tenant: Tenant) -> None:
    assert "A sync would cost nothing." in sync("--dry-run").out
    index = Index(seed=1, accounts=0)
    index.research("automation", "ada@customer.example", "bob@customer.example")
    with delivrai.serve(index) as served:
        config = {**keys(served), "topics": ["automation"], "budget_per_run": 700}
        provision.add_connector(tenant.id, "delivrai", config, actor="system:tests")
        said = sync("--dry-run")
        (told,) = sync("--dry-run", globally=("--json",)).answer["costs"]
        assert not index.billed
    rows = [line.split() for line in said.out.splitlines()]
    assert ["delivrai", "people_intent", "topic", "automation", "2", "0.04", "USD"] in rows
    assert "a sync takes at most 700 records; the next one goes on" in said.out
    assert [(cost["stream"], cost["records"]) for cost in told["costs"]] == [
        ("people_intent", 2),
        ("company_intent", 0),
        ("contacts", 0),
    ]


def test_the_lease_is_free_afterwards(folder: Path, sync: Sync) -> None:
    sync()
    assert sync().code == 0
