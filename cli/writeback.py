"""Commands about scores in the CRM: write them, take a run back, see and release what waits, see who changed them."""

from dataclasses import asdict, fields
from typing import Annotated, Any

import typer

from cli.arguments import Slug
from cli.context import Context
from cli.platform import progress
from control import access, registry, writebacks
from warehouse import database
from warehouse.errors import MisuseError

# of a dry run, for people; --json has them all
SHOWN_RECORDS = 50


def register(app: typer.Typer) -> None:
    app.command()(writeback)
    app.command()(undo)
    app.command()(held)
    app.command()(release)
    app.command()(drift)


def writeback(
    context: typer.Context,
    tenant: Slug,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show each record's old and new values, and send nothing.")
    ] = False,
) -> None:
    """Write what changed of a tenant's scores into the fields of its CRM that it chose."""
    here = Context.current(context)
    database.ensure_up()
    if dry_run:
        _rehearse(here, tenant)
        return
    from steps import pipeline
    from steps.writeback import WritebackFailed

    access.require(registry.tenant(tenant).id, here.actor, "run.start")
    try:
        with progress(here) as report:
            summary = pipeline.write_back(tenant, report=report)
    except WritebackFailed as failed:
        _show(here, failed.summary)
        raise
    _show(here, summary)


def undo(
    context: typer.Context,
    tenant: Slug,
    run: Annotated[
        str | None, typer.Argument(metavar="RUN", help="The run to take back. Without one: those that wrote.")
    ] = None,
) -> None:
    """Put back what a writeback found, where nobody has changed it since, and hold it until it is released."""
    here = Context.current(context)
    database.ensure_up()
    if run is None:
        _list(
            here, writebacks.Run, writebacks.runs(registry.tenant(tenant).id, actor=here.actor), "Nothing was written."
        )
        return
    from steps import pipeline

    with progress(here) as report:
        done = pipeline.undo(tenant, run, actor=here.actor, report=report)
    if here.as_json:
        here.say("", **asdict(done))
        return
    for record_id, name in done.left:
        here.say(f"  left as it is: {record_id} {name}, somebody has changed it since")
    here.say(
        f"{done.restored:,} records show again what they showed before, and are held: clarity release {tenant} --all"
        " lets the next run write to them."
    )


def held(context: typer.Context, tenant: Slug) -> None:
    """What is not written until somebody releases it."""
    here = Context.current(context)
    database.ensure_up()
    waiting = writebacks.held(registry.tenant(tenant).id, actor=here.actor)
    _list(here, writebacks.Held, waiting, "Nothing waits for you.")


def release(
    context: typer.Context,
    tenant: Slug,
    record: Annotated[list[str] | None, typer.Argument(metavar="RECORD...", help="Ids of records in the CRM.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="All that are held.")] = False,
) -> None:
    """Let the next run write to records that are held."""
    here = Context.current(context)
    if bool(record) == everything:
        raise MisuseError("name the records to release, or say --all: clarity held TENANT lists them")
    database.ensure_up()
    released = writebacks.release(registry.tenant(tenant).id, record or (), everything=everything, actor=here.actor)
    here.say(f"{len(released):,} records are released.", released=released)


def drift(context: typer.Context, tenant: Slug) -> None:
    """Who changed what we wrote, and what became of it."""
    here = Context.current(context)
    database.ensure_up()
    found = writebacks.drift(registry.tenant(tenant).id, actor=here.actor)
    _list(here, writebacks.Drift, found, "Nobody has changed what we wrote.")


def _list(here: Context, kind: Any, rows: Any, empty: str) -> None:
    columns = [each.name for each in fields(kind)]
    here.table(columns, [tuple(getattr(row, name) for name in columns) for row in rows], empty=empty)


def _show(here: Context, summary: dict[str, Any]) -> None:
    if summary["writeback"] == "off":
        here.say(f"Nothing is written: {summary['because']}.", **summary)
        return
    if here.as_json:
        here.say("", **summary)
        return
    told = ", ".join(f"{number:,} {outcome}" for outcome, number in summary["records"].items())
    here.say(f"{told or 'Nothing to write'}. Run {summary['run_id']}")
    for failure in summary["failures"]:
        here.say(
            f"  {failure['outcome']}: {failure['stream']} {failure['record_id']} {failure['name'] or ''}:"
            f" {failure['code'] or ''} {failure['error'] or ''}"
        )
    if summary["alert"]:
        here.say(f"ALERT: {summary['alert']}")


def _rehearse(here: Context, tenant: str) -> None:
    from steps import writeback_rehearsal

    with progress(here) as report:
        done = writeback_rehearsal.run(tenant, actor=here.actor, report=report)
    if here.as_json:
        here.say("", **asdict(done))
        return
    for proposal in done.proposals[:SHOWN_RECORDS]:
        here.say(f"{proposal.stream} {proposal.record_id} {proposal.name or ''}")
        for name, (old, new) in proposal.fields.items():
            here.say(f"    {name}: {old} -> {new}")
    if (more := len(done.proposals) - SHOWN_RECORDS) > 0:
        here.say(f"and {more:,} more records: --json shows all")
    for problem in done.problems:
        here.say(f"can't be written: {problem}")
    fields = ", ".join(f"{number:,} {action}" for action, number in done.fields.items())
    here.say(f"{len(done.proposals):,} records would be written. By field: {fields or 'none'}. Nothing was sent.")
    if done.is_off:
        here.say("A run writes nothing yet: features.writeback is off in the tenant's settings.")
