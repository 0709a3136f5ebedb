"""Commands about who belongs to a tenant."""

from typing import Annotated

import typer

from cli.arguments import Slug
from cli.context import Context
from control import members, registry

member_app = typer.Typer(help="Who belongs to a tenant, and as what: admin, manager or viewer.", no_args_is_help=True)

User = Annotated[str, typer.Argument(metavar="USER", help="The user, as --actor names them.")]


@member_app.command("add")
def add_member(
    context: typer.Context,
    tenant: Slug,
    user: User,
    role: Annotated[str, typer.Option(help="admin, manager or viewer.")],
) -> None:
    """Make somebody a member, or give a member another role."""
    here = Context.current(context)
    changed = members.add(registry.tenant(tenant).id, user, role, actor=here.actor)
    here.say(f"{user} {'is' if changed else 'was'} {role} of {tenant}.", user=user, role=role, changed=changed)


@member_app.command("list")
def list_members(context: typer.Context, tenant: Slug) -> None:
    """A tenant's members."""
    here = Context.current(context)
    here.table(
        ("user", "role", "since"),
        members.all_of(registry.tenant(tenant).id, actor=here.actor),
        empty=f"None yet: clarity member add {tenant} USER --role admin",
    )


@member_app.command("remove")
def remove_member(context: typer.Context, tenant: Slug, user: User) -> None:
    """Take a member's role away, and their BI logins with it."""
    here = Context.current(context)
    members.remove(registry.tenant(tenant).id, user, actor=here.actor)
    here.say(f"{user} is no member of {tenant} any more.", removed=user)
