"""An event as Graph tells it, made into a record for each allowed counterpart."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from connectors.contract import Record, Rejected
from connectors.o365.counterparts import Allowlist, once_each
from connectors.o365.mail import moment, record_id

MEETING = "Meeting"
UTC_NAMES = ("UTC", "tzone://Microsoft/Utc", "Etc/GMT", "GMT")


@dataclass(frozen=True, slots=True)
class Meeting:
    """One event of one mailbox with the records that it makes: none if nobody in it may be named."""

    id: str
    ends: datetime
    records: tuple[Record, ...]

    @property
    def parts(self) -> list[str]:
        return [record.id.rpartition("/")[2] for record in self.records]


def meeting(event: Mapping[str, Any], user: str, allowed: Allowlist) -> Meeting | Rejected:
    try:
        event_id = str(event["id"])
        start, end = _of_day(event["start"]), _of_day(event["end"])
        changed = moment(event["lastModifiedDateTime"]) if event.get("lastModifiedDateTime") else None
    except (KeyError, TypeError, ValueError):
        return Rejected(f"event {event.get('id')}", "has no id, no beginning or no end that can be read", {}, None)
    attendees = event.get("attendees")
    named = once_each(
        [
            *allowed.counterparts(attendees if isinstance(attendees, list) else [], "attendee"),
            *allowed.counterparts([event.get("organizer")], "organizer"),
        ]
    )
    ours = event.get("responseStatus")
    made = (
        Record(
            record_id(event_id, who.digest),
            {
                "id": record_id(event_id, who.digest),
                "event": event_id,
                "mailbox": user,
                "kind": MEETING,
                "at": start.isoformat(),
                "ends": end.isoformat(),
                "iCalUId": event.get("iCalUId"),
                "series": event.get("seriesMasterId"),
                "isCancelled": bool(event.get("isCancelled")),
                "ourResponse": ours.get("response") if isinstance(ours, Mapping) else None,
                "domain": who.domain,
                "address": who.address,
                "name": who.name,
                "part": who.part,
                "response": who.response,
            },
            changed,
        )
        for who in named
    )
    return Meeting(event_id, end, tuple(made))


def gone(event_id: str, parts: Collection[str], at: datetime) -> Iterator[Record]:
    """Of counterparts who are not in it any more, or of a meeting that is called off, nothing is told but that."""
    for part in parts:
        yield Record(record_id(event_id, part), {"id": record_id(event_id, part)}, at, is_deleted=True)


def completed(event: Mapping[str, Any], masters: Mapping[str, Mapping[str, Any]]) -> Mapping[str, Any]:
    """An occurrence with what Graph tells of its series alone: of the occurrence itself it says little but when."""
    master = masters.get(str(event.get("seriesMasterId")))
    if event.get("type") != "occurrence" or master is None:
        return event
    inherited = ("organizer", "attendees", "responseStatus", "isCancelled", "iCalUId", "lastModifiedDateTime")
    return {**{name: master[name] for name in inherited if name in master}, **event}


def _of_day(told: Any) -> datetime:
    if told.get("timeZone", "UTC") not in UTC_NAMES:
        raise ValueError("the time was asked for in UTC")
    return moment(told["dateTime"])
