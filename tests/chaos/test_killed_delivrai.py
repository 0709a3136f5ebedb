"""Syncs of Delivr.ai are killed like the others'. What was paid for by then is landed, or read again."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest

from sandbox import delivrai
from sandbox.delivrai import Index
from tests.chaos.conftest import KILLS, SEED
from tests.chaos.test_killed_syncs import killed_and_resumed
from tests.connectors.contract_suite.delivrai import keys

TOPICS = ["automation", "compliance"]


@dataclass(frozen=True)
class BusyIndex:
    """A Delivr.ai in which things happen. Nothing kills this process, so it may stand in it."""

    served: delivrai.Served
    connector = "delivrai"
    domains = ()

    @property
    def config(self) -> dict[str, Any]:
        quick = {"backoff_seconds": 0.01, "intent_every_hours": 0, "page_size": 5}
        return {**keys(self.served), **quick, "topics": TOPICS, "min_score": "medium"}

    def calls(self, after: int = 0) -> int:
        return len(self.served.log.calls) - after

    def live(self, dice: random.Random) -> None:
        """A day goes by: others research, and somebody more than before."""
        index = self.served.index
        index.advance(days=1)
        for topic in TOPICS:
            known = index.research(topic, *(f"ada{dice.randrange(10**6)}@customer.example" for _ in range(12)))
            index.edit(topic, known[0], score=dice.choice(["high", "higher"]))


@pytest.fixture(scope="module")
def index() -> Iterator[BusyIndex]:
    # the vendor's second has 25 calls: as many as make a sync long enough to be killed in
    with delivrai.serve(Index(SEED, accounts=4, activities_per_year=2_000)) as served:
        busy = BusyIndex(served)
        busy.live(random.Random(SEED))
        yield busy


@pytest.mark.timeout(900 + 60 * KILLS)
def test_syncs_of_delivrai_that_were_killed_and_resumed_end_with_what_one_undisturbed_ends_with(
    platform: Path, index: BusyIndex
) -> None:
    # every other vendor's kills are as many by far, and it is the same core that is killed
    killed_and_resumed(cast(Any, index), max(1, KILLS // 3))
