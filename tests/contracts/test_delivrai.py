"""The Delivr.ai connector against prism, a mock of the vendor's description, with a gate that refuses what it lacks.

A question and its price stand behind one door, told apart by a word in the body, which no mock looks at: so there are
two mocks, and the second one has prices alone behind these doors.
"""

import asyncio
import json
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest

from connectors.contract import Fatal, Page, Reauthorise, State, WaitUntil
from connectors.delivrai.client import Client
from sandbox.delivrai import Index, serve
from tests.contracts import foreign

TOPIC, PROJECT = "automation", "1d7b5e3c-7a9e-4e31-91a8-0b2d9f2b7a10"
QUICK = {"backoff_seconds": 0.01, "attempts": 2, "timeout_seconds": 20, "intent_every_hours": 0}
ANSWERS = ("TopicPeopleResponse", "TopicCompaniesResponse", "EventsResponse")


class Someone:
    """Whom the tenant knows."""

    def due(self, _most: int) -> Sequence[str]:
        return ["ada@customer.example"]

    def how_many_are_due(self) -> int:
        return 1


class Divided(httpx.AsyncBaseTransport):
    """Questions to one mock, prices to the other. `prefer` is which of the declared answers the first is to give."""

    def __init__(self, mocks: tuple[str, str], prefer: str = "") -> None:
        self.mocks, self.prefer, self.way = mocks, prefer, httpx.AsyncHTTPTransport()
        self.asked: list[str] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        is_price = b'"dry_run":true' in request.content or b"dry_run=true" in request.url.query
        mock = httpx.URL(self.mocks[is_price])
        request.url = request.url.copy_with(host=mock.host, port=mock.port)
        self.asked.append(f"{request.method} {request.url.path}")
        if self.prefer and not is_price and not request.url.path.endswith("/whoami"):
            request.headers["Prefer"] = self.prefer
        return await self.way.handle_async_request(request)


