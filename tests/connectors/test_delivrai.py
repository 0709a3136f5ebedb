"""The Delivr.ai connector against an index that behaves like it; the names of many tests are traps of its API."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from random import Random
from typing import Any

import httpx
import pytest

from connectors import catalogue
from connectors.contract import Cost, Fatal, Page, Reauthorise, Record, Rejected, ResetState, State, WaitUntil
from connectors.delivrai.client import Client
from connectors.delivrai.contacts import digest_of
from connectors.delivrai.intent import record_of
from connectors.delivrai.visits import record_of as visit_of
from connectors.http import Clock
from sandbox.delivrai import Index, create_app, serve
from sandbox.delivrai.app import LISTS
from sandbox.salesforce.faults import DISORDERS, KINDS, Faults
from sandbox.salesforce.log import Log

TOPIC, PROJECT = "automation", "1d7b5e3c-7a9e-4e31-91a8-0b2d9f2b7a10"
TOPICS = [TOPIC, "compliance", "planning-software", "supplier-comparison"]
NOW = datetime(2026, 3, 10, tzinfo=UTC)
FAULTS = [kind for kind in KINDS if kind not in ("expired", "quota")]


async def _no_time(_seconds: float) -> None:
    """Nobody waits for a second of the vendor's."""
    await asyncio.sleep(0)


@dataclass
class Known:
    """Whom the tenant knows, in this process: about whom was asked is not asked again."""

    emails: list[str] = field(default_factory=list)
    until: dict[str, datetime] = field(default_factory=dict)
    now: datetime = NOW

    def due(self, most: int) -> Sequence[str]:
        return self._due()[:most]

    def how_many_are_due(self) -> int:
        return len(self._due())

    def _due(self) -> list[str]:
        return sorted(email for email in self.emails if self.until.get(digest_of(email), self.now) <= self.now)

    def remember(self, page: Page) -> None:
        if page.asked:
            self.until |= dict.fromkeys(page.asked.digests, page.asked.until)


@dataclass
class Office:
    """An index in this process, and connectors that were told of it."""

    index: Index
    known: Known = field(default_factory=Known)
    url: str = ""  # of a server, where it has one
    faults: Faults = field(default_factory=lambda: Faults(lists=LISTS))
    log: Log = field(default_factory=Log)

    def client(self, sleep: Callable[[float], Awaitable[None]] = _no_time, **more: Any) -> Client:
        quick = {"calls_per_second": 100_000, "backoff_seconds": 0.001, "timeout_seconds": 5}
        keys = {"api_key": self.index.api_key, "api_secret": self.index.api_secret}
        what = {"topics": TOPICS, "min_score": "medium", "project_id": PROJECT, "intent_every_hours": 0}
        way = None if self.url else httpx.ASGITransport(create_app(self.index, self.faults, self.log))
        config = {"base_url": self.url or "http://delivrai.example", **keys, **quick, **what, **more}
        return Client(
            config, None, self.known, transport=way, clock=Clock(lambda: self.known.now, sleep), dice=Random(1)
        )

    def sync(self, stream: str, state: State | None = None, **more: Any) -> list[Page]:
        """The pages of one run, remembered as landing does it."""

        async def reading() -> list[Page]:
            client, pages = self.client(**more), []
            await client.check()
            async for page in client.pages(next(one for one in client.streams if one.name == stream), state):
                self.known.remember(page)
                pages.append(page)
            return pages

        return asyncio.run(reading())

    def costs(self, stream: str, state: State | None = None, **more: Any) -> Sequence[Cost]:
        client = self.client(**more)
        return asyncio.run(client.costs(next(one for one in client.streams if one.name == stream), state))


@pytest.fixture
def office() -> Office:
    index = Index(seed=11, accounts=4, activities_per_year=3_000)
    index.research(TOPIC, "ada@customer.example")
    return Office(index, Known([known.email for known in index.people.values()]))


def records(pages: Sequence[Page]) -> dict[str, Record]:
    return {record.id: record for page in pages for record in page.records}


def notes(pages: Sequence[Page]) -> str:
    return " ".join(note for page in pages for note in page.notes)


# ── what costs nothing ───────────────────────────────────────────────────────────────────────────────────────────────


