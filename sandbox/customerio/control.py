"""Doors for the tests alone, under /_sandbox/: another process moves the clock, changes people and reads the log."""

from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sandbox.customerio.workspace import Workspace
from sandbox.salesforce.log import Log

MUTATIONS = ("add_person", "set_attribute", "delete_person", "send", "happen", "act")


def routes(workspace: Workspace, log: Log) -> list[Route]:
    async def advance(request: Request) -> Response:
        workspace.advance(**orjson.loads(await request.body()))
        return _answer({"now": workspace.now.isoformat()})

    async def mutate(request: Request) -> Response:
        """{"do": "set_attribute", "with": ["a3000001", "title", "CEO"], "values": {}}"""
        order = orjson.loads(await request.body())
        if order.get("do") not in MUTATIONS:
            return _answer({"error": f"there are {', '.join(MUTATIONS)}"}, 400)
        done: Any = getattr(workspace, order["do"])(*order.get("with", []), **order.get("values", {}))
        return _answer({"done": done})

    async def see_calls(request: Request) -> Response:
        after = int(request.query_params.get("after", "0"))
        return _answer([{"method": call.method, "path": call.path} for call in log.calls[after:]])

    async def see_people(_request: Request) -> Response:
        with workspace.lock:
            return _answer(workspace.people())

    async def see_messages(_request: Request) -> Response:
        with workspace.lock:
            return _answer([message for _, message in sorted(workspace.messages())])

    return [
        Route("/_sandbox/advance", advance, methods=["POST"]),
        Route("/_sandbox/mutate", mutate, methods=["POST"]),
        Route("/_sandbox/calls", see_calls, methods=["GET"]),
        Route("/_sandbox/people", see_people, methods=["GET"]),
        Route("/_sandbox/messages", see_messages, methods=["GET"]),
    ]


def _answer(content: Any, status: int = 200) -> Response:
    return Response(orjson.dumps(content), status, media_type="application/json")
