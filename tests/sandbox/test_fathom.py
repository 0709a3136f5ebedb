"""The Fathom of the sandbox behaves as the vendor's does, also where that costs whoever reads it rows."""

from collections import Counter

import httpx
import pytest

from sandbox.fathom import Studio, create_app
from sandbox.fathom.studio import CANARY, invitee
from sandbox.salesforce.faults import Faults
from tests.sandbox.caller import InThisProcess

HOUR = 3600


@pytest.fixture
def studio() -> Studio:
    return Studio(seed=1, accounts=3, activities_per_year=600)


@pytest.fixture
def faults() -> Faults:
    return Faults()


@pytest.fixture
def http(studio: Studio, faults: Faults) -> httpx.Client:
    way = InThisProcess(create_app(studio, faults))
    headers = {"X-Api-Key": studio.api_key}
    return httpx.Client(base_url="http://fathom.example/external/v1", headers=headers, transport=way)


def test_pages_hold_ten_and_are_numbered_so_what_is_new_moves_them(studio: Studio, http: httpx.Client) -> None:
    first = http.get("/meetings").json()
    assert len(first["items"]) == 10
    studio.record(invitee("New", "new@customer.example"))
    second = http.get("/meetings", params={"cursor": first["next_cursor"]}).json()
    assert second["items"][0]["recording_id"] == first["items"][-1]["recording_id"]


def test_what_was_said_comes_hours_later(studio: Studio, http: httpx.Client) -> None:
    meeting = studio.record(invitee("Ada", "ada@customer.example"))

    def said() -> tuple[object, object]:
        asked = {"include_transcript": "true", "include_summary": "true"}
        shown = next(
            one for one in http.get("/meetings", params=asked).json()["items"] if one["recording_id"] == meeting
        )
        return shown["transcript"], shown["default_summary"]

    assert said() == (None, None)
    studio.advance(seconds=3 * HOUR)
    transcript, summary = said()
    assert CANARY in str(transcript)
    assert summary is None
    studio.advance(seconds=2 * HOUR)
    assert CANARY in str(said()[1])
    assert http.get(f"/recordings/{meeting}/summary").json()["summary"] == said()[1]


def test_to_an_oauth_app_the_list_refuses_what_was_said_and_the_recordings_tell_it(
    studio: Studio, http: httpx.Client
) -> None:
    studio.advance(days=1)
    del http.headers["X-Api-Key"]
    http.headers["Authorization"] = f"Bearer {studio.access_token}"
    assert http.get("/meetings", params={"include_transcript": "true"}).status_code == 400
    meeting = http.get("/meetings").json()["items"][0]["recording_id"]
    assert http.get(f"/recordings/{meeting}/transcript").json()["transcript"]


def test_a_call_too_many_is_told_with_what_is_left_of_the_minute(http: httpx.Client, faults: Faults) -> None:
    faults.next("429")
    refused = http.get("/meetings")
    assert refused.status_code == 429
    assert refused.headers["RateLimit-Reset"] == "0"
    assert "Retry-After" not in refused.headers


def test_without_a_key_nothing_opens(http: httpx.Client) -> None:
    assert http.get("/meetings", headers={"X-Api-Key": "other"}).status_code == 401


def test_whoever_attended_by_the_world_s_account_was_invited_and_spoke(studio: Studio) -> None:
    people = {person.id: person for person in studio.company.people}
    by_address, by_name, by_words = set(), set(), set()
    for made in studio.shown():
        at = studio.meeting(made.id)["scheduled_start_time"]
        came = [one for one in made.invitees if one["is_external"] and one["matched_speaker_display_name"]]
        by_address |= {(one["email"], at) for one in came if one["email"]}
        by_name |= {(one["name"], at) for one in came if not one["email"]}
        by_words |= {(name, at) for name in made.uninvited}
    latest = max(at for _, at in by_address)
    ways = Counter[str]()
    for activity in studio.company.activities:
        who = people.get(activity.person_id)
        if activity.type == "meeting_attend" and who and who.email and activity.occurred_at <= latest:
            name = (f"{who.last_name.upper()}, {who.first_name}", activity.occurred_at)
            ways["address"] += (who.email, activity.occurred_at) in by_address
            ways["name"] += name in by_name
            ways["words"] += name in by_words
            ways["all"] += 1
    assert ways["address"] > ways["name"] > 0
    assert ways["words"] > 0
    assert ways.total() == 2 * ways["all"]
