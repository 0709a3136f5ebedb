"""A Customer.io workspace of the sandbox, behind a real server: its messages, and its people, in pages of three."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from connectors.contract import Fatal, Reauthorise, Retry, State, WaitUntil
from sandbox.customerio import Served, Workspace, serve
from tests.connectors.contract_suite.driver import Capability, Trouble, Truth, being, failing

CANNOT: Mapping[Capability, str] = {
    "delete": "A message stays, and whoever is made again after a deletion is another person with another cio_id.",
}

# What a person would wait for in seconds, a test has in hundredths.
QUICK: Mapping[str, Any] = {
    "timeout_seconds": 0.5,
    "backoff_seconds": 0.01,
    "attempts": 3,
    "calls_per_second": 100_000,
}


def key(served: Served) -> dict[str, Any]:
    return {"base_url": served.url, "api_key": served.workspace.api_key}


class _Customerio(ABC):
    connector = "customerio"
    stream: str

    def __init__(self, served: Served) -> None:
        self.served, self.workspace = served, served.workspace
        self.reader = self.workspace.add_person("reader@customer.example")

    def config(self) -> dict[str, Any]:
        return {**key(self.served), **QUICK, "streams": [self.stream, "segments"], "page_size": 3, "history_days": 100}

    def page_size(self) -> int:
        return 3

    @abstractmethod
    def truth(self) -> dict[str, Truth]: ...

    def states_of_older_versions(self) -> Sequence[State]:
        return [
            {},
            {"created": 1_772_000_000},
            {"version": 0, "start": "MDE5fHx8"},
            {"version": 1, "read_upto": {}, "whole_at": None, "walk": {"next": "MDE5fHx8"}},
        ]

    def troubles(self) -> Sequence[Trouble]:
        return [
            Trouble(WaitUntil, failing(self.served.faults, "429"), "asks for a pause"),
            Trouble(Retry, failing(self.served.faults, "503"), "not well"),
            Trouble(Retry, failing(self.served.faults, "cut"), "the connection to Customer.io broke"),
            Trouble(Reauthorise, being(self.workspace, api_key="another"), "Make an App API key"),
            Trouble(Fatal, being(self.workspace, is_forbidden=True), "Account is not authorized"),
        ]


class Messages(_Customerio):
    stream, named = "messages", "subject"

    def add(self, count: int, *, one_stamp: bool = False) -> list[str]:
        if one_stamp:
            return [f"{message}:sent" for message in self.workspace.send_many(self.reader, count)]
        return [f"{self.workspace.send(self.reader)}:sent" for _ in range(count)]

    def add_late(self) -> str:
        return f"{self.workspace.send(self.reader, ago=7 * 24 * 3600)}:sent"

    def change(self, record_id: str, value: str) -> None:
        self.workspace.edit_message(record_id.removesuffix(":sent"), subject=value)

    def add_field(self, name: str, record_id: str, value: str) -> None:
        self.workspace.edit_message(record_id.removesuffix(":sent"), **{name: value})

    def remove_field(self, name: str) -> None:
        self.workspace.drop_message_field(name)

    def truth(self) -> dict[str, Truth]:
        return {
            record_id: Truth(payload)
            for _, message in self.workspace.messages()
            for record_id, payload in events(self.workspace.message(message))
        }


class People(_Customerio):
    stream, named = "people", "first_name"

    def add(self, count: int, *, one_stamp: bool = False) -> list[str]:
        if one_stamp:
            return self.workspace.add_people(count)
        return [self.workspace.add_person(f"{number}@new.example", first_name="New") for number in range(count)]

    def add_late(self) -> str:
        return self.workspace.add_person("late@new.example", ago=300, first_name="Late")

    def change(self, record_id: str, value: str) -> None:
        self.workspace.set_attribute(record_id, "first_name", value)

    def add_field(self, name: str, record_id: str, value: str) -> None:
        self.workspace.set_attribute(record_id, name, value)

    def remove_field(self, name: str) -> None:
        self.workspace.drop_attribute(name)

    def truth(self) -> dict[str, Truth]:
        return {who: Truth(flat(self.workspace.person(who))) for who in self.workspace.people()}


def flat(person: Mapping[str, Any]) -> dict[str, Any]:
    """A person as raw holds them: without the vendor's bookkeeping and devices."""
    kept = {name: value for name, value in person["attributes"].items() if name != "_last_emailed"}
    return kept | dict(person["identifiers"]) | {"unsubscribed": person["unsubscribed"]}


def events(message: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """A message as raw holds it: what came of it, each a record."""
    apart = ("metrics", "deduplicate_id", "customer_identifiers", "type")
    about = {name: value for name, value in message.items() if name not in apart}
    about["cio_id"] = message["customer_identifiers"]["cio_id"]
    metrics = message["metrics"]
    for metric in ("sent", "opened", "clicked", "bounced", "unsubscribed", "spammed"):
        if metric in metrics:
            at = datetime.fromtimestamp(metrics.get(f"human_{metric}", metrics[metric]), UTC).strftime(
                "%Y-%m-%dT%H:%M:%SZ"
            )
            human = {"is_human": f"human_{metric}" in metrics} if metric in ("opened", "clicked") else {}
            yield f"{message['id']}:{metric}", about | human | {"type": f"{metric}_email", "occurred_at": at}


@contextmanager
def _workspace() -> Iterator[Served]:
    # an invented world would only make more pages to be killed between
    with serve(Workspace(seed=7, accounts=0)) as served:
        yield served


@contextmanager
def messages(_folder: Path, _patch: pytest.MonkeyPatch) -> Iterator[Messages]:
    with _workspace() as served:
        yield Messages(served)


@contextmanager
def people(_folder: Path, _patch: pytest.MonkeyPatch) -> Iterator[People]:
    with _workspace() as served:
        yield People(served)
