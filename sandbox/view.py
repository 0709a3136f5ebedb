"""What each vendor's data in the sandbox is: that vendor's view of an invented company whose days pass."""

from abc import ABC, abstractmethod
from dataclasses import KW_ONLY, dataclass
from datetime import UTC, date, datetime, time, timedelta
from threading import RLock
from typing import ClassVar

from sandbox import companies
from sandbox.companies import Company, Market

TODAY = date(2026, 3, 10)
HISTORY = timedelta(days=400)


@dataclass(eq=False)
class View(ABC):
    """Everything is done under `lock`: the server answers in one thread while a test mutates in another."""

    seed: int = 1
    accounts: int = 20
    _: KW_ONLY
    today: date = TODAY
    activities_per_year: int | None = None
    market: Market | None = None

    # So far ahead the company is known: what will be opened then was sent by now.
    ahead: ClassVar[timedelta] = timedelta(0)

    def __post_init__(self) -> None:
        self.lock = RLock()
        self.now = datetime.combine(self.today, time(), UTC)
        self.company: Company = companies.generate(
            self.seed,
            self.accounts,
            self.today + self.ahead,
            since=self.today - HISTORY,
            market=self.market or Market(activities_per_year=self.activities_per_year or self.accounts * 60),
        )

    @property
    def seconds(self) -> int:
        return int(self.now.timestamp())

    def advance(self, days: int = 0, seconds: int = 0) -> None:
        """The company goes on living, and what it did is told from now on."""
        with self.lock:
            before = self.company
            self.now += timedelta(days=days, seconds=seconds)
            passed = (self.now.date() + self.ahead - before.world.today).days
            if passed > 0:
                self.company = companies.advance(before, passed)
                self._tell(before)

    def tick(self) -> int:
        """The moment of a change: one second after the last one."""
        self.now += timedelta(seconds=1)
        return self.seconds

    @abstractmethod
    def _tell(self, before: Company | None = None) -> None:
        """Take over what the company did, since `before` if that is given."""
