"""What mailboxes and calendars of the sandbox hold that a tenant allows to be read, said without the connector."""

import base64
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Any

from sandbox.graph import Directory, Served
from tests.dbt.truth import Version

Shown = tuple[str, dict[str, Version]]


def config(served: Served) -> dict[str, Any]:
    directory = served.directory
    return {
        "directory_id": directory.directory_id,
        "client_id": directory.client_id,
        "client_secret": directory.client_secret,
        "base_url": f"{served.url}/v1.0",
        "login_url": served.url,
        "own_domain": "seller.example",
        # the sandbox's days are not today's
        "history_days": 1_000,
        "backoff_seconds": 0.01,
    }


def domains(directory: Directory) -> tuple[str, ...]:
    """Those of all companies that the generator knows of."""
    found = {person.email.partition("@")[2] for person in directory.company.people if person.email}
    return tuple(sorted(found))


def shown(directory: Directory, allowed: Sequence[str]) -> Iterator[Shown]:
    yield "o365__messages", {version.id: version for version in _mails(directory, allowed)}
    yield "o365__events", {version.id: version for version in _meetings(directory, allowed)}


def _mails(directory: Directory, allowed: Sequence[str]) -> Iterator[Version]:
    for mailbox, item in directory.messages():
        sender = item["from"]["emailAddress"]
        parts = [("from", sender)]
        parts += [("to", one["emailAddress"]) for one in item["toRecipients"]]
        parts += [("cc", one["emailAddress"]) for one in item["ccRecipients"]]
        for part, who in parts:
            if _domain(who) not in allowed:
                continue
            id = f"{item['id']}/{digest(who['address'])}"
            ours = "Mail sent" if _domain(sender) == "seller.example" else "Mail copied"
            payload = {
                "id": id,
                "message": item["id"],
                "mailbox": mailbox.id,
                "kind": "Mail received" if part == "from" else ours,
                "at": _moment(item["sentDateTime"]).isoformat(),
                "internetMessageId": item["internetMessageId"],
                "thread": base64.b64decode(item["conversationIndex"])[:22].hex(),
                "domain": _domain(who),
                "address": who["address"],
                "name": who["name"],
                "part": part,
            }
            yield Version("o365__messages", id, payload, _moment(item["lastModifiedDateTime"]), None)


def _meetings(directory: Directory, allowed: Sequence[str]) -> Iterator[Version]:
    for mailbox, item in directory.events():
        for attendee in item["attendees"]:
            who = attendee["emailAddress"]
            if _domain(who) not in allowed:
                continue
            id = f"{item['id']}/{digest(who['address'])}"
            payload = {
                "id": id,
                "event": item["id"],
                "mailbox": mailbox.id,
                "kind": "Meeting",
                "at": _moment(item["start"]["dateTime"][:19]).isoformat(),
                "ends": _moment(item["end"]["dateTime"][:19]).isoformat(),
                "iCalUId": item["iCalUId"],
                "series": item["seriesMasterId"],
                "isCancelled": item["isCancelled"],
                "ourResponse": item["responseStatus"]["response"],
                "domain": _domain(who),
                "address": who["address"],
                "name": who["name"],
                "part": "attendee",
                "response": attendee["status"]["response"],
            }
            yield Version("o365__events", id, payload, _moment(item["lastModifiedDateTime"]), None)


def digest(address: str) -> str:
    return blake2b(address.encode(), digest_size=8).hexdigest()


def _domain(who: Mapping[str, str]) -> str:
    return who["address"].partition("@")[2]


def _moment(text: str) -> datetime:
    found = datetime.fromisoformat(text)
    return found if found.tzinfo else found.replace(tzinfo=UTC)
