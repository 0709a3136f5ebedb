"""Reads who researches the tenant's topics: topic by topic, each as seldom as the tenant wants to pay for it.

Everybody who is told of has researched the topic by the day that the data is of. Read again on a later day, they have
done so on that day as well; read again on the same day, they are the same records.
"""

from collections.abc import AsyncIterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Self

from connectors.contract import Cost, Page, Record, Rejected, State, understood
from connectors.delivrai.api import About, Api, Part, Told
from connectors.delivrai.config import DelivraiConfig
from connectors.delivrai.purse import Purse
from connectors.http import Clock, Refused, RepeatGuard

VERSION = 1
# by which of its fields a row is known
KEYS: Mapping[About, str] = {"people": "hem", "companies": "domain"}
OF_STREAM: Mapping[str, About] = {"people_intent": "people", "company_intent": "companies"}


@dataclass(frozen=True, slots=True)
class Walk:
    """One way through a topic, page by page, as of the day `on`. `cursor` is the place of the next page."""

    topic: str
    on: str
    cursor: str | None = None
    count: int = 0


@dataclass(frozen=True, slots=True)
class Progress:
    """`read_at` says when each topic was last read to its end."""

    read_at: Mapping[str, str] = field(default_factory=dict)
    walk: Walk | None = None

    @classmethod
    def of(cls, state: State | None) -> Self:
        if not state:
            return cls()
        with understood(state, VERSION):
            read_at = {str(topic): str(at) for topic, at in state["read_at"].items()}
            for at in read_at.values():
                datetime.fromisoformat(at)
            walk = state["walk"]
            return cls(read_at, None if walk is None else Walk(**walk))

    def state(self) -> dict[str, Any]:
        walk = None if self.walk is None else asdict(self.walk)
        return {"version": VERSION, "read_at": dict(self.read_at), "walk": walk}


class Reader:
    def __init__(
        self, api: Api, stream: str, state: State | None, config: DelivraiConfig, purse: Purse, clock: Clock
    ) -> None:
        self.api, self.stream, self.config, self.purse, self.clock = api, stream, config, purse, clock
        self.about = OF_STREAM[stream]
        self.progress = Progress.of(state)
        self.is_spent = False

    async def pages(self) -> AsyncIterator[Page]:
        for topic in self._due():
            walk = self.progress.walk
            if walk is None or walk.topic != topic:
                price = await self.api.price_of_intent(self.about, self._asked(topic))
                yield Page((), self.progress.state(), notes=[f"{self.stream}: topic {topic} has {price}"])
                walk = Walk(topic, on="")
            async for page in self._topic(walk):
                yield page
            if self.is_spent:
                return

    async def costs(self) -> AsyncIterator[Cost]:
        for topic in self._due():
            price = await self.api.price_of_intent(self.about, self._asked(topic))
            walk = self.progress.walk
            # what is told of the topic as a whole holds what was read of it before the last sync stopped
            read = walk.count if walk is not None and walk.topic == topic else 0
            left = max(0, price.records - read)
            yield Cost(self.stream, f"topic {topic}", left, price.is_ceiling, "" if read else price.money)

    def _due(self) -> list[str]:
        """The topic that a sync stopped in, and those that were not read for long enough, the longest first."""
        now, begun = self._now(), self.progress.walk
        due = [topic for topic in self.config.topics if self._is_due(topic, now)]
        due.sort(key=lambda topic: self.progress.read_at.get(topic, ""))
        if begun is None or begun.topic not in self.config.topics:
            return due
        return [begun.topic, *(topic for topic in due if topic != begun.topic)]

    def _is_due(self, topic: str, now: datetime) -> bool:
        read_at = self.progress.read_at.get(topic)
        return read_at is None or datetime.fromisoformat(read_at) + self.config.intent_every <= now

    async def _topic(self, walk: Walk) -> AsyncIterator[Page]:
        guard = RepeatGuard(f"Reading {self.stream} of topic {walk.topic}")
        while True:
            guard.follow(walk.cursor)
            reserved = self.purse.reserve(self.config.page_size)
            if not reserved:
                self.is_spent = True
                yield await self._stopped(walk)
                return
            try:
                part = await self.api.intent(self.about, self._asked(walk.topic), walk.cursor, reserved)
            except Refused as refused:
                self.purse.settle(reserved, 0)
                if walk.cursor is None or refused.status != 400:
                    raise
                # the place was in data that has been made anew since
                walk, guard = Walk(walk.topic, on=""), RepeatGuard(f"Reading {self.stream} of topic {walk.topic} anew")
                yield Page(
                    (), self.progress.state(), notes=[f"{self.stream}: topic {walk.topic} begins again: {refused}"]
                )
                continue
            self.purse.settle(reserved, len(part.rows))
            yield self._page(walk, part)
            if self.progress.walk is None:
                return
            walk = self.progress.walk

    def _page(self, walk: Walk, part: Part) -> Page:
        as_of = (part.as_of or self._now()).astimezone(UTC)
        # one reading is of one day, also where the data changes while it is read
        walk = replace(walk, on=walk.on or f"{as_of:%Y-%m-%d}", cursor=part.next, count=walk.count + len(part.rows))
        records: list[Record] = []
        rejected: list[Rejected] = []
        for number, row in enumerate(part.rows, start=1):
            outcome = record_of(self.about, row, walk.topic, walk.on, as_of, f"row {number} of topic {walk.topic}")
            (records if isinstance(outcome, Record) else rejected).append(outcome)  # type: ignore[arg-type]
        if walk.cursor is None:
            read_at = {**self.progress.read_at, walk.topic: self._now().isoformat()}
            self.progress = Progress(read_at)
        else:
            self.progress = replace(self.progress, walk=walk)
        return Page(records, self.progress.state(), rejected)

    async def _stopped(self, walk: Walk) -> Page:
        price = await self.api.price_of_intent(self.about, self._asked(walk.topic))
        note = (
            f"{self.stream} stops in topic {walk.topic}: this run may take {self.purse.records:,} records in all and"
            f" has. The topic has {price}, of which {walk.count:,} are read; the next sync goes on there. Raise"
            " budget_per_run to have more at once"
        )
        return Page((), self.progress.state(), notes=[note])

    def _asked(self, topic: str) -> dict[str, Any]:
        asked: dict[str, Any] = {"topic_id": topic, "min_score": self.config.min_score}
        # the address behind a digest costs no more, and tells at which company somebody is
        return asked | {"resolve": True} if self.about == "people" else asked

    def _now(self) -> datetime:
        return (self.api.vendor_now or self.clock.now()).astimezone(UTC)


def record_of(about: About, row: Told, topic: str, on: str, as_of: datetime | None, position: str) -> Record | Rejected:
    """Somebody researches a topic, or several people at a company do."""
    key = row.get(KEYS[about]) if isinstance(row, Mapping) else None
    if not isinstance(key, str) or not key.strip():
        return Rejected(position, f"has no {KEYS[about]}", row)
    record = f"{topic}:{key.strip().lower()}:{on}"
    return Record(record, {**row, "id": record, "topic": topic, "kind": "Researched", "at": on}, as_of)
