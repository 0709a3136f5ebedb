"""A reading of everything: what is refused in the place of what is known, and what absence deletes."""

from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from connectors.contract import Fatal, Page, Record, Rejected, Retry, State
from control import erasure, registry
from tests.steps.conftest import Play
from tests.steps.customer import Customer, Script, record
from warehouse import full_reading
from warehouse.errors import ClarityError

READS_ACCOUNTS = {"reads": ["accounts"]}
ABSENCE = {**READS_ACCOUNTS, "deletes": "absent"}


def reading(*numbers: int, rejected: Sequence[Rejected] = (), error: Exception | None = None) -> Script:
    """Everything, two records to a page; only the last page moves the state and says how many there are."""

    async def script(state: State | None) -> AsyncIterator[Page]:
        for first in range(0, len(numbers), 2):
            yield Page([record(number) for number in numbers[first : first + 2]], state)
        if error is not None:
            raise error
        yield Page((), {"readings": (state or {"readings": 0})["readings"] + 1}, rejected, completes=len(numbers))

    return script


def last_count(customer: Customer) -> Any:
    ((count,),) = customer.rows("select last_full_count from control.stream_states where stream = 'accounts'")
    return count


# ── what it is measured against ──────────────────────────────────────────────────────────────────────────────────────


def test_a_full_reading_leaves_its_size_with_its_state(customer: Customer, play: Play) -> None:
    play(with_=READS_ACCOUNTS, accounts=reading(1, 2, 3))
    customer.sync()
    assert (last_count(customer), customer.state()) == (3, {"readings": 1})


@pytest.mark.parametrize(("numbers", "told"), [((), "holds no records"), ((1,), "holds 1 records")])
def test_a_stream_that_suddenly_holds_nothing_or_under_half_is_refused_and_says_so(
    customer: Customer, play: Play, numbers: tuple[int, ...], told: str
) -> None:
    play(with_=ABSENCE, accounts=reading(1, 2, 3))
    customer.sync()
    play(with_=ABSENCE, accounts=reading(*numbers))
    command = f"clarity sync {customer.tenant.slug} --connector files --stream accounts --full --accept-fewer"
    with pytest.raises(ClarityError, match=f"{told} where the last full reading held 3.*{command}"):
        customer.sync()
    assert customer.latest() == {"1": "record 1", "2": "record 2", "3": "record 3"}
    assert (last_count(customer), customer.state()) == (3, {"readings": 1})
    assert customer.connector("status") == ("error",)


def test_the_last_page_of_a_refused_reading_does_not_land(customer: Customer, play: Play) -> None:
    play(with_=READS_ACCOUNTS, accounts=reading(1, 2, 3))
    customer.sync()

    async def only_page(_state: State | None) -> AsyncIterator[Page]:
        yield Page([record(9)], {"readings": 2}, completes=1)

    play(with_=READS_ACCOUNTS, accounts=only_page)
    with pytest.raises(ClarityError):
        customer.sync()
    assert "9" not in customer.latest()


def test_half_is_enough(customer: Customer, play: Play) -> None:
    play(with_=READS_ACCOUNTS, accounts=reading(1, 2, 3, 4))
    customer.sync()
    play(with_=READS_ACCOUNTS, accounts=reading(1, 2))
    customer.sync()
    assert last_count(customer) == 2


def test_fewer_are_accepted_when_somebody_says_so_and_are_the_measure_from_then_on(
    customer: Customer, play: Play
) -> None:
    play(with_=ABSENCE, accounts=reading(1, 2, 3))
    customer.sync()
    play(with_=ABSENCE, accounts=reading())
    customer.sync(full=True, streams=["accounts"], accept_fewer=True)
    assert last_count(customer) == 0
    assert set(customer.latest().values()) == {"(deleted)"}
    customer.sync(full=True)


def test_a_first_reading_may_hold_nothing(customer: Customer, play: Play) -> None:
    play(with_=ABSENCE, accounts=reading())
    customer.sync()
    assert last_count(customer) == 0


def test_an_incremental_page_is_measured_against_nothing(customer: Customer, play: Play) -> None:
    async def news(_state: State | None) -> AsyncIterator[Page]:
        yield Page([], {"readings": 2})

    play(with_=ABSENCE, accounts=reading(1, 2, 3))
    customer.sync()
    play(with_=ABSENCE, accounts=news)
    customer.sync()
    assert (last_count(customer), len(customer.latest()), customer.state()) == (3, 3, {"readings": 2})
    assert "(deleted)" not in customer.latest().values()


