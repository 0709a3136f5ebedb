"""Sends what is planned, and knows at any moment what it may have sent.

Before each call one more look at its records: what somebody changed since the last sync is met by the policy of its
field, what shows already what we want is left alone. Then the intent is committed, then the call goes out, then its
outcome is committed. Where an answer is lost, or a run was killed in between, the records themselves tell.
"""

import asyncio
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from connectors.contract import Change, Receipt, Retry, Shown, WaitUntil, Writer
from control.writeback_configs import SCORES
from steps.patience import Patience
from steps.source import Source
from steps.writeback_receipts import Intent, Override, Planned, Receipts

# Who is busy is asked again after all others had their turn, after so many seconds.
PAUSES = (0.0, 1.0, 4.0, 16.0)
# How many records are looked at in one go, and how many receipts are settled in one transaction.
SLICE = 2_000
SECONDS_BETWEEN_REPORTS = 10.0


@dataclass(frozen=True)
class Field:
    """A target field: which of our values it shows, and what to do where somebody else changed it."""

    canonical: str
    policy: str


@dataclass
class Sending:
    receipts: Receipts
    writer: Writer
    source: Source
    fields: Mapping[str, Field]
    report: Callable[[str], None]
    # an undo puts back whatever was there, and only where nobody has changed what we sent
    undoing: bool = False
    # by stream and field, with the vendor's sentence: nobody's record can have these
    stopped: dict[tuple[str, str], str] = field(default_factory=dict)
    # records and fields that somebody else changed and that stay so
    kept: set[tuple[str, str]] = field(default_factory=set)
    _sent: int = 0
    _told: float = 0.0

    async def settle_open(self, *, again: bool = False) -> None:
        """Find out what became of everything that may have been sent; what was not is to be sent `again`, or not."""
        for ticket in self.receipts.tickets():
            self.report(f"waits for the job {ticket} of an earlier run")
            await self.writer.end_of(ticket)
        for stream in self.receipts.streams("sending"):
            while open_ones := self.receipts.open(stream, "sending", "", SLICE):
                await self._settle(stream, open_ones, again=again)

    async def send(self) -> None:
        """Everything that is planned, stream by stream."""
        for stream in self.receipts.streams("planned"):
            for number, pause in enumerate(PAUSES):
                if not (count := self.receipts.count(stream, "planned")):
                    break
                if pause:
                    self.report(f"{stream}: {count:,} records are locked by somebody else, asks again in {pause:g} s")
                    await asyncio.sleep(pause)
                await self._once(stream, count, is_last=number + 1 == len(PAUSES))

    async def _once(self, stream: str, count: int, *, is_last: bool) -> None:
        """Each planned record of the stream once, from its look to its outcome."""
        patience = Patience(lambda line: self.report(f"{stream} {line}"))
        after, most = "", self.writer.at_once(count)
        while True:
            changes: list[Change] = []
            reached = after
            try:
                while len(changes) < most:
                    rows = self.receipts.open(stream, "planned", reached, min(most - len(changes), SLICE))
                    if not rows:
                        break
                    changes += await self._looked_at(stream, rows)
                    reached = rows[-1].record_id
                if changes:
                    await self._write(stream, changes, is_last=is_last)
            except WaitUntil:
                self.receipts.take_back(stream)
                raise
            except Retry as error:
                await patience.wait(error)
                await self.settle_open(again=True)
                continue
            patience.moved_on()
            if reached == after:
                return
            after = reached

    # ── the look ──

    async def _looked_at(self, stream: str, rows: Sequence[Planned]) -> list[Change]:
        """What is to be sent of these, committed as intended; the others are settled."""
        names = sorted({name for row in rows for name in row.wanted if (stream, name) not in self.stopped})
        now = await self._shown(stream, names, rows)
        intents: list[Intent] = []
        changes: list[Change] = []
        overrides: list[Override] = []
        settled: dict[str, list[str]] = {"agreed": [], "overridden": [], "rejected": []}
        for row in rows:
            if (there := now.get(row.record_id)) is None:
                continue
            wanted, overridden = self._still_wanted(stream, row, there)
            overrides += overridden
            self.kept |= {(row.record_id, each.field) for each in overridden if each.field not in wanted}
            if self.undoing or any(self.fields[name].canonical in SCORES for name in wanted):
                shown = {name: there.values.get(name) for name in wanted}
                intents.append(Intent(row.id, shown, wanted, there.version))
                changes.append(Change(row.record_id, wanted))
            elif overridden:
                settled["overridden"].append(row.id)
            else:
                is_stopped = any((stream, name) in self.stopped for name in row.wanted)
                settled["rejected" if is_stopped else "agreed"].append(row.id)
        self._settle_all(stream, settled, overrides, [row.record_id for row in rows if row.record_id not in now])
        if intents:
            self.receipts.intend(intents)
        return changes

    def _still_wanted(self, stream: str, row: Planned, there: Shown) -> tuple[dict[str, Any], list[Override]]:
        wanted, overridden = {}, []
        for name, value in row.wanted.items():
            current = there.values.get(name)
            if (stream, name) in self.stopped or is_same(current, value):
                continue
            policy = "theirs" if self.undoing else self.fields[name].policy
            if not is_same(current, row.shown.get(name)):
                overridden.append(Override(row, name, current, there.changed_by, policy))
                if policy != "ours":
                    continue
            wanted[name] = value
        return wanted, overridden

    async def _shown(self, stream: str, names: Sequence[str], rows: Iterable[Planned]) -> dict[str, Shown]:
        ids = [row.record_id for row in rows]
        return {one.record_id: one async for one in self.writer.shown(stream, names, ids)}

    def _settle_all(
        self,
        stream: str,
        settled: Mapping[str, Sequence[str]],
        overrides: Sequence[Override],
        gone: Sequence[str],
    ) -> None:
        if overrides and not self.undoing:
            self.receipts.note_overrides(overrides)
        if gone:
            self.receipts.gone(stream, gone)
        if settled["agreed"]:
            self.receipts.settle(settled["agreed"], "agreed")
        if settled["overridden"]:
            self.receipts.settle(settled["overridden"], "overridden", "somebody has changed it since, and that stays")
        if settled["rejected"]:
            sentences = "; ".join(text for (where, _), text in sorted(self.stopped.items()) if where == stream)
            self.receipts.settle(settled["rejected"], "rejected", sentences)

    # ── the call ──

    async def _write(self, stream: str, changes: list[Change], *, is_last: bool) -> None:
        told: list[Receipt] = []
        try:
            async for receipt in self.writer.write(
                stream, changes, lambda ticket: self.receipts.note_ticket(stream, ticket)
            ):
                told.append(receipt)
                if len(told) == SLICE:
                    self._record(stream, told, is_last=is_last)
                    told = []
        finally:
            # also of a call that broke off: what the vendor has answered for is known
            self._record(stream, told, is_last=is_last)

    def _record(self, stream: str, told: Sequence[Receipt], *, is_last: bool) -> None:
        by_outcome: dict[str, list[Receipt]] = {}
        for receipt in told:
            by_outcome.setdefault(receipt.outcome, []).append(receipt)
        if written := by_outcome.get("written"):
            self.receipts.written(stream, [receipt.record_id for receipt in written])
        if gone := by_outcome.get("gone"):
            self.receipts.gone(stream, [receipt.record_id for receipt in gone])
        if busy := by_outcome.get("busy"):
            self.receipts.refused(stream, self._said(busy), "busy" if is_last else "planned")
        if rejected := by_outcome.get("rejected"):
            self.receipts.refused(stream, self._said(rejected), "rejected")
        if forbidden := by_outcome.get("forbidden"):
            for receipt in forbidden:
                for name in receipt.fields:
                    self.stopped[(stream, name)] = f"{stream}: {name} is not written: {receipt.message}"
            # the fields that are left go with the next round
            self.receipts.refused(stream, self._said(forbidden), "planned" if not is_last else "rejected")
        self._progress(stream, len(told))

    def _said(self, receipts: Iterable[Receipt]) -> list[Receipt]:
        """What the vendor says may repeat what must not be repeated."""
        return [
            Receipt(each.record_id, each.outcome, each.code, self.source.redacted(each.message), each.fields)
            for each in receipts
        ]

    def _progress(self, stream: str, number: int) -> None:
        self._sent += number
        now = asyncio.get_running_loop().time()
        if now - self._told >= SECONDS_BETWEEN_REPORTS:
            self._told = now
            self.report(f"{stream}: {self._sent:,} records sent so far")

    # ── what may have been sent ──

    async def _settle(self, stream: str, rows: Sequence[Planned], *, again: bool) -> None:
        now = await self._shown(stream, sorted({name for row in rows for name in row.wanted}), rows)
        written: list[Planned] = []
        unsent: list[Planned] = []
        for row in rows:
            if (there := now.get(row.record_id)) is not None:
                (written if _was_written(row, there) else unsent).append(row)
        self.receipts.gone(stream, [row.record_id for row in rows if row.record_id not in now])
        self.receipts.written(stream, [row.record_id for row in written])
        self.receipts.unsent([row.id for row in unsent], again=again)


def _was_written(row: Planned, there: Shown) -> bool:
    """A record is written whole or not at all: one field that became what we wanted is enough to know."""
    return any(
        is_same(there.values.get(name), value) and not is_same(row.shown.get(name), value)
        for name, value in row.wanted.items()
    )


def is_same(one: Any, other: Any) -> bool:
    if isinstance(one, int | float) and isinstance(other, int | float):
        return math.isclose(one, other, abs_tol=1e-9)
    return bool(one == other)
