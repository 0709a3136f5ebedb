"""The sandbox behaves as Graph does where that cost others rows."""

from datetime import timedelta
from typing import Any

import httpx
import pytest

from sandbox.graph import Directory, Faults, create_app
from sandbox.graph.directory import CANARY
from sandbox.graph.world import Party
from tests.sandbox.caller import InThisProcess

ADA = Party("Ada", "ada@acme.example")
STABLE = {"Prefer": 'IdType="ImmutableId", odata.maxpagesize=2'}


class Caller:
    def __init__(self, directory: Directory) -> None:
        self.directory, self.faults = directory, Faults()
        app = create_app(directory, self.faults)
        self.http = httpx.Client(base_url="http://graph.example", transport=InThisProcess(app))
        self.http.headers["Authorization"] = f"Bearer {self.token().json()['access_token']}"
        self.user = directory.mailboxes[0].id

    def token(self, **form: str) -> httpx.Response:
        asked = {
            "grant_type": "client_credentials",
            "client_id": "sandbox-client",
            "client_secret": "sandbox-secret",
            "scope": "https://graph.microsoft.com/.default",
        }
        return self.http.post("/sandbox-directory/oauth2/v2.0/token", data={**asked, **form})

    def get(self, path: str, **headers: str) -> httpx.Response:
        return self.http.get(path, headers={**STABLE, **headers})

    def round(self, path: str) -> tuple[list[dict[str, Any]], str]:
        """All items of a round of changes, and the link to the next."""
        found = []
        while True:
            page = self.get(path).json()
            found += page["value"]
            if "@odata.deltaLink" in page:
                return found, page["@odata.deltaLink"]
            path = page["@odata.nextLink"]

    def folder(self, name: str = "inbox") -> str:
        return f"/v1.0/users/{self.user}/mailFolders/{name}/messages/delta"

    def calendar(self) -> str:
        first, last = self.directory.now - timedelta(days=10), self.directory.now + timedelta(days=10)
        window = f"startDateTime={first:%Y-%m-%dT%H:%M:%SZ}&endDateTime={last:%Y-%m-%dT%H:%M:%SZ}"
        return f"/v1.0/users/{self.user}/calendarView/delta?{window}"

    def code(self, answer: httpx.Response) -> str:
        return f"{answer.status_code} {answer.json()['error']['code']}"


@pytest.fixture
def caller() -> Caller:
    return Caller(Directory(seed=1, accounts=2, is_empty=True))


def test_a_round_of_changes_has_pages_and_ends_with_a_link_to_the_next(caller: Caller) -> None:
    ids = [caller.directory.receive(ADA) for _ in range(5)]
    first, link = caller.round(caller.folder())
    assert [item["id"] for item in first] == ids
    assert caller.round(link)[0] == []
    caller.directory.edit_message(ids[1], isRead=True)
    caller.directory.delete_message(ids[2])
    changed, _ = caller.round(link)
    assert [(item["id"], item.get("@removed")) for item in changed] == [(ids[1], None), (ids[2], {"reason": "deleted"})]


def test_what_changes_during_a_round_is_told_by_the_next(caller: Caller) -> None:
    ids = [caller.directory.receive(ADA) for _ in range(4)]
    page = caller.get(caller.folder()).json()
    caller.directory.edit_message(ids[0], isRead=True)
    caller.directory.edit_message(ids[3], isRead=True)
    rest, link = caller.round(page["@odata.nextLink"])
    assert [item["id"] for item in rest] == [ids[2]]
    assert [item["id"] for item in caller.round(link)[0]] == [ids[0], ids[3]]


def test_a_folder_that_is_filtered_by_time_is_cut_off(caller: Caller) -> None:
    caller.directory.filtered_at_most = 3
    ids = [caller.directory.receive(ADA) for _ in range(5)]
    assert len(caller.round(f"{caller.folder()}?$filter=receivedDateTime ge 2020-01-01")[0]) == 3
    assert len(caller.round(caller.folder())[0]) == len(ids)


