"""Mailboxes that fail in a fifth of their answers, and a tenant who allows nothing or no longer what it allowed."""

import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from control import consent
from sandbox.graph import Directory, Faults, Served, serve
from sandbox.graph.directory import CANARY
from steps import extract, patience, provision
from tests.conftest import Tenant
from tests.connectors.contract_suite.o365 import config
from tests.dbt import mailboxes
from warehouse import database
from warehouse.errors import ClarityError, MisuseError

A_FIFTH = 0.2
ACTOR = "system:tests"
QUICK: dict[str, Any] = {"timeout_seconds": 10, "backoff_seconds": 0.005, "history_days": 1_000, "page_size": 3}


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    monkeypatch.setattr(patience, "FIRST_WAIT", 0.01)
    with serve(Directory(seed=7, accounts=4), Faults(seed=7, slow_seconds=0.05, retry_after=0)) as served:
        yield served


def connected(tenant: Tenant, served: Served, **more: Any) -> None:
    provision.add_connector(tenant.id, "o365", {**config(served), **QUICK, **more}, actor=ACTOR)


def allowed(tenant: Tenant, domains: tuple[str, ...]) -> None:
    consent.accept_dpa(tenant.id, "Ada Example", actor=ACTOR)
    consent.allow_domains(tenant.id, domains, actor=ACTOR)


def sync(tenant: Tenant) -> dict[str, Any]:
    return extract.run(tenant.slug, "o365", str(uuid.uuid4()))


def rows(tenant: Tenant, query: str) -> list[tuple[Any, ...]]:
    with database.run_session(tenant.id) as connection:
        return connection.execute(query.encode()).fetchall()


def latest(tenant: Tenant, stream: str) -> dict[str, Any]:
    return dict(
        rows(
            tenant,
            f"select distinct on (record_id) record_id, payload from raw.{stream}"
            " order by record_id, source_updated_at desc nulls last, seq desc",
        )
    )


def everything(tenant: Tenant) -> str:
    """All that the database holds of the tenant, as a dump would."""
    with database.connect(database.admin_conninfo()) as admin:
        tables = admin.execute(
            "select table_schema, table_name from information_schema.columns where column_name = 'tenant_id'"
            " and table_schema in ('control', 'raw', 'canonical', 'rollups', 'scores', 'quality', 'marts')"
            " and (table_schema, table_name) in (select schemaname, tablename from pg_tables)"
        ).fetchall()
        return "".join(
            str(
                admin.execute(
                    f"select t::text from {schema}.{name} as t where tenant_id = %s".encode(), [tenant.id]
                ).fetchall()
            )
            for schema, name in tables
        )


@pytest.mark.parametrize("kind", ["lost", "expired", "all of them"])
def test_with_a_fifth_of_all_answers_failing_raw_ends_with_what_the_mailboxes_hold(
    served: Served, tenant: Tenant, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    directory, faults = served.directory, served.faults
    domains = mailboxes.domains(directory)
    # some answers stay away for ever
    connected(tenant, served, **({"timeout_seconds": 0.3} if kind == "all of them" else {}))
    allowed(tenant, domains)
    if kind == "all of them":
        faults.everything(A_FIFTH)
    else:
        # a place that is lost is read from its start, so losing one in five of long ways would be losing them all
        faults.rates = {kind: A_FIFTH / 4 if kind == "lost" else A_FIFTH}
    with caplog.at_level("DEBUG"):
        sync(tenant)
        directory.edit_message(next(directory.messages())[1]["id"], isRead=True)
        directory.advance(days=30)
        sync(tenant)
    for stream, shown in mailboxes.shown(directory, domains):
        assert latest(tenant, stream) == {id: version.payload for id, version in shown.items()}, stream
    assert sum(faults.done.values()) >= 2, "nothing went wrong, so nothing was shown"
    if kind == "all of them":
        assert CANARY not in everything(tenant)
        assert CANARY not in caplog.text


def test_the_tenant_s_own_domain_is_known_from_the_configuration_and_never_allowed(
    served: Served, tenant: Tenant
) -> None:
    connected(tenant, served)
    assert rows(tenant, "select tenant_o365_domain, connector_id is not null from control.o365_config") == [
        ("seller.example", True)
    ]
    with pytest.raises(MisuseError, match="own domain"):
        consent.allow_domains(tenant.id, ["seller.example"], actor=ACTOR)
    consent.allow_domains(tenant.id, ["acme.example"], actor=ACTOR)
    with pytest.raises(MisuseError, match="take it from the list first"):
        provision.add_connector(
            tenant.id, "o365", {**config(served), **QUICK, "own_domain": "Acme.example"}, actor=ACTOR
        )


def test_before_the_agreement_the_connector_is_blocked_and_says_what_to_do(served: Served, tenant: Tenant) -> None:
    connected(tenant, served)
    with pytest.raises(ClarityError, match="data processing agreement"):
        sync(tenant)
    assert rows(tenant, "select status from control.connectors") == [("blocked",)]
    assert served.log.calls == []
    consent.accept_dpa(tenant.id, "Ada Example", actor=ACTOR)
    summary = sync(tenant)
    assert any("no domain is allowed" in note for note in summary["notes"])
    assert latest(tenant, "o365__messages") == latest(tenant, "o365__events") == {}
    assert rows(tenant, "select status from control.connectors") == [("connected",)]


def test_a_domain_that_is_allowed_later_is_read_from_the_start_and_one_that_is_not_any_more_is_gone(
    served: Served, tenant: Tenant
) -> None:
    first, second, *_ = mailboxes.domains(served.directory)
    connected(tenant, served)
    allowed(tenant, (first,))
    sync(tenant)
    assert {row["domain"] for row in latest(tenant, "o365__messages").values()} == {first}
    consent.allow_domains(tenant.id, [first, second], actor=ACTOR)
    sync(tenant)
    told = mailboxes.shown(served.directory, (first, second))
    assert {stream: latest(tenant, stream).keys() for stream, _ in told} == {
        stream: shown.keys() for stream, shown in mailboxes.shown(served.directory, (first, second))
    }
    consent.allow_domains(tenant.id, [second], actor=ACTOR)
    assert {row["domain"] for row in latest(tenant, "o365__messages").values()} == {second}
    consent.withdraw_dpa(tenant.id, actor=ACTOR)
    assert latest(tenant, "o365__messages") == latest(tenant, "o365__events") == {}
    left = everything(tenant)
    # the list itself stays, for the day on which somebody accepts again
    assert f"@{second}" not in left
    assert f"@{first}" not in left
