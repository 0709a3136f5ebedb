"""Mailboxes and calendars of the sandbox, behind a real server: mail by folder, meetings by window, three on a page."""

import base64
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from pathlib import Path
from typing import Any

import pytest

from connectors.contract import Fatal, Reauthorise, Retry, State, WaitUntil
from sandbox.graph import Directory, Served, serve
from sandbox.graph.world import Party
from tests.connectors.contract_suite.driver import Capability, Trouble, Truth

CANNOT: Mapping[Capability, str] = {
    "new field": "What is kept of mails and meetings is a closed list: a field that Graph gains is not among it.",
}
CANNOT_MAIL: Mapping[Capability, str] = {
    **CANNOT,
    "delete": "A mail that somebody removes from a folder has been sent all the same, so its removal is not told.",
}
QUICK: Mapping[str, Any] = {"timeout_seconds": 0.5, "backoff_seconds": 0.01, "attempts": 3}


def config(served: Served, **more: Any) -> dict[str, Any]:
    directory = served.directory
    return {
        "directory_id": directory.directory_id,
        "client_id": directory.client_id,
        "client_secret": directory.client_secret,
        "base_url": f"{served.url}/v1.0",
        "login_url": served.url,
        "own_domain": "seller.example",
        **more,
    }


def part(address: str) -> str:
    """What stands for an address in the id of a record."""
    return blake2b(address.encode(), digest_size=8).hexdigest()


class _Microsoft:
    connector, named = "o365", "name"
    stream = ""

    def __init__(self, served: Served) -> None:
        self.served, self.directory = served, served.directory
        self.made = 0

    def config(self) -> dict[str, Any]:
        return config(self.served, **QUICK, page_size=3)

    def page_size(self) -> int:
        return 3

    def states_of_older_versions(self) -> Sequence[State]:
        return [
            {},
            {"version": 0, "places": {}},
            {"version": 1, "places": {self.directory.mailboxes[0].id: "https://graph.microsoft.com/v1.0/users"}},
            {"deltaLink": "https://graph.microsoft.com/v1.0/users/x/messages/delta?$deltatoken=x"},
        ]

    def troubles(self) -> Sequence[Trouble]:
        return [
            Trouble(WaitUntil, self._failing("429", retry_after=3_600), "asks for a pause"),
            Trouble(Retry, self._failing("503"), "not well"),
            Trouble(Retry, self._failing("cut"), "the connection to Microsoft 365 broke"),
            Trouble(Retry, self._failing("lost", containing="delta"), "loses its place"),
            Trouble(Reauthorise, self._failing("expired"), "Log in again"),
            Trouble(Fatal, self._secret_changed(), "client_secret"),
        ]

    def _someone(self) -> Party:
        self.made += 1
        return Party(f"Person {self.made}", f"person{self.made}@acme.example")

    @contextmanager
    def _failing(self, kind: str, *, containing: str = "", retry_after: int | None = None) -> Iterator[None]:
        faults = self.served.faults
        faults.retry_after = retry_after
        faults.next(kind, containing=containing or "/v1.0/", times=1_000)
        yield
        faults.clear()
        faults.retry_after = None

    @contextmanager
    def _secret_changed(self) -> Iterator[None]:
        known = self.directory.client_secret
        self.directory.client_secret = known[::-1]
        yield
        self.directory.client_secret = known


