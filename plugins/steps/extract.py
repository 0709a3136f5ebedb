"""Extract: from a tenant's connector into raw, its streams side by side, page by page."""

import asyncio
import logging
import traceback
from collections import Counter
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import Any
from uuid import uuid4

import orjson
import psycopg
from psycopg.types.json import Jsonb

from connectors import catalogue
from connectors.contract import Connector, ConnectorError, Health, Page, ResetState, State, Stream
from control import connectors, erasure, registry
from control.connectors import OpenConnector
from warehouse import database, landing, lease
from warehouse.errors import ClarityError
from warehouse.landing import Landed

log = logging.getLogger(__name__)


def connectors_of(slug: str) -> list[str]:
    """The types of the connectors that this tenant has."""
    tenant = registry.tenant(slug)
    with database.run_session(tenant.id) as connection:
        return connectors.types(connection, tenant.id)


def check(slug: str, connector: str) -> Health:
    """Whether a sync would work, without reading anything."""
    tenant = registry.tenant(slug)
    with database.run_session(tenant.id) as connection:
        opened = connectors.open_connector(connection, tenant.id, connector)
    try:
        return asyncio.run(catalogue.connect(connector, opened.config).check())
    except ConnectorError as error:
        return Health(False, _redacted(str(error), opened))


def run(slug: str, connector: str, run_id: str, fence: int | None = None, full: bool = False) -> dict[str, Any]:
    """Read what is new at the connector, or everything if `full`, and land it. Returns the counts by stream, and notes.

    A stream that fails does not hold up the others; at the end ClarityError names it and says why. Without a fence of
    the caller's, the lease is held here.
    """
    tenant = registry.tenant(slug)
    if fence is None:
        with lease.hold(tenant.id, lease.local_holder(), stage="extract") as held:
            return run(slug, connector, run_id, held.fence, full)
    with database.run_session(tenant.id, autocommit=True, application=f"extract {connector}") as connection:
        sync = _Sync(connection, tenant.id, connectors.open_connector(connection, tenant.id, connector), fence, run_id)
        sync.begin(full)
        try:
            asyncio.run(sync.read())
        except ConnectorError as error:
            sync.failures[connector] = _redacted(str(error), sync.connector)
        sync.end()
    if sync.failures:
        reasons = "; ".join(f"{what}: {why}" for what, why in sync.failures.items())
        raise ClarityError(f"{slug}: the sync of {connector} failed. {reasons}")
    return sync.summary()


