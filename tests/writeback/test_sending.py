"""What goes into the CRM: only what differs, and every row accounted for, by the CRM's own log."""

from typing import Any

import pytest

from connectors.salesforce import writer
from control import settings
from steps import writeback_rehearsal
from tests.writeback.crm import ACTOR, BECAUSE, FIELD_MAP, SCORE, SCORED_AT, TIER, Crm
from warehouse.errors import MisuseError

POLICIES = ("ours", "theirs", "ask")


def test_the_first_run_writes_each_scored_record_once_and_the_second_asks_for_nothing(crm: Crm) -> None:
    ids = crm.accounts(450)
    crm.switch_on()
    crm.forget_calls()
    assert crm.run()["records"] == {"written": 450}
    crm.assert_sound(ids)
    assert crm.writing_calls() == 3
    assert crm.shows(ids[60], SCORE, TIER, SCORED_AT, BECAUSE) == (
        *(60.0, "Hot", "2026-03-10T02:00:00.000+0000", "of a demo request"),
    )
    crm.forget_calls()
    assert crm.run()["records"] == {}
    crm.sync()
    assert crm.run()["records"] == {}
    assert crm.writing_calls() == 0
    assert crm.rows("select last_writeback_at is not null, last_writeback_error from control.writeback_configs") == [
        (True, None)
    ]


def test_a_dry_run_shows_old_and_new_and_leaves_nothing_but_a_line_in_the_audit(crm: Crm) -> None:
    ids = crm.accounts(3)
    crm.switch_on()
    crm.run()
    crm.sync()
    crm.score({ids[0]: 77.0, ids[1]: 1.4})
    before = {table: crm.rows(f"select to_jsonb(t) from {table} as t order by 1") for table in TABLES}
    crm.forget_calls()
    done = writeback_rehearsal.run(crm.tenant.slug, actor=ACTOR)
    assert crm.writing_calls() == 0
    assert [(it.record_id, it.fields[SCORE], it.fields[TIER]) for it in done.proposals] == [
        (ids[0], (0, 77.0), ("Cold", "Hot"))
    ]
    assert done.fields["agreed"] > 0
    assert {table: crm.rows(f"select to_jsonb(t) from {table} as t order by 1") for table in TABLES} == before
    audited = crm.rows(
        "select action, changes -> 'after' ->> 'records' from control.audit_log order by seq desc limit 1"
    )
    assert audited == [("writeback.rehearse", "1")]


TABLES = (
    "scores.writeback_receipts",
    "scores.writeback_records",
    "scores.writeback_overrides",
    "control.writeback_configs",
)


def test_one_changed_score_is_one_record_and_a_little_change_is_none(crm: Crm) -> None:
    ids = crm.accounts(20)
    crm.switch_on()
    crm.run()
    crm.sync()
    crm.forget_calls()
    crm.score({ids[3]: 80.0, ids[4]: 4.9, ids[5]: 5.99})
    assert crm.run()["records"] == {"written": 1}
    crm.assert_sound([ids[3]])
    assert crm.shows(ids[3], SCORE, TIER) == (80.0, "Hot")
    # a night of decay only: every score sinks a little, and what has sunk far enough since it was sent goes
    crm.sync()
    crm.forget_calls()
    crm.score({record_id: max(0.0, number - 0.4) for number, record_id in enumerate(ids)})
    crm.run()
    assert {write.id for write in crm.writes} == {ids[3]}
    crm.forget_calls()
    crm.score({record_id: max(0.0, number - 1.0) for number, record_id in enumerate(ids)})
    crm.run()
    assert sorted(write.id for write in crm.writes) == sorted(set(ids[1:]) - {ids[3]})


def test_a_tenant_says_itself_how_much_is_worth_a_writing(crm: Crm) -> None:
    ids = crm.accounts(4)
    crm.switch_on()
    settings.change(crm.tenant.id, actor=ACTOR, assignments=["historyMaterialPoints=10"])
    crm.run()
    crm.sync()
    crm.forget_calls()
    crm.score({ids[0]: 9.0, ids[1]: 11.0})
    crm.run()
    crm.assert_sound([ids[1]])


