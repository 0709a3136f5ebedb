"""Scores back into the CRM: off unless the tenant's settings and a writeback configuration both say on.

The models decide what to write (dbt/models/writeback), this sends it. Only differences go, to records that exist, and
each has a receipt. Whatever is lost makes the task fail, by record and name; what the vendor's day has no calls left
for is not lost, it stays for the next run.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import psycopg
from psycopg.types.json import Jsonb

from connectors.contract import ConnectorError, Fatal, WaitUntil, Writable, Writer
from control import settings
from steps import provision
from steps.source import Source
from steps.writeback_receipts import Receipts
from steps.writeback_sending import Field, Sending
from steps.writeback_targets import Found, look
from warehouse import database, landing
from warehouse.errors import ClarityError

Report = Callable[[str], None]

SHOWN_FAILURES = 20
NOT_KNOWN = "whether it was written is not known, the next run looks"
LOST = ("rejected", "busy", "sending")


class WritebackFailed(ClarityError):
    """Not everything was written; `summary` tells what was."""

    def __init__(self, message: str, summary: dict[str, Any]) -> None:
        super().__init__(message)
        self.summary = summary

    @property
    def in_public(self) -> str:
        """Without the names of the records: for messages, which leave the platform."""
        counts = self.summary["records"]
        lost = sum(counts.get(outcome, 0) for outcome in LOST)
        return "; ".join([f"{lost:,} of {sum(counts.values()):,} records were not written", *self.summary["problems"]])


@dataclass(frozen=True)
class Config:
    """A writeback configuration that is on."""

    connector: str
    connector_id: str
    entity: str
    field_map: Sequence[Mapping[str, str]]
    policies: Mapping[str, str]

    @property
    def fields(self) -> dict[str, Field]:
        return {
            pair["targetField"]: Field(pair["canonicalField"], self.policies.get(pair["targetField"], "ask"))
            for pair in self.field_map
        }


@dataclass
class Outcome:
    """What became of one connector's part."""

    counts: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    failures: list[dict[str, Any]] = field(default_factory=list)
    left_because: str = ""

    @property
    def lost(self) -> int:
        """What a job is still at work on is not lost while the vendor makes us wait."""
        return sum(self.counts[outcome] for outcome in LOST if outcome != "sending" or not self.left_because)


def run(tenant_id: str, run_id: str, fence: int, *, report: Report = lambda _line: None) -> dict[str, Any]:
    """Send what changed. The summary says off, and why, or how many records came to which end.

    The caller holds the tenant's lease under `fence`. Killed and run again, it first finds out what had been sent.
    """
    with database.run_session(tenant_id, autocommit=True, application="writeback") as connection:
        if because := off_because(connection, tenant_id):
            return {"writeback": "off", "because": because}
        total = Outcome()
        for connector, configs in by_connector(switched_on(connection, tenant_id)).items():
            source = Source(connection, tenant_id, connector)
            receipts = Receipts(connection, tenant_id, source.id, run_id, fence)
            done = asyncio.run(_run(source, receipts, configs, report))
            _tell_configs(connection, tenant_id, fence, configs, done)
            total.counts += done.counts
            total.problems += done.problems
            total.failures += done.failures
            total.left_because = total.left_because or done.left_because
        alert = alarm(connection, tenant_id, total.lost, sum(total.counts.values()))
    return _judged(run_id, total, alert, report)


def alarm(connection: psycopg.Connection, tenant_id: str, lost: int, tried: int) -> str:
    """What to say if more than the tenant's share of the records is lost; nothing if not."""
    share = settings.effective(connection, tenant_id).writeback.alert_share
    return f"{lost:,} of {tried:,} records were not written, more than {share:.0%}" if lost > share * tried else ""


def off_because(connection: psycopg.Connection, tenant_id: str) -> str:
    """Why nothing is written; nothing if something is."""
    if not settings.effective(connection, tenant_id).features.writeback:
        return "features.writeback is off in the tenant's settings"
    return "" if switched_on(connection, tenant_id) else "no writeback configuration is enabled"


def switched_on(connection: psycopg.Connection, tenant_id: str) -> list[Config]:
    """Switched on for a connector that can't write is an error, not a no-op."""
    rows = connection.execute(
        "select c.type, c.id, w.entity_type, w.field_map, w.policies from control.writeback_configs as w"
        " join control.connectors as c on c.tenant_id = w.tenant_id and c.id = w.connector_id"
        " where w.tenant_id = %s and w.enabled order by 1, 3",
        [tenant_id],
    ).fetchall()
    configs = [Config(*row) for row in rows]
    if unable := [each for each in configs if not provision.can_be_written_to(each.connector)]:
        names = ", ".join(f"{each.connector} {each.entity}" for each in unable)
        raise ClarityError(f"writeback is on for {names}, but this connector can't be written to: disable it")
    return configs


