"""What a connector raises, and what the extract step does about it."""

import asyncio
import threading
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from connectors.contract import (
    ConnectorError,
    Fatal,
    Health,
    Page,
    Reauthorise,
    RecordRejected,
    Rejected,
    ResetState,
    Retry,
    State,
    WaitUntil,
)
from steps import extract, patience
from tests.steps.conftest import Play
from tests.steps.customer import Customer, Script, page
from warehouse import database, landing, lease
from warehouse.errors import ClarityError, MisuseError


def never_mind_after(pages: int, error: Exception, *, times: int = 1) -> Script:
    """Goes on from its state; breaks off `times` times, each time after so many pages; has ten pages in all."""
    left = [times]

    async def script(state: State | None) -> AsyncIterator[Page]:
        first = state["page"] + 1 if state else 1
        for number in range(first, 11):
            if left[0] and number - first == pages:
                left[0] -= 1
                raise error
            yield page(number)

    return script


async def never_ends(_state: State | None) -> AsyncIterator[Page]:
    yield page(1)
    await asyncio.Event().wait()


# ── Retry ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_stream_that_asks_for_a_retry_goes_on_from_its_last_landed_page(customer: Customer, play: Play) -> None:
    source = play(accounts=never_mind_after(3, Retry("the line was cut")))
    assert customer.sync()["streams"]["accounts"]["created"] == 10
    assert source.states_of() == [None, {"page": 3}]
    assert any("files accounts waits 0 seconds and tries again: the line was cut" in line for line in customer.told)


def test_a_stream_that_gets_nowhere_is_given_up_and_the_others_are_not(customer: Customer, play: Play) -> None:
    source = play(
        accounts=never_mind_after(0, Retry("the line is dead."), times=99),
        people=never_mind_after(0, Fatal(""), times=0),
    )
    with pytest.raises(ClarityError, match=r"accounts: the line is dead\. It was tried 5 times"):
        customer.sync()
    assert len(source.states_of()) == patience.TRIES
    assert (customer.raw("accounts"), customer.raw("people")) == (0, 10)


def test_a_stream_that_gets_on_is_not_given_up_however_often_it_breaks_off(customer: Customer, play: Play) -> None:
    source = play(accounts=never_mind_after(1, Retry("the line was cut"), times=9))
    customer.sync()
    assert len(source.states_of()) == 10 > patience.TRIES
    assert customer.raw("accounts") == 10


def test_retries_wait_twice_as_long_each_time_and_not_all_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    monkeypatch.setattr(asyncio, "sleep", sleep)

    async def exhaust() -> None:
        waiting = patience.Patience(lambda _line: None)
        for _ in range(patience.TRIES - 1):
            await waiting.wait(Retry("busy."))
        with pytest.raises(ConnectorError, match="tried 5 times"):
            await waiting.wait(Retry("busy."))

    for _ in range(20):
        asyncio.run(exhaust())
    for number in range(4):
        of_this_try = waits[number::4]
        longest = patience.FIRST_WAIT * 2**number
        assert all(longest / 2 <= wait <= longest for wait in of_this_try)
        assert len(set(of_this_try)) > 1


def test_a_check_that_is_throttled_is_asked_again(customer: Customer, play: Play) -> None:
    answers = [Retry("busy"), None]

    async def check() -> Health:
        if (answer := answers.pop(0)) is not None:
            raise answer
        return Health(True, "fine")

    play(with_={"check": check}, accounts=never_mind_after(0, Fatal(""), times=0))
    customer.sync()
    assert customer.raw("accounts") == 10


# ── WaitUntil ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_time_that_comes_soon_is_waited_for(customer: Customer, play: Play) -> None:
    until = datetime.now(UTC) + timedelta(seconds=1.5)
    source = play(accounts=never_mind_after(2, WaitUntil("the minute is used up", until)))
    customer.sync()
    assert datetime.now(UTC) >= until
    assert source.states_of() == [None, {"page": 2}]
    assert customer.raw("accounts") == 10


def test_a_time_that_is_far_away_is_named_and_not_waited_for(customer: Customer, play: Play) -> None:
    until = datetime(2099, 1, 1, 6, 30, tzinfo=UTC)
    play(accounts=never_mind_after(2, WaitUntil("The day's calls are used up.", until)))
    with pytest.raises(ClarityError, match=r"The day's calls are used up. .* 2099-01-01 06:30 UTC"):
        customer.sync()
    assert customer.state() == {"page": 2}


def test_what_stops_all_streams_for_the_same_reason_is_said_once(customer: Customer, play: Play) -> None:
    def used_up() -> Script:
        return never_mind_after(1, WaitUntil("Used up.", datetime(2099, 1, 1, tzinfo=UTC)))

    play(accounts=used_up(), people=used_up())
    with pytest.raises(ClarityError) as failed:
        customer.sync()
    assert str(failed.value).count("Used up.") == 1
    assert "accounts, people: Used up." in str(failed.value)


