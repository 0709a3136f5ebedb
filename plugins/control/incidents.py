"""Incidents: something wrong at a tenant, from when it was first seen until it was over.

However many tasks and runs see the same, it is one row: of a stage and a cause there is at most one that is not over.
"""

import logging
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import psycopg
from psycopg.rows import class_row

from control import access
from warehouse import database
from warehouse.errors import ClarityError, NotNow
from warehouse.lease import LeaseLost
from warehouse.text import storable

log = logging.getLogger(__name__)

Severity = Literal["failure", "degradation"]

LONGEST_REASON = 2_000
# the cause, where a stage says no better than that it failed
FAILED = "failed"

_SEEN = """
insert into control.incidents (tenant_id, stage, cause, severity, reason, remedy, run_id)
values (%(tenant)s, %(stage)s, %(cause)s, %(severity)s, %(reason)s, %(remedy)s, %(run)s)
on conflict (tenant_id, stage, cause) where recovered_at is null do update set
    severity = excluded.severity, reason = excluded.reason, remedy = excluded.remedy, run_id = excluded.run_id,
    times = incidents.times + (incidents.run_id <> excluded.run_id)::integer, last_seen_at = now()
"""


@dataclass(frozen=True)
class Incident:
    id: str
    stage: str
    cause: str
    severity: str
    reason: str
    remedy: str
    run_id: str
    times: int
    opened_at: datetime
    last_seen_at: datetime
    recovered_at: datetime | None


COLUMNS = "id, stage, cause, severity, reason, remedy, run_id, times, opened_at, last_seen_at, recovered_at"


def seen(
    connection: psycopg.Connection,
    *,
    tenant_id: str,
    stage: str,
    cause: str,
    severity: Severity,
    reason: str,
    remedy: str,
    run_id: str,
) -> None:
    """It begins, or it goes on: the same run may say so as often as it likes."""
    connection.execute(
        _SEEN,
        {
            "tenant": tenant_id,
            "stage": stage,
            "cause": cause,
            "severity": severity,
            "reason": storable(reason)[:LONGEST_REASON],
            "remedy": remedy,
            "run": run_id,
        },
    )


def over(connection: psycopg.Connection, *, tenant_id: str, stage: str, causes: Collection[str]) -> None:
    """What was wrong because of these is not any more."""
    connection.execute(
        "update control.incidents set recovered_at = now()"
        " where tenant_id = %s and stage = %s and recovered_at is null and cause = any(%s)",
        [tenant_id, stage, list(causes)],
    )


def forget_sources(connection: psycopg.Connection, tenant_id: str) -> None:
    """What was wrong with a connector that has been removed is not any more."""
    connection.execute(
        "update control.incidents as i set recovered_at = now() where i.tenant_id = %s and i.recovered_at is null"
        " and coalesce(substring(i.stage from '^extract (.*)$'), substring(i.cause from '^raw[.]([^.]*)[.]'))"
        " not in (select c.type from control.connectors as c where c.tenant_id = i.tenant_id)",
        [tenant_id],
    )


@contextmanager
def watched(tenant_id: str, run_id: str, stage: str, remedy: str, *, severity: Severity = "failure") -> Iterator[None]:
    """The body is this stage of a run: an incident if it raises, the end of one if it does not.

    An error that brings its own incident along says so by `is_told`.
    """
    try:
        yield
    except (LeaseLost, NotNow):
        # another run has the tenant now, and tells; or this stage comes again
        raise
    except ClarityError as error:
        if not getattr(error, "is_told", False):
            # who has more to say than may leave the platform says that apart
            reason = getattr(error, "in_public", None) or str(error)
            _note(tenant_id, run_id, stage, severity, reason, remedy)
        raise
    except Exception as error:
        # what a program says when it is surprised may repeat rows: its kind is enough, the log has the rest
        _note(tenant_id, run_id, stage, severity, f"{type(error).__name__}, see the log of the run", remedy)
        raise
    with database.run_session(tenant_id, application="incidents") as connection:
        over(connection, tenant_id=tenant_id, stage=stage, causes=[FAILED])


def _note(tenant_id: str, run_id: str, stage: str, severity: Severity, reason: str, remedy: str) -> None:
    try:
        with database.run_session(tenant_id, application="incidents") as connection:
            seen(
                connection,
                tenant_id=tenant_id,
                stage=stage,
                cause=FAILED,
                severity=severity,
                reason=reason,
                remedy=remedy,
                run_id=run_id,
            )
    except (psycopg.Error, ClarityError) as error:
        # the stage's own error goes on up; the run's end finds a red run of which nobody said why, and says that
        log.warning("the incident could not be written down: %s", error)


def recent(tenant_id: str, *, actor: str, limit: int = 50) -> Sequence[Incident]:
    """Those that are open, then those that are over, newest first."""
    access.require(tenant_id, actor, "incident.list")
    with (
        database.control_session(tenant_id) as connection,
        connection.cursor(row_factory=class_row(Incident)) as cursor,
    ):
        return cursor.execute(
            f"select {COLUMNS} from control.incidents where tenant_id = %s"  # noqa: S608 - our own columns
            " order by recovered_at is not null, last_seen_at desc, id limit %s",
            [tenant_id, limit],
        ).fetchall()
