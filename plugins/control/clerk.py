"""What the platform keeps of Clerk: which tenant is which organisation, who is a member by it, what has happened."""

import os
import stat
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import psycopg

from control import access, audit, members
from control.versions import one_at_a_time
from warehouse import database
from warehouse.errors import ClarityError
from warehouse.home import home
from warehouse.text import storable

ACTOR = "system:clerk"
SECRET_KEY, SIGNING_SECRET, ADDRESS = "CLERK_SECRET_KEY", "CLERK_WEBHOOK_SIGNING_SECRET", "CLERK_API_URL"
HAND_MADE = "local:"
# which of Clerk's events may concern a tenant
KINDS = ("organization.", "organizationMembership.")


@dataclass(frozen=True)
class Known:
    """A tenant, and the organisation that it is; one made by hand is `local:<slug>`."""

    tenant_id: str
    slug: str
    name: str
    organisation: str
    paused: bool

    @property
    def is_hand_made(self) -> bool:
        return self.organisation.startswith(HAND_MADE)


@dataclass
class Followed:
    """What changed among a tenant's members. `kept` are admins who stay, for nobody else would be one."""

    added: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)


def secret(variable: str) -> str | None:
    """What the environment says, else the file of that name in CLARITY_HOME, in small letters; None without either."""
    if value := os.environ.get(variable, "").strip():
        return value
    file = home() / variable.lower()
    try:
        with file.open(encoding="utf-8") as stream:
            if os.fstat(stream.fileno()).st_mode & (stat.S_IRWXG | stat.S_IRWXO):
                raise ClarityError(f"{file} is open to other users: run `chmod 600 {file}`, then change what it held")
            return stream.read().strip() or None
    except FileNotFoundError:
        return None


# ── tenants ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def tenants() -> list[Known]:
    with database.registrar_session() as connection:
        rows = connection.execute(
            "select id, slug, name, clerk_org_id, paused_at is not null from control.tenants order by slug"
        ).fetchall()
    return [Known(*row) for row in rows]


def adopt(tenant: Known, organisation: str, *, actor: str) -> None:
    """From now on this tenant, made by hand, is that organisation."""
    access.require_system(actor, "tenant.adopt")
    with database.registrar_session() as connection:
        adopted = connection.execute(
            "update control.tenants set clerk_org_id = %s where id = %s and clerk_org_id = %s",
            [organisation, tenant.tenant_id, tenant.organisation],
        ).rowcount
        if not adopted:
            raise ClarityError(f"{tenant.slug} was adopted or removed a moment ago: run `clarity provision` again")
        audit.record(
            connection,
            tenant_id=tenant.tenant_id,
            actor=actor,
            action="tenant.adopt",
            resource="tenant",
            resource_id=tenant.tenant_id,
            before={"clerk_org_id": tenant.organisation},
            after={"clerk_org_id": organisation},
        )


def rename(tenant: Known, name: str, *, actor: str) -> None:
    """The name that people read. The slug stays: it stands in DAG ids and in what others have written down."""
    access.require_system(actor, "tenant.rename")
    with database.control_session(tenant.tenant_id) as connection:
        connection.execute("update control.tenants set name = %s where id = %s", [name, tenant.tenant_id])
        audit.record(
            connection,
            tenant_id=tenant.tenant_id,
            actor=actor,
            action="tenant.rename",
            resource="tenant",
            resource_id=tenant.tenant_id,
            before={"name": tenant.name},
            after={"name": name},
        )


def follow_members(tenant_id: str, wanted: Mapping[str, str], *, actor: str) -> Followed:
    """Make the members whom Clerk names those of the tenant, each with the role given; others are left alone."""
    with database.control_session(tenant_id) as connection:
        one_at_a_time(connection, tenant_id)
        rows = connection.execute(
            "select user_id, role, is_from_clerk from control.members where tenant_id = %s", [tenant_id]
        ).fetchall()
    present = {user: role for user, role, _ in rows}
    from_clerk = {user for user, _, is_from_clerk in rows if is_from_clerk}
    admins = {user for user, role in present.items() if role == "admin"}
    done = Followed()
    after = {user: role for user, role in present.items() if user not in from_clerk} | dict(wanted)
    if admins and "admin" not in after.values():
        # as for everybody else: a tenant is not left without anybody who could let others in
        done.kept = sorted(admins)
    # whoever comes comes first, so that at no moment there are fewer admins than before and after
    for user, role in sorted(wanted.items(), key=lambda pair: (pair[1] != "admin", pair[0])):
        if user in done.kept:
            continue
        if (changed := present.get(user) != role) or user not in from_clerk:
            members.add(tenant_id, user, role, actor=actor, is_from_clerk=True)
        if changed:
            (done.changed if user in present else done.added).append(user)
    for user in sorted(from_clerk - wanted.keys() - set(done.kept)):
        members.remove(tenant_id, user, actor=actor)
        done.removed.append(user)
    return done


# ── events ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def accept(connection: psycopg.Connection, event_id: str, kind: str, organisation: str) -> bool:
    """Keep an event, as the receiver. False if it was known."""
    return bool(
        connection.execute(
            "insert into control.clerk_events (event_id, kind, organisation_id) values (%s, %s, %s)"
            " on conflict do nothing",
            [event_id, storable(kind), storable(organisation)],
        ).rowcount
    )


def unsettled() -> dict[str, list[str]]:
    """The organisations that something has happened to since somebody looked, each with the events that say so."""
    with database.registrar_session() as connection:
        rows = connection.execute(
            "select organisation_id, array_agg(event_id order by received_at) from control.clerk_events"
            " where settled_at is null group by organisation_id order by min(received_at)"
        ).fetchall()
    return {str(organisation): list(events) for organisation, events in rows}


def settle(event_ids: Collection[str]) -> None:
    with database.registrar_session() as connection:
        connection.execute(
            "update control.clerk_events set settled_at = now() where event_id = any(%s)", [list(event_ids)]
        )


def forget_events(*, older_than_days: int, dry_run: bool = False) -> int:
    """Remove settled events of that age. Returns how many there were."""
    with database.registrar_session() as connection:
        gone = connection.execute(
            "delete from control.clerk_events where settled_at < now() - make_interval(days => %s)", [older_than_days]
        ).rowcount
        if dry_run:
            connection.rollback()
    return gone


def concerns_us(kind: str) -> bool:
    return kind.startswith(KINDS)
