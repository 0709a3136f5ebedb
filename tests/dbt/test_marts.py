"""The marts: what people of revenue, marketing and operations read, and what a run leaves alone."""

import json
import re
import uuid
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from control import bi_users, tenants
from steps import provision, score
from steps import publish as publication
from tests.dbt.conftest import Pipeline
from warehouse import database, lease
from warehouse.home import project_root

MARTS = (
    "mart_revenue__scores",
    "mart_revenue__score_parts",
    "mart_revenue__tier_distribution",
    "mart_revenue__tier_history",
    "mart_revenue__tier_movements",
    "mart_revenue__matrix",
    "mart_revenue__top_movers",
    "mart_revenue__pipeline",
    "mart_revenue__win_rate",
    "mart_marketing__activity_by_channel",
    "mart_operations__data_freshness",
    "mart_operations__sync_health",
    "mart_operations__model_runs",
    "mart_operations__quality",
    "mart_operations__writeback",
    "mart_operations__writeback_overrides",
)
EVERYTHING = ("canonical", "rollups", "marts")
# what tells of the runs themselves has news after each of them
OF_RUNS = "mart_operations__model_runs"

BREAKDOWN = {
    "fit": {
        "score": 80.0,
        "coverage": 0.75,
        "parts": [{"part": "size", "points": 80.0, "match": 80.0, "text": "of size"}],
    },
    "combined": {"score": 60.0, "parts": [{"part": "fit", "points": 40.0}, {"part": "engagement", "points": 20.0}]},
}


def id_of(pipeline: Pipeline, table: str, external_id: str) -> str:
    found = pipeline.rows(f"select id from canonical.{table} where external_id = '{external_id}'")
    return str(found[0][0])


def publish(
    pipeline: Pipeline, day: str, *scores: tuple[str, str, float, str], breakdown: dict[str, Any] | None = None
) -> None:
    """Scores of a day as publication leaves them: in force, and in the history."""
    with database.run_session(pipeline.id) as connection:
        for entity_type, entity_id, combined, tier in scores:
            told = json.dumps({**(breakdown or {}), "because": f"{tier} on {day}", "to_be_hot": "wait"})
            connection.execute(
                "insert into scores.score_history (tenant_id, entity_type, entity_id, as_of, combined_score, tier,"
                " score_version, score_breakdown) values (%s, %s, %s, %s, %s, %s, 1, %s)",
                [pipeline.id, entity_type, entity_id, day, combined, tier, told],
            )
            connection.execute(
                "insert into scores.engagements (id, tenant_id, entity_type, entity_id, as_of, fit_score,"
                " engagement_score, combined_score, tier, fit_high, engagement_high, score_breakdown)"
                " values (%s, %s, %s, %s, %s, 80, 40, %s, %s, true, false, %s)"
                " on conflict (tenant_id, entity_type, entity_id) do update set as_of = excluded.as_of,"
                " combined_score = excluded.combined_score, tier = excluded.tier,"
                " score_breakdown = excluded.score_breakdown, scored_at = now()",
                [str(uuid.uuid4()), pipeline.id, entity_type, entity_id, day, combined, tier, told],
            )


