"""The org on a port of this machine, in a thread of this process or for a person at a terminal."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from time import monotonic, sleep

import uvicorn

from sandbox.salesforce.app import create_app
from sandbox.salesforce.faults import Faults
from sandbox.salesforce.log import Log
from sandbox.salesforce.org import Org


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
    listening = socket.create_server(("127.0.0.1", port))
    server = uvicorn.Server(
        uvicorn.Config(
            create_app(org, faults, log),
            log_level="critical",  # a connection that is cut on purpose is no error worth a line
            lifespan="off",
            date_header=False,  # the org has a clock of its own
            server_header=False,
            ssl_certfile=certificate,
            ssl_keyfile=key,
            timeout_graceful_shutdown=1,
        )
    )
    thread = Thread(target=server.run, kwargs={"sockets": [listening]}, name="salesforce sandbox", daemon=True)
    thread.start()
    deadline = monotonic() + 30
    while not server.started:
        if not thread.is_alive() or monotonic() > deadline:
            raise RuntimeError("the sandbox did not start")
        sleep(0.005)
    scheme = "https" if certificate else "http"
    try:
        yield Served(f"{scheme}://127.0.0.1:{listening.getsockname()[1]}", org, faults, log)
    finally:
        server.should_exit = server.force_exit = True
        thread.join()
        listening.close()
