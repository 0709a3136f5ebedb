"""The audit trail, read and verified."""

import json
from collections.abc import Sequence
from dataclasses import asdict, fields
from typing import Annotated, Any

import typer

from cli.arguments import Slug
from cli.context import Context
from control import access, audit, registry
from warehouse import database


def register(app: typer.Typer) -> None:
    app.command("audit")(audit_trail)


def audit_trail(
    context: typer.Context,
    tenant: Slug,
    limit: Annotated[int, typer.Option(help="How many rows, the newest.", min=1, max=100_000)] = 50,
    action: Annotated[str, typer.Option(metavar="PREFIX", help="Only actions that begin so, like config.")] = "",
    verify: Annotated[bool, typer.Option("--verify", help="Say instead whether a row was altered or removed.")] = False,
) -> None:
    """Who changed what in a tenant, and whether the trail of it is whole."""
    here = Context.current(context)
    found = registry.tenant(tenant)
    access.require(found.id, here.actor, "audit.read")
    with database.control_session(found.id) as connection:
        if not verify:
            _show(here, audit.entries(connection, found.id, limit=limit, action_prefix=action))
            return
        faults, rows = audit.faults(connection, found.id), audit.length(connection, found.id)
    told = "; ".join(f"row {fault.seq}: {fault.fault}" for fault in faults)
    here.say(
        f"The trail is NOT whole: {told}." if faults else f"The trail is whole: {rows} rows.",
        whole=not faults,
        rows=rows,
        faults=[asdict(fault) for fault in faults],
    )
    if faults:
        raise typer.Exit(1)


def _show(here: Context, entries: Sequence[audit.Entry]) -> None:
    columns: Sequence[str] = tuple(field.name for field in fields(audit.Entry))
    rows: list[Any] = [tuple(asdict(entry).values()) for entry in entries]
    if not here.as_json:
        columns = ("#", "at", "who", "action", "what", "before -> after")
        rows = [
            (
                entry.seq,
                f"{entry.at:%Y-%m-%d %H:%M:%S}",
                _plain(entry.actor),
                entry.action,
                " ".join(_plain(part) for part in (entry.resource, entry.resource_id) if part),
                _change(entry.before, entry.after),
            )
            for entry in entries
        ]
    here.table(columns, rows, empty="Nothing of that kind was done.")


def _change(before: Any, after: Any) -> str:
    """What is different; everything, where one side is not there."""
    if isinstance(before, dict) and isinstance(after, dict):
        keys = [key for key in {**before, **after} if before.get(key) != after.get(key)]
        return "; ".join(f"{_plain(key)}: {_text(before.get(key))} -> {_text(after.get(key))}" for key in keys)
    return " -> ".join(_text(side) for side in (before, after) if side is not None)


def _text(value: Any) -> str:
    return json.dumps(value) if value is not None else "nothing"


def _plain(text: str) -> str:
    # a refused --actor is in the trail as it was typed, which may be something that a terminal obeys
    return text if text.isprintable() else ascii(text)
