"""The doors of Delivr.ai's API, as an ASGI app: everything has its price, and places in lists belong to a build."""

from base64 import b64decode, b64encode
from collections.abc import Callable
from functools import partial
from typing import Any

import orjson
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sandbox.delivrai.index import COMPANIES, PEOPLE, Index, Row, rank
from sandbox.delivrai.world import hem_of
from sandbox.salesforce.answers import call_of
from sandbox.salesforce.faults import DISORDERS, Faults
from sandbox.salesforce.log import Log
from sandbox.salesforce.wire import Answer, Wire

LISTS = ("results", "records", "rows")
CALLS_PER_SECOND = 25
CENTS = {"intent_people": 2, "intent_companies": 3, "resolution_full_profile": 5}
LONGEST_WINDOW = 25 * 3600 * 1000
MOST_ROWS, MOST_ADDRESSES = 500, 1_000

Handler = Callable[[Request, Row], Row]


class Refusal(Exception):
    def __init__(self, status: int, error: str, message: str = "", **headers: str) -> None:
        super().__init__(message or error)
        self.status, self.headers = status, headers
        self.content = {"error": error} | ({"message": message} if message else {})


def create_app(index: Index, faults: Faults | None = None, log: Log | None = None) -> Starlette:
    """An app that answers for this index, which may be changed meanwhile; its lock is kept."""
    doors = _Doors(index)

    async def unknown(_request: Request, error: Exception) -> Response:
        return _answer({"error": "not found"}, error.status_code if isinstance(error, HTTPException) else 404)

    async def advance(request: Request) -> Response:
        index.advance(**orjson.loads(await request.body()))
        return _answer({"now": index.now.isoformat()}, 200)

    async def see_bill(_request: Request) -> Response:
        return _answer(dict(index.billed), 200)

    control = [
        Route("/_sandbox/advance", advance, methods=["POST"]),
        Route("/_sandbox/billed", see_bill, methods=["GET"]),
    ]
    app = Starlette(exception_handlers={HTTPException: unknown}, routes=[*doors.routes(), *control])
    app.add_middleware(_DelivraiWire, place=index, faults=faults or Faults(lists=LISTS), log=log or Log())
    return app


class _DelivraiWire(Wire):
    def refusal(self, kind: str) -> Answer | None:
        json = (b"content-type", b"application/json")
        match kind:
            case "429":
                return Answer(429, [(b"x-ratelimit-limit", b"25")], b"")
            case "503":
                return Answer(503, [json, (b"retry-after", b"0")], b"").with_body(b'{"error":"busy"}')
            case "500":
                return Answer(500, [json], b"").with_body(b'{"error":"internal error"}')
        return None

    def _shaken(self, kind: str, answer: Answer) -> tuple[Answer, str]:
        """Lists of intent stand one level deeper than others."""
        if kind not in DISORDERS or answer.status != 200 or not answer.body.startswith(b'{"response":'):
            return super()._shaken(kind, answer)
        told = orjson.loads(answer.body)
        body = self.faults.shaken(kind, orjson.dumps(told["response"]), "application/json")
        if body is None:
            return answer, ""
        return answer.with_body(orjson.dumps(told | {"response": orjson.loads(body)})), kind


