"""What a Delivr.ai connector is configured with."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import Field

from connectors.config import Address, VendorConfig, some_of
from connectors.config import read as config_of
from connectors.delivrai.streams import STREAMS

NAMES = tuple(stream.name for stream in STREAMS)

UUID = r"^[0-9a-fA-F-]{32,36}$"
# of which events are told without going to cold storage
LONGEST_WINDOW = 25


class DelivraiConfig(VendorConfig):
    base_url: Address = "https://api.delivr.ai"
    api_key: str = Field(min_length=1, repr=False)
    api_secret: str = Field(min_length=1, repr=False)

    streams: Annotated[tuple[str, ...], some_of(NAMES)] = NAMES
    # By the vendor's ids. Without one nothing is read of who researches what.
    topics: tuple[Annotated[str, Field(min_length=1, max_length=100)], ...] = ()
    min_score: Literal["high", "medium"] = "high"
    intent_every_hours: float = Field(default=168, ge=0)

    # How long what is known of somebody is good enough.
    contacts_again_after_days: float = Field(default=90, gt=0)
    contacts_per_call: int = Field(default=500, ge=1, le=1_000)
    # Ask by digest, one by one, so that no address leaves the house.
    contacts_by_digest: bool = False

    # Whose pixel tells of visits: of one website, or of all of a project.
    pixel_id: str | None = Field(default=None, pattern=UUID)
    project_id: str | None = Field(default=None, pattern=UUID)
    visits_history_days: float = Field(default=30, gt=0)
    visits_window_hours: float = Field(default=24, gt=0, le=LONGEST_WINDOW)
    visits_settle_minutes: float = Field(default=15, ge=0)

    # Every record costs. What a run may take of them in all; the next one goes on.
    budget_per_run: int = Field(default=5_000, ge=1)
    page_size: int = Field(default=500, ge=1, le=500)

    calls_per_second: float = Field(default=25, gt=0)

    @property
    def contacts_last(self) -> timedelta:
        return timedelta(days=self.contacts_again_after_days)

    @property
    def visits_history(self) -> timedelta:
        return timedelta(days=self.visits_history_days)

    @property
    def visits_window(self) -> timedelta:
        return timedelta(hours=self.visits_window_hours)

    @property
    def visits_settle(self) -> timedelta:
        return timedelta(minutes=self.visits_settle_minutes)

    @property
    def intent_every(self) -> timedelta:
        return timedelta(hours=self.intent_every_hours)


def read(config: Mapping[str, Any]) -> DelivraiConfig:
    return config_of(DelivraiConfig, "delivrai", config)
