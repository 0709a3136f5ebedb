"""The calls of Microsoft Graph that are made here, and what may be asked for in them.

A mail is asked for by the fields of MESSAGE, so its subject and body never leave Microsoft. The changes of a calendar
come whole, for there Graph takes no $select: what is not among EVENT is dropped before anybody sees it.
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, urlsplit

from connectors.contract import Fatal, Retry
from connectors.http import Http, RepeatGuard
from connectors.o365.config import O365Config

MESSAGE = (
    *("id", "internetMessageId", "conversationId", "conversationIndex", "sentDateTime", "receivedDateTime"),
    *("lastModifiedDateTime", "isDraft", "from", "toRecipients", "ccRecipients", "bccRecipients"),
)
EVENT = (
    *("id", "iCalUId", "seriesMasterId", "type", "start", "end", "isCancelled", "isOrganizer", "isDraft"),
    *("lastModifiedDateTime", "organizer", "attendees", "responseStatus"),
)
USER = ("id", "mail", "userPrincipalName")
MICROSOFT = "graph.microsoft.com"
# What Graph allows an application at a time in one mailbox.
AT_A_TIME_IN_A_MAILBOX = 4
MOST_USERS_PER_PAGE = 999


@dataclass(frozen=True, slots=True)
class User:
    id: str
    address: str


@dataclass(frozen=True, slots=True)
class Changes:
    """A page of a round of changes. `link` leads to the next page or, where the round ends, to the next round."""

    items: list[dict[str, Any]]
    link: str
    ends_round: bool
    at: datetime


class Api:
    """Belongs to the event loop that it is made in. What it raises is one of the contract's errors."""

    def __init__(self, http: Http, config: O365Config) -> None:
        self._http, self._config = http, config
        self._place = urlsplit(config.base_url)
        self._mailboxes: dict[str, asyncio.Semaphore] = defaultdict(lambda: asyncio.Semaphore(AT_A_TIME_IN_A_MAILBOX))
        self._prefer = ", ".join(
            ('IdType="ImmutableId"', 'outlook.timezone="UTC"', f"odata.maxpagesize={config.page_size}")
        )

    async def users(self, *, only_some: bool = False) -> list[User]:
        """Everybody in the directory who has an address; some are enough to see whether one may ask."""
        path = f"/users?$select={','.join(USER)}&$top={MOST_USERS_PER_PAGE}"
        found: list[User] = []
        guard = RepeatGuard("Reading the users of Microsoft 365")
        while path and not (only_some and found):
            guard.follow(path)
            told = _page((await self._http.send("GET", path)).told)
            found += [User(str(row["id"]), str(row["mail"]).lower()) for row in told["value"] if row.get("mail")]
            link = told.get("@odata.nextLink")
            path = self._path(str(link)) if link else ""
        return found

    async def messages(self, user: str, folder: str, link: str | None) -> Changes:
        # no $filter by time, though Graph has one: with it a folder is cut off after 5,000 messages
        first = f"/users/{quote(user)}/mailFolders/{folder}/messages/delta?$select={','.join(MESSAGE)}"
        return await self._changes(user, link, first, MESSAGE)

    async def events(self, user: str, window: tuple[datetime, datetime], link: str | None) -> Changes:
        start, end = (quote(moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"), safe="") for moment in window)
        first = f"/users/{quote(user)}/calendarView/delta?startDateTime={start}&endDateTime={end}"
        return await self._changes(user, link, first, EVENT)

    async def event(self, user: str, event: str) -> dict[str, Any]:
        """One event as it is now; Refused with 404 if there is none any more."""
        async with self._mailbox(user):
            path = f"/users/{quote(user)}/events/{quote(event, safe='')}?$select={','.join(EVENT)}"
            told = (await self._http.send("GET", path, headers={"Prefer": self._prefer})).told
        return _only(EVENT, told) if isinstance(told, Mapping) else {}

    async def _changes(self, user: str, link: str | None, first: str, fields: tuple[str, ...]) -> Changes:
        async with self._mailbox(user):
            path = first if link is None else self._path(link)
            answer = await self._http.send("GET", path, headers={"Prefer": self._prefer})
        told = _page(answer.told)
        following, ending = told.get("@odata.nextLink"), told.get("@odata.deltaLink")
        if not following and not ending:
            raise Retry("Microsoft 365 told changes without saying where to go on. Run the sync again.")
        items = [_only(fields, item) for item in told["value"]]
        return Changes(items, str(following or ending), not following, answer.date or self._http.clock.now())

    def _path(self, link: str) -> str:
        """A link of Graph's as it came, on the way that the configuration names: a token goes nowhere else."""
        parts = urlsplit(link)
        if parts.netloc not in (self._place.netloc, MICROSOFT) or parts.username or parts.password:
            raise Fatal(
                f"Microsoft 365 leads on to {parts.hostname}, which is not the place of base_url: it is not followed."
                " Correct base_url."
            )
        version, path = self._place.path, link.partition(parts.netloc)[2]
        if path.startswith(f"{version}/"):
            return path.removeprefix(version)
        # behind a proxy with a path of its own the link still says what Graph calls its version
        return "/" + path.lstrip("/").partition("/")[2]

    @asynccontextmanager
    async def _mailbox(self, user: str) -> AsyncIterator[None]:
        async with self._mailboxes[user]:
            yield


def _page(told: Any) -> dict[str, Any]:
    if not isinstance(told, dict) or not isinstance(told.get("value"), list):
        raise Retry("Microsoft 365 sent an answer that is no list. Run the sync again.")
    return told


def _only(fields: tuple[str, ...], item: Mapping[str, Any]) -> dict[str, Any]:
    """What was asked for and what says that it is gone or of which kind it is; nothing else is even kept in memory."""
    return {name: item[name] for name in (*fields, "@removed", "@odata.type") if name in item}
