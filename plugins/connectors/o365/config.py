"""What a Microsoft 365 connector is configured with."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from connectors.contract import Fatal
from connectors.o365.streams import STREAMS


def _address(url: str) -> str:
    if not url.startswith(("https://", "http://")):
        raise ValueError("must be an address with https://")
    return url.rstrip("/")


def _known_streams(names: tuple[str, ...]) -> tuple[str, ...]:
    known = [stream.name for stream in STREAMS]
    if unknown := sorted(set(names) - set(known)):
        raise ValueError(f"knows no {', '.join(unknown)}; there are {', '.join(known)}")
    return names


Address = Annotated[str, AfterValidator(_address)]
# the name of a folder that Graph knows, or a folder's id: a part of a path
Folder = Annotated[str, Field(pattern=r"^[A-Za-z0-9_=-]+$", max_length=250)]


class O365Config(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    directory_id: str = Field(pattern=r"^[A-Za-z0-9.-]+$", max_length=100)
    client_id: str = Field(min_length=1, max_length=200)
    client_secret: str = Field(min_length=1, max_length=1000, repr=False)
    base_url: Address = "https://graph.microsoft.com/v1.0"
    login_url: Address = "https://login.microsoftonline.com"
    scope: str = "https://graph.microsoft.com/.default"

    own_domain: str = Field(min_length=3, max_length=253)
    mailboxes: tuple[str, ...] = ()
    folders: tuple[Folder, ...] = Field(default=("inbox", "sentitems"), min_length=1)
    streams: Annotated[tuple[str, ...], AfterValidator(_known_streams)] = tuple(stream.name for stream in STREAMS)
    # a calendar is opened for 1,825 days at most, those ahead included
    history_days: int = Field(default=365, ge=1, le=1_400)
    # of the calendar, once it has been read: what changes further back is the past
    look_back_days: int = Field(default=30, ge=1, le=365)
    look_ahead_days: int = Field(default=90, ge=2, le=365)
    page_size: int = Field(default=200, ge=1, le=1_000)
    timeout_seconds: float = Field(default=60, gt=0)
    attempts: int = Field(default=8, ge=1, le=20)
    backoff_seconds: float = Field(default=0.5, ge=0)

    @property
    def history(self) -> timedelta:
        return timedelta(days=self.history_days)


def read(config: Mapping[str, Any]) -> O365Config:
    try:
        return O365Config.model_validate(dict(config))
    except ValidationError as invalid:
        first = invalid.errors(include_input=False, include_context=False)[0]
        where = ".".join(map(str, first["loc"]))
        reason = first["msg"].removeprefix("Value error, ")
        raise Fatal(f"o365: {where}: {reason}." if where else f"o365: {reason}.") from None
