"""`pipeline__<slug>`, a DAG for each tenant: from the sources to published scores."""

from datetime import timedelta

from airflow.sdk import DAG, CronTriggerTimetable, Param, TriggerRule, chain

from control.registry import TenantEntry
from orchestration.defaults import DATABASE, VENDORS
from orchestration.operators import Extract, Transform
from orchestration.tenant_dags import (
    AS_OF,
    DRY_RUN,
    by_the_clock_of,
    common,
    from_score_on,
    place,
    tenants_of,
    with_form,
)

KIND = "pipeline"

ABOUT = """\
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
        **common(tenant, KIND, ABOUT),
        dag_display_name=f"Pipeline of {tenant.name}",
        description="From the sources to published scores",
        schedule=every_four_hours(tenant),
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


def every_four_hours(tenant: TenantEntry) -> CronTriggerTimetable | None:
    """By the tenant's clock; tenants are spread over the four hours. A new one waits for its first turn."""
    hour, minute = divmod(place(tenant, KIND, 4 * 60), 60)
    return by_the_clock_of(tenant, f"{minute} {hour}-23/4 * * *")


for entry in tenants_of(KIND):
    pipeline_of(entry)
