"""A tenant's scoring configurations: versioned, never edited in place."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from control import access, audit
from control.content import shown
from control.versions import History, Version
from warehouse import database
from warehouse.errors import MisuseError

TYPES = ("fit", "engagement", "combined")

_history = History("scoring_config_versions", ["type"], content="config")


@dataclass(frozen=True)
class ScoringConfigs:
    """The three configurations in force. `score_version` names this bundle: it moves with each of them."""

    configs: dict[str, dict[str, Any]]
    score_version: int


def in_force(connection: psycopg.Connection, tenant_id: str) -> ScoringConfigs:
    rows = connection.execute(
        "select type, config, version from control.scoring_configs where tenant_id = %s and is_active", [tenant_id]
    ).fetchall()
    # versions only grow, so their sum names each state that the bundle was ever in; it starts at 1
    return ScoringConfigs(
        {type_: config for type_, config, _ in rows}, sum(version for *_, version in rows) - len(TYPES) + 1
    )


def show(tenant_id: str, *, actor: str) -> ScoringConfigs:
    access.require(tenant_id, actor, "config.show")
    with database.control_session(tenant_id) as connection:
        return in_force(connection, tenant_id)


def versions(tenant_id: str, type_: str, *, actor: str) -> list[Version]:
    """All versions of one configuration, oldest first; the last one is in force."""
    access.require(tenant_id, actor, "config.show")
    with database.control_session(tenant_id) as connection:
        return _history.versions(connection, tenant_id, known(type_))


def of_version(connection: psycopg.Connection, tenant_id: str, type_: str, version: int) -> dict[str, Any]:
    config: dict[str, Any] = _history.content_of(connection, tenant_id, known(type_), version=version)
    return config


def known(type_: str) -> str:
    if type_ not in TYPES:
        raise MisuseError(f"there is no configuration {shown(type_)}; there are {', '.join(TYPES)}")
    return type_


def put(
    connection: psycopg.Connection,
    *,
    tenant_id: str,
    type_: str,
    config: Mapping[str, Any],
    actor: str,
    action: str = "config.set",
) -> int:
    """Make `config` (validated by the caller) the one in force, as a new version. Returns the version in force."""
    access.require(tenant_id, actor, action)
    row = connection.execute(
        "select config, version from control.scoring_configs where tenant_id = %s and type = %s for update",
        [tenant_id, type_],
    ).fetchone()
    before, version = row if row else (None, 0)
    if before == config:
        return int(version)
    change = _history.note(connection, tenant_id, type_, before=before, after=config, actor=actor)
    connection.execute(
        "insert into control.scoring_configs (id, tenant_id, type, config, version) values (%s, %s, %s, %s, %s)"
        " on conflict (tenant_id, type) do update set config = excluded.config, version = excluded.version",
        [str(uuid.uuid4()), tenant_id, type_, Jsonb(config), change.version],
    )
    audit.record(
        connection,
        tenant_id=tenant_id,
        actor=actor,
        action=action,
        resource="scoring_config",
        resource_id=type_,
        before=before,
        after=config,
    )
    return change.version
