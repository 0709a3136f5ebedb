"""The Microsoft 365 connector against prism, a mock of Graph's own description, with a gate that refuses what it lacks.

Logins are our sandbox's, at the same address. The other direction is here as well: Microsoft's SDK drives our sandbox.
"""

import asyncio
import json
import subprocess
import uuid
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from connectors.contract import Consent, Fatal, Page, Retry, State, WaitUntil
from connectors.o365.client import Client
from connectors.o365.streams import STREAMS
from control import consent
from sandbox.graph import Directory, Served, serve
from sandbox.graph.world import Party
from steps import extract, provision
from tests.conftest import Tenant
from tests.connectors.contract_suite.o365 import config
from tests.contracts import foreign
from warehouse import database

PRISM_HAS = r"/v1\.0/users(/.*)?"
QUICK = {"backoff_seconds": 0.01, "attempts": 2, "timeout_seconds": 20, "folders": ["inbox"]}
USER = {"id": "u1", "mail": "rep0@seller.example", "userPrincipalName": "rep0@seller.example"}
ADA = {"emailAddress": {"name": "Ada", "address": "ada@acme.example"}}
MAIL = {
    "id": "m1",
    "from": ADA,
    "toRecipients": [{"emailAddress": {"address": "rep0@seller.example"}}],
    "sentDateTime": "2026-03-09T10:00:00Z",
    "lastModifiedDateTime": "2026-03-09T10:00:01Z",
    "internetMessageId": "<1@acme.example>",
}
EVENT = {
    "id": "e1",
    "iCalUId": "040000008200E00074C5B7101A82E008",
    "type": "singleInstance",
    "start": {"dateTime": "2026-03-09T10:00:00.0000000", "timeZone": "UTC"},
    "end": {"dateTime": "2026-03-09T10:30:00.0000000", "timeZone": "UTC"},
    "attendees": [{"type": "required", "status": {"response": "accepted"}, **ADA}],
}
FOLDER = "/v1.0/users/{user-id}/mailFolders/{mailFolder-id}/messages/delta"
CALENDAR = "/v1.0/users/{user-id}/calendarView/delta"
PLACES = {
    FOLDER: ("https://graph.microsoft.com/v1.0/users/u1/mailFolders/inbox/messages/delta", MAIL),
    CALENDAR: ("https://graph.microsoft.com/v1.0/users/u1/calendarView/delta", EVENT),
}


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with serve(Directory(seed=7, accounts=1, is_empty=True)) as served:
        yield served


def described(contracts: Path, *, ends: bool) -> dict[str, Any]:
    """Graph's description with answers that hold something; left to itself it says `string` for a link."""
    found: dict[str, Any] = yaml.safe_load((contracts / "graph.yaml").read_text(encoding="utf-8"))

    def answer(path: str, example: dict[str, Any]) -> None:
        found["paths"][path]["get"]["responses"]["200"] = {
            "description": "OK",
            "content": {"application/json": {"example": example}},
        }

    answer("/v1.0/users", {"value": [USER]})
    for path, (place, item) in PLACES.items():
        link = (
            ("@odata.deltaLink", f"{place}?$deltatoken=d1") if ends else ("@odata.nextLink", f"{place}?$skiptoken=s1")
        )
        answer(path, {"value": [item], link[0]: link[1]})
    for parameter in found["paths"][CALENDAR]["get"]["parameters"]:
        # the description wants the window in every call; in a link it is part of the token
        parameter.pop("required", None)
    return found