class _Doors:
    def __init__(self, index: Index) -> None:
        self.index = index

    def routes(self) -> list[Route]:
        return [
            self._open("/api/v1/whoami", self.whoami, "GET"),
            *(
                self._open(f"/api/v1/intent/{about}", partial(self.intent, about), "POST")
                for about in (PEOPLE, COMPANIES)
            ),
            self._open("/api/v1/contact/query", self.contacts, "POST"),
            self._open("/api/v1/lookup", self.lookup, "GET"),
            self._open("/api/v3/events/resolution_full_profile", self.events, "GET"),
        ]

    def whoami(self, _request: Request, _asked: Row) -> Row:
        return {
            "response": {
                "api_client_id": "sandbox-client",
                "organization": {"organization_id": "sandbox-organization", "name": "Seller"},
                "projects": [{"project_id": "1d7b5e3c-7a9e-4e31-91a8-0b2d9f2b7a10", "name": "Website"}],
            }
        }

    def intent(self, about: str, _request: Request, asked: Row) -> Row:
        topic, size = asked.get("topic_id"), asked.get("page_size") or 50
        if not isinstance(topic, str) or not topic:
            raise Refusal(400, "topic_id is required")
        if not isinstance(size, int) or not 1 <= size <= MOST_ROWS:
            raise Refusal(400, f"page_size is 1 to {MOST_ROWS}")
        found = self.index.researchers(about, topic, high_only=asked.get("min_score") == "high")
        meter = f"intent_{about}"
        if asked.get("dry_run"):
            return _price(meter, len(found), is_exact=True)
        rest = found
        if asked.get("cursor"):
            of, *place = _place(asked["cursor"])
            if of != [about, topic]:
                raise Refusal(400, "the cursor is of another topic")
            rest = [one for one in found if rank(one) > tuple(place)]
        page = rest[:size]
        self._bill(meter, len(page))
        told: Row = {
            "topic_id": topic,
            "results": [self.index.row(about, one, resolved=bool(asked.get("resolve"))) for one in page],
        }
        if not asked.get("cursor"):
            told["count"] = len(found)
        if len(rest) > size:
            told["next_cursor"] = _cursor([[about, topic], *rank(page[-1])])
        return {"response": told, "as_of": self.index.built.isoformat()}

    def contacts(self, _request: Request, asked: Row) -> Row:
        """In pages of what is known, not of what was asked."""
        emails, size = asked.get("emails"), asked.get("page_size") or 100
        if not isinstance(emails, list) or not 1 <= len(emails) <= MOST_ADDRESSES:
            raise Refusal(400, f"emails must be 1 to {MOST_ADDRESSES} addresses")
        if not isinstance(size, int) or not 1 <= size <= MOST_ADDRESSES:
            raise Refusal(400, f"page_size is 1 to {MOST_ADDRESSES}")
        found = [known for email in emails if (known := self.index.people.get(hem_of(str(email))))]
        (start,) = _place(asked["cursor"]) if asked.get("cursor") else (0,)
        page = found[start : start + size]
        self._bill("contact_record", len(page))
        self.index.asked.extend(hem_of(str(email)) for email in emails)
        told: Row = {"records": [self.index.contact(known) for known in page], "count": len(page)}
        if start + size < len(found):
            told["cursor"] = _cursor([start + size])
        return told

    def lookup(self, request: Request, _asked: Row) -> Row:
        asked = request.query_params
        hem, email = asked.get("hem"), asked.get("email")
        if bool(hem) == bool(email):
            raise Refusal(400, "needs either a hem or an email")
        if asked.get("hem_type", "sha256") != "sha256" or (hem and len(hem) != 64):
            raise Refusal(400, "the sandbox knows people by sha256")
        digest = hem or hem_of(str(email))
        self.index.asked.append(digest)
        if not (known := self.index.people.get(digest)):
            raise Refusal(404, "not found")
        self._bill("contact_record", 1)
        return self.index.contact(known)

    def events(self, request: Request, _asked: Row) -> Row:
        """The price is that of all rows that the limit allows: how many match is not known before they are read."""
        asked = request.query_params
        if not asked.get("pixel_id") and not asked.get("project_id"):
            raise Refusal(400, "needs a pixel_id or a project_id")
        start, end = _number(asked.get("start_ms")), _number(asked.get("end_ms"))
        if start is None or end is None or end < start or end - start > LONGEST_WINDOW:
            raise Refusal(400, "the window is 25 hours at most without include_cold")
        limit, offset = _number(asked.get("limit")) or 300, _number(asked.get("offset")) or 0
        found = self.index.visits(start, end)
        if asked.get("dry_run") == "true":
            return _price("resolution_full_profile", len(found) + 1, is_exact=False)
        page = found[offset : offset + limit]
        self._bill("resolution_full_profile", len(page))
        return {"start_ms": start, "end_ms": end, "limit": limit, "offset": offset, "rows": page}

    def _bill(self, meter: str, records: int) -> None:
        if self.index.is_out_of_credit:
            raise Refusal(402, "payment required", "no credit left")
        self.index.billed[meter] += records

    def _open(self, path: str, handler: Handler, method: str) -> Route:
        async def answered(request: Request) -> Response:
            body = await request.body()
            limit = {"x-ratelimit-limit": str(CALLS_PER_SECOND)}
            with self.index.lock:
                try:
                    keys = request.headers.get("x-api-key"), request.headers.get("x-api-secret")
                    if keys != (self.index.api_key, self.index.api_secret):
                        raise Refusal(401, "missing or invalid credentials")
                    if self.index.is_closed:
                        raise Refusal(404, "not found")
                    told = handler(request, _json(body) if method == "POST" else {})
                except Refusal as refusal:
                    call_of(request).error = str(refusal)
                    return _answer(refusal.content, refusal.status, {**limit, **refusal.headers})
            inner = told.get("response", told)
            call_of(request).rows_given = sum(len(inner.get(name, ())) for name in LISTS)
            return _answer(told, 200, limit)

        return Route(path, answered, methods=[method])


def _price(meter: str, records: int, *, is_exact: bool) -> Row:
    amount = records * CENTS[meter]
    return {
        "dry_run": True,
        "meter": meter,
        "records_to_charge": records,
        "records_fidelity": "exact" if is_exact else "upper_bound",
        "scope": {},
        "estimated_cost": {"amount_cents": amount, "currency": "usd", "basis": "graduated_ceiling"},
    }


def _number(text: str | None) -> int | None:
    if not text:
        return None
    if not text.isdigit():
        raise Refusal(400, "must be a whole number")
    return int(text)


def _cursor(place: Any) -> str:
    return b64encode(orjson.dumps(place)).decode()


def _place(cursor: Any) -> list[Any]:
    try:
        place = orjson.loads(b64decode(str(cursor), validate=True))
    except ValueError:
        raise Refusal(400, "the cursor is not a place in this list") from None
    if not isinstance(place, list) or not place:
        raise Refusal(400, "the cursor is not a place in this list")
    return place


def _json(body: bytes) -> Row:
    try:
        content: Any = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise Refusal(400, "the body is no JSON") from None
    if not isinstance(content, dict):
        raise Refusal(400, "the body is no JSON object")
    return content


def _answer(content: Row, status: int, headers: dict[str, str] | None = None) -> Response:
    return Response(orjson.dumps(content), status, headers, media_type="application/json")
