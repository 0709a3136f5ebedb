"""What every connector keeps, through the real extract step and into a real database."""

import re
from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import UTC, datetime, timedelta

import pytest

from connectors.contract import (
    ConnectorError,
    Fatal,
    Page,
    Reauthorise,
    RecordRejected,
    ResetState,
    Retry,
    State,
    Stream,
    WaitUntil,
)
from tests.connectors.contract_suite.conftest import NewCustomer
from tests.connectors.contract_suite.customer import (
    Customer,
    Killed,
    Pages,
    accompanied,
    killed_after_page,
    pages_of,
    scripted,
)
from tests.connectors.contract_suite.driver import CAPABILITIES, Deleting, Driver, GainingFields
from tests.connectors.contract_suite.drivers import DRIVERS
from warehouse.errors import ClarityError


def some_pages(source: Driver) -> list[str]:
    """Records for two full pages and a bit."""
    return source.add(2 * source.page_size() + 1)


@pytest.mark.parametrize("name", DRIVERS)
def test_what_a_source_cannot_have_is_said_in_a_sentence(name: str) -> None:
    for capability, reason in DRIVERS[name].cannot.items():
        assert capability in CAPABILITIES
        assert re.fullmatch(r"[A-Z].{30,}\.", reason)


def test_one_full_read_holds_exactly_what_the_source_holds(source: Driver, customer: Customer) -> None:
    some_pages(source)
    assert sum(bool(page.records) for page in pages_of(customer, alone=False)) > 2
    assert customer.latest() == source.truth()


def test_full_then_incremental_equals_one_full(source: Driver, customer: Customer, new_customer: NewCustomer) -> None:
    ids = some_pages(source)
    customer.sync(alone=False)
    for round_ in range(3):
        source.change(ids[round_], f"changed in round {round_}")
        source.change(ids[-1], f"changed again in round {round_}")
        source.add(2)
        customer.sync(alone=False)
    at_once = new_customer()
    at_once.sync(alone=False)
    assert customer.latest() == at_once.latest() == source.truth()


def test_a_full_read_after_incremental_ones_lands_nothing(source: Driver, customer: Customer) -> None:
    ids = some_pages(source)
    customer.sync()
    source.change(ids[0], "changed")
    customer.sync()
    before = customer.versions()
    customer.sync(full=True)
    assert customer.versions() == before
    assert customer.last_sync("sync_type, records_created, records_updated, records_deleted") == ("full", 0, 0, 0)


def test_overlap_makes_no_duplicates(source: Driver, customer: Customer) -> None:
    ids = some_pages(source)
    customer.sync()
    before = len(customer.versions())
    source.change(ids[0], "changed")
    for _ in range(3):
        customer.sync()
    assert len(customer.versions()) == before + 1
    assert customer.last_sync("records_created, records_updated") == (0, 0)


def test_killed_after_any_page_and_resumed_equals_undisturbed(
    source: Driver, customer: Customer, new_customer: NewCustomer
) -> None:
    some_pages(source)
    pages = len(pages_of(customer, alone=False))
    undisturbed = customer.versions()
    for number in range(1, pages + 1):
        wounded = new_customer()
        with killed_after_page(source.stream, number):
            wounded.sync(alone=False)
        assert wounded.last_sync("status") == ("running",)
        wounded.sync(alone=False)
        assert wounded.versions() == undisturbed, f"killed after page {number}"


def test_killed_after_any_page_of_an_incremental_read_and_resumed_equals_undisturbed(
    source: Driver, customer: Customer, new_customer: NewCustomer
) -> None:
    ids = some_pages(source)
    several = [new_customer() for _ in range(3)]
    for each in (customer, *several):
        each.sync()
    for record_id in ids:
        source.change(record_id, f"{record_id} anew")
    source.add(1)
    customer.sync()
    for number, wounded in enumerate(several, start=1):
        with killed_after_page(source.stream, number):
            wounded.sync()
        wounded.sync()
        assert wounded.versions() == customer.versions(), f"killed after page {number}"


@pytest.mark.needs("resume")
def test_a_read_that_was_cut_short_goes_on_from_its_last_page(source: Driver, customer: Customer) -> None:
    some_pages(source)
    landed: list[set[str]] = []

    def kill_after_two_with_records(_number: int, page: Page) -> None:
        landed.extend([{record.id for record in page.records}] if page.records else [])
        if len(landed) == 2:
            raise Killed

    with accompanied(source.stream, kill_after_two_with_records), pytest.raises(Killed):
        customer.sync()
    read_again = {record.id for page in pages_of(customer) for record in page.records}
    assert not landed[0] & read_again
    assert customer.latest() == source.truth()


def test_a_record_that_changes_during_the_read_is_caught_by_the_next(source: Driver, customer: Customer) -> None:
    ids = some_pages(source)

    def change_the_first(number: int, _page: Page) -> None:
        if number == 1:
            source.change(ids[0], "changed meanwhile")
            source.add(1)

    with accompanied(source.stream, change_the_first):
        customer.sync()
    customer.sync()
    assert customer.latest() == source.truth()
    assert customer.names(ids[0])[-1] == "changed meanwhile"


