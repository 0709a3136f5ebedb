"""Commands about incidents, and about who is told of them."""

from dataclasses import asdict, fields
from pathlib import Path
from typing import Annotated

import typer

from cli.arguments import Slug, read_json
from cli.context import Context
from control import access, alert_channels, incidents, registry
from control.alert_channels import Shown
from control.incidents import Incident
from warehouse import database
from warehouse.errors import ClarityError

alert_app = typer.Typer(help="Who is told of a tenant's incidents.", no_args_is_help=True)

Kind = Annotated[str, typer.Argument(metavar="KIND", help=f"One of {', '.join(alert_channels.KINDS)}.")]


def register(app: typer.Typer) -> None:
    app.command("incidents")(show_incidents)


def show_incidents(context: typer.Context, tenant: Slug) -> None:
    """What is wrong at a tenant and what to do, then what was."""
    here = Context.current(context)
    database.ensure_up()
    found = incidents.recent(registry.tenant(tenant).id, actor=here.actor)
    if here.as_json:
        here.table([field.name for field in fields(Incident)], [tuple(asdict(one).values()) for one in found], empty="")
        return
    for one in found:
        ended = f", over since {one.recovered_at:%Y-%m-%d %H:%M}" if one.recovered_at else ""
        here.say(f"{one.opened_at:%Y-%m-%d %H:%M}  {one.stage}  {one.severity}{ended}, in {one.times} runs")
        here.say(f"    {one.reason}")
        if not one.recovered_at:
            here.say(f"    {one.remedy}")
    if not found:
        here.say("Nothing is wrong, and nothing was.")


@alert_app.command("show")
def show(context: typer.Context, tenant: Slug) -> None:
    """The tenant's own channels. What is in them is shown to nobody."""
    here = Context.current(context)
    database.ensure_up()
    found = alert_channels.show(registry.tenant(tenant).id, actor=here.actor)
    here.table(
        [field.name for field in fields(Shown)],
        [tuple(asdict(one).values()) for one in found],
        empty="None of its own; the platform's operators are told by the channels that the environment names.",
    )


@alert_app.command("set")
def set_channel(
    context: typer.Context,
    tenant: Slug,
    kind: Kind,
    config: Annotated[Path, typer.Option(help="A JSON file: url for slack; url and secret for webhook; to for email.")],
) -> None:
    """Tell the tenant's own people as well."""
    here = Context.current(context)
    content = read_json(config)
    database.ensure_up()
    alert_channels.put(registry.tenant(tenant).id, kind, content, actor=here.actor)
    here.say(f"{kind} is told from now on: `clarity alerts test {tenant}` tries it.", kind=kind)


@alert_app.command("remove")
def remove(context: typer.Context, tenant: Slug, kind: Kind) -> None:
    """Tell nobody there any more."""
    here = Context.current(context)
    database.ensure_up()
    alert_channels.remove(registry.tenant(tenant).id, kind, actor=here.actor)
    here.say(f"{kind} is not told any more.", kind=kind)


@alert_app.command("test")
def try_out(context: typer.Context, tenant: Slug) -> None:
    """Send a message to each channel, the platform's and the tenant's own, and say what became of it."""
    from steps import alerts

    here = Context.current(context)
    database.ensure_up()
    entry = registry.tenant(tenant)
    access.require(entry.id, here.actor, "alerts.set")
    outcomes = alerts.try_out(entry)
    here.table(
        ("channel", "outcome"), [(name, why or "taken") for name, why in outcomes], empty="No channel is set up."
    )
    if failed := [name for name, why in outcomes if why]:
        raise ClarityError(f"not every channel took the message: {', '.join(failed)}")
