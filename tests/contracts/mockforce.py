"""simple-mockforce on a port of its own: a Salesforce that none of us wrote, made to be reached over HTTP.

It patches `requests` inside its own process; here each request that comes in over the wire is made once more in there,
and its answer goes out as it is. Runs with the Python of build/contracts, where it is installed:
`python tests/contracts/mockforce.py PORT`. Records are made and changed through its own REST doors.

What it has not is put together here, from what it has: the list of objects and their descriptions from its records,
and a count from the records that the same question finds. To it an address with a slash at the end is another one.
"""

import json
import re
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any
from urllib.parse import urlsplit

import requests
from simple_mockforce import mock_salesforce  # type: ignore[import-not-found]
from simple_mockforce.virtual import virtual_salesforce  # type: ignore[import-not-found]

INSIDE = "https://mock.salesforce.com"
OBJECTS = re.compile(r"/services/data/v[0-9.]+/sobjects/?")
DESCRIBE = re.compile(r"/services/data/v[0-9.]+/sobjects/(\w+)/describe/?")
NEEDS_A_SLASH = re.compile(r"/services/data/v[0-9.]+/(query|queryAll|sobjects/\w+)")
COUNT = "SELECT+COUNT%28%29+FROM"


class Door(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        if OBJECTS.fullmatch(path):
            names = [{"name": name, "queryable": True} for name in virtual_salesforce.data]
            self._answer(200, json.dumps({"sobjects": names}).encode())
        elif described := DESCRIBE.fullmatch(path):
            self._answer(200, json.dumps(_description(described[1])).encode())
        else:
            self._pass_on()

    def do_POST(self) -> None:
        self._pass_on()

    def do_PATCH(self) -> None:
        self._pass_on()

    def do_DELETE(self) -> None:
        self._pass_on()

    def _pass_on(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        path, _, query = self.path.partition("?")
        if NEEDS_A_SLASH.fullmatch(path):
            path += "/"
        kept = {
            name: value for name, value in self.headers.items() if name.lower() in ("authorization", "content-type")
        }
        address = f"{INSIDE}{path}?{query.replace(COUNT, 'SELECT+Id+FROM')}"
        try:
            told = requests.request(self.command, address, headers=kept, data=body, timeout=30)
        except requests.ConnectionError:
            self._answer(404, b'[{"errorCode": "NOT_FOUND", "message": "simple-mockforce has no such door"}]')
        except Exception as error:  # noqa: BLE001 - what it does not understand it raises, and a server says so
            refusal = [{"errorCode": "MALFORMED_QUERY", "message": f"{type(error).__name__}: {error}"}]
            self._answer(400, json.dumps(refusal).encode())
        else:
            self._answer(told.status_code, told.content)

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        print(format % args, flush=True)


def _description(entity: str) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for record in virtual_salesforce.data.get(entity, []):
        values |= record
    return {"name": entity, "queryable": True, "fields": [_field(name, value) for name, value in values.items()]}


def _field(name: str, value: Any) -> dict[str, Any]:
    kind = "id" if name == "Id" else "boolean" if isinstance(value, bool) else "string"
    if name in ("CreatedDate", "LastModifiedDate", "SystemModstamp"):
        kind = "datetime"
    return {"name": name, "type": kind, "compoundFieldName": None, "calculated": False}


@mock_salesforce  # type: ignore[untyped-decorator]
def serve(port: int) -> None:
    HTTPServer(("127.0.0.1", port), Door).serve_forever()


if __name__ == "__main__":
    serve(int(sys.argv[1]))
