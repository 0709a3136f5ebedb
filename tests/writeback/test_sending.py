"""What goes into the CRM: only what differs, and every row accounted for, by the CRM's own log."""

from tests.writeback.crm import BECAUSE, SCORE, SCORED_AT, TIER, Crm


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
    assert crm.writing_calls() == 0
    crm.sync()
    assert crm.run()["records"] == {}
    assert crm.writing_calls() == 0
