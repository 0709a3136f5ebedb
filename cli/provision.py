"""`clarity provision`: Clerk's organisations become tenants."""

from typing import Annotated

import typer

from cli.context import Context
from control import access


def register(app: typer.Typer) -> None:
    app.command()(provision)


def provision(
    context: typer.Context,
    events: Annotated[
        bool, typer.Option("--events", help="Only those organisations that a webhook has told of since.")
    ] = False,
    accept_fewer: Annotated[
        bool, typer.Option("--accept-fewer", help="Go on though Clerk knows under half of our organisations.")
    ] = False,
) -> None:
    """Bring tenants and their members in line with Clerk's organisations, as the DAG platform__provision does.

    New organisations become tenants, a removed one is paused. Members come, change and go with Clerk; those that were
    added here stay.
    """
    from steps import organisations

    here = Context.current(context)
    access.require_system(here.actor, "provision")
    done = organisations.run(everything=not events, accept_fewer=accept_fewer, report=here.report)
    if done["provisioned"] == "off":
        here.say(f"Nothing was done. {done['because']}.", **done)
        return
    changed = [f"{what}: {', '.join(done[what])}" for what in ("created", "adopted", "renamed", "paused") if done[what]]
    changed += [f"members {what}: {count}" for what, count in done["members"].items() if count]
    here.say(f"{done['organisations']} organisations. {'; '.join(changed) or 'Nothing has changed'}.", **done)
