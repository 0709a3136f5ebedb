"""Where vendors tell a tenant's connector what happens: its endpoint, and the inbox that its next extract empties."""

import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import psycopg

from control import access, audit, connectors, sealing
from warehouse import database
from warehouse.errors import MisuseError

KEY_BYTES = 24
BATCH = 500


@dataclass(frozen=True)
class Endpoint:
    """`is_signed` says whether a secret is known by which a message can be told from a forged one."""

    connector: str
    key: str
    is_signed: bool

    @property
    def path(self) -> str:
        return path_of(self.connector, self.key)


@dataclass(frozen=True)
class Event:
    id: str
    text: str
    received_at: datetime


def path_of(vendor: str, key: str) -> str:
    return f"/webhooks/{vendor}/{key}"


def endpoint(tenant_id: str, connector_type: str, *, secret: str | None = None, actor: str) -> Endpoint:
    """The endpoint of this connector, made when it is first asked for; with `secret`, what the vendor signs with."""
    access.require(tenant_id, actor, "connector.webhook")
    with database.control_session(tenant_id) as connection:
        connector_id = connectors.open_connector(connection, tenant_id, connector_type).id
        made = connection.execute(
            "insert into control.webhook_endpoints (tenant_id, connector_id, connector, key) values (%s, %s, %s, %s)"
            " on conflict do nothing",
            [tenant_id, connector_id, connector_type, secrets.token_urlsafe(KEY_BYTES)],
        ).rowcount
        if secret is not None:
            connection.execute(
                "update control.webhook_endpoints set sealed = %s where tenant_id = %s and connector_id = %s",
                [_sealed(secret, tenant_id, connector_id), tenant_id, connector_id],
            )
        if made or secret is not None:
            audit.record(
                connection,
                tenant_id=tenant_id,
                actor=actor,
                action="connector.webhook",
                resource="connector",
                resource_id=connector_id,
                after={"type": connector_type, "endpoint": "made" if made else "kept", "secret": secret is not None},
            )
        ((key, is_signed),) = connection.execute(
            "select key, sealed is not null from control.webhook_endpoints where tenant_id = %s and connector_id = %s",
            [tenant_id, connector_id],
        ).fetchall()
    return Endpoint(connector_type, key, is_signed)


# ── the receiver's two calls ─────────────────────────────────────────────────────────────────────────────────────────


def secret_behind(connection: psycopg.Connection, vendor: str, key: str) -> str | None:
    """What is signed with at this endpoint; None if there is none, or not of this vendor, or nobody gave its secret."""
    found = connection.execute(
        "select tenant_id, connector_id, connector, sealed from control.webhook_endpoint(%s)", [key]
    ).fetchone()
    if found is None or found[2] != vendor or found[3] is None:
        return None
    tenant_id, connector_id, _, envelope = found
    opened = sealing.unseal(envelope, tenant_id=tenant_id, connector_id=_sealed_for(connector_id))
    return str(opened["secret"])


def accept(connection: psycopg.Connection, key: str, event_id: str, event: str) -> bool:
    """Keep the event; on an autocommitting connection it is on the disk when this returns. False if it was known."""
    row = connection.execute("select control.accept_webhook(%s, %s, %s)", [key, event_id, event]).fetchone()
    return row == (True,)


# ── the inbox ────────────────────────────────────────────────────────────────────────────────────────────────────────


def waiting(connection: psycopg.Connection, tenant_id: str, connector_id: str) -> Iterator[list[Event]]:
    """Batches of what has not landed, in the order of its arrival, each event once."""
    after = (datetime.min.replace(tzinfo=UTC), "")
    while events := [
        Event(*row)
        for row in connection.execute(
            "select event_id, event, received_at from control.webhook_inbox"
            " where tenant_id = %s and connector_id = %s and landed_at is null"
            " and (received_at, event_id) > (%s, %s) order by received_at, event_id limit %s",
            [tenant_id, connector_id, *after, BATCH],
        ).fetchall()
    ]:
        yield events
        after = (events[-1].received_at, events[-1].id)


def landed(
    connection: psycopg.Connection, tenant_id: str, connector_id: str, event_ids: Sequence[str], sync_id: str
) -> None:
    """Forget what these events said; that they were there is remembered."""
    connection.execute(
        "update control.webhook_inbox set landed_at = now(), sync_id = %s, event = null"
        " where tenant_id = %s and connector_id = %s and event_id = any(%s)",
        [sync_id, tenant_id, connector_id, list(event_ids)],
    )


# ── keys ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def key_use(connection: psycopg.Connection, tenant_id: str) -> dict[str, int]:
    """How many of the tenant's endpoints are sealed with which key."""
    rows = connection.execute(
        "select sealed from control.webhook_endpoints where tenant_id = %s and sealed is not null", [tenant_id]
    ).fetchall()
    ids = [sealing.key_id(row[0]) for row in rows]
    return {key_id: ids.count(key_id) for key_id in sorted(set(ids))}


def reseal(connection: psycopg.Connection, tenant_id: str, newest: str) -> tuple[int, list[str]]:
    """Seal with the newest key what another one has sealed. Returns how many, and what does not open with why.

    Wants an autocommitting connection: each endpoint by itself, and only as it was when it was read.
    """
    rows = connection.execute(
        "select connector_id, connector, sealed from control.webhook_endpoints"
        " where tenant_id = %s and split_part(sealed, '.', 2) <> %s",
        [tenant_id, newest],
    ).fetchall()
    resealed, failures = 0, list[str]()
    for connector_id, connector, envelope in rows:
        try:
            opened = sealing.unseal(envelope, tenant_id=tenant_id, connector_id=_sealed_for(connector_id))
        except sealing.Unopenable as error:
            failures.append(f"the webhook of {connector}: {error}")
            continue
        resealed += connection.execute(
            "update control.webhook_endpoints set sealed = %s"
            " where tenant_id = %s and connector_id = %s and sealed = %s",
            [_sealed(str(opened["secret"]), tenant_id, connector_id), tenant_id, connector_id, envelope],
        ).rowcount
    return resealed, failures


def _sealed(secret: str, tenant_id: str, connector_id: str) -> str:
    if not secret.strip():
        raise MisuseError("the secret is empty; the vendor shows it beside the address of the webhook")
    return sealing.seal({"secret": secret.strip()}, tenant_id=tenant_id, connector_id=_sealed_for(connector_id))


def _sealed_for(connector_id: str) -> str:
    """Not the connector's own: its configuration must not open in the place of this."""
    return f"webhook of {connector_id}"
