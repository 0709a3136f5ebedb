"""Extract: from a tenant's connector into raw, its streams side by side, page by page.

What the connector raises says what to do next (connectors/contract.py), and here it is done:

    Retry            again from the last landed page, a few times, each time after a longer while
    WaitUntil        the same after the time that the vendor names, if that is soon; else the stream fails and names it
    Reauthorise      all streams of the connector stop: none would be let in
    ResetState       once more from the start
    RecordRejected   into quarantine, and on from the last landed page
    anything else    the stream fails, the others go on
"""

import asyncio
import logging
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, cast
from uuid import uuid4

import orjson
import psycopg
from psycopg.types.json import Jsonb

from connectors import catalogue
from connectors.contract import (
    Charging,
    Connector,
    Cost,
    Fatal,
    Health,
    Hears,
    Page,
    Reauthorise,
    RecordRejected,
    Rejected,
    ResetState,
    Retry,
    State,
    Stream,
    WaitUntil,
)
from control import connectors, erasure, registry
from steps import observe, webhooks
from steps.patience import LONGEST_WAIT, Patience, TooLong
from steps.source import Source
from warehouse import database, full_reading, landing, lease
from warehouse.errors import ClarityError, MisuseError
from warehouse.landing import Landed

log = logging.getLogger(__name__)

Report = Callable[[str], None]

SECONDS_BETWEEN_REPORTS = 10.0
# The hand that lands waits for the server most of the time. It must not wait as long again for its turn because a page
# is being read meanwhile, which is what Python's own five milliseconds come to.
SECONDS_BETWEEN_TURNS = 0.0002
# in the place of a stream's name, where the failure is the connector's
ALL_STREAMS = "*"


class SyncFailed(ClarityError):
    """Not everything arrived; `summary` tells what did. `until` is when a vendor will let us in again who named a time
    and was not waited for."""

    def __init__(self, message: str, summary: dict[str, Any], until: datetime | None = None) -> None:
        super().__init__(message)
        self.summary, self.until = summary, until


def connectors_of(slug: str) -> list[str]:
    """The types of the connectors that this tenant has."""
    tenant = registry.tenant(slug)
    with database.run_session(tenant.id) as connection:
        return connectors.types(connection, tenant.id)


def streams_of(connector: str) -> list[str]:
    """The names of the streams that this type of connector declares."""
    return [stream.name for stream in catalogue.streams(connector)]


def check(slug: str, connector: str) -> Health:
    """Whether a sync would work, without reading anything."""
    tenant = registry.tenant(slug)
    with database.run_session(tenant.id) as connection:
        source = Source(connection, tenant.id, connector)
    try:
        health = asyncio.run(source.connect().check())
    except Exception as error:  # noqa: BLE001 - said without what must not be repeated
        return Health(False, source.sentence("check", error))
    return Health(health.ok, source.redacted(health.message))


def costs(slug: str, connector: str, *, streams: Collection[str] = (), full: bool = False) -> dict[str, Any] | None:
    """What a sync would buy now, stream by stream, and what it may; None where a sync costs nothing. Buys nothing."""
    tenant = registry.tenant(slug)
    with database.run_session(tenant.id) as connection:
        source = Source(connection, tenant.id, connector)
        names = [name for name in streams_of(connector) if not streams or name in streams]
        states = {name: None if full else landing.state_of(connection, tenant.id, connector, name) for name in names}
    try:
        client = source.connect()
        if not hasattr(client, "costs"):
            return None
        charging, wanted = cast(Charging, client), [stream for stream in client.streams if stream.name in names]
        found = asyncio.run(_costs(charging, [(stream, states[stream.name]) for stream in wanted]))
        return {"connector": connector, "most_records": charging.most_records, "costs": [asdict(one) for one in found]}
    except Exception as error:  # noqa: BLE001 - said without what must not be repeated
        raise ClarityError(source.sentence("costs", error)) from None


async def _costs(client: Charging, streams: Sequence[tuple[Stream, State | None]]) -> list[Cost]:
    return [cost for stream, state in streams for cost in await client.costs(stream, state)]


