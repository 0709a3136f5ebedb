"""Commands about a tenant's scoring configurations."""

import json
from pathlib import Path
from typing import Annotated

import typer

from cli.arguments import Slug, read_json
from cli.context import Context
from control import configs, registry
from warehouse import database

config_app = typer.Typer(help="A tenant's scoring configurations.", no_args_is_help=True)


@config_app.command("show")
def show_config(context: typer.Context, tenant: Slug) -> None:
    """The scoring configurations in force."""
    found = registry.tenant(tenant)
    with database.control_session(found.id) as connection:
        in_force = configs.in_force(connection, found.id)
    Context.current(context).say(
        json.dumps(in_force.configs, indent=2, ensure_ascii=False),
        score_version=in_force.score_version,
        configs=in_force.configs,
    )


@config_app.command("set")
def set_config(
    context: typer.Context,
    tenant: Slug,
    kind: Annotated[str, typer.Argument(metavar="TYPE", help="fit, engagement or combined.")],
    file: Annotated[Path, typer.Argument(help="A JSON file; what it leaves out keeps the default.")],
) -> None:
    """Put a scoring configuration in force, as a new version."""
    from steps import provision

    here = Context.current(context)
    version = provision.set_scoring_config(registry.tenant(tenant).id, kind, read_json(file), actor=here.actor)
    here.say(f"{kind} is at version {version}; clarity run {tenant} scores with it.", type=kind, version=version)
