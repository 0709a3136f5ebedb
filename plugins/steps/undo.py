"""Taking a writeback back: each record shows again what it showed before, unless somebody has changed it since.

What was put back is held: later runs leave it alone until somebody releases it.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

import psycopg

from connectors.contract import ConnectorError, Writable
from control import audit
from steps.source import Source
from steps.writeback_receipts import Receipts
from steps.writeback_sending import Sending
from warehouse import database
from warehouse.errors import ClarityError, MisuseError

Report = Callable[[str], None]

SHOWN_FAILURES = 20


@dataclass
class Undone:
    """`left` are records and fields that somebody has changed since the run, and that stay as they are."""

    run_id: str
    restored: int = 0
    left: list[tuple[str, str]] = field(default_factory=list)
    gone: int = 0
    failures: list[dict[str, Any]] = field(default_factory=list)
    because: str = ""


def run(
    tenant_id: str, undone_run: str, run_id: str, fence: int, *, actor: str, report: Report = lambda _line: None
) -> Undone:
    """Put back what `undone_run` found. Stopped on the way, the same call goes on with what is left."""
    done = Undone(run_id)
    with database.run_session(tenant_id, autocommit=True, application="undo") as connection:
        connectors = _connectors_of(connection, tenant_id, undone_run)
        _audit(tenant_id, actor, undone_run)
        for connector in connectors:
            source = Source(connection, tenant_id, connector)
            receipts = Receipts(connection, tenant_id, source.id, run_id, fence)
            asyncio.run(_undo(source, receipts, undone_run, done, report))
    if done.because or done.failures:
        raise ClarityError(
            f"{done.restored:,} records are as they were before, not all: {_why(done)}."
            " The same command goes on with what is left"
        )
    return done


async def _undo(source: Source, receipts: Receipts, undone_run: str, done: Undone, report: Report) -> None:
    try:
        async with cast(Writable, source.connect()).writer() as writer:
            sending = Sending(receipts, writer, source, {}, report, undoing=True)
            receipts.drop_planned()
            await sending.settle_open()
            report(f"{receipts.plan_undo(undone_run):,} records were written by that run")
            try:
                await sending.send()
            finally:
                done.left += sorted(sending.kept)
    except ConnectorError as error:
        done.because = source.sentence(source.type, error)
    finally:
        if not receipts.connection.closed:
            receipts.leave(done.because or "the undoing ended before its turn")
    counts = receipts.outcomes()
    done.restored += counts["written"]
    done.gone += counts["gone"]
    done.failures += receipts.failures(SHOWN_FAILURES)


def _connectors_of(connection: psycopg.Connection, tenant_id: str, undone_run: str) -> list[str]:
    rows = connection.execute(
        "select distinct c.type from scores.writeback_receipts as r"
        " join control.connectors as c on c.tenant_id = r.tenant_id and c.id = r.connector_id"
        " where r.tenant_id = %s and r.run_id = %s and r.outcome = 'written' order by 1",
        [tenant_id, undone_run],
    ).fetchall()
    if not rows:
        raise MisuseError(f"no run {undone_run[:100]!r} has written anything: clarity undo TENANT lists those that did")
    return [str(connector) for (connector,) in rows]


def _audit(tenant_id: str, actor: str, undone_run: str) -> None:
    with database.control_session(tenant_id) as control:
        audit.record(
            control,
            tenant_id=tenant_id,
            actor=actor,
            action="writeback.undo",
            resource="writeback",
            resource_id=undone_run,
        )


def _why(done: Undone) -> str:
    failed = [f"{each['stream']} {each['record_id']}: {each['error']}" for each in done.failures[:3]]
    return "; ".join([part.rstrip(". ") for part in (done.because, *failed) if part])
