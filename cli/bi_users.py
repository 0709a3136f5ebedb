"""Commands about logins for BI tools."""

from typing import Annotated

import typer

from cli.arguments import Slug
from cli.context import Context
from control import bi_users, registry
from warehouse import database
from warehouse.errors import MisuseError

bi_app = typer.Typer(help="Logins for BI tools: a tenant's marts and nothing else.", no_args_is_help=True)


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
    here = Context.current(context)
    names = bi_users.names(registry.tenant(tenant).id, actor=here.actor)
    here.table(("login",), [(name,) for name in names], empty="None yet: clarity bi-user add")


@bi_app.command("revoke")
def revoke_bi_user(context: typer.Context, tenant: Slug, login: str) -> None:
    """Remove a BI login."""
    here = Context.current(context)
    if not bi_users.revoke(registry.tenant(tenant).id, login, actor=here.actor):
        raise MisuseError(f"{tenant} has no BI login {login}: clarity bi-user list {tenant}")
    here.say(f"{login} is gone.", revoked=login)