def test_a_check_costs_nothing_and_names_the_organisation_and_the_budget(office: Office) -> None:
    health = asyncio.run(office.client(budget_per_run=700).check())
    assert health.ok
    assert "Seller" in health.message
    assert "700 records" in health.message
    assert [call.path for call in office.log.calls] == ["/api/v1/whoami"]
    assert not office.index.billed


def test_a_key_without_its_secret_opens_nothing(office: Office) -> None:
    health = asyncio.run(office.client(api_secret="another").check())
    assert not health.ok
    assert "api_secret" in health.message
    assert "another" not in health.message


@pytest.mark.parametrize("stream", ["people_intent", "company_intent", "contacts", "visits"])
def test_the_price_of_a_run_is_told_before_it_and_costs_nothing(office: Office, stream: str) -> None:
    costs = office.costs(stream)
    assert not office.index.billed
    read = records(office.sync(stream))
    told, billed = sum(cost.records for cost in costs), office.index.billed.total()
    assert billed == len(read) > 0
    assert told == billed if not any(cost.is_ceiling for cost in costs) else told >= billed
    assert all(cost.price.endswith("USD") for cost in costs) or stream == "contacts"


def test_the_price_is_in_the_runs_log_too(office: Office) -> None:
    many = len(office.index.researchers("people", TOPIC, high_only=False))
    assert f"topic {TOPIC} has {many} records for {many * 2 / 100:.2f} USD" in notes(office.sync("people_intent"))


# ── a budget ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("stream", ["people_intent", "contacts", "visits"])
def test_a_run_stops_at_its_budget_says_what_the_rest_costs_and_the_next_one_goes_on(
    office: Office, stream: str
) -> None:
    office.index.research(TOPIC, *(f"ada{number}@customer.example" for number in range(12)))
    more: dict[str, Any] = {"page_size": 4, "contacts_per_call": 4, "intent_every_hours": 168}
    whole = records(office.sync(stream, **more))
    office.known.until.clear()
    found: dict[str, Record] = {}
    state: State | None = None
    before, runs = office.index.billed.total(), 0
    while len(found) < len(whole) and runs < 100:
        pages = office.sync(stream, state, **more, budget_per_run=7)
        runs, state = runs + 1, pages[-1].state
        assert office.index.billed.total() - before <= 7 * runs
        found |= records(pages)
        if len(found) < len(whole):
            assert "this run may take 7 records in all and has" in notes(pages)
            assert "the next sync goes on there" in notes(pages)
    assert runs > 1
    assert found.keys() == whole.keys()
    assert office.index.billed.total() - before == len(whole), "nothing was paid for twice"


def test_streams_of_one_run_share_its_budget(office: Office) -> None:
    async def both() -> None:
        client = office.client(budget_per_run=5, page_size=2)
        for stream in client.streams:
            async for _ in client.pages(stream, None):
                pass

    asyncio.run(both())
    assert office.index.billed.total() == 5


# ── who researches what ──────────────────────────────────────────────────────────────────────────────────────────────


def test_a_topic_is_read_once_in_its_interval_and_a_reading_is_of_one_day(office: Office) -> None:
    first = office.sync("people_intent", intent_every_hours=168)
    office.index.advance(days=6)
    again = office.sync("people_intent", first[-1].state, intent_every_hours=168)
    assert again == []
    office.index.advance(days=1)
    second = office.sync("people_intent", first[-1].state, intent_every_hours=168)
    assert {record.payload["at"] for record in records(first).values()} == {"2026-03-10"}
    assert {record.payload["at"] for record in records(second).values()} == {"2026-03-17"}


def test_the_count_stands_on_the_first_page_alone_and_nobody_needs_it(office: Office) -> None:
    office.index.research(TOPIC, *(f"ada{number}@customer.example" for number in range(7)))
    pages = office.sync("people_intent", page_size=3, topics=[TOPIC])
    assert len(records(pages)) == len(office.index.researchers("people", TOPIC, high_only=False)) > 6


def test_a_place_in_data_that_was_made_anew_begins_its_topic_again(office: Office) -> None:
    office.index.research(TOPIC, *(f"ada{number}@customer.example" for number in range(7)))
    state = next(page.state for page in office.sync("people_intent", page_size=3) if page.records)
    assert state
    stale = {**state, "walk": {**state["walk"], "cursor": "bm90aGluZw=="}}
    pages = office.sync("people_intent", stale)
    assert f"topic {TOPIC} begins again" in notes(pages)
    assert records(pages).keys() == records(office.sync("people_intent")).keys()


