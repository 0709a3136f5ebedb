"""One line in the audit trail, in the transaction of the change that it tells of."""

import getpass
import uuid
from typing import Any

import psycopg
from psycopg.types.json import Jsonb


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
