"""The directory on a port of this machine, in a thread of this process or for a person at a terminal."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from sandbox.graph.app import create_app
from sandbox.graph.directory import Directory
from sandbox.graph.faults import Faults
from sandbox.salesforce.log import Log
from sandbox.serving import at_a_port


@dataclass(frozen=True, slots=True)
class Served:
    url: str
    directory: Directory
    faults: Faults
    log: Log


@contextmanager
def serve(directory: Directory | None = None, faults: Faults | None = None, *, port: int = 0) -> Iterator[Served]:
    """The directory behind a real server at 127.0.0.1, until the block is left."""
    directory, faults, log = directory or Directory(), faults or Faults(), Log()
    with at_a_port(create_app(directory, faults, log), "graph", port=port) as url:
        yield Served(url, directory, faults, log)
