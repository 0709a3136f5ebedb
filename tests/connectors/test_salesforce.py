"""The Salesforce connector against an org that behaves like Salesforce: what it holds afterwards is what the org holds.

The names of many tests are traps that cost other connectors rows, as their issue trackers tell.
"""

import asyncio
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random
from time import monotonic, sleep
from typing import Any, Self

import httpx
import pytest

from connectors.contract import (
    Connector,
    Fatal,
    Health,
    Page,
    Record,
    Rejected,
    Renew,
    ResetState,
    Retry,
    State,
    WaitUntil,
)
from connectors.http import Clock
from connectors.salesforce.client import Client
from connectors.salesforce.streams import OBJECTS
from sandbox.salesforce import Faults, Org, create_app, serve
from sandbox.salesforce.faults import KINDS
from sandbox.salesforce.log import Log

BY_REST: dict[str, Any] = {"bulk_above": 1_000_000}
BY_BULK: dict[str, Any] = {"bulk_above": 0}
BOTH_WAYS = pytest.mark.parametrize("way", [BY_REST, BY_BULK], ids=["by rest", "by bulk"])


@dataclass
class Raw:
    """What landing keeps: per record its versions, without those equal to the one before."""

    versions: dict[str, list[Record]] = field(default_factory=dict)
    refused: list[Rejected] = field(default_factory=list)
    state: State | None = None
    notes: list[str] = field(default_factory=list)
    counts: list[int] = field(default_factory=list)
    landed: int = 0

    def read(self, client: Connector, stream: str, pages: int | None = None) -> Self:
        """Read one stream and land it, or only the first `pages` of it, as if killed behind them."""
        declared = next(one for one in client.streams if one.name == stream)

        async def reading() -> None:
            left = pages
            source = client.pages(declared, self.state)
            async for page in source:
                self.land(page)
                left = None if left is None else left - 1
                if left == 0:
                    break
            await source.aclose()  # type: ignore[attr-defined]

        asyncio.run(reading())
        return self

    def land(self, page: Page) -> None:
        for record in page.records:
            known = self.versions.setdefault(record.id, [])
            if not known or (known[-1].payload, known[-1].is_deleted) != (record.payload, record.is_deleted):
                known.append(record)
                self.landed += 1
        self.refused += page.rejected
        self.notes += page.notes
        self.state = page.state
        self.counts += [] if page.completes is None else [page.completes]

    @property
    def payloads(self) -> dict[str, Mapping[str, Any]]:
        return {record_id: versions[-1].payload for record_id, versions in self.versions.items()}

    @property
    def deleted(self) -> set[str]:
        return {record_id for record_id, versions in self.versions.items() if versions[-1].is_deleted}


class Between(httpx.AsyncBaseTransport):
    """Stands between the connector and the org, answers some requests itself, and knows all that was sent."""

    def __init__(self, way: Callable[[], httpx.AsyncBaseTransport]) -> None:
        self.way = way
        self.open: httpx.AsyncBaseTransport | None = None
        self.answers: list[tuple[str, httpx.Response]] = []
        self.before: Callable[[httpx.Request], None] = lambda _request: None
        self.requests: list[httpx.Request] = []

    def answer(self, containing: str, response: httpx.Response, times: int = 1) -> None:
        self.answers += [(containing, response)] * times

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        self.before(request)
        for place, (containing, response) in enumerate(self.answers):
            if containing in f"{request.method} {request.url}":
                del self.answers[place]
                return response
        # A connection belongs to one event loop, and each sync of a test has its own.
        self.open = self.open or self.way()
        return await self.open.handle_async_request(request)

    async def aclose(self) -> None:
        if self.open is not None:
            await self.open.aclose()
        self.open = None


@dataclass
class Site:
    """An org, and connectors that were told of it."""

    url: str
    org: Org
    faults: Faults
    log: Log
    between: Between

    def config(self, **more: Any) -> dict[str, Any]:
        return {
            "login_url": self.url,
            "client_id": "sandbox-client",
            "client_secret": "sandbox-secret",
            "page_size": 50,
            "bulk_page_size": 50,
            "backoff_seconds": 0.001,
            "timeout_seconds": 5,
            **more,
        }

    def client(self, renew: Renew | None = None, **more: Any) -> Client:
        return Client(self.config(**more), renew, transport=self.between, dice=Random(1))

    def check(self, **more: Any) -> Health:
        return asyncio.run(self.client(**more).check())

    def sync(self, stream: str, raw: Raw | None = None, *, pages: int | None = None, **more: Any) -> Raw:
        return (Raw() if raw is None else raw).read(self.client(**more), stream, pages)

    def calls(self, part: str, method: str | None = None) -> int:
        return len(self.log.of(part, method))


