"""The Customer.io connector against a workspace that behaves like Customer.io.

The names of many tests are traps that its documentation names in passing, or that cost other connectors rows.
"""

import asyncio
import hmac
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import httpx
import orjson
import pytest

from connectors import catalogue
from connectors.contract import Fatal, Reauthorise, Record, Rejected, ResetState, State, WaitUntil
from connectors.customerio.client import Client
from connectors.http import Clock
from connectors.pace import Pace
from sandbox.customerio import Workspace, create_app, serve
from sandbox.customerio.app import LISTS
from sandbox.salesforce.faults import KINDS, Faults
from sandbox.salesforce.log import Log
from tests.connectors.contract_suite.customerio import events, flat
from tests.connectors.test_salesforce import Raw

DAY = 24 * 3600
# a key has no session that could expire, and no day's quota
FAULTS = [kind for kind in KINDS if kind not in ("expired", "quota")]


@dataclass
class Site:
    """A workspace in this process, and connectors that were told of it."""

    workspace: Workspace
    url: str = "http://customerio.example"
    faults: Faults = field(default_factory=lambda: Faults(lists=LISTS))
    log: Log = field(default_factory=Log)
    is_served: bool = False

    def config(self, **more: Any) -> dict[str, Any]:
        quick = {"calls_per_second": 100_000, "backoff_seconds": 0.001, "timeout_seconds": 5}
        # a little more than the invented world has: what was opened at its beginning was sent before
        quick["history_days"] = 410
        return {"base_url": self.url, "api_key": self.workspace.api_key, **quick, **more}

    def client(self, clock: Clock | None = None, **more: Any) -> Client:
        way = None if self.is_served else httpx.ASGITransport(create_app(self.workspace, self.faults, self.log))
        return Client(self.config(**more), transport=way, clock=clock, dice=Random(1))

    def sync(self, stream: str, raw: Raw | None = None, *, pages: int | None = None, **more: Any) -> Raw:
        return (Raw() if raw is None else raw).read(self.client(**more), stream, pages)

    def messages(self) -> dict[str, Mapping[str, Any]]:
        """What came of every message, as raw must hold it."""
        shown = (self.workspace.message(message) for _, message in self.workspace.messages())
        return {id: payload for message in shown for id, payload in events(message)}

    def people(self) -> dict[str, Mapping[str, Any]]:
        return {who: flat(self.workspace.person(who)) for who in self.workspace.people()}


@pytest.fixture
def site() -> Site:
    return Site(Workspace(seed=3, accounts=2, activities_per_year=60))


@contextmanager
def behind_a_server(faults: Faults) -> Iterator[Site]:
    with serve(Workspace(seed=7, accounts=3, activities_per_year=120), faults) as served:
        yield Site(served.workspace, served.url, served.faults, served.log, is_served=True)


# ── messages ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_open_two_weeks_after_the_mail_is_not_lost_though_only_the_making_is_asked_for(site: Site) -> None:
    reader = site.workspace.people()[0]
    message = site.workspace.send(reader)
    raw = site.sync("messages")
    site.workspace.advance(days=13)
    site.workspace.happen(message, "opened")
    site.sync("messages", raw)
    assert raw.payloads[f"{message}:opened"]["is_human"] is True
    assert raw.payloads == site.messages()


def test_what_is_opened_later_than_is_read_again_is_found_by_a_longer_look(site: Site) -> None:
    message = site.workspace.send(site.workspace.people()[0])
    raw = site.sync("messages")
    site.workspace.advance(days=16)
    site.sync("messages", raw)
    site.workspace.advance(days=1)
    site.workspace.happen(message, "opened")
    site.sync("messages", raw)
    assert f"{message}:opened" not in raw.payloads
    site.sync("messages", raw, reread_days=30)
    assert f"{message}:opened" in raw.payloads


def test_of_more_than_six_months_the_vendor_shows_the_last_six_and_says_nothing(site: Site) -> None:
    raw = site.sync("messages")
    assert raw.payloads == site.messages()
    made = [created for created, _ in site.workspace.messages()]
    assert site.workspace.seconds - min(made) > 300 * DAY
    windows = {call.query.partition("start_ts=")[2].partition("&")[0] for call in site.log.of("/messages")}
    assert len(windows) >= 3


