"""Who belongs to a tenant, and as what."""

import uuid
from typing import Any

import psycopg

from control import access, audit, bi_users
from control.access import ROLES
from control.content import LONGEST_NAME, printable, shown
from control.versions import one_at_a_time
from warehouse import database
from warehouse.errors import ClarityError, MisuseError


def all_of(tenant_id: str, *, actor: str) -> list[tuple[Any, ...]]:
    """User, role and since when, of every member."""
    access.require(tenant_id, actor, "member.list")
    with database.control_session(tenant_id) as connection:
        return connection.execute(
            "select user_id, role, created_at from control.members where tenant_id = %s order by created_at, user_id",
            [tenant_id],
        ).fetchall()


def add(tenant_id: str, user: str, role: str, *, actor: str, is_from_clerk: bool = False) -> bool:
    """Make somebody a member, or give a member another role. False if that is how it was.

    `is_from_clerk` says who answers for it: Clerk, or somebody here.
    """
    access.require(tenant_id, actor, "member.add")
    _check(user, role)
    with database.control_session(tenant_id) as connection:
        one_at_a_time(connection, tenant_id)
        before = _role(connection, tenant_id, user)
        if before == "admin" and role != "admin":
            _keep_an_admin(connection, tenant_id, user, actor)
        connection.execute(
            "insert into control.members (id, tenant_id, user_id, role, is_from_clerk) values (%s, %s, %s, %s, %s)"
            " on conflict (tenant_id, user_id) do update"
            " set role = excluded.role, is_from_clerk = excluded.is_from_clerk",
            [str(uuid.uuid4()), tenant_id, user, role, is_from_clerk],
        )
        if before == role:
            return False
        _audit(connection, tenant_id, actor, "member.add", user, before, role)
    return True


def remove(tenant_id: str, user: str, *, actor: str) -> None:
    """Take a member's role away, and their BI logins with it."""
    access.require(tenant_id, actor, "member.remove")
    with database.control_session(tenant_id) as connection:
        one_at_a_time(connection, tenant_id)
        before = _role(connection, tenant_id, printable(user))
        if before is None:
            raise MisuseError(f"{shown(user)} is no member: clarity member list")
        if before == "admin":
            _keep_an_admin(connection, tenant_id, user, actor)
        connection.execute("delete from control.members where tenant_id = %s and user_id = %s", [tenant_id, user])
        # committed on its own and first: if this fails, a member without logins is left, not logins without a member
        bi_users.revoke_all_of(tenant_id, user, actor=actor)
        _audit(connection, tenant_id, actor, "member.remove", user, before, None)


def _check(user: str, role: str) -> None:
    if role not in ROLES:
        raise MisuseError(f"there is no role {shown(role)}; there are {', '.join(ROLES)}")
    if not 1 <= len(user) <= LONGEST_NAME or not user.isprintable() or user != user.strip():
        raise MisuseError(f"a user's name has 1 to {LONGEST_NAME} printable characters, without blanks around them")
    if access.is_system(user):
        raise MisuseError("system:... is whoever works on the platform's own machine, and no member of any tenant")


def _keep_an_admin(connection: psycopg.Connection, tenant_id: str, user: str, actor: str) -> None:
    others = connection.execute(
        "select from control.members where tenant_id = %s and role = 'admin' and user_id <> %s", [tenant_id, user]
    ).rowcount
    if not others and not access.is_system(actor):
        raise ClarityError(f"{shown(user)} is the last admin; make another member admin first: clarity member add")


def _role(connection: psycopg.Connection, tenant_id: str, user: str) -> str | None:
    row = connection.execute(
        "select role from control.members where tenant_id = %s and user_id = %s", [tenant_id, user]
    ).fetchone()
    return str(row[0]) if row else None


def _audit(
    connection: psycopg.Connection,
    tenant_id: str,
    actor: str,
    action: str,
    user: str,
    before: str | None,
    after: str | None,
) -> None:
    audit.record(
        connection,
        tenant_id=tenant_id,
        actor=actor,
        action=action,
        resource="member",
        resource_id=user,
        before={"role": before},
        after={"role": after},
    )
