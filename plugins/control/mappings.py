"""Which of a source's fields fill which of our columns, and how.

A mapping says everything about one entity of one connector: a column that it leaves out stays empty. It takes effect
with the transform that compiles it.
"""

import csv
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, Literal

import psycopg
from psycopg.types.json import Jsonb
from pydantic import ConfigDict, Field, field_validator, model_validator
from pydantic.alias_generators import to_camel

from control import access, audit, expressions
from control.content import Content, printable, read, shown
from control.expressions import T, Tree
from control.versions import Change, History, Version, one_at_a_time
from warehouse import database
from warehouse.errors import MisuseError
from warehouse.home import project_root

# what a mapping may fill, and what nothing can be kept without
COLUMNS: Mapping[str, Sequence[str]] = {
    "accounts": ("name", "domain", "industry", "employee_count", "annual_revenue"),
    "people": ("email", "first_name", "last_name", "title", "phone"),
    "opportunities": ("name", "stage", "amount", "close_date"),
    "activities": ("type", "channel", "occurred_at"),
}
NEEDED: Mapping[str, Sequence[str]] = {
    "accounts": ("name",), "people": (), "opportunities": ("name",), "activities": ("type", "occurred_at"),
}  # fmt: skip

_history = History("mapping_versions", ["connector_id", "entity_type"])


class Entry(Content):
    """One column and what fills it. `required`: a record that gives nothing for it is set aside."""

    model_config = ConfigDict(alias_generator=to_camel)

    source_field: Annotated[str, Field(min_length=1, max_length=expressions.LONGEST_FIELD_NAME)]
    target_field: str
    transform: Literal["none", "lowercase", "uppercase", "trim", "custom"] = "none"
    custom_transform: str | None = None
    required: bool = False

    @field_validator("custom_transform")
    @classmethod
    def _is_an_expression(cls, source: str | None) -> str | None:
        if source is not None:
            expressions.parse(source)
        return source

    @model_validator(mode="after")
    def _says_how(self) -> "Entry":
        if (self.transform == "custom") != (self.custom_transform is not None):
            raise ValueError("customTransform holds an expression when transform is custom, and only then")
        return self

    @property
    def tree(self) -> Tree:
        """What fills the column, whichever way it was said."""
        field = expressions.Field(self.source_field)
        match self.transform:
            case "custom":
                return expressions.parse(self.custom_transform or "")
            case "none":
                return field
            case "lowercase":
                return expressions.Call("lower", (field,), T)
            case "uppercase":
                return expressions.Call("upper", (field,), T)
            case "trim":
                return expressions.Call("trim", (field,), T)


class MappingFile(Content):
    mappings: list[Entry]


@dataclass(frozen=True)
class InForce:
    """The mapping of one entity of one connector. `version` is 0 while nobody has touched it."""

    mappings: list[dict[str, Any]]
    is_default: bool
    version: int


def show(tenant_id: str, connector_type: str, entity: str, *, actor: str) -> InForce:
    access.require(tenant_id, actor, "mapping.show")
    with database.control_session(tenant_id) as connection:
        return in_force(connection, tenant_id, connector_type, entity)


def versions(tenant_id: str, connector_type: str, entity: str, *, actor: str) -> list[Version]:
    """All versions, oldest first; none while nobody has touched the default."""
    access.require(tenant_id, actor, "mapping.show")
    with database.control_session(tenant_id) as connection:
        return _history.versions(connection, tenant_id, *_key(connection, tenant_id, connector_type, entity))


def put(tenant_id: str, connector_type: str, entity: str, given: Any, *, actor: str) -> Change:
    """Check a mapping, `{"mappings": [...]}`, and put it in force."""
    access.require(tenant_id, actor, "mapping.set")
    content = {"mappings": _checked(given, known_entity(entity)), "is_default": False}
    with database.control_session(tenant_id) as connection:
        return _put(connection, tenant_id, connector_type, entity, content, actor, "mapping.set")


def reset(tenant_id: str, connector_type: str, entity: str, *, actor: str) -> Change:
    """Put the default back in force."""
    access.require(tenant_id, actor, "mapping.reset")
    content = _default(connector_type, known_entity(entity))
    if content is None:
        raise MisuseError(_no_default(connector_type, entity))
    with database.control_session(tenant_id) as connection:
        return _put(connection, tenant_id, connector_type, entity, content, actor, "mapping.reset")


def rollback(tenant_id: str, connector_type: str, entity: str, version: int, *, actor: str) -> Change:
    """Put an old version's content in force, as a new version, if it still passes the checks."""
    access.require(tenant_id, actor, "mapping.set")
    with database.control_session(tenant_id) as connection:
        key = _key(connection, tenant_id, connector_type, entity)
        old = _history.content_of(connection, tenant_id, *key, version=version)
        content = {**old, "mappings": _checked({"mappings": old["mappings"]}, entity)}
        return _put(connection, tenant_id, connector_type, entity, content, actor, "mapping.rollback")


