"""A tenant's connectors: one of each type, their configuration sealed."""

import uuid
from dataclasses import dataclass, field
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from control import audit, sealing
from warehouse.errors import MisuseError


@dataclass(frozen=True)
class OpenConnector:
    """A connector with its configuration in the clear: for the moment of use, never to be kept or logged."""

    id: str
    type: str
    config: dict[str, Any] = field(repr=False)


def add(
    connection: psycopg.Connection, *, tenant_id: str, connector_type: str, config: dict[str, Any], actor: str
) -> str:
    """Add a connector, or give the tenant's connector of this type a new configuration. Returns its id."""
    row = connection.execute(
        "select id from control.connectors where tenant_id = %s and type = %s", [tenant_id, connector_type]
    ).fetchone()
    connector_id = str(row[0]) if row else str(uuid.uuid4())
    if row and open_connector(connection, tenant_id, connector_type).config == config:
        return connector_id
    sealed = Jsonb({"sealed": sealing.seal(config, tenant_id=tenant_id, connector_id=connector_id)})
    connection.execute(
        "insert into control.connectors (id, tenant_id, type, name, config) values (%s, %s, %s, %s, %s)"
        " on conflict (tenant_id, type) do update set config = excluded.config",
        [connector_id, tenant_id, connector_type, connector_type, sealed],
    )
    audit.record(
        connection,
        tenant_id=tenant_id,
        actor=actor,
        action="connector.configure" if row else "connector.add",
        resource="connector",
        resource_id=connector_id,
        after={"type": connector_type, "keys": sorted(config)},
    )
    return connector_id


def types(connection: psycopg.Connection, tenant_id: str) -> list[str]:
    rows = connection.execute(
        "select type from control.connectors where tenant_id = %s order by type", [tenant_id]
    ).fetchall()
    return [str(row[0]) for row in rows]


def overview(connection: psycopg.Connection, tenant_id: str) -> list[tuple[Any, ...]]:
    """Type, status, last sync and last error of each connector."""
    return connection.execute(
        "select type, status, last_sync_at, last_sync_error from control.connectors where tenant_id = %s order by type",
        [tenant_id],
    ).fetchall()


def open_connector(connection: psycopg.Connection, tenant_id: str, connector_type: str) -> OpenConnector:
    row = connection.execute(
        "select id, config ->> 'sealed' from control.connectors where tenant_id = %s and type = %s",
        [tenant_id, connector_type],
    ).fetchone()
    if row is None:
        raise MisuseError(f"this tenant has no {connector_type} connector: `clarity connector add` makes one")
    connector_id = str(row[0])
    return OpenConnector(
        connector_id, connector_type, sealing.unseal(row[1], tenant_id=tenant_id, connector_id=connector_id)
    )
