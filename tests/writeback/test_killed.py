"""A run that was killed at any moment: what it sent is found out, what it did not send is sent once."""

from collections.abc import Callable
from typing import Any

import pytest

from connectors.salesforce import writer
from steps.writeback_receipts import Receipts
from tests.writeback.crm import SCORE, Crm


class Killed(BaseException):
    """Nothing in the product catches it, so whatever it passes is left as a kill would leave it."""


def kill_at(monkeypatch: pytest.MonkeyPatch, place: Any, name: str, *, after: bool, times: int = 1) -> None:
    """The n-th call of this function is the last thing that the run does, or the last thing that it does not do."""
    real: Callable[..., Any] = getattr(place, name)
    calls = 0

    def dying(*arguments: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls != times:
            return real(*arguments, **named)
        if after:
            real(*arguments, **named)
        raise Killed

    monkeypatch.setattr(place, name, dying)


MOMENTS = [("intend", False), ("intend", True), ("written", False), ("written", True), ("plan", True)]


@pytest.mark.parametrize("bulk", [False, True], ids=["by calls", "by a job"])
@pytest.mark.parametrize(("name", "after"), MOMENTS)
def test_whenever_it_was_killed_the_next_run_writes_what_is_missing_and_nothing_twice(
    crm: Crm, monkeypatch: pytest.MonkeyPatch, name: str, after: bool, bulk: bool
) -> None:
    ids = crm.accounts(450)
    crm.switch_on()
    if bulk:
        monkeypatch.setattr(writer, "BULK_ABOVE", 10)
    with monkeypatch.context() as patch:
        kill_at(patch, Receipts, name, after=after, times=1 if bulk or name == "plan" else 2)
        with pytest.raises(Killed):
            crm.run("killed")
    crm.run("killed")
    crm.assert_sound(ids)
    assert crm.shows(ids[60], SCORE) == 60.0
    open_ones = crm.rows("select count(*) from scores.writeback_receipts where outcome in ('planned', 'sending')")
    assert open_ones == [(0,)]
    written = crm.rows(
        "select count(*), count(distinct record_id) from scores.writeback_receipts where outcome = 'written'"
    )
    assert written == [(450, 450)]
    crm.forget_calls()
    crm.run("the next night")
    assert crm.writing_calls() == 0


def test_a_job_that_a_killed_run_left_at_work_is_waited_for(crm: Crm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "BULK_ABOVE", 10)
    ids = crm.accounts(30)
    crm.switch_on()

    async def dying(_self: Any, _job: str) -> Any:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(writer.Writer, "_ended", dying)
        with pytest.raises(Killed):
            crm.run("killed")
    assert crm.writes == []
    crm.run("the next")
    crm.assert_sound(ids)


def test_what_a_killed_run_wrote_is_not_taken_for_somebody_elses_change(
    crm: Crm, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = crm.accounts(3)
    crm.switch_on()
    with monkeypatch.context() as patch:
        kill_at(patch, Receipts, "written", after=False)
        with pytest.raises(Killed):
            crm.run("killed")
    # a sync comes in between, and a day later the scores are others
    crm.sync()
    crm.score(dict.fromkeys(ids, 70.0))
    crm.forget_calls()
    assert crm.run()["records"] == {"written": 3}
    crm.assert_sound(ids)
    assert crm.rows("select count(*) from scores.writeback_overrides") == [(0,)]