def test_what_a_machine_opened_is_kept_apart_from_what_a_person_did(site: Site) -> None:
    by_machine, by_person = (site.workspace.send(site.workspace.people()[0]) for _ in range(2))
    site.workspace.happen(by_machine, "opened", by_machine=True)
    site.workspace.happen(by_person, "opened")
    raw = site.sync("messages")
    assert raw.payloads[f"{by_machine}:opened"]["is_human"] is False
    assert raw.payloads[f"{by_person}:opened"]["is_human"] is True
    # the person comes an hour after the machine: it is theirs, and at their time
    site.workspace.advance(seconds=3600)
    site.workspace.happen(by_machine, "opened")
    site.sync("messages", raw)
    assert raw.payloads[f"{by_machine}:opened"]["is_human"] is True
    assert raw.payloads == site.messages()


def test_a_count_of_people_who_opened_is_no_time() -> None:
    client = Client({"api_key": "k"})
    told = {"id": "m", "metrics": {"opened": 1_772_000_000, "human_opened": 1}}
    outcome = client.replay(next(s for s in client.streams if s.name == "messages"), told, None)
    assert isinstance(outcome, Record)
    assert (outcome.payload["is_human"], outcome.payload["occurred_at"]) == (True, "2026-02-25T06:13:20Z")


def test_the_stamp_of_a_message_is_that_of_its_latest_change(site: Site) -> None:
    message = site.workspace.send(site.workspace.people()[0])
    raw = site.sync("messages")
    site.workspace.advance(days=1)
    site.workspace.edit_message(message, subject="Another")
    site.sync("messages", raw)
    stamps = [record.source_updated_at for record in raw.versions[f"{message}:sent"]]
    assert stamps[-1] == site.workspace.now
    assert len(stamps) == 2


def test_a_mail_that_is_opened_makes_no_new_version_of_its_sending(site: Site) -> None:
    message = site.workspace.send(site.workspace.people()[0])
    raw = site.sync("messages")
    site.workspace.happen(message, "opened")
    site.workspace.happen(message, "clicked")
    site.sync("messages", raw)
    assert len(raw.versions[f"{message}:sent"]) == 1


def test_a_place_in_a_list_with_a_plus_in_it_arrives_with_a_plus(site: Site) -> None:
    raw = site.sync("messages", page_size=1)
    places = [call.query for call in site.log.of("/messages") if "start=" in call.query]
    assert len(places) > 3
    assert all("start=%2B" in place for place in places)
    assert {call.status for call in site.log.calls} == {200}
    assert raw.payloads == site.messages()


def test_killed_after_any_page_and_resumed_nothing_is_missing_and_little_is_asked_twice(site: Site) -> None:
    site.sync("messages", page_size=10)
    whole = len(site.log.of("/messages"))
    raw, before = Raw(), len(site.log.of("/messages"))
    while raw.state is None or raw.state["walk"] is not None:
        site.sync("messages", raw, pages=1, page_size=10)
    assert raw.payloads == site.messages()
    # a page that was fetched ahead of a kill is fetched again
    assert len(site.log.of("/messages")) - before <= 2 * whole


def test_a_list_that_goes_round_ends_with_a_sentence(site: Site) -> None:
    page = httpx.Response(200, json={"segments": [], "messages": [], "next": "MDE5fHx8"})

    async def always(_request: httpx.Request) -> httpx.Response:
        return page

    client = Client(site.config(), transport=httpx.MockTransport(always))

    async def reading() -> None:
        async for _ in client.pages(next(s for s in client.streams if s.name == "messages"), None):
            pass

    with pytest.raises(Fatal, match="where it had been before"):
        asyncio.run(reading())


# ── people ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_there_is_no_list_of_all_people_so_whoever_has_an_address_is_asked_for(site: Site) -> None:
    nobody = site.workspace.add_person(None, first_name="Nobody")
    raw = site.sync("people")
    assert raw.payloads == {who: payload for who, payload in site.people().items() if who != nobody}


def test_a_segment_says_who_is_read(site: Site) -> None:
    stranger, *_ = site.workspace.people()
    site.workspace.profiles[stranger].segments.clear()
    raw = site.sync("people", people_segment=7)
    assert set(raw.payloads) == set(site.people()) - {stranger}


def test_a_segment_that_is_not_there_is_said_before_anything_is_read(site: Site) -> None:
    health = asyncio.run(site.client(people_segment=99).check())
    assert not health.ok
    assert "no segment 99" in health.message