# ── absence ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_what_a_full_reading_no_longer_holds_is_deleted(customer: Customer, play: Play) -> None:
    play(with_=ABSENCE, accounts=reading(1, 2, 3, 4, 5))
    customer.sync()
    play(with_=ABSENCE, accounts=reading(1, 3, 5))
    counts = customer.sync()["streams"]["accounts"]
    assert (counts["deleted"], counts["unchanged"]) == (2, 3)
    assert customer.latest() == {
        "1": "record 1", "2": "(deleted)", "3": "record 3", "4": "(deleted)", "5": "record 5",
    }  # fmt: skip
    assert customer.last_sync("records_deleted, status") == (2, "completed")
    assert customer.rows("select seq from raw.files__accounts order by seq") == [(seq,) for seq in range(1, 8)]
    assert customer.rows("select last_seq from control.stream_states where stream = 'accounts'") == [(7,)]


def test_a_deleted_version_keeps_what_the_record_said_last(customer: Customer, play: Play) -> None:
    play(with_=ABSENCE, accounts=reading(1, 2))
    customer.sync()
    play(with_=ABSENCE, accounts=reading(1))
    customer.sync()
    versions = customer.rows(
        "select payload, payload_hash, is_deleted, sync_id = (select id from control.sync_logs order by started_at desc"
        " limit 1) from raw.files__accounts where record_id = '2' order by seq"
    )
    assert [(payload["name"], is_deleted, mine) for payload, _, is_deleted, mine in versions] == [
        ("record 2", False, False),
        ("record 2", True, True),
    ]
    assert versions[0][1] == versions[1][1]


def test_what_is_deleted_already_is_not_deleted_again(customer: Customer, play: Play) -> None:
    play(with_=ABSENCE, accounts=reading(1, 2))
    customer.sync()
    play(with_=ABSENCE, accounts=reading(1))
    customer.sync()
    customer.sync()
    assert customer.raw("accounts") == 3
    assert customer.last_sync("records_deleted") == (0,)


def test_a_record_that_comes_back_is_there_again_even_if_it_says_what_it_said(customer: Customer, play: Play) -> None:
    for numbers in ((1, 2), (1,), (1, 2), (2,)):
        play(with_=ABSENCE, accounts=reading(*numbers))
        customer.sync()
    assert customer.latest() == {"1": "(deleted)", "2": "record 2"}
    assert customer.rows("select is_deleted from raw.files__accounts where record_id = '2' order by seq") == [
        (False,), (True,), (False,),
    ]  # fmt: skip


def test_a_record_with_a_stamp_is_deleted_after_its_latest_version(customer: Customer, play: Play) -> None:
    monday, tuesday = (datetime(2026, 3, day, tzinfo=UTC) for day in (2, 3))

    def stamped(*records: Any) -> Script:
        async def script(_state: State | None) -> AsyncIterator[Page]:
            yield Page(records, {"readings": 1}, completes=len(records))

        return script

    old, new, other = record(1, "old", monday), record(1, "new", tuesday), record(2)
    # the older version arrives last, and is not the latest for that
    play(with_=ABSENCE, accounts=stamped(new, other))
    customer.sync()
    play(with_=ABSENCE, accounts=stamped(old, other))
    customer.sync()
    play(with_=ABSENCE, accounts=stamped(other))
    customer.sync()
    assert customer.latest()["1"] == "(deleted)"
    assert customer.rows("select payload ->> 'name' from raw.files__accounts where is_deleted") == [("new",)]
    play(with_=ABSENCE, accounts=stamped(new, other))
    customer.sync()
    assert customer.latest()["1"] == "new"


def test_a_reading_that_breaks_off_deletes_nothing(customer: Customer, play: Play) -> None:
    play(with_=ABSENCE, accounts=reading(1, 2, 3, 4))
    customer.sync()
    play(with_=ABSENCE, accounts=reading(1, 2, error=Fatal("the disk is gone")))
    with pytest.raises(ClarityError, match="the disk is gone"):
        customer.sync()
    assert "(deleted)" not in customer.latest().values()


def test_what_an_attempt_saw_that_broke_off_is_not_taken_for_seen(customer: Customer, play: Play) -> None:
    play(with_=ABSENCE, accounts=reading(1, 2, 3, 4))
    customer.sync()
    attempts = iter([reading(3, 4, error=Retry("cut")), reading(1, 2)])

    async def second_time_lucky(state: State | None) -> AsyncIterator[Page]:
        async for page in next(attempts)(state):
            yield page

    play(with_=ABSENCE, accounts=second_time_lucky)
    customer.sync()
    assert customer.latest() == {"1": "record 1", "2": "record 2", "3": "(deleted)", "4": "(deleted)"}


