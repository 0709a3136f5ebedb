"""The connector: a configuration, the key it holds, and the streams that a reader reads with it."""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import httpx

from connectors.contract import ConnectorError, Consent, Health, Page, Record, Rejected, Renew, State, Stream
from connectors.fathom.api import Api
from connectors.fathom.config import read
from connectors.fathom.pages import meetings_of, participants_of, recording_of, words_of
from connectors.fathom.reader import Reader
from connectors.fathom.streams import STREAMS
from connectors.fathom.vendor import FATHOM
from connectors.http import Budget, Clock, Grant, Http, Identity, Shared
from connectors.pace import Pace


class Client:
    """Without `consent` nothing is read of what was said."""

    def __init__(
        self,
        config: Mapping[str, Any],
        renew: Renew | None = None,  # noqa: ARG002 - nothing here is rotated by the vendor
        consent: Consent | None = None,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
        clock: Clock | None = None,
        dice: Random | None = None,
    ) -> None:
        self.config = read(config)
        self._may_listen = consent is not None and consent.accepted
        self._identity = Identity(self._log_in, self.config.secrets)
        self._clock = clock or Clock()
        # Fathom counts calls per minute and none per day.
        self._budget = Budget(FATHOM.name, 1, 1, self._clock)
        self._pace = Pace(self.config.calls_per_minute, 60, self._clock)
        http = self.config.http_to(FATHOM, self._identity, self._budget, self._clock, dice, transport, self._pace.turn)
        self.api: Shared[Api] = Shared(http, self._opened, self._remember)
        self._vendor_now: datetime | None = None

    @property
    def streams(self) -> Sequence[Stream]:
        return [
            replace(stream, overlap=self.config.reread)
            for stream in STREAMS
            if stream.name in self.config.streams and (self._may_listen or stream.name != "transcripts")
        ]

    async def check(self) -> Health:
        try:
            async with self.api() as api:
                await self._look(api)
        except ConnectorError as error:
            return Health(False, str(error))
        said = "" if self._may_listen else ", without what was said in them, which the tenant has not allowed"
        return Health(True, f"The key opens {self.config.base_url} and reads meetings{said}.")

    async def pages(self, stream: Stream, state: State | None) -> AsyncIterator[Page]:
        async with self.api() as api:
            if api.vendor_now is None:
                # periods are by Fathom's clock, which each answer tells; a check has mostly been before
                await self._look(api)
            async for page in Reader(api, state, self.config, self._clock).pages(stream.name):
                yield page

    async def _look(self, api: Api) -> None:
        now = self._clock.now().astimezone(UTC)
        since, upto = (moment.strftime("%Y-%m-%dT%H:%M:%SZ") for moment in (now - timedelta(days=1), now))
        await api.meetings(None, created_after=since, created_before=upto, with_words=False)

    def replay(self, stream: Stream, raw: Any, record_id: str | None) -> Record | Rejected:
        if record_id is not None and isinstance(raw, Mapping):
            return Record(record_id, raw)
        outcomes = list((participants_of if stream.name == "participants" else meetings_of)([raw], None))
        return outcomes[0] if len(outcomes) == 1 else Rejected("replayed", "the next sync reads it anew", None)

    def heard(self, event: Any) -> Iterable[tuple[str, Record | Rejected]]:
        """A webhook's body is a meeting as the list has it."""
        for outcome in meetings_of([event], _recorded_at(event)):
            yield "meetings", outcome
        if recording_of(event) is None:
            return
        for outcome in participants_of([event], _recorded_at(event)):
            yield "participants", outcome
        if self._may_listen:
            for record in words_of(event, event, _recorded_at(event)):
                yield "transcripts", record

    async def _log_in(self, _http: Http) -> Grant:
        if self.config.api_key is not None:
            return Grant({"X-Api-Key": self.config.api_key}, self.config.base_url)
        return Grant({"Authorization": f"Bearer {self.config.access_token}"}, self.config.base_url)

    def _opened(self, http: Http) -> Api:
        return Api(http, lists_words=self.config.api_key is not None, vendor_now=self._vendor_now)

    def _remember(self, api: Api) -> None:
        self._vendor_now = api.vendor_now


def _recorded_at(event: Any) -> datetime | None:
    """The list's stamps are of when it was asked, which is later than this."""
    text = event.get("created_at") if isinstance(event, Mapping) else None
    try:
        at = datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        return None
    return at if at is None or at.tzinfo else at.replace(tzinfo=UTC)
