"""What the DAGs of a tenant have alike: whose they are, when they run, and everything from the scores on.

There are two for each tenant, made from the registry of tenants by a file for each kind (dags/), so that the
dag-processor parses both at once.
"""

import hashlib
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from airflow.sdk import (
    DAG,
    Asset,
    BaseOperator,
    CronTriggerTimetable,
    Param,
    TriggerRule,
    get_parsing_context,
)

from control import registry
from control.registry import TenantEntry
from notifiers.incidents import TellOfIncidents
from orchestration.defaults import DATABASE, DEFAULT_ARGS, ENGINE, VENDORS
from orchestration.operators import Conclude, Publish, Score, Writeback

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


def tenants_of(kind: str) -> Sequence[TenantEntry]:
    """Those to make DAGs of this kind for: all there are; in a task's process, which parses its file again, only the
    one whose run it is. To parse a file asks this one query and nothing else."""
    wanted_kind, _, wanted_slug = (get_parsing_context().dag_id or "").partition("__")
    return registry.tenants(kind, wanted_slug or None) if wanted_kind in ("", kind) else ()


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


def with_form(dag: DAG, **params: Param) -> DAG:
    """What can be asked for when a run is started by hand.

    Added when the tasks are there: each would keep a copy, and have it validated a dozen times while the DAG is parsed
    and serialized. That was most of what five hundred tenants cost; a run gets them from its DAG just as well.
    """
    dag.params.update(params)
    return dag


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


def scores_of(tenant: TenantEntry) -> Asset:
    """What whoever comes after a publication waits for. It names the table, not the server: that may move."""
    return Asset(f"postgres://gtm-clarity/clarity/scores/engagements?tenant={tenant.slug}")


# ── when ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def by_the_clock_of(tenant: TenantEntry, schedule: str) -> CronTriggerTimetable | None:
    """None while the tenant is paused."""
    return None if tenant.paused else CronTriggerTimetable(schedule, timezone=tenant.timezone, run_immediately=False)


def place(tenant: TenantEntry, kind: str, minutes: int) -> int:
    """A minute of so many for this tenant, always the same one."""
    return int.from_bytes(hashlib.sha256(f"{kind} {tenant.slug}".encode()).digest()[:4]) % minutes
