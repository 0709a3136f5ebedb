"""One DAG per tenant, `pipeline__<slug>`, made from the registry of tenants.

Parsing asks the registry's one query and nothing else. A task's process, which parses this file again, builds only the
DAG it was started for. Steps are imported inside the tasks: what they need is neither parsed nor paid for here.
"""

import hashlib
from datetime import date, datetime, timedelta
from typing import Any

from airflow.sdk import (
    DAG,
    CronTriggerTimetable,
    Param,
    TriggerRule,
    chain,
    get_current_context,
    get_parsing_context,
    task,
)
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from control.registry import TenantEntry, tenants

OWNER = "data-platform"

ABOUT = """\
### Pipeline of {name}

Reads what changed at this tenant's sources, scores every person, account and opportunity, publishes the scores at once
and, if the tenant wants it, writes them back to the CRM.

| task | what it does |
|---|---|
| connectors | lists the connectors to read |
| extract | lands what changed at one connector in `raw` |
| transform | dbt: `staging`, `canonical`, `rollups` |
| score | computes candidates; nobody sees them yet |
| publish | replaces the published scores in one transaction, then the marts |
| writeback | sends changed scores to the CRM; skipped while it is off |
| conclude | gives the lease back; fails, naming who failed, if any task of the run failed |

A connector that fails does not hold up the others: what arrived is scored, and the run still ends red.
{paused}
#### When it fails

1. Read the log of **conclude**: it names the tasks that failed. The last line of their log says what to do.
2. One **extract** failed: scores are fresh but for that source. `clarity connector test {slug} <connector>` says
   whether the credentials or the vendor are to blame. Clear the failed extract with its downstream tasks.
3. A task says that another run has this tenant: it waited for that run, from a terminal perhaps, and gave up. Clear it
   when the other has ended; the lease of a run that died expires by itself within two minutes.
4. **transform**, **score** or **publish** failed: readers keep the last good scores. Repair, then clear that task.
5. **writeback** failed: its last line names the records or fields that were not written; all of them are in
   `mart_operations__writeback`. What was written stands. Repair in the CRM, then clear it, or wait for the next run.
6. Any task may be killed, cleared and run again at any moment: the result is that of an undisturbed run.
   `clarity run {slug}` does the same as this DAG, from a terminal.
"""

PAUSED = """
**This tenant is paused**: nothing is scheduled until `clarity tenant resume {slug}`.
"""

PARAMS = {
    "as_of": Param(
        None,
        type=["null", "string"],
        format="date",
        title="Score as of",
        description="The day to score at. Empty: the day the run is for.",
    ),
    "full": Param(False, type="boolean", title="Full read", description="Read everything, not only what changed."),
}


def pipeline_of(tenant: TenantEntry) -> DAG:
    with DAG(
        dag_id=dag_id(tenant),
        dag_display_name=f"Pipeline of {tenant.name}",
        description="From the sources to published scores",
        doc_md=ABOUT.format(
            name=tenant.name, slug=tenant.slug, paused=PAUSED.format(slug=tenant.slug) if tenant.paused else ""
        ),
        schedule=None if tenant.paused else every_four_hours(tenant),
        # not before the tenant was there: Airflow would make up for the last missed interval at once
        start_date=datetime.fromisoformat(tenant.created_at),
        catchup=False,
        max_active_runs=1,
        tags={"pipeline", f"tenant:{tenant.slug}", *({"paused"} if tenant.paused else ())},
        params=PARAMS,
        default_args={
            "owner": OWNER,
            "retries": 2,
            "retry_delay": timedelta(seconds=5),
            "retry_exponential_backoff": 3,
            "max_retry_delay": timedelta(minutes=2),
            "execution_timeout": timedelta(minutes=30),
        },
    ) as dag:
        slug = tenant.slug
        extracts = extract.partial(slug=slug).expand(connector=connectors(slug))
        chain(extracts, transform(slug), score(slug), publish(slug), writeback(slug), conclude(slug))
    return dag


@task
def connectors(slug: str) -> list[str]:
    from steps import pipeline

    return pipeline.connectors(slug)


@task(map_index_template="{{ task.op_kwargs['connector'] }}", execution_timeout=timedelta(hours=2))
def extract(slug: str, connector: str) -> dict[str, Any]:
    from steps import pipeline

    return pipeline.extract(slug, connector, run_id(), full=get_current_context()["params"]["full"])


# Waits for all extracts, and runs if at least one of them succeeded.
@task(trigger_rule=TriggerRule.ALL_DONE_MIN_ONE_SUCCESS, execution_timeout=timedelta(hours=1))
def transform(slug: str) -> dict[str, Any]:
    from steps import pipeline

    return pipeline.transform(slug, run_id())


@task
def score(slug: str) -> dict[str, Any]:
    from steps import pipeline

    return pipeline.score(slug, run_id(), as_of())


@task
def publish(slug: str) -> dict[str, Any]:
    from steps import pipeline

    return pipeline.publish(slug, run_id())


# a CRM's bulk job may take its time
@task(execution_timeout=timedelta(hours=2))
def writeback(slug: str) -> dict[str, Any]:
    from steps import pipeline

    summary = pipeline.writeback(slug, run_id())
    if summary["writeback"] == "off":
        raise AirflowSkipException(summary["because"])
    return summary


@task(trigger_rule=TriggerRule.ALL_DONE)
def conclude(slug: str) -> None:
    from steps import pipeline

    pipeline.conclude(slug, run_id())
    if failed := failed_tasks():
        raise AirflowFailException(f"failed: {', '.join(failed)}. What to do stands at the end of their logs.")


def dag_id(tenant: TenantEntry) -> str:
    return f"pipeline__{tenant.slug}"


def run_id() -> str:
    """One name for the run across the platform: in the lease, in sync_logs, in control.model_runs."""
    run = get_current_context()["dag_run"]
    return f"{run.dag_id}/{run.run_id}"


def as_of() -> date:
    """The day to score at: the one asked for, else the one that the run is for. A retry gets the same."""
    context = get_current_context()
    if asked := context["params"]["as_of"]:
        return date.fromisoformat(asked)
    run = context["dag_run"]
    return (run.logical_date or run.run_after).date()


def failed_tasks() -> list[str]:
    """The tasks of this run that failed, an extract by its connector's name."""
    context = get_current_context()
    run, ti = context["dag_run"], context["ti"]
    read = ti.xcom_pull(task_ids="connectors") or []
    states = ti.get_task_states(dag_id=run.dag_id, run_ids=[run.run_id])[run.run_id]
    names = {f"extract_{position}": f"extract {connector}" for position, connector in enumerate(read)}
    return [names.get(name, name) for name, state in sorted(states.items()) if state == "failed"]


def every_four_hours(tenant: TenantEntry) -> CronTriggerTimetable:
    """By the tenant's clock, each tenant at a minute of its own. A new one waits for its first turn."""
    minute = int.from_bytes(hashlib.sha256(tenant.slug.encode()).digest()[:4]) % 60
    return CronTriggerTimetable(f"{minute} */4 * * *", timezone=tenant.timezone, run_immediately=False)


wanted = get_parsing_context().dag_id
for entry in tenants():
    if wanted in (None, dag_id(entry)):
        pipeline_of(entry)
