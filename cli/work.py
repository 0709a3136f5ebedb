"""Commands that do a tenant's work here and now, as its DAG does it in Airflow."""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import date
from typing import Annotated, Any

import typer

from cli.arguments import Slug
from cli.context import Context
from cli.platform import progress
from control import access, registry
from warehouse import database
from warehouse.errors import ClarityError, MisuseError

# what a sync counts, and what that is called here
COUNTED = {
    "created": "created",
    "updated": "updated",
    "unchanged": "unchanged",
    "deleted": "deleted",
    "failed": "quarantined",
}

# of a value in an example; the whole of it is in the private schema
LONGEST_VALUE = 60

AsOf = Annotated[
    str | None, typer.Option("--as-of", help="The day to score for, like 2026-03-10. Default: today (UTC).")
]


def register(app: typer.Typer) -> None:
    app.command()(run)
    app.command()(sync)
    app.command()(transform)


def run(
    context: typer.Context,
    tenant: Slug,
    as_of: AsOf = None,
    full: Annotated[bool, typer.Option("--full", help="Read everything again, not only what is new.")] = False,
) -> None:
    """Run a tenant's whole pipeline in this process: extract, transform, score, publish, write back."""
    from steps import pipeline

    here = Context.current(context)
    database.ensure_up()
    access.require(registry.tenant(tenant).id, here.actor, "run.start")
    with progress(here) as report:
        pipeline.run(tenant, as_of=parse_day(as_of), full=full, report=report)
    here.say(f"{tenant} is scored.", tenant=tenant, scored=True)


def sync(
    context: typer.Context,
    tenant: Slug,
    connector: Annotated[str | None, typer.Option(help="The connector to read. Default: all.")] = None,
    stream: Annotated[list[str] | None, typer.Option(help="A stream to read; may be repeated. Default: all.")] = None,
    full: Annotated[bool, typer.Option("--full", help="Read everything again, not only what is new.")] = False,
    accept_fewer: Annotated[
        bool,
        typer.Option("--accept-fewer", help="Take it for true that a stream holds under half of what it held."),
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Read nothing; say what it would cost at vendors who are paid by the record."),
    ] = False,
) -> None:
    """Read what is new at a tenant's sources into raw, here and now. Ends with what arrived, stream by stream."""
    from steps import pipeline

    here = Context.current(context)
    if accept_fewer and not stream:
        raise MisuseError("--accept-fewer is said stream by stream: name it with --stream")
    database.ensure_up()
    access.require(registry.tenant(tenant).id, here.actor, "run.start")
    if dry_run:
        _show_costs(here, pipeline.costs(tenant, connector=connector, streams=stream or (), full=full))
        return
    with progress(here) as report:
        summaries = pipeline.sync(
            tenant, connector=connector, streams=stream or (), full=full, accept_fewer=accept_fewer, report=report
        )
    _show(here, summaries)
    if failed := [f"{summary['connector']}: {why}" for summary in summaries if (why := summary["failure"])]:
        raise ClarityError(f"not everything arrived. {'; '.join(failed)}")


def transform(
    context: typer.Context,
    tenant: Slug,
    select: Annotated[
        list[str] | None,
        typer.Option(
            help="Models, in dbt's own words: a name, +name with all it reads, a folder, tag:x; may be repeated."
            " Default: all; with --dev those that differ from what is deployed, and what reads them."
        ),
    ] = None,
    dev: Annotated[
        bool,
        typer.Option("--dev", help="Try the working tree's models in a schema of your own; live stays as it is."),
    ] = False,
    drop: Annotated[bool, typer.Option("--drop", help="With --dev: remove that schema.")] = False,
) -> None:
    """Bring a tenant's canonical tables, rollups and marts up to date, and say what each model wrote."""
    here = Context.current(context)
    if drop and (select or not dev):
        raise MisuseError("--drop goes with --dev alone: it removes the schema that --dev made")
    database.ensure_up()
    if drop:
        _drop(here, tenant)
    elif dev:
        _rehearse(here, tenant, select or ())
    else:
        _transform(here, tenant, select or ())


