"""A tenant's run, stage by stage, as Airflow's tasks and `clarity run` both go through it.

Each stage holds the tenant's run lease under the run's name and leaves it with the run for the next stage; `conclude`
gives it back. Any stage can be killed and run again: what it had committed stands, the rest was never there.
"""

import logging
import uuid
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from typing import Any

from control import access, incidents, registry
from control import quality as gate_results
from steps import alerts, observe, quality, quality_pages
from steps import extract as extracting
from steps import publish as publishing
from steps import transform as transforming
from steps import undo as undoing
from steps import writeback as writing
from steps.patience import LONGEST_WAIT
from warehouse import database, lease
from warehouse.errors import ClarityError, MisuseError
from warehouse.errors import NotNow as NotNow

log = logging.getLogger(__name__)

Report = Callable[[str], None]
BEFORE_SCORING = ("canonical", "rollups")
AFTER_PUBLICATION = ("marts",)
AFTER_BREACH = ("mart_operations__quality",)
AFTER_WRITEBACK = ("mart_operations__writeback", "mart_operations__writeback_overrides")


# what whoever is told of a failed stage does next
REMEDIES = {
    "extract": "`clarity connector test {slug} {connector}` says what is wrong; then `clarity run {slug}`.",
    "transform": "Readers keep the last good scores. Repair what the reason names, then clear the task transform.",
    "score": "Readers keep the last good scores. Repair what the reason names, then clear the task score.",
    "publish": "Readers keep the last good scores. Repair what the reason names, then clear the task publish.",
    "writeback": "What was not written is in mart_operations__writeback. Repair it in the CRM; the next run tries.",
}


def connectors(slug: str) -> list[str]:
    """The tenant's connectors, one extract each."""
    return extracting.connectors_of(slug)


def extract(
    slug: str,
    connector: str,
    run_id: str,
    *,
    full: bool = False,
    streams: Collection[str] = (),
    patience: float = lease.DEFAULT_PATIENCE,
    report: Report = print,
) -> dict[str, Any]:
    """Read one connector, of the named streams those that it has. `patience`, in seconds, is for another run and for
    the vendor alike: NotNow says when it is worth coming again."""
    wanted = [stream for stream in extracting.streams_of(connector) if stream in streams]
    if streams and connector not in _chosen_connectors(slug, None, streams):
        return {"connector": connector, "streams": {}, "notes": ["none of the streams asked for is one of its"]}
    longest = min(timedelta(seconds=patience), LONGEST_WAIT)
    with _watched_stage(
        slug, run_id, f"extract {connector}", exclusive=False, patience=patience, report=report
    ) as held:
        try:
            return extracting.run(
                slug, connector, run_id, held.fence, full, streams=wanted, longest_wait=longest, report=report
            )
        except extracting.SyncFailed as failed:
            if failed.until:
                raise NotNow(str(failed), failed.until) from failed
            raise


def sync(
    slug: str,
    *,
    connector: str | None = None,
    streams: Collection[str] = (),
    full: bool = False,
    accept_fewer: bool = False,
    report: Report = lambda _line: None,
) -> list[dict[str, Any]]:
    """Only the extracts of a run, in this process. Returns the summary of each, of failed ones too."""
    _runnable(slug)
    chosen = _chosen_connectors(slug, connector, streams)
    run_id, summaries = lease.local_holder(), []
    try:
        for name in chosen:
            wanted = [stream for stream in extracting.streams_of(name) if stream in streams]
            report(f"extract {name}")
            with _stage(slug, run_id, f"extract {name}", report=report) as held:
                try:
                    summaries.append(
                        extracting.run(
                            slug,
                            name,
                            run_id,
                            held.fence,
                            full,
                            streams=wanted,
                            accept_fewer=accept_fewer,
                            report=report,
                        )
                    )
                except extracting.SyncFailed as failed:
                    summaries.append(failed.summary)
                except lease.LeaseLost:
                    raise
                except ClarityError as error:
                    summaries.append(extracting.nothing_arrived(name, str(error)))
    finally:
        conclude(slug, run_id)
    return summaries


def costs(
    slug: str, *, connector: str | None = None, streams: Collection[str] = (), full: bool = False
) -> list[dict[str, Any]]:
    """What a sync would buy of vendors who are paid by the record; of the others nothing is said."""
    chosen = _chosen_connectors(slug, connector, streams)
    found = (extracting.costs(slug, name, streams=streams, full=full) for name in chosen)
    return [cost for cost in found if cost is not None]


def transform(slug: str, run_id: str) -> dict[str, Any]:
    with _watched_stage(slug, run_id, "transform") as held:
        return transforming.run(slug, run_id, held.fence, select=BEFORE_SCORING)


