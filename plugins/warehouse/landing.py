"""From a connector's page to raw, in one transaction: new versions, what was refused, counts, the state to go on from.

Reading is at least once, so a page may bring what is known. A record's versions are ordered by (source_updated_at
nulls first, seq); a version equal to the one it would follow is not landed. So A, B, A makes three versions, a page
read twice makes none, and an old page that arrives late is kept once, in its place.

A stamp that stands in the payload is compared with the rest of it. A record that comes back with nothing else changed,
as after our own writebacks, could be left out only together with its newer stamp: raw grows and never changes, so an
older page that arrives late would then overtake it. That such a version is no change is for canonical to find.

The server says what it knows of a page's records and stores what is news; the comparison is made here, so that what is
no news is not even sent. A page can be prepared while the one before it is being stored.
"""

import math
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from itertools import accumulate
from struct import Struct
from typing import Any, NamedTuple, Protocol
from uuid import UUID, uuid5

import orjson
import psycopg
from psycopg import sql
from psycopg.abc import Buffer
from psycopg.adapt import Loader
from psycopg.pq import Format, TransactionStatus
from psycopg.types.json import Jsonb

from warehouse.lease import LeaseLost

# The primary key of raw holds the id, and an entry of a PostgreSQL index must fit into a third of a page.
LONGEST_RECORD_ID = 255

_ESCAPED_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
_QUARANTINE_IDS = UUID("6f1c1d0e-51c5-4c0e-9a53-0d3f0a7a1b52")


class Version(Protocol):
    @property
    def id(self) -> str: ...
    @property
    def payload(self) -> Mapping[str, Any]: ...
    @property
    def source_updated_at(self) -> datetime | None: ...
    @property
    def is_deleted(self) -> bool: ...


class Refusal(Protocol):
    @property
    def position(self) -> str: ...
    @property
    def reason(self) -> str: ...
    @property
    def raw(self) -> Any: ...
    @property
    def record_id(self) -> str | None: ...


class Lookups(Protocol):
    @property
    def digests(self) -> Sequence[str]: ...
    @property
    def until(self) -> datetime: ...


@dataclass(frozen=True, slots=True)
class Landed:
    created: int = 0
    updated: int = 0
    unchanged: int = 0
    deleted: int = 0
    failed: int = 0

    def __add__(self, other: "Landed") -> "Landed":
        return Landed(
            self.created + other.created,
            self.updated + other.updated,
            self.unchanged + other.unchanged,
            self.deleted + other.deleted,
            self.failed + other.failed,
        )


@dataclass(frozen=True, slots=True)
class _Refused:
    position: str
    reason: str
    raw: Any
    record_id: str | None = None


class _Version(NamedTuple):
    """`stamp` as the server keeps it, `position` in the page; a version that raw has already has none."""

    stamp: int | None
    seq: int
    payload_hash: bytes
    is_deleted: bool
    position: int | None = None


class _Written(NamedTuple):
    """What a record is compared by."""

    id: str
    stamp: int | None
    payload_hash: bytes
    is_deleted: bool


@dataclass(frozen=True, slots=True)
class Prepared:
    """A page as it will be sent. Making it is nearly all of the work that the server has no part in, and it can be done
    while the page before is stored: whoever lands waits for the server, and must not wait for Python as well.
    """

    records: Sequence[_Written]
    refused: Sequence[Refusal]
    # the ids as a JSON array, each once, and those that come more than once
    ids: str
    repeated: Set[str]
    # what COPY is told if all of them are news, and where in it each row begins and the last one ends
    rows: bytes
    bounds: Sequence[int]


