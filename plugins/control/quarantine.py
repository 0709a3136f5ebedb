"""What was refused on its way into raw: to be looked at, and to be tried once more when the cause is gone.

An entry is open until it was replayed: landed, or found to be superseded by what has landed since.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import class_row

from control import access
from warehouse import database
from warehouse.landing import table_of

# versions that a replay has landed tell by their sync that they are not what the source said last
REPLAY = "replay:"
BATCH = 500

OPEN = (
    "from quality.quarantine where tenant_id = %(tenant)s and replayed_at is null"
    " and connector = coalesce(%(connector)s, connector) and stream = coalesce(%(stream)s, stream)"
)


@dataclass(frozen=True)
class Entry:
    id: str
    created_at: datetime
    connector: str
    stream: str
    position: str | None
    record_id: str | None
    reason: str
    record: Any


def entries(
    tenant_id: str, *, connector: str | None, stream: str | None, limit: int, actor: str
) -> tuple[Sequence[Entry], int]:
    """The newest open entries, newest first, and how many are open."""
    access.require(tenant_id, actor, "quarantine.list")
    parameters = {"tenant": tenant_id, "connector": connector, "stream": stream, "limit": limit}
    with database.control_session(tenant_id) as connection, connection.cursor(row_factory=class_row(Entry)) as cursor:
        found = cursor.execute(
            "select id, created_at, connector, stream, position, record_id, reason, record"
            f" {OPEN} order by created_at desc, id limit %(limit)s",
            parameters,
        ).fetchall()
        ((count,),) = connection.execute(f"select count(*) {OPEN}", parameters).fetchall()
    return found, count


def open_counts(connection: psycopg.Connection, tenant_id: str) -> dict[tuple[str, str], int]:
    """How many entries are open, by connector and stream."""
    rows = connection.execute(
        "select connector, stream, count(*) from quality.quarantine"
        " where tenant_id = %s and replayed_at is null group by 1, 2 order by 1, 2",
        [tenant_id],
    ).fetchall()
    return {(connector, stream): count for connector, stream, count in rows}


def batches(tenant_id: str, connector: str, stream: str) -> Iterator[Sequence[Entry]]:
    """The open entries of a stream, oldest first, as they are now: memory stays flat however many there are."""
    with (
        database.run_session(tenant_id, application="quarantine") as connection,
        connection.cursor("entries", row_factory=class_row(Entry)) as cursor,
    ):
        cursor.execute(
            "select id, created_at, connector, stream, position, record_id, reason, record"
            f" {OPEN} order by created_at, id",
            {"tenant": tenant_id, "connector": connector, "stream": stream},
        )
        while batch := cursor.fetchmany(BATCH):
            yield batch


def superseded(
    connection: psycopg.Connection,
    tenant_id: str,
    connector: str,
    stream: str,
    records: Sequence[tuple[Entry, str, datetime | None]],
) -> set[str]:
    """Of entries and the id and stamp of the record that each has become: those that would push aside what is newer.

    A record with a stamp finds its place among the versions by itself. One without, or with the stamp of another
    version, would follow what the source has said since, or what a later entry said that was replayed before it.
    """
    rows = connection.execute(
        sql.SQL(
            """
            select entry.id
            from unnest(%(ids)s::text[], %(records)s::text[], %(stamps)s::timestamptz[], %(times)s::timestamptz[])
                as entry (id, record_id, stamp, refused_at)
            where
                exists (
                    select from {table} as version
                    where version.tenant_id = %(tenant)s and version.record_id = entry.record_id
                        and version.landed_at >= entry.refused_at and not starts_with(version.sync_id, %(replay)s)
                        and (entry.stamp is null or entry.stamp = version.source_updated_at)
                )
                or entry.stamp is null and exists (
                    select from quality.quarantine as later
                    where later.tenant_id = %(tenant)s and later.connector = %(connector)s
                        and later.stream = %(stream)s and later.record_id = entry.record_id
                        and later.created_at > entry.refused_at and later.replayed_at is not null
                )
            """
        ).format(table=table_of(connector, stream)),
        {
            "tenant": tenant_id,
            "connector": connector,
            "stream": stream,
            "replay": REPLAY,
            "ids": [entry.id for entry, _, _ in records],
            "records": [record_id for _, record_id, _ in records],
            "stamps": [stamp for _, _, stamp in records],
            "times": [entry.created_at for entry, _, _ in records],
        },
    ).fetchall()
    return {str(row[0]) for row in rows}


def settle(connection: psycopg.Connection, tenant_id: str, ids: Sequence[str]) -> None:
    connection.execute(
        "update quality.quarantine set replayed_at = now() where tenant_id = %s and id = any(%s)",
        [tenant_id, list(ids)],
    )


def forget(connection: psycopg.Connection, tenant_id: str, ids: Sequence[str]) -> None:
    """Settle entries about people who were erased meanwhile, and keep nothing of what they said."""
    connection.execute(
        "update quality.quarantine set replayed_at = now(), record_id = null, record = null,"
        " reason = 'was about a person who is erased' where tenant_id = %s and id = any(%s)",
        [tenant_id, list(ids)],
    )


def still_refused(connection: psycopg.Connection, tenant_id: str, reasons: Sequence[tuple[str, str]]) -> None:
    """Leave entries open, each with the reason why it was refused this time."""
    connection.cursor().executemany(
        "update quality.quarantine set reason = %s where tenant_id = %s and id = %s and reason <> %s",
        [(reason, tenant_id, entry_id, reason) for entry_id, reason in reasons],
    )