def test_an_order_that_changes_in_the_midst_of_a_reading_loses_nobody_until_the_next(office: Office) -> None:
    office.index.research(TOPIC, *(f"ada{number}@customer.example" for number in range(7)))
    state = next(page.state for page in office.sync("people_intent", page_size=3) if page.records)
    office.index.research(TOPIC, "late@customer.example")
    rest = office.sync("people_intent", state, page_size=3)
    found = records(rest) | records(office.sync("people_intent", rest[-1].state, page_size=3))
    assert f"{TOPIC}:{digest_of('late@customer.example')}:2026-03-10" in found


def test_a_row_without_its_key_goes_to_quarantine_and_the_others_go_on() -> None:
    for row in ({"score": "high"}, {"hem": ""}, "odd", None):
        assert isinstance(record_of("people", row, TOPIC, "2026-03-10", NOW, "row 1"), Rejected)


@pytest.mark.parametrize(
    "state", [{"version": 0}, {"version": 1, "read_at": {"a": 3}, "walk": None}, {"version": 1, "read_at": []}]
)
@pytest.mark.parametrize("stream", ["people_intent", "visits"])
def test_a_state_that_is_not_understood_begins_anew(office: Office, stream: str, state: dict[str, Any]) -> None:
    with pytest.raises(ResetState):
        office.sync(stream, state)


# ── who people are ───────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("by_digest", [False, True])
def test_nobody_is_asked_about_twice_while_what_is_known_is_fresh_nor_after_a_reading_from_the_start(
    office: Office, by_digest: bool
) -> None:
    office.known.emails.append("nobody@elsewhere.example")
    first = office.sync("contacts", contacts_by_digest=by_digest)
    assert {record.payload["email"] for record in records(first).values()} == set(office.known.emails[:-1])
    assert sorted(office.index.asked) == sorted(map(digest_of, office.known.emails))
    billed = office.index.billed.total()
    assert billed == len(records(first)), "whom the vendor does not know is not billed"
    assert office.sync("contacts", None, contacts_by_digest=by_digest) == []
    office.known.now += timedelta(days=90)
    assert len(records(office.sync("contacts", contacts_by_digest=by_digest))) == billed
    assert len(office.index.asked) == 2 * len(office.known.emails)


def test_asked_by_digest_no_address_leaves_the_house(office: Office) -> None:
    office.sync("contacts", contacts_by_digest=True)
    calls = office.log.of("/lookup")
    assert len(calls) == len(office.known.emails)
    assert not [call for call in calls if "example" in call.query or "%40" in call.query]