def test_equal_stamps_over_several_pages_lose_nothing_and_come_to_an_end(source: Driver, customer: Customer) -> None:
    ids = source.add(3 * source.page_size() + 1, one_stamp=True)
    assert sum(bool(page.records) for page in pages_of(customer)) > 3
    assert customer.latest() == source.truth()
    before = customer.versions()
    assert len({version.source_updated_at for version in before if version.record_id in ids}) == 1
    customer.sync()
    assert customer.versions() == before


@pytest.mark.parametrize("after_page", [1, 2, 3])
def test_killed_amid_equal_stamps_and_resumed_loses_nothing(
    source: Driver, customer: Customer, after_page: int
) -> None:
    source.add(3 * source.page_size() + 1, one_stamp=True)
    with killed_after_page(source.stream, after_page):
        customer.sync()
    customer.sync()
    assert customer.latest() == source.truth()


def test_a_b_a_makes_three_versions(source: Driver, customer: Customer) -> None:
    (record_id, *_) = some_pages(source)
    for name in ("A", "B", "A"):
        source.change(record_id, name)
        customer.sync()
    assert customer.names(record_id) == ["A", "B", "A"]
    customer.sync(full=True)
    assert customer.names(record_id) == ["A", "B", "A"]


@pytest.mark.needs("delete")
def test_a_record_that_is_deleted_and_restored_is_told_both_times(source: Deleting, customer: Customer) -> None:
    (record_id, *_) = some_pages(source)
    customer.sync()
    for happens, is_deleted in ((source.delete, True), (source.restore, False), (source.delete, True)):
        happens(record_id)
        customer.sync()
        assert customer.latest()[record_id].is_deleted is is_deleted
        assert customer.latest() == source.truth()
    assert [version.is_deleted for version in customer.versions(record_id)] == [False, True, False, True]


@pytest.mark.needs("delete")
def test_what_was_deleted_before_the_first_read_is_no_living_record(source: Deleting, customer: Customer) -> None:
    (record_id, *_) = some_pages(source)
    source.delete(record_id)
    customer.sync()
    assert [version.is_deleted for version in customer.versions(record_id)] in ([], [True])


@pytest.mark.needs("late stamp")
def test_a_record_that_appears_with_a_stamp_from_before_the_last_read_is_not_lost(
    source: Driver, customer: Customer
) -> None:
    some_pages(source)
    customer.sync()
    late = source.add_late()
    customer.sync()
    assert late in customer.latest()
    assert customer.latest() == source.truth()


def test_an_old_page_delivered_late_does_not_bring_back_what_it_says(source: Driver, customer: Customer) -> None:
    (record_id, *_) = some_pages(source)
    (old_page, *_) = pages_of(customer)
    source.change(record_id, "new")
    customer.sync()

    async def old_page_first(stream: Stream, state: State | None, pages: Pages) -> AsyncIterator[Page]:
        if stream.name == source.stream:
            yield Page(old_page.records, state)
        async for page in pages:
            yield page

    before = customer.versions()
    with scripted(old_page_first):
        customer.sync()
    assert customer.versions() == before
    assert customer.latest() == source.truth()


@pytest.mark.needs("new field")
def test_a_schema_that_gains_and_loses_a_field_loses_no_record(source: GainingFields, customer: Customer) -> None:
    ids = some_pages(source)
    customer.sync()
    source.add_field("Tier__c", ids[0], "gold")
    customer.sync()
    assert customer.latest()[ids[0]].payload["Tier__c"] == "gold"
    assert set(customer.latest()) == set(source.truth())
    source.remove_field("Tier__c")
    source.change(ids[1], "after the field was gone")
    customer.sync()
    assert "Tier__c" not in customer.latest()[ids[1]].payload
    assert set(customer.latest()) == set(source.truth())
    customer.sync(full=True)
    assert customer.latest() == source.truth()


def test_state_from_an_older_version_of_us_loses_nothing(source: Driver, customer: Customer) -> None:
    ids = some_pages(source)
    customer.sync()
    for number, state in enumerate(source.states_of_older_versions()):
        customer.set_state(state)
        source.change(ids[0], f"changed for the {number}.")
        source.add(1)
        customer.sync()
        assert customer.latest() == source.truth(), f"after {state}"


# ── each error class leads to its action ─────────────────────────────────────────────────────────────────────────────
#
# How a source goes on from its state is its own; what else the step does when a script raises has no source in it.


class Failing:
    """A script: the first so many readings of the source's stream raise, after one page has landed or before any."""

    def __init__(self, source: Driver, error: ConnectorError, times: int = 1, *, at_once: bool = False) -> None:
        self.source, self.error, self.times, self.at_once = source, error, times, at_once
        self.calls: list[tuple[str, State | None]] = []

    async def __call__(self, stream: Stream, state: State | None, pages: Pages) -> AsyncIterator[Page]:
        self.calls.append((stream.name, state))
        fails = stream.name == self.source.stream and self.times > 0
        self.times -= fails
        async with aclosing(pages):
            if fails and self.at_once:
                raise self.error
            async for page in pages:
                yield page
                if fails:
                    raise self.error

    @property
    def states(self) -> list[State | None]:
        return [state for stream, state in self.calls if stream == self.source.stream]


