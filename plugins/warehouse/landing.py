"""From a connector's page to raw, in one transaction: new versions, what was refused, counts, the state to go on from.

Reading is at least once, so a page may bring what is known. A record's versions are ordered by (source_updated_at
nulls first, seq); a version equal to the one it would follow is not landed. So A, B, A makes three versions, a page
read twice makes none, and an old page that arrives late is kept once, in its place.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import blake2b
from typing import Any, Protocol
from uuid import UUID, uuid5

import orjson
import psycopg
from psycopg import sql
from psycopg.pq import TransactionStatus
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


@dataclass(slots=True)
class _Page:
    """A page made ready for COPY; what the database could not store has moved to `refused`."""

    rows: list[tuple[int, str, str, bytes, bool, datetime | None]] = field(default_factory=list)
    refused: list[Refusal] = field(default_factory=list)


@contextmanager
def fenced(conn: psycopg.Connection[Any], fence: int) -> Iterator[None]:
    """A write transaction of the run that holds this fence, committed at the end of the body. Raises LeaseLost."""
    if conn.info.transaction_status is not TransactionStatus.IDLE:
        raise RuntimeError("it would only be a savepoint: the connection is in a transaction already")
    with conn.transaction():
        try:
            conn.execute("select control.hold_lease(%s)", [fence])
        except psycopg.errors.ObjectNotInPrerequisiteState as lost:
            raise LeaseLost("another run has the tenant now; this one stops, nothing of it is half done") from lost
        yield


def table_of(connector: str, stream: str) -> sql.Identifier:
    return sql.Identifier("raw", f"{connector}__{stream}")


def land(
    conn: psycopg.Connection[Any],
    *,
    tenant_id: str,
    connector_id: str,
    connector: str,
    stream: str,
    records: Iterable[Version],
    rejected: Sequence[Refusal],
    state: Mapping[str, Any] | None,
    sync_id: str,
    fence: int,
) -> Landed:
    """Land one page and commit it; the counts are added to the row of control.sync_logs that `sync_id` names.

    `connector` and `stream` must be declared ones: they name a table. Locks the stream's state, so that the order of
    seq is the order of commits.
    """
    page = _prepare(records, rejected)
    with fenced(conn, fence), conn.cursor() as cursor:
        last_seq = _lock_state(cursor, tenant_id, connector_id, connector, stream)
        landed, last_seq = _insert_versions(
            cursor, table_of(connector, stream), tenant_id, page.rows, sync_id, last_seq
        )
        _quarantine(cursor, tenant_id, connector, stream, page.refused, sync_id)
        cursor.execute(
            "update control.stream_states set last_seq = %s, state = %s, updated_at = now()"
            " where tenant_id = %s and connector = %s and stream = %s",
            [last_seq, None if state is None else Jsonb(dict(state)), tenant_id, connector, stream],
        )
        landed += Landed(failed=len(page.refused))
        cursor.execute(
            "update control.sync_logs set"
            " records_created = records_created + %s, records_updated = records_updated + %s,"
            " records_deleted = records_deleted + %s, records_failed = records_failed + %s"
            " where id = %s and tenant_id = %s",
            [landed.created, landed.updated, landed.deleted, landed.failed, sync_id, tenant_id],
        )
    return landed


def state_of(conn: psycopg.Connection[Any], tenant_id: str, connector: str, stream: str) -> Mapping[str, Any] | None:
    """The state that the last landed page left, None before the first."""
    with conn.transaction():
        row = conn.execute(
            "select state from control.stream_states where tenant_id = %s and connector = %s and stream = %s",
            [tenant_id, connector, stream],
        ).fetchone()
    state: Mapping[str, Any] | None = row[0] if row else None
    return state


def _prepare(records: Iterable[Version], rejected: Sequence[Refusal]) -> _Page:
    page = _Page(refused=list(rejected))
    for position, record in enumerate(records):
        try:
            body = orjson.dumps(record.payload, option=orjson.OPT_SORT_KEYS)
        except TypeError as unserialisable:
            reason = f"cannot be written as JSON: {unserialisable}"
        else:
            reason = _unstorable(record, body)
        if reason:
            page.refused.append(_Refused(f"record {record.id}", reason, record.payload, record.id))
            continue
        digest = blake2b(body, digest_size=16).digest()
        page.rows.append((position, record.id, body.decode(), digest, record.is_deleted, record.source_updated_at))
    return page


def _unstorable(record: Version, body: bytes) -> str:
    if not record.id or len(record.id) > LONGEST_RECORD_ID:
        return f"the id must have 1 to {LONGEST_RECORD_ID} characters"
    if "\0" in record.id or not _is_text(record.id):
        return "the id holds a character that no database stores"
    if b"\\u0000" in body and _ESCAPED_NUL.search(body):
        return "a text holds a NUL character, which no database stores"
    return ""


def _is_text(text: str) -> bool:
    return text.isascii() or not any("\ud800" <= character <= "\udfff" for character in text)


def _lock_state(cursor: psycopg.Cursor[Any], tenant_id: str, connector_id: str, connector: str, stream: str) -> int:
    cursor.execute(
        "insert into control.stream_states (tenant_id, connector_id, connector, stream) values (%s, %s, %s, %s)"
        " on conflict do nothing",
        [tenant_id, connector_id, connector, stream],
    )
    row = cursor.execute(
        "select last_seq from control.stream_states where tenant_id = %s and connector = %s and stream = %s for update",
        [tenant_id, connector, stream],
    ).fetchone()
    if row is None:
        raise LookupError(f"the state of {connector} {stream} is not visible to the login of tenant {tenant_id}")
    return int(row[0])


def _insert_versions(
    cursor: psycopg.Cursor[Any],
    table: sql.Identifier,
    tenant_id: str,
    rows: Sequence[tuple[int, str, str, bytes, bool, datetime | None]],
    sync_id: str,
    last_seq: int,
) -> tuple[Landed, int]:
    if not rows:
        return Landed(), last_seq
    # PostgreSQL refuses COPY into a table under policies.
    cursor.execute(
        "create temp table if not exists landing_page (position integer, record_id text, payload jsonb,"
        " payload_hash bytea, is_deleted boolean, source_updated_at timestamptz) on commit delete rows"
    )
    with cursor.copy("copy pg_temp.landing_page from stdin") as copy:
        for row in rows:
            copy.write_row(row)
    # `offset 0` keeps the search for known versions a lookup by key: the planner, who knows nothing of the page, would
    # otherwise read all of raw for each.
    counted = cursor.execute(
        sql.SQL(
            """
            with known as (
                select page.record_id, version.seq, version.payload_hash, version.is_deleted, version.source_updated_at
                from (select distinct record_id from pg_temp.landing_page) as page
                cross join lateral (
                    select raw.seq, raw.payload_hash, raw.is_deleted, raw.source_updated_at
                    from {table} as raw
                    where raw.tenant_id = %(tenant)s and raw.record_id = page.record_id
                    offset 0
                ) as version
            ),
            timeline as (
                select record_id, null::integer as position, seq, payload_hash, is_deleted, source_updated_at from known
                union all
                select record_id, position, %(last_seq)s + 1 + position, payload_hash, is_deleted, source_updated_at
                from pg_temp.landing_page
            ),
            compared as (
                select
                    record_id, position, is_deleted,
                    (payload_hash, is_deleted) is distinct from
                        (lag(payload_hash) over versions, lag(is_deleted) over versions) as is_news,
                    bool_or(position is null) over (partition by record_id) as is_known
                from timeline
                window versions as (partition by record_id order by source_updated_at nulls first, seq)
            ),
            news as (
                select
                    position, is_deleted, row_number() over (order by position) as place,
                    not is_known and row_number() over (partition by record_id order by position) = 1 as is_first
                from compared
                where position is not null and is_news
            ),
            inserted as (
                insert into {table}
                    (tenant_id, record_id, payload, payload_hash, is_deleted, source_updated_at, sync_id, seq)
                select
                    %(tenant)s, page.record_id, page.payload, page.payload_hash, page.is_deleted,
                    page.source_updated_at, %(sync_id)s, %(last_seq)s + news.place
                from news join pg_temp.landing_page as page using (position)
            )
            select
                count(*) filter (where is_first and not is_deleted),
                count(*) filter (where not is_first and not is_deleted),
                count(*) filter (where is_deleted),
                count(*)
            from news
            """
        ).format(table=table),
        {"tenant": tenant_id, "last_seq": last_seq, "sync_id": sync_id},
    ).fetchall()
    created, updated, deleted, landed = counted[0]
    return Landed(created, updated, len(rows) - landed, deleted), last_seq + landed


def _quarantine(
    cursor: psycopg.Cursor[Any],
    tenant_id: str,
    connector: str,
    stream: str,
    refused: Sequence[Refusal],
    sync_id: str,
) -> None:
    # The id is made of the content, so that a record refused again on the next read is no second entry.
    cursor.executemany(
        "insert into quality.quarantine"
        " (id, tenant_id, connector, stream, record_id, reason, record, position, sync_id)"
        " values (%s, %s, %s, %s, %s, %s, %s, %s, %s) on conflict do nothing",
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
