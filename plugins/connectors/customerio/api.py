"""Customer.io's App API: what is asked for, by its own names. What it raises is one of the contract's errors."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import orjson

from connectors.contract import Retry
from connectors.customerio.pages import Told
from connectors.http import Answer, Http, RepeatGuard

MOST_ACTIVITIES_PER_PAGE = 100
MOST_PEOPLE_PER_LOOK = 100
JSON = {"Content-Type": "application/json"}


class Part(NamedTuple):
    """One page of a list, and where the next one starts; None if this is the last."""

    rows: list[Told]
    next: str | None


class Api:
    """Belongs to the event loop that it is made in. `vendor_now` is Customer.io's clock at its latest answer."""

    def __init__(self, http: Http, version: str, vendor_now: datetime | None = None) -> None:
        self._http = http
        self._version = version
        self.vendor_now = vendor_now

    async def messages(self, start: str | None, limit: int, *, since: int, until: int | None) -> Part:
        """E-mails made between two moments, newest first. Of more than six months only the last six are shown."""
        window = {"start_ts": str(since)} | ({"end_ts": str(until)} if until is not None else {})
        return await self._page("messages", "messages", start, {"type": "email", "limit": str(limit), **window})

    async def activities(self, kind: str, start: str | None, limit: int, *, of_deleted: bool = False) -> Part:
        """Newest first, and for certain only those of the last 30 days."""
        asked = {"type": kind, "limit": str(min(limit, MOST_ACTIVITIES_PER_PAGE))}
        if of_deleted:
            asked["deleted"] = "true"
        return await self._page("activities", "activities", start, asked)

    async def people(self, who: Mapping[str, Any], start: str | None, limit: int) -> Part:
        """Who they are, not what is known of them."""
        body = orjson.dumps({"filter": who})
        params = {"limit": str(limit)} | ({"start": start} if start else {})
        answer = await self._send("POST", "customers", params, body)
        return _part(answer.told, "identifiers")

    async def attributes(self, cio_ids: Sequence[str]) -> list[Told]:
        """What is known of at most 100 people. Who is not there any more is left out."""
        if len(cio_ids) > MOST_PEOPLE_PER_LOOK:
            raise ValueError(f"Customer.io tells of at most {MOST_PEOPLE_PER_LOOK} people at once")
        body = orjson.dumps({"ids": list(cio_ids)})
        answer = await self._send("POST", "customers/attributes", {"id_type": "cio_id"}, body)
        return _part(answer.told, "customers").rows

    async def all_of(self, kind: str) -> list[Told]:
        """Campaigns, newsletters or segments: short lists, of which some come in pages."""
        guard = RepeatGuard(f"Reading {kind}")
        rows, start = await self._page(kind, kind, None, {})
        while start is not None:
            guard.follow(start)
            more, start = await self._page(kind, kind, start, {})
            rows += more
        return rows

    async def _page(self, path: str, holding: str, start: str | None, asked: Mapping[str, str]) -> Part:
        answer = await self._send("GET", path, {**asked, **({"start": start} if start else {})})
        return _part(answer.told, holding)

    async def _send(self, method: str, path: str, params: Mapping[str, str], content: bytes | None = None) -> Answer:
        # Parameters are encoded by httpx: the places in its lists hold +, / and =.
        answer = await self._http.send(
            method, f"/{self._version}/{path}", params=params, headers=JSON if content else None, content=content
        )
        self.vendor_now = answer.date or self.vendor_now
        return answer


def _part(told: Any, holding: str) -> Part:
    rows = told.get(holding) if isinstance(told, dict) else None
    if not isinstance(rows, list):
        raise Retry(f"Customer.io answered without {holding}. If that stays so, correct base_url and api_version.")
    return Part(rows, told.get("next") or None)
