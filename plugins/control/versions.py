"""Versions of what a tenant edits: the one in force has a row of its own, all are kept, none is ever changed."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

from warehouse.errors import MisuseError


@dataclass(frozen=True)
class Version:
    version: int
    created_at: datetime
    created_by: str


@dataclass(frozen=True)
class Change:
    """The version in force after a change, and whether there was anything to change."""

    version: int
    changed: bool


@dataclass(frozen=True)
class History:
    """Where versions of one kind of thing are kept; `keys` say, with the tenant, which thing."""

    table: str
    keys: Sequence[str]
    content: str = "content"

    def versions(self, connection: psycopg.Connection, tenant_id: str, *key: str) -> list[Version]:
        """All versions, oldest first."""
        rows = connection.execute(
            self._select("version, created_at, created_by") + sql.SQL(" order by version"), [tenant_id, *key]
        ).fetchall()
        return [Version(*row) for row in rows]

    def content_of(self, connection: psycopg.Connection, tenant_id: str, *key: str, version: int) -> Any:
        row = connection.execute(
            self._select(self.content) + sql.SQL(" and version = %s"), [tenant_id, *key, version]
        ).fetchone()
        if row is None:
            known = self.versions(connection, tenant_id, *key)
            there = f"there are 1 to {known[-1].version}" if known else "nothing was changed yet"
            raise MisuseError(f"there is no version {version}; {there}")
        return row[0]

    def note(
        self, connection: psycopg.Connection, tenant_id: str, *key: str, before: Any, after: Any, actor: str
    ) -> Change:
        """Keep `after` as the newest version, unless it is what was in force `before` (None: nothing was).

        What was in force without ever having been edited becomes version 1, so that it can be brought back.
        """
        known = self.versions(connection, tenant_id, *key)
        latest = known[-1].version if known else 0
        if after == before:
            return Change(max(latest, 1), False)
        if before is not None and latest == 0:
            latest = self._append(connection, tenant_id, *key, version=1, content=before, actor="system:default")
        return Change(self._append(connection, tenant_id, *key, version=latest + 1, content=after, actor=actor), True)

    def _append(
        self, connection: psycopg.Connection, tenant_id: str, *key: str, version: int, content: Any, actor: str
    ) -> int:
        columns = ["tenant_id", *self.keys, "version", self.content, "created_by"]
        connection.execute(
            sql.SQL("insert into {} ({}) values ({})").format(
                sql.Identifier("control", self.table),
                sql.SQL(", ").join(map(sql.Identifier, columns)),
                sql.SQL(", ").join([sql.Placeholder()] * len(columns)),
            ),
            [tenant_id, *key, version, Jsonb(content), actor],
        )
        return version

    def _select(self, columns: str) -> sql.Composed:
        conditions = [sql.SQL("{} = %s").format(sql.Identifier(name)) for name in ("tenant_id", *self.keys)]
        return sql.SQL("select {} from {} where {}").format(
            sql.SQL(", ").join(sql.Identifier(name) for name in columns.split(", ")),
            sql.Identifier("control", self.table),
            sql.SQL(" and ").join(conditions),
        )


def one_at_a_time(connection: psycopg.Connection, tenant_id: str) -> None:
    """Let changes of this tenant's content follow one another, until the transaction ends."""
    connection.execute("select from control.tenants where id = %s for no key update", [tenant_id])
