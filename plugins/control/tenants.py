"""Tenants come into being, whole or not at all."""

import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo

import psycopg
from psycopg.types.json import Jsonb

from control import access, audit, quality
from warehouse import database, private, roles
from warehouse.errors import MisuseError

# a slug becomes part of a DAG id, of file names and of task ids
SLUG = re.compile(r"[a-z][a-z0-9_]{1,39}")
MAXIMUM_NAME = 200


@dataclass(frozen=True)
class Defaults:
    """What a new tenant starts with: a configuration per kind of score, and a template of buying roles."""

    scoring: Mapping[str, Mapping[str, Any]]
    role_template: Mapping[str, Any]


def create(
    name: str,
    slug: str,
    *,
    defaults: Defaults,
    actor: str,
    timezone: str = "UTC",
    clerk_org_id: str | None = None,
    tenant_id: str | None = None,
) -> str:
    """Make a tenant with its logins and default configurations. Returns its id."""
    access.require_system(actor, "tenant.create")
    validate(name, slug, timezone)
    tenant_id = tenant_id or str(uuid.uuid4())
    with database.registrar_session() as connection:
        try:
            connection.execute(
                "insert into control.tenants (id, clerk_org_id, name, slug, settings) values (%s, %s, %s, %s, %s)",
                [tenant_id, clerk_org_id or f"local:{slug}", name, slug, Jsonb({"timezone": timezone})],
            )
        except psycopg.errors.UniqueViolation as violation:
            by_organisation = clerk_org_id and "clerk_org_id" in str(violation.diag.constraint_name)
            taken = "Clerk organisation" if by_organisation else "slug"
            raise MisuseError(f"there is a tenant with this {taken} already: `clarity tenant list`") from None
        roles.create_tenant_logins(connection, tenant_id)
        for type_, config in defaults.scoring.items():
            connection.execute(
                "insert into control.scoring_configs (id, tenant_id, type, config) values (%s, %s, %s, %s)",
                [str(uuid.uuid4()), tenant_id, type_, Jsonb(config)],
            )
            connection.execute(
                "insert into control.scoring_config_versions (tenant_id, type, version, config, created_by)"
                " values (%s, %s, 1, %s, %s)",
                [tenant_id, type_, Jsonb(config), actor],
            )
        connection.execute(
            "insert into control.role_templates (id, tenant_id, name, roles, is_default) values (%s, %s, %s, %s, true)",
            [str(uuid.uuid4()), tenant_id, defaults.role_template["name"], Jsonb(defaults.role_template["roles"])],
        )
        audit.record(
            connection,
            tenant_id=tenant_id,
            actor=actor,
            action="tenant.create",
            resource="tenant",
            resource_id=tenant_id,
            after={"name": name, "slug": slug, "timezone": timezone},
        )
    return tenant_id


def set_paused(tenant_id: str, paused: bool, *, actor: str) -> bool:
    """Pause or resume a tenant's runs. False if that is how it was."""
    access.require(tenant_id, actor, "tenant.pause" if paused else "tenant.resume")
    with database.control_session(tenant_id) as connection:
        changed = connection.execute(
            "update control.tenants set paused_at = case when %s then now() end"
            " where id = %s and (paused_at is not null) <> %s",
            [paused, tenant_id, paused],
        ).rowcount
        if changed:
            audit.record(
                connection,
                tenant_id=tenant_id,
                actor=actor,
                action="tenant.pause" if paused else "tenant.resume",
                resource="tenant",
                resource_id=tenant_id,
            )
    return bool(changed)


def delete(tenant_id: str, *, actor: str) -> None:
    """Remove a tenant with everything that is theirs. The audit trail stays, and says so."""
    access.require(tenant_id, actor, "tenant.delete")
    private.drop(*private.of_tenant(tenant_id))
    with database.registrar_session() as connection:
        for (slug,) in connection.execute("select slug from control.tenants where id = %s", [tenant_id]):
            quality.forget_pages(slug)
        audit.record(
            connection,
            tenant_id=tenant_id,
            actor=actor,
            action="tenant.delete",
            resource="tenant",
            resource_id=tenant_id,
        )
        remove(connection, tenant_id)


def remove(connection: psycopg.Connection, tenant_id: str) -> None:
    """The tenant's row, all that hangs on it, and its logins. Runs as the registrar."""
    logins = connection.execute("select login from control.logins where tenant_id = %s", [tenant_id]).fetchall()
    connection.execute("delete from control.tenants where id = %s", [tenant_id])
    for (login,) in logins:
        roles.drop_login(connection, login)


def validate(name: str, slug: str, timezone: str) -> None:
    """Raise unless a tenant may be called so."""
    if not SLUG.fullmatch(slug):
        raise MisuseError(
            f"{slug[:60]!r} can't be a slug: 2 to 40 characters, lower-case letters, digits and _, a letter first"
        )
    if not name.strip() or len(name) > MAXIMUM_NAME or not name.isprintable():
        raise MisuseError(f"a tenant's name has 1 to {MAXIMUM_NAME} printable characters")
    try:
        ZoneInfo(timezone)
    except (KeyError, ValueError, OSError):
        raise MisuseError(f"{timezone[:60]!r} is not a time zone; write one like Europe/Berlin") from None