def test_retry_reads_the_stream_again_from_its_last_page(source: Driver, customer: Customer) -> None:
    some_pages(source)
    failing = Failing(source, Retry("the vendor was busy"), times=2)
    with scripted(failing):
        customer.sync()
    assert customer.latest() == source.truth()
    assert len(failing.states) == 3
    assert customer.last_sync("status") == ("completed",)


@pytest.mark.whatever_the_source
def test_retry_gives_up_in_the_end_and_says_why(source: Driver, customer: Customer) -> None:
    some_pages(source)
    with scripted(Failing(source, Retry("the vendor is busy for ever"), times=1000, at_once=True)):
        with pytest.raises(ClarityError, match="the vendor is busy for ever"):
            customer.sync()
    customer.sync()
    assert customer.latest() == source.truth()


@pytest.mark.whatever_the_source
def test_a_short_wait_is_waited_for(source: Driver, customer: Customer) -> None:
    some_pages(source)
    until = datetime.now(UTC) + timedelta(seconds=0.3)
    failing = Failing(source, WaitUntil("too many calls", until))
    with scripted(failing):
        customer.sync()
    assert datetime.now(UTC) >= until
    assert customer.latest() == source.truth()


@pytest.mark.whatever_the_source
def test_a_long_wait_fails_with_the_time(source: Driver, customer: Customer) -> None:
    some_pages(source)
    until = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=5)
    with scripted(Failing(source, WaitUntil("the day's calls are used up", until), times=1000)):
        with pytest.raises(ClarityError, match=r"the day's calls are used up") as failure:
            customer.sync()
    assert until.strftime("%H:%M") in str(failure.value)


@pytest.mark.whatever_the_source
def test_reauthorise_stops_the_connector_and_is_said_once(source: Driver, customer: Customer) -> None:
    some_pages(source)
    failing = Failing(source, Reauthorise("log in again"), times=1000)
    with scripted(failing):
        with pytest.raises(ClarityError, match="log in again") as failure:
            customer.sync()
    assert str(failure.value).count("log in again") == 1
    assert len(failing.states) == 1


def test_a_state_that_the_vendor_forgot_is_read_from_the_start_once(source: Driver, customer: Customer) -> None:
    ids = some_pages(source)
    customer.sync()
    source.change(ids[0], "changed")
    failing = Failing(source, ResetState("the state is unknown"))
    with scripted(failing):
        notes = customer.sync()["notes"]
    assert failing.states[1:] == [None]
    assert any("the state is unknown" in note for note in notes)
    assert customer.latest() == source.truth()


@pytest.mark.whatever_the_source
def test_a_state_that_stays_unknown_is_a_failure_and_no_endless_loop(source: Driver, customer: Customer) -> None:
    some_pages(source)
    failing = Failing(source, ResetState("the state is unknown"), times=1000)
    with scripted(failing):
        with pytest.raises(ClarityError, match="the state is unknown"):
            customer.sync()
    assert len(failing.states) == 2


@pytest.mark.whatever_the_source
def test_a_record_that_is_rejected_goes_to_quarantine_and_the_others_go_on(source: Driver, customer: Customer) -> None:
    some_pages(source)
    with scripted(Failing(source, RecordRejected("not this one"))):
        customer.sync()
    assert customer.latest() == source.truth()
    assert customer.rows("select reason from quality.quarantine") == [("not this one",)]
    assert customer.last_sync("status, records_failed") == ("completed", 1)


@pytest.mark.whatever_the_source
def test_what_is_fatal_fails_its_stream_and_no_other(source: Driver, customer: Customer) -> None:
    some_pages(source)
    failing = Failing(source, Fatal("nothing helps"), times=1000)
    with scripted(failing):
        with pytest.raises(ClarityError, match=f"{source.stream}: .*nothing helps"):
            customer.sync(alone=False)
    assert len(failing.states) == 1
    assert {stream for stream, _ in failing.calls} > {source.stream}
    customer.sync(alone=False)
    assert customer.latest() == source.truth()


def test_the_source_s_own_troubles_are_told_in_words_and_forgotten_once_they_are_over(
    source: Driver, customer: Customer
) -> None:
    ids = some_pages(source)
    customer.sync()
    for trouble in source.troubles():
        source.change(ids[0], f"before {trouble.says}")
        with trouble.lasts, pytest.raises(ClarityError, match=re.escape(trouble.says)):
            customer.sync()
        customer.sync()
        assert customer.latest() == source.truth()


@pytest.mark.needs("trouble")
def test_the_source_has_a_trouble_for_each_class_of_error(source: Driver) -> None:
    classes = {trouble.leads_to for trouble in source.troubles()}
    assert classes == {WaitUntil, Reauthorise, Retry, Fatal}