def score_two_accounts(pipeline: Pipeline) -> Pipeline:
    """Acme and Bolt in their tiers over nine days, with a deal that closed between, and marts over them."""
    pipeline.land("accounts", {"id": "a1", "name": "Acme"}, {"id": "a2", "name": "Bolt"})
    pipeline.land(
        "people",
        {"id": "p1", "account_id": "a1", "email": "ann@acme.com"},
        {"id": "p2", "account_id": "a2", "email": "bob@bolt.io"},
    )
    pipeline.land(
        "opportunities",
        {"id": "o1", "account_id": "a1", "name": "Renewal", "contact_ids": "p1;p2", "stage_changed_at": "2026-03-01"},
        {"id": "o2", "name": "Homeless"},
        {"id": "o3", "account_id": "a1", "name": "Early", "stage": "Closed Won", "amount": "100", "is_closed": "true"}
        | {"is_won": "true", "stage_changed_at": "2026-03-02"},
    )
    pipeline.land(
        "activities",
        {"id": "e1", "person_id": "p1", "type": "Demo Request", "occurred_at": "2026-03-01T23:30:00"},
        {"id": "e2", "person_id": "p1", "type": "page_view", "occurred_at": "2026-03-01T10:00:00Z"},
        {"id": "e3", "person_id": "p1", "type": "page_view", "occurred_at": "2026-03-01T11:00:00Z"},
        {"id": "e4", "person_id": "p2", "type": "email_open", "occurred_at": "2026-03-02T11:00:00Z"},
    )
    pipeline.transform()
    acme, bolt = (id_of(pipeline, "accounts", f"files:{one}") for one in ("a1", "a2"))
    publish(pipeline, "2026-03-01", ("account", acme, 20, "cold"), ("account", bolt, 90, "hot"))
    publish(pipeline, "2026-03-09", ("account", acme, 85, "hot"), ("account", bolt, 88, "hot"), breakdown=BREAKDOWN)
    pipeline.transform("marts")
    return pipeline


@pytest.fixture
def scored(pipeline: Pipeline) -> Pipeline:
    return score_two_accounts(pipeline)


@pytest.fixture(scope="module")
def only_read(platform: Path) -> Iterator[Pipeline]:
    """The same for all tests that change nothing."""
    slug = f"t_{uuid.uuid4().hex[:12]}"
    tenant_id = provision.create_tenant(slug, slug, actor="system:tests")
    yield score_two_accounts(Pipeline(tenant_id, slug))
    tenants.delete(tenant_id, actor="system:tests")


def versions(pipeline: Pipeline) -> dict[str, list[tuple[object, ...]]]:
    """Which transaction wrote each row: an untouched row keeps its."""
    return {mart: pipeline.rows(f"select ctid::text, xmin::text from marts.{mart} order by 1") for mart in MARTS}


def test_every_mart_of_the_project_is_looked_at_here(platform: Path) -> None:
    with database.connect(database.owner_conninfo()) as owner:
        there = owner.execute("select tablename::text from pg_tables where schemaname = 'marts'").fetchall()
    assert {name for (name,) in there} == set(MARTS)


def test_a_run_with_nothing_new_writes_no_row_of_any_mart(scored: Pipeline) -> None:
    before = versions(scored)
    assert [mart for mart, rows in before.items() if not rows] == [
        "mart_operations__sync_health",
        "mart_operations__quality",
        # tests/writeback fills them
        "mart_operations__writeback",
        "mart_operations__writeback_overrides",
    ]
    scored.transform(*EVERYTHING)
    after = versions(scored)
    assert set(before.pop(OF_RUNS)) < set(after.pop(OF_RUNS))
    assert after == before


def test_a_score_is_told_with_its_states_and_its_parts(only_read: Pipeline) -> None:
    assert only_read.rows(
        "select tier, because, is_fit_high, is_engagement_high, fit_coverage from marts.mart_revenue__scores"
        " where name = 'Acme'"
    ) == [("hot", "hot on 2026-03-09", True, False, 0.75)]
    assert only_read.rows(
        "select p.kind, p.part, p.says, p.points, p.proportion, p.criterion_match"
        " from marts.mart_revenue__score_parts as p join marts.mart_revenue__scores as s using (entity_type, entity_id)"
        " where s.name = 'Acme' order by p.kind desc, p.place"
    ) == [
        ("fit", "size", "of size", 80, 1, 80),
        ("combined", "fit", "fit", 40, Decimal("0.6667"), None),
        ("combined", "engagement", "engagement", 20, Decimal("0.3333"), None),
    ]


