"""`clarity writeback`: scores into the CRM, here and now."""

from dataclasses import asdict
from typing import Annotated, Any

import typer

from cli.arguments import Slug
from cli.context import Context
from cli.platform import progress
from control import access, registry
from warehouse import database

# of a dry run, for people; --json has them all
SHOWN_RECORDS = 50


def register(app: typer.Typer) -> None:
    app.command()(writeback)


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
