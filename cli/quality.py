"""Commands about the gate before publication: what it expected and found, and letting a breach pass."""

from collections.abc import Sequence
from dataclasses import asdict, fields
from typing import Annotated

import typer

from cli.arguments import Slug
from cli.context import Context
from cli.platform import progress
from control import access, registry
from control import quality as results
from control.quality import Told
from warehouse import database
from warehouse.errors import MisuseError


def register(app: typer.Typer) -> None:
    app.command()(quality)
    app.command()(publish)


def quality(
    context: typer.Context,
    tenant: Slug,
    run: Annotated[
        str | None, typer.Option(help="All that one run expected. Default: each expectation when last looked at.")
    ] = None,
    pages: Annotated[
        bool, typer.Option("--pages", help="Make pages to read, of the last runs and of those held back.")
    ] = False,
) -> None:
    """What was expected before publication, and what was found; what was not met comes first, with what to do."""
    here = Context.current(context)
    database.ensure_up()
    tenant_id = registry.tenant(tenant).id
    told = results.latest(tenant_id, actor=here.actor, run_id=run)
    if pages:
        from steps import quality_pages

        index = quality_pages.make(tenant_id, tenant)
        here.say(str(index), pages=str(index))
        return
    _show(here, told)


def publish(
    context: typer.Context,
    tenant: Slug,
    accept_breach: Annotated[
        str | None,
        typer.Option("--accept-breach", metavar="WHY", help="This is how things are: publish, and write down why."),
    ] = None,
) -> None:
    """Publish what the last run scored and the gate held back, if it may pass now."""
    from steps import pipeline

    here = Context.current(context)
    if accept_breach is not None and not accept_breach.strip():
        raise MisuseError('--accept-breach takes a reason, like "we closed the Dutch office"')
    database.ensure_up()
    tenant_id = registry.tenant(tenant).id
    access.require(tenant_id, here.actor, "run.start")
    with progress(here) as report:
        done = pipeline.publish_waiting(
            tenant, actor=here.actor, accept_because=accept_breach and accept_breach.strip(), report=report
        )
    here.say(f"{done['moved']:,} scores are another now.", moved=done["moved"], history=done["history"])


def _show(here: Context, told: Sequence[Told]) -> None:
    if here.as_json:
        here.table([field.name for field in fields(Told)], [tuple(asdict(one).values()) for one in told], empty="")
        return
    here.table(
        ("expectation", "observed", "at least", "at most", "verdict", "looked at"),
        [
            (
                one.expectation,
                _number(one.observed),
                _number(one.lower_bound),
                _number(one.upper_bound),
                one.verdict,
                f"{one.checked_at:%Y-%m-%d %H:%M}",
            )
            for one in told
        ],
        empty="The gate has not judged a run of this tenant yet.",
    )
    for one in told:
        if one.since is not None:
            here.say(f"{one.expectation}: {one.sentence}; {one.verdict} since {one.since:%Y-%m-%d %H:%M}.")
            here.say(f"    {f'accepted: {one.accepted_because}' if one.accepted_because else one.remedy}")


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:,.3f}".rstrip("0").rstrip(".")