@pytest.fixture(scope="module")
def mocks(contracts: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    described = (contracts / "delivr.derived.yaml").read_text(encoding="utf-8")
    folder = tmp_path_factory.mktemp("prism")
    for answer in ANSWERS:
        reference = f"- $ref: '#/components/schemas/{answer}'"
        assert reference in described
        described = described.replace(reference, "- $ref: '#/components/schemas/CostPreview'")
    (folder / "prices.yaml").write_text(described, encoding="utf-8")
    with (
        foreign.prism(contracts / "delivr.derived.yaml", folder / "answers") as answers,
        foreign.prism(folder / "prices.yaml", folder / "prices") as prices,
    ):
        yield answers, prices


def read(way: httpx.AsyncBaseTransport, stream: str, state: State | None = None) -> tuple[list[Page], Exception | None]:
    """The pages of a stream, and what ended them."""
    pages: list[Page] = []

    async def reading() -> None:
        what: dict[str, Any] = {"topics": [TOPIC], "project_id": PROJECT, "visits_history_days": 1}
        keys = {"base_url": "http://127.0.0.1:1", "api_key": "k", "api_secret": "s"}
        client = Client({**keys, **QUICK, **what}, None, Someone(), transport=way)
        async for page in client.pages(next(one for one in client.streams if one.name == stream), state):
            pages.append(page)  # noqa: PERF401 - what came before an error counts

    try:
        asyncio.run(reading())
    except (Fatal, Reauthorise, WaitUntil) as error:
        return pages, error
    return pages, None


@pytest.mark.parametrize(("stream", "door"), [("people_intent", "people"), ("company_intent", "companies")])
def test_two_pages_are_read_and_a_third_that_is_the_first_again_is_not(
    mocks: tuple[str, str], stream: str, door: str
) -> None:
    way = Divided(mocks)
    pages, ended = read(way, stream)
    assert isinstance(ended, Fatal)
    assert "where it had been before" in str(ended)
    assert sum(bool(page.records) for page in pages) == 2
    # the price and two pages, each by a question that the description knows
    assert way.asked.count(f"POST /api/v1/intent/{door}") == 3
    # from its state the next sync goes on with the second page
    again, _ = read(Divided(mocks), stream, pages[1].state)
    assert sum(bool(page.records) for page in again) == 1


def test_an_increment_of_visits_begins_where_the_last_one_ended(mocks: tuple[str, str]) -> None:
    way = Divided(mocks)
    pages, ended = read(way, "visits")
    assert ended is None
    assert sum(len(page.records) for page in pages) == 1
    state = pages[-1].state
    assert state
    assert read(way, "visits", state) == ([], None)
    an_hour_before = {**state, "read_upto": state["read_upto"] - 3_600_000}
    again, ended = read(way, "visits", an_hour_before)
    assert (ended, [page.state for page in again]) == (None, [state])


def test_contacts_are_asked_for_as_the_description_has_it(mocks: tuple[str, str]) -> None:
    """Its example names a next page for ever, and nothing of it can be whoever was asked about."""
    way = Divided(mocks)
    pages, ended = read(way, "contacts")
    assert isinstance(ended, Fatal)
    assert not [page for page in pages if page.asked], "what was not read to its end counts as not asked"
    assert way.asked.count("POST /api/v1/contact/query") == 2
    assert asyncio.run(_told_of_somebody(mocks)) is not None


async def _told_of_somebody(mocks: tuple[str, str]) -> Any:
    client = Client({"base_url": "http://127.0.0.1:1", "api_key": "k", "api_secret": "s"}, transport=Divided(mocks))
    async with client.api() as api:
        assert (await api.whoami())["organization"]["name"]
        return await api.contact("0" * 64)


@pytest.mark.parametrize(
    ("stream", "code", "error"),
    [
        ("people_intent", 401, Reauthorise),
        ("people_intent", 400, Fatal),
        ("contacts", 401, Reauthorise),
        ("visits", 429, WaitUntil),
    ],
)
def test_each_refusal_that_the_description_knows_leads_to_its_action(
    mocks: tuple[str, str], stream: str, code: int, error: type[Exception]
) -> None:
    _, ended = read(Divided(mocks, prefer=f"code={code}"), stream)
    assert isinstance(ended, error)


def test_the_mock_refuses_what_breaks_the_description(mocks: tuple[str, str]) -> None:
    """Otherwise its consent would prove nothing."""
    url, keys = mocks[0], {"X-Api-Key": "k", "X-Api-Secret": "s"}
    with httpx.Client(base_url=f"{url}/api", headers=keys, timeout=20) as http:
        wrong: list[dict[str, Any]] = [
            {},
            {"topic_id": TOPIC, "page_size": 501},
            {"topic_id": TOPIC, "min_score": "low"},
        ]
        for asked in wrong:
            assert http.post("/v1/intent/people", json=asked).status_code in (400, 422), asked
        assert http.post("/v1/contact/query", json={"emails": []}).status_code in (400, 422)
        assert http.get("/v3/events/resolution_full_profile", params={"start": "1"}).status_code in (400, 422)
        assert http.get("/v1/intent-signals").status_code == 404
        del http.headers["X-Api-Secret"]
        assert http.get("/v1/whoami").status_code == 401


def test_the_vendor_s_own_client_reads_our_sandbox(foreign_python: Path) -> None:
    """It is strict: a field that our answers lacked, or had otherwise, would end it."""
    index = Index(3, 4, activities_per_year=2_000)
    index.research(TOPIC, "ada@customer.example", "bob@customer.example", "cy@customer.example")
    known = next(iter(index.people.values()))
    with serve(index) as served:
        script = Path(__file__).with_name("delivr_client.py")
        words = [foreign_python, script, served.url, index.api_key, index.api_secret, TOPIC, known.email]
        done = subprocess.run([str(word) for word in words], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    people = [one.key for one in index.researchers("people", TOPIC, high_only=False)]
    pages = -(-len(people) // 2)
    assert told == {
        "organisation": "Seller",
        "price": len(people),
        "fidelity": "exact",
        "hems": people,
        "counts": [len(people)] + [None] * (pages - 1),
        "domains": [one.key for one in index.researchers("companies", TOPIC, high_only=False)],
        "billable": 1,
        "titles": [known.title],
        "missed": True,
        "rows": [],
    }
