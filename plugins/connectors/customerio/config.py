"""What a Customer.io connector is configured with."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any

from pydantic import Field

from connectors.config import Address, VendorConfig, some_of
from connectors.config import read as config_of
from connectors.customerio.streams import STREAMS

NAMES = tuple(stream.name for stream in STREAMS)


class CustomerioConfig(VendorConfig):
    # Workspaces of the European region stand at https://api-eu.customer.io.
    base_url: Address = "https://api.customer.io"
    api_version: str = Field(default="v1", pattern=r"^v\d{1,2}$")
    api_key: str = Field(min_length=1, repr=False)

    streams: Annotated[tuple[str, ...], some_of(NAMES)] = NAMES
    # There is no list of all people. Without a segment everybody is read who has an e-mail address.
    people_segment: int | None = Field(default=None, ge=1)
    people_whole_every_hours: float = Field(default=24, gt=0)
    # What is worth a signal; the rest of the log tells once more of messages and attributes.
    activity_types: tuple[Annotated[str, Field(pattern=r"^[a-z_]{1,60}$")], ...] = ("event", "page")
    history_days: float = Field(default=400, gt=0)
    reread_days: float = Field(default=14, gt=0)
    page_size: int = Field(default=1_000, ge=1, le=1_000)

    calls_per_second: float = Field(default=10, gt=0)

    @property
    def reread(self) -> timedelta:
        return timedelta(days=self.reread_days)


def read(config: Mapping[str, Any]) -> CustomerioConfig:
    return config_of(CustomerioConfig, "customerio", config)