def test_a_score_that_is_not_known_any_more_empties_nothing(crm: Crm) -> None:
    ids = crm.accounts(2)
    crm.switch_on(field_map=[*FIELD_MAP[1:], {"canonicalField": "fitScore", "targetField": SCORE}])
    crm.run()
    crm.sync()
    crm.forget_calls()
    crm.admin.execute(
        "update scores.engagements set fit_score = null, tier = 'warm' where tenant_id = %s", [crm.tenant.id]
    )
    crm.run()
    crm.assert_sound(ids)
    assert crm.shows(ids[1], SCORE, TIER) == (1.0, "Warm")


# ── somebody else writes there too ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("policy", POLICIES)
def test_a_change_before_our_read_is_met_by_the_policy(crm: Crm, policy: str) -> None:
    ids = crm.accounts(3)
    crm.switch_on(**{SCORE: policy})
    crm.run()
    crm.org.edit("Account", ids[0], **{SCORE: 99.0})
    crm.sync()
    crm.forget_calls()
    crm.score({ids[0]: 20.0, ids[1]: 21.0}, tier="cold")
    crm.run()
    assert crm.shows(ids[0], SCORE) == (20.0 if policy == "ours" else 99.0)
    assert crm.shows(ids[1], SCORE) == 21.0
    assert crm.rows("select ours, theirs, policy, changed_by is not null from scores.writeback_overrides") == [
        (0.0, 99.0, policy, True)
    ]
    # and so it stays
    crm.sync()
    crm.forget_calls()
    crm.run()
    assert crm.writing_calls() == 0


@pytest.mark.parametrize("policy", POLICIES)
def test_a_change_between_our_read_and_our_sending_is_met_by_the_policy(crm: Crm, policy: str) -> None:
    ids = crm.accounts(3)
    crm.switch_on(**{SCORE: policy})
    crm.run()
    crm.sync()
    # from here on the last sync is not the truth any more
    crm.org.edit("Account", ids[0], **{SCORE: 99.0})
    crm.forget_calls()
    crm.score({ids[0]: 20.0, ids[1]: 21.0}, tier="cold")
    told = crm.run()["records"]
    assert told == ({"written": 2} if policy == "ours" else {"overridden": 1, "written": 1})
    assert crm.shows(ids[0], SCORE) == (20.0 if policy == "ours" else 99.0)
    assert crm.rows("select ours, theirs, policy from scores.writeback_overrides") == [(0.0, 99.0, policy)]
    crm.sync()
    crm.forget_calls()
    crm.run()
    assert crm.writing_calls() == 0


def test_where_somebody_has_already_set_what_we_want_there_is_nothing_to_write(crm: Crm) -> None:
    ids = crm.accounts(2)
    crm.switch_on(field_map=FIELD_MAP[:1])
    crm.run()
    crm.sync()
    crm.org.edit("Account", ids[0], **{SCORE: 33.0})
    crm.forget_calls()
    crm.score({ids[0]: 33.0})
    assert crm.run()["records"] == {"agreed": 1}
    assert crm.writes == []
    # and it is ours from then on: nobody is asked when it moves again
    crm.sync()
    crm.run()
    crm.score({ids[0]: 44.0})
    assert crm.run()["records"] == {"written": 1}
    assert crm.rows("select count(*) from scores.writeback_overrides") == [(0,)]


def test_a_value_that_was_there_before_we_came_is_somebody_elses(crm: Crm) -> None:
    ids = crm.accounts(2)
    crm.org.edit("Account", ids[0], **{SCORE: 12.0})
    crm.sync()
    crm.switch_on()
    crm.run()
    assert crm.shows(ids[0], SCORE) == 12.0
    assert crm.shows(ids[1], SCORE) == 1.0


def test_what_was_deleted_is_neither_written_nor_made_and_its_undeletion_is_noticed(crm: Crm) -> None:
    ids = crm.accounts(4)
    crm.switch_on()
    crm.org.delete("Account", ids[0])
    crm.sync()
    crm.org.delete("Account", ids[1])
    crm.org.refuse_row(ids[2], "ENTITY_IS_DELETED", times=1)
    assert crm.run()["records"] == {"gone": 2, "written": 1}
    crm.assert_sound([ids[3]])
    crm.forget_calls()
    assert crm.run()["records"] == {}
    assert crm.writing_calls() == 0
    crm.org.undelete("Account", ids[1])
    crm.sync()
    assert crm.run()["records"] == {"written": 1}
    crm.assert_sound([ids[1]])


