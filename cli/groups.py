"""Commands about buying groups."""

from collections.abc import Iterator
from dataclasses import asdict
from typing import Annotated

import typer

from cli.arguments import Slug
from cli.context import Context
from control import groups, registry
from control.groups import Group, Member

group_app = typer.Typer(help="Who takes part in a purchase, in which role, and who is missing.", no_args_is_help=True)

GroupId = Annotated[
    str,
    typer.Argument(metavar="GROUP", help="The group's id; or its account, by our id, the source's id or the domain."),
]
Person = Annotated[str, typer.Argument(metavar="PERSON", help="Our id, the source's id or the e-mail address.")]


@group_app.command("show")
def show_group(context: typer.Context, tenant: Slug, group: GroupId) -> None:
    """The buying groups of an account: members and roles, how complete they are, and who could fill the gaps."""
    here = Context.current(context)
    found = groups.show(registry.tenant(tenant).id, group, actor=here.actor)
    here.say("\n\n".join("\n".join(_lines(one)) for one in found), groups=[asdict(one) for one in found])


@group_app.command("confirm")
def confirm_role(
    context: typer.Context,
    tenant: Slug,
    group: GroupId,
    person: Person,
    role: Annotated[str, typer.Argument(metavar="ROLE", help="For example champion or economic_buyer.")],
) -> None:
    """Say which role somebody has. No run overwrites it; `withdraw` takes it back."""
    here = Context.current(context)
    changed = groups.confirm(registry.tenant(tenant).id, group, person, role, actor=here.actor)
    word = "is" if changed else "was already"
    here.say(
        f"{person} {word} {_words(role)}; completeness counts it from the next run on.", role=role, changed=changed
    )


@group_app.command("withdraw")
def withdraw_role(context: typer.Context, tenant: Slug, group: GroupId, person: Person) -> None:
    """Take a confirmed role back: from the next run on evidence decides again."""
    here = Context.current(context)
    changed = groups.withdraw(registry.tenant(tenant).id, group, person, actor=here.actor)
    sentence = "The next run decides by evidence again." if changed else "No role of theirs was confirmed."
    here.say(sentence, changed=changed)


def _lines(group: Group) -> Iterator[str]:
    yield f"{group.name}  ({group.id})"
    if group.completeness is None:
        yield "No role is required, so there is nothing to complete."
    else:
        yield f"{group.completeness:.1f} % complete, {group.engaged or 0:.1f} % by people who are active"
    yield ""
    for member in group.members:
        known = " (not in the CRM)" if member.is_discovered else ""
        yield f"  {_words(member.role):20} {_sure(member):>10}  {member.name}{known}"
    for role in group.missing:
        could = [one for one in group.candidates if one.role == role]
        yield ""
        yield f"Nobody is {_words(role)} yet" + (", but could be:" if could else ", and nobody known could be.")
        for one in could:
            yield f"  {one.name}: {one.reason}"


def _sure(member: Member) -> str:
    return "confirmed" if member.is_confirmed else f"{member.confidence:.0%} sure" if member.role != "unknown" else ""


def _words(role: str) -> str:
    return role.replace("_", " ")