class Mail(_Microsoft):
    stream = "messages"

    def add(self, count: int, *, one_stamp: bool = False) -> list[str]:
        together = self.directory.now if one_stamp else None
        ids = []
        for _ in range(count):
            who = self._someone()
            message = self.directory.receive(who, changed=together)
            ids.append(f"{message}/{part(who.address)}")
        return ids

    def add_late(self) -> str:
        who = self._someone()
        message = self.directory.receive(who, changed=self.directory.now - timedelta(minutes=5))
        return f"{message}/{part(who.address)}"

    def change(self, record_id: str, value: str) -> None:
        message = record_id.partition("/")[0]
        (sender,) = [item["from"]["emailAddress"] for _, item in self.directory.messages() if item["id"] == message]
        self.directory.edit_message(message, **{"from": {"emailAddress": sender | {"name": value}}})

    def delete(self, record_id: str) -> None:
        self.directory.delete_message(record_id.partition("/")[0])

    def truth(self) -> dict[str, Truth]:
        told: dict[str, Truth] = {}
        for mailbox, item in self.directory.messages():
            sender = item["from"]["emailAddress"]
            record_id = f"{item['id']}/{part(sender['address'])}"
            told[record_id] = Truth(
                {
                    "id": record_id,
                    "message": item["id"],
                    "mailbox": mailbox.id,
                    "kind": "Mail received",
                    "at": datetime.fromisoformat(item["sentDateTime"]).isoformat(),
                    "internetMessageId": item["internetMessageId"],
                    "thread": _header(item["conversationIndex"]),
                    "domain": "acme.example",
                    "address": sender["address"],
                    "name": sender["name"],
                    "part": "from",
                }
            )
        return told


class Calendar(_Microsoft):
    stream = "events"

    def __init__(self, served: Served) -> None:
        super().__init__(served)
        self.gone: dict[str, dict[str, Any]] = {}

    def add(self, count: int, *, one_stamp: bool = False) -> list[str]:
        together = self.directory.now if one_stamp else None
        return [self._meet(together) for _ in range(count)]

    def add_late(self) -> str:
        return self._meet(self.directory.now - timedelta(minutes=5))

    def change(self, record_id: str, value: str) -> None:
        event = record_id.partition("/")[0]
        ((attendee,),) = [item["attendees"] for _, item in self.directory.events() if item["id"] == event]
        told = attendee | {"emailAddress": attendee["emailAddress"] | {"name": value}}
        self.directory.edit_event(event, attendees=[told])

    def delete(self, record_id: str) -> None:
        self.gone[record_id] = self.directory.delete_event(record_id.partition("/")[0])

    def restore(self, record_id: str) -> None:
        self.directory.restore_event(record_id.partition("/")[0], self.gone.pop(record_id))

    def truth(self) -> dict[str, Truth]:
        told = {record_id: Truth({"id": record_id}, is_deleted=True) for record_id in self.gone}
        for mailbox, item in self.directory.events():
            (attendee,) = item["attendees"]
            who = attendee["emailAddress"]
            record_id = f"{item['id']}/{part(who['address'])}"
            told[record_id] = Truth(
                {
                    "id": record_id,
                    "event": item["id"],
                    "mailbox": mailbox.id,
                    "kind": "Meeting",
                    **{ours: _moment(item[theirs]) for ours, theirs in (("at", "start"), ("ends", "end"))},
                    "iCalUId": item["iCalUId"],
                    "series": item["seriesMasterId"],
                    "isCancelled": item["isCancelled"],
                    "ourResponse": item["responseStatus"]["response"],
                    "domain": "acme.example",
                    "address": who["address"],
                    "name": who["name"],
                    "part": "attendee",
                    "response": attendee["status"]["response"],
                }
            )
        return told

    def _meet(self, changed: datetime | None) -> str:
        """Next week: of what is to come it is told when it is called off."""
        who = self._someone()
        start = self.directory.now.replace(microsecond=0) + timedelta(days=7)
        return f"{self.directory.meet((who,), start, changed=changed)}/{part(who.address)}"


def _header(index: str) -> str:
    return base64.b64decode(index)[:22].hex()


def _moment(told: Mapping[str, str]) -> str:
    return datetime.fromisoformat(told["dateTime"][:19]).replace(tzinfo=UTC).isoformat()


@contextmanager
def _directory() -> Iterator[Served]:
    # the connector's window is around the present
    with serve(Directory(seed=7, accounts=2, today=datetime.now(UTC).date(), is_empty=True)) as served:
        yield served


@contextmanager
def mail(_folder: Path, _patch: pytest.MonkeyPatch) -> Iterator[Mail]:
    with _directory() as served:
        yield Mail(served)


@contextmanager
def calendar(_folder: Path, _patch: pytest.MonkeyPatch) -> Iterator[Calendar]:
    with _directory() as served:
        yield Calendar(served)
