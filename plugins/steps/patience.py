"""How often, and how long apart, what a vendor asks to try again is tried again."""

import asyncio
import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from connectors.contract import ConnectorError, Retry, WaitUntil

# The HTTP core has tried the same request for a while before a connector gives up on it: what is left to do here is
# to begin again from the last landed page, and each time it takes twice as long as before.
TRIES = 5
FIRST_WAIT = 2.0
# Longer than this nobody should hold a tenant's lease for a vendor who will let us in later.
LONGEST_WAIT = timedelta(minutes=2)


class TooLong(ConnectorError):
    """The vendor lets us in at `until`, and whoever waits here would hold up others until then."""

    def __init__(self, message: str, until: datetime) -> None:
        super().__init__(message)
        self.until = until


class Patience:
    """Starts anew with every step forward: it is for standing still."""

    def __init__(self, tell: Callable[[str], None], longest: timedelta = LONGEST_WAIT) -> None:
        self._tell, self._longest = tell, longest
        self._tries = 0

    def moved_on(self) -> None:
        self._tries = 0

    async def wait(self, error: Retry | WaitUntil) -> None:
        """Wait as long as the error asks for, or raise what it means that this is no use."""
        self._tries += 1
        if self._tries >= TRIES:
            raise ConnectorError(f"{error} It was tried {TRIES} times.") from error
        seconds = self._until(error) if isinstance(error, WaitUntil) else self._jittered()
        self._tell(f"waits {seconds:.0f} seconds and tries again: {error}")
        await asyncio.sleep(seconds)

    def _jittered(self) -> float:
        # streams that were refused together must not come back together
        return FIRST_WAIT * 2.0 ** (self._tries - 1) * random.uniform(0.5, 1.0)  # noqa: S311 - no secret is made of it

    def _until(self, error: WaitUntil) -> float:
        left = error.until - datetime.now(UTC)
        if left > self._longest:
            raise TooLong(
                f"{error} It can be read again from {error.until.astimezone(UTC):%Y-%m-%d %H:%M} UTC on: what has"
                " landed stays, and the next sync after that goes on from there.",
                error.until,
            ) from error
        return max(0.0, left.total_seconds())