def test_what_the_engine_says_is_flattened_whole(landed: Pipeline) -> None:
    """Against the real engine: whatever it writes into a breakdown, its parts come out and add up."""
    with lease.hold(landed.id, "test", stage="score") as held:
        score.run(landed.id, "run", held.fence, date(2026, 3, 3))
        publication.run(landed.id, "run", held.fence)
    landed.transform("marts")
    written = landed.rows(
        "select count(*) from scores.engagements as e cross join unnest(array['fit', 'engagement', 'combined']) as kind"
        " cross join jsonb_array_elements(e.score_breakdown -> kind -> 'parts') as part"
        " join canonical.accounts as a on a.id = e.entity_id where a.external_id <> '_none'"
        " or e.entity_type <> 'account'"
    )
    assert written[0][0] > 0
    shown = landed.rows(
        "select count(*) from marts.mart_revenue__score_parts as p join canonical.accounts as a on a.id = p.entity_id"
    )
    assert shown == written
    added_up = landed.rows(
        "select s.name, s.engagement, sum(p.points) from marts.mart_revenue__scores as s"
        " join marts.mart_revenue__score_parts as p using (entity_type, entity_id)"
        " where p.kind = 'engagement' group by 1, 2"
    )
    assert added_up
    assert [row for row in added_up if abs(row[1] - row[2]) > 0.06] == []
    names = landed.rows(
        "select says from marts.mart_revenue__score_parts where part = 'person' and entity_type = 'account' order by 1"
    )
    assert names == [("ann@acme.com",), ("bob@bolt.io",)]


def test_tiers_are_counted_for_every_day_and_movements_told(scored: Pipeline) -> None:
    movements = (
        "select name, direction, tier_before, tier_now, moved_on::text, combined_before, combined_now, because"
        " from marts.mart_revenue__tier_movements order by name, moved_at, direction"
    )
    assert scored.rows(movements) == [
        ("Acme", "entered", None, "cold", "2026-03-01", None, 20, "cold on 2026-03-01"),
        ("Acme", "up", "cold", "hot", "2026-03-09", 20, 85, "hot on 2026-03-09"),
        ("Bolt", "entered", None, "hot", "2026-03-01", None, 90, "hot on 2026-03-01"),
    ]
    history = "select day::text, tier, entities from marts.mart_revenue__tier_history where entities > 0 order by 1, 2"
    eight_days = [(f"2026-03-0{day}", tier, 1) for day in range(1, 9) for tier in ("cold", "hot")]
    assert scored.rows(history) == [*eight_days, ("2026-03-09", "hot", 2)]
    assert scored.rows("select count(*) from marts.mart_revenue__tier_history") == [(9 * 4,)]

    bolt = id_of(scored, "accounts", "files:a2")
    publish(scored, "2026-03-10", ("account", bolt, 10, "cold"))
    before = versions(scored)
    scored.transform("marts")
    assert scored.rows(movements)[-1] == (
        *("Bolt", "down", "hot", "cold", "2026-03-10", 88, 10),
        "cold on 2026-03-10",
    )
    assert scored.rows(history)[-2:] == [("2026-03-10", "cold", 1), ("2026-03-10", "hot", 1)]
    for mart in ("mart_revenue__tier_movements", "mart_revenue__tier_history"):
        assert set(before[mart]) < set(versions(scored)[mart])

    # read again from the start they are the same
    marts = [mart for mart in MARTS if not mart.startswith("mart_operations")]
    grown = {mart: sorted(map(str, scored.rows(f"select * from marts.{mart}"))) for mart in marts}
    with database.run_session(scored.id) as connection:
        for mart in marts:
            connection.execute(f"delete from marts.{mart}".encode())
    scored.transform("marts")
    assert {mart: sorted(map(str, scored.rows(f"select * from marts.{mart}"))) for mart in marts} == grown


