"""A run carries out what dbt worked out before: the same rows, by any number of tenants at once, without dbt."""

import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import orjson
import psycopg
import pytest

from control import settings
from steps import plan, project, rules, transform
from tests.dbt.conftest import Pipeline
from warehouse import database, lease
from warehouse.errors import ClarityError

CONTENT = """
select 'accounts', external_id, domain, deleted_at is null from canonical.accounts
union all select 'people', p.external_id, a.external_id, p.deleted_at is null
    from canonical.people as p left join canonical.accounts as a on a.id = p.account_id
union all select 'opportunities', o.external_id, a.external_id, o.deleted_at is null
    from canonical.opportunities as o inner join canonical.accounts as a on a.id = o.account_id
union all select 'activities', e.external_id, p.external_id, e.type = 'page_view'
    from canonical.activities as e left join canonical.people as p on p.id = e.person_id
union all select 'signals', p.external_id, s.signal || s.day || s.count, s.count > 0
    from rollups.rollup_person_signals_daily as s inner join canonical.people as p on p.id = s.person_id
order by 1, 2, 3, 4
"""


def by_dbt(pipeline: Pipeline) -> None:
    """One run of this tenant as dbt itself would do it."""
    with lease.hold(pipeline.id, "dbt", stage="transform") as held, database.run_session(pipeline.id) as connection:
        variables = {"tenant_id": pipeline.id, "run_id": "by-dbt", "fence": held.fence}
        variables |= rules.variables(connection, pipeline.id)
        with project.session(database.conninfo_in_force(database.run_login(pipeline.id))):
            build = ["build", "--target", "run", "--select", "canonical", "rollups"]
            build += ["--exclude", "config.materialized:view", "--exclude-resource-type", "unit_test"]
            folder = plan.folder() / "by-dbt"
            outcome = project.invoke(
                folder, [*build, "--vars", orjson.dumps(variables).decode()], manifest=project.manifest()
            )
    assert project.failures(outcome, folder) == []


@pytest.mark.long
def test_a_plan_does_what_dbt_does(landed: Pipeline, other_pipeline: Pipeline) -> None:
    later = {
        "accounts": [{"id": "a2", "name": "Bolt", "website": "bolt.io"}, {"id": "a3"}],
        "people": [{"id": "p3", "account_id": "a2", "email": "cy@nowhere.net"}],
        "activities": [
            {"id": "e4", "person_id": "p3", "type": "form_fill", "occurred_at": "2026-03-02T11:00:00Z"},
            {"id": "e5", "person_id": "p1", "type": "page_view", "occurred_at": "2026-03-03T11:00:00Z"},
        ],
    }
    raw = "select record_id, payload, source_updated_at from raw.files__{} order by seq"
    for stream in ("accounts", "people", "opportunities", "activities"):
        other_pipeline.land(stream, *(payload for _, payload, _ in landed.rows(raw.format(stream))))
    by_dbt(other_pipeline)
    assert other_pipeline.rows(CONTENT) == landed.rows(CONTENT)
    for each in (landed, other_pipeline):
        for stream, records in later.items():
            each.land(stream, *records)
    landed.transform()
    by_dbt(other_pipeline)
    after = landed.rows(CONTENT)
    assert ("activities", "files:e4", "files:p3", False) in after
    assert other_pipeline.rows(CONTENT) == after
    failures = "select model, test, key, reason from quality.failures"
    assert landed.rows(failures) == other_pipeline.rows(failures) != []


