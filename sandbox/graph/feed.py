"""Things of one folder or calendar, and what has become of them since any moment."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class Feed:
    """Every change has a number. A place from which changes are asked holds only while the generation stays."""

    items: dict[str, dict[str, Any]] = field(default_factory=dict)
    changes: dict[str, int] = field(default_factory=dict)
    last: int = 0
    generation: int = 1

    def put(self, id: str, item: dict[str, Any]) -> None:
        self.items[id] = item
        self._note(id)

    def remove(self, id: str) -> None:
        del self.items[id]
        self._note(id)

    def between(self, after: int, upto: int) -> Iterator[tuple[int, str, dict[str, Any] | None]]:
        """Number, id and thing, None where it is gone, of what changed last between these two; in that order."""
        for id, number in sorted(self.changes.items(), key=lambda change: change[1]):
            if after < number <= upto:
                yield number, id, self.items.get(id)

    def _note(self, id: str) -> None:
        self.last += 1
        self.changes[id] = self.last
