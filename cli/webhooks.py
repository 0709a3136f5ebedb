"""`clarity webhooks`: the door at which vendors tell what happens."""

import asyncio
import socket
import sys
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from typing import TYPE_CHECKING, Annotated

import psycopg
import typer

from cli.context import Context
from control import access
from warehouse.errors import ClarityError

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

# An answer waits for one write to the disk; more hands than this would only wait for each other.
HANDS = 4
# how many vendors may stand at the door while those before them are answered
WAITING = 1024
SECONDS_TO_COME_BACK = "30"


def register(app: typer.Typer) -> None:
    app.command()(webhooks)


def webhooks(
    context: typer.Context,
    host: Annotated[str, typer.Option(help="The address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="The port to listen at; 0 for any free one.")] = 8065,
) -> None:
    """Receive what vendors send, until it is stopped. In front of it belongs what speaks TLS to the world.

    Each connector that can be told has an address of its own: clarity connector webhook TENANT TYPE. What is accepted
    is on the disk before the vendor is answered, and the connector's next extract lands it.
    """
    import uvicorn

    here = Context.current(context)
    access.require_system(here.actor, "webhooks")
    receiver = Receiver()
    server = uvicorn.Server(
        uvicorn.Config(
            receiver.app(),
            access_log=False,
            log_level="warning",
            lifespan="off",
            server_header=False,
            timeout_keep_alive=75,
            timeout_graceful_shutdown=10,
        )
    )
    # whoever is told the address finds it open
    with _listening(host, port) as listening:
        address = f"http://{host}:{listening.getsockname()[1]}"
        here.say(f"Webhooks are received at {address}", address=address)
        sys.stdout.flush()
        try:
            asyncio.run(server.serve(sockets=[listening]))
        finally:
            receiver.close()


def _listening(host: str, port: int) -> socket.socket:
    try:
        listening = socket.create_server((host, port), backlog=WAITING)
    except OSError as error:
        raise ClarityError(f"{host}:{port} can't be listened at: {error.strerror}. Name another with --port") from None
    # whom it accepts inherits this: an answer in two pieces would wait 40 ms for the first to be acknowledged
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listening


class Receiver:
    """Some hands, each of which writes through a connection that is taken and given back."""

    def __init__(self) -> None:
        self._hands = ThreadPoolExecutor(HANDS, "webhooks")
        self._connections: SimpleQueue[psycopg.Connection] = SimpleQueue()

    def app(self) -> "Starlette":
        from starlette.applications import Starlette
        from starlette.routing import Route

        return Starlette(
            routes=[
                Route("/webhooks/{vendor}/{key}", self._receive, methods=["POST"]),
                Route("/health", self._health, methods=["GET"]),
            ]
        )

    def close(self) -> None:
        self._hands.shutdown()
        while not self._connections.empty():
            self._connections.get().close()

    async def _receive(self, request: "Request") -> "Response":
        from steps import webhooks as step

        body = bytearray()
        async for piece in request.stream():
            body += piece
            if len(body) > step.MOST_BYTES:
                return _say(413, f"an event has {step.MOST_BYTES >> 20} MiB at most")
        return await asyncio.get_running_loop().run_in_executor(
            self._hands,
            self._accept,
            request.path_params["vendor"],
            request.path_params["key"],
            # their names come in small letters
            dict(request.headers),
            bytes(body),
        )

    async def _health(self, _request: "Request") -> "Response":
        return await asyncio.get_running_loop().run_in_executor(self._hands, self._look)

    def _accept(self, vendor: str, key: str, headers: dict[str, str], body: bytes) -> "Response":
        from steps import webhooks as step

        try:
            connection = self._take()
            answer = step.accept(connection, vendor, key, headers, body)
        except (psycopg.Error, ClarityError) as error:
            return self._trouble(error)
        self._connections.put(connection)
        return _say(answer.status, answer.sentence)

    def _look(self) -> "Response":
        try:
            connection = self._take()
            connection.execute("select")
        except (psycopg.Error, ClarityError) as error:
            return self._trouble(error)
        self._connections.put(connection)
        return _say(200, "ready")

    def _take(self) -> psycopg.Connection:
        from steps import webhooks as step

        while not self._connections.empty():
            connection = self._connections.get()
            if not connection.closed:
                return connection
        return step.session()

    def _trouble(self, error: Exception) -> "Response":
        """The vendor keeps it and comes back. Connections may all have gone the same way: new ones are made."""
        print(f"clarity: a webhook could not be kept: {' '.join(str(error).split())}", file=sys.stderr, flush=True)
        while not self._connections.empty():
            self._connections.get().close()
        return _say(503, "not now, come back later", {"Retry-After": SECONDS_TO_COME_BACK})


def _say(status: int, sentence: str, headers: dict[str, str] | None = None) -> "Response":
    from starlette.responses import PlainTextResponse

    return PlainTextResponse(sentence + "\n", status, headers)
