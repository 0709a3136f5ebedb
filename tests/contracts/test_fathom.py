"""The Fathom connector against prism, a mock of the vendor's description, with a gate that refuses what it lacks."""

import asyncio
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from connectors.contract import Consent, Fatal, Page, Reauthorise, State, WaitUntil
from connectors.fathom.client import Client
from sandbox.fathom import Studio, serve
from sandbox.fathom.studio import CANARY
from tests.contracts import foreign

NEXT = "eyJwYWdlX251bSI6Mn0="
BASE = "/external/v1"
QUICK = {"backoff_seconds": 0.01, "attempts": 2, "timeout_seconds": 20, "calls_per_minute": 6_000_000}


@pytest.fixture(scope="module")
def prism(contracts: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with foreign.prism(contracts / "fathom.yaml", tmp_path_factory.mktemp("prism") / "log") as url:
        yield url


@pytest.fixture(scope="module")
def ending_prism(contracts: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The same description with a list that ends."""
    described = (contracts / "fathom.yaml").read_text(encoding="utf-8")
    assert described.count(f"example: {NEXT}") == 1
    folder = tmp_path_factory.mktemp("ending")
    (folder / "contract.yaml").write_text(described.replace(f"example: {NEXT}", "example: null"), encoding="utf-8")
    with foreign.prism(folder / "contract.yaml", folder / "log") as url:
        yield url


def read(url: str, stream: str, state: State | None = None, **login: Any) -> tuple[list[Page], Exception | None]:
    """The pages of a stream, and what ended them."""
    pages: list[Page] = []

    async def reading() -> None:
        client = Client({"base_url": url + BASE, **QUICK, **(login or {"api_key": "k"})}, None, Consent(accepted=True))
        async for page in client.pages(next(one for one in client.streams if one.name == stream), state):
            pages.append(page)  # noqa: PERF401 - what came before an error counts

    try:
        asyncio.run(reading())
    except (Fatal, Reauthorise, WaitUntil) as error:
        return pages, error
    return pages, None


def test_two_pages_are_read_and_a_third_that_is_the_first_again_is_not(prism: str) -> None:
    pages, ended = read(prism, "meetings")
    assert isinstance(ended, Fatal)
    assert "where it had been before" in str(ended)
    assert len(pages) == 2
    assert {record.id for page in pages for record in page.records} == {"123456789"}


@pytest.mark.parametrize("stream", ["meetings", "participants", "transcripts"])
@pytest.mark.parametrize("login", [{"api_key": "k"}, {"access_token": "t"}])
def test_an_increment_asks_for_what_the_description_knows(
    ending_prism: str, stream: str, login: dict[str, Any]
) -> None:
    pages, ended = read(ending_prism, stream, **login)
    assert (ended, len(pages)) == (None, 1)
    assert pages[0].records
    again, ended = read(ending_prism, stream, pages[0].state, **login)
    assert (ended, [record.id for record in again[0].records]) == (None, [record.id for record in pages[0].records])


@pytest.mark.parametrize(("code", "error"), [(401, Reauthorise), (429, WaitUntil), (400, Fatal)])
def test_each_refusal_that_the_description_knows_leads_to_its_action(
    prism: str, code: int, error: type[Exception]
) -> None:
    with foreign.divided({}, prism, prefer={f"{BASE}/meetings": f"code={code}"}) as (url, _):
        _, ended = read(url, "meetings")
    assert isinstance(ended, error)


def test_the_vendor_s_own_client_reads_our_sandbox(foreign_python: Path) -> None:
    """It is strict: a field that our meetings lacked, or had otherwise, would end it."""
    studio = Studio(3, 4, activities_per_year=300)
    studio.advance(days=1)
    with serve(studio) as served:
        words = [str(foreign_python), str(Path(__file__).with_name("fathom_sdk.py")), served.url, studio.api_key]
        done = subprocess.run(words, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    told, shown = json.loads(done.stdout), list(studio.shown())
    first = studio.meeting(shown[0].id)
    assert told["recordings"] == [made.id for made in shown]
    assert told["pages"] == len(shown) // 10 + 1 > 1
    assert (told["title"], told["invitees"]) == (first["title"], [one["email"] for one in first["calendar_invitees"]])
    assert CANARY in told["said"][0]


def test_the_mock_refuses_what_breaks_the_description(prism: str) -> None:
    """Otherwise its consent would prove nothing."""
    authorised = {"X-Api-Key": "k"}
    for wrong in ("meetings?limit=50", "meetings?created_since=2026-01-01", "meetings?include_transcript=perhaps"):
        assert httpx.get(f"{prism}{BASE}/{wrong}", headers=authorised).status_code in (400, 422), wrong
    assert httpx.get(f"{prism}{BASE}/recordings/abc/summary", headers=authorised).status_code in (400, 404, 422)
    assert httpx.get(f"{prism}{BASE}/meetings").status_code == 401
