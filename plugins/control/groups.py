"""Buying groups: who is in them, who is missing, and the roles that people confirm.

A confirmed role is never overwritten by a run. It counts from the next run on, as does taking it back.
"""

import uuid
from dataclasses import dataclass
from typing import Any, get_args

import psycopg

from control import access, audit, entities
from control.content import shown
from control.templates import BuyingRole
from warehouse import database
from warehouse.errors import MisuseError

ROLES = get_args(BuyingRole)


@dataclass(frozen=True)
class Member:
    id: str
    name: str
    role: str
    confidence: float
    source: str
    is_confirmed: bool
    is_discovered: bool


@dataclass(frozen=True)
class Candidate:
    """Somebody who could take a role that nobody has."""

    role: str
    name: str
    reason: str


@dataclass(frozen=True)
class Group:
    id: str
    name: str
    completeness: float | None
    engaged: float | None
    missing: list[str]
    members: list[Member]
    candidates: list[Candidate]


def show(tenant_id: str, named: str, *, actor: str) -> list[Group]:
    """A buying group by its id, or all groups of an account."""
    access.require(tenant_id, actor, "group.show")
    with database.control_session(tenant_id) as connection:
        rows = connection.execute(
            "select id, name, completeness_score::float8, engaged_completeness::float8, missing_roles,"
            " candidates_for_gaps from scores.buying_groups where tenant_id = %s and id = any(%s)"
            " order by solution_tag nulls first",
            [tenant_id, _groups(connection, tenant_id, named)],
        ).fetchall()
        return [_group(connection, tenant_id, *row) for row in rows]


def confirm(tenant_id: str, group: str, person: str, role: str, *, actor: str) -> bool:
    """Say which role somebody has in a group. False if that was confirmed already."""
    access.require(tenant_id, actor, "group.confirm")
    if role not in ROLES:
        raise MisuseError(f"there is no role {shown(role)}; there are {', '.join(ROLES)}")
    with database.control_session(tenant_id) as connection:
        group_id = _one_group(connection, tenant_id, group)
        found = _member(connection, tenant_id, group_id, person)
        if found is None:
            who = entities.find(connection, tenant_id, "person", person)
            row = connection.execute(
                "insert into scores.buying_group_members (id, tenant_id, buying_group_id, person_id)"
                " values (%s, %s, %s, %s) returning id",
                [str(uuid.uuid4()), tenant_id, group_id, who.id],
            ).fetchone()
            assert row is not None
            member_id, before = str(row[0]), None
        else:
            member_id, before = found
        after = {"role": role, "role_confidence": 1.0, "role_source": "confirmed", "is_confirmed": True}
        if before == after:
            return False
        connection.execute(
            "update scores.buying_group_members set role = %s, role_confidence = 1, role_source = 'confirmed',"
            " is_confirmed = true where tenant_id = %s and id = %s",
            [role, tenant_id, member_id],
        )
        _changed(connection, tenant_id, group_id, member_id, before, after, actor, "group.confirm")
    return True


def withdraw(tenant_id: str, group: str, person: str, *, actor: str) -> bool:
    """Take a confirmation back: from the next run on evidence decides again. False if there was none."""
    access.require(tenant_id, actor, "group.withdraw")
    with database.control_session(tenant_id) as connection:
        group_id = _one_group(connection, tenant_id, group)
        found = _member(connection, tenant_id, group_id, person)
        if found is None or not found[1]["is_confirmed"]:
            return False
        member_id, before = found
        connection.execute(
            "update scores.buying_group_members set is_confirmed = false where tenant_id = %s and id = %s",
            [tenant_id, member_id],
        )
        after = {**before, "is_confirmed": False}
        _changed(connection, tenant_id, group_id, member_id, before, after, actor, "group.withdraw")
    return True


