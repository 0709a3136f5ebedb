"""The Fathom connector against recordings that behave like Fathom's; the names of many tests are traps of its API."""

import asyncio
import logging
from dataclasses import dataclass, field
from random import Random
from typing import Any

import httpx
import pytest

from connectors import catalogue
from connectors.contract import Consent, Fatal, Reauthorise, Record, ResetState, State, WaitUntil
from connectors.fathom.client import Client
from connectors.fathom.pages import recording_of
from connectors.http import Clock
from sandbox.fathom import Studio, create_app, serve
from sandbox.fathom.app import LISTS
from sandbox.fathom.studio import CANARY, invitee
from sandbox.salesforce.faults import KINDS, Faults
from sandbox.salesforce.log import Log
from tests.connectors.contract_suite.fathom import unsaid
from tests.connectors.test_salesforce import Raw

HOUR = 3600
FAULTS = [kind for kind in KINDS if kind not in ("expired", "quota")]


ALLOWED = Consent(accepted=True)


@dataclass
class Site:
    """Recordings in this process, and connectors that were told of them."""

    studio: Studio
    url: str = "http://fathom.example/external/v1"
    faults: Faults = field(default_factory=lambda: Faults(lists=LISTS))
    log: Log = field(default_factory=Log)
    is_served: bool = False

    def config(self, **more: Any) -> dict[str, Any]:
        way_in = {} if "access_token" in more else {"api_key": self.studio.api_key}
        quick = {"calls_per_minute": 6_000_000, "backoff_seconds": 0.001, "timeout_seconds": 5, "history_days": 410}
        return {"base_url": self.url, **way_in, **quick, **more}

    def client(self, consent: Consent | None = ALLOWED, clock: Clock | None = None, **more: Any) -> Client:
        way = None if self.is_served else httpx.ASGITransport(create_app(self.studio, self.faults, self.log))
        return Client(self.config(**more), None, consent, transport=way, clock=clock, dice=Random(1))

    def sync(self, stream: str, raw: Raw | None = None, *, pages: int | None = None, **more: Any) -> Raw:
        client = self.client(**more)
        asyncio.run(client.check())
        return (Raw() if raw is None else raw).read(client, stream, pages)

    def meetings(self) -> dict[str, dict[str, Any]]:
        return {str(one.id): unsaid(self.studio.meeting(one.id)) for one in self.studio.shown()}


@pytest.fixture
def site() -> Site:
    return Site(Studio(seed=3, accounts=4, activities_per_year=300))


def test_all_meetings_are_read_in_pages_of_ten_that_nobody_can_make_larger(site: Site) -> None:
    raw = site.sync("meetings")
    assert raw.payloads == site.meetings()
    assert len(site.log.of("/meetings")) >= len(site.meetings()) / 10
    assert not [call for call in site.log.calls if "limit" in call.query]


def test_a_meeting_is_landed_without_a_word_of_what_was_said(site: Site) -> None:
    site.studio.advance(days=1)
    for stream in ("meetings", "participants"):
        raw = site.sync(stream)
        assert CANARY not in str(raw.payloads)
        assert not [name for payload in raw.payloads.values() for name in payload if name in ("transcript", "said")]


def test_without_consent_there_is_no_stream_of_what_was_said(site: Site) -> None:
    for consent in (None, Consent()):
        client = site.client(consent)
        assert [stream.name for stream in client.streams] == ["meetings", "participants"]
    assert not [call for call in site.log.calls if "include_" in call.query]


def test_a_transcript_and_a_summary_that_come_hours_later_are_found_by_looking_again(site: Site) -> None:
    meeting = str(site.studio.record(invitee("Ada", "ada@customer.example")))
    raw = site.sync("transcripts")
    assert meeting not in raw.payloads
    site.studio.advance(seconds=3 * HOUR)
    site.sync("transcripts", raw)
    assert "default_summary" not in raw.payloads[meeting]
    site.studio.advance(days=2)
    site.sync("transcripts", raw)
    assert {"transcript", "default_summary"} <= raw.payloads[meeting].keys()


