"""Settings: what a tenant says over what the platform says, and that each one changes something."""

import os
import subprocess
import sys
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from psycopg.types.json import Jsonb

from control import registry, settings
from sandbox import companies
from steps import maintenance, pipeline, provision, quality_expectations, quality_metrics, writeback
from tests.conftest import Tenant
from tests.dbt.conftest import Pipeline
from warehouse import database
from warehouse.errors import ClarityError, MisuseError
from warehouse.home import project_root

TODAY = date(2026, 3, 10)
ACTOR = "system:tests"

# every setting, and the test below that sees it at work
SEEN_IN = {
    "timezone": "test_the_timezone_is_the_clock_of_the_tenants_dag",
    "defaultScoringVersion": "test_a_tenant_can_be_pinned_to_the_configurations_of_an_earlier_version",
    "historyMaterialPoints": "test_how_much_a_score_must_move_to_make_history_is_the_tenants_choice",
    "retentionDays": "test_how_long_what_has_ended_is_kept_is_the_tenants_choice",
    "features.writeback": "test_writeback_is_off_until_the_feature_is_on",
    "writeback.alertShare": "test_how_many_failed_records_raise_the_alarm_is_the_tenants_choice",
    "features.buyingGroups": "test_buying_groups_are_formed_unless_the_feature_is_off",
    "bots.userAgents": "test_a_program_that_the_tenant_names_counts_as_a_machine",
    "domains.personal": "test_a_domain_that_the_tenant_names_makes_nobody_a_colleague",
    **dict.fromkeys(
        [f"quality.{about.alias}" for about in settings.Quality.model_fields.values()],
        "test_how_far_a_night_may_be_from_the_one_before_is_the_tenants_choice",
    ),
    "buyingGroups.solutionField": "test_the_field_that_the_tenant_names_says_what_a_deal_is_about",
}


def change(tenant: Tenant, *assignments: str, unset: tuple[str, ...] = ()) -> bool:
    return settings.change(tenant.id, actor=ACTOR, assignments=assignments, unset=unset)


def shown(tenant: Tenant) -> dict[str, tuple[Any, str]]:
    return {each.key: (each.value, each.origin) for each in settings.show(tenant.id, actor=ACTOR)}


@pytest.fixture
def company(tenant: Tenant, tmp_path: Path) -> companies.Company:
    made = companies.generate(7, 4, TODAY)
    companies.write_csv(tmp_path / "csv", made)
    provision.add_connector(tenant.id, "files", {"folder": str(tmp_path / "csv")}, actor=ACTOR)
    return made


def test_every_setting_is_seen_at_work_by_a_test(tenant: Tenant) -> None:
    assert set(shown(tenant)) == set(SEEN_IN)
    assert set(SEEN_IN.values()) <= set(globals())


def test_a_tenant_that_says_nothing_has_the_platforms_settings(tenant: Tenant) -> None:
    assert shown(tenant) == {
        "timezone": ("UTC", "own"),
        "defaultScoringVersion": (None, "default"),
        "historyMaterialPoints": (1.0, "default"),
        "retentionDays": (None, "default"),
        "features.writeback": (False, "default"),
        "features.buyingGroups": (True, "default"),
        "writeback.alertShare": (0.05, "default"),
        "bots.userAgents": ([], "default"),
        "domains.personal": ([], "default"),
        "buyingGroups.solutionField": (None, "default"),
        "quality.maxVolumeFactor": (10.0, "default"),
        "quality.maxVolumeDrop": (0.3, "default"),
        "quality.maxNullShareRise": (0.2, "default"),
        "quality.maxImpossibleShare": (0.05, "default"),
        "quality.maxRejectedShare": (0.1, "default"),
        "quality.maxMeanShift": (15.0, "default"),
        "quality.maxSpreadFactor": (2.0, "default"),
        "quality.maxTierShareShift": (0.25, "default"),
        "quality.freshnessHours": (48.0, "default"),
        "quality.requiredSources": ([], "default"),
    }