def test_a_reading_killed_before_its_end_is_committed_is_read_again(
    customer: Customer, play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    play(with_=ABSENCE, accounts=reading(1, 2))
    customer.sync()

    async def last_page_holds_records(_state: State | None) -> AsyncIterator[Page]:
        yield Page([record(1, "renamed")], {"readings": 2}, completes=1)

    source = play(with_=ABSENCE, accounts=last_page_holds_records)

    def kill(*_arguments: Any, **_named: Any) -> int:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(full_reading, "complete", kill)
        with pytest.raises(KeyboardInterrupt):
            customer.sync()
    assert customer.state() == {"readings": 1}
    customer.sync()
    assert source.states_of() == [{"readings": 1}, {"readings": 1}]
    assert customer.latest() == {"1": "renamed", "2": "(deleted)"}
    assert customer.raw("accounts") == 4


def test_a_record_that_cannot_be_read_any_more_is_not_deleted(customer: Customer, play: Play) -> None:
    play(with_=ABSENCE, accounts=reading(1, 2, 3))
    customer.sync()
    play(with_=ABSENCE, accounts=reading(1, 2, rejected=[Rejected("line 4", "is broken", "3,x,y", "3")]))
    customer.sync()
    assert customer.latest()["3"] == "record 3"


def test_nothing_is_deleted_while_a_broken_line_may_be_the_missing_record(customer: Customer, play: Play) -> None:
    play(with_=ABSENCE, accounts=reading(1, 2, 3))
    customer.sync()
    play(with_=ABSENCE, accounts=reading(1, 2, rejected=[Rejected("line 4", "is broken", "?")]))
    notes = customer.sync()["notes"]
    assert any("accounts: 1 records could not be read and do not tell their id" in note for note in notes)
    assert customer.latest()["3"] == "record 3"
    play(with_=ABSENCE, accounts=reading(1, 2))
    customer.sync()
    assert customer.latest()["3"] == "(deleted)"


def test_a_record_that_the_database_cannot_store_does_not_stop_the_count(customer: Customer, play: Play) -> None:
    async def odd(_state: State | None) -> AsyncIterator[Page]:
        strange = [Record(record_id, {"name": "odd"}) for record_id in ("a\0b", "\ud800", "tab\tand\\N")]
        yield Page([record(2), *strange], {"readings": 1}, completes=4)

    play(with_=ABSENCE, accounts=odd)
    customer.sync()
    customer.sync()
    assert customer.latest() == {"2": "record 2", "tab\tand\\N": "odd"}
    assert customer.last_sync("records_deleted") == (0,)


def test_absence_in_one_stream_deletes_nothing_in_another(customer: Customer, play: Play) -> None:
    play(with_={"deletes": "absent"}, accounts=reading(1, 2), people=reading(1, 2))
    customer.sync()
    play(with_={"deletes": "absent"}, accounts=reading(1), people=reading(1, 2))
    customer.sync()
    assert (customer.latest("accounts")["2"], customer.latest("people")["2"]) == ("(deleted)", "record 2")


def test_absence_deletes_nothing_of_another_tenant(
    customer: Customer, play: Play, other_tenant: Any, tmp_path: Any
) -> None:
    neighbour = Customer(other_tenant, tmp_path)
    play(with_=ABSENCE, accounts=reading(1, 2))
    customer.sync()
    neighbour.sync()
    play(with_=ABSENCE, accounts=reading(1))
    customer.sync()
    assert neighbour.latest() == {"1": "record 1", "2": "record 2"}


def test_an_erased_person_is_not_brought_back_by_their_absence(customer: Customer, play: Play) -> None:
    def people(*names: str) -> Script:
        async def script(_state: State | None) -> AsyncIterator[Page]:
            yield Page([person(name) for name in names], {"readings": 1}, completes=len(names))

        return script

    play(with_={**ABSENCE, "reads": ["people"]}, people=people("ann", "bob", "cy"))
    customer.sync()
    erasure.erase(registry.tenant(customer.tenant.slug), "ann@acme.example", actor="system:tests")
    # still at the source, then gone from there too
    for names in (("ann", "bob", "cy"), ("bob", "cy"), ("bob",)):
        play(with_={**ABSENCE, "reads": ["people"]}, people=people(*names))
        customer.sync(full=True, accept_fewer=True)
        assert customer.rows("select 1 from raw.files__people where record_id = 'ann' or payload::text ~ 'ann'") == []
    assert customer.latest("people") == {"bob": "bob", "cy": "(deleted)"}


def person(name: str) -> Record:
    return Record(name, {"name": name, "email": f"{name}@acme.example"})