# ── the vendor says no ───────────────────────────────────────────────────────────────────────────────────────────────


def test_three_of_a_thousand_are_refused_by_a_rule_and_named_and_the_others_are_written(crm: Crm) -> None:
    ids = crm.accounts(1_000)
    crm.switch_on()
    refused = [ids[7], ids[500], ids[993]]
    for record_id in refused:
        crm.org.refuse_row(record_id, "FIELD_CUSTOM_VALIDATION_EXCEPTION")
    crm.forget_calls()
    told = crm.lost()
    assert told["records"] == {"rejected": 3, "written": 997}
    crm.assert_sound(set(ids) - set(refused))
    assert crm.writing_calls() == 5
    assert {each["record_id"] for each in told["failures"]} == set(refused)
    assert {each["name"] for each in told["failures"]} == {"Company 7", "Company 500", "Company 993"}
    assert told["failures"][0]["code"] == "FIELD_CUSTOM_VALIDATION_EXCEPTION"
    assert "A validation rule of this org says no." in told["sentence"]
    assert told["alert"] == ""
    ((error,),) = crm.rows("select last_writeback_error from control.writeback_configs")
    assert "3 records were not written" in error


def test_many_failures_raise_the_alarm(crm: Crm) -> None:
    crm.accounts(10)
    crm.switch_on()
    crm.org.refuse_share("Account", 1.0, "FIELD_CUSTOM_VALIDATION_EXCEPTION")
    told = crm.lost()
    assert told["alert"].endswith("10 of 10 records were not written, more than 5%")
    assert f"ALERT: {told['alert']}" in crm.told


def test_locks_that_come_and_go_cost_another_look_and_no_record(crm: Crm) -> None:
    ids = crm.accounts(60)
    crm.switch_on()
    for number, record_id in enumerate(ids[:30]):
        crm.org.refuse_row(record_id, "UNABLE_TO_LOCK_ROW", times=1 + number % 3)
    assert crm.run()["records"] == {"written": 60}
    crm.assert_sound(ids)


def test_a_lock_that_stays_is_reported_and_tried_again_the_next_night(crm: Crm) -> None:
    ids = crm.accounts(3)
    crm.switch_on()
    crm.org.refuse_row(ids[0], "UNABLE_TO_LOCK_ROW", times=4)
    told = crm.lost()
    assert told["records"] == {"busy": 1, "written": 2}
    assert "unable to obtain exclusive access" in told["sentence"]
    assert crm.run()["records"] == {"written": 1}
    crm.assert_sound(ids)


def test_a_field_that_vanished_is_named_and_the_others_are_written(crm: Crm) -> None:
    ids = crm.accounts(3)
    crm.switch_on()
    crm.org.remove_field("Account", TIER)
    told = crm.lost()
    assert told["records"] == {"written": 3}
    assert f"accounts: {TIER} does not exist" in told["sentence"]
    assert crm.shows(ids[2], SCORE) == 2.0