def test_what_a_tenant_sets_is_its_own_until_it_is_unset(tenant: Tenant) -> None:
    assert change(tenant, "features.writeback=true", "historyMaterialPoints=2.5")
    assert not change(tenant, "features.writeback=true")
    assert shown(tenant)["features.writeback"] == (True, "own")
    assert shown(tenant)["historyMaterialPoints"] == (2.5, "own")
    assert change(tenant, unset=("features.writeback", "timezone"))
    assert shown(tenant)["features.writeback"] == (False, "default")
    assert shown(tenant)["timezone"] == ("UTC", "default")
    with database.control_session(tenant.id) as connection:
        rows = connection.execute(
            "select changes -> 'before' -> 'features', changes -> 'after' -> 'features' from control.audit_log"
            " where action = 'tenant.settings' order by seq"
        ).fetchall()
    assert rows == [(None, {"writeback": True}), ({"writeback": True}, None)]


@pytest.mark.parametrize(
    ("assignment", "sentence"),
    [
        ("colour=blue", "there is no setting 'colour'; there are timezone, defaultScoringVersion"),
        ("features=true", "there is no setting 'features'"),
        ("features.teleport=true", "there is no setting 'features.teleport'"),
        ("timezone.city=Rome", "there is no setting 'timezone.city'"),
        ("timezone", "write KEY=VALUE"),
        ("=", "there is no setting ''"),
        ("", "write KEY=VALUE"),
        ("timezone=Mars/Olympus", "timezone must be an IANA time zone, like Europe/Berlin"),
        ("timezone=../../etc/passwd", "timezone must be an IANA time zone"),
        ("timezone=7", "timezone must be an IANA time zone"),
        ("timezone=a\x00b", "timezone must be an IANA time zone"),
        ("timezone=" + "x" * 10_000, "timezone must be an IANA time zone"),
        ("timezone=\N{GRINNING FACE}", "timezone must be an IANA time zone"),
        ("features.writeback=yes", "features.writeback must be true or false"),
        ("features.writeback=1", "features.writeback must be true or false"),
        ('features.writeback={"on": true}', "features.writeback must be true or false"),
        ("retentionDays=29", "retentionDays must be 30 to 36500"),
        ("historyMaterialPoints=NaN", "historyMaterialPoints must be 0 to 100"),
        ("historyMaterialPoints=-1", "historyMaterialPoints must be 0 to 100"),
        ("historyMaterialPoints=" + "[" * 100_000, "historyMaterialPoints must be 0 to 100"),
        ("historyMaterialPoints=" + "9" * 10_000, "historyMaterialPoints must be 0 to 100"),
        ("defaultScoringVersion=0", "defaultScoringVersion must be a score_version"),
        ("defaultScoringVersion=1.5", "defaultScoringVersion must be a score_version"),
        ("defaultScoringVersion=2", "the latest score_version is 1"),
        ("x" * 10_000 + "=1", "there is no setting 'xxx"),
    ],
    ids=lambda value: value[:30],
)
def test_a_wrong_setting_is_refused_with_its_name_and_what_is_allowed(
    tenant: Tenant, assignment: str, sentence: str
) -> None:
    before = shown(tenant)
    with pytest.raises(MisuseError) as refused:
        change(tenant, "features.writeback=true", assignment)
    assert sentence in str(refused.value)
    assert len(str(refused.value)) < 400
    assert shown(tenant) == before


def test_a_stored_setting_that_is_none_stops_what_reads_it_and_can_be_taken_out(tenant: Tenant) -> None:
    with database.control_session(tenant.id) as connection:
        connection.execute(
            "update control.tenants set settings = %s where id = %s", [Jsonb({"colour": "blue"}), tenant.id]
        )
    with pytest.raises(ClarityError, match=r"there is no setting 'colour'.*--unset KEY"):
        writeback.run(tenant.id, "run", 0)
    assert change(tenant, unset=("colour",))
    assert writeback.run(tenant.id, "run", 0)["writeback"] == "off"


def test_only_an_admin_sets_and_a_viewer_may_look(tenant: Tenant) -> None:
    with database.control_session(tenant.id) as connection:
        connection.execute(
            "insert into control.members (id, tenant_id, user_id, role) values ('m-' || %s, %s, 'vera', 'viewer')",
            [tenant.id, tenant.id],
        )
    assert settings.show(tenant.id, actor="vera")
    with pytest.raises(ClarityError, match=r"vera is a viewer; tenant\.settings needs the role admin"):
        settings.change(tenant.id, actor="vera", assignments=["features.writeback=true"])


# ── each setting at work ─────────────────────────────────────────────────────────────────────────────────────────