@contextmanager
def behind_a_server(org: Org, faults: Faults) -> Iterator[Site]:
    """With connections that can be cut and time out. Most tests need none: they speak to the org directly."""
    with serve(org, faults) as served:
        yield Site(served.url, served.org, served.faults, served.log, Between(httpx.AsyncHTTPTransport))


def site_of(org: Org) -> Site:
    faults, log = Faults(), Log()
    app = create_app(org, faults, log)
    return Site("http://org.example", org, faults, log, Between(lambda: httpx.ASGITransport(app)))


@pytest.fixture
def site() -> Site:
    return site_of(Org(seed=7, accounts=8))


def seconds(moment: datetime) -> int:
    return int(moment.timestamp())


# ── reading everything, then what changed ────────────────────────────────────────────────────────────────────────────


@BOTH_WAYS
@pytest.mark.parametrize("stream", OBJECTS)
def test_a_first_reading_holds_exactly_what_the_org_holds(site: Site, stream: str, way: dict[str, Any]) -> None:
    raw = site.sync(stream, **way)
    assert raw.payloads == site.org.truth(OBJECTS[stream])
    assert raw.counts == [len(raw.versions) - len(raw.deleted)]
    assert raw.refused == []


def test_the_same_record_is_the_same_by_rest_and_by_bulk(site: Site) -> None:
    raw = site.sync("accounts", **BY_REST)
    raw.state = None
    site.sync("accounts", raw, **BY_BULK)
    assert all(len(versions) == 1 for versions in raw.versions.values())


@BOTH_WAYS
def test_full_then_incremental_equals_one_full(site: Site, way: dict[str, Any]) -> None:
    raw = site.sync("contacts", **way)
    first, *others = site.org.ids("Contact")
    site.org.edit("Contact", first, Title="Chief of Everything")
    site.org.delete("Contact", others[0])
    new = site.org.create("Contact", LastName="Novak", Email="novak@example.com")
    site.sync("contacts", raw, **way)
    assert raw.payloads == site.org.truth("Contact")
    assert raw.deleted == {others[0]}
    assert [len(raw.versions[record_id]) for record_id in (first, others[0], new)] == [2, 2, 1]


def test_nothing_new_costs_four_calls_and_brings_nothing(site: Site) -> None:
    raw = site.sync("tasks")
    site.org.advance(seconds=3600)
    site.log.clear()
    landed = raw.landed
    site.sync("tasks", raw)
    assert raw.landed == landed
    assert Counter(
        call.path.rpartition("/v63.0/")[2].strip("/") for call in site.log.calls if "/data/" in call.path
    ) == {
        "sobjects/Task/describe": 1,
        "sobjects/Task/deleted": 1,
        "queryAll": 2,
    }


def test_records_from_before_two_years_are_read_without_a_start_date_being_given(site: Site) -> None:
    old = site.org.create("Account", at=seconds(datetime(2011, 5, 1, tzinfo=UTC)), Name="An old customer")
    assert old in site.sync("accounts").versions


def test_archived_tasks_are_read_too(site: Site) -> None:
    old = site.org.fill("Task", 3, at=seconds(datetime(2019, 5, 1, tzinfo=UTC)))
    assert set(old) <= set(site.sync("tasks").versions)


@BOTH_WAYS
def test_a_record_that_appears_late_with_an_older_stamp_is_not_lost(site: Site, way: dict[str, Any]) -> None:
    site.org.edit("Task", site.org.ids("Task")[0], Subject="the newest stamp of all")
    raw = site.sync("tasks", **way)
    late = site.org.late_stamp("Task", seconds=500, Subject="committed after ten minutes")
    site.sync("tasks", raw, **way)
    assert late in raw.versions


@BOTH_WAYS
def test_the_overlap_lands_no_version_twice(site: Site, way: dict[str, Any]) -> None:
    site.org.bulk_edit("Contact", site.org.ids("Contact"), Title="All at once, just now")
    raw = site.sync("contacts", **way)
    for _ in range(3):
        site.org.advance(seconds=60)
        site.sync("contacts", raw, **way)
    assert all(len(versions) == 1 for versions in raw.versions.values())


