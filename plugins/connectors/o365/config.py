"""What a Microsoft 365 connector is configured with."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any

from pydantic import Field

from connectors.config import Address, VendorConfig, some_of
from connectors.config import read as config_of
from connectors.o365.streams import STREAMS

NAMES = tuple(stream.name for stream in STREAMS)
# the name of a folder that Graph knows, or a folder's id: a part of a path
Folder = Annotated[str, Field(pattern=r"^[A-Za-z0-9_=-]+$", max_length=250)]


class O365Config(VendorConfig):
    directory_id: str = Field(pattern=r"^[A-Za-z0-9.-]+$", max_length=100)
    client_id: str = Field(min_length=1, max_length=200)
    client_secret: str = Field(min_length=1, max_length=1000, repr=False)
    base_url: Address = "https://graph.microsoft.com/v1.0"
    login_url: Address = "https://login.microsoftonline.com"
    scope: str = "https://graph.microsoft.com/.default"

    own_domain: str = Field(min_length=3, max_length=253)
    mailboxes: tuple[str, ...] = ()
    folders: tuple[Folder, ...] = Field(default=("inbox", "sentitems"), min_length=1)
    streams: Annotated[tuple[str, ...], some_of(NAMES)] = NAMES
    # a calendar is opened for 1,825 days at most, those ahead included
    history_days: int = Field(default=365, ge=1, le=1_400)
    # of the calendar, once it has been read: what changes further back is the past
    look_back_days: int = Field(default=30, ge=1, le=365)
    look_ahead_days: int = Field(default=90, ge=2, le=365)
    page_size: int = Field(default=200, ge=1, le=1_000)

    @property
    def history(self) -> timedelta:
        return timedelta(days=self.history_days)


def read(config: Mapping[str, Any]) -> O365Config:
    return config_of(O365Config, "o365", config)