def models(
    slug: str,
    select: Sequence[str] = (),
    *,
    report: Report = lambda _line: None,
    on_result: transforming.OnResult | None = None,
) -> dict[str, Any]:
    """Only dbt's part of a run, in this process: the selected models, by default all. Returns what each has written."""
    _runnable(slug)
    chosen = transforming.tables(slug, select or (*BEFORE_SCORING, *AFTER_PUBLICATION))
    run_id = lease.local_holder()
    try:
        report(f"{len(chosen)} models")
        with _stage(slug, run_id, "transform", report=report) as held:
            return transforming.run(slug, run_id, held.fence, select=chosen, on_result=on_result)
    finally:
        conclude(slug, run_id)


def score(
    slug: str,
    run_id: str,
    as_of: date,
    *,
    dry_run: bool = False,
    forwards_only: bool = False,
    patience: float = lease.DEFAULT_PATIENCE,
    report: Report = print,
) -> dict[str, Any]:
    """Compute candidates as of the day. `forwards_only`: a day before the one in force is looked at, not published."""
    from steps import score as scoring  # takes most of a second where nobody has it in memory yet

    with _watched_stage(slug, run_id, "score", patience=patience, report=report) as held:
        return scoring.run(held.tenant_id, run_id, held.fence, as_of, dry_run=dry_run, forwards_only=forwards_only)


def publish(slug: str, run_id: str, *, report: Report = print) -> dict[str, Any]:
    with _watched_stage(slug, run_id, "publish") as held:
        return _publish(slug, run_id, held, report)


def publish_waiting(
    slug: str, *, actor: str, accept_because: str | None = None, report: Report = lambda _line: None
) -> dict[str, Any]:
    """Only the publication of a run that left its candidates behind, in this process.

    `accept_because` is why a breach is how things are; it goes into the audit trail.
    """
    tenant = _runnable(slug)
    access.require(tenant.id, actor, "run.start" if accept_because is None else "quality.accept")
    accepted = quality.Acceptance(actor, accept_because) if accept_because is not None else None
    holder = lease.local_holder()
    try:
        with _stage(slug, holder, "publish", report=report) as held:
            return _publish(slug, publishing.waiting_run(tenant.id), held, report, accepted)
    finally:
        conclude(slug, holder)


def _publish(
    slug: str, run_id: str, held: lease.Held, report: Report, accepted: quality.Acceptance | None = None
) -> dict[str, Any]:
    try:
        try:
            published = publishing.run(held.tenant_id, run_id, held.fence, accepted=accepted)
        except publishing.CandidatesLost as lost:
            report(f"{lost}; scoring again as of {lost.as_of}")
            from steps import score as scoring

            scoring.run(held.tenant_id, run_id, held.fence, lost.as_of)
            published = publishing.run(held.tenant_id, run_id, held.fence, accepted=accepted)
    except quality.Breach:
        _let_the_breach_be_read(slug, run_id, held, report)
        raise
    observe.published(slug, published)
    marts = transforming.run(slug, run_id, held.fence, select=AFTER_PUBLICATION)
    return {**published, "pages": str(gate_results.pages_of(slug)), "marts": marts}


def _let_the_breach_be_read(slug: str, run_id: str, held: lease.Held, report: Report) -> None:
    """In the mart and on pages. Where that does not work out, the breach itself is told all the same."""
    try:
        report(f"what the gate expected and found: {quality_pages.make(held.tenant_id, slug)}")
        transforming.run(slug, run_id, held.fence, select=AFTER_BREACH)
    except Exception as error:
        log.exception("the breach can't be read on its page or in its mart")
        report(f"what the gate found is in `clarity quality {slug}`; its page could not be made: {error}")


def no_writeback(slug: str) -> str:
    """Why there is nothing to write back; nothing if the writeback has to see for itself."""
    tenant_id = registry.tenant(slug).id
    with database.run_session(tenant_id, application="writeback") as connection:
        try:
            return writing.off_because(connection, tenant_id)
        except ClarityError:
            # a configuration that can't work: it says so itself, and its task fails for it
            return ""


def writeback(slug: str, run_id: str, *, report: Report = print) -> dict[str, Any]:
    with _watched_stage(slug, run_id, "writeback", report=report) as held:
        return _write_back(slug, run_id, held, report)


def write_back(slug: str, *, report: Report = lambda _line: None) -> dict[str, Any]:
    """Only the writeback of a run, in this process."""
    holder = lease.local_holder()
    try:
        with _stage(slug, holder, "writeback", report=report) as held:
            return _write_back(slug, f"writeback:{uuid.uuid4().hex[:12]}", held, report)
    finally:
        conclude(slug, holder)


def undo(slug: str, undone_run: str, *, actor: str, report: Report = lambda _line: None) -> undoing.Undone:
    """Take a writeback back, in this process."""
    access.require(_runnable(slug).id, actor, "writeback.undo")
    holder, run_id = lease.local_holder(), f"undo:{uuid.uuid4().hex[:12]}"
    try:
        with _stage(slug, holder, "undo", report=report) as held:
            done = undoing.run(held.tenant_id, undone_run, run_id, held.fence, actor=actor, report=report)
            transforming.run(slug, run_id, held.fence, select=AFTER_WRITEBACK)
            return done
    finally:
        conclude(slug, holder)