def test_who_spoke_uninvited_is_a_record_and_who_is_known_from_the_invitation_is_not(
    site: Site,
) -> None:
    meeting = site.studio.record(
        invitee("Ada", "ada@customer.example"),
        invitee("Host", "rep0@seller.example", is_external=False),
        uninvited=["Bo Ek", "bo ek", "Cy"],
    )
    site.studio.advance(days=1)
    raw = site.sync("transcripts")
    ours = {id: payload for id, payload in raw.payloads.items() if id.startswith(f"{meeting}:")}
    assert ours.keys() == {f"{meeting}:speaker:bo ek", f"{meeting}:speaker:cy"}
    bo = ours[f"{meeting}:speaker:bo ek"]
    assert (bo["kind"], bo["name"], bo["email"], bo["company_domain"]) == ("Spoke", "Bo Ek", None, "customer.example")
    assert CANARY not in str(ours)


def test_to_an_app_that_somebody_logged_in_the_list_tells_nothing_of_what_was_said(site: Site) -> None:
    site.studio.advance(days=1)
    by_key = site.sync("transcripts").payloads
    asked = len(site.log.calls)
    by_app = site.sync("transcripts", access_token=site.studio.access_token, history_days=410).payloads
    assert by_app == by_key
    assert by_key
    assert not [call for call in site.log.calls[asked:] if "include_" in call.query or call.status >= 400]
    assert [call for call in site.log.calls[asked:] if call.path.endswith("/transcript")]


def test_a_meeting_that_is_recorded_while_pages_are_read_moves_none_of_them(site: Site) -> None:
    raw = site.sync("meetings", pages=1)
    site.studio.record(invitee("New", "new@customer.example"))
    site.sync("meetings", raw)
    site.sync("meetings", raw)
    assert raw.payloads == site.meetings()


def test_everybody_who_was_invited_is_a_record_by_address_or_else_by_name(site: Site) -> None:
    meeting = site.studio.record(
        invitee("Ada", "Ada@Customer.example"), invitee("Eric's iPad (Acme)", None), invitee(None, None)
    )
    raw = site.sync("participants")
    ours = {id for id in raw.payloads if id.startswith(f"{meeting}:")}
    assert ours == {f"{meeting}:ada@customer.example", f"{meeting}:eric's ipad (acme)"}


def test_an_id_is_a_number_also_where_it_comes_as_text() -> None:
    assert recording_of({"recording_id": 123}) == recording_of({"recording_id": "123"}) == 123
    assert recording_of({"recording_id": "abc"}) is recording_of({"recording_id": True}) is recording_of("x") is None


def test_fields_that_one_copy_of_the_description_has_and_another_lacks_are_not_needed(site: Site) -> None:
    page = {"items": [{"recording_id": 5, "title": "Bare"}, {"title": "nameless", "transcript": [CANARY]}]}
    answer = httpx.Response(200, json=page)
    client, raw = Client(site.config(), transport=httpx.MockTransport(lambda _request: answer)), Raw()

    async def reading() -> None:
        async for landed in client.pages(client.streams[0], None):
            raw.land(landed)

    asyncio.run(reading())
    assert raw.payloads == {"5": {"recording_id": 5, "title": "Bare", "kind": "Recorded", "at": None, "address": None}}
    assert [refused.reason for refused in raw.refused] == ["has no recording_id"]
    assert CANARY not in str(raw.refused)


def test_a_list_that_goes_round_ends_with_a_sentence(site: Site) -> None:
    answer = httpx.Response(200, json={"items": [], "next_cursor": "eyJwYWdlX251bSI6Mn0="})
    client = Client(site.config(), transport=httpx.MockTransport(lambda _request: answer))

    async def reading() -> None:
        async for _ in client.pages(client.streams[0], None):
            pass

    with pytest.raises(Fatal, match="where it had been before"):
        asyncio.run(reading())


def test_how_long_to_wait_is_what_is_left_of_the_minute(site: Site) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    answers = [httpx.Response(429, headers={"RateLimit-Reset": "7"}), httpx.Response(200, json={"items": []})]
    client = Client(
        site.config(), transport=httpx.MockTransport(lambda _request: answers.pop(0)), clock=Clock(sleep=sleep)
    )
    assert asyncio.run(client.check()).ok
    assert slept == [7.0]


