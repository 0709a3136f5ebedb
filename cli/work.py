"""Commands that do a tenant's work here and now, as its DAG does it in Airflow."""

from collections.abc import Sequence
from datetime import date
from typing import Annotated, Any

import typer

from cli.arguments import Slug
from cli.context import Context
from cli.platform import progress
from control import access, registry
from warehouse import database
from warehouse.errors import ClarityError, MisuseError

# what a sync counts, and what that is called here
COUNTED = {
    "created": "created",
    "updated": "updated",
    "unchanged": "unchanged",
    "deleted": "deleted",
    "failed": "quarantined",
}

AsOf = Annotated[
    str | None, typer.Option("--as-of", help="The day to score for, like 2026-03-10. Default: today (UTC).")
]


def register(app: typer.Typer) -> None:
    app.command()(run)
    app.command()(sync)


def run(
    context: typer.Context,
    tenant: Slug,
    as_of: AsOf = None,
    full: Annotated[bool, typer.Option("--full", help="Read everything again, not only what is new.")] = False,
) -> None:
    """Run a tenant's whole pipeline in this process: extract, transform, score, publish, write back."""
    from steps import pipeline

    here = Context.current(context)
    database.ensure_up()
    access.require(registry.tenant(tenant).id, here.actor, "run.start")
    with progress(here) as report:
        pipeline.run(tenant, as_of=parse_day(as_of), full=full, report=report)
    here.say(f"{tenant} is scored.", tenant=tenant, scored=True)


def sync(
    context: typer.Context,
    tenant: Slug,
    connector: Annotated[str | None, typer.Option(help="The connector to read. Default: all.")] = None,
    stream: Annotated[list[str] | None, typer.Option(help="A stream to read; may be repeated. Default: all.")] = None,
    full: Annotated[bool, typer.Option("--full", help="Read everything again, not only what is new.")] = False,
    accept_fewer: Annotated[
        bool,
        typer.Option("--accept-fewer", help="Take it for true that a stream holds under half of what it held."),
    ] = False,
) -> None:
    """Read what is new at a tenant's sources into raw, here and now. Ends with what arrived, stream by stream."""
    from steps import pipeline

    here = Context.current(context)
    if accept_fewer and not stream:
        raise MisuseError("--accept-fewer is said stream by stream: name it with --stream")
    database.ensure_up()
    access.require(registry.tenant(tenant).id, here.actor, "run.start")
    with progress(here) as report:
        summaries = pipeline.sync(
            tenant, connector=connector, streams=stream or (), full=full, accept_fewer=accept_fewer, report=report
        )
    _show(here, summaries)
    if failed := [f"{summary['connector']}: {why}" for summary in summaries if (why := summary["failure"])]:
        raise ClarityError(f"not everything arrived. {'; '.join(failed)}")


def _show(here: Context, summaries: Sequence[dict[str, Any]]) -> None:
    if here.as_json:
        here.say("", syncs=summaries)
        return
    rows = []
    for summary in summaries:
        for name, counts in summary["streams"].items():
            rows.append(
                (summary["connector"], name, *(f"{counts[kind]:,}" for kind in COUNTED), _outcome(summary, name))
            )
    here.table(("connector", "stream", *COUNTED.values(), ""), rows, empty="Nothing was read.")
    for summary in summaries:
        for note in summary["notes"]:
            here.report(f"{summary['connector']}: {note}")


def _outcome(summary: dict[str, Any], stream: str) -> str:
    return "failed" if stream in summary["failures"] else ""


def parse_day(text: str | None) -> date | None:
    if text is None:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise MisuseError(f"{text!r} is not a day; write it like 2026-03-10") from None
