"""Not faster than a vendor allows: so many calls within any so many seconds.

For vendors that count calls per second and say of a call too many no more than that it was one. Whoever comes too early
waits here, in the order of coming, instead of being refused there.
"""

from collections import deque
from datetime import datetime, timedelta

from connectors.http import Clock


class Pace:
    """Belongs to one connector and may outlive an event loop."""

    def __init__(self, calls: float, seconds: float, clock: Clock) -> None:
        # half a call per second is one call in two
        self._calls = max(1, int(calls))
        self._period = timedelta(seconds=seconds * self._calls / calls)
        self._clock = clock
        self._turns: deque[datetime] = deque(maxlen=self._calls)

    async def turn(self) -> None:
        now = self._clock.now()
        full = len(self._turns) == self._calls
        at = max(now, self._turns[0] + self._period) if full else now
        self._turns.append(at)
        if at > now:
            await self._clock.sleep((at - now).total_seconds())
