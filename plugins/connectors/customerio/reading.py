"""Where a stream's reading stands: all that a sync has to know that comes after a kill, or a day later."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Self

from connectors.contract import State, understood

VERSION = 1


@dataclass(frozen=True, slots=True)
class Walk:
    """One way through a list, page by page.

    `of` is what is walked through, `since` its lower end, `upto` the moment from which on everything is the next
    reading's, `start` the place of the next page, `count` how many records there were so far. All moments are seconds.
    """

    of: str
    since: int = 0
    upto: int | None = None
    start: str | None = None
    count: int = 0


@dataclass(frozen=True, slots=True)
class Progress:
    """`read_upto` says up to when each part of a stream is read, `whole_at` when it was last read whole."""

    read_upto: Mapping[str, int] = field(default_factory=dict)
    whole_at: int | None = None
    walk: Walk | None = None

    @classmethod
    def of(cls, state: State | None) -> Self:
        if not state:
            return cls()
        with understood(state, VERSION):
            walk = state["walk"]
            return cls(
                {str(part): int(at) for part, at in state["read_upto"].items()},
                None if state["whole_at"] is None else int(state["whole_at"]),
                None if walk is None else Walk(**walk),
            )

    def state(self) -> dict[str, Any]:
        return {
            "version": VERSION,
            "read_upto": dict(self.read_upto),
            "whole_at": self.whole_at,
            "walk": None if self.walk is None else asdict(self.walk),
        }

    def on(self, walk: Walk) -> "Progress":
        return replace(self, walk=walk)

    def through(self, part: str, upto: int) -> "Progress":
        return replace(self, read_upto={**self.read_upto, part: upto}, walk=None)
