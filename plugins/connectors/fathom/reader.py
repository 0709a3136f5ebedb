"""Reads one stream of Fathom: meetings since some days before the last reading, in windows that do not move.

The list's pages are numbered, so the period is closed at its end: a meeting that is new in between would move every
page by one.
"""

from collections.abc import AsyncIterator, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Self

from connectors.contract import Page, Record, Rejected, State, understood
from connectors.fathom.api import Api
from connectors.fathom.config import FathomConfig
from connectors.fathom.pages import meetings_of, participants_of, recording_of, words_of
from connectors.http import Clock, RepeatGuard

VERSION = 1


@dataclass(frozen=True, slots=True)
class Walk:
    """One way through a closed period. `cursor` is the place of the next page."""

    since: str
    upto: str
    cursor: str | None = None


@dataclass(frozen=True, slots=True)
class Progress:
    read_upto: str | None = None
    walk: Walk | None = None

    @classmethod
    def of(cls, state: State | None) -> Self:
        if not state:
            return cls()
        with understood(state, VERSION):
            if state["read_upto"] is not None:
                datetime.fromisoformat(state["read_upto"])
            walk = state["walk"]
            return cls(state["read_upto"], None if walk is None else Walk(**walk))

    def state(self) -> dict[str, Any]:
        walk = None if self.walk is None else asdict(self.walk)
        return {"version": VERSION, "read_upto": self.read_upto, "walk": walk}


class Reader:
    def __init__(self, api: Api, state: State | None, config: FathomConfig, clock: Clock) -> None:
        self.api = api
        self.progress = Progress.of(state)
        self.config = config
        self.clock = clock

    async def pages(self, stream: str) -> AsyncIterator[Page]:
        walk = self.progress.walk or self._next()
        guard = RepeatGuard(f"Reading {stream}")
        wants_words = stream == "transcripts"
        while True:
            guard.follow(walk.cursor)
            rows, cursor = await self.api.meetings(
                walk.cursor, created_after=walk.since, created_before=walk.upto, with_words=wants_words
            )
            records, rejected = await self._read(stream, rows)
            walk = replace(walk, cursor=cursor)
            self.progress = Progress(walk.upto) if cursor is None else replace(self.progress, walk=walk)
            yield Page(records, self.progress.state(), rejected)
            if cursor is None:
                return

    def _next(self) -> Walk:
        now = (self.api.vendor_now or self.clock.now()).astimezone(UTC)
        if self.progress.read_upto is None:
            since = now - timedelta(days=self.config.history_days)
        else:
            since = datetime.fromisoformat(self.progress.read_upto) - self.config.reread
        # its stamps are of seconds, and what is made within this one is made before the next
        return Walk(_iso(since), _iso(now + timedelta(seconds=1)))

    async def _read(self, stream: str, rows: list[Any]) -> tuple[list[Record], list[Rejected]]:
        told_at = self.api.vendor_now
        if stream == "transcripts":
            return [record for row in rows for record in await self._said(row)], []
        read = participants_of if stream == "participants" else meetings_of
        records: list[Record] = []
        rejected: list[Rejected] = []
        for outcome in read(rows, told_at):
            if isinstance(outcome, Record):
                records.append(outcome)
            else:
                rejected.append(outcome)
        return records, rejected

    async def _said(self, row: Any) -> list[Record]:
        """With a key the list itself tells; an app that somebody logged in asks recording by recording."""
        recording = recording_of(row)
        if recording is None:
            return []
        words: Mapping[str, Any] = row
        if not self.api.lists_words:
            words = {"recording_id": recording, **await self.api.words_of(recording)}
        return list(words_of(row, words, self.api.vendor_now))


def _iso(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
