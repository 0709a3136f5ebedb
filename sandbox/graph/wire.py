"""How Graph says no on the wire: {error: {code, message}}, with the seconds to wait where it knows them."""

import orjson
from starlette.types import ASGIApp

from sandbox.graph.directory import Directory
from sandbox.graph.faults import LOST, Faults
from sandbox.salesforce.log import Log
from sandbox.salesforce.wire import Answer, Wire

SHORT_ANSWERS = {
    "429": (429, "ApplicationThrottled", "Application is over its MailboxConcurrency limit."),
    "500": (500, "InternalServerError", "The server encountered an internal error."),
    "503": (503, "serviceNotAvailable", "The service is temporarily unavailable."),
    "expired": (401, "InvalidAuthenticationToken", "Lifetime validation failed, the token is expired."),
    LOST: (410, "SyncStateNotFound", "The sync state generation is not found; generation=149;[highest=157]."),
}


class GraphWire(Wire):
    def __init__(self, app: ASGIApp, directory: Directory, faults: Faults, log: Log) -> None:
        super().__init__(app, directory, faults, log)
        self.directory = directory

    def refusal(self, kind: str) -> Answer | None:
        if kind not in SHORT_ANSWERS:
            return None
        status, code, message = SHORT_ANSWERS[kind]
        if kind == "expired":
            with self.directory.lock:
                self.directory.tokens.clear()
        headers = [(b"content-type", b"application/json")]
        if status in (429, 503) and self.faults.retry_after is not None:
            headers.append((b"retry-after", str(self.faults.retry_after).encode()))
        body = {"error": {"code": code, "message": message, "innerError": {"request-id": "0"}}}
        return Answer(status, headers, b"").with_body(orjson.dumps(body))