@BOTH_WAYS
def test_ten_thousand_records_with_one_stamp_neither_loop_nor_get_lost(way: dict[str, Any]) -> None:
    site = site_of(Org(seed=7, accounts=2))
    filled = site.org.fill("Task", 10_000, at=seconds(site.org.now) - 60)
    raw = site.sync("tasks", **way, page_size=2_000, bulk_page_size=2_000)
    assert set(filled) <= set(raw.versions)
    assert len(raw.versions) == len(site.org.truth("Task"))
    assert site.calls("queryAll") <= 8


def test_a_reading_killed_amid_ten_thousand_equal_stamps_goes_on_behind_the_last_id(site: Site) -> None:
    filled = site.org.fill("Event", 1_000, at=seconds(site.org.now) - 60)
    raw = Raw()
    for _ in range(4):
        site.sync("events", raw, pages=3, page_size=200, **BY_REST)
    assert set(filled) <= set(raw.versions)
    assert raw.payloads == site.org.truth("Event")


def test_a_record_that_changes_while_it_is_read_is_caught_by_the_next_sync(site: Site) -> None:
    raw = site.sync("contacts", pages=1, page_size=10, **BY_REST)
    ahead = next(record_id for record_id in site.org.ids("Contact") if record_id not in raw.versions)
    site.org.edit("Contact", ahead, Title="changed before its page came")
    behind = next(iter(raw.versions))
    site.org.edit("Contact", behind, Title="changed after its page had come")
    site.sync("contacts", raw, page_size=10, **BY_REST)
    assert raw.payloads == site.org.truth("Contact")


@BOTH_WAYS
def test_killed_behind_any_page_and_resumed_equals_undisturbed(site: Site, way: dict[str, Any]) -> None:
    undisturbed = site.sync("contacts", page_size=10, bulk_page_size=10, **way)
    for stop in range(1, 8):
        raw = site.sync("contacts", pages=stop, page_size=10, bulk_page_size=10, **way)
        site.sync("contacts", raw, page_size=10, bulk_page_size=10, **way)
        assert raw.versions == undisturbed.versions
        assert raw.counts[0] == undisturbed.counts[0]


def test_the_state_moves_with_each_page(site: Site) -> None:
    client = site.client(page_size=10, **BY_REST)

    async def states() -> list[State | None]:
        return [page.state async for page in client.pages(client.streams[1], None)]

    kept = asyncio.run(states())
    assert len({str(state) for state in kept}) == len(kept) > 3


# ── deletions, merges, conversions ───────────────────────────────────────────────────────────────────────────────────


@BOTH_WAYS
def test_a_deleted_record_comes_once_more_and_a_restored_one_again(site: Site, way: dict[str, Any]) -> None:
    lost = site.org.ids("Contact")[0]
    raw = site.sync("contacts", **way)
    site.org.delete("Contact", lost)
    site.sync("contacts", raw, **way)
    site.org.undelete("Contact", lost)
    site.sync("contacts", raw, **way)
    assert [version.is_deleted for version in raw.versions[lost]] == [False, True, False]


@BOTH_WAYS
def test_the_loser_of_a_merge_names_its_master(site: Site, way: dict[str, Any]) -> None:
    master, loser = site.org.ids("Account")[:2]
    accounts, contacts = site.sync("accounts", **way), site.sync("contacts", **way)
    site.org.merge("Account", master, loser)
    site.sync("accounts", accounts, **way)
    site.sync("contacts", contacts, **way)
    last = accounts.versions[loser][-1]
    assert (last.is_deleted, last.payload["MasterRecordId"]) == (True, master)
    assert contacts.payloads == site.org.truth("Contact")


@BOTH_WAYS
def test_a_converted_lead_names_what_became_of_it(site: Site, way: dict[str, Any]) -> None:
    lead = site.org.ids("Lead")[0]
    raw = site.sync("leads", **way)
    made = site.org.convert_lead(lead)
    site.sync("leads", raw, **way)
    payload = raw.payloads[lead]
    assert payload["IsConverted"] is True
    assert {name: payload[f"Converted{name}Id"] for name in made} == made


def test_what_left_the_recycle_bin_between_two_syncs_is_deleted_all_the_same(site: Site) -> None:
    gone, stays = site.org.ids("Contact")[:2]
    raw = site.sync("contacts")
    site.org.delete("Contact", gone)
    site.org.advance(days=20)
    site.sync("contacts", raw)
    assert gone in site.org.purged["Contact"]
    assert raw.versions[gone][-1].is_deleted
    assert not raw.versions[stays][-1].is_deleted
    assert set(raw.versions) - raw.deleted == set(site.org.ids("Contact"))


