"""A column more for a mart: an edit, `clarity migrate`, the next run; what was there stays."""

from pathlib import Path

from steps import project
from tests.dbt.conftest import Pipeline
from tests.dbt.project_copy import project_copy
from warehouse import database

MART = "mart_revenue__scores"


def test_a_new_column_is_an_edit_and_a_migrate_and_history_is_kept(landed: Pipeline, tmp_path: Path) -> None:
    ((account,),) = landed.rows("select id from canonical.accounts where external_id = 'files:a1'")
    landed.score("account", account, 80, "hot")
    landed.transform("marts")
    made = f"select 'marts.{MART}'::regclass::oid, xmin::text, combined from marts.{MART}"
    history = "select ctid::text, xmin::text from rollups.rollup_person_signals_daily order by 1"
    before, known = landed.rows(made), landed.rows(history)
    try:
        with project_copy(tmp_path / "dbt") as edited:
            edited.rewrite(MART, "is_hot", "made.tier = 'hot'", data_type="boolean")
            project.deploy(lambda _line: None)
            # the same table with the same rows, which have the column and no value in it yet
            assert landed.rows(made) == before
            assert landed.rows(f"select is_hot from marts.{MART}") == [(None,)]
            landed.transform()
            landed.transform("marts")
            assert landed.rows(f"select is_hot, combined from marts.{MART}") == [(True, 80)]
            assert landed.rows(made)[0][0] == before[0][0]
            assert landed.rows(history) == known
    finally:
        with database.connect(database.owner_conninfo()) as owner:
            owner.execute(f"alter table marts.{MART} drop column if exists is_hot".encode())
        project.deploy(lambda _line: None)
