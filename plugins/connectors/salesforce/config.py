"""What a Salesforce connector is configured with."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from connectors.config import Address, VendorConfig, some_of
from connectors.config import read as config_of
from connectors.salesforce.streams import OBJECTS, SECRETS

Auth = Literal["client_credentials", "jwt", "refresh_token"]

_NEEDED: Mapping[Auth, tuple[str, ...]] = {
    "client_credentials": ("client_id", "client_secret"),
    "jwt": ("client_id", "username", "private_key"),
    "refresh_token": ("client_id", "refresh_token"),
}


class SalesforceConfig(VendorConfig):
    auth: Auth = "client_credentials"
    login_url: Address = "https://login.salesforce.com"
    instance_url: Address | None = None
    audience: Address | None = None
    api_version: str = Field(default="63.0", pattern=r"^\d{2,3}\.0$")
    client_id: str = Field(default="", max_length=1000)
    client_secret: str | None = Field(default=None, repr=False)
    refresh_token: str | None = Field(default=None, repr=False)
    private_key: str | None = Field(default=None, repr=False)
    username: str | None = None

    streams: Annotated[tuple[str, ...], some_of(tuple(OBJECTS))] = tuple(OBJECTS)
    bulk_above: int = Field(default=2_000, ge=0)
    page_size: int = Field(default=2_000, ge=1, le=2_000)
    bulk_page_size: int = Field(default=5_000, ge=1, le=250_000)
    bulk_minutes: float = Field(default=120, gt=0)
    overlap_minutes: float = Field(default=10, gt=0)
    # What is stamped late is found by the overlap; a lag only spares reading it twice.
    lag_seconds: float = Field(default=0, ge=0)
    full_every_days: float = Field(default=7, gt=0)
    share_of_day: float = Field(default=0.8, gt=0, le=1)
    share_per_run: float = Field(default=0.25, gt=0, le=1)
    # A query may run for two minutes before its first byte comes.
    timeout_seconds: float = Field(default=150, gt=0)

    @model_validator(mode="after")
    def _has_what_its_login_needs(self) -> Self:
        if missing := [key for key in _NEEDED[self.auth] if not getattr(self, key)]:
            raise ValueError(f"the login {self.auth} needs {', '.join(missing)}")
        return self

    @property
    def overlap(self) -> timedelta:
        return timedelta(minutes=self.overlap_minutes)

    @property
    def secrets(self) -> tuple[str, ...]:
        return tuple(value for key in SECRETS if (value := getattr(self, key)))


def read(config: Mapping[str, Any]) -> SalesforceConfig:
    return config_of(SalesforceConfig, "salesforce", config)