def test_the_timezone_is_the_clock_of_the_tenants_dag(tenant: Tenant) -> None:
    change(tenant, "timezone=Asia/Tokyo")
    assert registry.tenant(tenant.slug).timezone == "Asia/Tokyo"
    # Airflow reads its configuration when it is first imported, so it is asked in a process of its own
    program = (
        "import os, sys; from cli import airflow_env; os.environ.update(airflow_env.settings());"
        "from airflow.dag_processing.dagbag import DagBag;"
        "print(DagBag(dag_folder=sys.argv[1]).dags[sys.argv[2]].schedule.timezone)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(project_root() / "dags"), f"pipeline__{tenant.slug}"],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(project_root())},
        timeout=120,
    )
    assert "Asia/Tokyo" in done.stdout, done.stderr[-2000:]


def test_writeback_is_off_until_the_feature_is_on(tenant: Tenant) -> None:
    off = "features.writeback is off in the tenant's settings"
    assert writeback.run(tenant.id, "run", 0)["because"] == off
    change(tenant, "features.writeback=true")
    assert writeback.run(tenant.id, "run", 0)["because"] == "no writeback configuration is enabled"


def test_how_many_failed_records_raise_the_alarm_is_the_tenants_choice(tenant: Tenant) -> None:
    with database.run_session(tenant.id, autocommit=True) as connection:
        assert writeback.alarm(connection, tenant.id, 5, 100) == ""
        assert writeback.alarm(connection, tenant.id, 6, 100) == "6 of 100 records were not written, more than 5%"
        change(tenant, "writeback.alertShare=0.5")
        assert writeback.alarm(connection, tenant.id, 6, 100) == ""


def test_a_program_that_the_tenant_names_counts_as_a_machine(tenant: Tenant) -> None:
    pipeline = Pipeline(tenant.id, tenant.slug)
    click = {"id": "e1", "person_id": "p1", "type": "email_click", "occurred_at": "2026-03-01T10:00:00Z"}
    pipeline.land("people", {"id": "p1", "email": "ann@acme.example"})
    pipeline.land("activities", click | {"user_agent": "Acme-PreviewBot/2.1"})
    pipeline.transform()
    assert pipeline.rows("select is_bot from canonical.activities") == [(False,)]
    change(tenant, 'bots.userAgents=["previewbot"]')
    pipeline.transform()
    assert pipeline.rows("select is_bot from canonical.activities") == [(True,)]


def test_a_domain_that_the_tenant_names_makes_nobody_a_colleague(tenant: Tenant) -> None:
    pipeline = Pipeline(tenant.id, tenant.slug)
    pipeline.land("accounts", {"id": "a1", "name": "Provider", "domain": "post.example"})
    pipeline.land("people", {"id": "p1", "email": "ann@post.example"})
    pipeline.transform()
    assert pipeline.rows("select account_id is null from canonical.people") == [(False,)]
    change(tenant, 'domains.personal=["post.example"]')
    pipeline.transform()
    assert pipeline.rows("select account_id is null from canonical.people") == [(True,)]


def test_how_much_a_score_must_move_to_make_history_is_the_tenants_choice(
    tenant: Tenant, company: companies.Company, tmp_path: Path
) -> None:
    def history_after(points: float, days: int) -> int:
        change(tenant, f"historyMaterialPoints={points}")
        before = count(tenant, "scores.score_history")
        pipeline.run(tenant.slug, as_of=date(2026, 3, 10 + days))
        return count(tenant, "scores.score_history") - before

    history_after(1, 0)
    # with time alone passing every score sinks a little
    moved_much = history_after(100, 3)
    moved_at_all = history_after(0, 6)
    assert moved_at_all > moved_much
    assert moved_at_all == count(tenant, "scores.engagements where as_of = '2026-03-16'")


def test_buying_groups_are_formed_unless_the_feature_is_off(tenant: Tenant, company: companies.Company) -> None:
    change(tenant, "features.buyingGroups=false")
    pipeline.run(tenant.slug, as_of=TODAY)
    assert count(tenant, "scores.buying_groups") == 0
    change(tenant, unset=("features.buyingGroups",))
    pipeline.run(tenant.slug, as_of=TODAY)
    assert count(tenant, "scores.buying_groups") > 0


