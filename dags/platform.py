"""The platform's own DAGs: who its customers are, what has had its time, how fresh everything is.

They are the same whatever tenants there are, so parsing asks no database. What nobody has set up is not scheduled: an
empty run every few minutes would cost more than all that it does not do. Steps are imported inside the tasks.
"""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from airflow.sdk import DAG, CronTriggerTimetable, Param, get_current_context, get_parsing_context, task
from airflow.sdk.exceptions import AirflowSkipException

from orchestration.defaults import DATABASE, DEFAULT_ARGS, VENDORS

KEY_FILE = "clerk_secret_key"
SINCE = datetime(2026, 1, 1, tzinfo=UTC)

PROVISION = """\
### Clerk's organisations become tenants

At the full hour all organisations are read; in between, every five minutes, those alone of which a webhook has told.
New ones become tenants, members follow, a renamed one keeps its slug, and a removed one is paused: nothing is ever
deleted here. Started by hand it reads everything. While Clerk's secret key is not given nothing is scheduled, and a run
by hand is skipped and says so.

#### When it fails

1. The last line of the log of **provision** says why. What was done stands; the next run does the rest.
2. Clerk refuses the key: put the right one into `CLERK_SECRET_KEY` and start the platform anew (`clarity up`).
3. Clerk knows too few of our organisations: nobody was paused. Most likely the key is that of another instance. If they
   are really gone: `clarity provision --accept-fewer`.
4. Clerk does not answer: nothing is lost, tenants run on, members stay as they are. Wait.
5. One organisation can't be provisioned: it is named, all others are done. `clarity provision` tries it again.
"""

MAINTENANCE = """\
### What has had its time goes

By each tenant's own `retentionDays`, which is off by default, versions and logs of that age go; syncs that were killed
are closed, webhooks known longer than anybody repeats them are forgotten, files left behind are removed. Scores and
what they are made of stay. A tenant with a run under way is left for the next night.

#### When it fails

1. The last line of the log of **maintain** names the tenants and why; all others are done.
2. It may be killed and cleared at any moment: what was done stands, and what is due is found by looking.
3. `clarity maintenance --tenant TENANT --dry-run` counts what would go, without removing anything.
"""

FRESHNESS = """\
### How fresh everything is, as metrics

Tells the metrics' server how old each tenant's data and scores are. While metrics are off nothing is scheduled, and a
run by hand is skipped and says so. The same can be read at any time in `marts.mart_operations__data_freshness`.

#### When it fails

1. The last line of the log of **freshness** says why; most likely the database does not answer: `clarity status`.
2. Nothing depends on it but the dashboards: clear it, or wait for the next hour.
"""


def _platform(name: str, description: str, about: str, cron: str | None, **more: Any) -> DAG:
    return DAG(
        dag_id=f"platform__{name}",
        dag_display_name=f"Platform: {name}",
        description=description,
        doc_md=about,
        schedule=CronTriggerTimetable(cron, timezone="UTC", run_immediately=False) if cron else None,
        start_date=SINCE,
        catchup=False,
        max_active_runs=1,
        tags={"platform", name},
        default_args=DEFAULT_ARGS,
        **more,
    )


@task(queue=VENDORS)
def provision() -> dict[str, Any]:
    from steps import organisations

    done = organisations.run(everything=_is_full_hour() or get_current_context()["params"]["everything"])
    if done["provisioned"] == "off":
        raise AirflowSkipException(done["because"])
    return done


@task(queue=DATABASE, execution_timeout=timedelta(hours=2))
def maintain() -> dict[str, Any]:
    from steps import maintenance

    return maintenance.run(dry_run=get_current_context()["params"]["dry_run"], report=print)


@task(queue=DATABASE)
def freshness() -> dict[str, Any]:
    from steps import observe

    told = observe.freshness(report=print)
    if told["metrics"] == "off":
        raise AirflowSkipException(told["because"])
    return told


def _has_a_key() -> bool:
    """Whether Clerk's secret key stands where steps look for it."""
    return bool(os.environ.get("CLERK_SECRET_KEY")) or Path(os.environ.get("CLARITY_HOME", ""), KEY_FILE).is_file()


def _is_full_hour() -> bool:
    """Whether the run is for a full hour, or was started by somebody who did not say for when."""
    moment = get_current_context()["dag_run"].logical_date
    return moment is None or moment.minute == 0


def _provision() -> None:
    everything = Param(False, type="boolean", title="Everything", description="All organisations, whatever the time.")
    with _platform(
        "provision",
        "Clerk's organisations become tenants",
        PROVISION,
        "*/5 * * * *" if _has_a_key() else None,
        params={"everything": everything},
    ):
        provision()


def _maintenance() -> None:
    dry_run = Param(False, type="boolean", title="Dry run", description="Count what would go, and remove nothing.")
    with _platform("maintenance", "What has had its time goes", MAINTENANCE, "10 5 * * *", params={"dry_run": dry_run}):
        maintain()


def _freshness() -> None:
    cron = "*/10 * * * *" if os.environ.get("AIRFLOW__METRICS__STATSD_ON", "").lower() in ("true", "t", "1") else None
    with _platform("freshness", "How old data and scores are, as metrics", FRESHNESS, cron):
        freshness()


wanted = get_parsing_context().dag_id
for name, made in {"provision": _provision, "maintenance": _maintenance, "freshness": _freshness}.items():
    if wanted in (None, f"platform__{name}"):
        made()
