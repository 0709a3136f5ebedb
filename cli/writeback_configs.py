"""Commands about what goes back into the CRM."""

from pathlib import Path
from typing import Annotated

import typer

from cli.arguments import Slug, read_json
from cli.context import Context
from cli.versions import VersionNumber, as_file, list_versions, tell_change
from control import registry, writeback_configs

writeback_config_app = typer.Typer(
    help="Which scores go into which fields of the CRM. Off until enabled, and then only while features.writeback is on"
    " in the tenant's settings.",
    no_args_is_help=True,
)

Connector = Annotated[str, typer.Argument(metavar="TYPE", help="The connector's type.")]
Entity = Annotated[str, typer.Argument(metavar="ENTITY", help="accounts, people or opportunities.")]


@writeback_config_app.command("show")
def show_writeback(context: typer.Context, tenant: Slug) -> None:
    """A tenant's writeback configurations."""
    here = Context.current(context)
    known = writeback_configs.show(registry.tenant(tenant).id, actor=here.actor)
    here.say(as_file(known) if known else "None yet: clarity writeback-config set", writeback_configs=known)


@writeback_config_app.command("set")
def set_writeback(
    context: typer.Context,
    tenant: Slug,
    connector: Connector,
    entity: Entity,
    file: Annotated[
        Path, typer.Argument(help='JSON: {"field_map": [{"canonicalField": ..., "targetField": ...}], "policies": {}}')
    ],
) -> None:
    """Say which scores go into which fields, as a new version. It switches nothing on or off."""
    here = Context.current(context)
    change = writeback_configs.put(registry.tenant(tenant).id, connector, entity, read_json(file), actor=here.actor)
    tell_change(here, f"The writeback of {connector} {entity}", change)


@writeback_config_app.command("enable")
def enable_writeback(context: typer.Context, tenant: Slug, connector: Connector, entity: Entity) -> None:
    """Switch a writeback configuration on, once the CRM says that each of its fields can be written."""
    from steps import writeback_targets

    here = Context.current(context)
    changed = writeback_targets.enable(registry.tenant(tenant).id, connector, entity, actor=here.actor)
    _tell_switch(here, connector, entity, "on", changed)


@writeback_config_app.command("disable")
def disable_writeback(context: typer.Context, tenant: Slug, connector: Connector, entity: Entity) -> None:
    """Switch a writeback configuration off."""
    here = Context.current(context)
    changed = writeback_configs.disable(registry.tenant(tenant).id, connector, entity, actor=here.actor)
    _tell_switch(here, connector, entity, "off", changed)


@writeback_config_app.command("versions")
def versions(context: typer.Context, tenant: Slug, connector: Connector, entity: Entity) -> None:
    """Every version of a writeback configuration."""
    here = Context.current(context)
    known = writeback_configs.versions(registry.tenant(tenant).id, connector, entity, actor=here.actor)
    list_versions(here, known, empty="None yet: clarity writeback-config set")


@writeback_config_app.command("rollback")
def rollback(
    context: typer.Context, tenant: Slug, connector: Connector, entity: Entity, version: VersionNumber
) -> None:
    """Bring an old version back, as a new one."""
    here = Context.current(context)
    change = writeback_configs.rollback(registry.tenant(tenant).id, connector, entity, version, actor=here.actor)
    tell_change(here, f"The writeback of {connector} {entity}", change)


def _tell_switch(here: Context, connector: str, entity: str, state: str, changed: bool) -> None:
    verb = "is" if changed else "was"
    here.say(f"The writeback of {connector} {entity} {verb} {state}.", enabled=state == "on", changed=changed)
