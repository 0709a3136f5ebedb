"""A tenant's connectors: one of each type, their configuration sealed.

What is sealed is the whole configuration, secrets and all; the trail and every report name its keys, never a value.
"""

import uuid
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import quote

import psycopg
from psycopg import sql
from psycopg.pq import TransactionStatus
from psycopg.types.json import Jsonb

from control import access, audit, sealing
from warehouse import database, landing, lease
from warehouse.errors import ClarityError, MisuseError

REDACTED = "***"
RUN = "system:run"
# longer than any vendor takes to answer: whoever holds the row is renewing the token that the others wait for
PATIENCE_FOR_A_TOKEN = "60s"  # noqa: S105 - a duration


@dataclass(frozen=True)
class OpenConnector:
    """A connector with its configuration in the clear: for the moment of use, never to be kept or logged."""

    id: str
    type: str
    config: dict[str, Any] = field(repr=False)

    def redacted(self, text: str, *, is_secret: Callable[[str], bool]) -> str:
        """The text with `***` where it repeats a secret, as it is or as it stands in an address."""
        for key, value in self.config.items():
            if isinstance(value, str) and value and is_secret(key):
                text = text.replace(value, REDACTED).replace(quote(value, safe=""), REDACTED)
        return text


def add(
    connection: psycopg.Connection, *, tenant_id: str, connector_type: str, config: dict[str, Any], actor: str
) -> str:
    """Add a connector, or give the tenant's connector of this type a new configuration. Returns its id."""
    access.require(tenant_id, actor, "connector.add")
    # an envelope is bound to the connector's id, so the row is there before what it holds
    connector_id, previous = _locked(connection, tenant_id, connector_type) or _made(
        connection, tenant_id, connector_type
    )
    before = None if previous is None else _known_config(tenant_id, connector_id, previous)
    if before == config:
        return connector_id
    envelope = sealing.seal(config, tenant_id=tenant_id, connector_id=connector_id)
    connection.execute(
        "update control.connectors set config = %s where tenant_id = %s and id = %s",
        [_stored(envelope), tenant_id, connector_id],
    )
    audit.record(
        connection,
        tenant_id=tenant_id,
        actor=actor,
        action="connector.configure" if previous else "connector.add",
        resource="connector",
        resource_id=connector_id,
        before={"keys": sorted(before or ()), "key": sealing.key_id(previous)} if previous else None,
        after={"type": connector_type, "keys": sorted(config), "key": sealing.key_id(envelope)},
    )
    return connector_id


def known_config(connection: psycopg.Connection, tenant_id: str, connector_type: str) -> dict[str, Any]:
    """The configuration as it is, kept from changing until this transaction ends; empty if there is none that opens."""
    row = _locked(connection, tenant_id, connector_type)
    return (_known_config(tenant_id, *row) or {}) if row else {}


def types(connection: psycopg.Connection, tenant_id: str) -> list[str]:
    rows = connection.execute(
        "select type from control.connectors where tenant_id = %s order by type", [tenant_id]
    ).fetchall()
    return [str(row[0]) for row in rows]


def overview(tenant_id: str, *, actor: str) -> list[tuple[Any, ...]]:
    """Type, status, last sync and last error of each connector."""
    access.require(tenant_id, actor, "connector.list")
    with database.control_session(tenant_id) as connection:
        return connection.execute(
            "select type, status, last_sync_at, last_sync_error from control.connectors"
            " where tenant_id = %s order by type",
            [tenant_id],
        ).fetchall()


