"""Clerk's Backend API, as far as organisations and their members go."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import httpx

from connectors.clerk.vendor import CLERK
from connectors.contract import Retry
from connectors.http import Budget, Clock, Grant, Http, Identity, Patience, Refused

API = "https://api.clerk.com"
MOST_PER_PAGE = 500
READINGS = 3
# what the owner of the instance writes there alone; an organisation's own people can't
SLUG_IN_PRIVATE_METADATA = "clarity_slug"


@dataclass(frozen=True, slots=True)
class Organisation:
    """`slug` is what its own people call it, `named` the tenant that the owner of the instance says it is."""

    id: str
    name: str
    slug: str = ""
    named: str = ""


@dataclass(frozen=True, slots=True)
class Member:
    user_id: str
    role: str


class Clerk:
    """Belongs to the event loop that it is opened in. What it raises is one of the contract's errors."""

    def __init__(self, http: Http) -> None:
        self._http = http

    async def organisations(self) -> list[Organisation]:
        return [_organisation(told) for told in await self._all("/v1/organizations")]

    async def organisation(self, organisation_id: str) -> Organisation | None:
        """None if there is none with this id."""
        try:
            answer = await self._http.send("GET", f"/v1/organizations/{quote(organisation_id, safe='')}")
        except Refused as refusal:
            if refusal.status == 404:
                return None
            raise
        return _organisation(answer.told)

    async def members(self, organisation_id: str) -> list[Member]:
        told = await self._all(f"/v1/organizations/{quote(organisation_id, safe='')}/memberships")
        return [Member(str(one["public_user_data"]["user_id"]), str(one["role"])) for one in told]

    async def _all(self, path: str) -> list[Mapping[str, Any]]:
        """Everything in a list that may change while it is read: pages are counted from its beginning, so one that goes
        hides another. What does not add up is read again."""
        for _ in range(READINGS):
            seen: dict[str, Mapping[str, Any]] = {}
            offset = 0
            while True:
                # oldest first: what is new comes at the end
                params = {"limit": str(MOST_PER_PAGE), "offset": str(offset), "order_by": "+created_at"}
                page = (await self._http.send("GET", path, params=params)).told
                seen |= {str(one["id"]): one for one in page["data"]}
                offset += len(page["data"])
                if not page["data"] or offset >= int(page["total_count"]):
                    break
            if len(seen) == int(page["total_count"]):
                return list(seen.values())
        raise Retry(f"Clerk's list {path} changed whenever it was read. Nothing is lost; it is read again later.")


@asynccontextmanager
async def connect(
    secret_key: str,
    base_url: str = API,
    *,
    patience: Patience | None = None,
    clock: Clock | None = None,
    transport: httpx.AsyncBaseTransport | None = None,
) -> AsyncIterator[Clerk]:
    async def log_in(_http: Http) -> Grant:
        return Grant({"Authorization": f"Bearer {secret_key}"}, base_url.rstrip("/"))

    clock = clock or Clock()
    http = Http(
        CLERK,
        Identity(log_in, [secret_key]),
        # what a whole reading takes is far below what Clerk allows in ten seconds
        Budget(CLERK.name, 1.0, 1.0, clock),
        patience=patience or Patience(read=30, total=60, attempts=6),
        clock=clock,
        transport=transport,
    )
    try:
        yield Clerk(http)
    finally:
        await http.aclose()


def _organisation(told: Mapping[str, Any]) -> Organisation:
    private = told.get("private_metadata") or {}
    return Organisation(
        id=str(told["id"]),
        name=str(told.get("name") or ""),
        slug=str(told.get("slug") or ""),
        named=str(private.get(SLUG_IN_PRIVATE_METADATA) or ""),
    )