@BOTH_WAYS
def test_what_left_the_recycle_bin_while_a_killed_reading_waited_is_deleted_all_the_same(
    site: Site, way: dict[str, Any]
) -> None:
    raw = site.sync("contacts", page_size=10, bulk_page_size=10, **way)
    gone = site.org.ids("Contact")[0]
    site.org.advance(days=1)
    site.org.delete("Contact", gone)
    site.org.advance(days=8)
    site.sync("contacts", raw, pages=1, page_size=10, bulk_page_size=10, **way)
    site.org.advance(days=10)
    site.sync("contacts", raw, page_size=10, bulk_page_size=10, **way)
    assert raw.versions[gone][-1].is_deleted
    assert set(raw.versions) - raw.deleted == set(site.org.ids("Contact"))


def test_what_is_still_in_the_recycle_bin_keeps_its_fields(site: Site) -> None:
    lost = site.org.ids("Account")[0]
    raw = site.sync("accounts")
    site.org.delete("Account", lost)
    site.sync("accounts", raw)
    assert raw.payloads[lost] == site.org.truth("Account")[lost]


def test_a_gap_longer_than_the_memory_of_deletions_is_said_and_everything_read(site: Site) -> None:
    raw = site.sync("campaigns")
    site.org.advance(days=45)
    raw.notes.clear()
    site.sync("campaigns", raw)
    assert any("remembers deletions only since" in note for note in raw.notes)
    assert len(raw.counts) == 2
    assert site.org.truth("Campaign").items() <= raw.payloads.items()


@pytest.mark.parametrize("code", ["INVALID_REPLICATION_DATE", "EXCEEDED_ID_LIMIT"])
def test_more_deletions_than_salesforce_tells_are_said_and_everything_read(site: Site, code: str) -> None:
    raw = site.sync("campaigns")
    site.org.advance(days=1)
    site.between.answer("/deleted/", httpx.Response(400, json=[{"errorCode": code, "message": "too much"}]))
    site.sync("campaigns", raw)
    assert any("remembers deletions only since" in note for note in raw.notes)
    assert len(raw.counts) == 2


def test_an_object_whose_deletions_salesforce_does_not_tell_is_read_with_a_note(site: Site) -> None:
    raw = site.sync("campaigns")
    edited = site.org.ids("Campaign")[0]
    site.org.edit("Campaign", edited, Name="Renamed")
    site.between.answer("/deleted/", httpx.Response(404, json=[{"errorCode": "NOT_FOUND", "message": "not here"}]))
    site.sync("campaigns", raw)
    assert raw.payloads[edited]["Name"] == "Renamed"
    assert any("what left the recycle bin is not known" in note for note in raw.notes)


# ── fields ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_compound_and_base64_fields_are_left_to_their_parts(site: Site) -> None:
    site.org.add_field("Account", "Contract__c", "base64", default="JVBERi0=")
    payload = next(iter(site.sync("accounts", **BY_BULK).payloads.values()))
    assert not {"BillingAddress", "Office__c", "Contract__c"} & set(payload)
    assert {"BillingStreet", "BillingCity", "Office__Latitude__s"} <= set(payload)


def test_custom_fields_are_read(site: Site) -> None:
    assert {"GTM_Score__c", "Domain__c"} <= set(next(iter(site.sync("accounts").payloads.values())))


def test_a_field_that_went_away_is_reported_and_does_not_wipe_the_state(site: Site) -> None:
    site.org.add_field("Account", "Region__c", default="North")
    raw = site.sync("accounts")
    site.org.remove_field("Account", "Region__c")
    edited = site.org.ids("Account")[0]
    site.org.edit("Account", edited, Name="Renamed")
    landed = raw.landed
    site.sync("accounts", raw)
    assert [note for note in raw.notes if "no longer shows Region__c" in note]
    assert raw.landed == landed + 1
    raw.notes.clear()
    site.sync("accounts", raw)
    assert raw.notes == []


def test_a_core_field_hidden_by_field_level_security_is_named_with_the_permission_to_ask_for(site: Site) -> None:
    site.org.hide_field("Account", "Industry")
    raw = site.sync("accounts")
    (note,) = raw.notes
    assert "Account does not show Industry" in note
    assert "Field-Level Security" in note
    assert raw.payloads == site.org.truth("Account")


