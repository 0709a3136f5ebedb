"""Whether the fields that a tenant chose can take its scores: asked of the CRM before anything is sent."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from connectors.contract import ConnectorError, Target, Writable, Writer
from control import access, writeback_configs
from steps import provision
from steps.source import Source
from warehouse import database
from warehouse.errors import ClarityError, MisuseError

TIERS = ("hot", "warm", "cool", "cold")
TAKES: Mapping[str, Sequence[str]] = {
    **dict.fromkeys(("fitScore", "engagementScore", "combinedScore"), ("number",)),
    "tier": ("text", "list"),
    "scoredAt": ("moment", "day"),
    "because": ("text",),
}
KINDS = {"number": "number", "text": "text", "list": "picklist", "moment": "date/time", "day": "date"}


@dataclass
class Found:
    """By stream and field what the CRM says of those that can be written, as the models read it; and a sentence for
    each that can't."""

    targets: dict[str, dict[str, Any]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


async def look(writer: Writer, entity: str, field_map: Sequence[Mapping[str, str]]) -> Found:
    found = Found()
    for stream in writer.streams(entity):
        told = await writer.targets(stream, [pair["targetField"] for pair in field_map])
        found.targets[stream] = {}
        for pair in field_map:
            canonical, name = pair["canonicalField"], pair["targetField"]
            target = told.get(name)
            if problem := _problem(canonical, target):
                found.problems.append(f"{stream}: {name} {problem}")
            elif target is not None:
                found.targets[stream][name] = _as_models_read_it(target)
    return found


def enable(tenant_id: str, connector: str, entity: str, *, actor: str) -> bool:
    """Switch a configuration on, once the CRM says that each of its fields can be written. False if it was on."""
    access.require(tenant_id, actor, "writeback_config.enable")
    writable = provision.can_be_written_to(connector)
    if writable:
        found = _asked(tenant_id, connector, entity, actor)
        if found.problems:
            raise MisuseError(f"nothing is enabled: {'; '.join(found.problems)}")
    return writeback_configs.enable(tenant_id, connector, entity, writable=writable, actor=actor)


def _asked(tenant_id: str, connector: str, entity: str, actor: str) -> Found:
    configured = [
        each
        for each in writeback_configs.show(tenant_id, actor=actor)
        if (each["connector"], each["entity"]) == (connector, entity)
    ]
    if not configured:
        # which of the two is missing, connector or configuration, is the switch's to say
        return Found()
    with database.run_session(tenant_id) as connection:
        source = Source(connection, tenant_id, connector)

    async def asked() -> Found:
        async with cast(Writable, source.connect()).writer() as writer:
            return await look(writer, entity, configured[0]["field_map"])

    try:
        return asyncio.run(asked())
    except ConnectorError as error:
        raise ClarityError(
            f"{connector} can't be asked about its fields, so nothing is enabled: {source.sentence(entity, error)}"
        ) from None


def _problem(canonical: str, target: Target | None) -> str:
    if target is None:
        return "does not exist, or is hidden from this user: make it, or give the user Read and Edit on it"
    if target.refusal:
        return target.refusal
    if target.kind not in TAKES[canonical]:
        takes = " or ".join(f"a {KINDS[kind]} field" for kind in TAKES[canonical])
        return f"is no place for {canonical}, which needs {takes}: map another field"
    if canonical != "tier":
        return ""
    if target.kind == "list" and (missing := [tier for tier in TIERS if tier not in _spelled(target)]):
        return f"does not have the values {', '.join(missing)}: add them to its picklist, or map another field"
    longest = max(map(len, TIERS))
    if target.length is not None and target.length < longest:
        return f"holds {target.length} characters, and a tier has up to {longest}: make it longer"
    return ""


def _spelled(target: Target) -> dict[str, str]:
    """Our tiers as this list writes them, in whatever case."""
    theirs = {value.lower(): value for value in target.values}
    return {tier: theirs[tier] for tier in TIERS if tier in theirs}


def _as_models_read_it(target: Target) -> dict[str, Any]:
    return {
        "kind": target.kind,
        "length": target.length,
        "scale": target.scale,
        "values": _spelled(target) if target.kind == "list" else None,
    }