async def _run(source: Source, receipts: Receipts, configs: Sequence[Config], report: Report) -> Outcome:
    def tell(line: str) -> None:
        report(source.redacted(f"{source.type} {line}"))

    done = Outcome()
    try:
        async with cast(Writable, source.connect()).writer() as writer:
            fields = {name: each for config in configs for name, each in config.fields.items()}
            sending = Sending(receipts, writer, source, fields, tell)
            receipts.drop_planned()
            await sending.settle_open()
            done.problems += await look_at_targets(writer, receipts, configs)
            tell(f"{receipts.plan():,} records differ")
            try:
                await sending.send()
            finally:
                done.problems += sending.stopped.values()
    except WaitUntil as error:
        done.left_because = source.sentence(source.type, error)
    except ConnectorError as error:
        done.problems.append(source.sentence(source.type, error))
    finally:
        if not receipts.connection.closed:
            receipts.leave(done.left_because or "; ".join(done.problems) or "the run ended before its turn")
    done.counts, done.failures = receipts.outcomes(), receipts.failures(SHOWN_FAILURES)
    return done


async def look_at_targets(writer: Writer, receipts: Receipts, configs: Sequence[Config]) -> list[str]:
    """Ask the CRM what its fields are like, for the models to go by. A sentence for each that can't be written."""
    problems = []
    for config in configs:
        try:
            found = await look(writer, config.entity, config.field_map)
        except Fatal as error:
            # the object itself is hidden: the others go on
            found = Found(problems=[str(error)])
        problems += found.problems
        with landing.fenced(receipts.connection, receipts.fence):
            keep_targets(receipts.connection, receipts.tenant_id, config, found)
    return problems


def keep_targets(connection: psycopg.Connection, tenant_id: str, config: Config, found: Found) -> None:
    connection.execute(
        "update control.writeback_configs set targets = %(targets)s where tenant_id = %(tenant)s"
        " and connector_id = %(connector)s and entity_type = %(entity)s and targets <> %(targets)s",
        {
            "targets": Jsonb(found.targets),
            "tenant": tenant_id,
            "connector": config.connector_id,
            "entity": config.entity,
        },
    )


def by_connector(configs: Sequence[Config]) -> dict[str, list[Config]]:
    grouped: dict[str, list[Config]] = {}
    for config in configs:
        grouped.setdefault(config.connector, []).append(config)
    return grouped


def _tell_configs(
    connection: psycopg.Connection, tenant_id: str, fence: int, configs: Sequence[Config], done: Outcome
) -> None:
    sentence = _complaint(done) or done.left_because or None
    with landing.fenced(connection, fence):
        for config in configs:
            connection.execute(
                "update control.writeback_configs set last_writeback_at = now(), last_writeback_error = %s"
                " where tenant_id = %s and connector_id = %s and entity_type = %s",
                [sentence, tenant_id, config.connector_id, config.entity],
            )


def _complaint(done: Outcome) -> str:
    """What is lost, and what can't be written; nothing if all is well."""
    parts = list(dict.fromkeys(done.problems))
    if done.lost:
        named = "; ".join(
            f"{each['stream']} {each['record_id']} ({each['name']}): {each['error'] or NOT_KNOWN}"
            for each in done.failures[:3]
        )
        parts.append(f"{done.lost:,} records were not written: {named}")
    return ". ".join(part.rstrip(". ") for part in parts)


def _judged(run_id: str, total: Outcome, alert: str, report: Report) -> dict[str, Any]:
    counts = {outcome: number for outcome, number in sorted(total.counts.items()) if number}
    summary: dict[str, Any] = {
        "writeback": "on",
        "run_id": run_id,
        "records": counts,
        "failures": total.failures,
        "problems": total.problems,
        "left_because": total.left_because,
        "alert": alert,
    }
    if alert:
        report(f"ALERT: {alert}")
    if total.left_because:
        report(f"{total.counts['left']:,} records stay for the next run: {total.left_because}")
    if complaint := _complaint(total):
        raise WritebackFailed(
            f"{complaint}. What was written stands; `clarity writeback` sends what is still to be sent", summary
        )
    return summary
