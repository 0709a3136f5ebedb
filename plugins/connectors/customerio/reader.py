"""Reads one stream of Customer.io: what is new, and what may have changed since it was new.

No list of the vendor's knows when a record changed. So each has a way of its own:

    messages     by the time of their making, and the last two weeks always anew: opens and clicks come late
    activities   newest first, back to where the last reading began; after 30 days they are gone
    people       whole now and then, and in between those of whom the activities say that they changed
    the rest     whole each time: they are short
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, timedelta
from typing import Any

from connectors.contract import Page, Record, Rejected, State
from connectors.customerio.api import MOST_PEOPLE_PER_LOOK, Api, Part
from connectors.customerio.config import CustomerioConfig
from connectors.customerio.pages import activities_of, cio_id_of, gone, messages_of, people_of, things_of
from connectors.customerio.reading import Progress, Walk
from connectors.customerio.streams import LATE_ACTIVITIES
from connectors.http import Clock, RepeatGuard

# A query for more is cut to its last six months, in silence.
LONGEST_WINDOW = int(timedelta(days=150).total_seconds())
ACTIVITIES_ARE_KEPT = timedelta(days=30)
# What tells that a person is new or another.
CHANGES_OF_PEOPLE = ("profile_create", "attribute_change", "profile_merge")
DELETIONS = "profile_delete"
MADE, CHANGED, WHOLE = "made", "changed", "whole"


class Reader:
    """`progress` is what the state of the next page tells."""

    def __init__(self, api: Api, state: State | None, config: CustomerioConfig, clock: Clock) -> None:
        self.api = api
        self.progress = Progress.of(state)
        self.config = config
        self.clock = clock
        self._notes: list[str] = []  # for the next page

    async def pages(self, stream: str) -> AsyncIterator[Page]:
        ways = {"messages": self._messages, "activities": self._activities, "people": self._people}
        way = ways.get(stream)
        async for page in way() if way else self._short_list(stream):
            notes, self._notes = self._notes, []
            yield replace(page, notes=notes)

    def _now(self) -> int:
        """Customer.io's clock: stamps are of its making."""
        return int((self.api.vendor_now or self.clock.now()).astimezone(UTC).timestamp())

    # ── messages ──

    async def _messages(self) -> AsyncIterator[Page]:
        walk: Walk | None = self.progress.walk or self._next_messages()
        while walk is not None:
            async for page in self._window(walk):
                yield page
            walk = self.progress.walk

    def _next_messages(self) -> Walk:
        read_upto = self.progress.read_upto.get(MADE)
        if read_upto is None:
            return Walk(MADE, since=int(self._now() - timedelta(days=self.config.history_days).total_seconds()))
        return Walk(MADE, since=int(read_upto - self.config.reread.total_seconds()))

    async def _window(self, walk: Walk) -> AsyncIterator[Page]:
        """One window, oldest window first. Only the last has no upper end, and what its first answer's clock says is
        how far the stream is read: what comes meanwhile stands before the pages that are read already.
        """
        until = walk.since + LONGEST_WINDOW
        is_last = until >= self._now()
        guard = RepeatGuard("Reading messages")
        while True:
            guard.follow(walk.start)
            part = await self.api.messages(
                walk.start, self.config.page_size, since=walk.since, until=None if is_last else until
            )
            walk = replace(walk, start=part.next, upto=walk.upto or self._now())
            records, rejected = messages_of(part.rows)
            if part.next is not None:
                self.progress = self.progress.on(walk)
            elif is_last:
                self.progress = self.progress.through(MADE, walk.upto or self._now())
            else:
                self.progress = self.progress.on(Walk(MADE, since=until))
            yield Page(records, self.progress.state(), rejected)
            if part.next is None:
                return

    # ── activities ──

    async def _activities(self) -> AsyncIterator[Page]:
        types = self.config.activity_types
        begun = self.progress.walk
        # one that was cut short is brought to its end first
        order = sorted(types, key=lambda kind: begun is None or kind != begun.of)
        for kind in order:
            walk = begun if begun is not None and begun.of == kind else self._next_activities(kind)
            async for page in self._back_to(walk):
                yield page

    def _next_activities(self, kind: str) -> Walk:
        read_upto = self.progress.read_upto.get(kind)
        if read_upto is None:
            return Walk(kind)
        if self._now() - read_upto > ACTIVITIES_ARE_KEPT.total_seconds():
            self._notes.append(
                f"activities of type {kind} were last read more than 30 days ago, and Customer.io keeps no more: those"
                " in between are lost. Sync at least every two weeks"
            )
        return Walk(kind, since=int(read_upto - LATE_ACTIVITIES.total_seconds()))

    async def _back_to(self, walk: Walk) -> AsyncIterator[Page]:
        guard = RepeatGuard(f"Reading {walk.of} activities")
        while True:
            guard.follow(walk.start)
            part = await self.api.activities(walk.of, walk.start, self.config.page_size)
            walk = replace(walk, start=part.next, upto=walk.upto or self._now())
            records, rejected = activities_of(part.rows)
            ends = part.next is None or _all_before(part, walk.since)
            self.progress = self.progress.through(walk.of, walk.upto or self._now()) if ends else self.progress.on(walk)
            yield Page(records, self.progress.state(), rejected)
            if ends:
                return

    # ── people ──

    async def _people(self) -> AsyncIterator[Page]:
        if self.progress.walk is None and CHANGED in self.progress.read_upto:
            async for page in self._changed_people():
                yield page
        if self.progress.walk is not None or self._whole_is_due():
            async for page in self._all_people():
                yield page

    def _whole_is_due(self) -> bool:
        whole_at = self.progress.whole_at
        return whole_at is None or self._now() - whole_at >= self.config.people_whole_every_hours * 3600

    async def _changed_people(self) -> AsyncIterator[Page]:
        """Those of whom the log says so since last time. The state moves when all of them are there."""
        since = int(self.progress.read_upto[CHANGED] - LATE_ACTIVITIES.total_seconds())
        before = self.progress.state()
        upto: int | None = None
        changed: set[str] = set()
        for kind in CHANGES_OF_PEOPLE:
            async for part in self._log_back_to(kind, since):
                upto = upto or self._now()
                changed.update(who for row in part.rows if (who := cio_id_of(row)) is not None)
        deleted, rejected = await self._deleted(since)
        waiting = sorted(changed - {record.id for record in deleted})
        for some in self._in_lots(waiting):
            records, refused = await self._known_of(some)
            yield Page(records, before, refused)
        if upto is not None and upto - since > ACTIVITIES_ARE_KEPT.total_seconds():
            self._notes.append(
                "people were last read more than 30 days ago, and Customer.io tells of deletions no longer: who was"
                " deleted in between still counts as there. Sync at least every two weeks"
            )
        self.progress = self.progress.through(CHANGED, upto or self._now())
        yield Page(deleted, self.progress.state(), rejected)

    async def _deleted(self, since: int) -> tuple[list[Record], list[Rejected]]:
        deleted: list[Record] = []
        rejected: list[Rejected] = []
        async for part in self._log_back_to(DELETIONS, since, of_deleted=True):
            for row in part.rows:
                outcome = gone(row, self.api.vendor_now)
                if isinstance(outcome, Record):
                    deleted.append(outcome)
                else:
                    rejected.append(outcome)
        return deleted, rejected

    async def _log_back_to(self, kind: str, since: int, *, of_deleted: bool = False) -> AsyncIterator[Part]:
        guard = RepeatGuard(f"Reading {kind} activities")
        start: str | None = None
        while True:
            guard.follow(start)
            part = await self.api.activities(kind, start, self.config.page_size, of_deleted=of_deleted)
            yield part
            start = part.next
            if start is None or _all_before(part, since):
                return

    async def _all_people(self) -> AsyncIterator[Page]:
        walk = self.progress.walk or Walk(WHOLE)
        guard = RepeatGuard("Reading people")
        while True:
            guard.follow(walk.start)
            part = await self.api.people(self._everybody(), walk.start, self.config.page_size)
            walk = replace(walk, start=part.next, upto=walk.upto or self._now())
            ids = [str(who["cio_id"]) for who in part.rows if isinstance(who, Mapping) and who.get("cio_id")]
            records: list[Record] = []
            rejected: list[Rejected] = []
            for some in self._in_lots(ids):
                found, refused = await self._known_of(some)
                records += found
                rejected += refused
            walk = replace(walk, count=walk.count + len({record.id for record in records}))
            if part.next is not None:
                self.progress = self.progress.on(walk)
                yield Page(records, self.progress.state(), rejected)
                continue
            upto = walk.upto or self._now()
            if CHANGED not in self.progress.read_upto:
                # the next reading looks back as far: the first would else end with less than two of them
                deleted, refused = await self._deleted(int(upto - LATE_ACTIVITIES.total_seconds()))
                records += deleted
                rejected += refused
            read_upto = {CHANGED: upto, **self.progress.read_upto}
            self.progress = Progress(read_upto, whole_at=upto)
            yield Page(records, self.progress.state(), rejected, completes=walk.count)
            return

    async def _known_of(self, cio_ids: Sequence[str]) -> tuple[list[Record], list[Rejected]]:
        rows = await self.api.attributes(cio_ids)
        return people_of(rows, self.api.vendor_now)

    def _in_lots(self, cio_ids: Sequence[str]) -> list[Sequence[str]]:
        size = min(self.config.page_size, MOST_PEOPLE_PER_LOOK)
        return [cio_ids[start : start + size] for start in range(0, len(cio_ids), size)]

    def _everybody(self) -> dict[str, Any]:
        if self.config.people_segment is not None:
            return {"segment": {"id": self.config.people_segment}}
        return {"attribute": {"field": "email", "operator": "exists"}}

    # ── short lists ──

    async def _short_list(self, stream: str) -> AsyncIterator[Page]:
        records, rejected = things_of(await self.api.all_of(stream))
        yield Page(records, self.progress.state(), rejected)


def _all_before(part: Part, since: int) -> bool:
    """Whether a page of a list that goes back in time has come to an end of what is asked for."""
    stamps = [row.get("timestamp") if isinstance(row, Mapping) else None for row in part.rows]
    return bool(stamps) and all(isinstance(stamp, int) and stamp < since for stamp in stamps)