@contextmanager
def fenced(conn: psycopg.Connection[Any], fence: int, ask: Callable[[], object] = lambda: None) -> Iterator[None]:
    """A write transaction of the run that holds this fence, committed at the end of the body. Raises LeaseLost.

    What `ask` executes goes to the server in the same trip as the beginning.
    """
    if conn.info.transaction_status is not TransactionStatus.IDLE:
        raise RuntimeError("it would only be a savepoint: the connection is in a transaction already")
    with ExitStack() as transaction:
        try:
            with conn.pipeline() as pipeline:
                # conn.transaction() would stay in the pipeline, where there is no COPY
                transaction.enter_context(psycopg.Transaction(conn))
                if not conn.autocommit:
                    # psycopg would begin once more: it has not heard yet that it has
                    pipeline.sync()
                conn.execute("select control.hold_lease(%s)", [fence])
                ask()
        except psycopg.errors.ObjectNotInPrerequisiteState as lost:
            raise LeaseLost("another run has the tenant now; this one stops, nothing of it is half done") from lost
        yield


def table_of(connector: str, stream: str) -> sql.Identifier:
    return sql.Identifier("raw", f"{connector}__{stream}")


def prepare(records: Iterable[Version], rejected: Sequence[Refusal]) -> Prepared:
    """Write a page's records as they will be sent; those that no database could store join the rejected."""
    written: list[_Written] = []
    rows: list[bytes] = []
    refused: list[Refusal] = list(rejected)
    for record in records:
        try:
            brought, row = _write(record, len(written))
        except _NotStorable as unstorable:
            refused.append(_Refused(f"record {record.id}", str(unstorable), record.payload, record.id))
        else:
            written.append(brought)
            rows.append(row)
    times = Counter([record.id for record in written])
    repeated = {record_id for record_id, count in times.items() if count > 1}
    ids = orjson.dumps(list(times)).decode()
    bounds = list(accumulate(map(len, rows), initial=len(_COPY_STARTS)))
    return Prepared(written, refused, ids, repeated, b"".join((_COPY_STARTS, *rows, _COPY_ENDS)), bounds)


def land(
    conn: psycopg.Connection[Any],
    page: Prepared,
    *,
    tenant_id: str,
    connector_id: str,
    connector: str,
    stream: str,
    state: Mapping[str, Any] | None,
    sync_id: str,
    fence: int,
    asked: Lookups | None = None,
) -> Landed:
    """Land one page and commit it; the counts are added to the row of control.sync_logs that `sync_id` names.

    `asked` are those about whom the vendor was asked for it, known from then on.

    `connector` and `stream` must be declared ones: they name a table. Locks the stream's state, so that the order of
    seq is the order of commits.
    """
    table = table_of(connector, stream)
    known = _Known(conn, table, page.ids, tenant_id, connector_id, connector, stream)
    with fenced(conn, fence, known.ask), conn.cursor() as cursor:
        last_seq, versions = known.told()
        news = _news_of(page, versions, last_seq)
        landed = news.landed
        if news.positions:
            _send(conn, page, news.positions)
        # In one go: a page of few records costs little more than the trips to the server and back.
        with conn.pipeline():
            # A page need not be on the disk before the next: if the server dies, the last ones are gone with the state
            # that follows them, and are read again. The end of a sync is on the disk, and all of its pages before it.
            cursor.execute("set local synchronous_commit = off")
            if news.positions:
                _store(cursor, table, tenant_id, sync_id, last_seq)
            _quarantine(cursor, tenant_id, connector, stream, page.refused, sync_id)
            if asked is not None:
                _remember(cursor, tenant_id, connector_id, asked)
            cursor.execute(
                "update control.stream_states set last_seq = %s, state = %s, updated_at = now()"
                " where tenant_id = %s and connector = %s and stream = %s",
                [
                    last_seq + len(news.positions),
                    None if state is None else Jsonb(dict(state)),
                    tenant_id,
                    connector,
                    stream,
                ],
            )
            cursor.execute(
                "update control.sync_logs set"
                " records_created = records_created + %s, records_updated = records_updated + %s,"
                " records_deleted = records_deleted + %s, records_failed = records_failed + %s"
                " where id = %s and tenant_id = %s",
                [landed.created, landed.updated, landed.deleted, landed.failed, sync_id, tenant_id],
            )
    return landed


