"""The org on a port of this machine, in a thread of this process or for a person at a terminal."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sandbox.salesforce.app import create_app
from sandbox.salesforce.faults import Faults
from sandbox.salesforce.log import Log
from sandbox.salesforce.org import Org
from sandbox.serving import at_a_port


@dataclass(frozen=True, slots=True)
class Served:
    url: str
    org: Org
    faults: Faults
    log: Log


@contextmanager
def serve(
    org: Org | None = None,
    faults: Faults | None = None,
    *,
    port: int = 0,
    certificate: Path | None = None,
    key: Path | None = None,
) -> Iterator[Served]:
    """The org behind a real server at 127.0.0.1, until the block is left. With a certificate it speaks TLS."""
    org, faults, log = org or Org(), faults or Faults(), Log()
    app = create_app(org, faults, log)
    with at_a_port(app, "salesforce", port=port, certificate=certificate, key=key) as url:
        yield Served(url, org, faults, log)
