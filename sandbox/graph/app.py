"""The doors of Graph and of its login, as an ASGI app."""

import asyncio
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import Any
from urllib.parse import parse_qsl

import orjson
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sandbox.graph import control
from sandbox.graph.directory import Directory, Mailbox
from sandbox.graph.faults import Faults
from sandbox.graph.feed import Feed
from sandbox.graph.wire import GraphWire
from sandbox.salesforce.answers import call_of, host_of
from sandbox.salesforce.log import Log

AT_A_TIME_IN_A_MAILBOX = 4
DEFAULT_PAGE, LONGEST_PAGE = 10, 1_000
# what Mail.ReadBasic.All and Calendars.ReadBasic.All do not open
CLOSED = ("body", "bodyPreview", "uniqueBody")
# what Graph tells of an occurrence in a round of changes
OF_AN_OCCURRENCE = ("id", "seriesMasterId", "type", "start", "end")
CONTEXT = "https://graph.microsoft.com/v1.0/$metadata"
Handler = Callable[[Request], Response]


class Refusal(Exception):
    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message


def create_app(directory: Directory, faults: Faults | None = None, log: Log | None = None) -> Starlette:
    """An app that answers for this directory. It may be changed meanwhile; its lock is kept."""
    faults, log = faults or Faults(), log or Log()

    async def unknown(_request: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else 404
        return _refused(Refusal(status, "BadRequest", "Resource not found for the segment."))

    app = Starlette(
        exception_handlers={HTTPException: unknown},
        routes=[*Doors(directory).routes(), *control.routes(directory, faults, log)],
    )
    app.add_middleware(GraphWire, directory=directory, faults=faults, log=log)
    return app


class Doors:
    def __init__(self, directory: Directory) -> None:
        self.directory = directory
        self._under_way: Counter[str] = Counter()

    def routes(self) -> list[Route]:
        user = "/v1.0/users/{user}"
        return [
            Route("/{directory}/oauth2/v2.0/token", self.token, methods=["POST"]),
            self._data("/v1.0/users", self.users),
            self._data(f"{user}/mailFolders", self.folders),
            self._data(f"{user}/mailFolders/{{folder}}/messages/{{delta}}", self.message_changes),
            self._data(f"{user}/mailFolders/{{folder}}/messages", self.messages),
            self._data(f"{user}/messages/{{id}}", self.message),
            self._data(f"{user}/calendarView/{{delta}}", self.event_changes),
            self._data(f"{user}/calendarView", self.calendar_view),
            self._data(f"{user}/events/{{id}}", self.event),
        ]

    # Coming in -------------------------------------------------------------------------------------------------------

    async def token(self, request: Request) -> Response:
        form = dict(parse_qsl((await request.body()).decode()))
        call_of(request).about = form.get("grant_type", "")
        with self.directory.lock:
            ours = self.directory
            if request.path_params["directory"] != ours.directory_id:
                return _login_refused("invalid_request", "AADSTS90002: Tenant was not found.")
            if form.get("grant_type") != "client_credentials" or not form.get("scope", "").endswith("/.default"):
                return _login_refused("invalid_scope", "AADSTS1002012: The provided value for scope is not valid.")
            if form.get("client_id") != ours.client_id:
                return _login_refused("unauthorized_client", "AADSTS700016: Application was not found.")
            if form.get("client_secret") != ours.client_secret:
                return _login_refused("invalid_client", "AADSTS7000215: Invalid client secret provided.")
            ours.logins += 1
            token = "eyJ" + blake2b(f"{ours.seed}/token/{ours.logins}".encode(), digest_size=30).hexdigest()
            ours.tokens.add(token)
        return _answer({"token_type": "Bearer", "expires_in": 3599, "ext_expires_in": 3599, "access_token": token})

    # Directory -------------------------------------------------------------------------------------------------------

    def users(self, request: Request) -> Response:
        size = min(int(request.query_params.get("$top", "100")), 999)
        start = int(request.query_params.get("$skiptoken", "0"))
        shown: list[dict[str, Any]] = [
            {
                "id": box.id,
                "displayName": box.name,
                "mail": box.address,
                "userPrincipalName": box.address,
                "jobTitle": "Account Executive",
            }
            for box in self.directory.mailboxes
        ]
        # not everybody in a directory has a mailbox
        shown.append({"id": "no-mailbox", "displayName": "Printer", "mail": None, "userPrincipalName": "p@x.example"})
        page = {"@odata.context": f"{CONTEXT}#users", "value": [_chosen(request, one) for one in shown[start:][:size]]}
        if start + size < len(shown):
            select = request.query_params.get("$select")
            more = f"$select={select}&" if select else ""
            page["@odata.nextLink"] = f"{host_of(request)}/v1.0/users?{more}$top={size}&$skiptoken={start + size}"
        return _answer(page)

    def folders(self, request: Request) -> Response:
        shown = [
            {"id": name, "displayName": name, "totalItemCount": len(feed.items)}
            for name, feed in self._mailbox(request).folders.items()
        ]
        return _answer({"@odata.context": f"{CONTEXT}#mailFolders", "value": shown})

    # Mail ------------------------------------------------------------------------------------------------------------

    def messages(self, request: Request) -> Response:
        shown = [self._message(request, item) for item in self._folder(request).items.values()]
        size = int(request.query_params.get("$top", str(DEFAULT_PAGE)))
        return _answer({"@odata.context": f"{CONTEXT}#messages", "value": shown[:size]})

    def message(self, request: Request) -> Response:
        for feed in self._mailbox(request).folders.values():
            for item in feed.items.values():
                if request.path_params["id"] in (item["id"], _id_in_folder(item)):
                    return _answer(self._message(request, item))
        raise Refusal(404, "ErrorItemNotFound", "The specified object was not found in the store.")

    def message_changes(self, request: Request) -> Response:
        feed = self._folder(request)
        if since := request.query_params.get("$filter"):
            found = re.fullmatch(r"receivedDateTime g[et] (\S+)", since)
            if found is None:
                raise Refusal(400, "ErrorInvalidRestriction", "The restriction is not supported by delta.")
            since = found[1]
        asked = {"select": request.query_params.get("$select"), "since": since}

        def shown(item: dict[str, Any], asked: dict[str, Any]) -> dict[str, Any] | None:
            if asked["since"] and item["receivedDateTime"] < asked["since"]:
                return None
            return self._message(request, item, asked["select"])

        return self._round(request, feed, asked, shown, lambda id: _removed("message", id))

    # Calendar --------------------------------------------------------------------------------------------------------

    def calendar_view(self, request: Request) -> Response:
        window = self._window(request)
        items = [item for item in self._mailbox(request).calendar.items.values() if _within(item, window)]
        shown = [_chosen(request, _open(item)) for item in items if item["type"] != "seriesMaster"]
        return _answer({"@odata.context": f"{CONTEXT}#calendarView", "value": shown})

    def event(self, request: Request) -> Response:
        item = self._mailbox(request).calendar.items.get(request.path_params["id"])
        if item is None:
            raise Refusal(404, "ErrorItemNotFound", "The specified object was not found in the store.")
        return _answer(_chosen(request, _open(item)))

    def event_changes(self, request: Request) -> Response:
        if unsupported := [
            name for name in request.query_params if name in ("$select", "$filter", "$orderby", "$expand")
        ]:
            raise Refusal(400, "ErrorInvalidUrlQuery", f"{unsupported[0]} is not supported with this request.")
        feed = self._mailbox(request).calendar
        is_first = "startDateTime" in request.query_params
        asked = {"window": self._window(request)} if is_first else {}

        def shown(item: dict[str, Any], asked: dict[str, Any]) -> dict[str, Any] | None:
            if not _within(item, asked["window"]):
                # in the first round what is outside is not there; later it is called removed
                return None if asked["after"] == 0 else _removed("event", item["id"])
            if item["type"] == "occurrence":
                return {"@odata.type": "#microsoft.graph.event"} | {name: item[name] for name in OF_AN_OCCURRENCE}
            return {"@odata.type": "#microsoft.graph.event"} | _open(item)

        return self._round(request, feed, asked, shown, lambda id: _removed("event", id))

    # -----------------------------------------------------------------------------------------------------------------

    def _round(
        self,
        request: Request,
        feed: Feed,
        asked: dict[str, Any],
        shown: Callable[[dict[str, Any], dict[str, Any]], dict[str, Any] | None],
        removed: Callable[[str], dict[str, Any]],
    ) -> Response:
        """One page of changes. What a link says is all there is to it: whatever else stands in a query is refused."""
        place = self._place(request, feed)
        if place is None:
            place = {**asked, "after": 0, "at": 0, "upto": feed.last, "generation": feed.generation}
        size = _page_size(request)
        found: list[dict[str, Any]] = []
        last = place["at"]
        total = 0
        is_whole = True
        for number, id, item in feed.between(max(place["after"], place["at"]), place["upto"]):
            gone = None if place["after"] == 0 else removed(id)
            one = gone if item is None else shown(item, place)
            total += one is not None
            if (
                one is not None
                and place.get("since")
                and place.get("told", 0) + total > self.directory.filtered_at_most
            ):
                break
            # a series does not stand on two pages
            if len(found) >= size and not (one or {}).get("seriesMasterId"):
                is_whole = False
                break
            found += [one] if one is not None else []
            last = number
        path = f"{host_of(request)}{request.url.path}"
        answer: dict[str, Any] = {"@odata.context": f"{CONTEXT}#Collection", "value": found}
        if is_whole:
            following = {**place, "after": place["upto"], "at": 0, "upto": 0, "told": 0}
            answer["@odata.deltaLink"] = f"{path}?$deltatoken={_token(following)}"
        else:
            following = {**place, "at": last, "told": place.get("told", 0) + len(found)}
            answer["@odata.nextLink"] = f"{path}?$skiptoken={_token(following)}"
        call_of(request).rows_given = len(found)
        return _answer(answer)

    def _place(self, request: Request, feed: Feed) -> dict[str, Any] | None:
        query = request.scope["query_string"].decode("latin-1")
        # the parameters stand in the token: Graph reads them from there and from nowhere else
        found = re.fullmatch(r"(?:\$|%24)(?:delta|skip)token=(.+)", query)
        if found is None:
            if "token=" in query:
                raise Refusal(400, "BadRequest", "A link must be followed as it came.")
            return None
        place = _place_of(found[1])
        if place["generation"] != feed.generation:
            raise Refusal(410, "SyncStateNotFound", "The sync state generation is not found; generation=149.")
        return place | ({"upto": feed.last} if place["upto"] == 0 else {})

    def _message(self, request: Request, item: dict[str, Any], select: str | None = None) -> dict[str, Any]:
        shown = {name: value for name, value in _open(item).items() if name != "moves"}
        if "immutableid" not in request.headers.get("prefer", "").lower():
            shown["id"] = _id_in_folder(item)
        return {"@odata.etag": f'W/"{item["lastModifiedDateTime"]}"'} | _chosen(request, shown, select)

    def _folder(self, request: Request) -> Feed:
        folders = self._mailbox(request).folders
        if (name := request.path_params["folder"].lower()) not in folders:
            raise Refusal(404, "ErrorFolderNotFound", "The specified folder could not be found in the store.")
        return folders[name]

    def _mailbox(self, request: Request) -> Mailbox:
        try:
            mailbox = self.directory.mailbox(request.path_params["user"])
        except StopIteration:
            raise Refusal(404, "ErrorInvalidUser", "The requested user is invalid.") from None
        if not mailbox.is_open:
            raise Refusal(404, "MailboxNotEnabledForRESTAPI", "The mailbox is either inactive or hosted on-premise.")
        return mailbox

    def _window(self, request: Request) -> list[str]:
        try:
            moments = [datetime.fromisoformat(request.query_params[name]) for name in ("startDateTime", "endDateTime")]
        except (KeyError, ValueError):
            raise Refusal(400, "ErrorInvalidParameter", "startDateTime and endDateTime are required.") from None
        if moments[1] - moments[0] > timedelta(days=1_825):
            raise Refusal(400, "ErrorInvalidParameter", "The range between the dates is greater than 1825 days.")
        return [moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S") for moment in moments]

    def _data(self, path: str, handler: Handler) -> Route:
        async def endpoint(request: Request) -> Response:
            user = request.path_params.get("user", "")
            self._under_way[user] += 1
            try:
                if user and self._under_way[user] > AT_A_TIME_IN_A_MAILBOX:
                    raise Refusal(429, "ApplicationThrottled", "Application is over its MailboxConcurrency limit.")
                if self.directory.latency:
                    await asyncio.sleep(self.directory.latency)
                with self.directory.lock:
                    self._admit(request)
                    return handler(request)
            except Refusal as refusal:
                call_of(request).error = refusal.code
                return _refused(refusal)
            finally:
                self._under_way[user] -= 1

        return Route(path, endpoint, methods=["GET"])

    def _admit(self, request: Request) -> None:
        if request.headers.get("authorization", "").removeprefix("Bearer ") not in self.directory.tokens:
            raise Refusal(401, "InvalidAuthenticationToken", "Access token is empty or expired.")


def _answer(content: Any, status: int = 200) -> Response:
    return Response(orjson.dumps(content), status, media_type="application/json;odata.metadata=minimal")


def _refused(refusal: Refusal) -> Response:
    headers = {"Retry-After": "1"} if refusal.status == 429 else None
    body = {"error": {"code": refusal.code, "message": refusal.message, "innerError": {"request-id": "0"}}}
    return Response(orjson.dumps(body), refusal.status, headers, media_type="application/json")


def _login_refused(error: str, description: str) -> Response:
    told = {"error": error, "error_description": f"{description} Trace ID: 0 Correlation ID: 0"}
    return _answer(told, 401 if error == "invalid_client" else 400)


def _removed(kind: str, id: str) -> dict[str, Any]:
    return {"@odata.type": f"#microsoft.graph.{kind}", "id": id, "@removed": {"reason": "deleted"}}


def _open(item: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in item.items() if name not in CLOSED}


def _chosen(request: Request, item: dict[str, Any], select: str | None = None) -> dict[str, Any]:
    wanted = select or request.query_params.get("$select")
    if not wanted:
        return item
    return {name: item[name] for name in ("@odata.type", "id", *wanted.split(",")) if name in item}


def _id_in_folder(item: dict[str, Any]) -> str:
    """The ordinary id, which is another one after every move."""
    return f"{item['id']}-{item['moves']}"


def _within(item: dict[str, Any], window: list[str]) -> bool:
    return bool(item["start"]["dateTime"] < window[1] and item["end"]["dateTime"] > window[0])


def _page_size(request: Request) -> int:
    found = re.search(r"odata\.maxpagesize=(\d+)", request.headers.get("prefer", ""))
    return min(int(found[1]) if found else DEFAULT_PAGE, LONGEST_PAGE)


def _token(place: dict[str, Any]) -> str:
    """Opaque, and with an escape in it: whoever decodes it on the way has another one."""
    return urlsafe_b64encode(orjson.dumps(place)).decode().rstrip("=") + "%2e"


def _place_of(token: str) -> dict[str, Any]:
    if not token.endswith("%2e"):
        raise Refusal(400, "BadRequest", "A link must be followed as it came.")
    text = token.removesuffix("%2e")
    try:
        place: dict[str, Any] = orjson.loads(urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    except ValueError:
        raise Refusal(400, "BadRequest", "Badly formed token.") from None
    return place