def test_between_two_whole_readings_only_those_are_asked_for_who_changed(site: Site) -> None:
    raw = site.sync("people")
    # the log of the last day is read again each time
    site.workspace.advance(days=2)
    site.sync("people", raw, people_whole_every_hours=1_000)
    newcomer = site.workspace.add_person("new@customer.example")
    renamed = site.workspace.people()[0]
    site.workspace.set_attribute(renamed, "title", "CEO")
    asked = len(site.log.of("/customers"))
    site.sync("people", raw, people_whole_every_hours=1_000)
    assert raw.payloads == site.people()
    assert [call.path for call in site.log.of("/customers")[asked:]] == ["/v1/customers/attributes"]
    assert {newcomer, renamed} <= raw.payloads.keys()


def test_a_person_who_was_deleted_is_told_by_the_log_alone(site: Site) -> None:
    raw = site.sync("people")
    leaver = site.workspace.people()[0]
    site.workspace.delete_person(leaver)
    site.sync("people", raw)
    assert raw.deleted == {leaver}
    # what was known of them does not come back with the notice
    assert raw.versions[leaver][-1].payload == {"cio_id": leaver}
    site.sync("people", raw)
    assert len(raw.versions[leaver]) == 2


def test_after_more_than_thirty_days_it_is_said_that_deletions_are_unknown(site: Site) -> None:
    raw, log = site.sync("people"), site.sync("activities")
    leaver = site.workspace.people()[0]
    site.workspace.delete_person(leaver)
    site.workspace.advance(days=40)
    site.sync("people", raw)
    site.sync("activities", log)
    assert leaver not in raw.deleted
    assert any("more than 30 days ago" in note for note in raw.notes)
    assert any("keeps no more" in note for note in log.notes)


def test_a_mail_to_somebody_is_no_change_of_them_though_an_attribute_says_so(site: Site) -> None:
    raw = site.sync("people")
    site.workspace.advance(days=2)
    site.sync("people", raw)
    assert {len(versions) for who, versions in raw.versions.items()} == {1}
    assert not [name for payload in raw.payloads.values() for name in payload if name.startswith("_")]
    assert not [payload for payload in raw.payloads.values() if "devices" in payload]


def test_an_attribute_that_was_taken_away_is_gone_though_its_time_goes_with_it(site: Site) -> None:
    who = site.workspace.people()[0]
    site.workspace.set_attribute(who, "plan", "gold")
    raw = site.sync("people")
    site.workspace.drop_attribute("plan")
    site.workspace.advance(seconds=60)
    site.sync("people", raw)
    assert "plan" not in raw.payloads[who]
    stamps = [record.source_updated_at for record in raw.versions[who]]
    assert stamps == sorted(stamps)  # type: ignore[type-var]


def test_a_segment_that_is_suddenly_empty_can_be_refused(site: Site) -> None:
    raw = site.sync("people", people_segment=7)
    assert raw.counts == [len(site.people())]


# ── activities and the short lists ───────────────────────────────────────────────────────────────────────────────────


def test_pages_of_activities_hold_a_hundred_though_messages_come_by_thousands(site: Site) -> None:
    for _ in range(120):
        site.workspace.act(site.workspace.people()[0], "page", "https://seller.example/pricing")
    raw = site.sync("activities", page_size=1_000)
    assert sum(payload["type"] == "page" for payload in raw.payloads.values()) >= 120
    assert {call.status for call in site.log.calls} == {200}


def test_an_activity_that_comes_a_day_late_is_found(site: Site) -> None:
    raw = site.sync("activities")
    site.workspace.advance(days=1)
    late = site.workspace.act(site.workspace.people()[0], "event", "demo_requested", ago=DAY + 3600)
    site.sync("activities", raw)
    assert late in raw.payloads


def test_types_that_are_wanted_later_are_read_from_their_beginning(site: Site) -> None:
    site.workspace.act(site.workspace.people()[0], "viewed_content", "banner")
    raw = site.sync("activities")
    assert "viewed_content" not in {payload["type"] for payload in raw.payloads.values()}
    site.sync("activities", raw, activity_types=["event", "page", "viewed_content"])
    assert "viewed_content" in {payload["type"] for payload in raw.payloads.values()}


@pytest.mark.parametrize("kind", ["campaigns", "newsletters", "segments"])
def test_short_lists_are_read_whole(site: Site, kind: str) -> None:
    raw = site.sync(kind)
    assert raw.payloads == {str(thing["id"]): thing for thing in site.workspace.things(kind)}
    assert all(versions[-1].source_updated_at for versions in raw.versions.values())


