"""Secrets that a vendor replaces in the middle of a sync."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any

import pytest

from connectors import catalogue
from connectors.contract import Fatal, Health, Page, Record, Renew, State, Stream
from control import connectors
from steps import extract, provision
from tests.conftest import Tenant
from tests.control import vault
from tests.steps.customer import Scripted
from warehouse import database
from warehouse.errors import ClarityError

TESTS = "system:tests"
CONFIG = {"base_url": "https://vault.example", "client_secret": "cs", "refresh_token": "first"}


@pytest.fixture(autouse=True)
def vault_connector(platform: object) -> Iterator[None]:
    with vault.installed(), database.connect(database.owner_conninfo(), autocommit=True) as owner:
        for stream in vault.STREAMS:
            owner.execute("select control.make_raw_table(%s)", [f"vault__{stream.name}"])
        yield


@pytest.fixture
def slug(tenant: Tenant) -> str:
    provision.add_connector(tenant.id, "vault", CONFIG, actor=TESTS)
    return tenant.slug


def kept(tenant: Tenant) -> Any:
    """The token that the next process would find."""
    with database.run_session(tenant.id) as connection:
        return connectors.open_connector(connection, tenant.id, "vault").config["refresh_token"]


class Rotating:
    """Its token is void as soon as it is used: who comes with the old one is refused for good."""

    streams = vault.STREAMS

    def __init__(self, tenant: Tenant, config: Mapping[str, Any], renew: Renew | None) -> None:
        self.tenant, self.config, self.renew = tenant, config, renew
        self.answers: list[str] = []
        self.kept_when_used: list[str] = []

    async def check(self) -> Health:
        return Health(True, "fine")

    async def pages(self, stream: Stream, _state: State | None) -> AsyncIterator[Page]:
        await asyncio.to_thread(self._log_in)
        yield Page([Record("1", {"id": "1"})], {"read": True})
        if stream.name == "refusals":
            raise Fatal(f"404 for https://vault.example?token={self.config['refresh_token']}")

    def _log_in(self) -> None:
        assert self.renew is not None
        self.config = self.renew(stale={"refresh_token": "first"}, ask_vendor=self._ask)
        self.kept_when_used.append(kept(self.tenant))

    def _ask(self, present: Mapping[str, Any]) -> Mapping[str, str]:
        assert present["refresh_token"] == "first"
        self.answers.append("second-canary")
        return {"refresh_token": "second-canary"}


@pytest.fixture
def rotating(tenant: Tenant, monkeypatch: pytest.MonkeyPatch) -> list[Rotating]:
    made: list[Rotating] = []

    def connect(_name: str, config: Mapping[str, Any], renew: Renew | None = None) -> Rotating:
        made.append(Rotating(tenant, config, renew))
        return made[-1]

    monkeypatch.setattr(catalogue, "connect", connect)
    return made


def test_new_secrets_are_committed_before_they_are_used_and_asked_for_once(
    slug: str, tenant: Tenant, rotating: list[Rotating], caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(ClarityError, match=r"refusals: 404 for https://vault.example\?token=\*\*\*") as failed:
        extract.run(slug, "vault", "run", report=lambda _line: None)
    (client,) = rotating
    assert client.answers == ["second-canary"]
    assert client.kept_when_used == ["second-canary", "second-canary"]
    with database.run_session(tenant.id) as connection:
        told = connection.execute("select to_jsonb(l)::text from control.sync_logs as l").fetchall()
    assert "canary" not in str(failed.value) + str(told) + caplog.text


def test_new_secrets_stay_though_the_sync_dies_right_after(
    slug: str, tenant: Tenant, rotating: list[Rotating], monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_arguments: Any, **_named: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("warehouse.landing.land", die)
    with pytest.raises(KeyboardInterrupt):
        extract.run(slug, "vault", "run", report=lambda _line: None)
    assert kept(tenant) == "second-canary"


def test_a_check_keeps_what_the_vendor_replaces(slug: str, tenant: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    class Checked(Rotating):
        async def check(self) -> Health:
            await asyncio.to_thread(self._log_in)
            return Health(True, f"logged in with {self.config['refresh_token']}")

    monkeypatch.setattr(catalogue, "connect", lambda _name, config, renew=None: Checked(tenant, config, renew))
    health = extract.check(slug, "vault")
    assert (health.ok, health.message) == (True, "logged in with ***")
    assert kept(tenant) == "second-canary"


def test_a_mistake_in_a_check_is_a_sentence_without_secrets(
    slug: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def mistaken() -> Health:
        raise RuntimeError("no answer to ?key=first")

    monkeypatch.setattr(catalogue, "connect", lambda *_arguments: Scripted({}, check=mistaken))
    health = extract.check(slug, "vault")
    assert (health.ok, health.message) == (False, "RuntimeError: no answer to ?key=***")
    assert "?key=first" not in caplog.text