@BOTH_WAYS
def test_a_new_field_is_read_in_the_old_records_too(site: Site, way: dict[str, Any]) -> None:
    raw = site.sync("accounts", **way)
    site.org.add_field("Account", "Region__c", default="North")
    site.sync("accounts", raw, **way)
    assert raw.payloads == site.org.truth("Account")
    assert any("new fields Region__c" in note for note in raw.notes)


def test_a_formula_that_changed_without_a_stamp_is_read_by_the_weekly_whole_reading(site: Site) -> None:
    site.org.add_field("Account", "Age__c", "double", days_since="CreatedDate")
    raw = site.sync("accounts")
    site.org.advance(days=3)
    site.sync("accounts", raw)
    stale = {record_id for record_id, row in site.org.truth("Account").items() if raw.payloads[record_id] != row}
    site.org.advance(days=4)
    site.sync("accounts", raw)
    assert stale
    assert raw.payloads == site.org.truth("Account")
    assert len(raw.counts) == 2


def test_an_object_without_a_modification_stamp_is_read_by_the_next_best_one(site: Site) -> None:
    described = {"fields": [{"name": "Id", "type": "id"}, {"name": "CreatedDate", "type": "datetime"}]}
    site.between.answer("describe", httpx.Response(200, json=described))
    raw = site.sync("opportunity_history")
    assert set(raw.versions) == set(site.org.truth("OpportunityHistory"))
    assert all(version.source_updated_at for versions in raw.versions.values() for version in versions)


def test_hundreds_of_custom_fields_whose_query_fits_no_address_are_read_in_bulk(site: Site) -> None:
    for number in range(300):
        site.org.add_field("Campaign", f"A_custom_field_with_a_long_name_{number:03}__c")
    raw = site.sync("campaigns", **BY_REST)
    assert raw.payloads == site.org.truth("Campaign")
    assert site.calls("jobs/query", "POST") == 1


# ── bulk ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_way_is_chosen_by_the_number_of_rows_to_expect(site: Site) -> None:
    rows = len(site.org.truth("Contact"))
    site.sync("contacts", bulk_above=rows)
    assert site.calls("jobs/query") == 0
    site.sync("contacts", bulk_above=rows - 1)
    assert site.calls("jobs/query", "POST") == 1


