"""Commands that do a tenant's work here and now, as its DAG does it in Airflow."""

from datetime import date
from typing import Annotated

import typer

from cli.arguments import Slug
from cli.context import Context
from cli.platform import progress
from control import access, registry
from warehouse import database
from warehouse.errors import MisuseError

AsOf = Annotated[
    str | None, typer.Option("--as-of", help="The day to score for, like 2026-03-10. Default: today (UTC).")
]


def register(app: typer.Typer) -> None:
    app.command()(run)


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


def parse_day(text: str | None) -> date | None:
    if text is None:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise MisuseError(f"{text!r} is not a day; write it like 2026-03-10") from None