def show(
    tenant_id: str, connector_type: str, *, is_secret: Callable[[str], bool], actor: str
) -> dict[str, dict[str, Any]]:
    """What is known of a connector and its configuration, with `***` for whatever `is_secret` says of its key."""
    access.require(tenant_id, actor, "connector.show")
    with database.control_session(tenant_id) as connection:
        config = open_connector(connection, tenant_id, connector_type).config
        status, last_sync_at, last_error, created_at, updated_at, envelope = connection.execute(
            "select status, last_sync_at, last_sync_error, created_at, updated_at, config ->> 'sealed'"
            " from control.connectors where tenant_id = %s and type = %s",
            [tenant_id, connector_type],
        ).fetchall()[0]
    return {
        "connector": {
            "type": connector_type,
            "status": status,
            "last sync": last_sync_at,
            "last error": last_error,
            "created": created_at,
            "updated": updated_at,
            "sealed with key": sealing.key_id(envelope),
        },
        "config": {key: REDACTED if is_secret(key) else value for key, value in sorted(config.items())},
    }


def open_connector(connection: psycopg.Connection, tenant_id: str, connector_type: str) -> OpenConnector:
    row = connection.execute(
        "select id, config ->> 'sealed' from control.connectors where tenant_id = %s and type = %s",
        [tenant_id, connector_type],
    ).fetchone()
    if row is None:
        raise _no_such_connector(connector_type)
    connector_id = str(row[0])
    return OpenConnector(
        connector_id, connector_type, sealing.unseal(row[1], tenant_id=tenant_id, connector_id=connector_id)
    )


def remove(
    tenant_id: str,
    connector_type: str,
    *,
    actor: str,
    purge: bool = False,
    report: Callable[[str], None] = lambda _line: None,
) -> dict[str, int]:
    """Take a connector away, with its credentials, its mappings and writeback settings, sync logs and receipts.

    What it had read stays in raw, and what was made of that stays too; `purge` removes its rows from raw and from
    quarantine. Waits for a run of the tenant to end. Returns the rows removed by table.
    """
    access.require(tenant_id, actor, "connector.remove")
    with (
        lease.hold(tenant_id, lease.local_holder(), stage="remove connector", report=report) as held,
        database.control_session(tenant_id) as connection,
        landing.fenced(connection, held.fence),
    ):
        row = _locked(connection, tenant_id, connector_type)
        if row is None:
            raise _no_such_connector(connector_type)
        # the consent is the tenant's: other connectors stand behind it too
        connection.execute(
            "update control.o365_config set connector_id = null where tenant_id = %s and connector_id = %s",
            [tenant_id, row[0]],
        )
        removed = {"control.connectors": 1}
        connection.execute("delete from control.connectors where tenant_id = %s and id = %s", [tenant_id, row[0]])
        if purge:
            for table in raw_tables(connection, connector_type):
                removed[f"raw.{table}"] = connection.execute(
                    sql.SQL("delete from {} where tenant_id = %s").format(sql.Identifier("raw", table)), [tenant_id]
                ).rowcount
            removed["quality.quarantine"] = connection.execute(
                "delete from quality.quarantine where tenant_id = %s and connector = %s", [tenant_id, connector_type]
            ).rowcount
        audit.record(
            connection,
            tenant_id=tenant_id,
            actor=actor,
            action="connector.remove",
            resource="connector",
            resource_id=row[0],
            before={"type": connector_type},
            after={"purged": removed if purge else None},
        )
    return removed


def raw_tables(connection: psycopg.Connection, connector_type: str) -> list[str]:
    """The landing tables of this type of connector, whether it is still declared or not."""
    rows = connection.execute(
        "select relname from pg_class where relnamespace = 'raw'::regnamespace and relkind = 'r'"
        " and starts_with(relname, %s) order by relname",
        [f"{connector_type}__"],
    ).fetchall()
    return [str(row[0]) for row in rows]


# ── tokens that a vendor rotates ─────────────────────────────────────────────────────────────────────────────────────


def store_rotated(
    connection: psycopg.Connection, tenant_id: str, connector_type: str, secrets: Mapping[str, str]
) -> dict[str, Any]:
    """Put a vendor's new secrets beside the rest of the configuration and commit. Returns the configuration.

    To be called with the vendor's answer before anything is asked with the new token: an old one may be void already.
    """
    with _turn(connection):
        return _store(connection, tenant_id, _present(connection, tenant_id, connector_type), secrets)


