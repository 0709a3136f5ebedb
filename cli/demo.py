"""`clarity demo`: see the platform at work."""

from typing import Annotated

import typer

from cli.context import Context

app = typer.Typer(help="Three small companies, scored in the real Airflow.", invoke_without_command=True)


@app.callback()
def demo(context: typer.Context) -> None:
    """Start the platform, score three tenants, show their top accounts and where to look."""
    if context.invoked_subcommand is None:
        _run(context)


@app.command()
def advance(
    context: typer.Context, days: Annotated[int, typer.Argument(min=1, max=365, help="How many days pass.")]
) -> None:
    """Let time pass in the demo's world, and score it again."""
    _run(context, days)


def _run(context: typer.Context, days: int = 0) -> None:
    # an invented world takes longer to import than most commands take
    from cli import demonstration

    demonstration.run(Context.current(context), days)