@dataclass(slots=True)
class _Sync:
    """One reading of one connector. It is a row of control.sync_logs, which landing keeps true page by page."""

    connection: psycopg.Connection
    tenant_id: str
    connector: OpenConnector
    fence: int
    run_id: str
    id: str = field(default_factory=lambda: str(uuid4()))
    states: dict[str, State | None] = field(default_factory=dict)
    landed: dict[str, Landed] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)
    screen: erasure.Screen | None = None
    left_out: Counter[str] = field(default_factory=Counter)
    _database: asyncio.Lock = field(default_factory=asyncio.Lock)

    def begin(self, full: bool) -> None:
        known = {stream.name: self._state(stream.name) for stream in catalogue.streams(self.connector.type)}
        self.states = dict.fromkeys(known) if full else known
        self.screen = erasure.screen(self.connection, self.tenant_id, self.connector.type)
        with self._transaction():
            # The lease is ours, so whatever still says that it runs was killed.
            self.connection.execute(
                "update control.sync_logs set status = 'failed', completed_at = now(),"
                " error_message = 'the sync was interrupted; the next one went on from its last page'"
                " where tenant_id = %s and connector_id = %s and status = 'running'",
                [self.tenant_id, self.connector.id],
            )
            self.connection.execute(
                "insert into control.sync_logs (id, tenant_id, connector_id, sync_type) values (%s, %s, %s, %s)",
                [self.id, self.tenant_id, self.connector.id, "incremental" if any(self.states.values()) else "full"],
            )

    async def read(self) -> None:
        """Every stream to its end or to its failure."""
        source = catalogue.connect(self.connector.type, self.connector.config)
        health = await source.check()
        if not health.ok:
            self.failures["check"] = health.message
            return
        outcomes = await asyncio.gather(
            *(self._read(source, stream) for stream in source.streams), return_exceptions=True
        )
        for stream, outcome in zip(source.streams, outcomes, strict=True):
            if isinstance(outcome, lease.LeaseLost):
                raise outcome
            if isinstance(outcome, BaseException):
                self.failures[stream.name] = self._sentence(stream, outcome)

    async def _read(self, source: Connector, stream: Stream) -> None:
        try:
            await self._read_from(self.states[stream.name], source, stream)
        except ResetState as reset:
            self.notes.append(f"{stream.name} is read again from the start: {reset}")
            await self._read_from(None, source, stream)

    async def _read_from(self, state: State | None, source: Connector, stream: Stream) -> None:
        self.landed.setdefault(stream.name, Landed())
        async for page in source.pages(stream, state):
            self.notes.extend(page.notes)
            page = self._without_the_erased(stream.name, page)
            # One connection lands for all streams: while it does, the others wait for their vendor.
            async with self._database:
                self.landed[stream.name] += await asyncio.to_thread(
                    landing.land,
                    self.connection,
                    tenant_id=self.tenant_id,
                    connector_id=self.connector.id,
                    connector=self.connector.type,
                    stream=stream.name,
                    records=page.records,
                    rejected=page.rejected,
                    state=page.state,
                    sync_id=self.id,
                    fence=self.fence,
                )

    def _without_the_erased(self, stream: str, page: Page) -> Page:
        if self.screen is None:
            return page
        hides = self.screen.hides
        records = [record for record in page.records if not hides(stream, record.id, record.payload)]
        rejected = [refusal for refusal in page.rejected if not hides(stream, refusal.record_id, refusal.raw)]
        self.left_out[stream] += len(page.records) + len(page.rejected) - len(records) - len(rejected)
        return replace(page, records=records, rejected=rejected)

    def end(self) -> None:
        self.notes += [
            f"{stream}: {count} records about erased people left out" for stream, count in (+self.left_out).items()
        ]
        cursor = orjson.dumps({stream: self._state(stream) for stream in self.states}).decode()
        failure = "; ".join(f"{what}: {why}" for what, why in self.failures.items()) or None
        details = {"run_id": self.run_id, "notes": self.notes, "failures": self.failures}
        with self._transaction():
            self.connection.execute(
                "update control.sync_logs set status = %s, completed_at = now(), error_message = %s,"
                " error_details = %s, cursor = %s where tenant_id = %s and id = %s",
                ["failed" if failure else "completed", failure, Jsonb(details), cursor, self.tenant_id, self.id],
            )
            self.connection.execute(
                "update control.connectors set status = %s, last_sync_error = %s, last_sync_cursor = %s,"
                " last_sync_at = case when %s then last_sync_at else now() end, updated_at = now()"
                " where tenant_id = %s and id = %s",
                [
                    "error" if failure else "connected",
                    failure,
                    cursor,
                    failure is not None,
                    self.tenant_id,
                    self.connector.id,
                ],
            )

    def summary(self) -> dict[str, Any]:
        streams = {stream: asdict(landed) for stream, landed in self.landed.items()}
        return {"connector": self.connector.type, "sync_id": self.id, "streams": streams, "notes": self.notes}

    def _state(self, stream: str) -> State | None:
        return landing.state_of(self.connection, self.tenant_id, self.connector.type, stream)

    def _transaction(self) -> AbstractContextManager[None]:
        return landing.fenced(self.connection, self.fence)

    def _sentence(self, stream: Stream, error: BaseException) -> str:
        if isinstance(error, ConnectorError | ClarityError):
            return _redacted(str(error), self.connector)
        traced = _redacted("".join(traceback.format_exception(error)), self.connector)
        log.error("%s %s failed\n%s", self.connector.type, stream.name, traced)
        first_line = _redacted(str(error), self.connector).partition("\n")[0]
        return f"{type(error).__name__}: {first_line}"


def _redacted(text: str, connector: OpenConnector) -> str:
    """What a vendor's library says goes into logs and tables, and it may repeat what it was given."""
    return connector.redacted(text, is_secret=partial(catalogue.is_secret, connector.type))
