"""Doors for the tests alone, under /_sandbox/: another process moves the clock, changes records and reads the log."""

from dataclasses import asdict
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sandbox.salesforce.answers import answer, json_object
from sandbox.salesforce.bulk import Bulk
from sandbox.salesforce.faults import Faults
from sandbox.salesforce.log import Log
from sandbox.salesforce.org import Org

MUTATIONS = (
    "create", "edit", "bulk_edit", "delete", "undelete", "purge", "merge", "convert_lead", "late_stamp", "fill",
    "hide_field", "show_field", "lock_field", "hide_object", "add_field", "remove_field",
    "expire_sessions", "refuse_row", "refuse_share", "spend",
)  # fmt: skip


def routes(org: Org, faults: Faults, log: Log, bulk: Bulk) -> list[Route]:
    async def advance(request: Request) -> Response:
        org.advance(**json_object(await request.body()))
        return answer({"now": org.now.isoformat()})

    async def mutate(request: Request) -> Response:
        """{"do": "edit", "with": ["Account", "001..."], "values": {"Name": "..."}}"""
        order = json_object(await request.body())
        if order.get("do") not in MUTATIONS:
            return answer({"error": f"there are {', '.join(MUTATIONS)}"}, 400)
        try:
            done: Any = getattr(org, order["do"])(*order.get("with", []), **order.get("values", {}))
        except (TypeError, ValueError, KeyError) as error:
            return answer({"error": f"{type(error).__name__}: {error}"}, 400)
        return answer({"done": done})

    async def set_faults(request: Request) -> Response:
        order = json_object(await request.body())
        with org.lock:
            if "next" in order:
                faults.next(order.pop("next"), containing=order.pop("containing", ""), times=order.pop("times", 1))
            for name in ("rates", "seed", "hang_seconds", "slow_seconds", "retry_after"):
                if name in order:
                    setattr(faults, name, order[name])
        return answer({"rates": faults.rates, "done": dict(faults.done)})

    async def see_faults(_request: Request) -> Response:
        return answer({"rates": faults.rates, "done": dict(faults.done), "waiting": [asdict(o) for o in faults.orders]})

    async def settings(request: Request) -> Response:
        """Budget, rotation, the public key of JWT logins, how long bulk jobs take: all that is not a record."""
        order = json_object(await request.body())
        with org.lock:
            for thing, names in (
                (org, ("budget", "used")),
                (org.identity, ("rotates", "public_key", "refresh_token", "client_secret")),
                (bulk, ("polls", "rows_per_page", "failures")),
            ):
                for name in names:
                    if name in order:
                        setattr(thing, name, order[name])
        return answer({"budget": org.budget, "used": org.used, "rotates": org.identity.rotates})

    async def see_log(request: Request) -> Response:
        after = int(request.query_params.get("after", "0"))
        return answer(log.as_json()[after:])

    async def see_calls(request: Request) -> Response:
        """The log without the writes, of which there may be very many."""
        after = int(request.query_params.get("after", "0"))
        return answer([{"method": call.method, "path": call.path, "status": call.status} for call in log.calls[after:]])

    async def truth(request: Request) -> Response:
        return answer(org.truth(request.path_params["entity"]))

    return [
        Route("/_sandbox/advance", advance, methods=["POST"]),
        Route("/_sandbox/mutate", mutate, methods=["POST"]),
        Route("/_sandbox/faults", set_faults, methods=["POST"]),
        Route("/_sandbox/faults", see_faults, methods=["GET"]),
        Route("/_sandbox/settings", settings, methods=["POST"]),
        Route("/_sandbox/log", see_log, methods=["GET"]),
        Route("/_sandbox/calls", see_calls, methods=["GET"]),
        Route("/_sandbox/truth/{entity}", truth, methods=["GET"]),
    ]
