"""What became of the writebacks of a tenant, for people: runs, what waits for somebody, who changed what we wrote."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg

from control import access, audit
from warehouse import database

RELEASE_UNDONE = """
update scores.writeback_records as r set held = '{}'
where r.tenant_id = %(tenant)s and r.held <> '{}' and (%(all)s or r.record_id = any(%(records)s))
returning r.record_id
"""

# What somebody set is from now on the state of things, over which a score goes as over any other.
RELEASE_ASKED = """
insert into scores.writeback_records as known (
    tenant_id, connector_id, record_id, stream, entity_type, entity_id, sent
)
select
    f.tenant_id, f.connector_id, f.record_id, f.stream, f.entity_type, f.entity_id,
    jsonb_object_agg(f.field, coalesce(f.shown, 'null'))
from staging.int_writeback__fields as f
where f.tenant_id = %(tenant)s and f.action = 'ask' and (%(all)s or f.record_id = any(%(records)s))
group by f.tenant_id, f.connector_id, f.record_id, f.stream, f.entity_type, f.entity_id
on conflict (tenant_id, connector_id, record_id) do update set sent = known.sent || excluded.sent
returning known.record_id
"""

RELEASED = """
update scores.writeback_overrides as o set released_at = now()
where o.tenant_id = %(tenant)s and o.policy = 'ask' and o.released_at is null and o.record_id = any(%(records)s)
"""


@dataclass(frozen=True)
class Run:
    run_id: str
    began_at: datetime
    written: int
    lost: int
    undone: int


@dataclass(frozen=True)
class Held:
    """A field that is not written until somebody releases its record."""

    connector: str
    stream: str
    record_id: str
    name: str | None
    field: str
    because: str
    shows: Any
    wanted: Any


@dataclass(frozen=True)
class Drift:
    """A field that somebody set to something else than we did, and what its policy makes of that."""

    connector: str
    stream: str
    record_id: str
    field: str
    ours: Any
    theirs: Any
    changed_by: str | None
    policy: str
    noticed_at: datetime
    released_at: datetime | None


def plan_for_all(connection: psycopg.Connection) -> None:
    """For queries of the models over all records, in this transaction: the planner takes them for a few and loops."""
    connection.execute(
        "select set_config('enable_nestloop', 'off', true), set_config('enable_mergejoin', 'off', true),"
        " set_config('work_mem', '64MB', true)"
    )


def runs(tenant_id: str, *, actor: str, limit: int = 20) -> list[Run]:
    """Those that wrote something, the latest first."""
    access.require(tenant_id, actor, "writeback.list")
    with database.control_session(tenant_id) as connection:
        rows = connection.execute(
            "select run_id, min(planned_at), count(*) filter (where outcome = 'written'),"
            " count(*) filter (where outcome in ('rejected', 'busy', 'sending')), count(undone_at)"
            " from scores.writeback_receipts where tenant_id = %s group by run_id"
            " having count(*) filter (where outcome = 'written') > 0 order by 2 desc limit %s",
            [tenant_id, limit],
        ).fetchall()
    return [Run(*row) for row in rows]


def held(tenant_id: str, *, actor: str) -> list[Held]:
    """What waits for somebody: where the policy is ask, and what was undone."""
    access.require(tenant_id, actor, "writeback.list")
    with database.control_session(tenant_id) as connection:
        plan_for_all(connection)
        rows = connection.execute(
            "select connector, stream, record_id, name, field,"
            " case action when 'ask' then 'somebody changed it' else 'a run was undone' end, shown, wanted"
            " from staging.int_writeback__fields where tenant_id = %s and action in ('ask', 'held')"
            " order by 1, 2, 3, 5",
            [tenant_id],
        ).fetchall()
    return [Held(*row) for row in rows]


def drift(tenant_id: str, *, actor: str) -> list[Drift]:
    """Who overrode us, the latest first."""
    access.require(tenant_id, actor, "writeback.list")
    with database.control_session(tenant_id) as connection:
        rows = connection.execute(
            "select c.type, o.stream, o.record_id, o.field, o.ours, o.theirs, o.changed_by, o.policy, o.noticed_at,"
            " o.released_at from scores.writeback_overrides as o"
            " join control.connectors as c on c.tenant_id = o.tenant_id and c.id = o.connector_id"
            " where o.tenant_id = %s order by o.noticed_at desc, 1, 2, 3, 4",
            [tenant_id],
        ).fetchall()
    return [Drift(*row) for row in rows]


def release(tenant_id: str, record_ids: Sequence[str], *, everything: bool = False, actor: str) -> list[str]:
    """Let the next run write to these records again, or to all that are held. Returns those that were."""
    access.require(tenant_id, actor, "writeback.release")
    known = {"tenant": tenant_id, "all": everything, "records": list(record_ids)}
    with database.control_session(tenant_id) as connection:
        plan_for_all(connection)
        released = sorted(
            {
                str(record_id)
                for statement in (RELEASE_ASKED, RELEASE_UNDONE)
                for (record_id,) in connection.execute(statement.encode(), known).fetchall()
            }
        )
        connection.execute(RELEASED.encode(), {**known, "records": released})
        if released:
            audit.record(
                connection,
                tenant_id=tenant_id,
                actor=actor,
                action="writeback.release",
                resource="writeback",
                after={"records": len(released), "everything": everything},
            )
    return released
