"""The Customer.io connector against prism, a mock of the vendor's description, with a gate that refuses what it lacks.

Its examples name a next page for ever. What the description does not hold (attributes and newsletters) our sandbox
answers, at the same address.
"""

import asyncio
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from connectors.contract import Fatal, Page, Reauthorise, State, WaitUntil
from connectors.customerio.client import Client
from sandbox.customerio import Served, Workspace, serve
from sandbox.customerio.workspace import Profile
from steps import extract, provision
from tests.conftest import Tenant
from tests.connectors.contract_suite.customerio import QUICK, key
from tests.contracts import foreign
from warehouse import database

PRISM_HAS = r"/v1/(messages|activities|campaigns|segments|customers)"
NEXT = "MDE5fHx8"


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    workspace = Workspace(seed=7, accounts=1)
    # the person of the description's examples
    workspace.profiles["a3000001"] = Profile("2", "test@example.com", 1, {"first_name": "Ada"}, {"first_name": 1})
    with serve(workspace) as served:
        yield served


@pytest.fixture(scope="module")
def prism(contracts: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with foreign.prism(contracts / "customerio.yaml", tmp_path_factory.mktemp("prism") / "log") as url:
        yield url


@pytest.fixture(scope="module")
def ending_prism(contracts: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The same description with lists that end: the last page's next is empty."""
    described = (contracts / "customerio.yaml").read_text(encoding="utf-8")
    assert described.count(NEXT) == 3
    folder = tmp_path_factory.mktemp("ending")
    (folder / "contract.yaml").write_text(described.replace(NEXT, '""'), encoding="utf-8")
    with foreign.prism(folder / "contract.yaml", folder / "log") as url:
        yield url


def read(url: str, served: Served, stream: str, state: State | None = None) -> tuple[list[Page], Exception | None]:
    """The pages of a stream, and what ended them."""
    pages: list[Page] = []

    async def reading() -> None:
        client = Client({**key(served), **QUICK, "base_url": url, "timeout_seconds": 20})
        async for page in client.pages(next(one for one in client.streams if one.name == stream), state):
            pages.append(page)  # noqa: PERF401 - what came before an error counts

    try:
        asyncio.run(reading())
    except (Fatal, Reauthorise, WaitUntil) as error:
        return pages, error
    return pages, None


def test_two_pages_of_messages_are_read_and_a_third_that_is_the_first_again_is_not(prism: str, served: Served) -> None:
    with foreign.divided({PRISM_HAS: prism}, served.url) as (url, asked):
        pages, ended = read(url, served, "messages")
    assert isinstance(ended, Fatal)
    assert "where it had been before" in str(ended)
    assert len(pages) == 2
    assert {record.payload["cio_id"] for page in pages for record in page.records} == {"a3000001"}
    assert asked.count("GET /v1/messages") == 2


@pytest.mark.parametrize("stream", ["messages", "activities", "people"])
def test_an_increment_asks_for_what_the_description_knows(ending_prism: str, served: Served, stream: str) -> None:
    with foreign.divided({PRISM_HAS: ending_prism}, served.url) as (url, asked):
        pages, ended = read(url, served, stream)
        assert (ended, len(pages) > 0) == (None, True)
        before = len(asked)
        again, ended = read(url, served, stream, pages[-1].state)
    assert ended is None
    assert len(again) > 0
    assert len(asked) > before
    assert any(page.records for page in pages)


@pytest.mark.parametrize("stream", ["campaigns", "segments"])
def test_short_lists_are_as_the_description_has_them(prism: str, served: Served, stream: str) -> None:
    with foreign.divided({PRISM_HAS: prism}, served.url) as (url, _):
        pages, ended = read(url, served, stream)
    assert ended is None
    assert [record.source_updated_at is not None for page in pages for record in page.records] == [True]


def test_a_key_that_is_refused_asks_for_a_person(prism: str, served: Served) -> None:
    with foreign.divided({PRISM_HAS: prism}, served.url, prefer={r"/v1/messages": "code=401"}) as (url, asked):
        _, ended = read(url, served, "messages")
    assert isinstance(ended, Reauthorise)
    assert asked.count("GET /v1/messages") == 1


def test_more_than_ten_calls_a_second_are_waited_for(prism: str, served: Served) -> None:
    with foreign.divided({PRISM_HAS: prism}, served.url, prefer={r"/v1/messages": "code=429"}) as (url, asked):
        _, ended = read(url, served, "messages")
    assert isinstance(ended, WaitUntil)
    assert asked.count("GET /v1/messages") == QUICK["attempts"]


def test_the_mock_refuses_what_breaks_the_description(prism: str) -> None:
    """Otherwise its consent would prove nothing."""
    authorised = {"Authorization": "Bearer x"}
    for wrong in ("messages?start_time=1", "messages?limit=1001", "messages?start_ts=today", "activities?type=opened"):
        assert httpx.get(f"{prism}/v1/{wrong}", headers=authorised).status_code in (400, 422), wrong
    assert httpx.get(f"{prism}/v1/people", headers=authorised).status_code == 404
    assert httpx.get(f"{prism}/v1/messages").status_code == 401
    assert httpx.post(f"{prism}/v1/customers", headers=authorised, json={}).status_code in (400, 422)


def test_a_sync_lands_what_the_description_s_examples_say(ending_prism: str, served: Served, tenant: Tenant) -> None:
    with foreign.divided({PRISM_HAS: ending_prism}, served.url) as (url, _):
        config: dict[str, Any] = {**key(served), **QUICK, "base_url": url, "timeout_seconds": 20}
        provision.add_connector(tenant.id, "customerio", config, actor="system:tests")
        extract.run(tenant.slug, "customerio", str(uuid.uuid4()))
    with database.run_session(tenant.id) as connection:
        landed = connection.execute(
            "select payload ->> 'type', payload ->> 'cio_id' from raw.customerio__messages order by record_id"
        ).fetchall()
        people = connection.execute(
            "select record_id, is_deleted from raw.customerio__people order by is_deleted"
        ).fetchall()
    assert ("sent_email", "a3000001") in landed
    # whatever type is asked for, the description has one example of an activity: of deletions it is one as well
    assert people == [("a3000001", False), ("a3000001", True)]