def test_what_was_deleted_leaves_its_tier_and_what_was_renamed_is_called_so(scored: Pipeline) -> None:
    scored.land("accounts", {"id": "a2", "name": "Bolt"}, updated_at="2026-03-11T10:00:00Z", deleted=True)
    scored.land("accounts", {"id": "a1", "name": "Acme Inc"})
    scored.transform(*EVERYTHING)
    told = scored.rows(
        "select name, direction from marts.mart_revenue__tier_movements order by name, moved_at, direction"
    )
    assert told == [("Acme Inc", "entered"), ("Acme Inc", "up"), ("Bolt", "entered"), ("Bolt", "left")]
    newest = "select tier, entities from marts.mart_revenue__tier_history order by day desc, entities desc limit 1"
    assert scored.rows(newest) == [("hot", 1)]

    scored.land("accounts", {"id": "a2", "name": "Bolt"}, updated_at="2026-03-12T10:00:00Z")
    scored.transform(*EVERYTHING)
    told = scored.rows("select direction from marts.mart_revenue__tier_movements where name = 'Bolt'")
    assert told == [("entered",)]
    assert scored.rows(newest) == [("hot", 2)]


def test_the_matrix_counts_everyone_once(only_read: Pipeline) -> None:
    assert only_read.rows(
        "select fit_band, engagement_band, entities, hot, proportion from marts.mart_revenue__matrix where entities > 0"
    ) == [("80 to 100", "40 to 60", 2, 2, 1)]
    assert only_read.rows("select count(*) from marts.mart_revenue__matrix") == [(30,)]


def test_movers_are_told_with_the_reasons_of_both_days(only_read: Pipeline) -> None:
    assert only_read.rows(
        "select over_days, name, direction, place, moved_by, tier_before, because_before, because_now"
        " from marts.mart_revenue__top_movers order by direction, 1"
    ) == [
        (7, "Bolt", "down", 1, -2, "hot", "hot on 2026-03-01", "hot on 2026-03-09"),
        (7, "Acme", "up", 1, 65, "cold", "cold on 2026-03-01", "hot on 2026-03-09"),
    ]


def test_the_pipeline_and_the_win_rate_by_tier(only_read: Pipeline) -> None:
    assert only_read.rows(
        "select account_tier, stage, opportunities, amount, without_amount from marts.mart_revenue__pipeline order by 1"
    ) == [("hot", "unknown", 1, 0, 1), ("unscored", "unknown", 1, 0, 1)]
    # it closed on a day on which its account was still cold
    assert only_read.rows(
        "select tier, won, lost, win_rate, won_amount, known_then from marts.mart_revenue__win_rate"
    ) == [("cold", 1, 0, 1, 100, 1)]


def test_activities_are_counted_by_channel_where_a_day_was_touched(scored: Pipeline) -> None:
    by_channel = (
        "select day::text, channel, signal, activities, people, accounts, by_machines, taken_back"
        " from marts.mart_marketing__activity_by_channel order by 1, 2, 3"
    )
    first = [
        ("2026-03-01", "direct", "demo_request", 1, 1, 1, 0, 0),
        ("2026-03-01", "web", "page_view", 2, 1, 1, 0, 0),
        ("2026-03-02", "email", "email_open", 1, 1, 1, 0, 0),
    ]
    assert scored.rows(by_channel) == first
    before = versions(scored)
    rollup = "select ctid::text, xmin::text from rollups.rollup_activity_daily where day = '2026-03-01' order by 1"
    kept = scored.rows(rollup)

    scored.land("activities", {"id": "e5", "type": "webinar", "occurred_at": "2026-03-02T08:00:00Z"})
    scored.land(
        "activities",
        {"id": "e4", "person_id": "p2", "type": "email_open", "occurred_at": "2026-03-02T11:00:00Z", "is_bot": "true"},
    )
    assert scored.transform(*EVERYTHING)["rows"]["rollup_activity_daily"] == 2
    assert scored.rows(by_channel) == [
        *first[:2],
        ("2026-03-02", "email", "email_open", 0, 0, 0, 1, 0),
        ("2026-03-02", "unknown", "webinar", 1, 0, 0, 0, 0),
    ]
    assert scored.rows(rollup) == kept
    mart = "mart_marketing__activity_by_channel"
    assert len(set(before[mart]) & set(versions(scored)[mart])) == 2
    assert scored.rows("select from canonical.touched_days") == []

    # an activity that moves leaves the day that it was on
    scored.land(
        "activities", {"id": "e4", "person_id": "p2", "type": "email_open", "occurred_at": "2026-02-01T11:00:00Z"}
    )
    scored.transform(*EVERYTHING)
    opened = "select day::text, activities from marts.mart_marketing__activity_by_channel where signal = 'email_open'"
    assert scored.rows(opened) == [("2026-02-01", 1)]