def test_sixty_calls_a_minute_are_kept_before_they_are_refused(site: Site) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    client = site.client(None, Clock(sleep=sleep), calls_per_minute=2)

    async def reading() -> None:
        async for _ in client.pages(client.streams[0], None):
            pass

    asyncio.run(reading())
    # the first two go at once
    assert len(slept) == len(site.log.calls) - 2 > 0
    assert sum(slept) > 50


def test_a_key_that_is_refused_asks_for_a_person_and_is_not_repeated(site: Site) -> None:
    health = asyncio.run(site.client(api_key="wrong-key-123").check())
    assert not health.ok
    assert "Make an API key" in health.message
    assert "wrong-key-123" not in health.message
    with pytest.raises(Reauthorise):
        site.sync("meetings", api_key="wrong-key-123")


def test_a_pause_that_does_not_end_is_given_up(site: Site) -> None:
    site.faults.rates = {"429": 1.0}
    with pytest.raises(WaitUntil, match="asks for a pause"):
        site.sync("meetings", attempts=3)


@pytest.mark.parametrize("kind", [*FAULTS, "everything"])
def test_with_a_fifth_of_all_requests_failing_every_meeting_is_there(kind: str) -> None:
    faults = Faults(seed=5, hang_seconds=2, slow_seconds=0.02)
    if kind == "everything":
        faults.everything(0.2, without=("expired", "quota"))
    else:
        faults.rates = {kind: 0.3}
    with serve(Studio(seed=7, accounts=3, activities_per_year=300), faults) as served:
        site = Site(served.studio, served.url, served.faults, served.log, is_served=True)
        site.studio.advance(days=1)
        assert site.sync("meetings", timeout_seconds=0.25, attempts=20).payloads == site.meetings()
        assert site.sync("participants", timeout_seconds=0.25, attempts=20).payloads
        words = site.sync("transcripts", timeout_seconds=0.25, attempts=20).payloads
        assert {record for record in words if ":" not in record} == site.meetings().keys()
        assert sum(faults.done.values()) > 0


@pytest.mark.parametrize("state", [{"version": 99}, {"version": 1}, {"version": 1, "read_upto": "x", "walk": None}])
def test_a_state_that_is_not_understood_asks_to_be_reset(site: Site, state: State) -> None:
    with pytest.raises(ResetState):
        site.sync("meetings", Raw(state=state))


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({}, "either an api_key or the access_token"),
        ({"api_key": "k", "access_token": "t"}, "either an api_key or the access_token"),
        ({"api_key": "k", "base_url": "fathom.ai"}, "must be an address"),
        ({"api_key": "k", "streams": ["calls"]}, "knows no calls"),
    ],
)
def test_a_wrong_configuration_is_refused_in_a_sentence(wrong: dict[str, Any], says: str) -> None:
    with pytest.raises(Fatal, match=f"fathom: .*{says}"):
        Client(wrong)


def test_the_key_stands_in_no_log_and_no_address(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    site.faults.next("500", times=2)
    site.sync("meetings")
    assert site.studio.api_key not in caplog.text
    assert not [call for call in site.log.calls if site.studio.api_key in f"{call.path}?{call.query}"]
    assert catalogue.is_secret("fathom", "api_key")
    assert catalogue.is_secret("fathom", "access_token")


def test_a_webhook_tells_of_the_same_records_as_the_list_and_of_what_was_said_by_consent_alone(site: Site) -> None:
    meeting = site.studio.record(invitee("Ada", "ada@customer.example"))
    site.studio.advance(days=1)
    event = site.studio.meeting(meeting) | {"transcript": site.studio.transcript(meeting)}
    told = list(site.client().heard(event))
    assert [stream for stream, _ in told] == ["meetings", "participants", "transcripts"]
    listed = site.sync("meetings").versions[str(meeting)][-1]
    heard = told[0][1]
    assert isinstance(heard, Record)
    assert heard.payload == listed.payload
    assert heard.source_updated_at is not None
    assert listed.source_updated_at is not None
    assert heard.source_updated_at <= listed.source_updated_at
    without = list(site.client(None).heard(event))
    assert [stream for stream, _ in without] == ["meetings", "participants"]
    assert CANARY not in str(without)