def renew(
    connection: psycopg.Connection,
    tenant_id: str,
    connector_type: str,
    *,
    stale: Mapping[str, str],
    ask_vendor: Callable[[Mapping[str, Any]], Mapping[str, str]],
) -> dict[str, Any]:
    """The configuration with secrets that are not `stale` any more: somebody else's if they were quicker, else ours.

    Of all processes that find their token expired, one asks the vendor, with the present configuration, while the
    others wait for the row; the answer is committed before it is returned.
    """
    with _turn(connection):
        present = _present(connection, tenant_id, connector_type)
        if any(present.config.get(key) != value for key, value in stale.items()):
            return present.config
        return _store(connection, tenant_id, present, ask_vendor(present.config))


def _turn(connection: psycopg.Connection) -> AbstractContextManager[psycopg.Transaction]:
    if connection.info.transaction_status is not TransactionStatus.IDLE:
        raise RuntimeError("a token is stored when it is committed: the connection is in a transaction already")
    return connection.transaction()


def _present(connection: psycopg.Connection, tenant_id: str, connector_type: str) -> OpenConnector:
    connection.execute(f"set local lock_timeout = '{PATIENCE_FOR_A_TOKEN}'".encode())
    try:
        row = _locked(connection, tenant_id, connector_type)
    except psycopg.errors.LockNotAvailable:
        raise ClarityError(
            f"another process has been renewing the token of {connector_type} for {PATIENCE_FOR_A_TOKEN}: run again"
        ) from None
    if row is None:
        raise _no_such_connector(connector_type)
    connector_id, envelope = row
    return OpenConnector(
        connector_id, connector_type, sealing.unseal(envelope, tenant_id=tenant_id, connector_id=connector_id)
    )


def _store(
    connection: psycopg.Connection, tenant_id: str, present: OpenConnector, secrets: Mapping[str, str]
) -> dict[str, Any]:
    config = {**present.config, **secrets}
    if config == present.config:
        return config
    envelope = sealing.seal(config, tenant_id=tenant_id, connector_id=present.id)
    connection.execute(
        "update control.connectors set config = %s where tenant_id = %s and id = %s",
        [_stored(envelope), tenant_id, present.id],
    )
    audit.record(
        connection,
        tenant_id=tenant_id,
        actor=RUN,
        action="connector.token_rotated",
        resource="connector",
        resource_id=present.id,
        after={"type": present.type, "keys": sorted(secrets), "key": sealing.key_id(envelope)},
    )
    return config


# ── keys ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def key_use(connection: psycopg.Connection, tenant_id: str) -> dict[str, int]:
    """How many of the tenant's connectors are sealed with which key."""
    rows = connection.execute(
        "select config ->> 'sealed' from control.connectors where tenant_id = %s", [tenant_id]
    ).fetchall()
    ids = [sealing.key_id(row[0]) for row in rows]
    return {key_id: ids.count(key_id) for key_id in sorted(set(ids))}


def key_first_used(connection: psycopg.Connection, tenant_id: str) -> dict[str, datetime]:
    """When each key first sealed something of this tenant's, as the trail tells it: the age of the keys in use."""
    rows = connection.execute(
        "select changes -> 'after' ->> 'key', min(created_at) from control.audit_log"
        " where tenant_id = %s and resource = 'connector' and changes -> 'after' ->> 'key' is not null group by 1",
        [tenant_id],
    ).fetchall()
    return dict(rows)


def reseal(connection: psycopg.Connection, tenant_id: str, newest: str, *, actor: str) -> tuple[int, list[str]]:
    """Seal with the newest key what another one has sealed. Returns how many, and what does not open with why.

    Wants an autocommitting connection: each connector is a short transaction of its own, so that a kill undoes one at
    most. A row that changed after it was read is left to whoever changed it and looked at again.
    """
    resealed, failures = 0, dict[str, str]()
    while rows := connection.execute(
        "select id, type, config ->> 'sealed' from control.connectors"
        " where tenant_id = %s and split_part(config ->> 'sealed', '.', 2) <> %s and id <> all(%s) order by id",
        [tenant_id, newest, list(failures)],
    ).fetchall():
        for connector_id, connector_type, envelope in rows:
            try:
                config = sealing.unseal(envelope, tenant_id=tenant_id, connector_id=connector_id)
            except sealing.Unopenable as error:
                failures[connector_id] = f"{connector_type}: {error}"
                continue
            resealed += _replace(connection, tenant_id, connector_id, envelope, config, actor)
    return resealed, list(failures.values())


