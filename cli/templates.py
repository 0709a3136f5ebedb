"""Commands about role templates."""

from pathlib import Path
from typing import Annotated

import typer

from cli.arguments import Slug, read_json
from cli.context import Context
from cli.versions import VersionNumber, as_file, list_versions, tell_change
from control import registry, templates

template_app = typer.Typer(help="Who belongs in a buying group, and how much each role counts.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="NAME", help="The template's name.")]


@template_app.command("show")
def show_templates(context: typer.Context, tenant: Slug) -> None:
    """A tenant's role templates, the default first, each as `set` reads it."""
    here = Context.current(context)
    known = templates.show(registry.tenant(tenant).id, actor=here.actor)
    here.say("\n".join(as_file(template) for template in known), templates=known)


@template_app.command("set")
def set_template(
    context: typer.Context,
    tenant: Slug,
    file: Annotated[Path, typer.Argument(help="A JSON file with one template; its name says which.")],
) -> None:
    """Make a role template, or change the one of that name, as a new version."""
    here = Context.current(context)
    content = read_json(file)
    change = templates.put(registry.tenant(tenant).id, content, actor=here.actor)
    tell_change(here, f"The template {content['name']}", change)


@template_app.command("versions")
def versions(context: typer.Context, tenant: Slug, name: Name) -> None:
    """Every version of a role template."""
    here = Context.current(context)
    known = templates.versions(registry.tenant(tenant).id, name, actor=here.actor)
    list_versions(here, known, empty="None: it is as it was when the tenant was made.")


@template_app.command("rollback")
def rollback(context: typer.Context, tenant: Slug, name: Name, version: VersionNumber) -> None:
    """Bring an old version back, as a new one; which template is the default stays."""
    here = Context.current(context)
    change = templates.rollback(registry.tenant(tenant).id, name, version, actor=here.actor)
    tell_change(here, f"The template {name}", change)
