"""Salesforce tasks as its REST API delivers them: pages of 2,000 records with the fields that a working org has.

The same rows for the same numbers, every time.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any

import orjson

PAGE = 2000

_START = datetime(2024, 1, 1, 8, tzinfo=UTC)
_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_CHECK_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"
_SUBJECTS = (
    "Call",
    "Send quote",
    "Email: Re: pricing for next year",
    "Follow up after the demo 🎉",
    "Besprechung mit Einkauf über Laufzeit",
    "E-mail: Vertragsentwurf, letzte Änderungen",
    "LinkedIn touch 3 of 7",
    'Ask about "phase two" & the C:\\shared folder',
    "会議のフォローアップ",
)
_SENTENCES = (
    "Spoke with the head of operations, who asked for a comparison with the present supplier.",
    "Left a message; the assistant says that mornings are better.",
    "They would like to start with two teams and roll out to all sites by autumn. 🚀",
    "Budget is approved for this quarter\nbut legal wants to see the data protection annex first.",
    "Sent the deck, the price list\tand the security questionnaire.",
    "Für die Freigabe fehlt noch die Unterschrift der Geschäftsführung.",
    "No decision before the board meets; remind me a week ahead.",
)
_STATUSES = ("Not Started", "In Progress", "Completed", "Completed", "Completed", "Waiting on someone else", "Deferred")
_OUTCOMES = (None, None, "Connected", "Left Voicemail", "No Answer", "Wrong Number")


def write_pages(folder: Path, rows: int, *, first: int = 0, seed: int = 4) -> list[Path]:
    """The files, one per page, of the tasks number `first` to `first + rows`."""
    folder.mkdir(parents=True)
    records = _tasks(first, rows, Random(f"{seed} {first}"))
    files = []
    for start in range(0, rows, PAGE):
        page = list(islice(records, PAGE))
        done = start + len(page) == rows
        body: dict[str, Any] = {"totalSize": rows, "done": done, "records": page}
        if not done:
            body["nextRecordsUrl"] = f"/services/data/v63.0/query/0r8xx3a0sX8VkAAQ-{start + PAGE}"
        files.append(folder / f"{start // PAGE:06}.json")
        files[-1].write_bytes(orjson.dumps(body))
    return files


def _tasks(first: int, rows: int, random: Random) -> Iterator[dict[str, Any]]:
    """In the order of SystemModstamp: nearly that of the ids, as most tasks are left alone soon after they are made."""
    for number in range(first, first + rows):
        modified = _START + timedelta(seconds=37 * number + random.randrange(30))
        age = random.randrange(40_000) if random.random() < 0.8 else random.randrange(20_000_000)
        yield _task(_task_number(number), modified, modified - timedelta(seconds=age), random)


def _task_number(number: int) -> int:
    """Different for each number below sixteen million; one in five stands far from its neighbours."""
    return 2 * number if number % 5 else 2 * (number * 7_368_787 % 2**24) + 1


def _task(number: int, modified: datetime, created: datetime, random: Random) -> dict[str, Any]:
    task_id = salesforce_id("00T", number)
    status = random.choice(_STATUSES)
    is_closed = status == "Completed"
    kind = random.choice(("Task", "Email", "Call", "Call"))
    is_call = kind == "Call"
    account = random.randrange(20_000)
    owner = salesforce_id("005", random.randrange(60))
    stamp = _stamp(modified)
    return {
        "attributes": {"type": "Task", "url": f"/services/data/v63.0/sobjects/Task/{task_id}"},
        "Id": task_id,
        "RecordTypeId": None,
        "WhoId": salesforce_id("003", random.randrange(90_000)) if random.random() < 0.9 else None,
        "WhatId": salesforce_id("006", account),
        "WhoCount": 1,
        "WhatCount": 1,
        "Subject": random.choice(_SUBJECTS),
        "ActivityDate": modified.date().isoformat(),
        "Status": status,
        "Priority": random.choice(("Normal", "Normal", "Normal", "High")),
        "IsHighPriority": False,
        "OwnerId": owner,
        "Description": " ".join(random.choices(_SENTENCES, k=random.randrange(4))) or None,
        "IsDeleted": False,
        "AccountId": salesforce_id("001", account),
        "IsClosed": is_closed,
        "CreatedDate": _stamp(created),
        "CreatedById": owner,
        "LastModifiedDate": stamp,
        "LastModifiedById": owner,
        "SystemModstamp": stamp,
        "IsArchived": False,
        "CallDurationInSeconds": random.randrange(1800) if is_call else None,
        "CallType": "Outbound" if is_call else None,
        "CallDisposition": random.choice(_OUTCOMES) if is_call else None,
        "CallObject": None,
        "ReminderDateTime": None,
        "IsReminderSet": False,
        "RecurrenceActivityId": None,
        "IsRecurrence": False,
        "RecurrenceType": None,
        "RecurrenceInterval": None,
        "TaskSubtype": kind,
        "CompletedDateTime": stamp if is_closed else None,
        "Outreach_Sequence__c": random.choice((None, "Inbound 2025", "Renewals", "Événements")),
        "Sequence_Step__c": float(random.randrange(8)),
        "Sentiment__c": round(random.uniform(-1, 1), 3) if is_closed else None,
        "Next_Step__c": random.choice((None, "Send proposal", "Book a demo", "Angebot nachfassen ☎️")),
        "External_Reference__c": f"ENG-{number:09}",
        "Is_Automated__c": random.random() < 0.3,
    }


def _stamp(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.000+0000")


def salesforce_id(prefix: str, number: int) -> str:
    """18 characters: the last three tell upper from lower case for those who can't."""
    digits = ""
    for _ in range(7):
        number, digit = divmod(number, 62)
        digits = _ALPHABET[digit] + digits
    short = f"{prefix}5g000{digits}"
    check = (
        sum(1 << place for place, character in enumerate(short[start : start + 5]) if character.isupper())
        for start in (0, 5, 10)
    )
    return short + "".join(_CHECK_ALPHABET[part] for part in check)
