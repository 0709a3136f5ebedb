"""Two DAGs per tenant, `pipeline__<slug>` and `rescore__<slug>`, made from the registry of tenants.

Parsing asks the registry's one query and nothing else. A task's process, which parses this file again, asks for its own
tenant and builds only the DAG it was started for. Steps are imported inside the tasks: what they need is neither parsed
nor paid for here.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from typing import Any

from airflow.sdk import (
    DAG,
    Asset,
    BaseOperator,
    Context,
    CronTriggerTimetable,
    Param,
    TriggerRule,
    chain,
    get_parsing_context,
)
from airflow.sdk.exceptions import (
    AirflowFailException,
    AirflowRescheduleException,
    AirflowSkipException,
    DownstreamTasksSkipped,
)

from control.registry import TenantEntry, tenants
from notifiers.incidents import TellOfIncidents

OWNER = "data-platform"
PIPELINE, RESCORE = "pipeline", "rescore"

# Which workers take a task, where there are workers on other machines (docs/celery.md): those with the way to the
# vendors, those for PostgreSQL, those with memory and processor to spare.
VENDORS, DATABASE, ENGINE = "extract", "transform", "score"

# What takes longer to wait for is waited for without a worker: the task gives it back and comes again.
SECONDS_WITH_A_WORKER = 10
# Whoever waits for a vendor holds up the tenant's other connectors: later than this is the next run's affair.
LONGEST_WAIT = timedelta(minutes=30)

DEFAULT_ARGS = {
    "owner": OWNER,
    "retries": 2,
    "retry_delay": timedelta(seconds=5),
    "retry_exponential_backoff": 3,
    "max_retry_delay": timedelta(minutes=2),
    "execution_timeout": timedelta(minutes=30),
}

ABOUT_PIPELINE = """\
### Pipeline of {name}

Reads what changed at this tenant's sources, scores every person, account and opportunity, publishes the scores at once
and, if the tenant wants it, writes them back to the CRM. Every four hours by the tenant's clock ({timezone}), at a
minute of its own. Sources: {sources}.

| task | what it does |
|---|---|
| extract | lands what changed in `raw`, one task per connector, each in the pool of its vendor |
| transform | dbt: `staging`, `canonical`, `rollups` |
| score | computes candidates; nobody sees them yet |
| publish | asks the gate; then replaces the published scores in one transaction, then the marts |
| writeback | sends changed scores to the CRM; skipped while it is off |
| conclude | gives the lease back; fails, naming who failed, if any task of the run failed |

A connector that fails does not hold up the others: what arrived is scored, and the run still ends red. Whoever has to
wait, for a vendor or for another run of this tenant, is *up for reschedule* and holds no worker.
{paused}
#### When it fails

1. `clarity why-red {slug}` says what failed first, what was not refreshed by it, and the safe command to run next. The
   log of **conclude** names the tasks that failed; the last line of their log says what to do.
2. One **extract** failed: scores are fresh but for that source. `clarity connector test {slug} <connector>` says
   whether the credentials or the vendor are to blame. Clear the failed extract with its downstream tasks.
3. A task says that another run has this tenant: it waited for that run, from a terminal perhaps, and gave up. Clear it
   when the other has ended; the lease of a run that died expires by itself within two minutes.
4. **transform**, **score** or **publish** failed: readers keep the last good scores. Repair, then clear that task.
   **publish** says which expectation was not met: `clarity quality {slug}` shows all of them, and if this is how things
   are, `clarity publish {slug} --accept-breach "why"` lets them pass.
5. **writeback** failed: its last line names the records or fields that were not written; all of them are in
   `mart_operations__writeback`. What was written stands. Repair in the CRM, then clear it, or wait for the next run.
6. Any task may be killed, cleared and run again at any moment: the result is that of an undisturbed run.
   `clarity run {slug}` does the same as this DAG, from a terminal.
"""

ABOUT_RESCORE = """\
### Nightly scores of {name}

Signals decay while nobody writes: each night, soon after two by the tenant's clock ({timezone}), everybody is scored as
of the run's day, from what is in the rollups already. It reads no source, so it works while a vendor does not.