def _changed(
    connection: psycopg.Connection,
    tenant_id: str,
    group_id: str,
    member_id: str,
    before: Any,
    after: Any,
    actor: str,
    action: str,
) -> None:
    # the next run forms the groups of this account anew
    connection.execute(
        "insert into scores.unscored (tenant_id, id) select tenant_id, account_id from scores.buying_groups"
        " where tenant_id = %s and id = %s on conflict do nothing",
        [tenant_id, group_id],
    )
    audit.record(
        connection,
        tenant_id=tenant_id,
        actor=actor,
        action=action,
        resource="buying_group_member",
        resource_id=member_id,
        before=before,
        after=after,
    )


def _groups(connection: psycopg.Connection, tenant_id: str, named: str) -> list[str]:
    rows = connection.execute(
        "select id from scores.buying_groups where tenant_id = %s and id = %s", [tenant_id, named]
    ).fetchall()
    if not rows:
        account = entities.find(connection, tenant_id, "account", named)
        rows = connection.execute(
            "select id from scores.buying_groups where tenant_id = %s and account_id = %s"
            " order by solution_tag nulls first",
            [tenant_id, account.id],
        ).fetchall()
        if not rows:
            raise MisuseError(
                f"{account.name} has no buying group: nobody of it is known, or it has not been scored yet"
            )
    return [group for (group,) in rows]


def _one_group(connection: psycopg.Connection, tenant_id: str, named: str) -> str:
    """By its id, or by the account if that has but one."""
    found = _groups(connection, tenant_id, named)
    if len(found) > 1:
        raise MisuseError(f"{shown(named)} has {len(found)} buying groups: name one by its id, {', '.join(found)}")
    return found[0]


def _member(
    connection: psycopg.Connection, tenant_id: str, group_id: str, named: str
) -> tuple[str, dict[str, Any]] | None:
    row = connection.execute(
        "select m.id, m.role, m.role_confidence::float8, m.role_source, m.is_confirmed"
        " from scores.buying_group_members as m"
        " left join canonical.people as p on p.tenant_id = m.tenant_id and p.id = m.person_id"
        " where m.tenant_id = %(tenant)s and m.buying_group_id = %(group)s and (m.id = %(named)s"
        " or p.id = %(named)s or %(named)s in (p.external_id, substr(p.external_id, strpos(p.external_id, ':') + 1))"
        " or lower(p.email) = lower(%(named)s)"
        " or (m.person_id is null and lower(m.discovered_email) = lower(%(named)s)))"
        " order by m.id limit 1 for update of m",
        {"tenant": tenant_id, "group": group_id, "named": named},
    ).fetchone()
    if row is None:
        return None
    return str(row[0]), dict(zip(("role", "role_confidence", "role_source", "is_confirmed"), row[1:], strict=True))


def _group(
    connection: psycopg.Connection,
    tenant_id: str,
    group_id: str,
    name: str,
    completeness: float | None,
    engaged: float | None,
    missing: list[str] | None,
    gaps: list[dict[str, Any]] | None,
) -> Group:
    rows = connection.execute(
        "select coalesce(person_id, id), discovered_email, coalesce(role, 'unknown'),"
        " coalesce(role_confidence, 0)::float8, coalesce(role_source, ''), coalesce(is_confirmed, false),"
        " person_id is null"
        " from scores.buying_group_members where tenant_id = %s and buying_group_id = %s"
        " order by role = 'unknown', is_confirmed desc, role_confidence desc, id",
        [tenant_id, group_id],
    ).fetchall()
    gaps = gaps or []
    ids = [row[0] for row in rows] + [gap["person_id"] for gap in gaps if gap["person_id"]]
    names = entities.names_of_people(connection, tenant_id, ids)
    return Group(
        group_id,
        name,
        completeness,
        engaged,
        missing or [],
        [Member(one, names.get(one) or email or one, *rest) for one, email, *rest in rows],
        [
            Candidate(gap["role"], names.get(gap["person_id"]) or gap["discovered_email"] or "", gap["reason"])
            for gap in gaps
        ],
    )
