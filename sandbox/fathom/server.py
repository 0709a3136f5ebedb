"""The recordings on a port of this machine."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from sandbox.fathom.app import LISTS, create_app
from sandbox.fathom.studio import Studio
from sandbox.salesforce.faults import Faults
from sandbox.salesforce.log import Log
from sandbox.serving import at_a_port


@dataclass(frozen=True, slots=True)
class Served:
    url: str
    studio: Studio
    faults: Faults
    log: Log


@contextmanager
def serve(studio: Studio | None = None, faults: Faults | None = None, *, port: int = 0) -> Iterator[Served]:
    """Fathom's API behind a real server, until the block is left. `url` is what a connector takes for base_url."""
    studio, faults, log = studio or Studio(), faults or Faults(), Log()
    faults.lists, faults.spares = LISTS, "/_sandbox"
    with at_a_port(create_app(studio, faults, log), "fathom", port=port) as url:
        yield Served(f"{url}/external/v1", studio, faults, log)
