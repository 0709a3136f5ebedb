"""A connector that exists for tests alone: it has secrets, and its vendor rotates one of them."""

import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from types import ModuleType
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict, SecretStr, ValidationError

from connectors import catalogue
from connectors.contract import Fatal, Health, Page, Record, Rejected, Renew, State, Stream

STREAMS = (
    Stream("things", primary_key="id"),
    Stream("refusals", primary_key="id", cursor="at", overlap=timedelta(minutes=1)),
)


class VaultConfig(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    base_url: str
    client_secret: SecretStr
    refresh_token: SecretStr


class Client:
    streams = STREAMS

    def __init__(self, config: Mapping[str, Any], _renew: Renew | None = None) -> None:
        try:
            self.config = VaultConfig.model_validate(config)
        except ValidationError as invalid:
            first = invalid.errors()[0]
            raise Fatal(f"vault: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None

    async def check(self) -> Health:
        return Health(True, f"{self.config.base_url} answers")

    async def pages(self, stream: Stream, state: State | None) -> AsyncIterator[Page]:
        if stream.name == "refusals":
            # as an HTTP library does that puts the address into its message
            raise RuntimeError(f"404 for {self.config.base_url}?key={self.config.client_secret.get_secret_value()}")
        if state is None:
            yield Page([Record("1", {"id": "1"})], {"read": True})

    def replay(self, stream: Stream, raw: Any, record_id: str | None) -> Record | Rejected:
        return Rejected(stream.name, "nothing is ever refused here", raw, record_id)


@contextmanager
def installed() -> Iterator[None]:
    """The catalogue with this connector in it."""
    streams, client = ModuleType("connectors.vault.streams"), ModuleType("connectors.vault.client")
    vars(streams).update(STREAMS=STREAMS, SECRETS=("client_secret", "refresh_token"))
    vars(client).update(Client=Client)
    there_are = catalogue.names()
    with pytest.MonkeyPatch.context() as patch:
        for module in (ModuleType("connectors.vault"), streams, client):
            patch.setitem(sys.modules, module.__name__, module)
        patch.setattr(catalogue, "names", lambda: (*there_are, "vault"))
        yield
    catalogue.streams.cache_clear()
