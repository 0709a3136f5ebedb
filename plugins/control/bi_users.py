"""Logins for BI tools: a tenant's marts and nothing else. The password is shown once and kept nowhere."""

import secrets

import psycopg

from control import audit
from warehouse import database, roles
from warehouse.database import Login


def add(tenant_id: str, *, actor: str, member: str | None = None) -> Login:
    login = Login("b_" + secrets.token_hex(10), secrets.token_urlsafe(24))
    with database.registrar_session() as connection:
        roles.create_login(connection, login, roles.BI)
        connection.execute(
            "insert into control.logins (login, tenant_id, kind, member_id) values (%s, %s, 'bi', %s)",
            [login.name, tenant_id, member],
        )
        _record(connection, tenant_id, actor, "bi_user.add", login.name)
    return login


def names(tenant_id: str) -> list[str]:
    with database.registrar_session() as connection:
        rows = connection.execute(
            "select login from control.logins where tenant_id = %s and kind = 'bi' order by created_at", [tenant_id]
        ).fetchall()
    return [str(row[0]) for row in rows]


def revoke(tenant_id: str, name: str, *, actor: str) -> bool:
    """Remove the login; False if the tenant has none of that name."""
    with database.registrar_session() as connection:
        found = connection.execute(
            "delete from control.logins where login = %s and tenant_id = %s and kind = 'bi'", [name, tenant_id]
        ).rowcount
        if found:
            roles.drop_login(connection, name)
            _record(connection, tenant_id, actor, "bi_user.revoke", name)
    return bool(found)


def _record(connection: psycopg.Connection, tenant_id: str, actor: str, action: str, name: str) -> None:
    audit.record(connection, tenant_id=tenant_id, actor=actor, action=action, resource="bi_user", resource_id=name)
