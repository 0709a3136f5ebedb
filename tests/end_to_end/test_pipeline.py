"""From a customer's files to scores that their BI tool reads, through every real part but Airflow."""

import csv
import hashlib
import multiprocessing
import os
from itertools import pairwise
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import pytest

from control import bi_users
from sandbox import companies
from scoring import engine
from steps import pipeline, score, score_rules
from tests.conftest import Tenant
from tests.end_to_end.conftest import TODAY, Supplied
from warehouse import database
from warehouse.errors import ClarityError

# `make chaos` goes twenty.
ROUNDS = int(os.environ.get("ROUNDS", "4"))
CONTENT = ("canonical.%", "rollups.%", "scores.%", "marts.%")


def state(tenant: Tenant, *, versions: bool = True) -> dict[str, str]:
    """A hash per table over the tenant's rows: with row versions, so that even rewriting the same shows."""
    with database.connect(database.admin_conninfo()) as admin:
        tables = admin.execute(
            # the marts of operations tell of the runs themselves, so each run adds to them
            "select oid::regclass::text from pg_class where relkind = 'r' and oid::regclass::text like any(%s)"
            " and relname not like 'mart_operations__%%' order by 1",
            [list(CONTENT)],
        ).fetchall()
        row = "t::text || t.xmin::text" if versions else "t::text"
        return {
            table: hashlib.sha256(
                repr(
                    admin.execute(
                        f"select {row} from {table} as t where tenant_id = %s order by 1".encode(), [tenant.id]
                    ).fetchall()
                ).encode()
            ).hexdigest()
            for (table,) in tables
        }


def count(tenant: Tenant, query: str) -> int:
    with database.run_session(tenant.id) as connection:
        row = connection.execute(query.encode()).fetchone()
    assert row is not None
    return int(row[0])


def test_files_become_scores_that_the_tenants_bi_login_reads(tenant: Tenant, supplied: Supplied) -> None:
    company = companies.read_world(supplied(tenant, 7))
    pipeline.run(tenant.slug, as_of=TODAY)
    login = bi_users.add(tenant.id, actor="system:tests")
    with database.connect(database.conninfo(login)) as bi:
        by_type = "select entity_type, count(*) from marts.mart_revenue__scores group by 1"
        scored: dict[str, int] = dict(bi.execute(by_type).fetchall())
        assert scored == {
            "account": len(company.accounts),
            "person": len(company.people),
            "opportunity": len(company.opportunities),
        }
        unexplained = bi.execute(
            "select count(*) from marts.mart_revenue__scores where because = '' or tier is null"
        ).fetchone()
        assert unexplained == (0,)
    assert count(tenant, "select count(*) from canonical.activities") == len(company.activities)
    # every activity of a person is in the rollup, once
    assert count(tenant, "select sum(count) from rollups.rollup_person_signals_daily") == count(
        tenant, "select count(*) from canonical.activities where person_id is not null"
    )


def test_a_run_with_nothing_new_touches_no_row(tenant: Tenant, supplied: Supplied) -> None:
    supplied(tenant, 7)
    pipeline.run(tenant.slug, as_of=TODAY)
    before = state(tenant)
    pipeline.run(tenant.slug, as_of=TODAY)
    assert state(tenant) == before


def test_reading_everything_again_touches_no_row_either(tenant: Tenant, supplied: Supplied) -> None:
    supplied(tenant, 7)
    pipeline.run(tenant.slug, as_of=TODAY)
    before = state(tenant)
    pipeline.run(tenant.slug, as_of=TODAY, full=True)
    assert state(tenant) == before


def test_a_paused_tenant_is_refused_with_the_command_that_resumes_it(tenant: Tenant, supplied: Supplied) -> None:
    from control import tenants

    supplied(tenant, 7)
    tenants.set_paused(tenant.id, True, actor="system:tests")
    with pytest.raises(ClarityError, match=f"clarity tenant resume {tenant.slug}"):
        pipeline.run(tenant.slug, as_of=TODAY)
    tenants.set_paused(tenant.id, False, actor="system:tests")
    pipeline.run(tenant.slug, as_of=TODAY)


