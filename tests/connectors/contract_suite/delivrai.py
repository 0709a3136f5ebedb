"""Delivr.ai's index in the sandbox, behind a real server: people who research one topic, in pages of ten."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from connectors.contract import Fatal, Reauthorise, Retry, State, WaitUntil
from sandbox.delivrai import Index, Served, serve
from sandbox.delivrai.index import PEOPLE
from tests.connectors.contract_suite.driver import Capability, Trouble, Truth, being, failing

CANNOT: Mapping[Capability, str] = {
    "delete": "Delivr.ai tells who researches a topic now: whoever no longer does has done so all the same.",
}
TOPIC, PER_PAGE = "automation", 10

# What a person would wait for in seconds, a test has in hundredths, and what they read once a week in no time.
QUICK: Mapping[str, Any] = {
    "timeout_seconds": 0.5,
    "backoff_seconds": 0.01,
    "attempts": 3,
    "intent_every_hours": 0,
}


def keys(served: Served) -> dict[str, Any]:
    return {"base_url": served.url, "api_key": served.index.api_key, "api_secret": served.index.api_secret}


def told(index: Index, topic: str, row: Mapping[str, Any], key: str) -> tuple[str, dict[str, Any]]:
    """A row as raw holds it, with its id."""
    on = f"{index.built:%Y-%m-%d}"
    record = f"{topic}:{row[key]}:{on}"
    return record, {**row, "id": record, "topic": topic, "kind": "Researched", "at": on}


class People:
    connector, stream, named = "delivrai", "people_intent", "score"

    def __init__(self, served: Served) -> None:
        self.served, self.index, self._numbers = served, served.index, count(1)

    def config(self) -> dict[str, Any]:
        streams = ["people_intent", "company_intent"]
        return {**keys(self.served), **QUICK, "page_size": PER_PAGE, "topics": [TOPIC], "streams": streams}

    def page_size(self) -> int:
        return PER_PAGE

    def add(self, count: int, *, one_stamp: bool = False) -> list[str]:  # noqa: ARG002 - data is made anew as a whole
        addresses = [f"ada{next(self._numbers)}@customer.example" for _ in range(count)]
        on = f"{self.index.now:%Y-%m-%d}"
        return [f"{TOPIC}:{hem}:{on}" for hem in self.index.research(TOPIC, *addresses)]

    def add_late(self) -> str:
        return self.add(1)[0]

    def change(self, record_id: str, value: str) -> None:
        self.index.edit(TOPIC, record_id.split(":")[1], score=value)

    def add_field(self, name: str, record_id: str, value: str) -> None:
        self.index.edit(TOPIC, record_id.split(":")[1], **{name: value})

    def remove_field(self, name: str) -> None:
        self.index.drop_field(name)

    def truth(self) -> dict[str, Truth]:
        rows = (
            self.index.row(PEOPLE, one, resolved=True) for one in self.index.researchers(PEOPLE, TOPIC, high_only=True)
        )
        return {record: Truth(payload) for record, payload in (told(self.index, TOPIC, row, "hem") for row in rows)}

    def states_of_older_versions(self) -> Sequence[State]:
        return [
            {},
            {"cursor": "bmV4dA=="},
            {"version": 0, "topic": TOPIC, "cursor": "bmV4dA=="},
            {"version": 1, "read_at": {TOPIC: "yesterday"}, "walk": None},
        ]

    def troubles(self) -> Sequence[Trouble]:
        return [
            Trouble(WaitUntil, failing(self.served.faults, "429"), "asks for a pause"),
            Trouble(Retry, failing(self.served.faults, "503"), "busy"),
            Trouble(Retry, failing(self.served.faults, "cut"), "the connection to Delivr.ai broke"),
            Trouble(Reauthorise, being(self.index, api_secret="another"), "Make an API client"),
            Trouble(Fatal, being(self.index, is_out_of_credit=True), "add to it there"),
        ]


@contextmanager
def people(_folder: Path, _patch: pytest.MonkeyPatch) -> Iterator[People]:
    # an invented world would only make more pages to be killed between
    with serve(Index(seed=7, accounts=0)) as served:
        yield People(served)
