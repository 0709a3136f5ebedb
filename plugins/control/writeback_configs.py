"""Which scores go into which fields of the CRM. Nothing is written until somebody enables it."""

import uuid
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import psycopg
from psycopg.types.json import Jsonb
from pydantic import ConfigDict, Field, model_validator
from pydantic.alias_generators import to_camel

from control import access, audit
from control.content import Content, Name, read, shown
from control.mappings import connector_id
from control.versions import Change, History, Version, one_at_a_time
from warehouse import database
from warehouse.errors import MisuseError

ENTITIES = ("accounts", "people", "opportunities")
SCORES = ("fitScore", "engagementScore", "combinedScore", "tier")

# where a human changed what we wrote: ours is written again, theirs stays, ask waits for a person
Policy = Literal["ours", "theirs", "ask"]
DEFAULT_POLICY = "ask"

_history = History("writeback_config_versions", ["connector_id", "entity_type"])


class FieldPair(Content):
    model_config = ConfigDict(alias_generator=to_camel)

    canonical_field: Literal["fitScore", "engagementScore", "combinedScore", "tier", "scoredAt", "because"]
    target_field: Name


class WritebackFile(Content):
    """A target without a policy of its own has the one that overwrites nobody unasked."""

    field_map: Annotated[list[FieldPair], Field(min_length=1)]
    policies: dict[str, Policy] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _fits_together(self) -> "WritebackFile":
        targets = [pair.target_field for pair in self.field_map]
        for target in targets:
            if targets.count(target) > 1:
                raise ValueError(f"field_map: two fields are written to {target}; keep one")
        if not any(pair.canonical_field in SCORES for pair in self.field_map):
            raise ValueError(f"field_map: scoredAt and because only ride along; map one of {', '.join(SCORES)} too")
        for target in self.policies:
            if target not in targets:
                raise ValueError(f"policies: {shown(target)} is no targetField of field_map")
        return self


def show(tenant_id: str, *, actor: str) -> list[dict[str, Any]]:
    """Every configuration of the tenant: connector, entity, whether it is enabled, fields and policies."""
    access.require(tenant_id, actor, "writeback_config.show")
    with database.control_session(tenant_id) as connection:
        rows = connection.execute(
            "select c.type, w.entity_type, w.enabled, w.field_map, w.policies from control.writeback_configs as w"
            " join control.connectors as c on c.tenant_id = w.tenant_id and c.id = w.connector_id"
            " where w.tenant_id = %s order by 1, 2",
            [tenant_id],
        ).fetchall()
    names = ("connector", "entity", "enabled", "field_map", "policies")
    return [dict(zip(names, row, strict=True)) for row in rows]


def versions(tenant_id: str, connector_type: str, entity: str, *, actor: str) -> list[Version]:
    access.require(tenant_id, actor, "writeback_config.show")
    with database.control_session(tenant_id) as connection:
        return _history.versions(connection, tenant_id, *_key(connection, tenant_id, connector_type, entity))


def put(tenant_id: str, connector_type: str, entity: str, given: Any, *, actor: str) -> Change:
    """Check a configuration, `{"field_map": [...], "policies": {...}}`, and keep it; whether it is on stays."""
    access.require(tenant_id, actor, "writeback_config.set")
    content = _checked(given)
    with database.control_session(tenant_id) as connection:
        return _put(connection, tenant_id, connector_type, entity, content, actor, "writeback_config.set")


def rollback(tenant_id: str, connector_type: str, entity: str, version: int, *, actor: str) -> Change:
    """Put an old version in force, as a new one; whether it is on stays."""
    access.require(tenant_id, actor, "writeback_config.set")
    with database.control_session(tenant_id) as connection:
        key = _key(connection, tenant_id, connector_type, entity)
        content = _checked(_history.content_of(connection, tenant_id, *key, version=version))
        return _put(connection, tenant_id, connector_type, entity, content, actor, "writeback_config.rollback")