def test_a_field_that_may_not_be_written_is_stopped_and_the_others_go_on(
    crm: Crm, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = crm.accounts(250)
    crm.switch_on()
    # as if it had been locked after describe was asked
    monkeypatch.setattr(writer, "_refusal", lambda _field: "")
    crm.org.lock_field("Account", TIER)
    told = crm.lost()
    assert told["records"] == {"written": 250}
    crm.assert_sound(ids)
    assert f"{TIER} is not written: Unable to create/update fields: {TIER}" in told["sentence"]
    assert crm.shows(ids[99], SCORE, TIER) == (99.0, None)


def test_when_the_days_calls_run_out_the_rest_stays_for_the_next_run_and_that_is_said(crm: Crm) -> None:
    ids = crm.accounts(900)
    crm.switch_on()
    crm.org.spend(int(crm.org.budget * 0.8) - crm.org.used - 6)
    told = crm.run()
    assert told["records"]["written"] + told["records"]["left"] == 900
    assert 0 < told["records"]["written"] < 900
    assert "calls" in told["left_because"]
    assert any("stay for the next run" in line for line in crm.told)
    ((error,),) = crm.rows("select last_writeback_error from control.writeback_configs")
    assert error == told["left_because"]
    crm.org.advance(days=1)
    crm.run()
    crm.assert_sound(ids)


# ── an answer is lost ────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("fault", ["timeout", "cut", "500", "503", "truncated", "expired", "429"])
def test_where_the_answer_is_lost_the_records_tell(crm: Crm, fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from steps import patience

    monkeypatch.setattr(patience, "FIRST_WAIT", 0.0)
    ids = crm.accounts(250)
    crm.connect(timeout_seconds=0.5)
    crm.switch_on()
    crm.served.faults.hang_seconds = 1.0
    crm.served.faults.next(fault, containing="PATCH /services/data/v63.0/composite/sobjects")
    assert crm.run()["records"] == {"written": 250}
    crm.assert_sound(ids)


# ── before anything is sent ──────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("spoil", "pair", "sentence"),
    [
        ({}, ("combinedScore", "Nowhere__c"), "accounts: Nowhere__c does not exist"),
        ({}, ("combinedScore", BECAUSE), f"{BECAUSE} is no place for combinedScore, which needs a number field"),
        ({}, ("because", "GTM_Score__c"), "GTM_Score__c is no place for because, which needs a text field"),
        ({}, ("tier", "GTM_Segment__c"), "GTM_Segment__c does not have the values hot, warm, cool, cold"),
        ({"lock_field": TIER}, ("tier", TIER), f"{TIER} may not be written by this user"),
        ({"hide_field": TIER}, ("tier", TIER), f"{TIER} does not exist, or is hidden"),
        ({}, ("combinedScore", "CreatedDate"), "CreatedDate may not be written by this user"),
    ],
)
def test_what_cannot_take_the_value_cannot_be_switched_on(
    crm: Crm, spoil: dict[str, str], pair: tuple[str, str], sentence: str
) -> None:
    for what, name in spoil.items():
        getattr(crm.org, what)("Account", name)
    field_map: list[dict[str, Any]] = [
        {"canonicalField": pair[0], "targetField": pair[1]},
        {"canonicalField": "fitScore", "targetField": "AnnualRevenue"},
    ]
    with pytest.raises(MisuseError, match="nothing is enabled") as refused:
        crm.switch_on(field_map=field_map)
    assert sentence in str(refused.value)
    crm.accounts(2)
    assert crm.run()["writeback"] == "off"


def test_people_are_written_as_contacts_and_as_leads_and_deals_as_deals(crm: Crm) -> None:
    account = crm.org.create("Account", Name="Acme")
    contact = crm.org.create("Contact", AccountId=account, LastName="Abel")
    lead = crm.org.create("Lead", LastName="Bolt", Company="Bolt")
    deal = crm.org.create("Opportunity", AccountId=account, Name="Deal", CloseDate="2026-12-01")
    crm.sync("Account", "Contact", "Lead", "Opportunity")
    crm.score({account: 10.0, contact: 60.0, lead: 70.0, deal: 80.0})
    for entity in ("accounts", "people", "opportunities"):
        crm.switch_on(entity)
    crm.forget_calls()
    assert crm.run()["records"] == {"written": 4}
    crm.assert_sound([account, contact, lead, deal])
    assert [crm.shows(each, SCORE) for each in (account, contact, lead, deal)] == [10.0, 60.0, 70.0, 80.0]


# ── in bulk ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_many_records_go_by_one_job_with_the_same_receipts(crm: Crm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "BULK_ABOVE", 100)
    ids = crm.accounts(350)
    crm.switch_on()
    refused, gone = ids[5], ids[6]
    crm.org.refuse_row(refused, "FIELD_CUSTOM_VALIDATION_EXCEPTION")
    crm.org.refuse_row(gone, "ENTITY_IS_DELETED")
    crm.forget_calls()
    told = crm.lost()
    assert told["records"] == {"gone": 1, "rejected": 1, "written": 348}
    crm.assert_sound(set(ids) - {refused, gone})
    # to make the job, to fill it, to start it
    assert crm.writing_calls() == 3
    assert told["failures"][0]["error"] == "A validation rule of this org says no."
    assert crm.shows(ids[60], SCORE, TIER, SCORED_AT, BECAUSE) == (
        *(60.0, "Hot", "2026-03-10T02:00:00.000+0000", "of a demo request"),
    )
