"""The connector: a configuration, the login it makes, and the streams that a reader reads for it."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from random import Random
from typing import Any

import httpx

from connectors.contract import ConnectorError, Health, Page, Record, Rejected, Renew, State, Stream
from connectors.http import Budget, Clock, Identity, Shared
from connectors.salesforce.api import Api
from connectors.salesforce.config import read
from connectors.salesforce.login import Login
from connectors.salesforce.pages import outcome_of
from connectors.salesforce.reader import Reader
from connectors.salesforce.streams import OBJECTS, STREAMS
from connectors.salesforce.vendor import SALESFORCE
from connectors.salesforce.writer import Writer


class Client:
    def __init__(
        self,
        config: Mapping[str, Any],
        renew: Renew | None = None,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
        clock: Clock | None = None,
        dice: Random | None = None,
    ) -> None:
        self.config = read(config)
        self._identity = Identity(Login(self.config, renew), self.config.secrets)
        self._clock = clock or Clock()
        self._budget = Budget(SALESFORCE.name, self.config.share_of_day, self.config.share_per_run, self._clock)
        http = self.config.http_to(SALESFORCE, self._identity, self._budget, self._clock, dice, transport)
        self.api: Shared[Api] = Shared(http, lambda http: Api(http, self.config.api_version), Api.close)

    @property
    def streams(self) -> Sequence[Stream]:
        return [
            replace(stream, overlap=self.config.overlap) for stream in STREAMS if stream.name in self.config.streams
        ]

    async def check(self) -> Health:
        try:
            async with self.api() as api:
                seen = {str(entity["name"]) for entity in await api.objects() if entity.get("queryable")}
        except ConnectorError as error:
            return Health(False, str(error))
        wanted = {OBJECTS[stream.name] for stream in self.streams}
        missing = ", ".join(sorted(wanted - seen))
        if not wanted & seen:
            return Health(False, f"The user may read none of the objects: give it Read on {missing}.")
        place = self._identity.grant.base_url if self._identity.grant else ""
        used = f", {self._budget.used} of {self._budget.allowed} calls of the day used" if self._budget.allowed else ""
        if missing:
            without = f"but may not read {missing}. Give the user Read on them, or leave their streams out"
            return Health(True, f"The login to {place} works{used}, {without}.")
        return Health(True, f"The login to {place} works and sees all {len(wanted)} objects{used}.")

    async def pages(self, stream: Stream, state: State | None) -> AsyncIterator[Page]:
        async with self.api() as api:
            reader = await Reader.of(api, OBJECTS[stream.name], state, self.config, self._clock)
            async for page in reader.pages():
                yield page

    def replay(self, stream: Stream, raw: Any, record_id: str | None) -> Record | Rejected:  # noqa: ARG002 - the row knows
        return outcome_of(raw, "replayed")

    @asynccontextmanager
    async def writer(self) -> AsyncIterator[Writer]:
        async with self.api() as api:
            yield Writer(api, self.config, self._clock)
