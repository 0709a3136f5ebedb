"""A column more for a mart: an edit, `clarity migrate`, the next run. What was there stays; nobody is in the way."""

import multiprocessing
import os
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from control import tenants
from steps import project, provision
from tests.dbt.conftest import Pipeline
from tests.dbt.project_copy import project_copy
from warehouse import database

MART = "mart_revenue__scores"
TENANTS, ROUNDS = 8, int(os.environ.get("ROUNDS", "1"))


@pytest.fixture(scope="module", autouse=True)
def as_it_was(platform: Path) -> Iterator[None]:
    """In the end the mart has the columns that it had, and the real project is deployed."""
    columns = "select attname from pg_attribute where attrelid = %s::regclass and attnum > 0 and not attisdropped"
    with database.connect(database.owner_conninfo(), autocommit=True) as owner:
        before = set(owner.execute(columns, [f"marts.{MART}"]).fetchall())
        yield
        for (name,) in set(owner.execute(columns, [f"marts.{MART}"]).fetchall()) - before:
            owner.execute(f"alter table marts.{MART} drop column {name}".encode())
        deploy()


def in_rounds(pipeline: Pipeline) -> None:
    """A new activity and a run, round after round."""
    for number in range(ROUNDS):
        activity = {"id": f"e{number}", "person_id": "p1", "type": "form_fill", "occurred_at": "2026-03-01T10:00:00Z"}
        pipeline.land("activities", activity)
        pipeline.transform()
        pipeline.transform("marts")


def all_at_once(those: list[Pipeline]) -> None:
    """In a process of their own: the owner's deploy is one too."""
    with ThreadPoolExecutor(len(those)) as hands:
        for done in [hands.submit(in_rounds, each) for each in those]:
            done.result()


@pytest.mark.long
def test_a_new_column_is_an_edit_and_a_migrate_history_is_kept_and_eight_others_run_meanwhile(
    landed: Pipeline, tmp_path: Path
) -> None:
    ((account,),) = landed.rows("select id from canonical.accounts where external_id = 'files:a1'")
    landed.score("account", account, 80, "hot")
    landed.transform("marts")
    made = f"select 'marts.{MART}'::regclass::oid, xmin::text, combined from marts.{MART}"
    history = "select ctid::text, xmin::text from rollups.rollup_person_signals_daily order by 1"
    before, known = landed.rows(made), landed.rows(history)

    those = [Pipeline(provision.create_tenant(slug, slug, actor="system:tests"), slug) for slug in names()]
    for number, each in enumerate(those):
        each.land("accounts", {"id": "a1", "name": f"Company {number}"})
        each.land("people", {"id": "p1", "account_id": "a1", "email": "ann@acme.com"})
        each.transform("identities", "accounts")
        ((account,),) = each.rows("select id from canonical.accounts where external_id = 'files:a1'")
        each.score("account", account, number, "hot")
    runs = multiprocessing.get_context("spawn").Process(target=all_at_once, args=(those,))
    runs.start()
    with project_copy(tmp_path / "dbt") as edited:
        edited.rewrite(MART, "is_hot", "made.tier = 'hot'", data_type="boolean")
        deploy()
        # the same table with the same rows, which have the column and no value in it yet
        assert landed.rows(made) == before
        assert landed.rows(f"select is_hot from marts.{MART}") == [(None,)]
        added = 0
        while runs.is_alive():
            added += 1
            edited.rewrite(MART, f"added_{added}", f"made.combined + {added}", data_type="numeric")
            deploy()
        runs.join(60)
        assert runs.exitcode == 0
        landed.transform()
        landed.transform("marts")
        assert landed.rows(f"select is_hot, combined from marts.{MART}") == [(True, 80)]
        assert landed.rows(made)[0][0] == before[0][0]
        assert landed.rows(history) == known
        columns = ", ".join(["combined", *(f"added_{number + 1}" for number in range(added))])
        for number, each in enumerate(those):
            each.transform("marts")
            assert each.rows("select sum(count)::integer from rollups.rollup_person_signals_daily") == [(ROUNDS,)]
            assert each.rows(f"select name, is_hot from marts.{MART}") == [(f"Company {number}", True)]
            assert each.rows(f"select {columns} from marts.{MART}") == [tuple(range(number, number + added + 1))]
            assert each.rows("select count(*)::integer from control.model_runs where status <> 'success'") == [(0,)]
    for each in those:
        tenants.delete(each.id, actor="system:tests")


def deploy() -> None:
    project.deploy(lambda line: print(line, file=sys.stderr))


def names() -> list[str]:
    return [f"column_{os.getpid()}_{number}" for number in range(TENANTS)]