def _remember(cursor: psycopg.Cursor[Any], tenant_id: str, connector_id: str, asked: Lookups) -> None:
    cursor.execute(
        "insert into control.lookups (tenant_id, connector_id, digest, good_until)"
        " select %s, %s, digest, %s from unnest(%s::text[]) as digest"
        " on conflict (tenant_id, connector_id, digest) do update set good_until = excluded.good_until",
        [tenant_id, connector_id, asked.until, sorted(set(asked.digests))],
    )


def state_of(conn: psycopg.Connection[Any], tenant_id: str, connector: str, stream: str) -> Mapping[str, Any] | None:
    """The state that the last landed page left, None before the first."""
    with conn.transaction():
        row = conn.execute(
            "select state from control.stream_states where tenant_id = %s and connector = %s and stream = %s",
            [tenant_id, connector, stream],
        ).fetchone()
    state: Mapping[str, Any] | None = row[0] if row else None
    return state


class _Known:
    """What the server knows of a page's records. Asks for it in one trip: before it the stream's state is locked, after
    it there is a table to copy to.
    """

    def __init__(
        self,
        conn: psycopg.Connection[Any],
        table: sql.Identifier,
        ids: str,
        tenant_id: str,
        connector_id: str,
        connector: str,
        stream: str,
    ) -> None:
        self._table, self._ids, self._tenant_id, self._connector_id = table, ids, tenant_id, connector_id
        self._stream = connector, stream
        self._conn, self._state, self._versions = conn, conn.cursor(), conn.cursor(binary=True)
        self._versions.adapters.register_loader("timestamptz", _StampLoader)

    def ask(self) -> None:
        """A statement sees what was committed before it began, so the second one sees what the lock was waited for.

        Asked for as an array, neighbours in the page that are neighbours in the index are found in one go. Of the
        indexes the primary key alone can serve this, whatever the planner believes of the tenant. The plan is not kept,
        because the table grows under it.
        """
        self._state.execute(
            "select last_seq from control.stream_states where tenant_id = %s and connector = %s and stream = %s"
            " for update",
            [self._tenant_id, *self._stream],
        )
        self._versions.execute(
            sql.SQL(
                "select record_id, source_updated_at, seq, payload_hash, is_deleted from {}"
                " where tenant_id = %(tenant)s and record_id = any (array(select json_array_elements_text(%(ids)s)))"
            ).format(self._table),
            {"tenant": self._tenant_id, "ids": self._ids},
            prepare=False,
        )
        self._conn.execute(
            "create temp table if not exists landing_page (record_id text, payload jsonb, payload_hash bytea,"
            " is_deleted boolean, source_updated_at timestamptz, place integer) on commit delete rows"
        )

    def told(self) -> tuple[int, dict[str, list[_Version]]]:
        """The stream's last number, and the versions that raw has of these records."""
        row = self._state.fetchone() or self._of_a_new_stream()
        known: dict[str, list[_Version]] = defaultdict(list)
        for record_id, *version in self._versions:
            known[record_id].append(_Version(*version))
        return int(row[0]), known

    def _of_a_new_stream(self) -> tuple[Any, ...]:
        self._conn.execute(
            "insert into control.stream_states (tenant_id, connector_id, connector, stream) values (%s, %s, %s, %s)"
            " on conflict do nothing",
            [self._tenant_id, self._connector_id, *self._stream],
        )
        # somebody else may have been here first, and what they landed is to be seen
        self.ask()
        row = self._state.fetchone()
        if row is None:
            name = " ".join(self._stream)
            raise LookupError(f"the state of {name} is not visible to the login of tenant {self._tenant_id}")
        return tuple(row)


class _News(NamedTuple):
    """The positions of a page's records that are news, in their order."""

    positions: Sequence[int]
    landed: Landed