def enable(tenant_id: str, connector_type: str, entity: str, *, writable: bool, actor: str) -> bool:
    """Switch it on; False if it was. `writable`: whether this type of connector can be written to at all."""
    access.require(tenant_id, actor, "writeback_config.enable")
    if not writable:
        raise MisuseError(f"a connector {shown(connector_type)} can't be written to, so there is nothing to enable")
    return _switch(tenant_id, connector_type, entity, on=True, actor=actor)


def disable(tenant_id: str, connector_type: str, entity: str, *, actor: str) -> bool:
    """Switch it off; False if it was."""
    access.require(tenant_id, actor, "writeback_config.disable")
    return _switch(tenant_id, connector_type, entity, on=False, actor=actor)


def _checked(given: Any) -> dict[str, Any]:
    content = read(WritebackFile, given).model_dump(mode="json", by_alias=True)
    targets = [pair["targetField"] for pair in content["field_map"]]
    return {**content, "policies": {target: content["policies"].get(target, DEFAULT_POLICY) for target in targets}}


def _key(connection: psycopg.Connection, tenant_id: str, connector_type: str, entity: str) -> tuple[str, str]:
    if entity not in ENTITIES:
        raise MisuseError(f"scores of {shown(entity)} are not written back; there are {', '.join(ENTITIES)}")
    return connector_id(connection, tenant_id, connector_type), entity


def _stored(
    connection: psycopg.Connection, tenant_id: str, key: tuple[str, str]
) -> tuple[Mapping[str, Any], bool] | None:
    row = connection.execute(
        "select field_map, policies, enabled from control.writeback_configs"
        " where tenant_id = %s and connector_id = %s and entity_type = %s",
        [tenant_id, *key],
    ).fetchone()
    return ({"field_map": row[0], "policies": row[1]}, bool(row[2])) if row else None


def _put(
    connection: psycopg.Connection,
    tenant_id: str,
    connector_type: str,
    entity: str,
    content: dict[str, Any],
    actor: str,
    action: str,
) -> Change:
    one_at_a_time(connection, tenant_id)
    key = _key(connection, tenant_id, connector_type, entity)
    stored = _stored(connection, tenant_id, key)
    before = stored[0] if stored else None
    change = _history.note(connection, tenant_id, *key, before=before, after=content, actor=actor)
    if change.changed:
        connection.execute(
            "insert into control.writeback_configs (id, tenant_id, connector_id, entity_type, field_map, policies)"
            " values (%s, %s, %s, %s, %s, %s) on conflict (tenant_id, connector_id, entity_type)"
            " do update set field_map = excluded.field_map, policies = excluded.policies",
            [str(uuid.uuid4()), tenant_id, *key, Jsonb(content["field_map"]), Jsonb(content["policies"])],
        )
        _audit(connection, tenant_id, connector_type, entity, actor, action, before, content)
    return change


def _switch(tenant_id: str, connector_type: str, entity: str, *, on: bool, actor: str) -> bool:
    with database.control_session(tenant_id) as connection:
        one_at_a_time(connection, tenant_id)
        key = _key(connection, tenant_id, connector_type, entity)
        stored = _stored(connection, tenant_id, key)
        if stored is None:
            raise MisuseError(
                f"nothing says what to write for {connector_type} {entity}:"
                f" clarity writeback-config set TENANT {connector_type} {entity} FILE"
            )
        was_on = stored[1]
        if was_on != on:
            connection.execute(
                "update control.writeback_configs set enabled = %s"
                " where tenant_id = %s and connector_id = %s and entity_type = %s",
                [on, tenant_id, *key],
            )
            action = f"writeback_config.{'enable' if on else 'disable'}"
            _audit(connection, tenant_id, connector_type, entity, actor, action, {"enabled": was_on}, {"enabled": on})
    return was_on != on


def _audit(
    connection: psycopg.Connection,
    tenant_id: str,
    connector_type: str,
    entity: str,
    actor: str,
    action: str,
    before: Any,
    after: Any,
) -> None:
    audit.record(
        connection,
        tenant_id=tenant_id,
        actor=actor,
        action=action,
        resource="writeback_config",
        resource_id=f"{connector_type}.{entity}",
        before=before,
        after=after,
    )
