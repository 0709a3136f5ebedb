"""The connector: a configuration, the consent that it stands behind, and the mailboxes that a reader reads for it."""

from collections.abc import AsyncIterator, Mapping, Sequence
from random import Random
from typing import Any

import httpx

from connectors.contract import ConnectorError, Consent, Health, Page, Record, Rejected, Renew, State, Stream
from connectors.http import Budget, Clock, Identity, Shared
from connectors.o365.api import Api, User
from connectors.o365.config import O365Config, read
from connectors.o365.counterparts import Allowlist
from connectors.o365.login import Login
from connectors.o365.reader import Reader
from connectors.o365.streams import STREAMS
from connectors.o365.vendor import GRAPH

NOT_ACCEPTED = (
    "Nobody has accepted the data processing agreement for this tenant, so no mailbox is read. Whoever may decide it"
    " says `clarity connector accept-dpa TENANT --user NAME`."
)
NOTHING_ALLOWED = (
    "no domain is allowed, so nothing is read: `clarity connector allow-domains TENANT DOMAIN ...` says with whom mail"
    " and meetings may be read"
)


class Client:
    def __init__(
        self,
        config: Mapping[str, Any],
        renew: Renew | None = None,  # noqa: ARG002 - an application's secret is not rotated by its login
        consent: Consent | None = None,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
        clock: Clock | None = None,
        dice: Random | None = None,
    ) -> None:
        self.config: O365Config = read(config)
        self._consent = consent or Consent()
        self._identity = Identity(Login(self.config), [self.config.client_secret])
        self._clock = clock or Clock()
        # Graph counts by mailbox and by ten minutes and says when it is too much; there is no day's budget to share
        self._budget = Budget(GRAPH.name, 1, 1, self._clock)
        http = self.config.http_to(GRAPH, self._identity, self._budget, self._clock, dice, transport)
        self.api: Shared[Api] = Shared(http, lambda http: Api(http, self.config))

    @property
    def streams(self) -> Sequence[Stream]:
        return [stream for stream in STREAMS if stream.name in self.config.streams]

    async def check(self) -> Health:
        if not self._consent.accepted:
            return Health(False, NOT_ACCEPTED, is_blocked=True)
        try:
            async with self.api() as api:
                users = await api.users(only_some=True)
        except ConnectorError as error:
            return Health(False, str(error))
        if not users:
            return Health(False, "The login works, but no user of the directory has a mailbox. Correct directory_id.")
        if not self._consent.domains:
            return Health(True, f"The login works, but {NOTHING_ALLOWED}.")
        return Health(True, f"The login works; {len(self._consent.domains)} domains are allowed.")

    async def pages(self, stream: Stream, state: State | None) -> AsyncIterator[Page]:
        if not self._consent.accepted or not self._consent.domains:
            yield Page((), state, (), [NOTHING_ALLOWED if self._consent.accepted else NOT_ACCEPTED])
            return
        async with self.api() as api:
            users = await api.users()
            allowed = self._allowed(users)
            wanted = self._wanted(users)
            unknown = sorted({name.lower() for name in self.config.mailboxes} - {user.address for user in users})
            notes = [f"there is no mailbox {name} in the directory: correct mailboxes" for name in unknown]
            reader = Reader(api, self.config, wanted, allowed, self._clock)
            async for page in reader.messages(state) if stream.name == "messages" else reader.events(state):
                yield Page(page.records, page.state, page.rejected, [*page.notes, *notes])
                notes = []

    def replay(self, stream: Stream, raw: Any, record_id: str | None) -> Record | Rejected:  # noqa: ARG002
        return Rejected("replayed", "of a refused mail or meeting nothing is kept: read the stream from the start", raw)

    def _allowed(self, users: Sequence[User]) -> Allowlist:
        """Whoever has a mailbox here is a colleague, at whatever domain."""
        own = {self.config.own_domain, self._consent.own_domain or ""}
        return Allowlist(self._consent.domains, own | {user.address.partition("@")[2] for user in users})

    def _wanted(self, users: Sequence[User]) -> list[User]:
        chosen = {name.lower() for name in self.config.mailboxes}
        return [user for user in users if not chosen or user.address in chosen]
