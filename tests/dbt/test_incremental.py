"""What a run changes: what is new and what it touches, and nothing else."""

import hashlib
import json
import uuid

import pytest

from tests.dbt.conftest import Pipeline
from warehouse import database
from warehouse.errors import ClarityError

WRITTEN = (
    "canonical.identities",
    "canonical.accounts",
    "canonical.people",
    "canonical.opportunities",
    "canonical.activities",
    "rollups.rollup_person_signals_daily",
    "rollups.rollup_opportunity_facts",
    "rollups.rollup_opportunity_contacts",
    "rollups.rollup_opportunity_stages",
    "rollups.rollup_account_attributes",
    "rollups.rollup_person_attributes",
    "rollups.rollup_opportunity_attributes",
    "marts.mart_revenue__scores",
    "marts.mart_revenue__tier_distribution",
    "control.watermarks",
)
COUNTS = (
    "select p.external_id, r.signal, r.day::text, sum(r.count)::int from rollups.rollup_person_signals_daily as r"
    " join canonical.people as p on p.id = r.person_id group by 1, 2, 3 having sum(r.count) <> 0 order by 1, 2, 3"
)


def versions(pipeline: Pipeline) -> dict[str, list[tuple[object, ...]]]:
    """Which transaction wrote each row: an untouched row keeps its."""
    return {table: pipeline.rows(f"select ctid::text, xmin::text from {table} order by 1") for table in WRITTEN}


def test_the_first_run_brings_everything_into_canonical_and_counts_it(landed: Pipeline) -> None:
    assert landed.rows("select external_id, domain from canonical.accounts order by 1") == [
        ("_none", None),
        ("files:a1", "acme.com"),
        ("files:a2", None),
    ]
    assert landed.rows(
        "select p.external_id, p.email, a.external_id from canonical.people as p"
        " left join canonical.accounts as a on a.id = p.account_id order by 1"
    ) == [
        ("files:p1", "ann@acme.com", "files:a1"),
        ("files:p2", "bob@bolt.io", "files:a2"),
        ("files:p3", "cy@nowhere.net", None),
    ]
    assert landed.rows(
        "select o.external_id, a.external_id from canonical.opportunities as o"
        " join canonical.accounts as a on a.id = o.account_id order by 1"
    ) == [("files:o1", "files:a1"), ("files:o2", "_none")]
    assert landed.rows(COUNTS) == [
        ("files:p1", "demo_request", "2026-03-01", 1),
        ("files:p1", "page_view", "2026-03-01", 2),
        ("files:p2", "email_open", "2026-03-02", 1),
    ]
    assert len(landed.rows("select from rollups.rollup_opportunity_contacts")) == 2


def test_a_run_with_nothing_new_touches_no_row(landed: Pipeline) -> None:
    account = landed.rows("select id from canonical.accounts where external_id = 'files:a1'")[0][0]
    landed.score("account", account, 80, "hot")
    landed.transform("marts")
    before = versions(landed)
    landed.transform()
    landed.transform("marts")
    assert versions(landed) == before


def test_a_change_touches_only_the_rows_that_it_concerns(landed: Pipeline) -> None:
    before = versions(landed)
    landed.land(
        "accounts", {"id": "a2", "name": "Bolt Inc"}, {"id": "a1", "name": "Acme", "website": "acme.com", "note": "x"}
    )
    landed.land("accounts", {"id": "a1", "name": "Acme", "website": "https://www.acme.com"})
    landed.transform()
    after = versions(landed)
    # the records that came were read, and one of them said something new
    assert {table for table in WRITTEN if before[table] != after[table]} == {
        "canonical.accounts",
        "canonical.identities",
        "control.watermarks",
    }
    assert len(set(before["canonical.accounts"]) - set(after["canonical.accounts"])) == 1
    assert landed.rows("select name from canonical.accounts where external_id = 'files:a2'") == [("Bolt Inc",)]
    moved = "select count(*) from canonical.accounts where updated_at > created_at"
    assert landed.rows(moved) == [(1,)]


def test_an_activity_is_joined_when_its_person_comes(landed: Pipeline) -> None:
    landed.land("activities", {"id": "e9", "person_id": "p9", "type": "form_fill", "occurred_at": "2026-03-03"})
    landed.transform()
    assert landed.rows("select person_id, person_ref from canonical.activities where external_id = 'files:e9'") == [
        (None, "p9")
    ]
    assert ("files:p9", "form_fill", "2026-03-03", 1) not in landed.rows(COUNTS)

    landed.land("people", {"id": "p9", "account_id": "a1"})
    landed.transform()
    assert landed.rows(
        "select p.external_id, a.external_id, e.person_ref from canonical.activities as e"
        " join canonical.people as p on p.id = e.person_id join canonical.accounts as a on a.id = e.account_id"
        " where e.external_id = 'files:e9'"
    ) == [("files:p9", "files:a1", "p9")]
    assert ("files:p9", "form_fill", "2026-03-03", 1) in landed.rows(COUNTS)


