"""The gate: each expectation is met by what was published, and not met by what has gone wrong."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import psycopg
import pytest

from benchmarks import score_world
from benchmarks.score_world import AS_OF, World
from control import quality as results
from control import settings
from steps import publish, quality, quality_pages, score
from steps.quality import Acceptance, Verdict
from steps.quality_metrics import Waiting
from tests.conftest import Tenant, _fresh_tenant
from warehouse import database, lease
from warehouse.errors import ClarityError

ACTOR = "system:tests"
DEALS = 60

# A night that has read, transformed and scored; each mutation below is what is wrong with it.
THE_NIGHT = (
    "insert into control.sync_logs (id, tenant_id, connector_id, sync_type, status, records_created, run_id)"
    " values (%(tenant)s || 'tonight', %(tenant)s, %(tenant)s || 'files', 'incremental', 'completed', 500, 'tonight')",
    "insert into control.model_runs (tenant_id, run_id, model, status, rows_affected)"
    " values (%(tenant)s, 'tonight', 'people', 'success', 500)",
    "insert into scores.score_candidates (tenant_id, entity_type, entity_id, as_of, fit_score, engagement_score,"
    " combined_score, tier, score_version, score_breakdown, run_id, is_material)"
    " select tenant_id, entity_type, entity_id, as_of, fit_score, engagement_score, combined_score, tier,"
    " score_version, '{}', 'tonight', true from scores.engagements where tenant_id = %(tenant)s",
)


@dataclass(frozen=True)
class Wrong:
    """`done` is what happened at the tenant, and `breaks` the expectation that notices."""

    done: str
    breaks: str
    verdict: str = "breach"
    settings: Sequence[str] = field(default=())


EVERY = [
    Wrong(
        "update control.sync_logs set records_created = 20000 where run_id = 'tonight' and tenant_id = %(tenant)s",
        "raw.files.landed",
    ),
    Wrong(
        "update control.sync_logs set records_created = 3 where run_id = 'tonight' and tenant_id = %(tenant)s",
        "raw.files.landed",
    ),
    Wrong(
        "update control.sync_logs set records_failed = 100 where run_id = 'tonight' and tenant_id = %(tenant)s",
        "raw.files.rejected_share",
        "warning",
    ),
    Wrong(
        "update control.connectors set last_sync_at = now() - interval '3 days' where tenant_id = %(tenant)s",
        "raw.files.hours_since_good_sync",
        "warning",
    ),
    Wrong(
        "update control.connectors set last_sync_at = now() - interval '3 days' where tenant_id = %(tenant)s",
        "raw.files.hours_since_good_sync",
        settings=['quality.requiredSources=["files"]'],
    ),
    Wrong(
        "update control.sync_logs set status = 'failed' where run_id = 'tonight' and tenant_id = %(tenant)s",
        "raw.files.arrived",
        settings=['quality.requiredSources=["files"]'],
    ),
    Wrong(
        "update canonical.accounts set deleted_at = now()"
        " where tenant_id = %(tenant)s and substr(external_id, 2)::int %% 2 = 0",
        "canonical.accounts.count",
    ),
    Wrong(
        "insert into canonical.people (id, tenant_id) select %(tenant)s || 'twin' || i, %(tenant)s"
        " from generate_series(1, 7000) as i",
        "canonical.people.count",
    ),
    Wrong(
        "update canonical.opportunities set deleted_at = now() where tenant_id = %(tenant)s and name like 'Extra%%'",
        "canonical.opportunities.count",
    ),
    Wrong(
        "delete from rollups.rollup_activity_daily where tenant_id = %(tenant)s and day > date '2026-03-10' - 28",
        "canonical.activities.last_28_days",
    ),
    Wrong("delete from rollups.rollup_activity_daily where tenant_id = %(tenant)s", "canonical.activities.count"),
    Wrong(
        "update rollups.rollup_activity_daily set day = current_date + (day - date '2026-03-10') + 400"
        " where tenant_id = %(tenant)s",
        "canonical.activities.impossible_share",
    ),
    *(
        Wrong(f"update canonical.{entity} set {column} = null where tenant_id = %(tenant)s", name)
        for entity, column, name in (
            ("accounts", "domain", "canonical.accounts.domain_null_share"),
            ("accounts", "industry", "canonical.accounts.industry_null_share"),
            ("accounts", "employee_count", "canonical.accounts.employee_count_null_share"),
            ("accounts", "annual_revenue", "canonical.accounts.annual_revenue_null_share"),
            ("people", "email", "canonical.people.email_null_share"),
            ("people", "title", "canonical.people.title_null_share"),
            ("people", "account_id", "canonical.people.account_id_null_share"),
            ("opportunities", "stage", "canonical.opportunities.stage_null_share"),
            ("opportunities", "amount", "canonical.opportunities.amount_null_share"),
            ("opportunities", "close_date", "canonical.opportunities.close_date_null_share"),
        )
    ),
    Wrong(
        "update canonical.accounts set employee_count = -5 where tenant_id = %(tenant)s",
        "canonical.accounts.impossible_share",
    ),
    Wrong(
        "update canonical.opportunities set amount = 1e15 where tenant_id = %(tenant)s",
        "canonical.opportunities.impossible_share",
    ),
    Wrong(
        "update scores.score_candidates set combined_score = least(100, combined_score + 40)"
        " where tenant_id = %(tenant)s",
        "candidates.person.mean",
    ),
    Wrong(
        "update scores.score_candidates set combined_score = 30 where tenant_id = %(tenant)s",
        "candidates.person.spread",
    ),
    *(
        Wrong(f"update scores.score_candidates set tier = '{tier}' where tenant_id = %(tenant)s", broken)
        for tier, broken in (
            ("hot", "candidates.person.hot_share"),
            ("warm", "candidates.person.warm_share"),
            ("cool", "candidates.person.cool_share"),
            ("cold", "candidates.person.cold_share"),
        )
    ),
    Wrong(
        "delete from scores.score_candidates where tenant_id = %(tenant)s;"
        " delete from scores.engagements where tenant_id = %(tenant)s and entity_id > '8';"
        " insert into scores.score_candidates (tenant_id, entity_type, entity_id, as_of, engagement_score,"
        " combined_score, tier, score_version, score_breakdown, run_id, is_material) select tenant_id, entity_type,"
        " entity_id, as_of, engagement_score, combined_score, tier, score_version, '{}', 'tonight', true"
        " from scores.engagements where tenant_id = %(tenant)s",
        "candidates.person.count",
    ),
    Wrong(
        "update scores.score_candidates set combined_score = 170 where tenant_id = %(tenant)s and entity_id < '2'",
        "candidates.rows.scores_within_bounds",
    ),
    Wrong(
        "update scores.score_candidates set tier = null where tenant_id = %(tenant)s and entity_id < '2'",
        "candidates.rows.scores_present",
    ),
    Wrong(
        "update scores.score_candidates set tier = 'lukewarm' where tenant_id = %(tenant)s and entity_id < '2'",
        "candidates.rows.tier_known",
    ),
    Wrong(
        "update scores.score_candidates set entity_id = 'nobody' || entity_id"
        " where tenant_id = %(tenant)s and entity_id < '2'",
        "candidates.rows.entity_known",
    ),
]


@dataclass
class Company:
    """A tenant that was published once, in a transaction that is never committed."""

    tenant: Tenant
    admin: psycopg.Connection

    def suffer(self, *statements: str) -> None:
        for statement in statements:
            for one in statement.split(";"):
                self.admin.execute(one.encode(), {"tenant": self.tenant.id})

    def judged(self, accepted: Acceptance | None = None, run_id: str = "tonight") -> Verdict:
        ((candidates,),) = self.admin.execute(
            "select count(*) from scores.score_candidates where tenant_id = %s", [self.tenant.id]
        ).fetchall()
        failing = publish._failing_rows(self.admin, self.tenant.id, run_id)
        waiting = Waiting(candidates, AS_OF)
        return quality.judge(self.admin, self.tenant.id, run_id, waiting, failing, accepted)


@pytest.fixture(scope="module")
def published(platform: object) -> Iterator[Tenant]:
    """A company of 60 accounts, 600 people and 60 deals, four nights after it came."""
    for tenant in _fresh_tenant():
        with database.connect(database.admin_conninfo(), autocommit=True) as admin:
            score_world.fill(admin, tenant.id, World(600))
            for statement in (
                "update canonical.accounts set industry = coalesce(industry, 'Mining'),"
                " annual_revenue = coalesce(annual_revenue, 1) where tenant_id = %(tenant)s",
                "insert into canonical.opportunities (id, tenant_id, account_id, name, stage, external_id, amount,"
                " close_date) select %(tenant)s || 'extra' || i, %(tenant)s, (select min(id) from canonical.accounts"
                " where tenant_id = %(tenant)s), 'Extra ' || i, 'Lead', 'x' || i, 100, now()"
                f" from generate_series(1, {DEALS}) as i",
                "update canonical.opportunities set amount = 5, close_date = now() where tenant_id = %(tenant)s",
                "insert into rollups.rollup_activity_daily (tenant_id, day, source, channel, signal, activities,"
                " people, accounts, by_machines, taken_back) select %(tenant)s, date '2026-03-10' - i, 'files', 'web',"
                " 'page_view', 100, 5, 5, 0, 0 from generate_series(0, 60) as i",
                "insert into control.connectors (id, tenant_id, type, name, last_sync_at)"
                " values (%(tenant)s || 'files', %(tenant)s, 'files', 'files', now())",
                "insert into control.model_runs (tenant_id, run_id, model, status, rows_affected)"
                " values (%(tenant)s, 'first', 'people', 'success', 600)",
            ):
                admin.execute(statement.encode(), {"tenant": tenant.id})
            with lease.hold(tenant.id, "tests", stage="score") as held:
                for run_id in ("first", "second", "third", "fourth"):
                    admin.execute(
                        "insert into control.sync_logs (id, tenant_id, connector_id, sync_type, status, run_id,"
                        " records_created) values (%s, %s, %s, 'full', 'completed', %s, 800)",
                        [f"{tenant.id}{run_id}", tenant.id, f"{tenant.id}files", run_id],
                    )
                    score.run(tenant.id, run_id, held.fence, AS_OF)
                    publish.run(tenant.id, run_id, held.fence)
        yield tenant


@pytest.fixture
def company(published: Tenant) -> Iterator[Company]:
    with database.connect(database.admin_conninfo()) as admin:
        it = Company(published, admin)
        it.suffer(*THE_NIGHT)
        yield it
        admin.rollback()


def verdicts(verdict: Verdict) -> dict[str, str]:
    return {result.expectation.name: result.verdict for result in verdict.results}


def test_a_night_like_the_one_before_meets_every_expectation(company: Company) -> None:
    # the deals' scores are few: of those it is only known how many there are
    found = verdicts(company.judged())
    assert set(found.values()) == {"pass"} | ({"no history"} if "no history" in found.values() else set())
    assert {name for name, verdict in found.items() if verdict == "no history"} <= {
        name for name in found if name.startswith("candidates.opportunity.")
    }
    assert len(found) >= 35


def test_every_expectation_that_there_is_is_shown_failing(company: Company) -> None:
    things = {"account": "person", "opportunity": "person"}
    expected = {
        ".".join((suite, things.get(thing, thing), what))
        for suite, thing, what in (name.split(".") for name in verdicts(company.judged()))
    }
    assert expected <= {wrong.breaks for wrong in EVERY}


@pytest.mark.parametrize(
    "wrong", EVERY, ids=[f"{number} {wrong.breaks} is a {wrong.verdict}" for number, wrong in enumerate(EVERY, start=1)]
)
def test_it_is_not_met_when_this_goes_wrong(company: Company, wrong: Wrong) -> None:
    for assignment in wrong.settings:
        key, _, value = assignment.partition("=")
        group, _, name = key.partition(".")
        company.admin.execute(
            "update control.tenants"
            " set settings = jsonb_build_object(%s::text, jsonb_build_object(%s::text, %s::jsonb)) where id = %s",
            [group, name, value, company.tenant.id],
        )
    company.suffer(wrong.done)
    verdict = company.judged()
    (result,) = [result for result in verdict.results if result.expectation.name == wrong.breaks]
    assert result.verdict == wrong.verdict, result
    assert result.since is not None
    assert result.expectation.remedy
    assert verdict.is_breach is (wrong.verdict == "breach")


@pytest.mark.long
def test_the_library_judges_every_broken_night_as_the_gate_does(company: Company) -> None:
    company.judged()
    told = list(results.of_run(company.admin, company.tenant.id, "tonight"))
    for number, wrong in enumerate(EVERY):
        with company.admin.transaction(force_rollback=True):
            company.suffer(wrong.done)
            company.judged()
            found = results.of_run(company.admin, company.tenant.id, "tonight")
            told += [replace(one, expectation=f"{number} {one.expectation}") for one in found if one.since]
    result = quality_pages.validate("company", "all nights", told)
    assert len(result.results) == len(told) > 70
    assert result.statistics["unsuccessful_expectations"] == sum(one.since is not None for one in told)


def test_where_the_library_would_judge_otherwise_that_is_a_fault_of_ours(company: Company) -> None:
    company.judged()
    first, *_ = results.of_run(company.admin, company.tenant.id, "tonight")
    wrong = replace(first, lower_bound=first.observed + 1, upper_bound=None, verdict="pass")
    with pytest.raises(ClarityError, match="do not agree about"):
        quality_pages.validate("company", first.suite, [wrong])


def test_a_breach_names_what_was_found_what_was_expected_since_when_and_what_to_do(company: Company) -> None:
    company.suffer("update canonical.accounts set industry = null where tenant_id = %(tenant)s")
    sentence = company.judged().sentence
    assert "share of accounts without industry: 100.0%, expected at most 20.0%, since " in sentence
    assert f"`clarity mapping show {company.tenant.slug} <connector> accounts`" in sentence


def test_it_is_said_since_when_until_it_is_met_again(company: Company) -> None:
    company.suffer("update canonical.accounts set industry = null where tenant_id = %(tenant)s")
    company.judged(run_id="tonight")
    company.suffer(
        "update quality.expectation_results set since = '2026-03-01'"
        " where run_id = 'tonight' and since is not null and tenant_id = %(tenant)s"
    )
    (result,) = company.judged(run_id="tomorrow").those("breach")
    assert result.since is not None
    assert f"{result.since:%Y-%m-%d}" == "2026-03-01"


def test_somebody_can_say_that_this_is_how_things_are(company: Company) -> None:
    company.suffer("update canonical.accounts set industry = null where tenant_id = %(tenant)s")
    verdict = company.judged(Acceptance("max", "we do not ask for it any more"))
    assert not verdict.is_breach
    assert [it.expectation.name for it in verdict.those("accepted")] == ["canonical.accounts.industry_null_share"]
    ((user, changes),) = company.admin.execute(
        "select user_id, changes from control.audit_log where tenant_id = %s and action = 'quality.accept'",
        [company.tenant.id],
    ).fetchall()
    assert user == "max"
    assert changes["after"]["because"] == "we do not ask for it any more"
    # and from then on it is the measure
    assert not company.judged(run_id="tomorrow").is_breach


def test_nobody_can_say_so_of_a_row_that_is_no_score(company: Company) -> None:
    company.suffer("update scores.score_candidates set combined_score = 170 where tenant_id = %(tenant)s")
    assert company.judged(Acceptance("max", "why not")).is_breach


def test_a_first_run_has_nothing_to_be_measured_by_and_passes(company: Company) -> None:
    company.suffer("delete from quality.metrics where tenant_id = %(tenant)s")
    verdict = company.judged()
    assert not verdict.is_breach
    assert verdicts(verdict)["candidates.person.mean"] == "no history"


def test_scores_by_other_rules_are_not_measured_by_the_old_ones(company: Company) -> None:
    company.suffer(
        "update scores.score_candidates set tier = 'hot', combined_score = 100, score_version = 2"
        " where tenant_id = %(tenant)s"
    )
    verdict = company.judged()
    assert not verdict.is_breach
    assert verdicts(verdict)["candidates.person.mean"] == "no history"


def test_scores_of_another_month_are_no_measure(company: Company) -> None:
    company.suffer("update scores.score_candidates set tier = 'cold' where tenant_id = %(tenant)s")
    company.suffer(
        "update quality.metrics set value = value - 40 where metric = 'candidates.day' and tenant_id = %(tenant)s"
    )
    assert verdicts(company.judged())["candidates.person.cold_share"] == "no history"


def test_what_was_held_back_is_no_measure_for_the_next_night(company: Company) -> None:
    company.suffer("update canonical.accounts set industry = null where tenant_id = %(tenant)s")
    assert company.judged(run_id="tonight").is_breach
    assert company.judged(run_id="tomorrow").is_breach


def test_a_run_that_changed_next_to_nothing_measures_next_to_nothing(company: Company) -> None:
    company.suffer(
        "update control.model_runs set rows_affected = 2 where run_id = 'tonight' and tenant_id = %(tenant)s",
        # two of six hundred people
        "delete from scores.score_candidates where tenant_id = %(tenant)s and entity_id not in"
        " (select entity_id from scores.score_candidates where tenant_id = %(tenant)s and entity_type = 'person'"
        " order by entity_id limit 2)",
    )
    names = verdicts(company.judged())
    assert {name.partition(".")[0] for name in names if ".rows." not in name} == {"raw"}


THRESHOLDS = {
    "maxVolumeFactor": (EVERY[0].done, "raw.files.landed", 100),
    "maxVolumeDrop": (EVERY[6].done, "canonical.accounts.count", 0.9),
    "maxNullShareRise": (
        "update canonical.accounts set industry = null where tenant_id = %(tenant)s",
        "canonical.accounts.industry_null_share",
        1,
    ),
    "maxImpossibleShare": (
        "update canonical.accounts set employee_count = -5 where tenant_id = %(tenant)s",
        "canonical.accounts.impossible_share",
        1,
    ),
    "maxRejectedShare": (EVERY[2].done, "raw.files.rejected_share", 0.5),
    "maxMeanShift": (
        "update scores.score_candidates set combined_score = least(100, combined_score + 40)"
        " where tenant_id = %(tenant)s",
        "candidates.person.mean",
        100,
    ),
    "maxSpreadFactor": (
        "update scores.score_candidates set combined_score = 30 + combined_score / 10 where tenant_id = %(tenant)s",
        "candidates.person.spread",
        100,
    ),
    "maxTierShareShift": (
        "update scores.score_candidates set tier = 'hot' where tenant_id = %(tenant)s",
        "candidates.person.hot_share",
        1,
    ),
    "freshnessHours": (EVERY[3].done, "raw.files.hours_since_good_sync", 100),
}


@pytest.mark.parametrize("key", THRESHOLDS)
def test_how_far_is_too_far_is_the_tenants_choice(company: Company, key: str) -> None:
    done, name, generous = THRESHOLDS[key]
    company.suffer(done)
    assert verdicts(company.judged())[name] in ("breach", "warning")
    company.admin.execute(
        "update control.tenants set settings = jsonb_build_object('quality', jsonb_build_object(%s::text, %s::jsonb))"
        " where id = %s",
        [key, str(generous), company.tenant.id],
    )
    assert settings.effective(company.admin, company.tenant.id).quality.model_dump(by_alias=True)[key] == generous
    assert verdicts(company.judged())[name] == "pass"


def test_every_threshold_is_among_them() -> None:
    keys: Any = {about.alias for about in settings.Quality.model_fields.values()}
    assert keys - {"requiredSources"} == set(THRESHOLDS)
