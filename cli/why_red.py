"""`clarity why-red`: why a run failed, what that means, and what to do."""

from typing import Annotated

import typer

from cli.context import Context
from warehouse import database


def register(app: typer.Typer) -> None:
    app.command("why-red")(why_red)


def why_red(
    context: typer.Context,
    run: Annotated[
        str,
        typer.Argument(
            metavar="RUN", help="A run, like pipeline__acme/<run id>; or a tenant or DAG, for its last red run."
        ),
    ],
) -> None:
    """Why a run is red: the cause, what was not refreshed, what is still good, and the safe command to run next."""
    from steps import why_red as finding

    here = Context.current(context)
    database.ensure_up()
    found = finding.run(run, actor=here.actor)
    here.say("\n".join(found.lines), **found.facts)