def run(
    slug: str,
    connector: str,
    run_id: str,
    fence: int | None = None,
    full: bool = False,
    *,
    streams: Collection[str] = (),
    accept_fewer: bool = False,
    longest_wait: timedelta = LONGEST_WAIT,
    report: Report = log.info,
) -> dict[str, Any]:
    """Read what is new at the connector, or everything if `full`, and land it. Returns the counts by stream, and notes.

    `streams` are those to read, all if empty. A stream that fails does not hold up the others; at the end SyncFailed
    names it and says why. `accept_fewer` takes a full reading for true that holds under half of the one before.
    A vendor who asks for more than `longest_wait` is not waited for.
    Without a fence of the caller's, the lease is held here.
    """
    tenant = registry.tenant(slug)
    with ExitStack() as held:
        if fence is None:
            fence = held.enter_context(
                lease.hold(tenant.id, lease.local_holder(), stage="extract", report=report)
            ).fence
        connection = held.enter_context(
            database.run_session(tenant.id, autocommit=True, application=f"extract {connector}")
        )
        source = Source(connection, tenant.id, connector)
        if unknown := [name for name in streams if name not in streams_of(connector)]:
            there_are = ", ".join(streams_of(connector))
            raise MisuseError(f"{connector} has no stream {unknown[0][:40]!r}; there are {there_are}")
        sync = _Sync(
            connection,
            tenant.id,
            slug,
            source,
            fence,
            run_id,
            accept_fewer=accept_fewer,
            longest_wait=longest_wait,
            report=report,
        )
        sync.begin(streams, full)
        try:
            asyncio.run(sync.read())
        except lease.LeaseLost:
            raise
        except Exception as error:  # noqa: BLE001 - the sync ends all the same, and tells why
            if connection.closed:
                raise ClarityError(
                    f"{slug}: PostgreSQL went away while {connector} was read. What has landed stands, and the next"
                    " sync goes on from there; `clarity status` says whether it is back."
                ) from None
            sync.note_time(error)
            sync.failures[ALL_STREAMS] = source.sentence(connector, error)
        sync.end()
        observe.landed(slug, connector, sync.summary()["streams"])
    if sync.failures:
        raise SyncFailed(f"{slug}: the sync of {connector} failed. {_told(sync.failures)}", sync.summary(), sync.until)
    return sync.summary()


def nothing_arrived(connector: str, because: str) -> dict[str, Any]:
    """The summary of a sync that could not even begin."""
    failures = {ALL_STREAMS: because}
    return {
        "connector": connector,
        "sync_id": None,
        "streams": {},
        "notes": [],
        "failures": failures,
        "failure": _told(failures),
    }


