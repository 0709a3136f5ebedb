"""`rescore__<slug>`, a DAG for each tenant: the scores of the night, for signals decay while nobody writes."""

from airflow.sdk import DAG, CronTriggerTimetable, chain

from control.registry import TenantEntry
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

KIND = "rescore"

ABOUT = """\
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


def rescore_of(tenant: TenantEntry) -> DAG:
    with DAG(
        **common(tenant, KIND, ABOUT),
        dag_display_name=f"Nightly scores of {tenant.name}",
        description="Scores as of the night, from what is rolled up",
        schedule=every_night(tenant),
    ) as dag:
        chain(*from_score_on(tenant))
    return with_form(dag, as_of=AS_OF, dry_run=DRY_RUN)


def every_night(tenant: TenantEntry) -> CronTriggerTimetable | None:
    """Between two and three by the tenant's clock."""
    return by_the_clock_of(tenant, f"{place(tenant, KIND, 60)} 2 * * *")


for entry in tenants_of(KIND):
    rescore_of(entry)