def test_a_breach_publishes_nothing_and_the_last_good_scores_stay(
    tenant: Tenant, supplied: Supplied, monkeypatch: pytest.MonkeyPatch
) -> None:
    supplied(tenant, 7)
    pipeline.run(tenant.slug, as_of=TODAY)
    before = state(tenant)

    def broken(*arguments: Any, **named: Any) -> Any:
        scored = engine.score(*arguments, **named)
        scored.table.loc[0, "combined_score"] = 170.0
        return scored

    # nothing is new: scored it is all the same, by other rules
    monkeypatch.setattr(score_rules, "_engine", lambda: "another")
    monkeypatch.setattr(score, "score", broken)
    with pytest.raises(ClarityError, match=r"a score is outside 0 to 100 \(1 rows\)"):
        pipeline.run(tenant.slug, as_of=TODAY)
    after = state(tenant)
    assert in_force(after) == in_force(before)
    assert count(tenant, "select count(*) from quality.failures where test = 'scores_within_bounds'") == 1
    monkeypatch.undo()
    pipeline.run(tenant.slug, as_of=TODAY)
    assert in_force(state(tenant)) == in_force(before)


def in_force(state: dict[str, str]) -> dict[str, str]:
    """Without candidates, and without the mark of the run that made them."""
    waiting = ("_candidates", "regrouped_accounts", "scoring_marks")
    return {table: digest for table, digest in state.items() if not table.endswith(waiting)}


def add_activity(folder: Path, number: int, person_id: str) -> None:
    with (folder / "activities.csv").open("a", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerow(
            [f"late-{number}", person_id, "", "demo_request", "web", "2026-03-09T10:00:00Z", "{}"]
        )


def run_in_rounds(slug: str, folder: Path, person_id: str, barrier: Barrier, errors: Any) -> None:
    """In a process of its own, as Airflow's tasks are: a new activity and a run, round after round."""
    try:
        for number in range(ROUNDS):
            add_activity(folder, number, person_id)
            barrier.wait(120)
            pipeline.run(slug, as_of=TODAY)
    except BaseException as error:
        errors.put(f"{slug}: {error!r}")
        barrier.abort()
        raise


@pytest.mark.long
def test_two_tenants_run_at_the_same_time_round_after_round(
    tenant: Tenant, other_tenant: Tenant, supplied: Supplied
) -> None:
    context = multiprocessing.get_context("spawn")
    barrier, errors = context.Barrier(2), context.Queue()
    expected, processes = {}, []
    for seed, each in enumerate((tenant, other_tenant)):
        folder = supplied(each, 100 + seed)
        company = companies.read_world(folder)
        expected[each] = len(company.activities) + ROUNDS
        processes.append(
            context.Process(target=run_in_rounds, args=(each.slug, folder, company.people[0].id, barrier, errors))
        )
    for process in processes:
        process.start()
    for process in processes:
        process.join(280)
    assert [process.exitcode for process in processes] == [0, 0], errors.get(timeout=5)
    for each, activities in expected.items():
        assert count(each, "select count(*) from canonical.activities") == activities
        assert count(each, "select count(*) from control.sync_logs where status = 'completed'") == ROUNDS
        late = "where signal = 'demo_request' and day = '2026-03-09'"
        assert count(each, f"select sum(count) from rollups.rollup_person_signals_daily {late}") >= ROUNDS


def run_once(slug: str, barrier: Barrier) -> None:
    barrier.wait(120)
    pipeline.run(slug, as_of=TODAY)


def test_two_runs_of_one_tenant_at_once_never_interleave(tenant: Tenant, supplied: Supplied) -> None:
    supplied(tenant, 7)
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(2)
    processes = [context.Process(target=run_once, args=(tenant.slug, barrier)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(200)
    assert [process.exitcode for process in processes] == [0, 0]
    # what each run wrote, in order: one run's rows all come before the other's
    with database.connect(database.admin_conninfo()) as admin:
        runs = [
            run
            for (run,) in admin.execute(
                "select run_id from control.model_runs where tenant_id = %s order by finished_at", [tenant.id]
            )
        ]
    assert len(set(runs)) == 2
    changes = sum(one != other for one, other in pairwise(runs))
    assert changes == 1