def test_a_run_does_not_even_import_dbt(landed: Pipeline) -> None:
    program = (
        "import sys; from steps import pipeline;"
        f" assert pipeline.models({landed.slug!r})['rows'];"
        " sys.exit('dbt' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], timeout=60, check=False).returncode == 0


def test_tenants_share_a_plan_until_one_has_rules_of_its_own(landed: Pipeline, other_pipeline: Pipeline) -> None:
    with database.run_session(landed.id) as connection:
        assert rules.variables(connection, landed.id) == rules.of_nobody()
    shared = {file.name: file.stat().st_mtime_ns for file in plan.folder().glob("plan-*")}
    other_pipeline.transform()
    assert {file.name: file.stat().st_mtime_ns for file in plan.folder().glob("plan-*")} == shared
    settings.change(other_pipeline.id, assignments=['domains.personal=["nowhere.net"]'], actor="system:tests")
    other_pipeline.transform()
    (own,) = {file.name for file in plan.folder().glob("plan-*")} - shared.keys()
    assert "nowhere.net" in (plan.folder() / own).read_text(encoding="utf-8")
    assert not [name for name in shared if "nowhere.net" in (plan.folder() / name).read_text(encoding="utf-8")]


@pytest.mark.long
def test_of_a_plan_with_own_rules_only_what_reads_them_is_worked_out_and_the_rest_is_everybodys(
    landed: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    mapped = {"columns": {"name": "upper(source_data ->> 'name')"}, "required": ["name"]}
    own = {
        **rules.of_nobody(),
        "mappings": {entity: {"files": mapped} for entity in ("accounts", "people", "opportunities", "activities")},
        "rules": {"personal_domains": ["x.example"], "user_agents": ["Nosy"], "custom_fields": ["region"]},
    }
    quickly = project.work_out(own, database.owner_conninfo())
    asked: list[object] = []
    monkeypatch.setattr(plan, "kept", asked.append)
    anew = project.work_out(own, database.owner_conninfo())
    assert asked == [rules.of_nobody()]
    assert by_id(quickly) == by_id(anew)
    monkeypatch.undo()
    everybodys = plan.kept(rules.of_nobody())
    assert everybodys
    different = {each.name for each in anew.models if by_id(everybodys)[each.id] != each}
    assert {"accounts", "people", "opportunities", "activities", "rollup_person_attributes"} <= different
    assert "rollup_person_signals_daily" not in different


def by_id(of: plan.Plan) -> dict[str, plan.Model | plan.DataTest]:
    return {model.id: model for model in of.models} | {test.id: test for test in of.tests}


def test_a_plan_names_no_tenant_and_no_login(landed: Pipeline) -> None:
    login = database.run_login(landed.id)
    for file in plan.folder().glob("plan-*"):
        content = file.read_text(encoding="utf-8")
        assert [word for word in (landed.id, landed.slug, login.name, login.password) if word in content] == []


def test_two_tenants_run_at_once_in_one_process(landed: Pipeline, other_pipeline: Pipeline) -> None:
    other_pipeline.land("accounts", {"id": "z1", "name": "Zed"})
    landed.land("accounts", {"id": "a4", "name": "Ace"})
    with ThreadPoolExecutor(2) as hands:
        for done in [hands.submit(each.transform) for each in (landed, other_pipeline)]:
            done.result()
    names = "select name from canonical.accounts where external_id <> '_none' order by name"
    assert other_pipeline.rows(names) == [("Zed",)]
    assert landed.rows(names) == [("Ace",), ("Acme",), ("Bolt",)]


def test_a_model_that_fails_stops_those_that_read_it_and_no_others(landed: Pipeline) -> None:
    landed.land("accounts", {"id": "a5", "name": "Five"})
    landed.land("people", {"id": "p5", "account_id": "a5"})
    with database.connect(database.owner_conninfo(), autocommit=True) as owner:
        owner.execute("alter table canonical.people rename to people_elsewhere")
        try:
            with pytest.raises(ClarityError, match=r"people: relation .* does not exist"):
                landed.transform()
        finally:
            owner.execute("alter table canonical.people_elsewhere rename to people")
    statuses = dict(
        landed.rows("select distinct on (model) model, status from control.model_runs order by model, finished_at desc")
    )
    assert statuses["people"] == "error"
    assert statuses["accounts"] == "success"
    assert statuses["activities"] == statuses["rollup_person_signals_daily"] == "skipped"
    assert landed.rows("select from canonical.accounts where external_id = 'files:a5'")
    landed.transform()


def test_a_connection_that_the_server_ends_fails_the_run_and_the_next_goes_on(
    landed: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ended(connection: psycopg.Connection, _statements: object) -> int:
        return connection.execute("select pg_terminate_backend(pg_backend_pid())").rowcount

    landed.land("accounts", {"id": "a6", "name": "Six"})
    with monkeypatch.context() as patch:
        patch.setattr(transform, "_say", ended)
        with pytest.raises(ClarityError, match="terminating connection"):
            landed.transform()
    assert not landed.rows("select from canonical.accounts where external_id = 'files:a6'")
    landed.transform()
    assert landed.rows("select from canonical.accounts where external_id = 'files:a6'")


def test_a_selection_in_dbts_own_words_is_understood(landed: Pipeline) -> None:
    with database.run_session(landed.id) as connection:
        known = plan.of(rules.variables(connection, landed.id), database.owner_conninfo())
    assert set(known.names(["+accounts"])) == {"identities", "accounts"}
    assert known.names(["accounts"]) == ["accounts"]
    assert set(known.names(["rollups"])) == {model.name for model in known.models if model.layer == "rollups"}


CANONICAL = ("accounts", "activities", "fathom_meetings", "identities", "opportunities", "people", "profiles")


def begun(monkeypatch: pytest.MonkeyPatch, pipeline: Pipeline) -> set[str]:
    """The canonical models that a run of this tenant begins."""
    names: set[str] = set()
    really_say = transform._say

    def say(connection: psycopg.Connection, statements: Sequence[str]) -> int:
        names.update(name for name in CANONICAL if any(f"table {name}__selected " in each for each in statements))
        return really_say(connection, statements)

    with monkeypatch.context() as patch:
        patch.setattr(transform, "_say", say)
        pipeline.transform()
    return names


def test_what_has_nothing_to_do_is_not_begun(landed: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    assert begun(monkeypatch, landed) == set()
    landed.land(
        "activities", {"id": "e9", "person_id": "p9", "type": "page_view", "occurred_at": "2026-03-03T11:00:00Z"}
    )
    assert begun(monkeypatch, landed) == {"activities"}
    # it waits for p9, whom nothing tells of yet
    assert begun(monkeypatch, landed) == set()
    landed.land("people", {"id": "p9", "account_id": "a1", "email": "ida@acme.com"})
    assert begun(monkeypatch, landed) == {"identities", "people", "activities"}
    assert landed.rows(
        "select p.email from canonical.activities as a inner join canonical.people as p on p.id = a.person_id"
        " where a.external_id = 'files:e9'"
    ) == [("ida@acme.com",)]
    settings.change(landed.id, assignments=['domains.personal=["acme.com"]'], actor="system:tests")
    assert begun(monkeypatch, landed) >= {"identities", "accounts", "people"}
    assert begun(monkeypatch, landed) == set()


def test_a_run_that_ended_between_two_models_is_gone_on_with(landed: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    landed.land(
        "activities", {"id": "e9", "person_id": "p9", "type": "page_view", "occurred_at": "2026-03-03T11:00:00Z"}
    )
    landed.transform()
    landed.land("people", {"id": "p9", "account_id": "a1", "email": "ida@acme.com"})
    landed.transform("identities")
    assert begun(monkeypatch, landed) == {"people", "activities"}
    landed.land("people", {"id": "p2", "account_id": "a1", "email": "ann@acme.com"})
    landed.transform("identities", "people")
    assert landed.rows("select count(*) from canonical.moved_entities") == [(1,)]
    assert begun(monkeypatch, landed) == {"activities"}
    assert landed.rows("select count(*) from canonical.moved_entities") == [(0,)]
