"""Reads who came to the tenant's website: in windows of time that are over, each of them once.

What comes late within `visits_settle_minutes` is still in its window; to read with an overlap would be to pay twice.
Bounds are both inclusive, so a window ends one millisecond before the next.
"""

from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import Any, Self

import orjson

from connectors.contract import Cost, Page, Record, Rejected, State, understood
from connectors.delivrai.api import Api, Told
from connectors.delivrai.config import DelivraiConfig
from connectors.delivrai.contacts import addresses_in
from connectors.delivrai.purse import Purse
from connectors.http import Clock, RepeatGuard

VERSION = 1
HOUR = timedelta(hours=1)
# The vendor promises no names of fields; a row that tells its time in none of these happened when its window began.
TIMES = ("timestamp_ms", "event_timestamp_ms", "timestamp", "event_timestamp", "event_time", "created_at")
IDS = ("event_id", "id")


@dataclass(frozen=True, slots=True)
class Window:
    """Times are milliseconds; `offset` is how many of its rows are read."""

    start: int
    end: int
    offset: int = 0


@dataclass(frozen=True, slots=True)
class Progress:
    read_upto: int | None = None
    window: Window | None = None

    @classmethod
    def of(cls, state: State | None) -> Self:
        if not state:
            return cls()
        with understood(state, VERSION):
            window, upto = state["window"], state["read_upto"]
            return cls(None if upto is None else int(upto), None if window is None else Window(**window))

    def state(self) -> dict[str, Any]:
        window = None if self.window is None else asdict(self.window)
        return {"version": VERSION, "read_upto": self.read_upto, "window": window}


class Reader:
    def __init__(self, api: Api, state: State | None, config: DelivraiConfig, purse: Purse, clock: Clock) -> None:
        self.api, self.config, self.purse, self.clock = api, config, purse, clock
        self.progress = Progress.of(state)

    async def pages(self) -> AsyncIterator[Page]:
        if self.api.vendor_now is None:
            # windows are by Delivr.ai's clock, which each answer tells; a check has mostly been before
            await self.api.whoami()
        while (window := self.progress.window or self._next(self.progress.read_upto)) is not None:
            guard = RepeatGuard("Reading visits")
            while True:
                reserved = self.purse.reserve(self.config.page_size)
                if not reserved:
                    yield Page((), self.progress.state(), notes=[await self._stopped(window)])
                    return
                rows = await self.api.visits(window.start, window.end - 1, window.offset, reserved)
                self.purse.settle(reserved, len(rows))
                if rows:
                    guard.follow(_digest(rows))
                yield self._page(window, rows, reserved)
                if self.progress.window is None:
                    break
                window = self.progress.window

    async def costs(self) -> AsyncIterator[Cost]:
        if self.api.vendor_now is None:
            await self.api.whoami()
        window = self.progress.window or self._next(self.progress.read_upto)
        while window is not None:
            price = await self.api.price_of_visits(window.start, window.end - 1)
            left = max(0, price.records - window.offset)
            what = f"from {_moment(window.start):%Y-%m-%d %H:%M} to {_moment(window.end):%Y-%m-%d %H:%M} UTC"
            yield Cost("visits", what, left, price.is_ceiling, "" if window.offset else price.money)
            window = self._next(window.end)

    def _next(self, read_upto: int | None) -> Window | None:
        now = (self.api.vendor_now or self.clock.now()).astimezone(UTC)
        horizon = (now - self.config.visits_settle).replace(minute=0, second=0, microsecond=0)
        start = _milliseconds(horizon - self.config.visits_history) if read_upto is None else read_upto
        end = min(start + int(self.config.visits_window / timedelta(milliseconds=1)), _milliseconds(horizon))
        return Window(start, end) if start < end else None

    def _page(self, window: Window, rows: list[Told], asked_for: int) -> Page:
        records: list[Record] = []
        rejected: list[Rejected] = []
        for number, row in enumerate(rows, start=window.offset + 1):
            outcome = record_of(row, _moment(window.start), f"row {number} of the window from {window.start}")
            (records if isinstance(outcome, Record) else rejected).append(outcome)  # type: ignore[arg-type]
        # a row that comes twice in a page is one row on the way through the window
        read = len({_digest(row) for row in rows})
        if read < asked_for:
            self.progress = Progress(window.end)
        else:
            self.progress = replace(self.progress, window=replace(window, offset=window.offset + read))
        return Page(records, self.progress.state(), rejected)

    async def _stopped(self, window: Window) -> str:
        price = await self.api.price_of_visits(window.start, window.end - 1)
        return (
            f"visits stop at {_moment(window.start):%Y-%m-%d %H:%M} UTC: this run may take {self.purse.records:,}"
            f" records in all and has. The window that follows has {price}; the next sync goes on there. Raise"
            " budget_per_run to have more at once"
        )


def record_of(row: Told, begun: datetime, position: str) -> Record | Rejected:
    if not isinstance(row, Mapping):
        return Rejected(position, "is not an object with fields", row)
    told = next((row[name] for name in IDS if isinstance(row.get(name), str) and row[name]), None)
    record = told[:200] if told else _digest(row)
    at = next(_times_in(row), begun)
    named = row.get("current_business_email")
    email = next(addresses_in({"named": named}), None) or next(addresses_in(row), None)
    return Record(record, {**row, "id": record, "kind": "Visited", "at": at.isoformat(), "email": email}, at)


def _times_in(row: Mapping[str, Any]) -> Iterator[datetime]:
    for name in TIMES:
        value = row.get(name)
        try:
            if isinstance(value, int | float) and not isinstance(value, bool):
                # of seconds or milliseconds, whichever is in our days
                yield datetime.fromtimestamp(value / 1000 if value > 100_000_000_000 else value, UTC)
            elif isinstance(value, str):
                at = datetime.fromisoformat(value)
                yield at if at.tzinfo else at.replace(tzinfo=UTC)
        except (OverflowError, OSError, ValueError):
            continue


def _digest(content: Any) -> str:
    return blake2b(orjson.dumps(content, option=orjson.OPT_SORT_KEYS), digest_size=16).hexdigest()


def _milliseconds(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)


def _moment(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)
