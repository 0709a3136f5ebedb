"""The audit trail: one line in the transaction of the change that it tells of, and how it is read and verified."""

import getpass
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
from psycopg.types.json import Jsonb


@dataclass(frozen=True)
class Entry:
    seq: int
    at: datetime
    actor: str
    action: str
    resource: str
    resource_id: str | None
    before: Any
    after: Any


@dataclass(frozen=True)
class Fault:
    """Something wrong with the trail, at the row of this number."""

    seq: int
    fault: str


def system_actor() -> str:
    """Who acts when nobody is named: the person at the keyboard, as the operating system knows them."""
    return f"system:{getpass.getuser()}"


def record(
    connection: psycopg.Connection,
    *,
    tenant_id: str,
    actor: str,
    action: str,
    resource: str,
    resource_id: str | None = None,
    before: Any = None,
    after: Any = None,
) -> None:
    connection.execute(
        "insert into control.audit_log (id, tenant_id, user_id, action, resource, resource_id, changes)"
        " values (%s, %s, %s, %s, %s, %s, %s)",
        [
            str(uuid.uuid4()),
            tenant_id,
            actor,
            action,
            resource,
            resource_id,
            Jsonb({"before": before, "after": after}),
        ],
    )


def entries(connection: psycopg.Connection, tenant_id: str, *, limit: int, action_prefix: str = "") -> Sequence[Entry]:
    """The newest rows of the trail, oldest of them first."""
    rows = connection.execute(
        "select seq, created_at, user_id, action, resource, resource_id, changes -> 'before', changes -> 'after'"
        " from control.audit_log where tenant_id = %s and starts_with(action, %s) order by seq desc limit %s",
        [tenant_id, action_prefix, limit],
    ).fetchall()
    return [Entry(*row) for row in reversed(rows)]


def length(connection: psycopg.Connection, tenant_id: str) -> int:
    row = connection.execute("select count(*) from control.audit_log where tenant_id = %s", [tenant_id]).fetchone()
    assert row is not None
    return int(row[0])


def faults(connection: psycopg.Connection, tenant_id: str) -> Sequence[Fault]:
    """Every altered, missing or cut-off row; none if the trail is whole."""
    rows = connection.execute("select seq, fault from control.audit_faults(%s) order by 1, 2", [tenant_id]).fetchall()
    return [Fault(*row) for row in rows]
