"""Many rows out of the database and into it, with the tenant's own login and so under its policies.

Out by ADBC, as Arrow: of a million daily counts it delivers 1.5 million a second, where COPY, text or binary, with a
parser behind it comes to 0.5 million. In by COPY to a temporary table, from which one INSERT takes them: into a table
under policies PostgreSQL copies nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, LiteralString

import adbc_driver_postgresql  # type: ignore[import-untyped]
import psycopg
import pyarrow as pa  # type: ignore[import-untyped]
from adbc_driver_postgresql import dbapi
from psycopg import sql

from warehouse import database
from warehouse.errors import ClarityError

# Ids are looked up batch by batch, and each lookup begins by hashing all ids: a few large batches are quicker.
BATCH_BYTES = 1 << 26

# By default the driver reads every column of every relation before its first query, 0.1 s of processor, to know types
# that none of our queries returns.
_BUILTIN_TYPES = {"adbc.postgresql.type_resolver_mode": "builtin"}

# One row per line, untouched: JSON never holds the characters chosen here as quote and delimiter, and `plain` takes
# them out of other texts. What is empty is null.
_AS_LINES = sql.SQL("(format csv, quote e'\\x01', delimiter e'\\x02')")
_DELIMITER = "\x02"
_CONTROL = dict.fromkeys(range(32), " ")


class Reader:
    """Reads what the tenant's run login may see."""

    def __init__(self, cursor: dbapi.Cursor) -> None:
        self._cursor = cursor

    def table(self, query: LiteralString, **parameters: Any) -> pa.Table:
        with self._asked(query, parameters) as found:
            return found.read_all().combine_chunks()

    def batches(self, query: LiteralString, **parameters: Any) -> Iterator[pa.RecordBatch]:
        """A million rows or so at a time: neither side ever holds them all."""
        with self._asked(query, parameters) as found:
            yield from found

    @contextmanager
    def _asked(self, query: LiteralString, parameters: Mapping[str, Any]) -> Iterator[pa.RecordBatchReader]:
        # a COPY takes no parameters, and it is by COPY that ADBC is quick
        text = sql.SQL(query).format(**{name: sql.Literal(value) for name, value in parameters.items()}).as_string()
        try:
            self._cursor.execute(text)
            with self._cursor.fetch_record_batch() as found:
                yield found
        except dbapi.Error as error:
            raise ClarityError(f"the database did not answer a bulk read: {' '.join(str(error).split())}") from None


@contextmanager
def reader(tenant_id: str) -> Iterator[Reader]:
    url = database.url(database.conninfo_in_force(database.run_login(tenant_id)))
    with dbapi.connect(url, db_kwargs=_BUILTIN_TYPES, autocommit=True) as connection, connection.cursor() as cursor:
        cursor.adbc_statement.set_options(
            **{adbc_driver_postgresql.StatementOptions.BATCH_SIZE_HINT_BYTES.value: str(BATCH_BYTES)}
        )
        yield Reader(cursor)


def make_temporary(connection: psycopg.Connection, name: str, columns: Mapping[str, LiteralString]) -> None:
    """An empty table of this session, gone at the end of the transaction."""
    connection.execute(
        sql.SQL("create temporary table {} ({}) on commit drop").format(
            sql.Identifier(name),
            sql.SQL(", ").join(
                sql.SQL("{} {}").format(sql.Identifier(column), sql.SQL(kind)) for column, kind in columns.items()
            ),
        )
    )


def copy_in(connection: psycopg.Connection, table: str, columns: Sequence[Sequence[str]]) -> None:
    """Columns of text, side by side; "" is null. None of them holds a control character."""
    lines = "\n".join(map(_DELIMITER.join, zip(*columns, strict=True)))
    if not lines:
        return
    statement = sql.SQL("copy {} from stdin {}").format(sql.Identifier(table), _AS_LINES)
    with connection.cursor().copy(statement) as copy:
        copy.write(lines)


def plain(text: str) -> str:
    """A text from outside as `copy_in` takes it."""
    return text if text.isprintable() else text.translate(_CONTROL)