# ── refusals, waits, faults ──────────────────────────────────────────────────────────────────────────────────────────


def answering(site: Site, response: httpx.Response, **more: Any) -> Client:
    return Client(site.config(attempts=2, **more), transport=httpx.MockTransport(lambda _request: response))


@pytest.mark.parametrize(
    ("status", "body", "says"),
    [
        (400, {"errors": [{"detail": "no segment 9", "status": "400"}]}, "no segment 9"),
        (403, {"meta": {"error": "Account is not authorized"}}, "Account is not authorized"),
        (422, {"errors": [{"detail": "takes 1", "status": "422", "source": {"pointer": "/ids"}}]}, r"takes 1 \(/ids\)"),
        (404, "nothing here", "nothing here"),
    ],
)
def test_each_of_the_three_wrappings_of_an_error_is_read(site: Site, status: int, body: Any, says: str) -> None:
    client = answering(site, httpx.Response(status, json=body))

    async def reading() -> None:
        async for _ in client.pages(next(s for s in client.streams if s.name == "campaigns"), None):
            pass

    with pytest.raises(Fatal, match=says):
        asyncio.run(reading())


def test_a_key_that_was_revoked_says_which_key_is_needed(site: Site) -> None:
    with pytest.raises(Reauthorise, match="App API key") as refusal:
        site.sync("campaigns", api_key="track-key-1234")
    assert "track-key-1234" not in str(refusal.value)
    assert len(site.log.calls) == 1


def test_a_429_without_a_word_is_waited_for_and_given_up_after_a_while(site: Site) -> None:
    site.faults.next("429", times=2)
    assert site.sync("campaigns").payloads
    site.faults.rates = {"429": 1.0}
    with pytest.raises(WaitUntil, match="asks for a pause"):
        site.sync("campaigns", attempts=3)


def test_no_more_calls_are_made_in_a_second_than_the_vendor_allows() -> None:
    now = [datetime(2026, 3, 10, tzinfo=UTC)]
    turns: list[datetime] = []

    async def sleep(seconds: float) -> None:
        now[0] += timedelta(seconds=seconds)

    pace = Pace(10, 1, Clock(now=lambda: now[0], sleep=sleep))

    async def calls() -> None:
        for _ in range(35):
            await pace.turn()
            turns.append(now[0])

    asyncio.run(calls())
    for first, eleventh in zip(turns, turns[10:], strict=False):
        assert eleventh - first >= timedelta(seconds=1)
    assert turns[-1] - turns[0] == timedelta(seconds=3)


def test_a_connector_keeps_that_pace(site: Site) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    client = site.client(Clock(sleep=sleep), calls_per_second=2, page_size=5)

    async def reading() -> None:
        async for _ in client.pages(next(s for s in client.streams if s.name == "messages"), None):
            pass

    asyncio.run(reading())
    assert len(slept) >= len(site.log.calls) - 4


@pytest.mark.parametrize("kind", [*FAULTS, "everything"])
def test_with_a_fifth_of_all_requests_failing_every_stream_holds_exactly_the_workspace_s_rows(kind: str) -> None:
    faults = Faults(seed=5, hang_seconds=2, slow_seconds=0.02)
    if kind == "everything":
        faults.everything(0.2, without=("expired", "quota"))
    else:
        faults.rates = {kind: 0.4}
    with behind_a_server(faults) as site:
        more: dict[str, Any] = {"timeout_seconds": 0.25, "page_size": 20, "attempts": 20}
        assert site.sync("messages", **more).payloads == site.messages()
        assert site.sync("people", **more).payloads == site.people()
        done = {site.workspace.act(site.workspace.people()[0], "event", f"event {number}") for number in range(50)}
        assert done <= site.sync("activities", **more).payloads.keys()
        for short in ("campaigns", "newsletters", "segments"):
            assert len(site.sync(short, **more).payloads) == len(site.workspace.things(short))
        assert sum(faults.done.values()) > 0


def test_one_odd_row_costs_itself_alone(site: Site) -> None:
    good = site.workspace.message(next(iter(site.workspace.deliveries)))
    rows = [good, {"metrics": {"sent": 1}}, "no object", {"id": "m", "metrics": None}]
    page = httpx.Response(200, json={"segments": [], "messages": rows, "next": ""})
    client, raw = answering(site, page, history_days=1), Raw()

    async def reading() -> None:
        async for landed in client.pages(next(s for s in client.streams if s.name == "messages"), None):
            raw.land(landed)

    asyncio.run(reading())
    assert raw.payloads == dict(events(good))
    assert [(refused.reason, refused.record_id) for refused in raw.refused] == [
        ("has no id", None),
        ("is not an object with fields", None),
        ("does not tell what became of the message", "m"),
    ]


