"""What the configurations of connectors have alike: addresses, streams, and a refusal that names the field."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from random import Random
from typing import Annotated, Any, TypeVar

import httpx
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from connectors.contract import Fatal
from connectors.http import Budget, Clock, Http, Identity, Patience, Vendor

Config = TypeVar("Config", bound=BaseModel)


def _address(url: str) -> str:
    if not url.startswith(("https://", "http://")):
        raise ValueError("must be an address with https://")
    return url.rstrip("/")


Address = Annotated[str, AfterValidator(_address)]


class VendorConfig(BaseModel):
    """Of a connector that asks a vendor: how long it waits for an answer, and how often it asks again."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    timeout_seconds: float = Field(default=60, gt=0)
    attempts: int = Field(default=8, ge=1, le=20)
    backoff_seconds: float = Field(default=0.5, ge=0)

    @property
    def patience(self) -> Patience:
        """Nobody takes long to open the door."""
        seconds = self.timeout_seconds
        return Patience(min(10.0, seconds), seconds, seconds, self.attempts, self.backoff_seconds)

    def http_to(
        self,
        vendor: Vendor,
        identity: Identity,
        budget: Budget,
        clock: Clock,
        dice: Random | None,
        transport: httpx.AsyncBaseTransport | None,
        pace: Callable[[], Awaitable[None]] | None = None,
    ) -> Callable[[], Http]:
        """What opens a connection in the event loop that needs one."""
        return lambda: Http(
            vendor,
            identity,
            budget,
            patience=self.patience,
            clock=clock,
            dice=dice,
            transport=transport,
            pace=pace,
        )


def some_of(known: Sequence[str]) -> AfterValidator:
    """For a field that names streams."""

    def check(names: tuple[str, ...]) -> tuple[str, ...]:
        if unknown := sorted(set(names) - set(known)):
            raise ValueError(f"knows no {', '.join(unknown)}; there are {', '.join(known)}")
        return names

    return AfterValidator(check)


def read(model: type[Config], connector: str, config: Mapping[str, Any]) -> Config:
    """The configuration, or Fatal that names the first wrong field, without what was given: it may be a secret."""
    try:
        return model.model_validate(dict(config))
    except ValidationError as invalid:
        first = invalid.errors(include_input=False, include_context=False)[0]
        where = ".".join(map(str, first["loc"]))
        reason = first["msg"].removeprefix("Value error, ")
        raise Fatal(f"{connector}: {where}: {reason}." if where else f"{connector}: {reason}.") from None
