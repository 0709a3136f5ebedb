"""Between the app and the net: writes the log, tells the org's time, and spoils the answers that are to be spoiled."""

import asyncio
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from email.utils import format_datetime
from typing import Any, Protocol

import orjson
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sandbox.salesforce.answers import CALL
from sandbox.salesforce.faults import DISORDERS, Faults
from sandbox.salesforce.log import Call, Log
from sandbox.salesforce.org import Org

CHUNKS = 20
MAINTENANCE = b"<html><head><title>Salesforce</title></head><body>We are down for maintenance.</body></html>"
GATEWAY_TIMEOUT = b"<html><body>Gateway Timeout</body></html>"
SHORT_ANSWERS = {
    "429": (429, "TOO_MANY_REQUESTS", "Too many requests."),
    "500": (
        500,
        "UNKNOWN_EXCEPTION",
        "An unexpected error occurred. Please include this ErrorId if you contact support.",
    ),
    "quota": (403, "REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded."),
    "expired": (401, "INVALID_SESSION_ID", "Session expired or invalid"),
}
Headers = list[tuple[bytes, bytes]]


@dataclass(slots=True)
class Answer:
    status: int
    headers: Headers
    body: bytes

    def header(self, name: bytes) -> str:
        return next((value.decode("latin-1") for key, value in self.headers if key.lower() == name), "")

    def with_body(self, body: bytes) -> "Answer":
        rest = [(key, value) for key, value in self.headers if key.lower() != b"content-length"]
        return Answer(self.status, [*rest, (b"content-length", str(len(body)).encode())], body)


class Place(Protocol):
    """What an answer is about: it has a lock, under which it is asked, and a clock."""

    @property
    def lock(self) -> AbstractContextManager[Any]: ...

    @property
    def now(self) -> datetime: ...


class Wire:
    """The control endpoints under /_sandbox/ are not the vendor's: they are neither logged nor disturbed.

    What a vendor says no with is its own: `refusal` is for its wire to say.
    """

    def __init__(self, app: ASGIApp, place: Place, faults: Faults, log: Log) -> None:
        self.app, self.place, self.faults, self.log = app, place, faults, log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].startswith("/_sandbox"):
            await self.app(scope, receive, send)
            return
        method, path, query = scope["method"], scope["path"], scope["query_string"].decode("latin-1")
        with self.place.lock:
            call = self.log.begin(self.place.now.isoformat(), method, path, query)
            kind = self.faults.draw(method, path, query)
        # Salesforce does not mind a slash at the end.
        scope = {**scope, "path": path.rstrip("/"), CALL: call}
        answer = self.refusal(kind) or await self._answer(scope, receive)
        if kind in DISORDERS:
            answer, kind = self._shaken(kind, answer)
        elif kind == "truncated" and len(answer.body) < 2:
            kind = ""
        call.fault = kind
        if kind:
            self.faults.done[kind] += 1
        await self._tell(kind, answer, call, receive, send)

    def refusal(self, kind: str) -> Answer | None:  # noqa: ARG002 - the vendors' wires look at it
        """The vendor's answer in place of the request being done; None if this fault is none of that kind."""
        return None

    async def _answer(self, scope: Scope, receive: Receive) -> Answer:
        answer = Answer(500, [], b"")
        parts: list[bytes] = []

        async def keep(message: Message) -> None:
            if message["type"] == "http.response.start":
                answer.status, answer.headers = message["status"], list(message["headers"])
            else:
                parts.append(message.get("body", b""))

        await self.app(scope, receive, keep)
        answer.body = b"".join(parts)
        return answer

    def _shaken(self, kind: str, answer: Answer) -> tuple[Answer, str]:
        if answer.status != 200:
            return answer, ""
        body = self.faults.shaken(kind, answer.body, answer.header(b"content-type"))
        if body is None:
            return answer, ""
        shaken = answer.with_body(body)
        count = answer.header(b"sforce-numberofrecords")
        if kind == "duplicate" and count:
            shaken.headers = [(key, value) for key, value in shaken.headers if key != b"sforce-numberofrecords"]
            shaken.headers.append((b"sforce-numberofrecords", str(2 * int(count)).encode()))
        return shaken, kind

    async def _tell(self, kind: str, answer: Answer, call: Call, receive: Receive, send: Send) -> None:
        if kind == "timeout":
            await _patience_ends(receive, self.faults.hang_seconds)
            answer = Answer(504, [(b"content-type", b"text/html")], b"").with_body(GATEWAY_TIMEOUT)
        call.status = answer.status
        headers = [*answer.headers, (b"date", format_datetime(self.place.now, usegmt=True).encode())]
        half = answer.body[: len(answer.body) // 2]
        match kind:
            case "cut":
                await _send(send, answer.status, headers, [half], complete=False)
            case "truncated":
                short = answer.with_body(half)
                await _send(send, short.status, [*short.headers, headers[-1]], [half])
            case "slow":
                size = max(1, len(answer.body) // CHUNKS)
                drops = [answer.body[start : start + size] for start in range(0, len(answer.body), size)]
                await _send(send, answer.status, headers, drops, pause=self.faults.slow_seconds / CHUNKS)
            case _:
                await _send(send, answer.status, headers, [answer.body])


class OrgWire(Wire):
    """Salesforce's."""

    def __init__(self, app: ASGIApp, org: Org, faults: Faults, log: Log) -> None:
        super().__init__(app, org, faults, log)
        self.org = org

    def refusal(self, kind: str) -> Answer | None:
        if kind == "503":
            return Answer(503, [(b"content-type", b"text/html")], b"").with_body(MAINTENANCE)
        if kind not in SHORT_ANSWERS:
            return None
        status, code, message = SHORT_ANSWERS[kind]
        with self.org.lock:
            self.org.used += 1
            if kind == "expired":
                self.org.expire_sessions()
        headers: Headers = [
            (b"content-type", b"application/json;charset=UTF-8"),
            (b"sforce-limit-info", f"api-usage={self.org.used}/{self.org.budget}".encode()),
        ]
        if kind == "429" and self.faults.retry_after is not None:
            headers.append((b"retry-after", str(self.faults.retry_after).encode()))
        return Answer(status, headers, b"").with_body(orjson.dumps([{"message": message, "errorCode": code}]))


async def _send(
    send: Send, status: int, headers: Headers, parts: Sequence[bytes], *, complete: bool = True, pause: float = 0
) -> None:
    """Left incomplete, the body is shorter than its headers said, and the server cuts the connection."""
    await send({"type": "http.response.start", "status": status, "headers": headers})
    for part in parts:
        await send({"type": "http.response.body", "body": part, "more_body": True})
        if pause:
            await asyncio.sleep(pause)
    if complete:
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _patience_ends(receive: Receive, seconds: float) -> None:
    """Silence until the client has gone, or for so long."""

    async def gone() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    try:
        await asyncio.wait_for(gone(), seconds)
    except TimeoutError:
        return
