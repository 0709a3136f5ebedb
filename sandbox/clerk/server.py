"""Clerk's doors on a port of this machine, in a thread of this process or for a person at a terminal."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Thread
from time import monotonic, sleep
from typing import Any

import orjson
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sandbox.clerk.world import World

MOST_PER_PAGE = 500


@dataclass(frozen=True, slots=True)
class Served:
    url: str
    world: World


class Doors:
    def __init__(self, world: World) -> None:
        self.world = world

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/v1/organizations", self.organisations),
                Route("/v1/organizations/{id}", self.organisation),
                Route("/v1/organizations/{id}/memberships", self.memberships),
                # for another process: what people do, and what was asked
                Route("/_sandbox/do", self.do, methods=["POST"]),
                Route("/_sandbox/calls", self.calls),
                Route("/_sandbox/events", self.events),
            ]
        )

    async def organisations(self, request: Request) -> Response:
        shown = [self.world.shown(one) for one in self.world.organisations.values()]
        # the newest first, unless it is asked for otherwise
        return self._page(request, shown if request.query_params.get("order_by") == "+created_at" else shown[::-1])

    async def organisation(self, request: Request) -> Response:
        found = self.world.organisations.get(request.path_params["id"])
        if found is None:
            return self._answer(request, _errors("resource_not_found", "not found"), 404)
        return self._answer(request, self.world.shown(found))

    async def memberships(self, request: Request) -> Response:
        if request.path_params["id"] not in self.world.organisations:
            return self._answer(request, _errors("resource_not_found", "not found"), 404)
        return self._page(request, list(self.world.memberships(request.path_params["id"])))

    async def do(self, request: Request) -> Response:
        """{"do": "found", "with": ["Acme"], "values": {"slug": "acme"}}"""
        order = orjson.loads(await request.body())
        if order["do"] not in ("found", "rename", "describe", "dissolve", "join", "leave", "refuse"):
            return _json(_errors("unknown", order["do"]), 400)
        return _json({"done": getattr(self.world, order["do"])(*order.get("with", []), **order.get("values", {}))})

    async def calls(self, _request: Request) -> Response:
        return _json(self.world.calls)

    async def events(self, _request: Request) -> Response:
        return _json([{"id": event.id, "type": event.kind, "data": event.data} for event in self.world.events])

    def _page(self, request: Request, everything: list[dict[str, Any]]) -> Response:
        try:
            limit, offset = (int(request.query_params.get(name, default)) for name, default in DEFAULTS.items())
        except ValueError:
            limit = 0
        if not 0 < limit <= MOST_PER_PAGE:
            return self._answer(request, _errors("form_param_format_invalid", "limit must be 1 to 500"), 422)
        page = {"data": everything[offset : offset + limit], "total_count": len(everything)}
        return self._answer(request, page)

    def _answer(self, request: Request, content: Any, status: int = 200) -> Response:
        """The answer, unless this call is to be refused."""
        headers = {}
        if request.headers.get("authorization") != f"Bearer {self.world.secret_key}":
            content, status = _errors("clerk_key_invalid", "The provided Clerk Secret Key is invalid."), 401
        elif refusal := self.world.refusal():
            content, status = _errors("too_many_requests", "Too many requests, retry later"), refusal.status
            headers = {} if refusal.retry_after is None else {"Retry-After": str(refusal.retry_after)}
        self.world.calls.append((request.method, f"{request.url.path}?{request.url.query}", status))
        return _json(content, status, headers)


DEFAULTS = {"limit": "10", "offset": "0"}


def _errors(code: str, message: str) -> dict[str, Any]:
    return {"errors": [{"message": message, "long_message": message, "code": code}], "clerk_trace_id": "0" * 32}


def _json(content: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(orjson.dumps(content), status, headers, media_type="application/json")


@contextmanager
def serve(world: World | None = None, *, port: int = 0) -> Iterator[Served]:
    """Clerk behind a real server at 127.0.0.1, until the block is left."""
    world = world or World()
    listening = socket.create_server(("127.0.0.1", port))
    server = uvicorn.Server(
        uvicorn.Config(Doors(world).app(), log_level="critical", lifespan="off", timeout_graceful_shutdown=1)
    )
    thread = Thread(target=server.run, kwargs={"sockets": [listening]}, name="clerk sandbox", daemon=True)
    thread.start()
    deadline = monotonic() + 30
    while not server.started:
        if not thread.is_alive() or monotonic() > deadline:
            raise RuntimeError("the sandbox did not start")
        sleep(0.005)
    try:
        yield Served(f"http://127.0.0.1:{listening.getsockname()[1]}", world)
    finally:
        server.should_exit = server.force_exit = True
        thread.join()
        listening.close()
