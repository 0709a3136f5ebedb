"""A tenant's scoring configurations: versioned, never edited in place."""

import uuid
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from control import audit

TYPES = ("fit", "engagement", "combined")


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


def put(connection: psycopg.Connection, *, tenant_id: str, type_: str, config: dict[str, Any], actor: str) -> int:
    """Make `config` (validated by the caller) the one in force, as a new version. Returns the version in force."""
    row = connection.execute(
        "select config, version from control.scoring_configs where tenant_id = %s and type = %s for update",
        [tenant_id, type_],
    ).fetchone()
    before, version = row if row else (None, 0)
    if before == config:
        return int(version)
    connection.execute(
        "insert into control.scoring_configs (id, tenant_id, type, config, version) values (%s, %s, %s, %s, %s)"
        " on conflict (tenant_id, type) do update set config = excluded.config, version = excluded.version",
        [str(uuid.uuid4()), tenant_id, type_, Jsonb(config), version + 1],
    )
    connection.execute(
        "insert into control.scoring_config_versions (tenant_id, type, version, config, created_by)"
        " values (%s, %s, %s, %s, %s)",
        [tenant_id, type_, version + 1, Jsonb(config), actor],
    )
    audit.record(
        connection,
        tenant_id=tenant_id,
        actor=actor,
        action="config.set",
        resource="scoring_config",
        resource_id=type_,
        before=before,
        after=config,
    )
    return int(version) + 1
