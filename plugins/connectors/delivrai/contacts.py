"""Reads who people are whom the tenant knows: those about whom the vendor was not asked for long enough.

Whom to ask about is the platform's to say, which remembers it together with the answer. So a sync that is killed asks
again about those of one call at most, and a reading from the start asks about nobody who was asked about lately.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from hashlib import sha256
from re import split
from typing import Any

from connectors.contract import Acquaintances, Asked, Cost, Page, Record, Rejected, State
from connectors.delivrai.api import Api, Told
from connectors.delivrai.config import DelivraiConfig
from connectors.delivrai.purse import Purse
from connectors.http import Clock, RepeatGuard

VERSION = 1


class Reader:
    def __init__(
        self,
        api: Api,
        state: State | None,
        config: DelivraiConfig,
        purse: Purse,
        clock: Clock,
        acquaintances: Acquaintances,
    ) -> None:
        self.api, self.config, self.purse, self.clock, self.acquaintances = api, config, purse, clock, acquaintances
        # says no more than that there was progress: whom to ask about is known without it
        self.asked = _count_in(state)

    async def pages(self) -> AsyncIterator[Page]:
        # all at once: while one page is on its way into the database, the next is asked for
        due = await asyncio.to_thread(self.acquaintances.due, self.purse.records)
        total = await asyncio.to_thread(self.acquaintances.how_many_are_due)
        if due:
            yield Page((), self._state(), notes=[f"contacts: {total:,} are due, each at most one record"])
        done = 0
        while done < len(due):
            reserved = self.purse.reserve(min(self.config.contacts_per_call, len(due) - done))
            if not reserved:
                break
            emails = due[done : done + reserved]
            outcomes, billed = await self._known(emails)
            self.purse.settle(reserved, billed)
            done += len(emails)
            self.asked += len(emails)
            yield self._page(emails, outcomes)
        if done < total:
            yield Page((), self._state(), notes=[self._stopped(total - done)])

    async def costs(self) -> AsyncIterator[Cost]:
        due = await asyncio.to_thread(self.acquaintances.how_many_are_due)
        yield Cost("contacts", "people and whom mails and meetings name", due, is_ceiling=True)

    async def _known(self, emails: Sequence[str]) -> tuple[list[Record | Rejected], int]:
        """What is known of these, and how much of it was billed."""
        told_at = self.clock.now() if self.api.vendor_now is None else self.api.vendor_now
        if self.config.contacts_by_digest:
            rows = await asyncio.gather(*(self.api.contact(digest_of(email)) for email in emails))
            found = [(email, row) for email, row in zip(emails, rows, strict=True) if row is not None]
            return [record_of(email, row, told_at) for email, row in found], len(found)
        outcomes: list[Record | Rejected] = []
        billed, cursor = 0, None
        guard = RepeatGuard("Asking about contacts")
        asked_about = set(emails)
        while True:
            guard.follow(cursor)
            part = await self.api.contacts(emails, cursor)
            billed += part.billed
            for row in part.rows:
                email = next((address for address in addresses_in(row) if address in asked_about), None)
                outcomes.append(record_of(email, row, told_at))
            if part.next is None:
                return outcomes, billed
            cursor = part.next

    def _page(self, emails: Sequence[str], outcomes: Sequence[Record | Rejected]) -> Page:
        return Page(
            [outcome for outcome in outcomes if isinstance(outcome, Record)],
            self._state(),
            [outcome for outcome in outcomes if isinstance(outcome, Rejected)],
            asked=Asked([digest_of(email) for email in emails], self.clock.now() + self.config.contacts_last),
        )

    def _stopped(self, left: int) -> str:
        return (
            f"contacts stop: this run may take {self.purse.records:,} records in all and has asked about as many people"
            f" as that could pay for. {left:,} are left, each at most one record; the next sync goes on there. Raise"
            " budget_per_run to have more at once"
        )

    def _state(self) -> dict[str, Any]:
        return {"version": VERSION, "asked": self.asked}


def digest_of(email: str) -> str:
    return sha256(email.strip().lower().encode()).hexdigest()


def record_of(email: str | None, row: Told, told_at: Any) -> Record | Rejected:
    """Known by the digest of the address that was asked about, which is the vendor's own key of people."""
    if not isinstance(row, Mapping):
        return Rejected("a contact", "is not an object with fields", row)
    if email is None:
        return Rejected("a contact", "has none of the addresses that were asked about", row)
    hem = digest_of(email)
    return Record(hem, {**row, "hem": hem, "email": email}, told_at)


def addresses_in(row: Told) -> Iterator[str]:
    """Every address in a row's fields, whatever these are called: the vendor promises no names."""
    for value in row.values() if isinstance(row, Mapping) else ():
        for text in value if isinstance(value, list) else [value]:
            if isinstance(text, str) and "@" in text:
                yield from (word.lower() for word in split(r"[\s,;|]+", text) if "@" in word)


def _count_in(state: State | None) -> int:
    count = (state or {}).get("asked")
    return count if isinstance(count, int) else 0
