"""Commands about a tenant's scoring configurations."""

from pathlib import Path
from typing import Annotated

import typer

from cli.arguments import Slug, read_json
from cli.context import Context
from cli.versions import VersionNumber, as_file, list_versions
from control import configs, registry

config_app = typer.Typer(help="A tenant's scoring configurations.", no_args_is_help=True)

Kind = Annotated[str, typer.Argument(metavar="TYPE", help="fit, engagement or combined.")]


@config_app.command("show")
def show_config(
    context: typer.Context,
    tenant: Slug,
    kind: Annotated[str | None, typer.Argument(metavar="[TYPE]", help="fit, engagement or combined.")] = None,
) -> None:
    """The scoring configurations in force, or one of them as `set` reads it."""
    here = Context.current(context)
    in_force = configs.show(registry.tenant(tenant).id, actor=here.actor)
    shown = in_force.configs if kind is None else {kind: in_force.configs[configs.known(kind)]}
    here.say(as_file(shown if kind is None else shown[kind]), score_version=in_force.score_version, configs=shown)


@config_app.command("set")
def set_config(
    context: typer.Context,
    tenant: Slug,
    kind: Kind,
    file: Annotated[Path, typer.Argument(help="A JSON file; what it leaves out keeps the default.")],
) -> None:
    """Put a scoring configuration in force, as a new version."""
    from steps import provision

    here = Context.current(context)
    version = provision.set_scoring_config(registry.tenant(tenant).id, kind, read_json(file), actor=here.actor)
    here.say(f"{kind} is at version {version}; clarity run {tenant} scores with it.", type=kind, version=version)


@config_app.command("versions")
def versions(context: typer.Context, tenant: Slug, kind: Kind) -> None:
    """Every version of a scoring configuration."""
    here = Context.current(context)
    list_versions(here, configs.versions(registry.tenant(tenant).id, kind, actor=here.actor), empty="None yet.")


@config_app.command("rollback")
def rollback(context: typer.Context, tenant: Slug, kind: Kind, version: VersionNumber) -> None:
    """Bring an old version back, as a new one; nothing is edited in place."""
    from steps import provision

    here = Context.current(context)
    now = provision.rollback_scoring_config(registry.tenant(tenant).id, kind, version, actor=here.actor)
    here.say(f"{kind} is at version {now}, with the content of version {version}.", type=kind, version=now)