def in_force(connection: psycopg.Connection, tenant_id: str, connector_type: str, entity: str) -> InForce:
    """The tenant's own mapping, or the default."""
    key = _key(connection, tenant_id, connector_type, entity)
    known = _history.versions(connection, tenant_id, *key)
    content = _content(connection, tenant_id, connector_type, *key)
    if content is None:
        raise MisuseError(_no_default(connector_type, entity))
    return InForce(content["mappings"], content["is_default"], known[-1].version if known else 0)


def _content(
    connection: psycopg.Connection, tenant_id: str, connector_type: str, key: str, entity: str
) -> dict[str, Any] | None:
    """What is in force: the stored mapping, else the default, else nothing."""
    row = connection.execute(
        "select mappings, is_default from control.field_mappings"
        " where tenant_id = %s and connector_id = %s and entity_type = %s",
        [tenant_id, key, entity],
    ).fetchone()
    if row:
        return {"mappings": row[0], "is_default": row[1]}
    return _default(connector_type, entity)


def _default(connector_type: str, entity: str) -> dict[str, Any] | None:
    """What holds for a tenant that has not said otherwise; None for a connector without one."""
    entries = _defaults().get((connector_type, entity))
    return None if entries is None else {"mappings": _checked({"mappings": entries}, entity), "is_default": True}


@cache
def _defaults() -> Mapping[tuple[str, str], list[dict[str, Any]]]:
    """By connector and entity, out of the seed that dbt has them from too."""
    defaults: dict[tuple[str, str], list[dict[str, Any]]] = {}
    with (project_root() / "dbt" / "seeds" / "default_mappings.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            entry = {
                "sourceField": row["source_field"],
                "targetField": row["target_field"],
                "transform": row["transform"],
                "customTransform": row["custom_transform"] or None,
                "required": row["required"] == "true",
            }
            defaults.setdefault((row["connector"], row["entity"]), []).append(entry)
    return defaults


def known_entity(entity: str) -> str:
    if entity not in COLUMNS:
        raise MisuseError(f"there is no entity {shown(entity)} to map; there are {', '.join(COLUMNS)}")
    return entity


def connector_id(connection: psycopg.Connection, tenant_id: str, connector_type: str) -> str:
    row = connection.execute(
        "select id from control.connectors where tenant_id = %s and type = %s", [tenant_id, printable(connector_type)]
    ).fetchone()
    if row is None:
        raise MisuseError(
            f"this tenant has no connector {shown(connector_type)}: clarity connector list shows those it has"
        )
    return str(row[0])


def _no_default(connector_type: str, entity: str) -> str:
    return (
        f"a connector {shown(connector_type)} has no default mapping;"
        f" give it one: clarity mapping set TENANT {connector_type[:40]} {entity} FILE"
    )


def _key(connection: psycopg.Connection, tenant_id: str, connector_type: str, entity: str) -> tuple[str, str]:
    return connector_id(connection, tenant_id, connector_type), known_entity(entity)


def _checked(given: Any, entity: str) -> list[dict[str, Any]]:
    """The entries as they are stored."""
    entries = read(MappingFile, given).mappings
    columns = [entry.target_field for entry in entries]
    for index, column in enumerate(columns):
        if column not in COLUMNS[entity]:
            raise MisuseError(
                f"mappings.{index}.targetField: {entity} have no column {shown(column)} that a mapping may fill;"
                f" there are {', '.join(COLUMNS[entity])}"
            )
        if column in columns[:index]:
            raise MisuseError(f"mappings.{index}.targetField: {column} is filled twice; keep one of the entries")
    if missing := [column for column in NEEDED[entity] if column not in columns]:
        raise MisuseError(f"mappings: nothing fills {', '.join(missing)}, without which no {entity} can be kept")
    return [entry.model_dump(mode="json", by_alias=True, exclude_none=True) for entry in entries]


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
    before = _content(connection, tenant_id, connector_type, *key)
    change = _history.note(connection, tenant_id, *key, before=before, after=content, actor=actor)
    if change.changed:
        connection.execute(
            "insert into control.field_mappings (id, tenant_id, connector_id, entity_type, mappings, is_default)"
            " values (%s, %s, %s, %s, %s, %s) on conflict (tenant_id, connector_id, entity_type)"
            " do update set mappings = excluded.mappings, is_default = excluded.is_default",
            [str(uuid.uuid4()), tenant_id, *key, Jsonb(content["mappings"]), content["is_default"]],
        )
        audit.record(
            connection,
            tenant_id=tenant_id,
            actor=actor,
            action=action,
            resource="field_mapping",
            resource_id=f"{connector_type}.{entity}",
            before=before,
            after=content,
        )
    return change