def test_a_message_that_moves_is_removed_here_and_new_there_with_the_same_immutable_id(caller: Caller) -> None:
    id = caller.directory.receive(ADA)
    ordinary = caller.http.get(caller.folder()).json()["value"][0]["id"]
    _, inbox = caller.round(caller.folder())
    _, archive = caller.round(caller.folder("archive"))
    caller.directory.move(id, "archive")
    assert [(item["id"], "@removed" in item) for item in caller.round(inbox)[0]] == [(id, True)]
    assert [(item["id"], "@removed" in item) for item in caller.round(archive)[0]] == [(id, False)]
    assert caller.http.get(caller.folder("archive")).json()["value"][0]["id"] != ordinary


def test_a_lost_place_is_410_in_that_folder_alone(caller: Caller) -> None:
    _, inbox = caller.round(caller.folder())
    _, sent = caller.round(caller.folder("sentitems"))
    caller.directory.lose_places(0, "inbox")
    assert caller.code(caller.get(inbox)) == "410 SyncStateNotFound"
    assert caller.get(sent).status_code == 200


def test_a_link_that_was_not_followed_as_it_came_is_refused(caller: Caller) -> None:
    _, link = caller.round(caller.folder())
    assert caller.code(caller.get(link.replace("%2e", "."))) == "400 BadRequest"
    assert caller.code(caller.get(f"{link}&$select=id")) == "400 BadRequest"


def test_an_event_outside_the_window_comes_back_as_removed(caller: Caller) -> None:
    inside = caller.directory.meet((ADA,), caller.directory.now + timedelta(days=3))
    first, link = caller.round(caller.calendar())
    assert [item["id"] for item in first] == [inside]
    outside = caller.directory.meet((ADA,), caller.directory.now + timedelta(days=40))
    changed, _ = caller.round(link)
    assert [(item["id"], item["@removed"]["reason"]) for item in changed] == [(outside, "deleted")]
    assert caller.get(f"/v1.0/users/{caller.user}/events/{outside}").status_code == 200


def test_the_changes_of_a_calendar_take_no_select_and_so_tell_the_subject(caller: Caller) -> None:
    caller.directory.meet((ADA,), caller.directory.now)
    assert caller.code(caller.get(f"{caller.calendar()}&$select=id")) == "400 ErrorInvalidUrlQuery"
    ((event,), _) = caller.round(caller.calendar())
    assert CANARY in event["subject"]
    assert {"body", "bodyPreview"} & event.keys() == set()


def test_an_occurrence_says_little_but_when_and_its_series_is_on_the_same_page(caller: Caller) -> None:
    caller.directory.receive(ADA)
    ids = caller.directory.series((ADA,), caller.directory.now - timedelta(days=8), 3)
    page = caller.get(caller.calendar()).json()["value"]
    assert [item["type"] for item in page] == ["seriesMaster", *["occurrence"] * 3]
    assert [item["id"] for item in page[1:]] == ids
    assert "attendees" not in page[1]


@pytest.mark.parametrize(
    ("form", "refusal"),
    [
        ({"client_secret": "wrong"}, (401, "invalid_client")),
        ({"client_id": "wrong"}, (400, "unauthorized_client")),
        ({"scope": "Mail.Read"}, (400, "invalid_scope")),
    ],
)
def test_a_login_that_is_wrong_says_what(caller: Caller, form: dict[str, str], refusal: tuple[int, str]) -> None:
    answer = caller.token(**form)
    assert (answer.status_code, answer.json()["error"]) == refusal


def test_a_week_more_of_the_company_s_life_adds_to_its_mailboxes() -> None:
    grown, at_once = (Directory(seed=3, accounts=4, activities_per_year=1_500) for _ in range(2))
    before = sum(1 for _ in grown.messages())
    grown.advance(days=21)
    assert sum(1 for _ in grown.messages()) > before
    at_once.advance(days=21)
    assert list(grown.messages()) == list(at_once.messages())
    assert list(grown.events()) == list(at_once.events())