def _transform(here: Context, tenant: str, select: Sequence[str]) -> None:
    from steps import pipeline

    access.require(registry.tenant(tenant).id, here.actor, "run.start")
    finished: list[Any] = []
    try:
        with progress(here) as report:
            pipeline.models(tenant, select, report=report, on_result=_teller(finished, report))
    finally:
        if finished:
            here.table(
                ("model", "status", "rows written", "seconds"),
                [(it.model, it.status, it.rows, round(it.seconds, 2)) for it in finished],
                empty="",
            )


def _rehearse(here: Context, tenant: str, select: Sequence[str]) -> None:
    from steps import rehearsal

    finished: list[Any] = []
    with progress(here) as report:
        done = rehearsal.run(
            tenant, actor=here.actor, select=select, report=report, on_result=_teller(finished, report)
        )
    if here.as_json:
        here.say("", **asdict(done))
    else:
        _show_rehearsal(here, tenant, done)
    if done.failed_tests:
        failed = "; ".join(f"{it.model}: {it.test}" for it in done.failed_tests)
        raise ClarityError(f"tests would fail. {failed}")


def _show_rehearsal(here: Context, tenant: str, done: Any) -> None:
    here.table(
        ("model", "equal", "changed", "only live", "only here"),
        [
            (f"{it.model} (new)" if it.is_new else it.model, it.equal, it.changed, it.only_live, it.only_here)
            for it in done.differences
        ],
        empty="Only views were built: there are no rows to compare.",
    )
    for difference in done.differences:
        for column, count in difference.columns.items():
            here.say(f"{difference.model}.{column} differs in {count} rows")
        for column in difference.new_columns:
            here.say(f"{difference.model}.{column} is new")
        for column in difference.gone_columns:
            here.say(f"{difference.model}.{column} is gone")
        for example in difference.examples:
            here.say(f"  {' '.join(map(str, example.key.values()))}: {_explain(example)}")
    for test in done.failed_tests:
        here.say(f"{test.model} would fail {test.test}: {test.what}")
    here.say(
        f"It is all in the schema {done.schema}, until `clarity transform {tenant} --dev --drop`. Live is as it was."
    )


def _drop(here: Context, tenant: str) -> None:
    from steps import rehearsal

    gone = rehearsal.drop(tenant, actor=here.actor)
    here.say("Your schema is gone." if gone else "There was no schema of yours.", dropped=gone)


def _teller(finished: list[Any], report: Callable[[str], None]) -> Callable[[Any], None]:
    """Takes each model as it finishes, and says so."""

    def tell(result: Any) -> None:
        finished.append(result)
        report(f"{result.model}: {result.status}, {result.rows:,} rows, {result.seconds:.2f} s")

    return tell


def _explain(example: Any) -> str:
    if example.side != "changed":
        return "only live" if example.side == "only_live" else "only here"
    return ", ".join(
        f"{column} {_short(live)} would be {_short(here)}" for column, (live, here) in example.values.items()
    )


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}…"


def _show(here: Context, summaries: Sequence[dict[str, Any]]) -> None:
    if here.as_json:
        here.say("", syncs=summaries)
        return
    rows = []
    for summary in summaries:
        for name, counts in summary["streams"].items():
            rows.append(
                (summary["connector"], name, *(f"{counts[kind]:,}" for kind in COUNTED), _outcome(summary, name))
            )
    here.table(("connector", "stream", *COUNTED.values(), ""), rows, empty="Nothing was read.")
    for summary in summaries:
        for note in summary["notes"]:
            here.report(f"{summary['connector']}: {note}")


def _show_costs(here: Context, found: Sequence[dict[str, Any]]) -> None:
    if here.as_json:
        here.say("", costs=found)
        return
    rows = [
        (
            one["connector"],
            cost["stream"],
            cost["what"],
            f"{'at most ' * cost['is_ceiling']}{cost['records']:,}",
            cost["price"],
        )
        for one in found
        for cost in one["costs"]
    ]
    here.table(("connector", "stream", "of", "records", "price"), rows, empty="A sync would cost nothing.")
    for one in found:
        here.say(f"{one['connector']}: a sync takes at most {one['most_records']:,} records; the next one goes on.")


def _outcome(summary: dict[str, Any], stream: str) -> str:
    return "failed" if stream in summary["failures"] else ""


def parse_day(text: str | None) -> date | None:
    if text is None:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise MisuseError(f"{text!r} is not a day; write it like 2026-03-10") from None