@dataclass(slots=True)
class _Sync:
    """One reading of one connector. It is a row of control.sync_logs, which landing keeps true page by page."""

    connection: psycopg.Connection
    tenant_id: str
    slug: str
    source: Source
    fence: int
    run_id: str
    accept_fewer: bool
    longest_wait: timedelta
    report: Report
    id: str = field(default_factory=lambda: str(uuid4()))
    wanted: Sequence[str] = ()
    by_name: bool = False
    states: dict[str, State | None] = field(default_factory=dict)
    readings: list["_Reading"] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)
    is_blocked: bool = False
    until: datetime | None = None
    screen: erasure.Screen | None = None
    # what webhooks had brought, by stream
    heard: dict[str, Landed] = field(default_factory=dict)
    # One connection lands for all streams: while it does, the others wait for their vendor.
    hand: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, "landing"))

    @property
    def type(self) -> str:
        return self.source.type

    def begin(self, streams: Collection[str], full: bool) -> None:
        self.by_name = bool(streams)
        self.wanted = [name for name in streams_of(self.type) if not streams or name in streams]
        known = {} if full else self._states()
        self.states = {name: known.get(name) for name in self.wanted}
        self.screen = erasure.screen(self.connection, self.tenant_id, self.type)
        with self._transaction():
            # The lease is ours, so whatever still says that it runs was killed.
            self.connection.execute(
                "update control.sync_logs set status = 'failed', completed_at = now(),"
                " error_message = 'the sync was interrupted; the next one went on from its last page'"
                " where tenant_id = %s and connector_id = %s and status = 'running'",
                [self.tenant_id, self.source.id],
            )
            self.connection.execute(
                "insert into control.sync_logs (id, tenant_id, connector_id, sync_type, run_id)"
                " values (%s, %s, %s, %s, %s)",
                [
                    self.id,
                    self.tenant_id,
                    self.source.id,
                    "incremental" if any(self.states.values()) else "full",
                    self.run_id,
                ],
            )

    async def read(self) -> None:
        """Every stream to its end or to its failure."""
        # A client that blocks takes a thread for each stream; none of them must wait for another's vendor.
        sys.setswitchinterval(SECONDS_BETWEEN_TURNS)
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(2 * len(self.wanted) + 4, "vendor"))
        client = self.source.connect()
        health = await self._health(client)
        if not health.ok:
            self.failures[ALL_STREAMS] = self.source.redacted(health.message)
            self.is_blocked = health.is_blocked
            return
        self.readings = [_Reading(self, stream, self.states[stream.name]) for stream in self._chosen(client)]
        await asyncio.get_running_loop().run_in_executor(self.hand, self._land_what_was_told, client)
        telling = asyncio.create_task(self._tell_now_and_then())
        try:
            await self._read_side_by_side(client)
        finally:
            telling.cancel()
            # what is landing when the rest is stopped still lands, and counts
            await asyncio.to_thread(self.hand.shutdown)

    async def _health(self, client: Connector) -> Health:
        patience = Patience(lambda line: self.tell(f"{self.type} {line}"), self.longest_wait)
        while True:
            try:
                return await client.check()
            except (Retry, WaitUntil) as error:
                await patience.wait(error)

    def _chosen(self, client: Connector) -> list[Stream]:
        """The wanted streams that the client reads. What stands in its way is said."""
        read = {stream.name: stream for stream in client.streams}
        hidden = [name for name in self.wanted if name not in read]
        if hidden and self.by_name:
            left = ", ".join(read) or "none"
            self.failures |= dict.fromkeys(hidden, f"its configuration or permissions leave it out; they leave {left}")
        elif hidden:
            self.note(f"not read, for the connector's configuration or permissions leave it out: {', '.join(hidden)}")
        for name in read.keys() - set(streams_of(self.type)):
            self.failures[name] = "the connector reads it without declaring it, so there is no table to land it in"
        return [read[name] for name in self.wanted if name in read]

    def _land_what_was_told(self, client: Connector) -> None:
        """What webhooks have brought since, before the rest is asked for."""
        if not hasattr(client, "heard"):
            return
        inbox = webhooks.Landing(
            self.connection,
            self.tenant_id,
            self.source.id,
            self.type,
            self.id,
            self.fence,
            screened=self.without_the_erased,
            sentence=self.source.sentence,
        )
        self.heard, failure = inbox.run(cast(Hears, client))
        if failure:
            self.failures["webhooks"] = failure

    async def _read_side_by_side(self, client: Connector) -> None:
        tasks = {asyncio.create_task(reading.to_its_end(client)): reading for reading in self.readings}
        waiting = set(tasks)
        try:
            while waiting:
                done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                for stream, error in [(tasks[task].stream, task.exception()) for task in done]:
                    if error is not None:
                        self._failed(stream, error)
        finally:
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)

    def _failed(self, stream: Stream, error: BaseException) -> None:
        """Note why the stream failed; raise if the other streams have to stop for it."""
        if isinstance(error, lease.LeaseLost) or self.connection.closed:
            raise error
        if isinstance(error, Reauthorise):
            raise Fatal(f"{error} Until then none of its streams is read.") from error
        self.note_time(error)
        self.failures[stream.name] = self.source.sentence(stream.name, error)

    def note_time(self, error: BaseException) -> None:
        """Of several times the last: before it something would be refused again."""
        if isinstance(error, TooLong):
            self.until = max(error.until, self.until or error.until)

    async def _tell_now_and_then(self) -> None:
        while True:
            await asyncio.sleep(SECONDS_BETWEEN_REPORTS)
            if going := [f"{reading.stream.name} {reading.rows:,}" for reading in self.readings if not reading.ended]:
                self.tell(f"{self.type}: rows so far: {', '.join(going)}")

    def tell(self, line: str) -> None:
        self.report(self.source.redacted(line))

    def note(self, line: str) -> None:
        # a stream that is begun again has the same to say again
        if (told := self.source.redacted(line)) not in self.notes:
            self.notes.append(told)

    def without_the_erased(self, stream: str, page: Page) -> tuple[Page, int]:
        """The page, and how many are left out of it."""
        if self.screen is None:
            return page, 0
        hides = self.screen.hides
        records = [record for record in page.records if not hides(stream, record.id, record.payload)]
        rejected = [refusal for refusal in page.rejected if not hides(stream, refusal.record_id, refusal.raw)]
        left_out = len(page.records) + len(page.rejected) - len(records) - len(rejected)
        return replace(page, records=records, rejected=rejected), left_out

    def end(self) -> None:
        self.notes += [
            f"{reading.stream.name}: {reading.left_out} records about erased people left out"
            for reading in self.readings
            if reading.left_out
        ]
        states = self._states()
        cursor = orjson.dumps({name: states.get(name) for name in streams_of(self.type)})
        failure = _told(self.failures) or None
        failing = {**self._still_failing(), **self.failures}
        details = {"run_id": self.run_id, "failing": failing, **self.summary()}
        with self._transaction():
            self.connection.execute(
                "update control.sync_logs set status = %s, completed_at = now(), error_message = %s,"
                " error_details = %s, cursor = %s where tenant_id = %s and id = %s",
                [
                    "failed" if failure else "completed",
                    failure,
                    Jsonb(details),
                    cursor.decode(),
                    self.tenant_id,
                    self.id,
                ],
            )
            self.connection.execute(
                "update control.connectors set status = %s, last_sync_error = %s, last_sync_cursor = %s,"
                " last_sync_at = case when %s then last_sync_at else now() end, updated_at = now()"
                " where tenant_id = %s and id = %s",
                [
                    "blocked" if self.is_blocked else "error" if failing else "connected",
                    _told(failing) or None,
                    cursor.decode(),
                    failure is not None,
                    self.tenant_id,
                    self.source.id,
                ],
            )

    def _still_failing(self) -> dict[str, str]:
        """The streams that failed when they were read last and were not read now, with the reasons."""
        with self.connection.transaction():
            row = self.connection.execute(
                "select error_details -> 'failing' from control.sync_logs"
                " where tenant_id = %s and connector_id = %s and error_details ? 'failing'"
                " order by started_at desc limit 1",
                [self.tenant_id, self.source.id],
            ).fetchone()
        unread = set(streams_of(self.type)) - set(self.wanted)
        return {name: why for name, why in (row[0] if row else {}).items() if name in unread}

    def summary(self) -> dict[str, Any]:
        return {
            "connector": self.type,
            "sync_id": self.id,
            "streams": {reading.stream.name: asdict(reading.landed) for reading in self.readings},
            **({"webhooks": {stream: asdict(landed) for stream, landed in self.heard.items()}} if self.heard else {}),
            "notes": self.notes,
            "failures": self.failures,
            "failure": _told(self.failures),
        }

    def _states(self) -> dict[str, State | None]:
        """What the last landed page of each stream left."""
        with self.connection.transaction():
            return dict(
                self.connection.execute(
                    "select stream, state from control.stream_states where tenant_id = %s and connector = %s",
                    [self.tenant_id, self.type],
                ).fetchall()
            )

    def _transaction(self) -> AbstractContextManager[None]:
        return landing.fenced(self.connection, self.fence)


