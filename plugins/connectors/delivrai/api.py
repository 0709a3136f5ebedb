"""Delivr.ai's API: what is asked for, by its own names. What it raises is one of the contract's errors."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, NamedTuple

import orjson

from connectors.contract import Retry
from connectors.http import Answer, Http, Refused

Told = Any  # whatever stands in a list of the vendor's
About = Literal["people", "companies"]

JSON = {"Content-Type": "application/json"}


class Part(NamedTuple):
    """One page of those who research a topic. `as_of` is the moment of the data, `next` the place of the next page."""

    rows: list[Told]
    next: str | None
    as_of: datetime | None


class Found(NamedTuple):
    """One page of contacts. `billed` is how many of them cost something, `next` the place of the next page."""

    rows: list[Told]
    next: str | None
    billed: int


class Price(NamedTuple):
    """What a request would cost: so many records, at most where `is_ceiling`, and money where the vendor names it."""

    records: int
    is_ceiling: bool = False
    cents: int | None = None
    currency: str = ""

    @property
    def money(self) -> str:
        return "" if self.cents is None else f"{self.cents / 100:,.2f} {self.currency}".rstrip()

    def __str__(self) -> str:
        at_most = "at most " if self.is_ceiling else ""
        return f"{at_most}{self.records:,} records" + (f" for {at_most}{self.money}" if self.money else "")


class Api:
    """Belongs to the event loop that it is made in. `vendor_now` is Delivr.ai's clock at its latest answer.

    `heed` is told how many calls per second the organisation has, which each answer says. `whose` names the pixel or
    project that visits are told of.
    """

    def __init__(
        self,
        http: Http,
        heed: Callable[[float], None],
        *,
        whose: Mapping[str, str],
        vendor_now: datetime | None = None,
    ) -> None:
        self._http = http
        self._whose = whose
        self._heed = heed
        self.vendor_now = vendor_now

    async def whoami(self) -> Mapping[str, Any]:
        """Costs nothing."""
        told = (await self._send("GET", "/api/v1/whoami")).told
        response = told.get("response") if isinstance(told, dict) else None
        if not isinstance(response, dict):
            raise Retry("Delivr.ai does not say whose key it is. If that stays so, correct base_url.")
        return response

    async def intent(self, about: About, asked: Mapping[str, Any], cursor: str | None, limit: int) -> Part:
        """Who researches a topic, the strongest first. Every row is billed."""
        place = {"cursor": cursor} if cursor else {}
        told = await self._ask(f"/api/v1/intent/{about}", {**asked, "page_size": limit, **place})
        response = told.get("response")
        rows = response.get("results") if isinstance(response, dict) else None
        if not isinstance(response, dict) or not isinstance(rows, list):
            raise Retry("Delivr.ai answered without results. If that stays so, correct base_url.")
        return Part(rows, response.get("next_cursor") or None, _moment(told.get("as_of")))

    async def price_of_intent(self, about: About, asked: Mapping[str, Any]) -> Price:
        """Costs nothing."""
        return _price(await self._ask(f"/api/v1/intent/{about}", {**asked, "dry_run": True}))

    async def contacts(self, emails: Sequence[str], cursor: str | None) -> Found:
        """What is known of at most 1,000 addresses. Records with a business address are billed."""
        place = {"cursor": cursor} if cursor else {}
        told = await self._ask("/api/v1/contact/query", {"emails": list(emails), "page_size": len(emails), **place})
        rows, billed = told.get("records"), told.get("count")
        if not isinstance(rows, list):
            raise Retry("Delivr.ai answered without records. If that stays so, correct base_url.")
        return Found(rows, told.get("cursor") or None, billed if isinstance(billed, int) else len(rows))

    async def contact(self, digest: str) -> Told | None:
        """What is known of whoever has the address with this digest; None, which is not billed, if nothing is."""
        try:
            return (await self._send("GET", "/api/v1/lookup", {"hem": digest, "hem_type": "sha256"})).told
        except Refused as refused:
            if refused.status == 404:
                return None
            raise

    async def visits(self, start_ms: int, end_ms: int, offset: int, limit: int) -> list[Told]:
        """Visits of people who could be told by name, with all that is known of them. Every row is billed."""
        page = {"limit": str(limit), "offset": str(offset)}
        told = await self._visits(start_ms, end_ms, page)
        rows = told.get("rows")
        if not isinstance(rows, list):
            raise Retry("Delivr.ai answered without rows. If that stays so, correct base_url.")
        return rows

    async def price_of_visits(self, start_ms: int, end_ms: int) -> Price:
        """Costs nothing."""
        return _price(await self._visits(start_ms, end_ms, {"dry_run": "true"}))

    async def _visits(self, start_ms: int, end_ms: int, more: Mapping[str, str]) -> Mapping[str, Any]:
        window = {"start_ms": str(start_ms), "end_ms": str(end_ms), "filter": "resolved:eq:true"}
        answer = await self._send("GET", "/api/v3/events/resolution_full_profile", {**self._whose, **window, **more})
        if not isinstance(answer.told, dict):
            raise Retry("Delivr.ai answered with something else than an object. If that stays so, correct base_url.")
        return answer.told

    async def _ask(self, path: str, asked: Mapping[str, Any]) -> Mapping[str, Any]:
        told = (await self._send("POST", path, content=orjson.dumps(dict(asked)))).told
        if not isinstance(told, dict):
            raise Retry("Delivr.ai answered with something else than an object. If that stays so, correct base_url.")
        return told

    async def _send(
        self, method: str, path: str, params: Mapping[str, str] | None = None, content: bytes | None = None
    ) -> Answer:
        headers = JSON if content is not None else None
        answer = await self._http.send(method, path, params=params, headers=headers, content=content)
        self.vendor_now = answer.date or self.vendor_now
        limit = answer.headers.get("X-RateLimit-Limit", "")
        if limit.isdecimal() and int(limit) > 0:
            self._heed(int(limit))
        return answer


def _price(told: Mapping[str, Any]) -> Price:
    records, cost = told.get("records_to_charge"), told.get("estimated_cost")
    if not isinstance(records, int):
        raise Retry("Delivr.ai was asked for a price and named none. Nothing was bought.")
    money = cost if isinstance(cost, dict) else {}
    cents = money.get("amount_cents")
    return Price(
        records,
        told.get("records_fidelity") != "exact",
        cents if isinstance(cents, int) else None,
        str(money.get("currency") or "").upper(),
    )


def _moment(text: Any) -> datetime | None:
    try:
        at = datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        return None
    return at if at is not None and at.tzinfo else None
