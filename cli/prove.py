"""`clarity prove`: what a security officer asks to see."""

from pathlib import Path
from typing import Annotated

import typer

from cli.arguments import Slug
from cli.context import Context
from warehouse.errors import ClarityError


def register(app: typer.Typer) -> None:
    app.command()(prove)


def prove(
    context: typer.Context,
    tenant: Slug,
    to: Annotated[
        Path | None, typer.Option("--to", help="The file to write. Default: prove-<tenant>.html here.")
    ] = None,
) -> None:
    """Try to break this tenant's isolation, now, and write a page about it: roles, keys, connectors, consent."""
    from steps import prove as proving

    here = Context.current(context)
    file = to or Path(f"prove-{tenant}.html")
    page, sound = proving.run(tenant, actor=here.actor)
    try:
        file.write_text(page, encoding="utf-8")
    except OSError as error:
        raise ClarityError(f"{file} can't be written: {error.strerror}. Name another with --to") from None
    here.say(f"{file.resolve()} says what was tried and found.", file=str(file.resolve()), sound=sound)
    if not sound:
        raise ClarityError(f"something is not as it should be: open {file.resolve()}")
