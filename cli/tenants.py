"""Commands about tenants."""

from typing import Annotated

import typer

from cli.arguments import Slug
from cli.context import Context
from control import registry, tenants
from warehouse.errors import MisuseError

tenant_app = typer.Typer(help="Tenants.", no_args_is_help=True)


@tenant_app.command("create")
def create(
    context: typer.Context,
    name: str,
    slug: Annotated[str, typer.Option(help="Short name: becomes part of DAG ids; it never changes.")],
    timezone: Annotated[str, typer.Option(help="IANA name, like Europe/Berlin.")] = "UTC",
    clerk_org_id: Annotated[str | None, typer.Option(help="The Clerk organisation, if there is one.")] = None,
) -> None:
    """Make a tenant, with logins and default scoring configurations."""
    from steps import provision

    here = Context.current(context)
    tenant_id = provision.create_tenant(name, slug, actor=here.actor, timezone=timezone, clerk_org_id=clerk_org_id)
    here.say(
        f"{name} is tenant {slug}. Next: clarity connector add {slug} files --config FILE", id=tenant_id, slug=slug
    )


@tenant_app.command("list")
def list_tenants(context: typer.Context) -> None:
    """All tenants."""
    Context.current(context).table(
        ("slug", "name", "timezone", "paused"),
        [(entry.slug, entry.name, entry.timezone, "yes" if entry.paused else "") for entry in registry.tenants()],
        empty="No tenants yet: clarity tenant create NAME --slug SLUG",
    )


@tenant_app.command("pause")
def pause(context: typer.Context, tenant: Slug) -> None:
    """Let a tenant's runs rest: nothing is scheduled, and a run by hand is refused."""
    _set_paused(context, tenant, True)


@tenant_app.command("resume")
def resume(context: typer.Context, tenant: Slug) -> None:
    """Let a paused tenant run again."""
    _set_paused(context, tenant, False)


def _set_paused(context: typer.Context, tenant: str, paused: bool) -> None:
    here = Context.current(context)
    changed = tenants.set_paused(registry.tenant(tenant).id, paused, actor=here.actor)
    state = "paused" if paused else "running"
    here.say(f"{tenant} is {state}." if changed else f"{tenant} was {state} already.", tenant=tenant, paused=paused)


@tenant_app.command("delete")
def delete(
    context: typer.Context, tenant: Slug, yes: Annotated[bool, typer.Option("--yes", help="Really.")] = False
) -> None:
    """Remove a tenant with all its data. The audit trail stays."""
    here = Context.current(context)
    found = registry.tenant(tenant)
    if not yes:
        raise MisuseError(f"this removes {found.name} and everything that is theirs; say --yes if that is meant")
    tenants.delete(found.id, actor=here.actor)
    here.say(f"{found.name} is gone; the audit trail stays.", deleted=found.slug)
