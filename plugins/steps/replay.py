"""Replay: what was refused on its way into raw is tried once more, without asking the source.

Each connector's part is a sync of its own in control.sync_logs. Killed at any moment and run again, it does what is
left.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any
from uuid import uuid4

import psycopg
from psycopg.types.json import Jsonb

from connectors.contract import Connector, ConnectorError, Record, Stream
from control import access, audit, connectors, erasure, quarantine, registry
from control.quarantine import Entry
from steps.extract import streams_of
from steps.source import Source
from warehouse import database, landing, lease
from warehouse.errors import ClarityError, MisuseError
from warehouse.landing import Landed

Report = Callable[[str], None]


@dataclass(slots=True)
class Replayed:
    """What became of a stream's open entries. `changed` of the landed made a new version, the others were known."""

    connector: str
    stream: str
    landed: int = 0
    changed: int = 0
    superseded: int = 0
    erased: int = 0
    refused: int = 0
    note: str = ""


def run(
    slug: str,
    *,
    connector: str | None = None,
    stream: str | None = None,
    actor: str,
    report: Report = lambda _line: None,
) -> list[Replayed]:
    """Try the open entries again, those of one connector or stream or all. What is refused again stays open."""
    tenant = registry.tenant(slug)
    access.require(tenant.id, actor, "quarantine.replay")
    with (
        lease.hold(tenant.id, lease.local_holder(), stage="replay", report=report) as held,
        database.run_session(tenant.id, autocommit=True, application="replay") as connection,
    ):
        waiting = {
            (type_, name): count
            for (type_, name), count in quarantine.open_counts(connection, tenant.id).items()
            if connector in (None, type_) and stream in (None, name)
        }
        present = connectors.types(connection, tenant.id)
        done = [
            Replayed(type_, name, refused=count, note="the connector is not there any more")
            for (type_, name), count in waiting.items()
            if type_ not in present
        ]
        for type_ in present:
            if streams := [name for kind, name in waiting if kind == type_]:
                replay = _Replay(connection, tenant.id, Source(connection, tenant.id, type_), held.fence, report)
                done += replay.run(streams, actor)
    return done


def refuse_unknown(slug: str, connector: str | None, stream: str | None, *, actor: str) -> None:
    """Raise, naming those there are, if the tenant has no such connector or that one no such stream."""
    tenant = registry.tenant(slug)
    access.require(tenant.id, actor, "quarantine.list")
    with database.run_session(tenant.id) as connection:
        known = {type_: set(streams_of(type_)) for type_ in connectors.types(connection, tenant.id)}
        # what a connector left behind that was removed, or a stream that is declared no more
        for type_, name in quarantine.open_counts(connection, tenant.id):
            known.setdefault(type_, set()).add(name)
    if connector is not None and connector not in known:
        raise MisuseError(f"{slug} has no {connector[:40]} connector; it has {', '.join(sorted(known)) or 'none'}")
    streams = set[str]().union(*(names for type_, names in known.items() if connector in (None, type_)))
    if stream is not None and stream not in streams:
        raise MisuseError(f"there is no stream {stream[:40]!r}; there are {', '.join(sorted(streams)) or 'none'}")


