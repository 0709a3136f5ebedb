"""`clarity quarantine`: what was refused on its way into raw, and one more try."""

import json
from collections.abc import Sequence
from dataclasses import asdict, fields
from typing import Annotated, Any

import typer

from cli.arguments import Slug
from cli.context import Context
from cli.platform import progress
from control import quarantine as quarantined
from control import registry
from control.quarantine import Entry
from warehouse import database

LONGEST_SHOWN = 120


def register(app: typer.Typer) -> None:
    app.command()(quarantine)


def quarantine(
    context: typer.Context,
    tenant: Slug,
    connector: Annotated[str | None, typer.Option(help="Only this connector's.")] = None,
    stream: Annotated[str | None, typer.Option(help="Only this stream's.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many to show, newest first.")] = 50,
    replay: Annotated[bool, typer.Option("--replay", help="Try all of them again, without asking the source.")] = False,
) -> None:
    """What could not be read as a record, with the reason; with --replay, try it again.

    What lands, or was superseded by what has landed since, leaves the quarantine. What is refused again stays.
    """
    from steps import replay as replaying

    here = Context.current(context)
    database.ensure_up()
    replaying.refuse_unknown(tenant, connector, stream, actor=here.actor)
    if replay:
        with progress(here) as report:
            done = replaying.run(tenant, connector=connector, stream=stream, actor=here.actor, report=report)
        columns = [field.name for field in fields(replaying.Replayed)]
        here.table(columns, [tuple(asdict(told).values()) for told in done], empty="Nothing was waiting.")
        return
    entries, count = quarantined.entries(
        registry.tenant(tenant).id, connector=connector, stream=stream, limit=limit, actor=here.actor
    )
    _show(here, entries)
    if count:
        here.report(
            f"{len(entries):,} of {count:,} are shown. Once the cause is gone: clarity quarantine {tenant} --replay"
        )


def _show(here: Context, entries: Sequence[Entry]) -> None:
    if here.as_json or not entries:
        columns = [field.name for field in fields(Entry)]
        here.table(columns, [tuple(asdict(entry).values()) for entry in entries], empty="Nothing is in quarantine.")
        return
    # not a table: reasons and what was kept are long, and a terminal is narrow
    here.say("\n".join(_told(entry) for entry in entries))


def _told(entry: Entry) -> str:
    where = [entry.connector, entry.stream, entry.position, f"record {entry.record_id}" if entry.record_id else None]
    head = "  ".join(_plain(part) for part in (f"{entry.created_at:%Y-%m-%d %H:%M}", *where) if part)
    return f"{head}\n    {_plain(entry.reason)}\n    {_plain(_kept(entry.record))}"


def _kept(record: Any) -> str:
    text = record if isinstance(record, str) else json.dumps(record, ensure_ascii=False)
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}..."


def _plain(text: str) -> str:
    # what a source sends may be something that a terminal obeys
    return text if text.isprintable() else ascii(text)
