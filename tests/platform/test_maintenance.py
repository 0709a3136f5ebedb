"""What has had its time goes, and nothing that a score, a reader or the next run needs."""

import os
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest

from benchmarks import score_world
from benchmarks.score_world import World
from control import quality, settings
from steps import maintenance, plan, quality_pages, score
from tests.conftest import Tenant
from tests.steps.customer import Customer
from warehouse import database, lease
from warehouse.errors import ClarityError

SYSTEM = "system:tests"
TODAY = datetime.now(UTC).date()


@pytest.fixture
def admin(platform: object) -> Iterator[psycopg.Connection]:
    with database.connect(database.admin_conninfo(), autocommit=True) as connection:
        yield connection


@pytest.fixture
def customer(tenant: Tenant, tmp_path: Path) -> Customer:
    return Customer(tenant, tmp_path)


def keep_for(tenant: Tenant, days: int) -> None:
    settings.change(tenant.id, actor=SYSTEM, assignments=[f"retentionDays={days}"])


def maintain(tenant: Tenant, **how: Any) -> dict[str, Any]:
    return maintenance.run(slug=tenant.slug, **how)


# ── raw ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def three_versions(customer: Customer, admin: psycopg.Connection) -> Customer:
    """One account in three versions, a year old, read by every model; another one that nobody has changed."""
    for name in ("First", "Second", "Third"):
        customer.write("accounts", "id,name", f"1,{name}", "2,Same")
        customer.sync()
    admin.execute(
        "insert into control.watermarks (tenant_id, model, stream, seq) values (%s, 'a', 'files__accounts', 100),"
        " (%s, 'b', 'files__accounts', 100)",
        [customer.tenant.id, customer.tenant.id],
    )
    admin.execute(
        "update raw.files__accounts set landed_at = landed_at - interval '1 year' where tenant_id = %s",
        [customer.tenant.id],
    )
    return customer


def test_by_default_everything_is_kept(three_versions: Customer) -> None:
    assert maintain(three_versions.tenant)["removed"] == {}
    assert three_versions.raw("accounts") == 4


def test_versions_that_were_replaced_go_and_the_latest_stays(three_versions: Customer) -> None:
    keep_for(three_versions.tenant, 100)
    assert maintain(three_versions.tenant)["removed"] == {"raw.files__accounts": 2}
    assert three_versions.latest() == {"1": "Third", "2": "Same"}
    # and what the source still says is no news
    three_versions.sync(full=True)
    assert three_versions.raw("accounts") == 2
    assert maintain(three_versions.tenant)["removed"] == {}


def test_a_dry_run_counts_the_same_and_changes_nothing(three_versions: Customer) -> None:
    keep_for(three_versions.tenant, 100)
    assert maintain(three_versions.tenant, dry_run=True)["removed"] == {"raw.files__accounts": 2}
    assert three_versions.raw("accounts") == 4


def test_what_a_model_has_not_read_yet_is_kept(three_versions: Customer, admin: psycopg.Connection) -> None:
    keep_for(three_versions.tenant, 100)
    admin.execute(
        "update control.watermarks set seq = 2 where tenant_id = %s and model = 'b'", [three_versions.tenant.id]
    )
    # the first of three was read by both, the second by one alone
    assert maintain(three_versions.tenant)["removed"] == {"raw.files__accounts": 1}