| task | what it does |
|---|---|
| score | computes candidates as of the run's day; nobody sees them yet |
| publish | asks the gate; then replaces the published scores in one transaction, then the marts |
| writeback | sends changed scores to the CRM; skipped while it is off |
| conclude | gives the lease back; fails, naming who failed, if any task of the run failed |

A night that was missed is not made up for: the next one sees to all. A backfill replays past nights: it scores as of
each of those days and says in the log of **score** what the scores would have been beside those in force. What is
published never goes back in time.
{paused}
#### When it fails

1. `clarity why-red {slug}` says what failed first and the safe command to run next.
2. **score** or **publish** failed: readers keep the last good scores. Repair, then clear that task. The next pipeline
   of this tenant scores as well, so nothing is lost if you wait for it.
3. A task says that another run has this tenant: the pipeline took longer than this one waited. Nothing is lost, that
   run scored too.
4. **writeback** failed: its last line names the records or fields that were not written. Repair in the CRM, then clear
   it, or wait for the next run.
"""

PAUSED = """
**This tenant is paused**: nothing is scheduled until `clarity tenant resume {slug}`.
"""

AS_OF = Param(
    None,
    type=["null", "string"],
    format="date",
    title="Score as of",
    description="The day to score at. Empty: the day the run is for.",
)
DRY_RUN = Param(
    False,
    type="boolean",
    title="Dry run",
    description="Say in the log of score what would move; publish nothing and write nothing back.",
)
FULL = Param(False, type="boolean", title="Full read", description="Read everything, not only what changed.")
STREAMS = Param(
    [],
    type="array",
    items={"type": "string"},
    title="Streams",
    description="Read only these, like contacts or activities; connectors without any of them are skipped. Empty: all.",
)


def pipeline_of(tenant: TenantEntry) -> DAG:
    with DAG(
        **common(tenant, PIPELINE, ABOUT_PIPELINE),
        dag_display_name=f"Pipeline of {tenant.name}",
        description="From the sources to published scores",
        schedule=None if tenant.paused else every_four_hours(tenant),
    ) as dag:
        extracts = Extract.partial(
            task_id="extract",
            queue=VENDORS,
            execution_timeout=timedelta(hours=2),
            map_index_template="{{ task.connector }}",
        ).expand(connector=list(tenant.connectors))
        transform = Transform(
            task_id="transform",
            queue=DATABASE,
            execution_timeout=timedelta(hours=1),
            # waits for all extracts, and runs if at least one of them succeeded
            trigger_rule=TriggerRule.ALL_DONE_MIN_ONE_SUCCESS,
        )
        chain(extracts, transform, *from_score_on(tenant))
    return with_form(dag, as_of=AS_OF, dry_run=DRY_RUN, full=FULL, streams=STREAMS)


def rescore_of(tenant: TenantEntry) -> DAG:
    with DAG(
        **common(tenant, RESCORE, ABOUT_RESCORE),
        dag_display_name=f"Nightly scores of {tenant.name}",
        description="Scores as of the night, from what is rolled up",
        schedule=None if tenant.paused else every_night(tenant),
    ) as dag:
        chain(*from_score_on(tenant))
    return with_form(dag, as_of=AS_OF, dry_run=DRY_RUN)


def with_form(dag: DAG, **params: Param) -> DAG:
    """What can be asked for when a run is started by hand.

    Added when the tasks are there: each would keep a copy, and have it validated a dozen times while the DAG is parsed
    and serialized. That was most of what five hundred tenants cost; a run gets them from its DAG just as well.
    """
    dag.params.update(params)
    return dag


def common(tenant: TenantEntry, kind: str, about: str) -> dict[str, Any]:
    """What both DAGs of a tenant have alike."""
    return {
        "dag_id": f"{kind}__{tenant.slug}",
        "doc_md": about.format(
            name=tenant.name,
            slug=tenant.slug,
            timezone=tenant.timezone,
            sources=", ".join(tenant.connectors) or "none yet",
            paused=PAUSED.format(slug=tenant.slug) if tenant.paused else "",
        ),
        # not before the tenant was there: Airflow would make up for the last missed interval at once
        "start_date": datetime.fromisoformat(tenant.created_at),
        "catchup": False,
        "max_active_runs": 1,
        # noticed by the dag-processor, even where the last task was killed
        "on_failure_callback": [TellOfIncidents(tenant.slug, is_failure=True)],
        "tags": {
            kind,
            f"tenant:{tenant.slug}",
            *(f"source:{connector}" for connector in tenant.connectors),
            *(("paused",) if tenant.paused else ()),
        },
        "default_args": DEFAULT_ARGS,
    }


def from_score_on(tenant: TenantEntry) -> list[BaseOperator]:
    return [
        Score(task_id="score", queue=ENGINE),
        Publish(task_id="publish", queue=DATABASE, outlets=[scores_of(tenant)]),
        # a CRM's bulk job may take its time
        Writeback(task_id="writeback", queue=VENDORS, execution_timeout=timedelta(hours=2)),
        Conclude(
            task_id="conclude",
            queue=DATABASE,
            trigger_rule=TriggerRule.ALL_DONE,
            connectors=tenant.connectors,
            on_success_callback=[TellOfIncidents(tenant.slug, is_failure=False)],
            on_failure_callback=[TellOfIncidents(tenant.slug, is_failure=True)],
        ),
    ]


# ── the tasks: operators with hardly an argument, for decorated functions take twice as long to parse ────────────────


class Extract(BaseOperator):
    """Its pool is that of its vendor: plugins/airflow_local_settings.py"""

    def __init__(self, *, connector: str, **options: Any) -> None:
        super().__init__(**options)
        self.connector = connector

    def execute(self, context: Context) -> dict[str, Any]:
        from steps import pipeline

        asked = context["params"]
        with no_worker_waiting(context):
            summary = pipeline.extract(
                slug(context),
                self.connector,
                run_id(context),
                full=asked["full"],
                streams=asked["streams"],
                patience=SECONDS_WITH_A_WORKER,
            )
        if not summary["streams"] and asked["streams"]:
            raise AirflowSkipException(summary["notes"][0])
        return told(summary)


class Transform(BaseOperator):
    def execute(self, context: Context) -> dict[str, Any]:
        from steps import pipeline

        with no_worker_waiting(context):
            return told(pipeline.transform(slug(context), run_id(context)))


class Score(BaseOperator):
    def execute(self, context: Context) -> dict[str, Any]:
        from steps import pipeline

        asked = context["params"]
        with no_worker_waiting(context):
            summary = pipeline.score(
                slug(context),
                run_id(context),
                as_of(context),
                dry_run=asked["dry_run"],
                # a day that somebody asks for by name is meant
                forwards_only=not asked["as_of"],
                patience=SECONDS_WITH_A_WORKER,
            )
        if not summary["kept"]:
            day, moves = summary["as_of"], summary["would_move"]
            print(f"Nothing is published: scores as of {day} would move like this: {moves}")
            leave_out_the_rest(context, summary)
        return told(summary)


class Publish(BaseOperator):
    def execute(self, context: Context) -> dict[str, Any]:
        from steps import pipeline, quality

        try:
            with no_worker_waiting(context):
                summary = pipeline.publish(slug(context), run_id(context))
        except quality.Breach as breach:
            # the same candidates will not look better in a minute
            raise AirflowFailException(str(breach)) from None
        # a task that looks and skips itself would cost as much as one that works
        if because := pipeline.no_writeback(slug(context)):
            print(f"No writeback: {because}")
            leave_out_the_rest(context, summary)
        return told(summary)


class Writeback(BaseOperator):
    def execute(self, context: Context) -> dict[str, Any]:
        from steps import pipeline

        summary = pipeline.writeback(slug(context), run_id(context))
        if summary["writeback"] == "off":
            raise AirflowSkipException(summary["because"])
        return told(summary)


class Conclude(BaseOperator):
    def __init__(self, *, connectors: Sequence[str], **options: Any) -> None:
        super().__init__(**options)
        self.connectors = connectors

    def execute(self, context: Context) -> None:
        from steps import pipeline

        pipeline.conclude(slug(context), run_id(context))
        if failed := failed_tasks(context, self.connectors):
            raise AirflowFailException(
                f"failed: {', '.join(failed)}. `clarity why-red {slug(context)}` says why and what to do."
            )


def slug(context: Context) -> str:
    return context["dag_run"].dag_id.partition("__")[2]


def run_id(context: Context) -> str:
    """One name for the run across the platform: in the lease, in sync_logs, in control.model_runs."""
    run = context["dag_run"]
    return f"{run.dag_id}/{run.run_id}"


def as_of(context: Context) -> date:
    """The day to score at: the one asked for, else the one that the run is for. A retry gets the same."""
    if asked := context["params"]["as_of"]:
        return date.fromisoformat(asked)
    run = context["dag_run"]
    return (run.logical_date or run.run_after).date()


@contextmanager
def no_worker_waiting(context: Context) -> Iterator[None]:
    """Whatever can't be now is tried again then, by a new process: until then the worker is somebody else's."""
    from steps import pipeline

    try:
        yield
    except pipeline.NotNow as wait:
        began = context["ti"].get_first_reschedule_date(context) or datetime.now(UTC)
        if wait.until - began > LONGEST_WAIT:
            raise
        print(f"Comes again at {wait.until:%H:%M:%S} UTC. {wait}")
        raise AirflowRescheduleException(wait.until) from None  # type: ignore[no-untyped-call]


def told(summary: dict[str, Any]) -> dict[str, Any]:
    """The last words of a task's log: what came of it."""
    print(f"Done: {json.dumps(summary, ensure_ascii=False, default=str)}")
    return summary


