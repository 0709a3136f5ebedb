"""Fathom's recordings in the sandbox, behind a real server: meetings, in pages of ten."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from connectors.contract import Fatal, Reauthorise, Retry, State, WaitUntil
from sandbox.fathom import Served, Studio, serve
from sandbox.fathom.app import PER_PAGE
from sandbox.fathom.studio import invitee
from tests.connectors.contract_suite.driver import Capability, Trouble, Truth, being, failing

CANNOT: Mapping[Capability, str] = {
    "delete": "Fathom's list does not tell that a recording was deleted: it is simply not there any more.",
}

# What a person would wait for in seconds, a test has in hundredths.
QUICK: Mapping[str, Any] = {
    "timeout_seconds": 0.5,
    "backoff_seconds": 0.01,
    "attempts": 3,
    "calls_per_minute": 6_000_000,
}
SAID = ("transcript", "default_summary", "action_items", "highlights")


def key(served: Served) -> dict[str, Any]:
    return {"base_url": served.url, "api_key": served.studio.api_key}


class Meetings:
    connector, stream, named = "fathom", "meetings", "title"

    def __init__(self, served: Served) -> None:
        self.served, self.studio = served, served.studio

    def config(self) -> dict[str, Any]:
        return {**key(self.served), **QUICK, "streams": ["meetings", "participants"]}

    def page_size(self) -> int:
        return PER_PAGE

    def add(self, count: int, *, one_stamp: bool = False) -> list[str]:
        begun = self.studio.tick() - 120 if one_stamp else None
        return [
            str(self.studio.record(invitee("Ada", f"ada{number}@customer.example"), started=begun))
            for number in range(count)
        ]

    def add_late(self) -> str:
        return str(self.studio.record(invitee("Late", "late@customer.example"), ago=3 * 24 * 3600))

    def change(self, record_id: str, value: str) -> None:
        self.studio.edit(int(record_id), title=value)

    def add_field(self, name: str, record_id: str, value: str) -> None:
        self.studio.edit(int(record_id), **{name: value})

    def remove_field(self, name: str) -> None:
        self.studio.drop_field(name)

    def truth(self) -> dict[str, Truth]:
        return {str(one.id): Truth(unsaid(self.studio.meeting(one.id))) for one in self.studio.shown()}

    def states_of_older_versions(self) -> Sequence[State]:
        return [
            {},
            {"created_at": "2026-03-09T00:00:00Z"},
            {"version": 0, "cursor": "eyJwYWdlX251bSI6Mn0="},
            {"version": 1, "read_upto": "yesterday", "walk": None},
        ]

    def troubles(self) -> Sequence[Trouble]:
        return [
            Trouble(WaitUntil, failing(self.served.faults, "429"), "asks for a pause"),
            Trouble(Retry, failing(self.served.faults, "503"), "not well"),
            Trouble(Retry, failing(self.served.faults, "cut"), "the connection to Fathom broke"),
            Trouble(Reauthorise, being(self.studio, api_key="another"), "Make an API key"),
            Trouble(Fatal, being(self.studio, is_closed=True), "not found"),
        ]


def unsaid(meeting: Mapping[str, Any]) -> dict[str, Any]:
    """A meeting as raw holds it."""
    guests = sorted(one["email"].lower() for one in meeting["calendar_invitees"] if one["is_external"] and one["email"])
    more = {"kind": "Recorded", "at": meeting["scheduled_start_time"], "address": guests[0] if guests else None}
    return {name: value for name, value in meeting.items() if name not in SAID} | more


@contextmanager
def meetings(_folder: Path, _patch: pytest.MonkeyPatch) -> Iterator[Meetings]:
    # an invented world would only make more pages to be killed between
    with serve(Studio(seed=7, accounts=0)) as served:
        yield Meetings(served)
