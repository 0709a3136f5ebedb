"""What goes wrong on the way: by rate and by order, each kind as it looks on the wire.

Whether a request fails depends on the seed, on the request and on how often it was made, and on nothing else: clients
that ask in another order, or in parallel, meet the same faults.
"""

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from hashlib import blake2b
from random import Random
from typing import Any

import orjson

# answered instead of the request being done
REFUSALS = ("429", "500", "503", "quota", "expired")
# done, and then the answer is lost or spoiled
LOSSES = ("timeout", "cut", "truncated", "slow")
# done, and the records come otherwise than they should
DISORDERS = ("duplicate", "shuffled")
KINDS = (*REFUSALS, *LOSSES, *DISORDERS)


@dataclass(slots=True)
class Order:
    """A fault for the next requests whose method, path or query hold a text."""

    kind: str
    containing: str
    times: int


@dataclass(slots=True)
class Faults:
    """`rates` are shares of all requests by kind. A time-out is silence for `hang_seconds`, then a gateway's 504."""

    seed: int = 1
    rates: dict[str, float] = field(default_factory=dict)
    hang_seconds: float = 30.0
    slow_seconds: float = 0.2
    retry_after: int | None = None
    spares: str = "/services/oauth2"
    lists: tuple[str, ...] = ("records",)  # under which of an answer's names the records stand
    orders: list[Order] = field(default_factory=list)
    done: Counter[str] = field(default_factory=Counter)
    _asked: Counter[str] = field(default_factory=Counter)

    def everything(self, share: float, *, without: Collection[str] = ()) -> None:
        """This share of all requests fails, each kind as often as the others."""
        kinds = [kind for kind in KINDS if kind not in without]
        self.rates = dict.fromkeys(kinds, share / len(kinds))

    def next(self, kind: str, *, containing: str = "", times: int = 1) -> None:
        """The next request that holds this text, or the next few, meet this fault for certain."""
        if kind not in KINDS:
            raise ValueError(f"there is no fault {kind!r}; there are {', '.join(KINDS)}")
        self.orders.append(Order(kind, containing, times))

    def clear(self) -> None:
        self.rates, self.orders = {}, []

    def draw(self, method: str, path: str, query: str) -> str:
        """The fault of this request, or nothing."""
        request = f"{method} {path}?{query}"
        for order in self.orders:
            if order.containing in request:
                order.times -= 1
                self.orders = [order for order in self.orders if order.times > 0]
                return order.kind
        if not self.rates or path.startswith(self.spares):
            return ""
        self._asked[request] += 1
        chance = Random(f"{self.seed}/{request}/{self._asked[request]}").random()
        for kind, rate in self.rates.items():
            chance -= rate
            if chance < 0:
                return kind
        return ""

    def shaken(self, kind: str, body: bytes, content_type: str) -> bytes | None:
        """The page with its records twice or in disorder; None if it holds no records."""
        rng = Random(blake2b(body, digest_size=8).digest())
        if content_type.startswith("text/csv"):
            head, *rows = _csv_lines(body)
            return b"".join([head, *_disordered(kind, rows, rng)]) if rows else None
        if not content_type.startswith("application/json"):
            return None
        page = orjson.loads(body)
        name = next((name for name in self.lists if isinstance(page, dict) and page.get(name)), None)
        return orjson.dumps(page | {name: _disordered(kind, page[name], rng)}) if name else None


def _disordered(kind: str, rows: list[Any], rng: Random) -> list[Any]:
    if kind == "duplicate":
        return rows + rows
    return rng.sample(rows, len(rows))


def _csv_lines(body: bytes) -> list[bytes]:
    """Whole records: a line break inside quotes ends none."""
    lines: list[bytes] = []
    open_quote = False
    for line in body.splitlines(keepends=True):
        if open_quote:
            lines[-1] += line
        else:
            lines.append(line)
        open_quote ^= line.count(b'"') % 2 == 1
    return lines