def test_operations_see_what_landed_failed_and_was_refused(scored: Pipeline) -> None:
    scored.land("accounts", {"id": "a7", "name": " "})
    scored.transform()
    with database.run_session(scored.id) as connection:
        connection.execute(
            "insert into control.sync_logs (id, tenant_id, connector_id, sync_type, status, started_at, completed_at,"
            " records_created, error_message, error_details)"
            " values (%s, %s, %s, 'full', 'failed', '2026-03-01 10:00+00', '2026-03-01 10:00:30+00', 5, 'no such file',"
            """ '{"failing": {"people": "no such file"}}')""",
            [str(uuid.uuid4()), scored.id, scored.connector_id],
        )
        connection.execute(
            "insert into quality.quarantine (id, tenant_id, connector, stream, reason)"
            " values (%s, %s, 'files', 'people', 'no id')",
            [str(uuid.uuid4()), scored.id],
        )
    scored.transform("marts")
    assert scored.rows(
        "select stream, versions, newest_activity_at::date::text, last_sync_status, failing_because"
        " from marts.mart_operations__data_freshness order by 1"
    ) == [
        ("accounts", 3, "2026-03-02", "failed", None),
        ("activities", 4, "2026-03-02", "failed", None),
        ("opportunities", 3, "2026-03-02", "failed", None),
        ("people", 2, "2026-03-02", "failed", "no such file"),
    ]
    assert scored.rows(
        "select day::text, connector, syncs, failed, created, seconds, last_error"
        " from marts.mart_operations__sync_health"
    ) == [("2026-03-01", "files", 1, 1, 5, 30, "no such file")]
    assert scored.rows("select found_by, place, occurrences, open from marts.mart_operations__quality order by 1") == [
        ("landing", "files__people", 1, 1),
        ("test", "accounts", 1, 1),
    ]
    runs = "select count(distinct run_id), bool_and(status = 'success') from marts.mart_operations__model_runs"
    assert scored.rows(runs) == [(3, True)]


def test_every_query_of_the_documentation_runs_for_a_bi_login(only_read: Pipeline) -> None:
    page = (project_root() / "docs" / "marts.md").read_text(encoding="utf-8")
    queries = re.findall(r"\| `(select [^`]+)` \|", page)
    assert {mart for mart in MARTS if any(f"marts.{mart}" in query for query in queries)} == set(MARTS)
    login = bi_users.add(only_read.id, actor="system:tests")
    with database.connect(database.conninfo(login)) as connection:
        for query in queries:
            connection.execute(query.encode())


def test_a_bi_login_reads_every_mart_of_its_own_tenant_alone(scored: Pipeline, other_pipeline: Pipeline) -> None:
    other_pipeline.land("accounts", {"id": "a1", "name": "Another tenant's"})
    other_pipeline.land("activities", {"id": "e1", "type": "webinar", "occurred_at": "2026-03-02T08:00:00Z"})
    other_pipeline.transform()
    publish(other_pipeline, "2026-03-01", ("account", id_of(other_pipeline, "accounts", "files:a1"), 90, "hot"))
    other_pipeline.transform("marts")
    login = bi_users.add(scored.id, actor="system:tests")
    with database.connect(database.conninfo(login)) as connection:
        for mart in MARTS:
            seen = connection.execute(f"select tenant_id, count(*) from marts.{mart} group by 1".encode()).fetchall()
            there = scored.rows(f"select count(*) from marts.{mart}")[0][0]
            assert seen == ([(scored.id, there)] if there else []), mart
