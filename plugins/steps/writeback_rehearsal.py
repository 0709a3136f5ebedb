"""What a writeback would do: every record with its old and its new values. Nothing is sent and nothing is kept."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import psycopg

from connectors.contract import ConnectorError, Writable
from control import access, audit, registry, settings, writebacks
from steps.source import Source
from steps.writeback import Config, by_connector, keep_targets, switched_on
from steps.writeback_targets import Found, look
from warehouse import database
from warehouse.errors import ClarityError

Report = Callable[[str], None]


@dataclass(frozen=True)
class Proposal:
    """A record that would be written, by field: (what it shows, what it would show)."""

    connector: str
    stream: str
    record_id: str
    name: str | None
    fields: dict[str, tuple[Any, Any]]


@dataclass
class Rehearsal:
    """`is_off`: whether a real run would write nothing at all, because the tenant's switch is off."""

    is_off: bool
    proposals: list[Proposal] = field(default_factory=list)
    # how many fields come to which decision
    fields: dict[str, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def run(slug: str, *, actor: str, report: Report = lambda _line: None) -> Rehearsal:
    """Asks the CRM only what its fields are like; what its records show is taken from the last sync."""
    tenant = registry.tenant(slug)
    access.require(tenant.id, actor, "writeback.show")
    with database.run_session(tenant.id, application="writeback rehearsal") as connection:
        rehearsal = Rehearsal(is_off=not settings.effective(connection, tenant.id).features.writeback)
        for connector, configs in by_connector(switched_on(connection, tenant.id)).items():
            source = Source(connection, tenant.id, connector)
            report(f"asks {connector} about its fields")
            for config, found in zip(configs, _asked(source, configs), strict=True):
                rehearsal.problems += found.problems
                keep_targets(connection, tenant.id, config, found)
        _read(connection, tenant.id, rehearsal)
        # the models read what the CRM said just now; nobody else is to
        connection.rollback()
    with database.control_session(tenant.id) as control:
        audit.record(
            control,
            tenant_id=tenant.id,
            actor=actor,
            action="writeback.rehearse",
            resource="writeback",
            after={"records": len(rehearsal.proposals)},
        )
    return rehearsal


def _asked(source: Source, configs: Sequence[Config]) -> list[Found]:
    async def asked() -> list[Found]:
        async with cast(Writable, source.connect()).writer() as writer:
            return [await look(writer, config.entity, config.field_map) for config in configs]

    try:
        return asyncio.run(asked())
    except ConnectorError as error:
        raise ClarityError(source.sentence(source.type, error)) from None


def _read(connection: psycopg.Connection, tenant_id: str, rehearsal: Rehearsal) -> None:
    writebacks.plan_for_all(connection)
    for connector, stream, record_id, name, shown, wanted in connection.execute(
        "select connector, stream, record_id, name, shown, wanted from staging.int_writeback__changes"
        " where tenant_id = %s and wanted is not null order by 1, 2, 3",
        [tenant_id],
    ):
        fields = {target: (shown[target], wanted[target]) for target in sorted(wanted)}
        rehearsal.proposals.append(Proposal(connector, stream, record_id, name, fields))
    rehearsal.fields = dict(
        connection.execute(
            "select action, count(*) from staging.int_writeback__fields where tenant_id = %s group by 1 order by 1",
            [tenant_id],
        ).fetchall()
    )