def _news_of(page: Prepared, known: Mapping[str, Sequence[_Version]], last_seq: int) -> _News:
    """A record that is neither known nor twice in the page needs no comparison."""
    records, compared = page.records, known.keys() | page.repeated
    brought: dict[str, list[_Version]] = defaultdict(list)
    for position, record in enumerate(records) if compared else ():
        if record.id in compared:
            seq = last_seq + 1 + position
            brought[record.id].append(_Version(record.stamp, seq, record.payload_hash, record.is_deleted, position))
    is_first: dict[int, bool] = {}
    unchanged = 0
    for record_id, versions in brought.items():
        has = known.get(record_id, ())
        changed = _changed_positions([*has, *versions])
        unchanged += len(versions) - len(changed)
        is_first.update((position, not has and position == min(changed)) for position in changed)
    positions: Sequence[int] = range(len(records))
    if unchanged:
        positions = [place for place in positions if records[place].id not in compared or place in is_first]
    deleted = sum(records[place].is_deleted for place in positions)
    updated = sum(not first and not records[place].is_deleted for place, first in is_first.items())
    return _News(positions, Landed(len(positions) - deleted - updated, updated, unchanged, deleted, len(page.refused)))


class _NotStorable(ValueError):
    """Why no database could store the record."""


def _write(record: Version, position: int) -> tuple[_Written, bytes]:
    if not record.id or len(record.id) > LONGEST_RECORD_ID:
        raise _NotStorable(f"the id must have 1 to {LONGEST_RECORD_ID} characters")
    if "\0" in record.id or not _is_text(record.id):
        raise _NotStorable("the id holds a character that no database stores")
    try:
        body = orjson.dumps(record.payload, option=orjson.OPT_SORT_KEYS)
    except TypeError as unserialisable:
        raise _NotStorable(f"cannot be written as JSON: {unserialisable}") from unserialisable
    if b"\\u0000" in body and _ESCAPED_NUL.search(body):
        raise _NotStorable("a text holds a NUL character, which no database stores")
    payload_hash, stamp = _hash(body), _stamp(record.source_updated_at)
    brought = _Written(record.id, stamp, payload_hash, record.is_deleted)
    return brought, _row(brought, body, position)


def _changed_positions(versions: Iterable[_Version]) -> list[int]:
    """Of one record's versions: the positions of those that the page brings and that differ from the one before."""
    changed, before = [], None
    for version in sorted(versions, key=_in_order):
        now = version.payload_hash, version.is_deleted
        if version.position is not None and now != before:
            changed.append(version.position)
        before = now
    return changed


def _in_order(version: _Version) -> tuple[float, int]:
    return -math.inf if version.stamp is None else version.stamp, version.seq


def _is_text(text: str) -> bool:
    return text.isascii() or not any("\ud800" <= character <= "\udfff" for character in text)


def _send(conn: psycopg.Connection[Any], page: Prepared, positions: Sequence[int]) -> None:
    """Copy these rows to a temporary table: PostgreSQL refuses COPY into a table under policies."""
    rows = page.rows
    if len(positions) < len(page.records):
        # their places are others, for numbers have no gaps
        chosen = [
            rows[page.bounds[position] : page.bounds[position + 1] - _PLACE.size] + _PLACE.pack(place)
            for place, position in enumerate(positions)
        ]
        rows = b"".join((_COPY_STARTS, *chosen, _COPY_ENDS))
    with conn.cursor() as cursor, cursor.copy("copy pg_temp.landing_page from stdin (format binary)") as copy:
        copy.write(rows)


def _store(cursor: psycopg.Cursor[Any], table: sql.Identifier, tenant_id: str, sync_id: str, last_seq: int) -> None:
    cursor.execute(
        sql.SQL(
            "insert into {} (tenant_id, record_id, payload, payload_hash, is_deleted, source_updated_at, sync_id, seq)"
            " select %s, record_id, payload, payload_hash, is_deleted, source_updated_at, %s, %s::bigint + 1 + place"
            " from pg_temp.landing_page"
        ).format(table),
        [tenant_id, sync_id, last_seq],
    )


