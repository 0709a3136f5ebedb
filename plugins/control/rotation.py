"""Replacing the platform's key while everything runs: see warehouse.keys for the order of steps.

Safe to kill and to run again at any moment: what was done stays done, and the rest is found by looking.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import psycopg

from control import access, audit, connectors, webhooks
from warehouse import database, lease, roles
from warehouse.errors import ClarityError
from warehouse.keys import keyring

Report = Callable[[str], None]


@dataclass(frozen=True)
class Rotation:
    """What a rotation did, and which keys are needed afterwards.

    `key_use` counts connectors and webhooks by key. `erasure_keys` are those by which erased people are recognised: a
    digest can't be made anew without the address that it stands for.
    """

    key: str
    resealed: int
    logins: int
    key_use: dict[str, int]
    erasure_keys: frozenset[str] = frozenset()


def rotate_keys(*, actor: str, report: Report) -> Rotation:
    """Seal every connector with the newest key and give the platform's logins the passwords that it derives.

    Syncs may run meanwhile: each connector opens before and after. A tenant's run login changes between two of its
    runs, because a run hands the password on to programs that log in by themselves. What fails for one tenant does not
    hold up the others; at the end ClarityError names them.
    """
    access.require_system(actor, "connector rotate-keys")
    newest = keyring()[0].id
    with roles.alone(report) as administrator:
        roles.ensure_databases(administrator)
    with database.registrar_session() as registrar:
        tenants = registrar.execute("select id, slug from control.tenants order by slug").fetchall()
    resealed = logins = 0
    use: Counter[str] = Counter()
    erasure_keys: set[str] = set()
    failures: list[str] = []
    for number, (tenant_id, slug) in enumerate(tenants, start=1):
        try:
            with database.control_session(tenant_id, autocommit=True) as connection:
                done, unopenable = connectors.reseal(connection, tenant_id, newest, actor=actor)
                use.update(connectors.key_use(connection, tenant_id))
                endpoints, closed = webhooks.reseal(connection, tenant_id, newest)
                use.update(webhooks.key_use(connection, tenant_id))
                erasure_keys |= _erasure_keys(connection, tenant_id)
            resealed += done + endpoints
            failures += [f"{slug}: {failure}" for failure in (*unopenable, *closed)]
            logins += _refresh_logins(tenant_id, newest, actor, report)
        except ClarityError as error:
            failures.append(f"{slug}: {error}")
        report(f"{number} of {len(tenants)} tenants, {resealed} connectors sealed with key {newest}")
    if failures:
        raise ClarityError(
            f"{resealed} connectors were sealed anew, but keep the older keys and run this again: {'; '.join(failures)}"
        )
    return Rotation(newest, resealed, logins, dict(use), frozenset(erasure_keys))


def _erasure_keys(connection: psycopg.Connection, tenant_id: str) -> set[str]:
    """A digest begins with the id of its key and a dot."""
    rows = connection.execute(
        "select distinct substring(digest for position('.'::bytea in digest) - 1) from control.erasures"
        " where tenant_id = %s and position('.'::bytea in digest) > 0",
        [tenant_id],
    ).fetchall()
    return {bytes(row[0]).decode(errors="replace") for row in rows}


def _refresh_logins(tenant_id: str, key: str, actor: str, report: Report) -> int:
    stale = [
        login for login in (database.control_login(tenant_id), database.run_login(tenant_id)) if not _is_in_force(login)
    ]
    if not stale:
        return 0
    with (
        lease.hold(tenant_id, lease.local_holder(), stage="rotate keys", report=report),
        database.registrar_session() as registrar,
    ):
        for login in stale:
            roles.refresh_login(registrar, login)
        audit.record(
            registrar,
            tenant_id=tenant_id,
            actor=actor,
            action="login.refresh",
            resource="login",
            after={"key": key, "logins": len(stale)},
        )
    return len(stale)


def _is_in_force(login: database.Login) -> bool:
    try:
        with database.connect(database.conninfo(login), newest_key_only=True):
            return True
    except ClarityError:
        return False
