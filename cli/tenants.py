"""Commands about tenants."""

from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer

from cli.arguments import Slug
from cli.context import Context
from control import access, checklist, registry, settings, tenants
from warehouse.errors import MisuseError

tenant_app = typer.Typer(help="Tenants.", no_args_is_help=True)

Yes = Annotated[bool, typer.Option("--yes", help="Really.")]


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
    here = Context.current(context)
    access.require_system(here.actor, "tenant.list")
    here.table(
        ("slug", "name", "timezone", "paused"),
        [(entry.slug, entry.name, entry.timezone, "yes" if entry.paused else "") for entry in registry.everybody()],
        empty="No tenants yet: clarity tenant create NAME --slug SLUG",
    )


@tenant_app.command("show")
def show(context: typer.Context, tenant: Slug) -> None:
    """A tenant at a glance, and what is left to do until its scores can be trusted."""
    here = Context.current(context)
    seen = checklist.overview(registry.tenant(tenant), actor=here.actor)
    if here.as_json:
        here.say("", **seen.facts, checklist=[vars(item) for item in seen.checklist])
        return
    here.table(("", tenant), list(seen.facts.items()), empty="")
    here.table(
        ("done", "to set up", "", "command"),
        [("yes" if item.done else "no", item.what, item.need, item.command) for item in seen.checklist],
        empty="",
    )


@tenant_app.command("settings")
def show_settings(
    context: typer.Context,
    tenant: Slug,
    assignments: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Set it; may be said several times.")
    ] = None,
    unset: Annotated[
        list[str] | None, typer.Option("--unset", metavar="KEY", help="Go back to the platform's default.")
    ] = None,
) -> None:
    """A tenant's settings and where each comes from; with --set or --unset, change them."""
    here = Context.current(context)
    found = registry.tenant(tenant)
    if assignments or unset:
        settings.change(found.id, actor=here.actor, assignments=assignments or (), unset=unset or ())
    here.table(
        ("setting", "value", "origin", "about"),
        [
            (setting.key, setting.value, setting.origin, setting.about)
            for setting in settings.show(found.id, actor=here.actor)
        ],
        empty="",
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


@tenant_app.command("export")
def export(
    context: typer.Context,
    tenant: Slug,
    to: Annotated[
        Path | None, typer.Option(help="A new folder, or a new file that ends in .tar. Default: TENANT.tar here.")
    ] = None,
) -> None:
    """Write everything of a tenant to files that `clarity tenant import` loads again."""
    from control import transfer

    here = Context.current(context)
    done = transfer.export(registry.tenant(tenant), to or Path(f"{tenant}.tar"), actor=here.actor, report=here.report)
    here.say(
        f"{done.rows} rows of {tenant} are in {done.place}: personal data, keep it safe. Connectors travel sealed and"
        " open only where the same encryption keys are in force; BI logins do not travel.",
        file=done.place,
        tables=done.tables,
        rows=done.rows,
    )


@tenant_app.command("import")
def import_tenant(
    context: typer.Context,
    source: Annotated[Path, typer.Argument(metavar="FILE", help="What `clarity tenant export` wrote.")],
) -> None:
    """Make the tenant that an export holds; one that is there is never touched."""
    from control import transfer

    here = Context.current(context)
    done = transfer.load(source, actor=here.actor, report=here.report)
    here.say(
        f"{done.slug} is here with {done.rows} rows. Next: clarity tenant show {done.slug}",
        id=done.tenant_id,
        slug=done.slug,
        rows=done.rows,
    )


@tenant_app.command("delete")
def delete(context: typer.Context, tenant: Slug, yes: Yes = False) -> None:
    """Remove a tenant with all its data, and its DAGs with their runs. The audit trail stays."""
    from cli import supervisor
    from cli.airflow_api import Airflow

    here = Context.current(context)
    found = registry.tenant(tenant)
    if not yes:
        raise MisuseError(f"this removes {found.name} and everything that is theirs; say --yes if that is meant")
    tenants.delete(found.id, actor=here.actor)
    if supervisor.is_healthy():
        with closing(Airflow()) as airflow:
            for kind in ("pipeline", "rescore"):
                airflow.forget(f"{kind}__{found.slug}")
    here.say(f"{found.name} is gone; the audit trail stays.", deleted=found.slug)


@tenant_app.command("erase")
def erase(
    context: typer.Context,
    tenant: Slug,
    email: Annotated[str, typer.Option(help="The person's e-mail address.")],
    yes: Yes = False,
) -> None:
    """Take one person out of everything that a tenant has, and keep them out of later syncs."""
    from control import erasure

    here = Context.current(context)
    found = registry.tenant(tenant)
    if not yes:
        raise MisuseError(f"this removes a person from {found.name} for good; say --yes if that is meant")
    done = erasure.erase(found, email, actor=here.actor, report=here.report)
    if here.as_json:
        here.say("", removed=done.removed, cleared=done.cleared, left=done.left)
        return
    rows = [(table, count, "removed") for table, count in sorted(done.removed.items())]
    rows += [(table, count, "kept, no longer tells of them") for table, count in sorted(done.cleared.items())]
    here.table(("table", "rows", ""), rows, empty="Nothing about this person was found.")
    for place in done.left:
        here.say(f"The address still stands in {place}: rows of the platform's own users, or the audit trail.")
    here.say(
        "A later sync leaves them out. What is not ours to change: the source itself (CRM, files), and exports and"
        " backups made before."
    )
