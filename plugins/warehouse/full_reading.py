"""A reading of everything: what it is measured against, and what its silence about a record tells.

`Seen` holds the ids that the reading held, in a temporary table of the landing connection: memory stays flat, and what
it held is gone with the process, as the reading is.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

from warehouse.landing import fenced, table_of
from warehouse.text import is_storable


class Seen:
    def __init__(self, conn: psycopg.Connection[Any], stream: str) -> None:
        self._conn = conn
        self.table = sql.Identifier("pg_temp", f"seen_{stream}")

    def start(self) -> None:
        """Nothing was seen yet: what an earlier attempt saw, which broke off, is forgotten."""
        self.end()
        self._conn.execute(sql.SQL("create temp table {} (record_id text not null)").format(self.table))

    def add(self, record_ids: Iterable[str]) -> None:
        with self._conn.cursor().copy(sql.SQL("copy {} from stdin").format(self.table)) as copy:
            for record_id in record_ids:
                # what the database could not store stands in no table of ours either
                if is_storable(record_id):
                    copy.write_row((record_id,))

    def end(self) -> None:
        self._conn.execute(sql.SQL("drop table if exists {}").format(self.table))


def last_count(conn: psycopg.Connection[Any], tenant_id: str, connector: str, stream: str) -> int | None:
    """How many records the last full reading held that was accepted, None before the first."""
    with conn.transaction():
        row = conn.execute(
            "select last_full_count from control.stream_states where tenant_id = %s and connector = %s and stream = %s",
            [tenant_id, connector, stream],
        ).fetchone()
    return None if row is None else row[0]


def is_too_small(count: int, last: int | None) -> bool:
    """Whether a reading of `count` records is more likely a mistake of the source than what has become of it."""
    return last is not None and last > 0 and count * 2 < last


def complete(
    conn: psycopg.Connection[Any],
    *,
    tenant_id: str,
    connector: str,
    stream: str,
    state: Mapping[str, Any] | None,
    count: int,
    seen: Seen | None,
    sync_id: str,
    fence: int,
) -> int:
    """Commit the end of a full reading whose pages have all landed: its state, its size and, given what was `seen`, a
    deleted version of each record that it did not hold. Returns how many those are.
    """
    with fenced(conn, fence), conn.cursor() as cursor:
        row = cursor.execute(
            "select last_seq from control.stream_states"
            " where tenant_id = %s and connector = %s and stream = %s for update",
            [tenant_id, connector, stream],
        ).fetchone()
        if row is None:
            raise LookupError(f"no page of {connector} {stream} has landed for tenant {tenant_id}")
        deleted = 0
        if seen is not None:
            deleted = _delete_absent(cursor, table_of(connector, stream), tenant_id, seen, sync_id, int(row[0]))
        cursor.execute(
            "update control.stream_states set last_seq = last_seq + %s, state = %s, last_full_count = %s,"
            " updated_at = now() where tenant_id = %s and connector = %s and stream = %s",
            [deleted, None if state is None else Jsonb(dict(state)), count, tenant_id, connector, stream],
        )
        cursor.execute(
            "update control.sync_logs set records_deleted = records_deleted + %s where id = %s and tenant_id = %s",
            [deleted, sync_id, tenant_id],
        )
    return deleted


def _delete_absent(
    cursor: psycopg.Cursor[Any], table: sql.Identifier, tenant_id: str, seen: Seen, sync_id: str, last_seq: int
) -> int:
    # The planner knows nothing of a temporary table until it is told, and would loop over it for each record.
    cursor.execute(sql.SQL("analyze {}").format(seen.table))
    # The deleted version follows the latest one: the same stamp, a higher seq.
    cursor.execute(
        sql.SQL(
            """
            with absent as materialized (
                select distinct raw.record_id
                from {table} as raw
                where raw.tenant_id = %(tenant)s
                    and not exists (select from {seen} as seen where seen.record_id = raw.record_id)
            )
            insert into {table}
                (tenant_id, record_id, payload, payload_hash, is_deleted, source_updated_at, sync_id, seq)
            select
                %(tenant)s, absent.record_id, latest.payload, latest.payload_hash, true, latest.source_updated_at,
                %(sync_id)s, %(last_seq)s + row_number() over (order by absent.record_id)
            from absent
            cross join lateral (
                select raw.payload, raw.payload_hash, raw.is_deleted, raw.source_updated_at
                from {table} as raw
                where raw.tenant_id = %(tenant)s and raw.record_id = absent.record_id
                order by raw.source_updated_at desc nulls last, raw.seq desc
                limit 1
            ) as latest
            where not latest.is_deleted
            """
        ).format(table=table, seen=seen.table),
        {"tenant": tenant_id, "sync_id": sync_id, "last_seq": last_seq},
    )
    return cursor.rowcount
