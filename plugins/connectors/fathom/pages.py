"""From what Fathom tells to records: pure, and lenient, for its description changes from month to month.

A meeting is landed without a word of what was said in it; who was invited is a record each; what was said, and by whom,
is another stream's, which only a tenant's consent opens.
"""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

from connectors.contract import Record, Rejected

Told = Any  # whatever stands in a list of the vendor's

# What was said, by whom, and what follows from it.
SAID = frozenset({"transcript", "default_summary", "action_items", "highlights"})
# What a participant needs to know of the meeting.
OF_THE_MEETING = (
    "recording_id", "title", "scheduled_start_time", "scheduled_end_time", "recording_start_time",
    "recording_end_time", "created_at",
)  # fmt: skip

Outcome = Record | Rejected


def meetings_of(rows: Iterable[Told], told_at: datetime | None) -> Iterator[Outcome]:
    for position, row in _numbered(rows):
        if refused := _refused(row, position):
            yield refused
            continue
        more = {"kind": "Recorded", "at": _begins(row), "address": _first_guest(row)}
        yield Record(str(row["recording_id"]), _unsaid(row) | more, told_at)


def participants_of(rows: Iterable[Told], told_at: datetime | None) -> Iterator[Outcome]:
    """Everybody who was invited, by address or else by name: the vendor has no id of them."""
    for position, row in _numbered(rows):
        if refused := _refused(row, position):
            yield refused
            continue
        meeting = _of_the_meeting(row)
        for invitee in _invitees(row):
            who = _who(invitee)
            if who is not None:
                record = f"{row['recording_id']}:{who}"
                # whoever spoke has come; of who was silent Fathom knows no more than that they were invited
                kind = "Attended" if invitee.get("matched_speaker_display_name") else "Invited"
                yield Record(record, meeting | dict(invitee) | {"id": record, "kind": kind}, told_at)


def _said_in(meeting: Mapping[str, Any], told_at: datetime | None) -> Record | None:
    """What was said, once there is something: a transcript comes some time after its meeting, a summary later."""
    said = {name: meeting[name] for name in ("transcript", "default_summary") if meeting.get(name)}
    if not said:
        return None
    recording = meeting["recording_id"]
    return Record(str(recording), {"recording_id": recording, **said}, told_at)


def words_of(meeting: Mapping[str, Any], said: Mapping[str, Any], told_at: datetime | None) -> Iterator[Record]:
    """What was said in a meeting, and who said it."""
    words = _said_in(said, told_at)
    if words is not None:
        yield words
        yield from _speakers_of(meeting, said, told_at)


def _speakers_of(meeting: Mapping[str, Any], said: Mapping[str, Any], told_at: datetime | None) -> Iterator[Record]:
    """Everybody who spoke, but for those of whom the list of invitees tells that already."""
    invitees = _invitees(meeting)
    told = {str(invitee.get("matched_speaker_display_name")) for invitee in invitees}
    ours = {str(invitee["email"]).lower() for invitee in invitees if invitee.get("email") and not _is_guest(invitee)}
    seen = set()
    for speaker in _speakers(said):
        name, email = speaker.get("display_name"), speaker.get("matched_calendar_invitee_email")
        who = _who({"name": name, "email": email})
        if who is None or who in seen or who in ours or str(name) in told:
            continue
        seen.add(who)
        # no invitee's id looks like this, so that the two are never taken for one
        record = f"{meeting['recording_id']}:speaker:{who}"
        yield Record(
            record,
            _of_the_meeting(meeting)
            | {"id": record, "kind": "Spoke", "name": name, "email": email, "is_external": True},
            told_at,
        )


def recording_of(row: Told) -> int | None:
    """The id, which is a number; one that comes as text is the same."""
    recording = row.get("recording_id") if isinstance(row, Mapping) else None
    if isinstance(recording, bool) or not isinstance(recording, int | str) or not str(recording).isdigit():
        return None
    return int(recording)


def _numbered(rows: Iterable[Told]) -> Iterator[tuple[str, Told]]:
    return ((f"row {number} of the page", row) for number, row in enumerate(rows, start=1))


def _refused(row: Told, position: str) -> Rejected | None:
    if not isinstance(row, Mapping):
        return Rejected(position, "is not an object with fields", None)
    if recording_of(row) is None:
        # what was said does not go to quarantine either
        return Rejected(position, "has no recording_id", _unsaid(row))
    return None


def _unsaid(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in SAID}


def _begins(row: Mapping[str, Any]) -> Any:
    """When the calendar says so: other systems know the meeting by that, and the recording begins a little later."""
    return row.get("scheduled_start_time") or row.get("recording_start_time") or row.get("created_at")


def _of_the_meeting(row: Mapping[str, Any]) -> dict[str, Any]:
    """What a participant needs to know of it: also with whose company it was, for those who have but a name."""
    guest = _first_guest(row)
    company = {"company_domain": guest.rpartition("@")[2] if guest else None}
    return {name: row.get(name) for name in OF_THE_MEETING} | company | {"at": _begins(row)}


def _invitees(row: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    listed = row.get("calendar_invitees")
    return [invitee for invitee in listed if isinstance(invitee, Mapping)] if isinstance(listed, list) else []


def _speakers(said: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    transcript = said.get("transcript")
    for utterance in transcript if isinstance(transcript, list) else ():
        speaker = utterance.get("speaker") if isinstance(utterance, Mapping) else None
        if isinstance(speaker, Mapping):
            yield speaker


def _first_guest(row: Mapping[str, Any]) -> str | None:
    """The address by which a meeting is with a company."""
    return min(filter(None, (_guest(invitee) for invitee in _invitees(row))), default=None)


def _guest(invitee: Mapping[str, Any]) -> str | None:
    email = invitee.get("email")
    return email.strip().lower() if _is_guest(invitee) and isinstance(email, str) and email else None


def _is_guest(invitee: Mapping[str, Any]) -> bool:
    return bool(invitee.get("is_external"))


def _who(invitee: Mapping[str, Any]) -> str | None:
    known = invitee.get("email") or invitee.get("name")
    return str(known).strip().lower()[:200] or None if known else None