def _replace(
    connection: psycopg.Connection, tenant_id: str, connector_id: str, envelope: str, config: dict[str, Any], actor: str
) -> bool:
    """Put a new envelope in the place of this one. False if it is there no more."""
    new = sealing.seal(config, tenant_id=tenant_id, connector_id=connector_id)
    with connection.transaction():
        changed = connection.execute(
            "update control.connectors set config = %s where tenant_id = %s and id = %s and config ->> 'sealed' = %s",
            [_stored(new), tenant_id, connector_id, envelope],
        ).rowcount
        if changed:
            audit.record(
                connection,
                tenant_id=tenant_id,
                actor=actor,
                action="connector.reseal",
                resource="connector",
                resource_id=connector_id,
                before={"key": sealing.key_id(envelope)},
                after={"key": sealing.key_id(new)},
            )
    return bool(changed)


def _locked(connection: psycopg.Connection, tenant_id: str, connector_type: str) -> tuple[str, str | None] | None:
    row = connection.execute(
        "select id, config ->> 'sealed' from control.connectors where tenant_id = %s and type = %s for update",
        [tenant_id, connector_type],
    ).fetchone()
    return (str(row[0]), row[1]) if row else None


def _made(connection: psycopg.Connection, tenant_id: str, connector_type: str) -> tuple[str, str | None]:
    """The connector's row, locked: ours, or that of somebody who was quicker by a moment."""
    made = connection.execute(
        "insert into control.connectors (id, tenant_id, type, name) values (%s, %s, %s, %s) on conflict do nothing"
        " returning id",
        [str(uuid.uuid4()), tenant_id, connector_type, connector_type],
    ).fetchone()
    if made:
        _go_on_counting(connection, tenant_id, str(made[0]), connector_type)
    found = _locked(connection, tenant_id, connector_type)
    if found is None:
        raise ClarityError(f"the {connector_type} connector was removed a moment ago; run the command again")
    return found


def _known_config(tenant_id: str, connector_id: str, envelope: str | None) -> dict[str, Any] | None:
    try:
        return sealing.unseal(envelope, tenant_id=tenant_id, connector_id=connector_id)
    except sealing.Unopenable:
        # to add the connector again is the way out, so it must not be asked what it held
        return None


def _go_on_counting(connection: psycopg.Connection, tenant_id: str, connector_id: str, connector_type: str) -> None:
    """A connector that was removed and comes back numbers its versions from where readers have read to."""
    for table in raw_tables(connection, connector_type):
        connection.execute(
            sql.SQL(
                "insert into control.stream_states (tenant_id, connector_id, connector, stream, last_seq)"
                " select %(tenant)s, %(connector)s, %(type)s, %(stream)s, seq from ("
                "select greatest((select max(seq) from {raw} where tenant_id = %(tenant)s), (select max(upto)"
                " from control.watermarks where tenant_id = %(tenant)s and stream = %(table)s)) as seq"
                ") as read where seq is not null"
            ).format(raw=sql.Identifier("raw", table)),
            {
                "tenant": tenant_id,
                "connector": connector_id,
                "type": connector_type,
                "stream": table.removeprefix(f"{connector_type}__"),
                "table": table,
            },
        )


def _stored(envelope: str) -> Jsonb:
    return Jsonb({"sealed": envelope})


def _no_such_connector(connector_type: str) -> MisuseError:
    return MisuseError(f"this tenant has no {connector_type[:40]} connector: `clarity connector add` makes one")
