"""Someone who calls the sandbox: in this process without a server, or through one."""

import asyncio
from typing import Any

import httpx
from starlette.applications import Starlette

from sandbox.salesforce import Faults, Log, Org, create_app

CREDENTIALS = {"client_id": "sandbox-client", "client_secret": "sandbox-secret"}
DATA = "/services/data/v63.0"


class InThisProcess(httpx.BaseTransport):
    def __init__(self, app: Starlette) -> None:
        self.inner = httpx.ASGITransport(app)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        return asyncio.run(self._told(request))

    async def _told(self, request: httpx.Request) -> httpx.Response:
        answer = await self.inner.handle_async_request(request)
        return httpx.Response(answer.status_code, headers=answer.headers, content=await answer.aread())


class Caller:
    """Logged in by client credentials. `http` is at the root of the org, `faults` and `log` are the sandbox's."""

    def __init__(self, org: Org, http: httpx.Client | None = None) -> None:
        self.org, self.faults, self.log = org, Faults(), Log()
        app = create_app(org, self.faults, self.log)
        self.http = http or httpx.Client(base_url="http://salesforce.example", transport=InThisProcess(app))
        self.login()

    def token(self, **form: str) -> httpx.Response:
        return self.http.post("/services/oauth2/token", data=form)

    def login(self) -> str:
        token: str = self.token(grant_type="client_credentials", **CREDENTIALS).json()["access_token"]
        self.http.headers["Authorization"] = f"Bearer {token}"
        return token

    def get(self, path: str, **more: Any) -> httpx.Response:
        return self.http.get(f"{DATA}/{path}", **more)

    def send(self, method: str, path: str, content: object = None) -> httpx.Response:
        return self.http.request(method, f"{DATA}/{path}", json=content)

    def query(self, soql: str, *, everything: bool = True, page_size: int | None = None) -> httpx.Response:
        headers = {} if page_size is None else {"Sforce-Query-Options": f"batchSize={page_size}"}
        return self.get("queryAll" if everything else "query", params={"q": soql}, headers=headers)

    def records(self, soql: str, *, everything: bool = True) -> list[dict[str, Any]]:
        """All records of a query, page after page, without their attributes."""
        page = self.query(soql, everything=everything).json()
        found = list(page["records"])
        while not page["done"]:
            page = self.http.get(page["nextRecordsUrl"]).json()
            found += page["records"]
        return [{name: value for name, value in record.items() if name != "attributes"} for record in found]

    def names(self, entity: str, *, compounds: bool = False) -> list[str]:
        """The fields that describe tells of."""
        fields = self.get(f"sobjects/{entity}/describe").json()["fields"]
        return [field["name"] for field in fields if compounds or field["type"] not in ("address", "location")]

    def refusal(self, answer: httpx.Response) -> str:
        (error,) = answer.json()
        assert error["message"]
        return f"{answer.status_code} {error['errorCode']}"
