"""The connector: a configuration, the pair of keys that it holds, and what a run of it may cost."""

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from random import Random
from typing import Any

import httpx

from connectors.contract import (
    Acquaintances,
    ConnectorError,
    Cost,
    Health,
    Page,
    Record,
    Rejected,
    Renew,
    State,
    Stream,
)
from connectors.delivrai import contacts, intent, visits
from connectors.delivrai.api import Api
from connectors.delivrai.config import read
from connectors.delivrai.purse import Purse
from connectors.delivrai.streams import STREAMS
from connectors.delivrai.vendor import DELIVRAI
from connectors.http import Budget, Clock, Grant, Http, Identity, Shared
from connectors.pace import Pace


class Client:
    """Without `acquaintances` it asks about nobody."""

    def __init__(
        self,
        config: Mapping[str, Any],
        renew: Renew | None = None,  # noqa: ARG002 - nothing here is rotated by the vendor
        acquaintances: Acquaintances | None = None,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
        clock: Clock | None = None,
        dice: Random | None = None,
    ) -> None:
        self.config = read(config)
        self._acquaintances = acquaintances
        self._identity = Identity(self._log_in, (self.config.api_key, self.config.api_secret))
        self._clock = clock or Clock()
        # Delivr.ai counts calls per second and none per day; records are what costs.
        self._budget = Budget(DELIVRAI.name, 1, 1, self._clock)
        self._purse = Purse(self.config.budget_per_run)
        self._calls_per_second = self.config.calls_per_second
        self._pace = Pace(self._calls_per_second, 1, self._clock)
        http = self.config.http_to(DELIVRAI, self._identity, self._budget, self._clock, dice, transport, self._turn)
        self.api: Shared[Api] = Shared(http, self._opened, self._remember)
        self._vendor_now: datetime | None = None

    @property
    def streams(self) -> Sequence[Stream]:
        can_be_read = {
            "contacts": self._acquaintances is not None,
            "visits": bool(self.config.pixel_id or self.config.project_id),
            **dict.fromkeys(intent.OF_STREAM, bool(self.config.topics)),
        }
        return [stream for stream in STREAMS if stream.name in self.config.streams and can_be_read[stream.name]]

    @property
    def most_records(self) -> int:
        return self.config.budget_per_run

    async def check(self) -> Health:
        try:
            async with self.api() as api:
                told = await api.whoami()
        except ConnectorError as error:
            return Health(False, str(error))
        organisation = told.get("organization")
        name = organisation.get("name") if isinstance(organisation, Mapping) else None
        if not self.streams:
            return Health(False, "The key is good, but nothing is to be read: name topics, or the pixel of a website.")
        budget = f"a run may take {self.config.budget_per_run:,} records"
        return Health(True, f"The key opens {self.config.base_url} for {name or 'its organisation'}; {budget}.")

    async def pages(self, stream: Stream, state: State | None) -> AsyncIterator[Page]:
        async with self.api() as api:
            async for page in self._reader(api, stream, state).pages():
                yield page

    async def costs(self, stream: Stream, state: State | None) -> Sequence[Cost]:
        async with self.api() as api:
            return [cost async for cost in self._reader(api, stream, state).costs()]

    def _reader(self, api: Api, stream: Stream, state: State | None) -> intent.Reader | contacts.Reader | visits.Reader:
        if stream.name in intent.OF_STREAM:
            return intent.Reader(api, stream.name, state, self.config, self._purse, self._clock)
        if stream.name == "visits":
            return visits.Reader(api, state, self.config, self._purse, self._clock)
        assert self._acquaintances is not None, "else it is none of the streams"
        return contacts.Reader(api, state, self.config, self._purse, self._clock, self._acquaintances)

    def replay(self, stream: Stream, raw: Any, record_id: str | None) -> Record | Rejected:  # noqa: ARG002
        if record_id is not None and isinstance(raw, Mapping):
            return Record(record_id, raw)
        return Rejected("replayed", "the next sync reads it anew", None)

    async def _log_in(self, _http: Http) -> Grant:
        keys = {"X-Api-Key": self.config.api_key, "X-Api-Secret": self.config.api_secret}
        return Grant(keys, self.config.base_url)

    def _opened(self, http: Http) -> Api:
        # of both the pixel counts, as at the vendor
        pixel, project = self.config.pixel_id, self.config.project_id
        whose = {"pixel_id": pixel} if pixel else {"project_id": project} if project else {}
        return Api(http, self._heed, whose=whose, vendor_now=self._vendor_now)

    def _remember(self, api: Api) -> None:
        self._vendor_now = api.vendor_now

    def _heed(self, calls_per_second: float) -> None:
        """An organisation may have fewer calls than the configuration thinks, never more than it wants to make."""
        allowed = min(calls_per_second, self.config.calls_per_second)
        if allowed != self._calls_per_second:
            self._calls_per_second = allowed
            self._pace = Pace(allowed, 1, self._clock)

    async def _turn(self) -> None:
        await self._pace.turn()
