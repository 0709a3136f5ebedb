"""The doors of Customer.io's App API, as an ASGI app. What they refuse, they refuse in the vendor's three ways."""

from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import orjson
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sandbox.customerio import control
from sandbox.customerio.workspace import Row, Workspace
from sandbox.salesforce.answers import call_of
from sandbox.salesforce.faults import Faults
from sandbox.salesforce.log import Log
from sandbox.salesforce.wire import Answer, Wire

# under which names the records of an answer stand
LISTS = ("messages", "activities", "identifiers", "customers", "campaigns", "newsletters", "segments")
SIX_MONTHS = 182 * 86_400
MOST = {"messages": 1_000, "activities": 100, "customers": 1_000}
MOST_ATTRIBUTES = 100

Key = tuple[int, str]


class Refusal(Exception):
    """`pointer` makes it the refusal of one value, `meta` one of what the workspace may not do at all."""

    def __init__(self, status: int, detail: str, *, pointer: str = "", meta: bool = False) -> None:
        super().__init__(detail)
        self.status, self.detail, self.pointer, self.meta = status, detail, pointer, meta

    def as_json(self) -> Row:
        if self.meta:
            return {"meta": {"error": self.detail}}
        error: Row = {"detail": self.detail, "status": str(self.status)}
        return {"errors": [error | {"source": {"pointer": self.pointer}} if self.pointer else error]}


