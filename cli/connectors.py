"""Commands about a tenant's connectors."""

from pathlib import Path
from typing import Annotated

import typer

from cli.arguments import Slug, read_json
from cli.context import Context
from control import connectors, registry
from warehouse import database

connector_app = typer.Typer(help="A tenant's connectors.", no_args_is_help=True)


@connector_app.command("add")
def add_connector(
    context: typer.Context,
    tenant: Slug,
    connector: Annotated[str, typer.Argument(metavar="TYPE", help="The connector's type, like files.")],
    config: Annotated[Path, typer.Option(help="A JSON file with the connector's configuration.")],
) -> None:
    """Add a connector to a tenant, or change its configuration."""
    from steps import provision

    here = Context.current(context)
    connector_id = provision.add_connector(registry.tenant(tenant).id, connector, read_json(config), actor=here.actor)
    here.say(f"{tenant} has a {connector} connector. Next: clarity run {tenant}", id=connector_id, type=connector)


@connector_app.command("list")
def list_connectors(context: typer.Context, tenant: Slug) -> None:
    """A tenant's connectors and how their last sync went."""
    found = registry.tenant(tenant)
    with database.control_session(found.id) as connection:
        rows = connectors.overview(connection, found.id)
    Context.current(context).table(
        ("type", "status", "last sync", "last error"), rows, empty="No connectors yet: clarity connector add"
    )


@connector_app.command("test")
def test_connector(
    context: typer.Context, tenant: Slug, connector: Annotated[str, typer.Argument(metavar="TYPE")]
) -> None:
    """Ask the other side whether the connector would work, without reading data."""
    from steps import extract

    here = Context.current(context)
    health = extract.check(tenant, connector)
    here.say(health.message, ok=health.ok, message=health.message)
    if not health.ok:
        raise typer.Exit(1)
