"""Commands about field mappings."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from cli.arguments import Slug, read_json
from cli.context import Context
from cli.versions import VersionNumber, as_file, list_versions, tell_change
from control import mappings, registry

mapping_app = typer.Typer(
    help="Which of a source's fields fill which of our columns. A mapping is checked and kept here; it takes effect"
    " with the transform that compiles it.",
    no_args_is_help=True,
)

Connector = Annotated[str, typer.Argument(metavar="TYPE", help="The connector's type, like files.")]
Entity = Annotated[str, typer.Argument(metavar="ENTITY", help="accounts, people, opportunities or activities.")]


@mapping_app.command("show")
def show_mapping(context: typer.Context, tenant: Slug, connector: Connector, entity: Entity) -> None:
    """The mapping in force, as `set` reads it; the default until there is one of the tenant's own."""
    here = Context.current(context)
    in_force = mappings.show(registry.tenant(tenant).id, connector, entity, actor=here.actor)
    here.say(as_file({"mappings": in_force.mappings}), **asdict(in_force))


@mapping_app.command("set")
def set_mapping(
    context: typer.Context,
    tenant: Slug,
    connector: Connector,
    entity: Entity,
    file: Annotated[Path, typer.Argument(help='A JSON file: {"mappings": [{"sourceField": ..., "targetField": ...}]}')],
) -> None:
    """Put a mapping in force, as a new version. Columns that it leaves out stay empty."""
    here = Context.current(context)
    change = mappings.put(registry.tenant(tenant).id, connector, entity, read_json(file), actor=here.actor)
    tell_change(here, f"The mapping of {connector} {entity}", change)


@mapping_app.command("reset")
def reset_mapping(context: typer.Context, tenant: Slug, connector: Connector, entity: Entity) -> None:
    """Put the default mapping back in force, as a new version."""
    here = Context.current(context)
    change = mappings.reset(registry.tenant(tenant).id, connector, entity, actor=here.actor)
    tell_change(here, f"The mapping of {connector} {entity}", change)


@mapping_app.command("versions")
def versions(context: typer.Context, tenant: Slug, connector: Connector, entity: Entity) -> None:
    """Every version of a mapping."""
    here = Context.current(context)
    known = mappings.versions(registry.tenant(tenant).id, connector, entity, actor=here.actor)
    list_versions(here, known, empty="None: the default is in force and was never changed.")


@mapping_app.command("rollback")
def rollback(
    context: typer.Context, tenant: Slug, connector: Connector, entity: Entity, version: VersionNumber
) -> None:
    """Bring an old version back, as a new one."""
    here = Context.current(context)
    change = mappings.rollback(registry.tenant(tenant).id, connector, entity, version, actor=here.actor)
    tell_change(here, f"The mapping of {connector} {entity}", change)
