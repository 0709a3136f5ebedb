"""A tenant that reads a source by the real extract step, and what has become of it in raw."""

import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from itertools import count
from typing import Any, Protocol, cast

import pytest
from psycopg.types.json import Jsonb

from connectors import catalogue
from connectors.contract import Acquaintances, Connector, Consent, Health, Page, Record, Rejected, Renew, State, Stream
from control import consent
from steps import extract, provision
from tests.conftest import Tenant
from tests.connectors.contract_suite.driver import Driver, Truth
from warehouse import database

# those of whom a source behind consent tells
ALLOWED_DOMAINS = ("acme.example",)


class Killed(KeyboardInterrupt):
    """What takes a process down as it stands: nobody who catches errors catches it, nothing is tidied up."""


@dataclass(frozen=True, slots=True)
class Version:
    """One row of raw, but for when and by which sync it landed."""

    record_id: str
    payload: Mapping[str, Any]
    is_deleted: bool
    source_updated_at: datetime | None


class Customer:
    def __init__(self, tenant: Tenant, source: Driver) -> None:
        self.tenant, self.source = tenant, source
        provision.add_connector(tenant.id, source.connector, source.config(), actor="system:tests")
        if catalogue.is_behind_consent(source.connector):
            consent.accept_dpa(tenant.id, "Ada Example", actor="system:tests")
            consent.allow_domains(tenant.id, ALLOWED_DOMAINS, actor="system:tests")

    def sync(self, *, full: bool = False, alone: bool = True) -> dict[str, Any]:
        """The source's stream alone, or with those that the connector reads beside it."""
        streams = [self.source.stream] if alone else []
        return extract.run(self.tenant.slug, self.source.connector, str(uuid.uuid4()), full=full, streams=streams)

    def versions(self, record_id: str | None = None) -> list[Version]:
        """In the order in which the source had them."""
        found = self.rows(
            "select record_id, payload, is_deleted, source_updated_at"
            f" from raw.{self.source.connector}__{self.source.stream}"
            " order by record_id, source_updated_at nulls first, seq"
        )
        return [version for row in found if (version := Version(*row)).record_id == (record_id or version.record_id)]

    def latest(self) -> dict[str, Truth]:
        return {version.record_id: Truth(version.payload, version.is_deleted) for version in self.versions()}

    def names(self, record_id: str) -> list[Any]:
        """What the record was called, version by version."""
        return [version.payload[self.source.named] for version in self.versions(record_id)]

    def set_state(self, state: State) -> None:
        with database.run_session(self.tenant.id) as connection:
            connection.execute(
                "update control.stream_states set state = %s where connector = %s and stream = %s",
                [Jsonb(dict(state)), self.source.connector, self.source.stream],
            )

    def last_sync(self, columns: str) -> tuple[Any, ...]:
        return self.rows(f"select {columns} from control.sync_logs order by started_at desc limit 1")[0]

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with database.run_session(self.tenant.id) as connection:
            return connection.execute(query.encode()).fetchall()


Pages = AsyncGenerator[Page, None]


class Script(Protocol):
    """What happens to the pages of one stream on their way to landing: given the real ones, returns those to land."""

    def __call__(self, stream: Stream, state: State | None, pages: Pages, /) -> AsyncIterator[Page]: ...


@dataclass(frozen=True, slots=True)
class _Scripted:
    connector: Connector
    script: Script

    @property
    def streams(self) -> Sequence[Stream]:
        return self.connector.streams

    async def check(self) -> Health:
        return await self.connector.check()

    def pages(self, stream: Stream, state: State | None) -> AsyncIterator[Page]:
        return self.script(stream, state, cast(Pages, self.connector.pages(stream, state)))

    def replay(self, stream: Stream, raw: Any, record_id: str | None) -> Record | Rejected:
        return self.connector.replay(stream, raw, record_id)


@contextmanager
def scripted(script: Script) -> Iterator[None]:
    """While this is open, the real connector reads, and `script` has a say in what becomes of its pages."""
    really_connect = catalogue.connect

    def connect(
        name: str,
        config: Mapping[str, Any],
        renew: Renew | None = None,
        consent: Consent | None = None,
        acquaintances: Acquaintances | None = None,
    ) -> Connector:
        return _Scripted(really_connect(name, config, renew, consent, acquaintances), script)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(catalogue, "connect", connect)
        yield


AfterPage = Callable[[int, Page], None]


@contextmanager
def accompanied(watched: str, after: AfterPage) -> Iterator[None]:
    """While this is open, `after` is told of each page of the watched stream that has landed: its number, the page."""

    numbers = count(1)
    really_land = extract._Reading._land

    def land(reading: extract._Reading, page: Page, *prepared: Any) -> None:
        really_land(reading, page, *prepared)
        if reading.stream.name == watched:
            after(next(numbers), page)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(extract._Reading, "_land", land)
        yield


@contextmanager
def killed_after_page(watched: str, number: int) -> Iterator[None]:
    def kill(landed: int, _page: Page) -> None:
        if landed == number:
            raise Killed

    with accompanied(watched, kill), pytest.raises(Killed):
        yield


def pages_of(customer: Customer, *, full: bool = False, alone: bool = True) -> list[Page]:
    """Sync, and return the pages of the stream as they landed."""
    landed: list[Page] = []
    with accompanied(customer.source.stream, lambda _number, page: landed.append(page)):
        customer.sync(full=full, alone=alone)
    return landed
