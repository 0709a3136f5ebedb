"""The connector: a configuration, the key it holds, and the streams that a reader reads with it."""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from random import Random
from typing import Any

import httpx

from connectors.contract import ConnectorError, Health, Page, Record, Rejected, Renew, State, Stream
from connectors.customerio.api import Api
from connectors.customerio.config import read
from connectors.customerio.pages import heard, outcome_of
from connectors.customerio.reader import Reader
from connectors.customerio.streams import STREAMS
from connectors.customerio.vendor import CUSTOMERIO
from connectors.http import Budget, Clock, Grant, Http, Identity, Shared
from connectors.pace import Pace


class Client:
    def __init__(
        self,
        config: Mapping[str, Any],
        renew: Renew | None = None,  # noqa: ARG002 - a key is never rotated by the vendor
        *,
        transport: httpx.AsyncBaseTransport | None = None,
        clock: Clock | None = None,
        dice: Random | None = None,
    ) -> None:
        self.config = read(config)
        self._identity = Identity(self._log_in, (self.config.api_key,))
        self._clock = clock or Clock()
        # Customer.io counts calls per second and none per day.
        self._budget = Budget(CUSTOMERIO.name, 1, 1, self._clock)
        self._pace = Pace(self.config.calls_per_second, 1, self._clock)
        http = self.config.http_to(
            CUSTOMERIO, self._identity, self._budget, self._clock, dice, transport, self._pace.turn
        )
        self.api: Shared[Api] = Shared(
            http, lambda http: Api(http, self.config.api_version, self._vendor_now), self._remember
        )
        self._vendor_now: datetime | None = None

    @property
    def streams(self) -> Sequence[Stream]:
        overlaps = {"messages": self.config.reread}
        return [
            replace(stream, overlap=overlaps.get(stream.name, stream.overlap))
            for stream in STREAMS
            if stream.name in self.config.streams
        ]

    async def check(self) -> Health:
        try:
            async with self.api() as api:
                known = {str(segment.get("id")) for segment in await api.all_of("segments")}
        except ConnectorError as error:
            return Health(False, str(error))
        wanted = self.config.people_segment
        if wanted is not None and str(wanted) not in known:
            return Health(
                False,
                f"The workspace has no segment {wanted}. Set people_segment to the id of a segment that holds everybody"
                " who is to be read, or leave it out for all with an e-mail address.",
            )
        return Health(True, f"The key opens {self.config.base_url} and sees {len(known)} segments.")

    async def pages(self, stream: Stream, state: State | None) -> AsyncIterator[Page]:
        async with self.api() as api:
            if api.vendor_now is None:
                # windows of time are by Customer.io's clock, which each answer tells; a check has mostly been before
                await api.all_of("segments")
            async for page in Reader(api, state, self.config, self._clock).pages(stream.name):
                yield page

    def replay(self, stream: Stream, raw: Any, record_id: str | None) -> Record | Rejected:
        return outcome_of(stream.name, raw, record_id)

    def heard(self, event: Any) -> Iterable[tuple[str, Record | Rejected]]:
        return heard(event)

    async def _log_in(self, _http: Http) -> Grant:
        return Grant({"Authorization": f"Bearer {self.config.api_key}"}, self.config.base_url)

    def _remember(self, api: Api) -> None:
        self._vendor_now = api.vendor_now