def test_a_person_is_joined_when_their_account_comes_and_takes_their_activities_along(landed: Pipeline) -> None:
    landed.land("people", {"id": "p8", "account_id": "a8"})
    landed.land("activities", {"id": "e8", "person_id": "p8", "type": "form_fill", "occurred_at": "2026-03-03"})
    landed.transform()
    account_of = (
        "select p.account_id is not null, e.account_id is not distinct from p.account_id from canonical.people as p"
        " join canonical.activities as e on e.person_id = p.id where p.external_id = 'files:p8'"
    )
    assert landed.rows(account_of) == [(False, True)]

    landed.land("accounts", {"id": "a8", "name": "Late"})
    landed.transform()
    assert landed.rows(account_of) == [(True, True)]


def test_an_opportunity_waits_for_its_account_and_is_counted(landed: Pipeline) -> None:
    landed.land("opportunities", {"id": "o8", "account_id": "a8", "name": "Early"})
    assert landed.transform()["opportunities_waiting"] == 1
    assert landed.rows("select from canonical.opportunities where external_id = 'files:o8'") == []

    landed.land("accounts", {"id": "a8", "name": "Late"})
    assert landed.transform()["opportunities_waiting"] == 0
    assert len(landed.rows("select from canonical.opportunities where external_id = 'files:o8'")) == 1


def test_a_corrected_activity_is_a_difference_and_the_history_stays(landed: Pipeline) -> None:
    before = landed.rows("select person_id, signal, day, count, known_since from rollups.rollup_person_signals_daily")
    landed.land(
        "activities", {"id": "e3", "person_id": "p2", "type": "page_view", "occurred_at": "2026-03-01T11:00:00Z"}
    )
    landed.transform()
    after = landed.rows("select person_id, signal, day, count, known_since from rollups.rollup_person_signals_daily")
    assert set(before) < set(after)
    assert sorted(row[3] for row in set(after) - set(before)) == [-1, 1]
    assert landed.rows(COUNTS) == [
        ("files:p1", "demo_request", "2026-03-01", 1),
        ("files:p1", "page_view", "2026-03-01", 1),
        ("files:p2", "email_open", "2026-03-02", 1),
        ("files:p2", "page_view", "2026-03-01", 1),
    ]
    assert landed.rows("select from canonical.touched_person_days") == []


def test_a_deleted_activity_no_longer_counts_and_a_bot_never_does(landed: Pipeline) -> None:
    seen = {"person_id": "p2", "occurred_at": "2026-03-02"}
    landed.land("activities", {"id": "e4", "type": "email_open", **seen}, deleted=True)
    landed.land("activities", {"id": "e5", "type": "email_click", "is_bot": "true", **seen})
    landed.transform()
    assert [row for row in landed.rows(COUNTS) if row[0] == "files:p2"] == []
    deleted = "select external_id from canonical.activities where deleted_at is not null"
    assert landed.rows(deleted) == [("files:e4",)]


def test_an_older_version_that_lands_late_changes_nothing(landed: Pipeline) -> None:
    newer = {"id": "e7", "person_id": "p1", "type": "form_fill", "occurred_at": "2026-03-05"}
    landed.land("activities", newer, updated_at="2026-03-06T00:00:00Z")
    landed.transform()
    landed.land("activities", {**newer, "type": "page_view"}, updated_at="2026-03-05T00:00:00Z")
    landed.transform()
    assert landed.rows("select type from canonical.activities where external_id = 'files:e7'") == [("form_fill",)]


def test_what_lands_during_a_run_is_read_by_the_next(landed: Pipeline) -> None:
    """The window is fixed before the model reads, so the mark never moves past a version that was not read."""
    assert landed.rows("select seq = upto, upto from control.watermarks where model = 'activities'") == [(True, 4)]
    landed.land("activities", {"id": "e6", "person_id": "p1", "type": "form_fill", "occurred_at": "2026-03-05"})
    landed.transform()
    assert landed.rows("select seq = upto, upto from control.watermarks where model = 'activities'") == [(True, 5)]