# ── states, secrets, configurations ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("state", [{"version": 99}, {"version": 1}, {"cursor": "yesterday"}])
def test_a_state_that_is_not_understood_asks_to_be_reset(site: Site, state: State) -> None:
    with pytest.raises(ResetState):
        site.sync("messages", Raw(state=state))


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"api_key": ""}, "api_key"),
        ({"base_url": "api.customer.io"}, "must be an address"),
        ({"streams": ["peple"]}, "knows no peple"),
        ({"page_size": 2_000}, "page_size"),
        ({"api_secret": "x"}, "api_secret"),
    ],
)
def test_a_wrong_configuration_is_refused_in_a_sentence(wrong: dict[str, Any], says: str) -> None:
    with pytest.raises(Fatal, match=f"customerio: .*{says}") as refusal:
        Client({"api_key": "secret-key", **wrong})
    assert "secret-key" not in str(refusal.value)


def test_the_key_stands_in_no_log_and_no_address(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    site.faults.next("500", times=2)
    site.sync("campaigns")
    assert site.workspace.api_key not in caplog.text
    assert not [call for call in site.log.calls if site.workspace.api_key in f"{call.path}?{call.query}"]
    assert catalogue.is_secret("customerio", "api_key")
    assert site.workspace.api_key not in repr(site.client().config)


# ── webhooks ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def webhook(site: Site, message: str, metric: str, **data: Any) -> dict[str, Any]:
    shown = site.workspace.message(message)
    return {
        "event_id": f"e/{message}/{metric}",
        "object_type": "email",
        "metric": metric,
        "timestamp": shown["metrics"][metric],
        "data": {
            "delivery_id": message,
            "customer_id": shown["customer_id"],
            "identifiers": shown["customer_identifiers"],
            "recipient": shown["recipient"],
            "subject": shown["subject"],
            **data,
        },
    }


Heard = Callable[[dict[str, Any]], list[tuple[str, Record | Rejected]]]


@pytest.fixture
def heard(site: Site) -> Heard:
    return lambda event: list(site.client().heard(event))


def test_a_webhook_tells_of_the_same_record_as_the_list_will_and_is_never_later(site: Site, heard: Heard) -> None:
    message = site.workspace.send(site.workspace.people()[0])
    site.workspace.happen(message, "opened")
    ((stream, told),) = heard(webhook(site, message, "opened"))
    assert isinstance(told, Record)
    read = site.sync("messages").versions[told.id][-1]
    assert stream == "messages"
    for name in ("id", "type", "occurred_at", "is_human", "cio_id", "recipient", "subject"):
        assert told.payload[name] == read.payload[name], name
    assert told.source_updated_at is not None
    assert read.source_updated_at is not None
    assert told.source_updated_at <= read.source_updated_at


def test_an_open_that_was_made_in_advance_is_a_machine_s(site: Site, heard: Heard) -> None:
    message = site.workspace.send(site.workspace.people()[0])
    site.workspace.happen(message, "opened", by_machine=True)
    ((_, told),) = heard(webhook(site, message, "opened", prefetched=True))
    assert isinstance(told, Record)
    assert told.payload["is_human"] is False


def test_webhooks_about_something_else_are_let_go_and_half_ones_are_kept_for_people(site: Site, heard: Heard) -> None:
    message = site.workspace.send(site.workspace.people()[0])
    event = webhook(site, message, "sent")
    assert heard({**event, "object_type": "push"}) == []
    assert heard({**event, "metric": "converted"}) == []
    ((_, refused),) = heard({**event, "data": {}})
    assert isinstance(refused, Rejected)


def test_webhooks_are_signed_as_customer_io_signs() -> None:
    scheme = catalogue.webhooks("customerio")
    assert scheme is not None
    body, now = orjson.dumps({"event_id": "01E4", "metric": "sent"}), datetime(2026, 3, 10, tzinfo=UTC)
    sent_at = str(int(now.timestamp()))
    signature = hmac.digest(b"signing", f"v0:{sent_at}:".encode() + body, "sha256").hex()
    headers = {"x-cio-timestamp": sent_at, "x-cio-signature": signature}
    assert scheme("signing", headers, body, now) == "01E4"