def test_killed_after_a_batch_the_next_one_does_the_rest(
    three_versions: Customer, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep_for(three_versions.tenant, 100)
    monkeypatch.setattr(maintenance, "BATCH", 1)
    batches = 0
    transaction = maintenance._Maintenance._transaction

    def killed_after_a_while(self: Any, connection: Any) -> Any:
        nonlocal batches
        batches += 1
        if batches == 10:
            raise ClarityError("killed")
        return transaction(self, connection)

    with monkeypatch.context() as cut:
        cut.setattr(maintenance._Maintenance, "_transaction", killed_after_a_while)
        with pytest.raises(ClarityError, match=r"maintenance is not complete\. .*: killed"):
            maintain(three_versions.tenant)
    assert three_versions.raw("accounts") == 3
    assert maintain(three_versions.tenant)["removed"] == {"raw.files__accounts": 1}


def test_activities_leave_raw_when_no_score_looks_at_them_any_more(
    customer: Customer, admin: psycopg.Connection
) -> None:
    tenant = customer.tenant
    customer.write("activities", "id,type,occurred_at", "old,page_view,2020-01-01", "new,page_view,2026-11-01")
    customer.sync()
    for external_id, days in (("files:old", 400), ("files:new", 300)):
        admin.execute(
            "insert into canonical.activities (id, tenant_id, type, source, external_id, occurred_at)"
            " values (%s, %s, 'page_view', 'files', %s, now() - make_interval(days => %s))",
            [str(uuid.uuid4()), tenant.id, external_id, days],
        )
    admin.execute(
        "insert into control.watermarks (tenant_id, model, stream, seq) values (%s, 'a', 'files__activities', 100)",
        [tenant.id],
    )
    admin.execute(
        "update raw.files__activities set landed_at = landed_at - interval '1 year' where tenant_id = %s", [tenant.id]
    )
    # the window of the scores is longer than the retention: it decides
    keep_for(tenant, 30)
    assert maintain(tenant)["removed"] == {"raw.files__activities": 1}
    assert customer.rows("select record_id from raw.files__activities") == [("new",)]
    assert customer.rows("select count(*) from canonical.activities") == [(2,)]


# ── rollups ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_compacted_rollups_give_the_same_scores_and_the_same_sums(tenant: Tenant, admin: psycopg.Connection) -> None:
    score_world.fill(admin, tenant.id, World(60))
    # every count became known in three steps, one of them backwards, and some came to nothing
    admin.execute(
        "insert into rollups.rollup_person_signals_daily (tenant_id, person_id, signal, day, count, known_since)"
        " select tenant_id, person_id, signal, day, step.count, known_since + step.later"
        " from rollups.rollup_person_signals_daily cross join (values (2, interval '1 hour'), (-1, interval '2 hours'),"
        " (1, interval '3 hours')) as step (count, later) where tenant_id = %s",
        [tenant.id],
    )
    admin.execute(
        "insert into rollups.rollup_person_signals_daily (tenant_id, person_id, signal, day, count, known_since)"
        " select tenant_id, person_id, signal, day, -sum(count), max(known_since) + interval '1 hour'"
        " from rollups.rollup_person_signals_daily where tenant_id = %s and md5(person_id) < '2'"
        " group by tenant_id, person_id, signal, day",
        [tenant.id],
    )
    admin.execute(
        "update rollups.rollup_person_signals_daily set known_since = known_since - interval '3 years'"
        " where tenant_id = %s and md5(person_id) < 'c'",
        [tenant.id],
    )
    keep_for(tenant, 400)
    before = scores(tenant, admin), sums(tenant, admin)
    rows = count(tenant, admin)
    dry = maintain(tenant, dry_run=True)["compacted"]
    assert count(tenant, admin) == rows
    assert maintain(tenant)["compacted"] == dry > rows / 3
    assert count(tenant, admin) == rows - dry
    assert (scores(tenant, admin), sums(tenant, admin)) == before
    assert maintain(tenant)["compacted"] == 0


def scores(tenant: Tenant, admin: psycopg.Connection) -> list[Any]:
    with lease.hold(tenant.id, "tests", stage="score") as held:
        score.run(tenant.id, str(uuid.uuid4()), held.fence, TODAY)
    return admin.execute(
        "select entity_type, entity_id, combined_score, tier, score_breakdown::text from scores.score_candidates"
        " where tenant_id = %s order by 1, 2",
        [tenant.id],
    ).fetchall()


def sums(tenant: Tenant, admin: psycopg.Connection) -> list[Any]:
    """What was known at a few moments that the retention still covers."""
    return admin.execute(
        "select n, person_id, signal, day, sum(count) from rollups.rollup_person_signals_daily as d"
        " join unnest(array[395, 100, 0]) as n on d.known_since <= now() - make_interval(days => n)"
        " where tenant_id = %s group by 1, 2, 3, 4 having sum(count) <> 0 order by 1, 2, 3, 4",
        [tenant.id],
    ).fetchall()


def count(tenant: Tenant, admin: psycopg.Connection) -> int:
    ((rows,),) = admin.execute(
        "select count(*) from rollups.rollup_person_signals_daily where tenant_id = %s", [tenant.id]
    ).fetchall()
    return int(rows)


# ── what has ended ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_logs_go_by_age_but_for_the_last_of_each(customer: Customer, admin: psycopg.Connection) -> None:
    tenant = customer.tenant
    customer.write("accounts", "id,name", "1,Acme")
    customer.sync()
    customer.sync()
    for run in ("one", "two"):
        admin.execute(
            "insert into control.model_runs (tenant_id, run_id, model, status) values (%s, %s, 'accounts', 'success')",
            [tenant.id, run],
        )
    admin.execute(
        "update control.sync_logs set started_at = started_at - interval '1 year',"
        " completed_at = completed_at - interval '1 year' where tenant_id = %s",
        [tenant.id],
    )
    admin.execute(
        "update control.model_runs set finished_at = finished_at - interval '1 year' where tenant_id = %s", [tenant.id]
    )
    keep_for(tenant, 90)
    assert maintain(tenant)["removed"] == {"control.sync_logs": 1, "control.model_runs": 1}
    assert customer.rows("select run_id from control.model_runs") == [("two",)]


def test_receipts_of_what_is_under_way_are_kept(customer: Customer, admin: psycopg.Connection) -> None:
    tenant = customer.tenant
    ((connector,),) = customer.rows("select id from control.connectors")
    for outcome in ("written", "sending"):
        admin.execute(
            "insert into scores.writeback_receipts (tenant_id, connector_id, run_id, stream, entity_type, entity_id,"
            " record_id, shown, wanted, outcome, settled_at)"
            " values (%s, %s, 'run', 'contacts', 'person', %s, %s, '{}', '{}', %s, now() - interval '1 year')",
            [tenant.id, connector, outcome, outcome, outcome],
        )
    keep_for(tenant, 90)
    assert maintain(tenant)["removed"] == {"scores.writeback_receipts": 1}
    assert customer.rows("select outcome from scores.writeback_receipts") == [("sending",)]


def test_a_sync_that_was_killed_is_closed_and_one_under_way_is_left_alone(customer: Customer) -> None:
    tenant = customer.tenant
    ((connector,),) = customer.rows("select id from control.connectors")
    with database.run_session(tenant.id) as connection:
        connection.execute(
            "insert into control.sync_logs (id, tenant_id, connector_id, sync_type) values ('dead', %s, %s, 'full')",
            [tenant.id, connector],
        )
    with lease.hold(tenant.id, "somebody at work", stage="extract"):
        done = maintain(tenant)
        assert (done["busy"], done["closed_syncs"]) == ([tenant.slug], 0)
    assert maintain(tenant)["closed_syncs"] == 1
    assert customer.last_sync("status, error_message") == (
        "failed",
        "the sync was interrupted; the next one goes on from its last page",
    )


def test_webhooks_are_known_as_long_as_a_vendor_may_repeat_them(customer: Customer, admin: psycopg.Connection) -> None:
    tenant = customer.tenant
    ((connector,),) = customer.rows("select id from control.connectors")
    for event, landed in (("waiting", None), ("fresh", 5), ("old", 31)):
        admin.execute(
            "insert into control.webhook_inbox (tenant_id, connector_id, connector, event_id, landed_at)"
            " values (%s, %s, 'files', %s, now() - make_interval(days => %s))",
            [tenant.id, connector, event, landed],
        )
    assert maintain(tenant)["removed"] == {"control.webhook_inbox": 1}
    assert customer.rows("select event_id from control.webhook_inbox order by 1") == [("fresh",), ("waiting",)]


def test_that_a_vendor_was_asked_about_somebody_is_forgotten_once_it_may_be_asked_again(
    customer: Customer, admin: psycopg.Connection
) -> None:
    tenant = customer.tenant
    ((connector,),) = customer.rows("select id from control.connectors")
    for digest, days in (("asked long ago", -1), ("asked lately", 1)):
        admin.execute(
            "insert into control.lookups (tenant_id, connector_id, digest, good_until)"
            " values (%s, %s, %s, now() + make_interval(days => %s))",
            [tenant.id, connector, digest, days],
        )
    assert maintain(tenant)["removed"] == {"control.lookups": 1}
    assert customer.rows("select digest from control.lookups") == [("asked lately",)]


def test_files_that_were_left_behind_go_and_nobody_elses(platform: Path, tenant: Tenant) -> None:
    maintenance.run()  # other tests leave something behind as well
    long_ago = time.time() - 100 * 24 * 3600
    logs = platform / "airflow" / "logs"
    gone, stays = logs / "dag_id=pipeline__gone", logs / f"dag_id=pipeline__{tenant.slug}"
    for folder, modified in (
        (gone / "run_id=1", None),
        (stays / "run_id=new", None),
        (stays / "run_id=old", long_ago),
        (logs / "dag_id=platform__maintenance" / "run_id=new", None),
    ):
        folder.mkdir(parents=True)
        if modified:
            os.utime(folder, (modified, modified))
    old_draft, new_draft = plan.folder() / "draft-1-1", plan.folder() / "draft-2-2"
    for draft in (old_draft, new_draft):
        draft.touch()
    os.utime(old_draft, (long_ago, long_ago))
    # made on this machine while the tenant was removed on another one
    pages = quality.pages_of("gone")
    pages.mkdir(parents=True)
    there = {str(place.relative_to(platform)) for place in (gone, stays / "run_id=old", old_draft, pages)}
    assert set(maintenance.run(dry_run=True)["files"]) == there
    assert gone.exists()
    assert set(maintenance.run()["files"]) == there
    assert not gone.exists()
    assert not old_draft.exists()
    assert new_draft.exists()
    assert [run.name for run in stays.iterdir()] == ["run_id=new"]
    new_draft.unlink()


def test_what_workers_noted_about_each_task_is_forgotten_soon(platform: Path) -> None:
    with psycopg.connect(database.airflow_url(driver="postgresql"), autocommit=True) as airflow:
        # as much of Celery's table as is asked
        airflow.execute("create table celery_taskmeta (task_id text, date_done timestamp)")
        airflow.execute("insert into celery_taskmeta values ('old', now() - interval '3 days'), ('new', now())")
        assert maintenance.run(dry_run=True)["removed"] == {"celery_taskmeta": 1}
        assert maintenance.run()["removed"] == {"celery_taskmeta": 1}
        assert airflow.execute("select task_id from celery_taskmeta").fetchall() == [("new",)]
        airflow.execute("drop table celery_taskmeta")


def test_one_tenants_trouble_does_not_hold_up_the_others(
    tenant: Tenant, other_tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []

    def fails_for_one(self: Any) -> None:
        seen.append(self.tenant.slug)
        if self.tenant.slug == tenant.slug:
            raise ClarityError("the disk is full")

    monkeypatch.setattr(maintenance._Maintenance, "run", fails_for_one)
    with pytest.raises(ClarityError, match=rf"not complete\. {tenant.slug}: the disk is full"):
        maintenance.run()
    assert {tenant.slug, other_tenant.slug} <= set(seen)


def test_the_gates_pages_of_the_last_runs_are_made(customer: Customer, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    monkeypatch.setattr(quality_pages, "make", lambda _tenant_id, slug: made.append(slug))
    maintenance.run(slug=customer.tenant.slug, dry_run=True)
    assert made == []
    maintenance.run(slug=customer.tenant.slug)
    assert made == [customer.tenant.slug]
