"""Logins for BI tools: a tenant's marts and nothing else. The password is shown once and kept nowhere."""

import secrets

import psycopg

from control import access, audit
from control.content import printable, shown
from warehouse import database, roles
from warehouse.database import Login
from warehouse.errors import MisuseError


def add(tenant_id: str, *, actor: str, member: str | None = None) -> Login:
    """Make a login, for a member if one is named: it goes when they go."""
    access.require(tenant_id, actor, "bi_user.add")
    if member is not None and access.role_of(tenant_id, printable(member)) is None:
        raise MisuseError(f"{shown(member)} is no member of this tenant: clarity member add")
    login = Login("b_" + secrets.token_hex(10), secrets.token_urlsafe(24))
    with database.registrar_session() as connection:
        roles.create_login(connection, login, roles.BI)
        connection.execute(
            "insert into control.logins (login, tenant_id, kind, member_id) values (%s, %s, 'bi', %s)",
            [login.name, tenant_id, member],
        )
        _record(connection, tenant_id, actor, "bi_user.add", login.name, member)
    return login


def names(tenant_id: str, *, actor: str) -> list[str]:
    access.require(tenant_id, actor, "bi_user.list")
    with database.registrar_session() as connection:
        rows = connection.execute(
            "select login from control.logins where tenant_id = %s and kind = 'bi' order by created_at", [tenant_id]
        ).fetchall()
    return [str(row[0]) for row in rows]


def revoke(tenant_id: str, name: str, *, actor: str) -> bool:
    """Remove the login; False if the tenant has none of that name."""
    access.require(tenant_id, actor, "bi_user.revoke")
    with database.registrar_session() as connection:
        return _revoke(connection, tenant_id, printable(name), actor)


def revoke_all_of(tenant_id: str, member: str, *, actor: str) -> None:
    """Remove every login that was made for this member."""
    access.require(tenant_id, actor, "bi_user.revoke")
    with database.registrar_session() as connection:
        rows = connection.execute(
            "select login from control.logins where tenant_id = %s and kind = 'bi' and member_id = %s",
            [tenant_id, member],
        ).fetchall()
        for (name,) in rows:
            _revoke(connection, tenant_id, name, actor)


def _revoke(connection: psycopg.Connection, tenant_id: str, name: str, actor: str) -> bool:
    row = connection.execute(
        "delete from control.logins where login = %s and tenant_id = %s and kind = 'bi' returning member_id",
        [name, tenant_id],
    ).fetchone()
    if row is None:
        return False
    roles.drop_login(connection, name)
    _record(connection, tenant_id, actor, "bi_user.revoke", name, row[0])
    return True


def _record(
    connection: psycopg.Connection, tenant_id: str, actor: str, action: str, name: str, member: str | None
) -> None:
    audit.record(
        connection,
        tenant_id=tenant_id,
        actor=actor,
        action=action,
        resource="bi_user",
        resource_id=name,
        after={"member": member},
    )