# ── rows as COPY's binary format wants them ──────────────────────────────────────────────────────────────────────────

_COPY_STARTS = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_COPY_ENDS = b"\xff\xff"
_SIX_COLUMNS_AND_LENGTH = Struct(">hi")
_LENGTH_AND_VERSION_OF_JSONB = Struct(">ib")
_HASH_AND_FLAG = Struct(">i16si?")
_LENGTH_AND_STAMP = Struct(">iq")
_PLACE = Struct(">i")
_LENGTH_OF_PLACE = _PLACE.pack(_PLACE.size)
_NULL = b"\xff\xff\xff\xff"

_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def _row(record: _Written, body: bytes, position: int) -> bytes:
    record_id = record.id.encode()
    return b"".join(
        (
            _SIX_COLUMNS_AND_LENGTH.pack(6, len(record_id)),
            record_id,
            _LENGTH_AND_VERSION_OF_JSONB.pack(len(body) + 1, 1),
            body,
            _HASH_AND_FLAG.pack(16, record.payload_hash, 1, record.is_deleted),
            _NULL if record.stamp is None else _LENGTH_AND_STAMP.pack(8, record.stamp),
            _LENGTH_OF_PLACE,
            _PLACE.pack(position),
        )
    )


def _hash(body: bytes) -> bytes:
    return blake2b(body, digest_size=16).digest()


def _stamp(moment: datetime | None) -> int | None:
    """Microseconds since 2000: what PostgreSQL makes of it. A time without a zone is UTC."""
    if moment is None:
        return None
    return ((moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - _EPOCH) // _MICROSECOND


class _StampLoader(Loader):
    """As a number: the server can hold moments that Python's datetime can't."""

    format = Format.BINARY

    def load(self, data: Buffer) -> int:
        return int.from_bytes(data, signed=True)


# ── quarantine ───────────────────────────────────────────────────────────────────────────────────────────────────────


def _quarantine(
    cursor: psycopg.Cursor[Any],
    tenant_id: str,
    connector: str,
    stream: str,
    refused: Sequence[Refusal],
    sync_id: str,
) -> None:
    # The id is made of the content, so that a record refused again on the next read is no second entry:
    # one that was settled meanwhile is open again.
    cursor.executemany(
        "insert into quality.quarantine"
        " (id, tenant_id, connector, stream, record_id, reason, record, position, sync_id)"
        " values (%s, %s, %s, %s, %s, %s, %s, %s, %s) on conflict (id) do update"
        " set replayed_at = null, created_at = now(), sync_id = excluded.sync_id"
        " where quarantine.replayed_at is not null",
        list(_quarantine_rows(tenant_id, connector, stream, refused, sync_id)),
    )


def _quarantine_rows(
    tenant_id: str, connector: str, stream: str, refused: Sequence[Refusal], sync_id: str
) -> Iterator[tuple[Any, ...]]:
    for refusal in refused:
        record = orjson.dumps(_storable(refusal.raw)).decode()
        record_id = None if refusal.record_id is None else _storable(refusal.record_id)
        identity = "\n".join([tenant_id, connector, stream, refusal.position, refusal.reason, record])
        yield (
            str(uuid5(_QUARANTINE_IDS, _storable(identity))),
            tenant_id,
            connector,
            stream,
            record_id,
            _storable(refusal.reason),
            record,
            _storable(refusal.position),
            sync_id,
        )


def _storable(value: Any) -> Any:
    """The nearest thing to `value` that jsonb and text can hold: what they can't is written out."""
    match value:
        case None | bool() | float():
            return value
        case str():
            return value.replace("\0", "\\u0000").encode("utf-8", "backslashreplace").decode("utf-8")
        case int():
            return value if abs(value) < 2**63 else str(value)
        case Mapping():
            return {_storable(str(key)): _storable(part) for key, part in value.items()}
        case Sequence():
            return [_storable(part) for part in value]
        case _:
            return _storable(repr(value))
