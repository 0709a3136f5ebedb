"""Role templates: who belongs in a buying group, and how much each role counts. One of a tenant's is the default."""

import uuid
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import psycopg
from psycopg.types.json import Jsonb
from pydantic import Field, field_validator

from control import access, audit
from control.content import Content, Name, read, shown
from control.versions import Change, History, Version, one_at_a_time
from warehouse import database
from warehouse.errors import MisuseError

BuyingRole = Literal[
    "champion", "economic_buyer", "technical_evaluator", "end_user", "legal_procurement", "coach", "blocker"
]

_history = History("role_template_versions", ["template_id"])


class Role(Content):
    """`required` roles count towards a group's completeness, by their weight."""

    role: BuyingRole
    required: bool
    weight: Annotated[float, Field(gt=0, le=1000, allow_inf_nan=False)]


class Template(Content):
    """Without a word about is_default it stays what it was, and a new template is none."""

    name: Name
    solution_tag: Name | None = None
    roles: Annotated[list[Role], Field(min_length=1)]
    is_default: bool | None = None

    @field_validator("roles")
    @classmethod
    def _each_once(cls, roles: list[Role]) -> list[Role]:
        names = [role.role for role in roles]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"{name} is listed twice")
        return roles


def show(tenant_id: str, *, actor: str) -> list[dict[str, Any]]:
    """All templates as `put` reads them, the default first."""
    access.require(tenant_id, actor, "template.show")
    with database.control_session(tenant_id) as connection:
        return sorted(stored(connection, tenant_id).values(), key=lambda template: not template["is_default"])


def versions(tenant_id: str, name: str, *, actor: str) -> list[Version]:
    """All versions of one template, oldest first; none while nobody has touched it."""
    access.require(tenant_id, actor, "template.show")
    with database.control_session(tenant_id) as connection:
        return _history.versions(connection, tenant_id, _id(stored(connection, tenant_id), name))


def put(tenant_id: str, given: Any, *, actor: str) -> Change:
    """Check a template and put it in force; its name says which one it is, or that it is new."""
    access.require(tenant_id, actor, "template.set")
    template = read(Template, given).model_dump(mode="json")
    with database.control_session(tenant_id) as connection:
        return _put(connection, tenant_id, template, actor, "template.set")


def rollback(tenant_id: str, name: str, version: int, *, actor: str) -> Change:
    """Put an old version in force, as a new one. Which template is the default stays as it is."""
    access.require(tenant_id, actor, "template.set")
    with database.control_session(tenant_id) as connection:
        template_id = _id(stored(connection, tenant_id), name)
        old = _history.content_of(connection, tenant_id, template_id, version=version)
        template = read(Template, {**old, "is_default": None}).model_dump(mode="json")
        return _put(connection, tenant_id, template, actor, "template.rollback")


def stored(connection: psycopg.Connection, tenant_id: str) -> dict[str, dict[str, Any]]:
    """Every template by its id."""
    rows = connection.execute(
        "select id, name, solution_tag, roles, is_default from control.role_templates where tenant_id = %s"
        " order by created_at, id",
        [tenant_id],
    ).fetchall()
    return {
        template_id: {"name": name, "solution_tag": tag, "roles": roles, "is_default": is_default}
        for template_id, name, tag, roles, is_default in rows
    }


def _id(templates: Mapping[str, Mapping[str, Any]], name: str) -> str:
    for template_id, template in templates.items():
        if template["name"] == name:
            return template_id
    known = ", ".join(template["name"] for template in templates.values())
    raise MisuseError(f"there is no template {shown(name)}; there are {known}")


def _put(connection: psycopg.Connection, tenant_id: str, template: dict[str, Any], actor: str, action: str) -> Change:
    one_at_a_time(connection, tenant_id)
    templates = stored(connection, tenant_id)
    found = next((key for key, known in templates.items() if known["name"] == template["name"]), None)
    was_default = found is not None and templates[found]["is_default"]
    if template["is_default"] is None:
        template = {**template, "is_default": was_default}
    if was_default and not template["is_default"]:
        raise MisuseError("is_default: a tenant has one default template; set another one with is_default true instead")
    others = {key: known for key, known in templates.items() if key != found}
    for other in others.values():
        if template["solution_tag"] is not None and other["solution_tag"] == template["solution_tag"]:
            raise MisuseError(f"solution_tag: {template['solution_tag']} belongs to the template {other['name']}")
    if template["is_default"] and not was_default:
        for key, other in others.items():
            if other["is_default"]:
                _store(connection, tenant_id, key, other, {**other, "is_default": False}, actor, action)
    return _store(
        connection, tenant_id, found or str(uuid.uuid4()), templates.get(found or ""), template, actor, action
    )


def _store(
    connection: psycopg.Connection,
    tenant_id: str,
    template_id: str,
    before: dict[str, Any] | None,
    after: dict[str, Any],
    actor: str,
    action: str,
) -> Change:
    if before is None or before != after:
        connection.execute(
            "insert into control.role_templates (id, tenant_id, name, solution_tag, roles, is_default)"
            " values (%s, %s, %s, %s, %s, %s) on conflict (id) do update set solution_tag = excluded.solution_tag,"
            " roles = excluded.roles, is_default = excluded.is_default",
            [template_id, tenant_id, after["name"], after["solution_tag"], Jsonb(after["roles"]), after["is_default"]],
        )
    change = _history.note(connection, tenant_id, template_id, before=before, after=after, actor=actor)
    if change.changed:
        audit.record(
            connection,
            tenant_id=tenant_id,
            actor=actor,
            action=action,
            resource="role_template",
            resource_id=template_id,
            before=before,
            after=after,
        )
    return change
