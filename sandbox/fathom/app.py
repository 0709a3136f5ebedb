"""The doors of Fathom's external API, as an ASGI app: pages of ten, no list of changes, no word about errors."""

from base64 import b64decode, b64encode
from collections.abc import Callable
from typing import Any

import orjson
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sandbox.fathom.studio import Row, Studio
from sandbox.salesforce.answers import call_of
from sandbox.salesforce.faults import Faults
from sandbox.salesforce.log import Log
from sandbox.salesforce.wire import Answer, Wire

LISTS = ("items",)
PER_PAGE = 10
RESET = (b"ratelimit-reset", b"0")


class Refusal(Exception):
    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status, self.message = status, message


def create_app(studio: Studio, faults: Faults | None = None, log: Log | None = None) -> Starlette:
    """An app that answers for these recordings, which may be changed meanwhile; their lock is kept."""
    doors = _Doors(studio)

    async def unknown(_request: Request, error: Exception) -> Response:
        return _answer({"message": "not found"}, error.status_code if isinstance(error, HTTPException) else 404)

    app = Starlette(exception_handlers={HTTPException: unknown}, routes=doors.routes())
    app.add_middleware(_FathomWire, place=studio, faults=faults or Faults(lists=LISTS), log=log or Log())
    return app


class _FathomWire(Wire):
    def refusal(self, kind: str) -> Answer | None:
        match kind:
            case "429":
                return Answer(429, [(b"ratelimit-limit", b"60"), (b"ratelimit-remaining", b"0"), RESET], b"")
            case "500" | "503":
                return Answer(int(kind), [(b"content-type", b"text/plain")], b"").with_body(b"internal error")
        return None


class _Doors:
    def __init__(self, studio: Studio) -> None:
        self.studio = studio

    def routes(self) -> list[Route]:
        base = "/external/v1"
        return [
            self._open(f"{base}/meetings", self.meetings),
            self._open(f"{base}/recordings/{{id:int}}/transcript", self.transcript),
            self._open(f"{base}/recordings/{{id:int}}/summary", self.summary),
            self._open(f"{base}/team_members", self.team_members),
        ]

    def meetings(self, request: Request) -> Row:
        asked = request.query_params
        words = {name: asked.get(f"include_{name}") == "true" for name in ("transcript", "summary")}
        if any(words.values()) and not request.headers.get("x-api-key"):
            raise Refusal(400, "include_transcript and include_summary are unavailable for OAuth connected apps")
        since, until = asked.get("created_after", ""), asked.get("created_before", "9")
        found = [self.studio.meeting(one.id) for one in self.studio.shown()]
        found = [meeting for meeting in found if since <= meeting["created_at"] < until]
        number = _number_in(asked.get("cursor"))
        page = found[(number - 1) * PER_PAGE : number * PER_PAGE]
        for meeting in page:
            if words["transcript"]:
                meeting["transcript"] = self.studio.transcript(meeting["recording_id"])
            if words["summary"]:
                meeting["default_summary"] = self.studio.summary(meeting["recording_id"])
        following = _cursor(number + 1) if len(found) > number * PER_PAGE else None
        return {"limit": PER_PAGE, "next_cursor": following, "items": page}

    def transcript(self, request: Request) -> Row:
        return {"transcript": self._words(request, self.studio.transcript)}

    def summary(self, request: Request) -> Row:
        return {"summary": self._words(request, self.studio.summary)}

    def _words(self, request: Request, words: Callable[[int], Any]) -> Any:
        recording = int(request.path_params["id"])
        if recording not in {one.id for one in self.studio.shown()}:
            raise Refusal(404, "no such recording")
        return words(recording)

    def team_members(self, _request: Request) -> Row:
        seller = {"name": "Aisha Rahman", "email": "rep0@seller.example", "created_at": "2024-06-01T08:30:00Z"}
        return {"limit": PER_PAGE, "next_cursor": None, "items": [seller]}

    def _open(self, path: str, handler: Callable[[Request], Row]) -> Route:
        async def answered(request: Request) -> Response:
            with self.studio.lock:
                try:
                    key, bearer = request.headers.get("x-api-key"), request.headers.get("authorization")
                    if key != self.studio.api_key and bearer != f"Bearer {self.studio.access_token}":
                        raise Refusal(401, "missing or invalid credentials")
                    if self.studio.is_closed:
                        raise Refusal(404, "not found")
                    told = handler(request)
                except Refusal as refusal:
                    call_of(request).error = refusal.message
                    return _answer({"message": refusal.message}, refusal.status)
            call_of(request).rows_given = len(told.get("items", ()))
            return _answer(told, 200)

        return Route(path, answered, methods=["GET"])


def _cursor(number: int) -> str:
    return b64encode(orjson.dumps({"page_num": number})).decode()


def _number_in(cursor: str | None) -> int:
    """Pages are numbered, so what is new moves them."""
    if cursor is None:
        return 1
    try:
        return int(orjson.loads(b64decode(cursor, validate=True))["page_num"])
    except (ValueError, KeyError, TypeError):
        raise Refusal(400, "invalid cursor") from None


def _answer(content: Row, status: int) -> Response:
    return Response(orjson.dumps(content), status, media_type="application/json")
