"""What can go wrong at Graph: all that can at the other vendors, but for their quota, and that it loses its place."""

from collections.abc import Collection
from dataclasses import dataclass

from sandbox.salesforce import faults
from sandbox.salesforce.faults import Order

LOST = "lost"
KINDS = (*(kind for kind in faults.KINDS if kind != "quota"), LOST)


@dataclass(slots=True)
class Faults(faults.Faults):
    spares: str = "/sandbox-directory/oauth2"
    lists: tuple[str, ...] = ("value",)

    def everything(self, share: float, *, without: Collection[str] = ()) -> None:
        kinds = [kind for kind in KINDS if kind not in without]
        self.rates = dict.fromkeys(kinds, share / len(kinds))

    def next(self, kind: str, *, containing: str = "", times: int = 1) -> None:
        if kind not in KINDS:
            raise ValueError(f"there is no fault {kind!r}; there are {', '.join(KINDS)}")
        self.orders.append(Order(kind, containing, times))

    def draw(self, method: str, path: str, query: str) -> str:
        """There is no place to be lost but in changes."""
        kind = faults.Faults.draw(self, method, path, query)
        return "" if kind == LOST and "/delta" not in path else kind
