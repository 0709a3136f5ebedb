"""What a night does with a tenant's scores, and what a look at them leaves as it was."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from steps import pipeline
from tests.conftest import Tenant
from tests.end_to_end.conftest import TODAY, Supplied
from tests.end_to_end.content import content
from tests.end_to_end.test_pipeline import state
from warehouse import database, lease
from warehouse.errors import NotNow

TOMORROW = TODAY + timedelta(days=1)


def score(tenant: Tenant, run_id: str, **how: Any) -> dict[str, Any]:
    how = {"as_of": TOMORROW, **how}
    summary = pipeline.score(tenant.slug, run_id, how.pop("as_of"), **how)
    pipeline.publish(tenant.slug, run_id)
    pipeline.conclude(tenant.slug, run_id)
    return summary


def day_in_force(tenant: Tenant) -> Any:
    with database.run_session(tenant.id) as connection:
        return connection.execute("select as_of, is_published from scores.scoring_marks").fetchone()


def test_a_night_comes_to_what_a_whole_run_of_that_day_comes_to(
    tenant: Tenant, other_tenant: Tenant, supplied: Supplied
) -> None:
    for each in (tenant, other_tenant):
        supplied(each, 7)
        pipeline.run(each.slug, as_of=TODAY)
    before = content(tenant)
    assert score(tenant, "night", forwards_only=True)["kept"]
    pipeline.run(other_tenant.slug, as_of=TOMORROW)
    assert content(tenant) == content(other_tenant)
    assert content(tenant)["scores"] != before["scores"]
    assert day_in_force(tenant) == (TOMORROW, True)


def test_an_old_night_run_again_is_looked_at_and_readers_do_not_go_back_in_time(
    tenant: Tenant, supplied: Supplied
) -> None:
    supplied(tenant, 7)
    pipeline.run(tenant.slug, as_of=TOMORROW)
    before = state(tenant)
    looked = score(tenant, "backfill", as_of=TODAY - timedelta(days=30), forwards_only=True)
    assert (looked["kept"], looked["as_of"]) == (False, "2026-02-08")
    assert sum(move["scores"] for move in looked["would_move"]) > 0
    assert state(tenant) == before
    # asked for by name, it is meant
    assert score(tenant, "asked", as_of=TODAY)["kept"]
    assert day_in_force(tenant) == (TODAY, True)


@pytest.mark.long
def test_a_dry_run_says_what_would_move_and_leaves_everything_for_the_run_that_means_it(
    tenant: Tenant, other_tenant: Tenant, supplied: Supplied
) -> None:
    for each in (tenant, other_tenant):
        supplied(each, 7)
        pipeline.run(each.slug, as_of=TODAY)
    before = state(tenant)
    dry = score(tenant, "dry", dry_run=True)
    assert not dry["kept"]
    assert {"from", "to", "scores"} == set(dry["would_move"][0])
    assert state(tenant) == before
    for each in (tenant, other_tenant):
        meant = score(each, "meant")
    assert meant["kept"]
    assert sum(move["scores"] for move in dry["would_move"]) <= meant["candidates"]
    assert content(tenant) == content(other_tenant)


def test_who_finds_the_tenant_taken_is_told_when_to_come_again(tenant: Tenant) -> None:
    with lease.hold(tenant.id, "cli:elsewhere:1:1", stage="score"), pytest.raises(NotNow) as busy:
        pipeline.score(tenant.slug, "night", TODAY, patience=0)
    assert timedelta(0) < busy.value.until - datetime.now(UTC) <= lease.LOOK_AGAIN_AFTER


def test_why_nothing_is_written_back_is_known_without_trying(tenant: Tenant) -> None:
    assert pipeline.no_writeback(tenant.slug) == "features.writeback is off in the tenant's settings"
