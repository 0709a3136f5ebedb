"""A run taken back, what is held since, and what people see of it."""

import json

import pytest

from connectors.salesforce import writer
from control import writebacks
from steps import pipeline, undo
from tests.writeback.crm import ACTOR, SCORE, SCORED_AT, TIER, Crm
from warehouse.errors import MisuseError


def taken_back(crm: Crm, run_id: str) -> undo.Undone:
    return pipeline.undo(crm.tenant.slug, run_id, actor=ACTOR, report=crm.told.append)


@pytest.mark.long
def test_a_run_of_a_thousand_is_taken_back_where_nobody_has_changed_it_and_stays_so(crm: Crm) -> None:
    ids = crm.accounts(1_000)
    crm.switch_on()
    crm.run("first night")
    crm.sync()
    crm.score({record_id: 99.0 - number % 100 for number, record_id in enumerate(ids)})
    assert crm.run("second night")["records"] == {"written": 1_000}
    changed, gone = ids[10], ids[11]
    crm.org.edit("Account", changed, **{SCORE: 3.14})
    crm.org.delete("Account", gone)
    crm.forget_calls()
    done = taken_back(crm, "second night")
    assert (done.restored, done.gone, done.left) == (999, 1, [(changed, SCORE)])
    assert crm.writing_calls() == 5
    untouched = [record_id for record_id in ids if record_id not in (changed, gone)]
    assert [crm.shows(record_id, SCORE) for record_id in untouched] == [
        float(number % 100) for number, record_id in enumerate(ids) if record_id in untouched
    ]
    # of the one that somebody changed, what they did not touch is put back
    assert crm.shows(changed, SCORE, TIER) == (3.14, "Cold")
    # the next night
    crm.sync()
    crm.forget_calls()
    assert crm.run()["records"] == {}
    assert crm.writes == []
    assert len(writebacks.held(crm.tenant.id, actor=ACTOR)) > 1_000
    # until it is released
    released = writebacks.release(crm.tenant.id, [], everything=True, actor=ACTOR)
    assert len(released) == 999
    assert crm.run()["records"] == {"written": 999}


def test_undoing_a_first_writing_empties_the_fields_again(crm: Crm) -> None:
    ids = crm.accounts(3)
    crm.switch_on()
    crm.run("first night")
    assert taken_back(crm, "first night").restored == 3
    assert crm.shows(ids[2], SCORE, TIER, SCORED_AT) == (None, None, None)
    assert crm.run()["records"] == {}
    # what is taken back is not taken back twice
    crm.forget_calls()
    assert taken_back(crm, "first night").restored == 0
    assert crm.writing_calls() == 0


def test_undoing_in_bulk_empties_as_well(crm: Crm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "BULK_ABOVE", 10)
    ids = crm.accounts(30)
    crm.switch_on()
    crm.run("first night")
    crm.forget_calls()
    assert taken_back(crm, "first night").restored == 30
    assert crm.writing_calls() == 3
    assert crm.shows(ids[2], SCORE, TIER, SCORED_AT) == (None, None, None)


def test_a_run_that_wrote_nothing_cannot_be_undone_and_those_that_did_are_listed(crm: Crm) -> None:
    crm.accounts(3)
    crm.switch_on()
    crm.run("first night")
    with pytest.raises(MisuseError, match="no run 'another' has written anything"):
        taken_back(crm, "another")
    assert [(run.run_id, run.written, run.undone) for run in writebacks.runs(crm.tenant.id, actor=ACTOR)] == [
        ("first night", 3, 0)
    ]
    taken_back(crm, "first night")
    audited = crm.rows("select resource_id from control.audit_log where action = 'writeback.undo'")
    assert audited == [("first night",)]
    assert [run.undone for run in writebacks.runs(crm.tenant.id, actor=ACTOR)] == [0, 3]


def test_what_waits_for_somebody_is_listed_and_released_one_by_one(crm: Crm) -> None:
    ids = crm.accounts(4)
    crm.switch_on()
    crm.run()
    for record_id in ids[:2]:
        crm.org.edit("Account", record_id, **{TIER: "Warm"})
    crm.sync()
    crm.run()
    waiting = writebacks.held(crm.tenant.id, actor=ACTOR)
    assert [(each.record_id, each.field, each.shows, each.wanted) for each in waiting] == [
        (record_id, TIER, "Warm", "Cold") for record_id in sorted(ids[:2])
    ]
    assert writebacks.release(crm.tenant.id, [ids[0]], actor=ACTOR) == [ids[0]]
    crm.run()
    assert [crm.shows(record_id, TIER) for record_id in ids[:2]] == ["Cold", "Warm"]
    drift = {each.record_id: each for each in writebacks.drift(crm.tenant.id, actor=ACTOR)}
    assert drift[ids[0]].released_at is not None
    assert drift[ids[1]].released_at is None
    assert (drift[ids[1]].ours, drift[ids[1]].theirs, drift[ids[1]].policy) == ("Cold", "Warm", "ask")
    assert json.dumps(drift[ids[1]].changed_by) == json.dumps(crm.org.identity.user_id)
