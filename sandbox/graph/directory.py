"""A directory with mailboxes and calendars in memory, its clock, and everything that happens to mails and meetings.

The clock stands still unless it is told to advance; every change moves it by a second. Two directories of the same seed
that live through the same calls hold the same bytes.
"""

import base64
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import Any

from sandbox.companies import Company
from sandbox.graph import world
from sandbox.graph.feed import Feed
from sandbox.graph.world import OWN_DOMAIN, Meeting, Party
from sandbox.salesforce.world import REPS
from sandbox.view import View

FOLDERS = ("inbox", "sentitems", "drafts", "archive", "deleteditems")
# Stands in every subject, preview and body, so that one word tells whether any of them got out.
CANARY = "canary-of-what-was-written"
PLACES = "%Y-%m-%dT%H:%M:%S"


@dataclass(slots=True)
class Mailbox:
    """A user with folders of messages and a calendar, each a feed of changes."""

    id: str
    name: str
    address: str
    folders: dict[str, Feed] = field(default_factory=lambda: {name: Feed() for name in FOLDERS})
    calendar: Feed = field(default_factory=Feed)
    is_open: bool = True


@dataclass(eq=False)
class Directory(View):
    is_empty: bool = field(default=False, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.directory_id, self.client_id, self.client_secret = "sandbox-directory", "sandbox-client", "sandbox-secret"
        self.tokens: set[str] = set()
        self.logins = 0
        # Graph cuts a round that is filtered by time off after so many messages.
        self.filtered_at_most = 5_000
        self.latency = 0.0
        self.mailboxes = [
            Mailbox(self._id("user", number), world.seller(number).name, world.seller(number).address)
            for number in range(len(REPS))
        ]
        self._numbers = 0
        if not self.is_empty:
            self._tell()

    # Time ------------------------------------------------------------------------------------------------------------

    def _tick(self) -> datetime:
        self.now += timedelta(seconds=1)
        return self.now

    def _tell(self, before: Company | None = None) -> None:
        since = str(before.world.today if before else self.company.world.since)
        for mail in world.mails(self.company, since):
            folder = "sentitems" if mail.is_ours else "inbox"
            self._put_mail(
                self.mailboxes[mail.seller], folder, mail.key, mail.thread, mail.at, mail.sender, mail.to, mail.copied
            )
        for meeting in world.meetings(self.company, since):
            self._put_meeting(meeting)

    # What people do --------------------------------------------------------------------------------------------------

    def mailbox(self, name: str) -> Mailbox:
        """By id or address."""
        return next(each for each in self.mailboxes if name in (each.id, each.address))

    def receive(
        self,
        sender: Party,
        *,
        to: int = 0,
        copied: tuple[Party, ...] = (),
        thread: str = "",
        at: datetime | None = None,
        folder: str = "inbox",
        changed: datetime | None = None,
    ) -> str:
        """A mail comes; returns its immutable id."""
        with self.lock:
            key = self._key("mail")
            moment = at or self._tick()
            us = world.seller(to)
            return self._put_mail(
                self.mailboxes[to], folder, key, thread or key, moment, sender, (us,), copied, changed or self.now
            )

    def send(self, to: tuple[Party, ...], *, by: int = 0, thread: str = "", at: datetime | None = None) -> str:
        with self.lock:
            key = self._key("mail")
            us = world.seller(by)
            return self._put_mail(
                self.mailboxes[by], "sentitems", key, thread or key, at or self._tick(), us, to, (), self.now
            )

    def edit_message(self, id: str, **fields: Any) -> None:
        with self.lock:
            feed = self._feed_of(id)
            feed.put(id, {**feed.items[id], **fields, "lastModifiedDateTime": self._stamp(self._tick())})

    def move(self, id: str, folder: str) -> None:
        """In the folder that it leaves it is removed, in the one that it comes to it is new."""
        with self.lock:
            feed = self._feed_of(id)
            mailbox = next(each for each in self.mailboxes if feed in each.folders.values())
            item = feed.items[id]
            feed.remove(id)
            moved = {**item, "moves": item["moves"] + 1, "lastModifiedDateTime": self._stamp(self._tick())}
            mailbox.folders[folder].put(id, moved)

    def delete_message(self, id: str) -> None:
        with self.lock:
            self._tick()
            self._feed_of(id).remove(id)

    def meet(
        self,
        attendees: tuple[Party, ...],
        start: datetime,
        *,
        sellers: tuple[int, ...] = (0,),
        minutes: int = 30,
        changed: datetime | None = None,
    ) -> str:
        """A meeting is arranged; returns the immutable id of the first seller's entry."""
        with self.lock:
            meeting = Meeting(self._key("meeting"), sellers, start, minutes, attendees)
            return self._put_meeting(meeting, changed or self._tick())[0]

    def edit_event(self, id: str, **fields: Any) -> None:
        with self.lock:
            calendar = self._calendar_of(id)
            calendar.put(id, {**calendar.items[id], **fields, "lastModifiedDateTime": self._stamp(self._tick())})

    def delete_event(self, id: str) -> dict[str, Any]:
        with self.lock:
            self._tick()
            calendar = self._calendar_of(id)
            item = calendar.items[id]
            calendar.remove(id)
            return item

    def restore_event(self, id: str, item: dict[str, Any], *, of: int = 0) -> None:
        with self.lock:
            stamp = self._stamp(self._tick())
            self.mailboxes[of].calendar.put(id, {**item, "lastModifiedDateTime": stamp})

    def series(self, attendees: tuple[Party, ...], start: datetime, times: int, *, of: int = 0) -> list[str]:
        """A meeting of every week; returns the ids of its occurrences, of which Graph says little but when."""
        with self.lock:
            key, stamp = self._key("series"), self._tick()
            calendar = self.mailboxes[of].calendar
            master = self._event(Meeting(key, (of,), start, 30, attendees), of, stamp) | {"type": "seriesMaster"}
            calendar.put(master["id"], master)
            ids = []
            for number in range(times):
                at = start + timedelta(weeks=number)
                id = self._id("occurrence", key, number)
                calendar.put(
                    id,
                    {
                        **master,
                        **_times(at, 30),
                        "id": id,
                        "type": "occurrence",
                        "seriesMasterId": master["id"],
                    },
                )
                ids.append(id)
            return ids

    def lose_places(self, mailbox: int, folder: str = "") -> None:
        """Every link into this folder, or into the calendar, is answered with 410 from now on."""
        with self.lock:
            box = self.mailboxes[mailbox]
            (box.folders[folder] if folder else box.calendar).generation += 1

    # What is there ---------------------------------------------------------------------------------------------------

    def messages(self, folders: tuple[str, ...] = ("inbox", "sentitems")) -> Iterator[tuple[Mailbox, dict[str, Any]]]:
        for mailbox in self.mailboxes:
            for name in folders:
                for item in mailbox.folders[name].items.values():
                    yield mailbox, item

    def events(self) -> Iterator[tuple[Mailbox, dict[str, Any]]]:
        for mailbox in self.mailboxes:
            for item in mailbox.calendar.items.values():
                yield mailbox, item

    def _feed_of(self, id: str) -> Feed:
        return next(feed for box in self.mailboxes for feed in box.folders.values() if id in feed.items)

    def _calendar_of(self, id: str) -> Feed:
        return next(box.calendar for box in self.mailboxes if id in box.calendar.items)

    def _put_mail(
        self,
        mailbox: Mailbox,
        folder: str,
        key: str,
        thread: str,
        at: datetime,
        sender: Party,
        to: tuple[Party, ...],
        copied: tuple[Party, ...],
        changed: datetime | None = None,
    ) -> str:
        id = self._id("message", mailbox.id, key)
        index = blake2b(f"{self.seed}/{thread}".encode(), digest_size=22).digest()
        mailbox.folders[folder].put(
            id,
            {
                "id": id,
                "moves": 0,
                "internetMessageId": f"<{key}@{sender.address.partition('@')[2]}>",
                # every mailbox has its own for the same conversation; the index alone is the same everywhere
                "conversationId": self._id("conversation", mailbox.id, thread),
                "conversationIndex": base64.b64encode(index + b"\x01\x02\x03\x04\x05").decode(),
                "sentDateTime": self._stamp(at),
                "receivedDateTime": self._stamp(at),
                "createdDateTime": self._stamp(at),
                "lastModifiedDateTime": self._stamp(changed or at),
                "isDraft": False,
                "isRead": False,
                "subject": f"Re: {CANARY}",
                "bodyPreview": f"{CANARY} ...",
                "body": {"contentType": "html", "content": f"<p>{CANARY}</p>"},
                "from": recipient(sender),
                "sender": recipient(sender),
                "toRecipients": [recipient(one) for one in to],
                "ccRecipients": [recipient(one) for one in copied],
                "bccRecipients": [],
                "parentFolderId": folder,
                "hasAttachments": False,
            },
        )
        return id

    def _put_meeting(self, meeting: Meeting, changed: datetime | None = None) -> list[str]:
        ids = []
        for number in meeting.sellers:
            event = self._event(meeting, number, changed or meeting.at - timedelta(days=3))
            self.mailboxes[number].calendar.put(event["id"], event)
            ids.append(event["id"])
        return ids

    def _event(self, meeting: Meeting, number: int, changed: datetime) -> dict[str, Any]:
        organizer = world.seller(meeting.sellers[0])
        colleagues = [world.seller(other) for other in meeting.sellers[1:]]
        return {
            "id": self._id("event", self.mailboxes[number].id, meeting.key),
            "iCalUId": self._id("ical", meeting.key),
            "createdDateTime": self._stamp(changed),
            "lastModifiedDateTime": self._stamp(changed),
            "type": "singleInstance",
            "seriesMasterId": None,
            "subject": f"Meeting: {CANARY}",
            "bodyPreview": f"{CANARY} ...",
            "body": {"contentType": "html", "content": f"<p>{CANARY}</p>"},
            **_times(meeting.at, meeting.minutes),
            "isAllDay": False,
            "isCancelled": False,
            "isDraft": False,
            "isOrganizer": number == meeting.sellers[0],
            "responseStatus": {"response": "organizer" if number == meeting.sellers[0] else "accepted"},
            "organizer": recipient(organizer),
            "attendees": [
                recipient(one) | {"type": "required", "status": {"response": "accepted", "time": self._stamp(changed)}}
                for one in (*meeting.attendees, *colleagues)
            ],
            "location": {"displayName": CANARY},
        }

    def _key(self, kind: str) -> str:
        self._numbers += 1
        return f"{kind}-{self._numbers}"

    def _id(self, *what: object) -> str:
        return "AAkAL" + blake2b("/".join(map(str, (self.seed, *what))).encode(), digest_size=24).hexdigest()

    @staticmethod
    def _stamp(at: datetime) -> str:
        return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def recipient(party: Party) -> dict[str, Any]:
    return {"emailAddress": {"name": party.name, "address": party.address}}


def _times(at: datetime, minutes: int) -> dict[str, Any]:
    return {
        name: {"dateTime": f"{moment.strftime(PLACES)}.0000000", "timeZone": "UTC"}
        for name, moment in (("start", at), ("end", at + timedelta(minutes=minutes)))
    }


__all__ = ["CANARY", "OWN_DOMAIN", "Directory", "Mailbox", "recipient"]
