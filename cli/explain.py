"""`clarity explain`: why a score is what it is."""

from typing import Annotated

import typer

from cli.arguments import Slug
from cli.context import Context
from warehouse import database


def register(app: typer.Typer) -> None:
    app.command()(explain)


def explain(
    context: typer.Context,
    tenant: Slug,
    entity: Annotated[str, typer.Argument(metavar="ENTITY", help="account, person or opportunity.")],
    named: Annotated[
        str, typer.Argument(metavar="ID", help="Our id or the source's; a person's e-mail address; a company's domain.")
    ],
) -> None:
    """A score with its reasons: because of what, made of which parts, and what would make it hot."""
    from steps import explain as explaining

    here = Context.current(context)
    database.ensure_up()
    found = explaining.run(tenant, entity, named, actor=here.actor)
    here.say("\n".join(found.lines), **found.facts)
