"""Commands about tenants, their connectors, configurations and BI logins."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from cli.context import Context
from control import bi_users, configs, connectors, registry, tenants
from warehouse import database
from warehouse.errors import MisuseError

tenant_app = typer.Typer(help="Tenants.", no_args_is_help=True)
connector_app = typer.Typer(help="A tenant's connectors.", no_args_is_help=True)
config_app = typer.Typer(help="A tenant's scoring configurations.", no_args_is_help=True)
bi_app = typer.Typer(help="Logins for BI tools: a tenant's marts and nothing else.", no_args_is_help=True)

Slug = Annotated[str, typer.Argument(metavar="TENANT", help="The tenant's slug.")]


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


@bi_app.command("add")
def add_bi_user(
    context: typer.Context,
    tenant: Slug,
    member: Annotated[str | None, typer.Option(help="The member who will use it.")] = None,
) -> None:
    """Make a login for a BI tool. Its password is shown now and never again."""
    here = Context.current(context)
    login = bi_users.add(registry.tenant(tenant).id, actor=here.actor, member=member)
    address = database.url(database.conninfo(login))
    here.say(f"Login {login.name}. Its address, shown this once:\n{address}", login=login.name, url=address)


@bi_app.command("list")
def list_bi_users(context: typer.Context, tenant: Slug) -> None:
    """A tenant's BI logins."""
    names = bi_users.names(registry.tenant(tenant).id)
    Context.current(context).table(("login",), [(name,) for name in names], empty="None yet: clarity bi-user add")


@bi_app.command("revoke")
def revoke_bi_user(context: typer.Context, tenant: Slug, login: str) -> None:
    """Remove a BI login."""
    here = Context.current(context)
    if not bi_users.revoke(registry.tenant(tenant).id, login, actor=here.actor):
        raise MisuseError(f"{tenant} has no BI login {login}: clarity bi-user list {tenant}")
    here.say(f"{login} is gone.", revoked=login)


def read_json(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise MisuseError(f"{file} can't be read: {error.strerror}") from None
    except ValueError as error:
        raise MisuseError(f"{file} is not JSON: {error}") from None
    if not isinstance(content, dict):
        raise MisuseError(f'{file} must hold a JSON object, like {{"folder": "/data/acme"}}')
    return content
