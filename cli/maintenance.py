"""`clarity maintenance`: what has had its time goes."""

from typing import Annotated

import typer

from cli.context import Context
from cli.platform import progress
from control import access


def register(app: typer.Typer) -> None:
    app.command()(maintenance)


def maintenance(
    context: typer.Context,
    tenant: Annotated[str | None, typer.Option(help="Only this tenant's. Default: everybody's, and the disk.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count, and change nothing.")] = False,
) -> None:
    """Clear away what has had its time, as the DAG platform__maintenance does every night.

    What goes by age is a tenant's own choice: clarity tenant settings TENANT --set retentionDays=400. Killed at any
    moment and run again, it does the rest.
    """
    from steps import maintenance as step

    here = Context.current(context)
    access.require_system(here.actor, "maintenance")
    with progress(here) as report:
        done = step.run(slug=tenant, dry_run=dry_run, report=report)
    if here.as_json:
        here.say("", **done, dry_run=dry_run)
        return
    rows = [*done["removed"].items(), ("syncs that were killed", done["closed_syncs"]), ("rollups", done["compacted"])]
    here.table(
        ("what", "would go" if dry_run else "gone or closed"),
        [*((what, count) for what, count in rows if count), *((file, "file") for file in done["files"])],
        empty="Nothing has had its time.",
    )
    if done["busy"]:
        here.say(f"At work just now, and left for the next time: {', '.join(done['busy'])}.")
