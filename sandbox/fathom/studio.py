"""The recordings that a seller's Fathom has made, derived from the same facts as every other system's view.

Whoever attended a meeting by the world's account was invited and spoke; beside them a seller, now and then a colleague
who was invited and did not come, and a tablet that nobody is. Of those in whose place a colleague was invited some have
but a name in the invitation, and some are known by the transcript alone. Transcripts are there two hours after a
meeting, summaries after four.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import blake2b
from json import loads
from random import Random
from typing import Any

from sandbox.companies import Activity, Company, Person
from sandbox.view import View

TRANSCRIPT_TAKES, SUMMARY_TAKES = 2 * 3600, 4 * 3600
SELLER = "rep0@seller.example"
CANARY = "the words that were said"

Row = dict[str, Any]


@dataclass
class Recording:
    id: int
    title: str
    started: int
    minutes: int
    invitees: list[Row]
    # names of those who spoke without having been invited
    uninvited: list[str] = field(default_factory=list)
    extra: Row = field(default_factory=dict)

    @property
    def created(self) -> int:
        """When it is told of: a minute after its end."""
        return self.started + 60 * self.minutes + 60


class Studio(View):
    def __post_init__(self) -> None:
        super().__post_init__()
        self.api_key, self.access_token = "sandbox-fathom-key", "sandbox-fathom-token"
        self.is_closed = False
        self.recordings: dict[int, Recording] = {}
        self._numbers = 0
        self._tell()

    def _tell(self, _before: Company | None = None) -> None:
        people = {person.id: person for person in self.company.people}
        for activity in self.company.activities:
            if activity.type == "meeting_attend" and activity.person_id in people:
                made = _recorded(self.seed, activity, people)
                self.recordings.setdefault(made.id, made)

    # What people do --------------------------------------------------------------------------------------------------

    def record(
        self,
        *invitees: Row,
        title: str = "A meeting",
        ago: int = 0,
        started: int | None = None,
        uninvited: Sequence[str] = (),
    ) -> int:
        """A meeting of one minute whose recording was made so many seconds ago and is shown from now on."""
        with self.lock:
            self._numbers += 1
            begun = self.tick() - ago - 120 if started is None else started
            made = Recording(900_000_000 + self._numbers, title, begun, 1, list(invitees), list(uninvited))
            self.recordings[made.id] = made
            return made.id

    def edit(self, recording: int, **values: Any) -> None:
        with self.lock:
            self.tick()
            self.recordings[recording].extra |= values

    def drop_field(self, name: str) -> None:
        with self.lock:
            self.tick()
            for made in self.recordings.values():
                made.extra.pop(name, None)

    # What the API shows ----------------------------------------------------------------------------------------------

    def shown(self) -> Iterator[Recording]:
        """Newest first."""
        made = (one for one in self.recordings.values() if one.created <= self.seconds)
        yield from sorted(made, key=lambda one: (one.created, one.id), reverse=True)

    def meeting(self, recording: int) -> Row:
        made = self.recordings[recording]
        ended = made.started + 60 * made.minutes
        external = any(one["is_external"] for one in made.invitees)
        return {
            "title": made.title,
            "meeting_title": made.title,
            "meeting_type": None,
            "recording_id": made.id,
            "url": f"https://fathom.video/{made.id}",
            "meeting_url": None,
            "share_url": f"https://fathom.video/share/{made.id}",
            "created_at": _iso(made.created),
            "scheduled_start_time": _iso(made.started),
            "scheduled_end_time": _iso(ended),
            "recording_start_time": _iso(made.started + 12),
            "recording_end_time": _iso(ended - 5),
            "calendar_invitees_domains_type": "one_or_more_external" if external else "only_internal",
            "shared_with": "single_team",
            "transcript_language": "en",
            "calendar_invitees": made.invitees,
            "recorded_by": {"name": "Aisha Rahman", "email": SELLER, "email_domain": "seller.example", "team": "Sales"},
            "crm_matches": None,
        } | made.extra

    def transcript(self, recording: int) -> list[Row] | None:
        made = self.recordings[recording]
        if self.seconds < made.created + TRANSCRIPT_TAKES:
            return None
        spoke = [one for one in made.invitees if one["matched_speaker_display_name"]]
        spoke += [invitee(name, None) for name in made.uninvited]
        return [
            {
                "speaker": {
                    "display_name": one["matched_speaker_display_name"],
                    "matched_calendar_invitee_email": one["email"],
                },
                "text": f"{CANARY} by {one['name']}",
                "timestamp": f"00:00:{place:02}",
            }
            for place, one in enumerate(spoke)
        ]

    def summary(self, recording: int) -> Row | None:
        made = self.recordings[recording]
        if self.seconds < made.created + SUMMARY_TAKES:
            return None
        return {"template_name": "general", "markdown_formatted": f"## {made.title}\n{CANARY}\n"}


def invitee(name: str | None, email: str | None, *, came: bool = True, is_external: bool = True) -> Row:
    return {
        "name": name,
        "matched_speaker_display_name": name if came else None,
        "email": email,
        "email_domain": email.partition("@")[2] if email else None,
        "is_external": is_external,
    }


def _recorded(seed: int, activity: Activity, people: dict[str, Person]) -> Recording:
    rng = Random(f"{seed}/{activity.id}/fathom")
    who = people[activity.person_id]
    invitees = [
        invitee("Aisha Rahman", SELLER, is_external=False),
        invitee(f"{who.first_name} {who.last_name}".strip(), who.email or None),
    ]
    absent = None
    if rng.random() < 0.3:
        colleagues = [one for one in people.values() if one.account_id == who.account_id and one.id != who.id]
        if colleagues:
            absent = rng.choice(sorted(colleagues, key=lambda one: one.id))
            invitees.append(
                invitee(f"{absent.first_name} {absent.last_name}".strip(), absent.email or None, came=False)
            )
    if rng.random() < 0.2:
        invitees.append(invitee("Eric's iPad (Acme)", None))
    uninvited = []
    if absent and absent.email:
        name = f"{who.last_name.upper()}, {who.first_name}"
        known_by = rng.random()
        if known_by < 0.4:
            invitees[1] = invitee(name, None)
        elif known_by < 0.7:
            del invitees[1]
            uninvited.append(name)
    number = int.from_bytes(blake2b(f"{seed}/{activity.id}".encode(), digest_size=4).digest())
    started = int(datetime.fromisoformat(activity.occurred_at).timestamp())
    return Recording(number, "Meeting", started, int(loads(activity.properties)["minutes"]), invitees, uninvited)


def _iso(at: int) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
