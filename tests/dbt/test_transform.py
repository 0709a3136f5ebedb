"""What a run reports, and how it refuses."""

from pathlib import Path

import pytest
from psycopg import sql

from steps import plan, transform
from tests.dbt.conftest import Pipeline
from tests.dbt.project_copy import project_copy
from warehouse import database, lease
from warehouse.errors import ClarityError
from warehouse.home import home


def test_each_model_of_a_run_is_a_row_of_model_runs(landed: Pipeline) -> None:
    models = landed.rows("select model, status, rows_affected from control.model_runs order by model")
    assert ("activities", "success", 4) in models
    assert [model for model, _, _ in models] == [
        "accounts",
        "activities",
        "fathom_meetings",
        "identities",
        "opportunities",
        "people",
        "profiles",
        "rollup_account_attributes",
        "rollup_activity_daily",
        "rollup_opportunity_attributes",
        "rollup_opportunity_contacts",
        "rollup_opportunity_facts",
        "rollup_opportunity_stages",
        "rollup_person_attributes",
        "rollup_person_signals_daily",
    ]


def test_rows_that_fail_a_test_are_kept_and_the_run_says_which_test(landed: Pipeline) -> None:
    account = landed.rows("select id from canonical.accounts where external_id = 'files:a1'")[0][0]
    landed.score("account", account, 120, "lukewarm")
    with pytest.raises(ClarityError, match=r"mart_revenue__scores fails within_bounds_.*_combined"):
        landed.transform("marts")
    kept = landed.rows(
        "select model, key, failed_row ->> 'combined' from quality.failures where test like 'within_bounds%'"
    )
    assert kept == [("mart_revenue__scores", account, "120")]
    assert len(landed.rows("select from quality.failures where test like 'accepted_values%tier%'")) >= 1


def test_a_run_that_lost_its_lease_writes_nothing(landed: Pipeline) -> None:
    landed.land("accounts", {"id": "a9", "name": "Too late"})
    with lease.hold(landed.id, "first", stage="transform") as held:
        lost = held.fence
    with lease.hold(landed.id, "second", stage="transform"):
        with pytest.raises(ClarityError, match="another run"):
            transform.run(landed.slug, "late", lost)
    assert landed.rows("select from canonical.accounts where external_id = 'files:a9'") == []
    assert landed.rows("select from control.model_runs where run_id = 'late'") == []


def test_a_run_with_another_tenants_login_is_stopped_by_the_database(
    landed: Pipeline, other_pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    other_login = database.run_login(other_pipeline.id)
    monkeypatch.setattr(database, "run_login", lambda _tenant_id: other_login)
    with pytest.raises(ClarityError, match=r"lease|belongs to tenant"):
        transform.run(landed.slug, "swapped", 1)


def test_before_the_first_deploy_a_run_says_what_to_do(landed: Pipeline) -> None:
    deployed = plan.folder() / "deployed.json"
    deployed.rename(plan.folder() / "hidden")
    mark = sql.SQL("comment on schema control is {}")
    with database.connect(database.owner_conninfo(), autocommit=True) as owner:
        written = plan.mark(owner)
        owner.execute(mark.format(None))
        try:
            assert not plan.is_deployed()
            with pytest.raises(ClarityError, match="`clarity migrate`"):
                landed.transform()
        finally:
            owner.execute(mark.format(f"deployed {written}"))
            (plan.folder() / "hidden").rename(deployed)
    assert plan.is_deployed()


def test_an_edit_is_no_deploy_and_runs_go_by_what_was_deployed(landed: Pipeline, tmp_path: Path) -> None:
    landed.land("accounts", {"id": "a8", "name": "Eight"})
    with project_copy(tmp_path / "dbt") as edited:
        (edited.folder / "models" / "canonical" / "accounts.sql").write_text("select nonsense", encoding="utf-8")
        assert not plan.is_deployed()
        landed.transform()
    assert landed.rows("select name from canonical.accounts where external_id = 'files:a8'") == [("Eight",)]


def test_the_password_is_in_no_log(landed: Pipeline) -> None:
    password = database.run_login(landed.id).password
    files = [file for file in (home() / "dbt").rglob("*") if file.is_file()]
    assert files
    assert not [file for file in files if password.encode() in file.read_bytes()]