@pytest.fixture(scope="module")
def prism(contracts: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Its lists never end: each page leads to the same next one."""
    yield from mocked(described(contracts, ends=False), tmp_path_factory.mktemp("endless"))


@pytest.fixture(scope="module")
def ending_prism(contracts: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    yield from mocked(described(contracts, ends=True), tmp_path_factory.mktemp("ending"))


def mocked(description: dict[str, Any], folder: Path) -> Iterator[str]:
    (folder / "contract.yaml").write_text(yaml.safe_dump(description), encoding="utf-8")
    with foreign.prism(folder / "contract.yaml", folder / "log") as url:
        yield url


def settings(url: str, served: Served) -> dict[str, Any]:
    return {**config(served), **QUICK, "history_days": 1_000, "base_url": f"{url}/v1.0"}


def read(url: str, served: Served, stream: Any, state: State | None = None) -> tuple[list[Page], Exception | None]:
    """The pages of a stream, and what ended them."""
    pages: list[Page] = []

    async def reading() -> None:
        client = Client(settings(url, served), None, Consent(True, frozenset({"acme.example"})))
        async for page in client.pages(stream, state):
            pages.append(page)  # noqa: PERF401 - what came before an error counts

    try:
        asyncio.run(reading())
    except (Fatal, Retry, WaitUntil) as error:
        return pages, error
    return pages, None


@pytest.mark.parametrize("stream", STREAMS)
def test_two_pages_are_read_and_a_third_that_is_the_second_again_is_not(
    prism: str, served: Served, stream: Any
) -> None:
    with foreign.divided({PRISM_HAS: prism}, served.url) as (url, asked):
        pages, ended = read(url, served, stream)
    assert isinstance(ended, Fatal)
    assert "where it had been before" in str(ended)
    assert [record.payload["address"] for page in pages for record in page.records] == ["ada@acme.example"] * 2
    assert sum(path.endswith("/delta") for path in asked) == 2


@pytest.mark.parametrize("stream", STREAMS)
def test_an_increment_follows_the_link_that_the_last_round_ended_with(
    ending_prism: str, served: Served, stream: Any
) -> None:
    with foreign.divided({PRISM_HAS: ending_prism}, served.url) as (url, asked):
        pages, ended = read(url, served, stream)
        assert ended is None
        before = len(asked)
        again, ended = read(url, served, stream, pages[-1].state)
    assert ended is None
    assert len(asked) > before
    assert [record.id for page in again for record in page.records] == [
        record.id for page in pages for record in page.records
    ]


def test_a_place_that_is_lost_is_read_again_and_given_up_in_the_end(ending_prism: str, served: Served) -> None:
    prefer = {r".*/delta": "code=410"}
    with foreign.divided({PRISM_HAS: ending_prism}, served.url, prefer=prefer) as (url, asked):
        _, ended = read(url, served, STREAMS[0])
    assert isinstance(ended, Retry)
    assert "loses its place" in str(ended)
    assert sum(path.endswith("/delta") for path in asked) == 3


def test_being_throttled_is_waited_for(ending_prism: str, served: Served) -> None:
    prefer = {r".*/delta": "code=429"}
    with foreign.divided({PRISM_HAS: ending_prism}, served.url, prefer=prefer) as (url, asked):
        _, ended = read(url, served, STREAMS[0])
    assert isinstance(ended, WaitUntil)
    assert sum(path.endswith("/delta") for path in asked) == QUICK["attempts"]


def test_the_mock_refuses_what_breaks_the_description(prism: str) -> None:
    """Otherwise its consent would prove nothing."""
    authorised = {"Authorization": "Bearer x"}
    for wrong in ("users?$selekt=id", "users/u1/calendarView/delta?start=2026-03-01", "users?$top=many"):
        assert httpx.get(f"{prism}/v1.0/{wrong}", headers=authorised).status_code in (400, 422), wrong
    assert httpx.get(f"{prism}/v1.0/people", headers=authorised).status_code == 404
    assert httpx.get(f"{prism}/v1.0/users").status_code == 401


def test_a_sync_lands_what_the_description_s_answers_say(ending_prism: str, served: Served, tenant: Tenant) -> None:
    with foreign.divided({PRISM_HAS: ending_prism}, served.url) as (url, _):
        provision.add_connector(tenant.id, "o365", settings(url, served), actor="system:tests")
        consent.accept_dpa(tenant.id, "Ada Example", actor="system:tests")
        consent.allow_domains(tenant.id, ["acme.example"], actor="system:tests")
        extract.run(tenant.slug, "o365", str(uuid.uuid4()))
    with database.run_session(tenant.id) as connection:
        landed = connection.execute(
            "select payload ->> 'kind' from raw.o365__messages"
            " union all select payload ->> 'kind' from raw.o365__events"
        ).fetchall()
    assert landed == [("Mail received",), ("Meeting",)]


def test_microsoft_s_own_sdk_reads_the_sandbox(foreign_python: Path) -> None:
    directory = Directory(seed=1, accounts=1, is_empty=True)
    people = [Party(f"Person {number}", f"person{number}@acme.example") for number in range(25)]
    for person in people:
        directory.receive(person)
    directory.meet((people[0],), directory.now + timedelta(days=1))
    window = [f"{directory.now + timedelta(days=days):%Y-%m-%dT%H:%M:%SZ}" for days in (-1, 5)]
    with serve(directory) as served:
        script = Path(__file__).with_name("microsoft_sdk.py")
        command: list[str | Path] = [foreign_python, script, served.url, directory.mailboxes[0].id, *window]
        told = json.loads(subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout)
    ((_, event),) = directory.events()
    assert told == {
        "users": [mailbox.address for mailbox in directory.mailboxes],
        "mails": [person.address for person in people],
        "pages": 3,
        "increment": 0,
        "meetings": [[event["iCalUId"], people[0].address]],
        "refused": [404, "ErrorInvalidUser"],
    }
