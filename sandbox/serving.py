"""A vendor behind a real server on a port of this machine, in a thread of this process."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from time import monotonic, sleep

import uvicorn
from starlette.types import ASGIApp


@contextmanager
def at_a_port(
    app: ASGIApp, name: str, *, port: int = 0, certificate: Path | None = None, key: Path | None = None
) -> Iterator[str]:
    """The address at 127.0.0.1 where the app answers until the block is left. With a certificate it speaks TLS."""
    listening = socket.create_server(("127.0.0.1", port))
    # whom it accepts inherits this: an answer in two pieces would wait 40 ms for the first to be acknowledged
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            log_level="critical",  # a connection that is cut on purpose is no error worth a line
            lifespan="off",
            date_header=False,  # the vendors have clocks of their own
            server_header=False,
            ssl_certfile=certificate,
            ssl_keyfile=key,
            timeout_graceful_shutdown=1,
        )
    )
    thread = Thread(target=server.run, kwargs={"sockets": [listening]}, name=f"{name} sandbox", daemon=True)
    thread.start()
    deadline = monotonic() + 30
    while not server.started:
        if not thread.is_alive() or monotonic() > deadline:
            raise RuntimeError("the sandbox did not start")
        sleep(0.005)
    scheme = "https" if certificate else "http"
    try:
        yield f"{scheme}://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = server.force_exit = True
        thread.join()
        listening.close()