def _write_back(slug: str, run_id: str, held: lease.Held, report: Report) -> dict[str, Any]:
    try:
        summary = writing.run(held.tenant_id, run_id, held.fence, report=report)
    except writing.WritebackFailed:
        # what failed is to be read there as well
        transforming.run(slug, run_id, held.fence, select=AFTER_WRITEBACK)
        raise
    if summary["writeback"] == "on":
        transforming.run(slug, run_id, held.fence, select=AFTER_WRITEBACK)
    return summary


def conclude(slug: str, run_id: str) -> None:
    """Give the tenant back to whoever runs next."""
    lease.release(registry.tenant(slug).id, run_id)


def run(slug: str, *, as_of: date | None = None, full: bool = False, report: Report = lambda _line: None) -> None:
    """A whole run in this process, as `clarity run` does it. A failed connector does not hold up the others."""
    _runnable(slug)
    run_id = lease.local_holder()
    as_of = as_of or datetime.now(UTC).date()
    failure = ""
    try:
        failure = _stages(slug, run_id, as_of, full, report)
    except Exception as error:
        failure = str(error) or type(error).__name__
        raise
    finally:
        conclude(slug, run_id)
        alerts.settle(slug, run_id, failure)
    if failure:
        raise ClarityError(f"what arrived is scored, but not everything arrived: {failure}")


def _stages(slug: str, run_id: str, as_of: date, full: bool, report: Report) -> str:
    """All of them, one after the other. Returns what did not arrive."""
    failed: list[str] = []
    present = connectors(slug)
    for connector in present:
        report(f"extract {connector}")
        try:
            extract(slug, connector, run_id, full=full, report=report)
        except ClarityError as error:
            failed.append(str(error))
            report(f"extract {connector} failed: {error}")
    if failed and len(failed) == len(present):
        raise ClarityError(f"nothing arrived, so nothing is scored and the last good scores stay: {'; '.join(failed)}")
    report("transform")
    transform(slug, run_id)
    report("score")
    score(slug, run_id, as_of)
    report("publish")
    publish(slug, run_id, report=report)
    report("writeback")
    writeback(slug, run_id, report=report)
    return "; ".join(failed)


def _chosen_connectors(slug: str, connector: str | None, streams: Collection[str]) -> list[str]:
    """Those to read, each of which has at least one of the streams. Raises, naming what there is, if there is none."""
    present = connectors(slug)
    if not present:
        raise MisuseError(f"{slug} has no connector yet: `clarity connector add {slug} TYPE --config FILE` makes one")
    if connector is not None and connector not in present:
        raise MisuseError(f"{slug} has no {connector[:40]} connector; it has {', '.join(present)}")
    chosen = [connector] if connector else present
    declared = {name: extracting.streams_of(name) for name in chosen}
    for stream in streams:
        if not any(stream in known for known in declared.values()):
            there_are = "; ".join(f"{name} has {', '.join(known)}" for name, known in declared.items())
            raise MisuseError(f"there is no stream {stream[:40]!r}: {there_are}")
    return [name for name in chosen if not streams or set(streams) & set(declared[name])]


@contextmanager
def _watched_stage(
    slug: str,
    run_id: str,
    name: str,
    *,
    exclusive: bool = True,
    patience: float = lease.DEFAULT_PATIENCE,
    report: Report = print,
) -> Iterator[lease.Held]:
    """A stage of a whole run: if it fails, people are told at the run's end."""
    kind, _, connector = name.partition(" ")
    remedy = REMEDIES[kind].format(slug=slug, connector=connector)
    severity: incidents.Severity = "degradation" if kind == "extract" else "failure"
    with (
        _stage(slug, run_id, name, exclusive=exclusive, patience=patience, report=report) as held,
        incidents.watched(held.tenant_id, run_id, name, remedy, severity=severity),
    ):
        yield held


@contextmanager
def _stage(
    slug: str,
    run_id: str,
    name: str,
    *,
    exclusive: bool = True,
    patience: float = lease.DEFAULT_PATIENCE,
    report: Report = print,
) -> Iterator[lease.Held]:
    tenant = _runnable(slug)
    with (
        lease.hold(
            tenant.id, run_id, stage=name, exclusive=exclusive, keep=True, patience=patience, report=report
        ) as held,
        observe.stage(slug, run_id, name),
    ):
        yield held


def _runnable(slug: str) -> registry.TenantEntry:
    tenant = registry.tenant(slug)
    if tenant.paused:
        raise ClarityError(f"{slug} is paused: `clarity tenant resume {slug}` lets it run again")
    return tenant
