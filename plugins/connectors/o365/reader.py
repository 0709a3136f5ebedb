"""Reads all mailboxes of a tenant, several side by side, each place from its own link.

A place (a folder, a calendar) is read in rounds: from its start once, then from the link that the last round ended
with. When Graph has lost a place, that one is read from its start again and no other.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from connectors.contract import Page, Reauthorise, Record, Rejected, Retry, State
from connectors.http import Clock, Refused, RepeatGuard
from connectors.o365 import calendar, mail, state
from connectors.o365.api import Api, Changes, User
from connectors.o365.config import O365Config
from connectors.o365.counterparts import Allowlist
from connectors.o365.state import Place, Upcoming
from connectors.o365.vendor import is_no_mailbox, lost_its_place

MAILBOXES_AT_A_TIME = 4
# A place that is lost again and again is left to the next sync.
MOST_LOSSES = 2


@dataclass(frozen=True, slots=True)
class Step:
    """One page of one place: how the place stands after it, and what it brought. None: it is not open."""

    name: str
    place: Place | None
    records: Sequence[Record] = ()
    rejected: Sequence[Rejected] = ()
    note: str = ""


Steps = AsyncGenerator[Step, None]


class Reader:
    def __init__(self, api: Api, config: O365Config, users: Sequence[User], allowed: Allowlist, clock: Clock) -> None:
        self._api, self._config, self._users, self._allowed = api, config, users, allowed
        self._now = clock.now()

    async def messages(self, kept: State | None) -> AsyncIterator[Page]:
        names = {f"{user.id}/{folder}": (user, folder) for user in self._users for folder in self._config.folders}
        async for page in self._pages(kept, {name: self._folder_steps(name, *of) for name, of in names.items()}):
            yield page

    async def events(self, kept: State | None) -> AsyncIterator[Page]:
        names = {user.id: user for user in self._users}
        async for page in self._pages(kept, {name: self._calendar_steps(name, of) for name, of in names.items()}):
            yield page

    # ── all places ──

    async def _pages(self, kept: State | None, walks: Mapping[str, Callable[[Place], Steps]]) -> AsyncIterator[Page]:
        """Steps become pages as they come. Those without records ride along with the next that has some."""
        before = state.read(kept)
        # who has no mailbox any more is forgotten
        places = {name: place for name, place in before.items() if name in walks}
        notes: list[str] = []
        is_any_open = not walks
        walking = {name: walk(before.get(name, Place())) for name, walk in walks.items()}
        async with aclosing(_side_by_side(walking)) as steps:
            async for step in steps:
                is_any_open = is_any_open or step.place is not None
                if step.place is not None:
                    places[step.name] = step.place
                notes += [step.note] if step.note else []
                if step.records or step.rejected:
                    yield Page(step.records, state.write(places), step.rejected, notes)
                    notes = []
        if not is_any_open:
            raise Reauthorise(
                "Microsoft 365 opens none of the mailboxes to this application. Grant it Mail.ReadBasic.All and"
                " Calendars.ReadBasic.All with admin consent, and look at the application access policies of Exchange."
            )
        yield Page((), state.write(places), (), notes)

    # ── mail ──

    def _folder_steps(self, name: str, user: User, folder: str) -> Callable[[Place], Steps]:
        async def fetch(place: Place) -> Changes:
            return await self._api.messages(user.id, folder, place.link)

        async def step(changes: Changes, place: Place) -> Step:
            since = self._now - self._config.history
            found = [
                one
                for message in changes.items
                # what was removed or moved elsewhere has been sent all the same
                if "@removed" not in message
                for one in mail.records(message, user.id, self._allowed, since)
            ]
            return _step(name, replace(place, link=changes.link), found)

        what = f"the folder {folder} of {user.id}"
        return lambda place: self._rounds(name, what, place, fetch, step, lambda lost: lost.from_its_start())

    # ── calendars ──

    def _calendar_steps(self, name: str, user: User) -> Callable[[Place], Steps]:
        async def fetch(place: Place) -> Changes:
            assert place.window is not None
            return await self._api.events(user.id, place.window, place.link)

        async def step(changes: Changes, place: Place) -> Step:
            return await self._calendar_step(name, user, changes, place)

        def from_the_start(lost: Place) -> Place:
            return lost.from_its_start(self._window(self._config.history))

        async def steps(place: Place) -> Steps:
            what = f"the calendar of {user.id}"
            if place.window is None:
                place = from_the_start(place)
            async with aclosing(self._rounds(name, what, place, fetch, step, from_the_start)) as walking:
                async for one in walking:
                    yield one
                    place = one.place or place
            # The window is frozen in the link: before its end comes near, a later one takes its place.
            if place.window and place.window[1] - self._now < timedelta(days=self._config.look_ahead_days) / 2:
                rolled = place.from_its_start(self._window(timedelta(days=self._config.look_back_days)))
                async with aclosing(self._rounds(name, what, rolled, fetch, step, from_the_start)) as walking:
                    async for one in walking:
                        yield one

        return steps

    def _window(self, back: timedelta) -> tuple[datetime, datetime]:
        day = self._now.replace(hour=0, minute=0, second=0, microsecond=0)
        return day - back, day + timedelta(days=self._config.look_ahead_days)

    async def _calendar_step(self, name: str, user: User, changes: Changes, place: Place) -> Step:
        """What meetings there are now, and those to come that are called off.

        What took place stays, whatever becomes of its entry. Of one to come that is said to be removed it is asked
        whether it is still there: Graph calls removed what was only moved out of the window.
        """
        upcoming, seen = dict(place.upcoming), place.seen
        masters = {str(event["id"]): event for event in changes.items if event.get("type") == "seriesMaster"}
        found: list[Record | Rejected] = []
        asked: list[str] = []
        for event in changes.items:
            if "@removed" in event:
                asked += [str(event["id"])] if event.get("id") in upcoming else []
            elif event.get("type") != "seriesMaster":
                whole = calendar.completed(event, masters)
                if whole is event and event.get("type") == "occurrence":
                    whole = {**event, **await self._master(user, event)}
                found += self._told(whole, user, upcoming, changes.at)
                seen = None if seen is None else seen | {str(event.get("id"))}
        if changes.ends_round and seen is not None:
            # of a round from the start it is absence that tells
            asked += [event for event in upcoming if event not in seen]
            seen = None
        for event_id in dict.fromkeys(asked):
            found += await self._called_off_or_moved(event_id, user, upcoming, changes.at)
        upcoming = {event: one for event, one in upcoming.items() if one.ends > changes.at}
        seen = None if seen is None else seen & upcoming.keys()
        return _step(name, replace(place, link=changes.link, upcoming=upcoming, seen=seen), found)

    def _told(
        self, event: Mapping[str, Any], user: User, upcoming: dict[str, Upcoming], at: datetime
    ) -> list[Record | Rejected]:
        told = calendar.meeting(event, user.id, self._allowed)
        if isinstance(told, Rejected):
            return [told]
        before = upcoming.pop(told.id, None)
        if told.records and told.ends > at:
            upcoming[told.id] = Upcoming(told.ends, tuple(told.parts))
        left = set(before.parts) - set(told.parts) if before else set()
        return [*told.records, *calendar.gone(told.id, sorted(left), at)]

    async def _called_off_or_moved(
        self, event_id: str, user: User, upcoming: dict[str, Upcoming], at: datetime
    ) -> list[Record | Rejected]:
        try:
            event = await self._api.event(user.id, event_id)
        except Refused as refused:
            if refused.status not in (404, 410):
                raise
            called_off = upcoming.pop(event_id)
            return list(calendar.gone(event_id, called_off.parts, at))
        return self._told(event, user, upcoming, at)

    async def _master(self, user: User, occurrence: Mapping[str, Any]) -> Mapping[str, Any]:
        """What an occurrence is too short to say, where its series did not come with it."""
        try:
            whole = await self._api.event(user.id, str(occurrence["id"]))
        except Refused as refused:
            if refused.status not in (404, 410):
                raise
            return {}
        return {**whole, **occurrence}

    # ── rounds ──

    async def _rounds(
        self,
        name: str,
        what: str,
        place: Place,
        fetch: Callable[[Place], Any],
        step: Callable[[Changes, Place], Any],
        from_the_start: Callable[[Place], Place],
    ) -> Steps:
        """Page by page to the end of a round, once more from the start if Graph has lost the place."""
        losses, note = 0, ""
        guard = RepeatGuard(f"Reading {what}")
        while True:
            try:
                guard.follow(place.link)
                changes: Changes = await fetch(place)
            except Refused as refused:
                if is_no_mailbox(refused):
                    yield Step(
                        name, None, note=f"not read, for Microsoft 365 does not open it: {what} ({refused.code})"
                    )
                    return
                if not lost_its_place(refused):
                    raise
                losses += 1
                if losses > MOST_LOSSES:
                    raise Retry(
                        f"Microsoft 365 loses its place in {what} again and again. Run the sync later."
                    ) from None
                place, guard = from_the_start(place), RepeatGuard(f"Reading {what}")
                note = f"{what} is read again from the start: Microsoft 365 has lost its place there"
                continue
            told: Step = await step(changes, place)
            yield replace(told, note=note)
            assert told.place is not None
            place, note = told.place, ""
            if changes.ends_round:
                return


def _step(name: str, place: Place, found: Sequence[Record | Rejected]) -> Step:
    return Step(
        name,
        place,
        # what comes twice on a page is the same both times
        [one for one in found if isinstance(one, Record)],
        [one for one in found if isinstance(one, Rejected)],
    )


async def _side_by_side(walks: Mapping[str, Steps]) -> Steps:
    """The steps of several walks as they come, of each in its order. One that fails ends them all."""
    waiting = list(walks.values())[::-1]
    under_way: dict[asyncio.Task[Step | None], Steps] = {}
    try:
        while waiting or under_way:
            while waiting and len(under_way) < MAILBOXES_AT_A_TIME:
                walk = waiting.pop()
                under_way[_next(walk)] = walk
            done, _ = await asyncio.wait(under_way, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                walk = under_way.pop(task)
                if (step := task.result()) is not None:
                    under_way[_next(walk)] = walk
                    yield step
    finally:
        for task in under_way:
            task.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)
        for walk in [*under_way.values(), *waiting]:
            await walk.aclose()


def _next(walk: Steps) -> asyncio.Task[Step | None]:
    async def following() -> Step | None:
        return await anext(walk, None)

    return asyncio.create_task(following())