# ── Reauthorise ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_lost_permission_stops_every_stream_and_is_said_once(customer: Customer, play: Play) -> None:
    async def locked_out(_state: State | None) -> AsyncIterator[Page]:
        yield page(1)
        raise Reauthorise("The refresh token was revoked: log in again.")

    play(accounts=locked_out, people=never_ends)
    with pytest.raises(ClarityError) as failed:
        customer.sync()
    assert str(failed.value).count("log in again") == 1
    assert customer.connector("status") == ("error",)
    assert "log in again" in str(customer.connector("last_sync_error"))
    status, message = customer.last_sync("status, error_message")
    assert (status, message.partition(":")[0]) == ("failed", "The refresh token was revoked")


def test_what_was_landing_when_the_others_stopped_is_counted(
    customer: Customer, play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_landing, really_land = threading.Event(), landing.land

    async def locked_out(_state: State | None) -> AsyncIterator[Page]:
        await asyncio.to_thread(is_landing.wait)
        raise Reauthorise("log in again")
        yield

    def slowly_land(*arguments: Any, **named: Any) -> landing.Landed:
        is_landing.set()
        threading.Event().wait(0.2)
        return really_land(*arguments, **named)

    monkeypatch.setattr(landing, "land", slowly_land)
    play(accounts=locked_out, people=never_ends)
    with pytest.raises(extract.SyncFailed) as failed:
        customer.sync()
    assert customer.raw("people") == 1
    assert failed.value.summary["streams"]["people"]["created"] == 1
    assert customer.last_sync("records_created") == (1,)


# ── ResetState, RecordRejected, Fatal ────────────────────────────────────────────────────────────────────────────────


def test_a_vendor_that_loses_our_place_twice_is_not_followed_round_in_circles(customer: Customer, play: Play) -> None:
    play(accounts=never_mind_after(2, ResetState("The token is too old."), times=9))
    with pytest.raises(
        ClarityError, match=r"too old\. It was read from the start, and the vendor lost its place again"
    ):
        customer.sync()


def test_a_rejected_record_goes_to_quarantine_and_the_others_go_on(customer: Customer, play: Play) -> None:
    source = play(accounts=never_mind_after(2, RecordRejected("account 3 is not valid JSON")))
    assert customer.sync()["streams"]["accounts"]["failed"] == 1
    assert source.states_of() == [None, {"page": 2}]
    assert customer.raw("accounts") == 10
    assert customer.rows("select stream, reason from quality.quarantine") == [
        ("accounts", "account 3 is not valid JSON")
    ]
    assert customer.last_sync("status, records_created, records_failed") == ("completed", 10, 1)


def test_a_record_that_nothing_gets_past_fails_its_stream(customer: Customer, play: Play) -> None:
    play(accounts=never_mind_after(0, RecordRejected("account 1 is not valid JSON."), times=99))
    with pytest.raises(ClarityError, match=r"account 1 is not valid JSON\. Nothing behind this record can be read"):
        customer.sync()
    assert customer.rows("select count(*) from quality.quarantine") == [(1,)]


def test_a_fatal_error_fails_its_stream_alone(customer: Customer, play: Play) -> None:
    play(accounts=never_mind_after(1, Fatal("there is no such object")), people=never_mind_after(0, Fatal(""), times=0))
    with pytest.raises(ClarityError, match="accounts: there is no such object"):
        customer.sync()
    assert (customer.raw("accounts"), customer.raw("people")) == (1, 10)


def test_a_reason_that_no_database_stores_is_written_out(customer: Customer, play: Play) -> None:
    async def binary(_state: State | None) -> AsyncIterator[Page]:
        yield Page((), None, notes=["the file \udcff.csv is odd"])
        raise Fatal("not JSON: 'a\0b'")

    play(accounts=binary)
    with pytest.raises(ClarityError, match=r"not JSON: 'a\\u0000b'"):
        customer.sync()
    assert customer.last_sync("status, error_details -> 'notes' -> 1") == ("failed", "the file \\udcff.csv is odd")


# ── pages in flight ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_next_page_is_fetched_while_one_lands_and_no_third_one(
    customer: Customer, play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetched, landed, ahead = [0], [0], set[int]()
    really_land, is_fetched = landing.land, threading.Condition()

    async def ten_pages(_state: State | None) -> AsyncIterator[Page]:
        for number in range(1, 11):
            with is_fetched:
                fetched[0] = number
                is_fetched.notify_all()
            ahead.add(number - landed[0])
            yield page(number)

    def land(*arguments: Any, **named: Any) -> landing.Landed:
        with is_fetched:
            assert is_fetched.wait_for(lambda: fetched[0] > landed[0] + 1 or fetched[0] == 10, timeout=10)
        done = really_land(*arguments, **named)
        landed[0] += 1
        return done

    monkeypatch.setattr(landing, "land", land)
    play(with_={"reads": ["accounts"]}, accounts=ten_pages)
    customer.sync()
    assert landed[0] == 10
    # the one that lands and the one behind it
    assert max(ahead) <= 2


def test_streams_that_block_a_thread_each_do_not_wait_for_one_another(customer: Customer, play: Play) -> None:
    meeting = threading.Barrier(4)

    async def blocks(_state: State | None) -> AsyncIterator[Page]:
        await asyncio.to_thread(meeting.wait, 10)
        yield page(1)

    names = ("accounts", "people", "opportunities", "activities")
    play(with_={"reads": names}, **dict.fromkeys(names, blocks))
    customer.sync()
    assert [customer.raw(name) for name in names] == [1, 1, 1, 1]


def test_long_work_says_now_and_then_how_far_it_is(
    customer: Customer, play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extract, "SECONDS_BETWEEN_REPORTS", 0.05)

    async def slow(_state: State | None) -> AsyncIterator[Page]:
        yield page(1)
        await asyncio.sleep(0.5)
        yield page(2)

    play(accounts=slow)
    customer.sync()
    assert "files: rows so far: accounts 1" in customer.told
    assert "files accounts: 2 records read" in customer.told


# ── which streams ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_only_the_chosen_streams_are_read(customer: Customer, play: Play) -> None:
    source = play(accounts=never_mind_after(0, Fatal(""), times=0), people=never_mind_after(0, Fatal(""), times=0))
    assert list(customer.sync(streams=["people"])["streams"]) == ["people"]
    assert source.states_of("accounts") == []


def test_a_stream_that_is_not_there_is_misuse_that_names_those_there_are(customer: Customer, play: Play) -> None:
    play()
    with pytest.raises(MisuseError, match="files has no stream 'planets'; there are accounts, people"):
        customer.sync(streams=["planets"])
    assert customer.rows("select 1 from control.sync_logs") == []


def test_a_stream_that_permissions_hide_is_reported(customer: Customer, play: Play) -> None:
    play(with_={"reads": ["accounts"]})
    (note,) = customer.sync()["notes"]
    assert note.startswith("not read, ")
    assert note.endswith("people, opportunities, activities")
    with pytest.raises(
        ClarityError, match="people: its configuration or permissions leave it out; they leave accounts"
    ):
        customer.sync(streams=["people"])


def test_a_stream_without_a_declaration_is_reported_and_lands_nowhere(customer: Customer, play: Play) -> None:
    play(with_={"reads": ["accounts", "moons"]}, accounts=never_mind_after(0, Fatal(""), times=0))
    with pytest.raises(ClarityError, match="moons: the connector reads it without declaring it"):
        customer.sync()
    assert customer.raw("accounts") == 10


def test_a_good_sync_of_one_stream_does_not_hide_that_another_fails(customer: Customer, play: Play) -> None:
    play(accounts=never_mind_after(1, Fatal("no such object")))
    with pytest.raises(ClarityError):
        customer.sync()
    customer.sync(streams=["people"])
    assert customer.last_sync("status") == ("completed",)
    customer.sync(streams=["people"])
    assert customer.connector("status, last_sync_error") == ("error", "accounts: no such object")
    customer.sync(streams=["accounts"])
    assert customer.connector("status, last_sync_error") == ("connected", None)


# ── ends that nobody planned ─────────────────────────────────────────────────────────────────────────────────────────


def test_a_sync_that_is_killed_between_two_pages_is_closed_by_the_next_which_goes_on(
    customer: Customer, play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    really_land, landed = landing.land, [0]

    def land_two(*arguments: Any, **named: Any) -> landing.Landed:
        if landed[0] == 2:
            raise KeyboardInterrupt
        landed[0] += 1
        return really_land(*arguments, **named)

    source = play(with_={"reads": ["accounts"]}, accounts=never_mind_after(0, Fatal(""), times=0))
    with monkeypatch.context() as patch:
        patch.setattr(landing, "land", land_two)
        with pytest.raises(KeyboardInterrupt):
            customer.sync()
    assert customer.last_sync("status, records_created") == ("running", 2)
    customer.sync()
    assert source.states_of() == [None, {"page": 2}]
    logs = customer.rows("select status, records_created from control.sync_logs order by started_at")
    assert logs == [("failed", 2), ("completed", 8)]
    assert customer.raw("accounts") == 10


def test_a_lease_lost_on_the_way_stops_every_stream(customer: Customer, play: Play) -> None:
    async def loses_it(_state: State | None) -> AsyncIterator[Page]:
        yield page(1)
        with database.run_session(customer.tenant.id) as connection:
            connection.execute("update control.run_leases set fence = fence + 1")
        yield page(2)

    play(accounts=loses_it, people=never_ends)
    with (
        lease.hold(customer.tenant.id, "test:me", stage="extract") as held,
        pytest.raises(lease.LeaseLost),
    ):
        extract.run(customer.tenant.slug, "files", "run", held.fence)
    assert customer.raw("accounts") <= 1
    assert customer.last_sync("status") == ("running",)


def test_what_cannot_be_read_lands_in_quarantine_beside_the_rest(customer: Customer, play: Play) -> None:
    async def mixed(_state: State | None) -> AsyncIterator[Page]:
        yield Page(page(1).records, None, [Rejected("line 2", "has 2 fields", "2,x")])

    play(accounts=mixed)
    assert customer.sync()["streams"]["accounts"] == {
        "created": 1, "updated": 0, "unchanged": 0, "deleted": 0, "failed": 1,
    }  # fmt: skip
