"""Waiting for a bulk job, whether it reads or writes."""

from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from typing import Any

from connectors.http import Clock
from connectors.salesforce.config import SalesforceConfig

LONGEST_POLL_SECONDS = 30.0
ENDED = ("JobComplete", "Failed", "Aborted")

Told = Mapping[str, Any]


async def ended(ask: Callable[[], Awaitable[Told]], config: SalesforceConfig, clock: Clock) -> Told | None:
    """What Salesforce tells of a job that has ended; None if it goes on for longer than the customer lets it."""
    began, pause = clock.now(), config.backoff_seconds
    while (told := await ask()).get("state") not in ENDED:
        if clock.now() - began > timedelta(minutes=config.bulk_minutes):
            return None
        await clock.sleep(pause)
        pause = min(LONGEST_POLL_SECONDS, pause * 2)
    return told


def reason(told: Told) -> str:
    """Why it did not come to its end, as a part of a sentence."""
    return " ".join(str(told.get("errorMessage") or "no reason given").split())[:300].rstrip(". ")