def test_a_bulk_result_ends_at_the_locator_that_is_the_word_null(site: Site) -> None:
    raw = site.sync("contacts", bulk_page_size=10, **BY_BULK)
    assert site.calls("/results") == -(-len(raw.versions) // 10)


def test_a_bulk_query_asks_for_no_order_which_would_keep_salesforce_from_working_in_parallel(site: Site) -> None:
    site.sync("contacts", **BY_BULK)
    (order,) = site.log.of("jobs/query", "POST")
    assert "SystemModstamp <=" in order.about
    assert "ORDER BY" not in order.about


def test_a_resumed_bulk_reading_goes_on_with_its_job_and_its_locator(site: Site) -> None:
    raw = site.sync("contacts", pages=3, bulk_page_size=10, **BY_BULK)
    asked = site.calls("/results")
    site.sync("contacts", raw, bulk_page_size=10, **BY_BULK, overlap_minutes=0.001)
    assert raw.payloads == site.org.truth("Contact")
    first = [call.query for call in site.log.of("/results")][asked]
    assert "locator=" in first


def test_a_bulk_job_that_vanished_is_made_again_and_nothing_is_missing(site: Site) -> None:
    raw = site.sync("contacts", pages=2, bulk_page_size=10, **BY_BULK)
    site.org.advance(days=8)
    site.sync("contacts", raw, bulk_page_size=10, **BY_BULK)
    assert raw.payloads == site.org.truth("Contact")
    assert any("is gone from Salesforce" in note for note in raw.notes)


def test_a_bulk_result_cut_at_the_end_of_a_line_is_noticed_and_read_again(site: Site) -> None:
    whole = site.sync("contacts", **BY_BULK)
    cut = httpx.Response(
        200,
        text='"Id"\n"0035g000000000bAAA"\n',
        headers={"Content-Type": "text/csv", "Sforce-NumberOfRecords": "50", "Sforce-Locator": "null"},
    )
    site.between.answer("/results", cut, times=2)
    assert site.sync("contacts", **BY_BULK).versions == whole.versions


def test_a_field_that_was_hidden_while_its_bulk_job_ran_is_not_read_from_the_result(site: Site) -> None:
    raw = site.sync("accounts", pages=1, **BY_BULK)
    asyncio.run(done(site, raw.state))
    site.org.hide_field("Account", "AnnualRevenue")
    site.sync("accounts", raw, **BY_BULK)
    assert raw.payloads == site.org.truth("Account")


async def done(site: Site, state: State | None) -> None:
    """The job that the state names has come to its end at Salesforce."""
    assert state is not None
    async with site.client().api() as api:
        while (await api.query_job("Account", state["reading"]["job"]))["state"] != "JobComplete":
            pass


def test_the_jobs_result_is_removed_from_the_org_once_it_is_read(site: Site) -> None:
    site.sync("contacts", **BY_BULK)
    assert site.calls("jobs/query/", "DELETE") == 1


def test_a_result_that_cannot_be_removed_does_not_spoil_a_reading_that_is_through(site: Site) -> None:
    site.between.answer("DELETE", httpx.Response(403, json=[{"errorCode": "INSUFFICIENT_ACCESS", "message": "no"}]))
    assert site.sync("contacts", **BY_BULK).payloads == site.org.truth("Contact")


def test_a_bulk_job_that_takes_too_long_is_left_to_the_next_sync(site: Site) -> None:
    moments = iter(range(100_000))

    async def no_time(_seconds: float) -> None:
        await asyncio.sleep(0)

    started = datetime(2026, 3, 10, tzinfo=UTC)
    clock = Clock(lambda: started + timedelta(minutes=10 * next(moments)), no_time)
    in_progress = httpx.Response(200, json={"state": "InProgress"})
    site.between.answer("GET " + site.url + "/services/data/v63.0/jobs/query/", in_progress, times=100)
    client = Client(site.config(**BY_BULK), transport=site.between, clock=clock)
    raw = Raw()

    async def reading() -> None:
        async for page in client.pages(client.streams[1], None):
            raw.land(page)

    with pytest.raises(Retry, match="not done after 120 minutes"):
        asyncio.run(reading())
    site.between.answers.clear()
    site.sync("contacts", raw, **BY_BULK, overlap_minutes=0.001)
    assert raw.payloads == site.org.truth("Contact")


# ── errors that must not look like success ───────────────────────────────────────────────────────────────────────────

TIMED_OUT = [{"errorCode": "QUERY_TIMEOUT", "message": "Your query request was running for too long."}]


def test_a_query_timeout_is_an_error_and_never_a_green_end(site: Site) -> None:
    failed = httpx.Response(200, json={"state": "Failed", "errorMessage": "QUERY_TIMEOUT: running for too long"})
    site.between.answer(site.url + "/services/data/v63.0/jobs/query/", failed)
    raw = Raw()
    with pytest.raises(Retry, match="QUERY_TIMEOUT"):
        site.sync("contacts", raw, **BY_BULK)
    assert raw.counts == []
    assert raw.state is not None
    assert raw.state["read_upto"] is None
    site.sync("contacts", raw, **BY_BULK)
    assert raw.payloads == site.org.truth("Contact")


@pytest.mark.parametrize("query", ["COUNT", "ORDER+BY"])
def test_a_query_that_times_out_is_given_to_a_bulk_job_which_has_the_time(site: Site, query: str) -> None:
    site.between.answer(query, httpx.Response(400, json=TIMED_OUT))
    raw = site.sync("contacts", **BY_REST)
    assert raw.payloads == site.org.truth("Contact")
    assert site.calls("jobs/query", "POST") == 1


def test_a_query_that_times_out_amid_a_reading_goes_on_in_bulk_from_there(site: Site) -> None:
    queries: list[int] = []

    def the_third_times_out(request: httpx.Request) -> None:
        if "ORDER+BY" in str(request.url):
            queries.append(1)
            if len(queries) == 3:
                site.between.answer("ORDER+BY", httpx.Response(400, json=TIMED_OUT))

    site.between.before = the_third_times_out
    raw = site.sync("contacts", page_size=10, **BY_REST)
    (job,) = site.log.of("jobs/query", "POST")
    assert " AND Id > '" in job.about
    assert raw.payloads == site.org.truth("Contact")
    assert raw.counts == [len(raw.versions)]


def test_an_answer_that_goes_round_in_circles_ends_with_a_sentence(site: Site) -> None:
    client = site.client()

    async def one_page() -> dict[str, Any]:
        async with client.api() as api:
            return await api.query("SELECT Id, SystemModstamp FROM Contact ORDER BY SystemModstamp, Id LIMIT 10")

    the_same_page = httpx.Response(200, json=asyncio.run(one_page()))
    site.between.answer("ORDER+BY", the_same_page, times=5)
    raw = Raw()
    with pytest.raises(Fatal, match="would go round for ever"):
        site.sync("contacts", raw, page_size=10, **BY_REST)
    assert len(raw.versions) == 10


def test_an_object_that_the_user_may_not_read_is_named_with_what_to_do(site: Site) -> None:
    site.org.hide_object("Campaign")
    with pytest.raises(Fatal, match=r"does not show Campaign.*Give the user Read on Campaign"):
        site.sync("campaigns")
    assert site.sync("accounts").versions


def test_a_row_that_is_no_record_costs_that_row_and_can_be_replayed(site: Site) -> None:
    row = {"Id": "0015g000000000bAAA", "SystemModstamp": "yesterday", "Name": "Acme"}
    page = {"totalSize": 2, "done": True, "records": [row, {"Name": "without an id"}]}
    site.between.answer("ORDER+BY", httpx.Response(200, json=page))
    raw = site.sync("accounts", **BY_REST)
    assert [(refused.reason, refused.record_id) for refused in raw.refused] == [
        ("SystemModstamp is no time: yesterday", row["Id"]),
        ("has no Id", None),
    ]
    client = site.client()
    still_wrong = client.replay(client.streams[0], raw.refused[0].raw, row["Id"])
    mended = client.replay(client.streams[0], row | {"SystemModstamp": "2026-03-01T00:00:00.000+0000"}, row["Id"])
    assert isinstance(still_wrong, Rejected)
    assert isinstance(mended, Record)
    assert (mended.id, mended.payload["Name"]) == (row["Id"], "Acme")


# ── states ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_state_from_before_versions_is_understood(site: Site) -> None:
    raw = Raw(state={"cursor": "2026-03-01T00:00:00Z"})
    site.sync("accounts", raw)
    assert raw.payloads == site.org.truth("Account")


@pytest.mark.parametrize(
    "state",
    [{"version": 99}, {"version": 1}, {"cursor": "yesterday"}, {"since": "2026-01-01"}],
    ids=["of a later version", "with parts missing", "that is no time", "of somebody else"],
)
def test_a_state_that_is_not_understood_asks_to_be_reset(site: Site, state: State) -> None:
    with pytest.raises(ResetState):
        site.sync("accounts", Raw(state=state))


# ── budgets, faults, sessions ────────────────────────────────────────────────────────────────────────────────────────


def all_streams(site: Site, **more: Any) -> tuple[dict[str, Raw], list[BaseException]]:
    """Every stream at once, as a sync reads them."""
    client, landed = site.client(**more), {name: Raw() for name in OBJECTS}

    async def one(name: str) -> None:
        declared = next(stream for stream in client.streams if stream.name == name)
        async for page in client.pages(declared, None):
            landed[name].land(page)

    async def together() -> Sequence[BaseException | None]:
        return await asyncio.gather(*map(one, OBJECTS), return_exceptions=True)

    return landed, [outcome for outcome in asyncio.run(together()) if outcome is not None]


def holds_everything(site: Site, landed: Mapping[str, Raw]) -> bool:
    return all(raw.payloads == site.org.truth(OBJECTS[name]) for name, raw in landed.items())


@BOTH_WAYS
@pytest.mark.parametrize("kind", [*KINDS, "everything"])
def test_with_a_fifth_of_all_requests_failing_every_stream_holds_exactly_the_orgs_rows(
    kind: str, way: dict[str, Any]
) -> None:
    faults = Faults(seed=5, hang_seconds=2, slow_seconds=0.02)
    if kind == "everything":
        faults.everything(0.2)
    else:
        faults.rates = {kind: 0.2}
    with behind_a_server(Org(seed=7, accounts=4), faults) as site:
        landed, failures = all_streams(site, timeout_seconds=0.25, **way)
        assert failures == []
        assert holds_everything(site, landed)
        assert sum(faults.done.values()) > 0


def test_an_answer_that_drips_longer_than_our_patience_is_asked_for_again() -> None:
    with behind_a_server(Org(seed=7, accounts=4), Faults(slow_seconds=5)) as site:
        site.faults.next("slow", containing="ORDER")
        assert site.sync("contacts", timeout_seconds=0.2, **BY_REST).payloads == site.org.truth("Contact")


def test_reading_stops_at_eighty_per_cent_of_the_orgs_day_and_goes_on_another_day(site: Site) -> None:
    site.org.budget = 100
    site.org.spend(75)
    landed, failures = all_streams(site, share_per_run=1, page_size=20, **BY_REST)
    assert site.org.used <= 80
    assert failures
    assert all(isinstance(failure, WaitUntil) for failure in failures)
    site.org.advance(days=1)
    site.org.budget = 100_000
    for name, raw in landed.items():
        site.sync(name, raw)
    assert all(site.org.truth(OBJECTS[name]).items() <= raw.payloads.items() for name, raw in landed.items())


def test_a_run_takes_no_more_than_its_quarter_of_the_orgs_day(site: Site) -> None:
    site.org.budget = 100
    _, failures = all_streams(site, page_size=10, **BY_REST)
    assert site.org.used <= 25
    assert failures
    assert "share of 25%" in str(failures[0])


def test_a_403_that_is_a_quota_is_not_taken_for_forbidden(site: Site) -> None:
    site.org.budget = 50
    site.org.spend(50)
    with pytest.raises(WaitUntil, match="REQUEST_LIMIT_EXCEEDED"):
        site.sync("accounts")


def test_streams_whose_session_ended_log_in_once_for_all(site: Site) -> None:
    client = site.client()

    async def check_then_read() -> None:
        await client.check()
        site.org.expire_sessions()
        site.log.clear()
        await asyncio.gather(*(every_page(client, stream) for stream in client.streams))

    async def every_page(client: Client, stream: Any) -> None:
        async for _ in client.pages(stream, None):
            pass

    asyncio.run(check_then_read())
    assert site.calls("oauth2/token") == 1


def test_a_session_that_ends_between_two_pages_costs_no_row(site: Site) -> None:
    seen: list[int] = []

    def end_the_session(request: httpx.Request) -> None:
        if "ORDER+BY" in str(request.url):
            seen.append(1)
            if len(seen) == 3:
                site.org.expire_sessions()

    site.between.before = end_the_session
    assert site.sync("contacts", page_size=20, **BY_REST).payloads == site.org.truth("Contact")


def test_no_cursor_of_salesforces_is_left_open(site: Site) -> None:
    """A user has ten; the eleventh would end the first, which may be somebody else's."""
    landed, failures = all_streams(site, page_size=10, **BY_REST)
    assert failures == []
    assert holds_everything(site, landed)
    assert site.calls("/query/") == 0


def test_a_reading_that_is_cancelled_leaves_nothing_that_waits_for_an_answer(site: Site) -> None:
    class Silent(httpx.AsyncBaseTransport):
        async def handle_async_request(self, _request: httpx.Request) -> httpx.Response:
            await asyncio.sleep(60)
            raise AssertionError("nobody waits so long")

    client = Client(site.config(), transport=Silent())
    before = {thread.name for thread in threading.enumerate()}

    async def given_up() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(client.check(), 0.05)

    asyncio.run(given_up())
    deadline = monotonic() + 5
    while left := {thread.name for thread in threading.enumerate()} - before:
        assert monotonic() < deadline, left
        sleep(0.01)


# ── what the write side will need ────────────────────────────────────────────────────────────────────────────────────


def test_the_api_updates_records_with_one_result_each_and_tells_the_limits(site: Site) -> None:
    first, second = site.org.ids("Account")[:2]
    site.org.refuse_row(second, "UNABLE_TO_LOCK_ROW")

    async def write() -> tuple[list[dict[str, Any]], dict[str, Any]]:
        async with site.client().api() as api:
            results = await api.update(
                [
                    {"attributes": {"type": "Account"}, "id": record_id, "GTM_Score__c": 81.5}
                    for record_id in (first, second)
                ]
            )
            return results, await api.limits()

    results, limits = asyncio.run(write())
    assert [result["success"] for result in results] == [True, False]
    assert results[1]["errors"][0]["statusCode"] == "UNABLE_TO_LOCK_ROW"
    assert site.org.truth("Account")[first]["GTM_Score__c"] == 81.5
    assert limits["DailyApiRequests"]["Max"] == 100_000


def test_the_api_refuses_more_records_than_salesforce_takes_at_once(site: Site) -> None:
    async def write(records: Iterable[dict[str, Any]]) -> None:
        async with site.client().api() as api:
            await api.update(list(records))

    with pytest.raises(ValueError, match="at most 200"):
        asyncio.run(write({"id": str(number)} for number in range(201)))
    assert site.log.calls == []