class _Reading:
    """One stream on its way to its end: one page lands while the next is fetched, and none is waiting behind them."""

    def __init__(self, sync: _Sync, stream: Stream, state: State | None) -> None:
        self.sync, self.stream, self.state = sync, stream, state
        self.landed = Landed()
        self.left_out = 0
        self.ended = False
        self._was_reset = False
        self._refused: set[str] = set()
        self._patience = Patience(lambda line: sync.tell(f"{sync.type} {stream.name} {line}"), sync.longest_wait)
        self._seen = full_reading.Seen(sync.connection, stream.name) if stream.deletes == "absent" else None
        self._nameless = 0

    @property
    def rows(self) -> int:
        return sum(asdict(self.landed).values())

    async def to_its_end(self, client: Connector) -> None:
        try:
            while not await self._goes_through(client):
                """The next attempt starts where the last page has landed."""
            self.sync.tell(f"{self.sync.type} {self.stream.name}: {self.rows:,} records read")
        finally:
            self.ended = True

    async def _goes_through(self, client: Connector) -> bool:
        try:
            await self._read_on(client)
        except (Retry, WaitUntil) as error:
            await self._patience.wait(error)
        except ResetState as error:
            if self._was_reset:
                raise Fatal(f"{error} It was read from the start, and the vendor lost its place again.") from error
            self._was_reset, self.state = True, None
            self.sync.note(f"{self.stream.name} is read again from the start: {error}")
        except RecordRejected as error:
            if str(error) in self._refused:
                raise Fatal(f"{error} Nothing behind this record can be read.") from error
            self._refused.add(str(error))
            refusal = Rejected("a record that the source refused", self.sync.source.redacted(str(error)), None)
            page = Page((), self.state, [refusal])
            await self._by_the_hand_that_lands(self._land, page, landing.prepare((), page.rejected), 0)
        else:
            return True
        return False

    async def _read_on(self, client: Connector) -> None:
        if self._seen is not None:
            self._nameless = len(self._refused)
            await self._by_the_hand_that_lands(self._seen.start)
        pages = aiter(client.pages(self.stream, self.state))
        coming = asyncio.create_task(self._next(pages))
        try:
            while (ready := await coming) is not None:
                coming = asyncio.create_task(self._next(pages))
                await self._by_the_hand_that_lands(self._land, *ready)
        finally:
            coming.cancel()
            await asyncio.gather(coming, return_exceptions=True)
            if isinstance(pages, AsyncGenerator):
                await pages.aclose()

    async def _by_the_hand_that_lands(self, work: Callable[..., None], *arguments: Any) -> None:
        await asyncio.get_running_loop().run_in_executor(self.sync.hand, work, *arguments)

    async def _next(self, pages: AsyncIterator[Page]) -> tuple[Page, landing.Prepared, int] | None:
        """The next page, ready to be sent, and how many of its records are left out; None at the end."""
        page = await anext(pages, None)
        if page is None:
            return None
        kept, left_out = self.sync.without_the_erased(self.stream.name, page)
        return page, await asyncio.to_thread(landing.prepare, kept.records, kept.rejected), left_out

    def _land(self, page: Page, prepared: landing.Prepared, left_out: int) -> None:
        sync = self.sync
        for note in page.notes:
            sync.note(note)
        if page.completes is not None:
            self._refuse_a_shrunken_reading(page.completes)
        if self._seen is not None:
            self._nameless += sum(refusal.record_id is None for refusal in page.rejected)
            self._seen.add(record.id for record in page.records)
            self._seen.add(refusal.record_id for refusal in page.rejected if refusal.record_id is not None)
        self.landed += landing.land(
            sync.connection,
            prepared,
            tenant_id=sync.tenant_id,
            connector_id=sync.source.id,
            connector=sync.type,
            stream=self.stream.name,
            # the end of a full reading is committed by `_complete`: killed before, its last page is read again
            state=page.state if page.completes is None else self.state,
            sync_id=sync.id,
            fence=sync.fence,
            asked=page.asked,
        )
        self.left_out += left_out
        if page.completes is not None:
            self._complete(page.completes, page.state)
        if page.state != self.state:
            self.state = page.state
            self._refused.clear()
            self._patience.moved_on()

    def _refuse_a_shrunken_reading(self, count: int) -> None:
        sync, name = self.sync, self.stream.name
        last = full_reading.last_count(sync.connection, sync.tenant_id, sync.type, name)
        if full_reading.is_too_small(count, last) and not sync.accept_fewer:
            raise Fatal(
                f"the source holds {count or 'no'} records where the last full reading held {last}: it is not taken"
                " for what has become of them, and nothing is deleted. Look at the source; if that is really all, say"
                f" `clarity sync {sync.slug} --connector {sync.type} --stream {name} --full --accept-fewer`."
            )

    def _complete(self, count: int, state: State | None) -> None:
        sync = self.sync
        if self._seen is not None and self._nameless:
            sync.note(
                f"{self.stream.name}: {self._nameless} records could not be read and do not tell their id, so none of"
                " those that are missing was taken for deleted"
            )
        deleted = full_reading.complete(
            sync.connection,
            tenant_id=sync.tenant_id,
            connector=sync.type,
            stream=self.stream.name,
            state=state,
            count=count,
            seen=None if self._nameless else self._seen,
            sync_id=sync.id,
            fence=sync.fence,
        )
        self.landed += Landed(deleted=deleted)


def _told(failures: Mapping[str, str]) -> str:
    """What failed and why, each reason once; empty if nothing did."""
    by_reason: dict[str, list[str]] = {}
    for what, why in failures.items():
        by_reason.setdefault(why, []).append(what)
    # what concerns the connector as a whole stands for itself
    return "; ".join(why if what == [ALL_STREAMS] else f"{', '.join(what)}: {why}" for why, what in by_reason.items())
