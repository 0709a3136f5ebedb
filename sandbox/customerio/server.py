"""The workspace on a port of this machine."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from sandbox.customerio.app import LISTS, create_app
from sandbox.customerio.workspace import Workspace
from sandbox.salesforce.faults import Faults
from sandbox.salesforce.log import Log
from sandbox.serving import at_a_port


@dataclass(frozen=True, slots=True)
class Served:
    url: str
    workspace: Workspace
    faults: Faults
    log: Log


@contextmanager
def serve(workspace: Workspace | None = None, faults: Faults | None = None, *, port: int = 0) -> Iterator[Served]:
    """The workspace behind a real server at 127.0.0.1, until the block is left."""
    workspace, log = workspace or Workspace(), Log()
    faults = faults or Faults()
    faults.lists, faults.spares = LISTS, "/_sandbox"
    with at_a_port(create_app(workspace, faults, log), "customerio", port=port) as url:
        yield Served(url, workspace, faults, log)