def test_what_a_transaction_held_open_across_a_run_lands_is_read_by_the_next(landed: Pipeline) -> None:
    record = {"id": "e6", "person_id": "p1", "type": "form_fill", "occurred_at": "2026-03-05"}
    with database.run_session(landed.id) as held_open:
        held_open.execute("update control.stream_states set last_seq = 5 where stream = 'activities'")
        held_open.execute(
            "insert into raw.files__activities (tenant_id, record_id, payload, payload_hash, sync_id, seq)"
            " values (%s, 'e6', %s, 'hash', 'open', 5)",
            [landed.id, json.dumps(record)],
        )
        landed.transform()
        assert landed.rows("select seq, upto from control.watermarks where model = 'activities'") == [(4, 4)]
    landed.transform()
    assert landed.rows("select type from canonical.activities where external_id = 'files:e6'") == [("form_fill",)]
    assert landed.rows("select seq, upto from control.watermarks where model = 'activities'") == [(5, 5)]


def test_rows_without_what_is_required_are_set_aside_once_and_stop_nobody(landed: Pipeline) -> None:
    landed.land("accounts", {"id": "a7", "name": " "})
    landed.land("opportunities", {"id": "o7", "account_id": "a1"})
    landed.land("activities", {"id": "e7", "person_id": "p1", "type": "form_fill", "occurred_at": "yesterday"})
    landed.transform()
    landed.transform()
    assert landed.rows("select model, test, key, failed_row ->> 'source_id' from quality.failures order by 1") == [
        ("accounts", "name_is_known", "files:a7", "a7"),
        ("activities", "occurred_at_is_a_time", "files:e7", "e7"),
        ("opportunities", "name_is_known", "files:o7", "o7"),
    ]


def test_a_score_that_is_gone_leaves_the_marts(landed: Pipeline) -> None:
    for external_id, tier in (("files:a1", "hot"), ("files:a2", "cold"), ("_none", "hot")):
        account = landed.rows(f"select id from canonical.accounts where external_id = '{external_id}'")[0][0]
        landed.score("account", account, 50, tier)
    landed.transform("marts")
    named = "select external_id, because, to_be_hot from marts.mart_revenue__scores order by 1"
    assert landed.rows(named) == [("files:a1", "of a test", "nothing"), ("files:a2", "of a test", "nothing")]

    landed.land("accounts", {"id": "a1", "name": "Acme"}, deleted=True)
    landed.transform()
    landed.transform("marts")
    assert [row[0] for row in landed.rows(named)] == ["files:a2"]
    assert landed.rows("select tier, entities from marts.mart_revenue__tier_distribution order by 1") == [
        ("cold", 1),
        ("cool", 0),
        ("hot", 0),
        ("warm", 0),
    ]


def test_ids_do_not_depend_on_the_order_of_arrival(landed: Pipeline) -> None:
    """Made of tenant, entity, source and source id, joined by the unit separator."""
    made = hashlib.md5("\x1f".join((landed.id, "account", "files", "a1")).encode(), usedforsecurity=False).hexdigest()
    assert landed.rows("select id from canonical.accounts where external_id = 'files:a1'") == [(str(uuid.UUID(made)),)]


def test_two_tenants_one_after_the_other_in_one_process_stay_apart(landed: Pipeline, other_pipeline: Pipeline) -> None:
    other_pipeline.land("accounts", {"id": "a1", "name": "Another tenant's"})
    other_pipeline.transform()
    landed.transform()
    name = "select name from canonical.accounts where external_id = 'files:a1'"
    assert other_pipeline.rows(name) == [("Another tenant's",)]
    assert landed.rows(name) == [("Acme",)]


def test_a_model_that_fails_has_read_nothing_and_the_next_run_reads_it(landed: Pipeline) -> None:
    """Marks, set-aside rows and the model's own rows are one transaction."""
    mark = "select seq, upto from control.watermarks where model = 'activities'"
    before = landed.rows(mark)
    landed.land("activities", {"id": "e5", "person_id": "p1", "type": "forbidden", "occurred_at": "2026-03-05"})
    landed.land("activities", {"id": "e6", "person_id": "p1", "type": "page_view", "occurred_at": "never"})
    with database.connect(database.owner_conninfo(), autocommit=True) as owner:
        owner.execute("alter table canonical.activities add constraint probe check (type <> 'forbidden') not valid")
        try:
            with pytest.raises(ClarityError, match=r"activities: .*probe"):
                landed.transform()
        finally:
            owner.execute("alter table canonical.activities drop constraint probe")
    assert landed.rows(mark) == before
    assert landed.rows("select from quality.failures") == []
    statuses = "select status from control.model_runs where model = 'rollup_person_signals_daily' order by finished_at"
    assert landed.rows(statuses)[-1] == ("skipped",)

    landed.transform()
    assert landed.rows(mark) == [(6, 6)]
    assert ("files:p1", "forbidden", "2026-03-05", 1) in landed.rows(COUNTS)
    assert len(landed.rows("select from quality.failures")) == 1