def test_the_field_that_the_tenant_names_says_what_a_deal_is_about(tenant: Tenant, company: companies.Company) -> None:
    pipeline.run(tenant.slug, as_of=TODAY)
    own = count(tenant, "scores.buying_groups")
    change(tenant, "buyingGroups.solutionField=name")
    pipeline.run(tenant.slug, as_of=TODAY)
    assert count(tenant, "scores.buying_groups where solution_tag is not null") > 0
    assert count(tenant, "scores.buying_groups where solution_tag is null") == own


def test_a_tenant_can_be_pinned_to_the_configurations_of_an_earlier_version(
    tenant: Tenant, company: companies.Company
) -> None:
    def scores() -> list[tuple[Any, ...]]:
        pipeline.run(tenant.slug, as_of=TODAY)
        with database.control_session(tenant.id) as connection:
            return connection.execute(
                "select entity_id, score_version, fit_score, engagement_score from scores.engagements order by 1"
            ).fetchall()

    provision.set_scoring_config(tenant.id, "fit", {"industries": ["Software"]}, actor=ACTOR)
    second = scores()
    provision.set_scoring_config(tenant.id, "engagement", {"saturation": 9.0}, actor=ACTOR)
    provision.set_scoring_config(tenant.id, "fit", {"industries": ["Retail"]}, actor=ACTOR)
    latest = scores()
    assert {row[1] for row in second} == {2}
    assert {row[1] for row in latest} == {4}
    change(tenant, "defaultScoringVersion=2")
    assert scores() == second
    change(tenant, "defaultScoringVersion=null")
    assert scores() == latest


def count(tenant: Tenant, table: str) -> int:
    with database.control_session(tenant.id) as connection:
        row = connection.execute(f"select count(*) from {table}".encode()).fetchone()
    assert row is not None
    return int(row[0])


def test_how_long_what_has_ended_is_kept_is_the_tenants_choice(tenant: Tenant) -> None:
    with database.control_session(tenant.id) as connection:
        connection.execute(
            "insert into quality.failures (id, tenant_id, run_id, model, test, reason, created_at)"
            " select gen_random_uuid()::text, %s, 'run', 'people', 'unique', 'twice',"
            " now() - make_interval(days => age) from unnest(array[10, 50, 90]) as age",
            [tenant.id],
        )
    for days, removed in ((60, 1), (40, 1), (40, 0)):
        change(tenant, f"retentionDays={days}")
        assert maintenance.run(slug=tenant.slug)["removed"].get("quality.failures", 0) == removed


OTHER_BOUNDS = {
    "maxVolumeFactor": ("2", "canonical.people.count"),
    "maxVolumeDrop": ("0.1", "canonical.people.count"),
    "maxNullShareRise": ("0.1", "canonical.people.title_null_share"),
    "maxImpossibleShare": ("0.1", "canonical.accounts.impossible_share"),
    "maxRejectedShare": ("0.2", "raw.files.rejected_share"),
    "maxMeanShift": ("5", "candidates.person.mean"),
    "maxSpreadFactor": ("3", "candidates.person.spread"),
    "maxTierShareShift": ("0.1", "candidates.person.hot_share"),
    "freshnessHours": ("12", "raw.files.hours_since_good_sync"),
    "requiredSources": ('["files"]', "raw.files.hours_since_good_sync"),
}


def test_how_far_a_night_may_be_from_the_one_before_is_the_tenants_choice(tenant: Tenant) -> None:
    measured = {
        **{name: 0.5 if name.endswith("_share") else 5.0 for _, name in OTHER_BOUNDS.values()},
        **{f"{thing}.count": 5_000.0 for thing in ("canonical.people", "canonical.accounts", "candidates.person")},
        "raw.files.offered": 100.0,
        "candidates.day": 1.0,
        "candidates.score_version": 1.0,
    }
    history = quality_metrics.History(measured, {}, {})

    def expected() -> dict[str, quality_expectations.Expectation]:
        with database.control_session(tenant.id) as connection:
            thresholds = settings.effective(connection, tenant.id).quality
        known = quality_expectations.Known(thresholds, measured, history)
        return {
            one.name: one
            for one in quality_expectations.expectations(known, slug=tenant.slug, run_id="run", reasons={})
        }

    before = expected()
    for key, (value, name) in OTHER_BOUNDS.items():
        change(tenant, f"quality.{key}={value}")
        assert expected()[name] != before[name], key
        change(tenant, unset=(f"quality.{key}",))
    assert expected() == before
    assert OTHER_BOUNDS.keys() == {about.alias for about in settings.Quality.model_fields.values()}