@dataclass(slots=True)
class _Replay:
    connection: psycopg.Connection
    tenant_id: str
    source: Source
    fence: int
    report: Report
    id: str = field(default_factory=lambda: f"{quarantine.REPLAY}{uuid4()}")
    screen: erasure.Screen | None = None

    def run(self, streams: Sequence[str], actor: str) -> list[Replayed]:
        try:
            client = self.source.connect()
        except ConnectorError as error:
            raise ClarityError(self.source.redacted(str(error))) from None
        self.screen = erasure.screen(self.connection, self.tenant_id, self.source.type)
        self._begin(streams, actor)
        read = {stream.name: stream for stream in client.streams}
        done = [self._replay(client, read.get(name), Replayed(self.source.type, name)) for name in streams]
        self._end(done)
        return done

    def _replay(self, client: Connector, stream: Stream | None, told: Replayed) -> Replayed:
        if stream is None:
            told.note = "the connector's configuration or permissions leave this stream out"
        for batch in quarantine.batches(self.tenant_id, told.connector, told.stream):
            if stream is None:
                told.refused += len(batch)
                continue
            self._replay_batch(client, stream, batch, told)
            self.report(f"{told.connector} {told.stream}: {told.landed:,} landed, {told.refused:,} refused again")
        return told

    def _replay_batch(self, client: Connector, stream: Stream, batch: Sequence[Entry], told: Replayed) -> None:
        records: list[tuple[Entry, Record]] = []
        refused: list[tuple[str, str]] = []
        erased: list[str] = []
        for entry in batch:
            outcome = self._outcome(client, stream, entry)
            if self._is_about_the_erased(entry, outcome):
                erased.append(entry.id)
            elif isinstance(outcome, Record):
                records.append((entry, outcome))
            else:
                refused.append((entry.id, outcome))
        superseded = quarantine.superseded(
            self.connection,
            self.tenant_id,
            self.source.type,
            stream.name,
            [(entry, record.id, record.source_updated_at) for entry, record in records],
        )
        landed = self._land(stream, [record for entry, record in records if entry.id not in superseded])
        with landing.fenced(self.connection, self.fence):
            quarantine.settle(self.connection, self.tenant_id, [entry.id for entry, _ in records])
            quarantine.forget(self.connection, self.tenant_id, erased)
            quarantine.still_refused(self.connection, self.tenant_id, refused)
        told.changed += landed.created + landed.updated + landed.deleted
        told.landed += len(records) - len(superseded)
        told.superseded += len(superseded)
        told.erased += len(erased)
        told.refused += len(refused)

    def _outcome(self, client: Connector, stream: Stream, entry: Entry) -> Record | str:
        """The record, or why there is none."""
        try:
            outcome = client.replay(stream, entry.record, entry.record_id)
        except Exception as error:  # noqa: BLE001 - one entry must not stop the others; it stays open with the reason
            return self.source.sentence(stream.name, error)
        if isinstance(outcome, Record):
            # it would stand in quarantine twice if that were only found out when it lands
            refused = landing.prepare([outcome], ()).refused
            return refused[0].reason if refused else outcome
        return self.source.redacted(outcome.reason)

    def _is_about_the_erased(self, entry: Entry, outcome: Record | str) -> bool:
        if self.screen is None:
            return False
        return self.screen.hides(entry.stream, entry.record_id, entry.record) or (
            isinstance(outcome, Record) and self.screen.hides(entry.stream, outcome.id, outcome.payload)
        )

    def _land(self, stream: Stream, records: Sequence[Record]) -> Landed:
        if not records:
            return Landed()
        return landing.land(
            self.connection,
            landing.prepare(records, ()),
            tenant_id=self.tenant_id,
            connector_id=self.source.id,
            connector=self.source.type,
            stream=stream.name,
            # where the next sync goes on does not depend on what was left behind
            state=landing.state_of(self.connection, self.tenant_id, self.source.type, stream.name),
            sync_id=self.id,
            fence=self.fence,
        )

    def _begin(self, streams: Sequence[str], actor: str) -> None:
        with landing.fenced(self.connection, self.fence):
            self.connection.execute(
                "insert into control.sync_logs (id, tenant_id, connector_id, sync_type) values (%s, %s, %s, %s)",
                [self.id, self.tenant_id, self.source.id, "incremental"],
            )
            audit.record(
                self.connection,
                tenant_id=self.tenant_id,
                actor=actor,
                action="quarantine.replay",
                resource="connector",
                resource_id=self.source.id,
                after={"type": self.source.type, "streams": list(streams), "sync": self.id},
            )

    def _end(self, done: Sequence[Replayed]) -> None:
        details: dict[str, Any] = {"replay": [asdict(told) for told in done]}
        with landing.fenced(self.connection, self.fence):
            self.connection.execute(
                "update control.sync_logs set status = 'completed', completed_at = now(), records_failed = %s,"
                " error_details = %s where tenant_id = %s and id = %s",
                [sum(told.refused for told in done), Jsonb(details), self.tenant_id, self.id],
            )
