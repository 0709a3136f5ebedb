"""The index on a port of this machine."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from sandbox.delivrai.app import LISTS, create_app
from sandbox.delivrai.index import Index
from sandbox.salesforce.faults import Faults
from sandbox.salesforce.log import Log
from sandbox.serving import at_a_port


@dataclass(frozen=True, slots=True)
class Served:
    url: str
    index: Index
    faults: Faults
    log: Log


@contextmanager
def serve(index: Index | None = None, faults: Faults | None = None, *, port: int = 0) -> Iterator[Served]:
    """Delivr.ai's API behind a real server at 127.0.0.1, until the block is left."""
    index, faults, log = index or Index(), faults or Faults(), Log()
    faults.lists, faults.spares = LISTS, "/_sandbox"
    with at_a_port(create_app(index, faults, log), "delivrai", port=port) as url:
        yield Served(url, index, faults, log)
