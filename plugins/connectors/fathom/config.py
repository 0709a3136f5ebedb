"""What a Fathom connector is configured with."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from connectors.config import Address, VendorConfig, some_of
from connectors.config import read as config_of
from connectors.fathom.streams import SECRETS, STREAMS

NAMES = tuple(stream.name for stream in STREAMS)


class FathomConfig(VendorConfig):
    # Version and path are a part of the address.
    base_url: Address = "https://api.fathom.ai/external/v1"
    api_key: str | None = Field(default=None, repr=False)
    access_token: str | None = Field(default=None, repr=False)

    streams: Annotated[tuple[str, ...], some_of(NAMES)] = NAMES
    history_days: float = Field(default=400, gt=0)
    reread_days: float = Field(default=7, gt=0)

    calls_per_minute: float = Field(default=60, gt=0)

    @model_validator(mode="after")
    def _has_one_way_in(self) -> Self:
        if (self.api_key is None) == (self.access_token is None):
            raise ValueError("needs either an api_key or the access_token of an OAuth app")
        return self

    @property
    def reread(self) -> timedelta:
        return timedelta(days=self.reread_days)

    @property
    def secrets(self) -> tuple[str, ...]:
        return tuple(value for key in SECRETS if (value := getattr(self, key)))


def read(config: Mapping[str, Any]) -> FathomConfig:
    return config_of(FathomConfig, "fathom", config)