def create_app(workspace: Workspace, faults: Faults | None = None, log: Log | None = None) -> Starlette:
    """An app that answers for this workspace, which may be changed meanwhile; its lock is kept."""
    doors, log = _Doors(workspace), log or Log()

    async def unknown(_request: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else 404
        return _answer(Refusal(status, "not found").as_json(), status)

    app = Starlette(
        exception_handlers={HTTPException: unknown}, routes=[*doors.routes(), *control.routes(workspace, log)]
    )
    app.add_middleware(_CustomerioWire, place=workspace, faults=faults or Faults(lists=LISTS), log=log)
    return app


class _CustomerioWire(Wire):
    def refusal(self, kind: str) -> Answer | None:
        match kind:
            case "429":
                # no word about when to come again
                return Answer(429, [], b"")
            case "500" | "503":
                body = orjson.dumps(Refusal(int(kind), "internal error").as_json())
                return Answer(int(kind), [(b"content-type", b"application/json")], b"").with_body(body)
        return None


class _Doors:
    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace

    def routes(self) -> list[Route]:
        return [
            self._open("/v1/messages", self.messages, "GET"),
            self._open("/v1/activities", self.activities, "GET"),
            self._open("/v1/customers", self.with_address, "GET"),
            self._open("/v1/customers", self.people, "POST"),
            self._open("/v1/customers/attributes", self.attributes, "POST"),
            *(self._open(f"/v1/{kind}", partial(self.things, kind), "GET") for kind in LISTS[-3:]),
        ]

    def messages(self, request: Request, _body: bytes) -> Row:
        """By when they were made. Of a window of more than six months the beginning is left out without a word."""
        asked = request.query_params
        until = _number(asked.get("end_ts")) or self.workspace.seconds
        since = max(_number(asked.get("start_ts")) or 0, until - SIX_MONTHS)
        found = [key for key in self.workspace.messages() if since <= key[0] <= until]
        page, after = _page(found, request, "messages")
        return {"messages": [self.workspace.message(id) for _, id in page], "next": after}

    def activities(self, request: Request, _body: bytes) -> Row:
        of_deleted = request.query_params.get("deleted") == "true"
        found = list(self.workspace.entries(request.query_params.get("type", ""), of_deleted=of_deleted))
        page, after = _page(found, request, "activities")
        return {"activities": [self.workspace.entry(id) for _, id in page], "next": after}

    def with_address(self, request: Request, _body: bytes) -> Row:
        """A + that is not encoded is a blank, and nobody has an address with one."""
        wanted = request.query_params.get("email")
        if not wanted:
            raise Refusal(400, "email is required")
        here = map(self.workspace.identifiers, self.workspace.people())
        return {"results": [who for who in here if who["email"] == wanted]}

    def people(self, request: Request, body: bytes) -> Row:
        who = _json(body).get("filter")
        if not isinstance(who, dict) or len(who) != 1:
            raise Refusal(422, "needs one condition", pointer="/filter")
        found = [(0, cio_id) for cio_id in self.workspace.people() if self._meets(cio_id, who)]
        page, after = _page(found, request, "customers")
        known = [self.workspace.identifiers(cio_id) for _, cio_id in page]
        return {"identifiers": known, "ids": [one["id"] for one in known if one["id"]], "next": after}

    def attributes(self, request: Request, body: bytes) -> Row:
        if request.query_params.get("id_type") != "cio_id":
            raise Refusal(400, "the sandbox knows people by cio_id")
        ids = _json(body).get("ids")
        if not isinstance(ids, list) or not 1 <= len(ids) <= MOST_ATTRIBUTES:
            raise Refusal(422, f"takes 1 to {MOST_ATTRIBUTES} ids", pointer="/ids")
        here = set(self.workspace.people())
        return {"customers": [{"customer": self.workspace.person(id)} for id in ids if id in here]}

    def things(self, kind: str, _request: Request, _body: bytes) -> Row:
        return {kind: self.workspace.things(kind)}

    def _meets(self, cio_id: str, condition: Row) -> bool:
        ((kind, about),) = condition.items()
        profile = self.workspace.profiles[cio_id]
        if kind == "segment" and about["id"] not in self.workspace.segments:
            raise Refusal(400, f"no segment {about['id']}")
        match kind:
            case "segment":
                return about["id"] in profile.segments
            case "attribute":
                value = {"email": profile.email, **profile.attributes}.get(about["field"])
                return value is not None if about["operator"] == "exists" else str(value) == about["value"]
        raise Refusal(422, f"the sandbox knows no condition {kind}", pointer="/filter")

    def _open(self, path: str, handler: Callable[[Request, bytes], Row], method: str) -> Route:
        async def answered(request: Request) -> Response:
            body = await request.body()
            with self.workspace.lock:
                try:
                    if request.headers.get("authorization") != f"Bearer {self.workspace.api_key}":
                        raise Refusal(401, "unauthorized")
                    if self.workspace.is_forbidden:
                        raise Refusal(403, "Account is not authorized for this.", meta=True)
                    told = handler(request, body)
                except Refusal as refusal:
                    call_of(request).error = refusal.detail
                    return _answer(refusal.as_json(), refusal.status)
            call_of(request).rows_given = sum(len(told.get(name, ())) for name in LISTS)
            return _answer(told, 200)

        return Route(path, answered, methods=[method])


def _page(found: Iterable[Key], request: Request, kind: str) -> tuple[Sequence[Key], str]:
    """Newest first from behind the place that `start` names. The last page says "" for the next."""
    limit = _number(request.query_params.get("limit")) or (10 if kind == "activities" else 50)
    if not 1 <= limit <= MOST[kind]:
        raise Refusal(422, f"limit is at most {MOST[kind]}", pointer="/limit")
    keys = sorted(found, reverse=True)
    if start := request.query_params.get("start"):
        place = _place(start)
        keys = [key for key in keys if key < place]
    page = keys[:limit]
    return page, _start(page[-1]) if len(keys) > limit else ""


def _start(key: Key) -> str:
    return "+" + b64encode(orjson.dumps(key)).decode()


def _place(start: str) -> Key:
    """A place whose + came as a blank is none."""
    try:
        at, id = orjson.loads(b64decode(start.removeprefix("+"), validate=True))
    except ValueError:
        raise Refusal(400, "start is not a place in this list") from None
    if not start.startswith("+"):
        raise Refusal(400, "start is not a place in this list")
    return int(at), str(id)


def _number(text: str | None) -> int | None:
    if not text:
        return None
    if not text.isdigit():
        raise Refusal(422, "must be a whole number")
    return int(text)


def _json(body: bytes) -> Row:
    try:
        content: Any = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise Refusal(400, "the body is no JSON") from None
    if not isinstance(content, dict):
        raise Refusal(400, "the body is no JSON object")
    return content


def _answer(content: Row, status: int) -> Response:
    return Response(orjson.dumps(content), status, media_type="application/json")