def test_a_contact_that_names_none_of_those_asked_about_goes_to_quarantine(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(office.index, "contact", lambda _known: {"first_name": "Ada", "job_title": "CEO"})
    (page,) = [page for page in office.sync("contacts") if page.asked]
    assert not page.records
    assert {refusal.reason for refusal in page.rejected} == {"has none of the addresses that were asked about"}


def test_without_knowing_anybody_there_is_no_stream_of_contacts(office: Office) -> None:
    config = office.client().config.model_dump(exclude_none=True)
    names = {stream.name for stream in catalogue.connect("delivrai", config).streams}
    assert names == {"people_intent", "company_intent", "visits"}


# ── who came to the website ──────────────────────────────────────────────────────────────────────────────────────────


def test_windows_are_25_hours_at_most_do_not_overlap_and_end_where_events_have_settled(office: Office) -> None:
    office.sync("visits", visits_history_days=3)
    asked = [dict(part.split("=") for part in call.query.split("&")) for call in office.log.of("/events/")]
    windows = sorted({(int(one["start_ms"]), int(one["end_ms"])) for one in asked})
    assert all(end - start < 25 * 3600 * 1000 for start, end in windows)
    assert all(after[0] == before[1] + 1 for before, after in pairwise(windows))
    last = datetime.fromtimestamp((windows[-1][1] + 1) / 1000, UTC)
    assert office.index.now - timedelta(hours=2) < last <= office.index.now - timedelta(minutes=15)
    with pytest.raises(Fatal, match="visits_window_hours"):
        office.client(visits_window_hours=26)


def test_the_next_reading_begins_where_the_last_window_ended_and_pays_for_nothing_again(office: Office) -> None:
    first = office.sync("visits")
    office.index.advance(days=2)
    second = office.sync("visits", first[-1].state)
    assert not records(first).keys() & records(second).keys()
    assert office.index.billed.total() == len(records(first)) + len(records(second))


def test_a_visit_that_tells_neither_its_time_nor_its_id_is_of_its_window() -> None:
    visit = visit_of({"current_business_email": "Ada@Acme.com"}, NOW, "row 1")
    assert isinstance(visit, Record)
    assert (visit.payload["email"], visit.source_updated_at) == ("ada@acme.com", NOW)
    assert visit.id == visit_of({"current_business_email": "Ada@Acme.com"}, NOW, "row 9").id  # type: ignore[union-attr]
    for told in (NOW.timestamp(), NOW.timestamp() * 1000, NOW.isoformat(), "2026-03-10T00:00:00"):
        assert visit_of({"timestamp": told}, NOW - timedelta(days=9), "").source_updated_at == NOW  # type: ignore[union-attr]


# ── what goes wrong ──────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("kind", FAULTS)
def test_with_a_fifth_of_all_answers_failing_everything_is_read(office: Office, kind: str) -> None:
    more: dict[str, Any] = {
        "page_size": 5,
        "contacts_per_call": 3,
        "timeout_seconds": 0.25,
        "attempts": 20,
        "visits_history_days": 9,
    }
    streams = ("people_intent", "contacts", "visits")
    whole = {stream: records(office.sync(stream, **more)) for stream in streams}
    office.known.until.clear()
    faults = Faults(seed=5, slow_seconds=0.02)
    with serve(office.index, faults) as served:
        office.url = served.url
        # only answers that hold records can hold them in disorder
        faults.rates = {kind: 0.6 if kind in DISORDERS else 0.2}
        found = {stream: records(office.sync(stream, **more)) for stream in streams}
    for stream in streams:
        told = {id: record.payload for id, record in found[stream].items()}
        assert told == {id: record.payload for id, record in whole[stream].items()}, stream
    assert faults.done[kind], "nothing went wrong, so nothing was shown"


@pytest.mark.parametrize(
    ("set_up", "error", "says"),
    [
        ({"is_out_of_credit": True}, Fatal, "credit"),
        ({"api_secret": "rotated"}, Reauthorise, "Make an API client"),
        ({"is_closed": True}, Fatal, "not found"),
    ],
)
def test_each_refusal_leads_to_its_action(
    office: Office, set_up: dict[str, Any], error: type[Exception], says: str
) -> None:
    client = office.client()
    for name, value in set_up.items():
        setattr(office.index, name, value)
    with pytest.raises(error, match=says):
        asyncio.run(_to_its_end(client, "people_intent"))


def test_a_vendor_that_is_busy_is_waited_for_as_long_as_it_says(office: Office) -> None:
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    office.faults.next("503", containing="/intent/")
    asyncio.run(_to_its_end(office.client(sleep), "people_intent"))
    assert waits == [0.0], "its Retry-After, and no backoff of ours"


def test_a_pause_that_does_not_end_is_told_with_its_time(office: Office) -> None:
    office.faults.rates = {"429": 1.0}
    with pytest.raises(WaitUntil):
        asyncio.run(_to_its_end(office.client(attempts=2), "people_intent"))


def test_calls_keep_to_the_limit_that_the_organisation_has(office: Office) -> None:
    client = office.client(calls_per_second=100)
    asyncio.run(client.check())
    assert client._calls_per_second == 25


def test_neither_key_nor_secret_is_in_a_log_or_in_the_vendors_log(
    office: Office, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    for stream in ("people_intent", "contacts"):
        office.sync(stream)
    told = caplog.text + str(office.log.as_json()) + repr(office.client().config)
    for secret in (office.index.api_key, office.index.api_secret):
        assert secret not in told


async def _to_its_end(client: Client, name: str) -> list[Page]:
    stream = next(one for one in client.streams if one.name == name)
    return [page async for page in client.pages(stream, None)]
