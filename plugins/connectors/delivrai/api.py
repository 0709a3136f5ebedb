"""Delivr.ai's API: what is asked for, by its own names. What it raises is one of the contract's errors."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Literal, NamedTuple

import orjson

from connectors.contract import Retry
from connectors.http import Answer, Http

Told = Any  # whatever stands in a list of the vendor's
About = Literal["people", "companies"]

JSON = {"Content-Type": "application/json"}


class Part(NamedTuple):
    """One page of those who research a topic. `as_of` is the moment of the data, `next` the place of the next page."""

    rows: list[Told]
    next: str | None
    as_of: datetime | None


class Price(NamedTuple):
    """What a request would cost: so many records, at most where `is_ceiling`, and money where the vendor names it."""

    records: int
    is_ceiling: bool = False
    cents: int | None = None
    currency: str = ""

    def __str__(self) -> str:
        at_most = "at most " if self.is_ceiling else ""
        money = "" if self.cents is None else f" for {at_most}{self.cents / 100:,.2f} {self.currency}".rstrip()
        return f"{at_most}{self.records:,} records{money}"


class Api:
    """Belongs to the event loop that it is made in. `vendor_now` is Delivr.ai's clock at its latest answer.

    `heed` is told how many calls per second the organisation has, which each answer says.
    """

    def __init__(self, http: Http, heed: Callable[[float], None], vendor_now: datetime | None = None) -> None:
        self._http = http
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
