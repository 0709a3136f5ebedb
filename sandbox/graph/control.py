"""Doors for the tests alone, under /_sandbox/: another process moves the clock, changes things and reads the log."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sandbox.graph.directory import Directory
from sandbox.graph.faults import Faults
from sandbox.graph.world import Party
from sandbox.salesforce.log import Log

MUTATIONS = ("receive", "send", "meet", "move", "delete_message", "delete_event", "edit_event", "lose_places")


def routes(directory: Directory, faults: Faults, log: Log) -> list[Route]:
    async def advance(request: Request) -> Response:
        directory.advance(**orjson.loads(await request.body()))
        return _answer({"now": directory.now.isoformat()})

    async def mutate(request: Request) -> Response:
        """{"do": "receive", "with": [{"name": "Ada", "address": "ada@acme.example"}], "values": {"to": 1}}"""
        order = orjson.loads(await request.body())
        if order.get("do") not in MUTATIONS:
            return _answer({"error": f"there are {', '.join(MUTATIONS)}"}, 400)
        try:
            values = {name: _read(value) for name, value in order.get("values", {}).items()}
            done: Any = getattr(directory, order["do"])(*map(_read, order.get("with", [])), **values)
        except (TypeError, ValueError, KeyError, StopIteration) as error:
            return _answer({"error": f"{type(error).__name__}: {error}"}, 400)
        return _answer({"done": done})

    async def set_faults(request: Request) -> Response:
        order = orjson.loads(await request.body())
        with directory.lock:
            if "next" in order:
                faults.next(order.pop("next"), containing=order.pop("containing", ""), times=order.pop("times", 1))
            for name in ("rates", "seed", "hang_seconds", "slow_seconds", "retry_after"):
                if name in order:
                    setattr(faults, name, order[name])
        return _answer({"rates": faults.rates, "done": dict(faults.done)})

    async def see_log(request: Request) -> Response:
        after = int(request.query_params.get("after", "0"))
        return _answer(log.as_json()[after:])

    return [
        Route("/_sandbox/advance", advance, methods=["POST"]),
        Route("/_sandbox/mutate", mutate, methods=["POST"]),
        Route("/_sandbox/faults", set_faults, methods=["POST"]),
        Route("/_sandbox/log", see_log, methods=["GET"]),
    ]


def _read(value: Any) -> Any:
    """A party is an object with an address, several are a list; a moment is a text that begins with a day."""
    if isinstance(value, Mapping) and "address" in value:
        return Party(str(value.get("name", "")), str(value["address"]))
    if isinstance(value, list):
        return tuple(map(_read, value))
    if isinstance(value, str) and value[4:5] == value[7:8] == "-":
        return datetime.fromisoformat(value)
    return value


def _answer(content: Any, status: int = 200) -> Response:
    return Response(orjson.dumps(content), status, media_type="application/json")