def leave_out_the_rest(context: Context, summary: dict[str, Any]) -> None:
    """Ends the task well, and skips what comes next without a process that would find out that there is nothing."""
    task_instance = context["ti"]
    task_instance.xcom_push("return_value", told(summary))
    raise DownstreamTasksSkipped(  # type: ignore[no-untyped-call]
        tasks=sorted(task_instance.task.downstream_task_ids)
    )


def failed_tasks(context: Context, connectors: Sequence[str]) -> list[str]:
    """The tasks of this run that failed, an extract by its connector's name."""
    run, ti = context["dag_run"], context["ti"]
    states = ti.get_task_states(dag_id=run.dag_id, run_ids=[run.run_id])[run.run_id]
    names = {f"extract_{position}": f"extract {connector}" for position, connector in enumerate(connectors)}
    return [names.get(name, name) for name, state in sorted(states.items()) if state == "failed"]


# ── when ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def scores_of(tenant: TenantEntry) -> Asset:
    """What whoever comes after a publication waits for. It names the table, not the server: that may move."""
    return Asset(f"postgres://gtm-clarity/clarity/scores/engagements?tenant={tenant.slug}")


def every_four_hours(tenant: TenantEntry) -> CronTriggerTimetable:
    """By the tenant's clock; tenants are spread over the four hours. A new one waits for its first turn."""
    hour, minute = divmod(place(tenant, PIPELINE, 4 * 60), 60)
    return by_the_clock_of(tenant, f"{minute} {hour}-23/4 * * *")


def every_night(tenant: TenantEntry) -> CronTriggerTimetable:
    """Between two and three by the tenant's clock."""
    return by_the_clock_of(tenant, f"{place(tenant, RESCORE, 60)} 2 * * *")


def by_the_clock_of(tenant: TenantEntry, schedule: str) -> CronTriggerTimetable:
    return CronTriggerTimetable(schedule, timezone=tenant.timezone, run_immediately=False)


def place(tenant: TenantEntry, kind: str, minutes: int) -> int:
    """A minute of so many for this tenant, always the same one."""
    return int.from_bytes(hashlib.sha256(f"{kind} {tenant.slug}".encode()).digest()[:4]) % minutes


kinds = {PIPELINE: pipeline_of, RESCORE: rescore_of}
wanted_kind, _, wanted_slug = (get_parsing_context().dag_id or "").partition("__")
for entry in tenants(wanted_slug or None):
    for kind, dag_of in kinds.items():
        if wanted_kind in ("", kind):
            dag_of(entry)
