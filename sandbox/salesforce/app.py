"""The REST doors of the org, as an ASGI app."""

from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl
from xml.sax.saxutils import escape

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sandbox.salesforce import control
from sandbox.salesforce.answers import answer, basic_login, call_of, host_of, json_object, session_of, soap_answer
from sandbox.salesforce.bulk import Bulk
from sandbox.salesforce.faults import Faults
from sandbox.salesforce.identity import LoginRefused
from sandbox.salesforce.log import Log
from sandbox.salesforce.org import REMEMBERS_DELETIONS, Org
from sandbox.salesforce.query import Cursors, ask, page_size
from sandbox.salesforce.refusals import Refusal, no_such_column, not_found
from sandbox.salesforce.soql import whole_id
from sandbox.salesforce.tables import Table, moment, seconds
from sandbox.salesforce.wire import OrgWire
from sandbox.salesforce.writes import Writes

VERSIONS = ("58.0", "59.0", "60.0", "61.0", "62.0", "63.0", "64.0", "65.0")
Handler = Callable[[Request, bytes], Response]


def create_app(org: Org, faults: Faults | None = None, log: Log | None = None) -> Starlette:
    """An app that answers for this org. The same org may be changed meanwhile; its lock is kept."""
    faults, log = faults or Faults(), log or Log()
    doors = Doors(org)

    async def unknown(_request: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else 404
        code = "METHOD_NOT_ALLOWED" if status == 405 else "NOT_FOUND"
        return answer([{"errorCode": code, "message": "The requested resource does not exist"}], status)

    app = Starlette(
        exception_handlers={HTTPException: unknown},
        routes=[*doors.routes(), *control.routes(org, faults, log, doors.bulk)],
    )
    app.add_middleware(OrgWire, org=org, faults=faults, log=log)
    return app


class Doors:
    def __init__(self, org: Org) -> None:
        self.org = org
        self.cursors = Cursors()
        self.writes = Writes(org)
        self.bulk = Bulk(org, self.writes)

    def routes(self) -> list[Route]:
        v = "/services/data/v{version}"
        return [
            self._open("/services/oauth2/token", self.token, "POST"),
            self._open("/services/Soap/u/{version}", self.soap, "POST"),
            self._open("/services/data", self.versions, "GET"),
            self._data("/services/oauth2/userinfo", self.userinfo, "GET", "POST"),
            self._data(f"{v}/sobjects", self.objects, "GET"),
            self._data(f"{v}/limits", self.limits, "GET"),
            self._data(f"{v}/query", self.query, "GET"),
            self._data(f"{v}/queryAll", self.query, "GET"),
            self._data(f"{v}/query/{{locator}}", self.more, "GET"),
            self._data(f"{v}/queryAll/{{locator}}", self.more, "GET"),
            self._data(f"{v}/sobjects/{{entity}}", self.object, "GET"),
            self._data(f"{v}/sobjects/{{entity}}", self.writes.create_one, "POST"),
            self._data(f"{v}/sobjects/{{entity}}/describe", self.describe, "GET"),
            self._data(f"{v}/sobjects/{{entity}}/deleted", self.deleted, "GET"),
            self._data(f"{v}/sobjects/{{entity}}/updated", self.updated, "GET"),
            self._data(f"{v}/sobjects/{{entity}}/{{id}}", self.record, "GET"),
            self._data(f"{v}/sobjects/{{entity}}/{{id}}", self.writes.update_one, "PATCH"),
            self._data(f"{v}/sobjects/{{entity}}/{{id}}", self.writes.delete_one, "DELETE"),
            self._data(f"{v}/composite/sobjects", self.writes.create_many, "POST"),
            self._data(f"{v}/composite/sobjects", self.writes.update_many, "PATCH"),
            self._data(f"{v}/composite/sobjects", self.writes.delete_many, "DELETE"),
            self._data(f"{v}/composite/sobjects/{{entity}}", self.retrieve, "GET", "POST"),
            self._data(f"{v}/composite/sobjects/{{entity}}/{{key}}", self.writes.upsert_many, "PATCH"),
            *(self._data(f"{v}/jobs{path}", handler, *methods) for path, handler, *methods in self.bulk.doors()),
        ]

    # Coming in -------------------------------------------------------------------------------------------------------

    def token(self, request: Request, body: bytes) -> Response:
        form = dict(parse_qsl(body.decode()))
        call_of(request).about = form.get("grant_type", "")
        basic = request.headers.get("authorization", "")
        if basic.startswith("Basic "):
            form["client_id"], form["client_secret"] = basic_login(basic)
        try:
            granted = self.org.identity.exchange(form)
        except LoginRefused as refused:
            return answer({"error": refused.error, "error_description": refused.description}, 400)
        host = host_of(request)
        identity = self.org.identity
        return answer(
            granted
            | {
                "instance_url": host,
                "id": f"{host}/id/{identity.organization_id}/{identity.user_id}",
                "token_type": "Bearer",
                "scope": "api refresh_token",
                "issued_at": str(int(self.org.now.timestamp() * 1000)),
                "signature": "c2FuZGJveA==",
            }
        )

    def soap(self, request: Request, body: bytes) -> Response:
        """The login of those who have a user name and a password; the rest of SOAP is not here."""
        call_of(request).about = "login"
        try:
            session = self.org.identity.soap_login(body.decode())
        except LoginRefused:
            fault = (
                "<soapenv:Fault><faultcode>sf:INVALID_LOGIN</faultcode><faultstring>INVALID_LOGIN</faultstring><detail>"
                '<sf:LoginFault xmlns:sf="urn:fault.partner.soap.sforce.com"><sf:exceptionCode>INVALID_LOGIN'
                "</sf:exceptionCode><sf:exceptionMessage>Invalid username, password or security token."
                "</sf:exceptionMessage></sf:LoginFault></detail></soapenv:Fault>"
            )
            return soap_answer(fault, 500)
        path = f"/services/Soap/u/{request.path_params['version']}/{self.org.identity.organization_id}"
        return soap_answer(
            "<loginResponse><result>"
            f"<serverUrl>{escape(host_of(request) + path)}</serverUrl><sessionId>{escape(session)}</sessionId>"
            f"<userId>{self.org.identity.user_id}</userId></result></loginResponse>"
        )

    def userinfo(self, _request: Request, _body: bytes) -> Response:
        identity = self.org.identity
        return answer(
            {
                "user_id": identity.user_id,
                "organization_id": identity.organization_id,
                "preferred_username": identity.username,
            }
        )

    # What there is ---------------------------------------------------------------------------------------------------

    def versions(self, _request: Request, _body: bytes) -> Response:
        return answer(
            [{"label": version, "url": f"/services/data/v{version}", "version": version} for version in VERSIONS]
        )

    def objects(self, request: Request, _body: bytes) -> Response:
        shown = [table.entity for name, table in self.org.tables.items() if name not in self.org.hidden_objects]
        version = request.path_params["version"]
        listed = [entity.describe_shortly(version) for entity in shown]
        return answer({"encoding": "UTF-8", "maxBatchSize": 200, "sobjects": listed})

    def object(self, request: Request, _body: bytes) -> Response:
        entity = self._table(request).entity
        return answer({"objectDescribe": entity.describe_shortly(request.path_params["version"]), "recentItems": []})

    def describe(self, request: Request, _body: bytes) -> Response:
        table = self._table(request)
        shown = [item.describe() for item in table.visible().values()]
        return answer(table.entity.describe_shortly(request.path_params["version"]) | {"fields": shown})

    def limits(self, _request: Request, _body: bytes) -> Response:
        jobs = 10_000
        return answer(
            {
                "DailyApiRequests": {"Max": self.org.budget, "Remaining": max(0, self.org.budget - self.org.used)},
                "DailyBulkApiBatches": {"Max": 15_000, "Remaining": 15_000},
                "DailyBulkV2QueryJobs": {"Max": jobs, "Remaining": jobs - self.org.bulk_jobs_used},
                "DailyBulkV2QueryFileStorageMB": {"Max": 976_562, "Remaining": 976_562},
            }
        )

    # Records ---------------------------------------------------------------------------------------------------------

    def query(self, request: Request, _body: bytes) -> Response:
        everything = "/queryAll" in request.url.path
        found = ask(self.org, request.query_params.get("q", ""), everything=everything)
        size = page_size(request.headers.get("sforce-query-options", ""))
        version = request.path_params["version"]
        return _page(request, self.cursors.first_page(found, session_of(request), size, version, self._now()))

    def more(self, request: Request, _body: bytes) -> Response:
        locator, version = request.path_params["locator"], request.path_params["version"]
        return _page(request, self.cursors.later_page(locator, session_of(request), version, self._now()))

    def record(self, request: Request, _body: bytes) -> Response:
        table, id = self._table(request), whole_id(request.path_params["id"])
        if id not in table.rows:
            raise not_found()
        if self.org.is_deleted(id):
            raise Refusal("ENTITY_IS_DELETED", "entity is deleted", status=404)
        names = [name for name in request.query_params.get("fields", "").split(",") if name]
        return answer(self._shown(table.entity.name, id, names, request))

    def retrieve(self, request: Request, body: bytes) -> Response:
        """Records by their ids, in the order of the ids, null where there is none."""
        entity = self._table(request).entity.name
        if request.method == "POST":
            wanted = json_object(body)
            ids, names, most = wanted.get("ids", []), wanted.get("fields", []), 2000
        else:
            ids, names = (
                [word for word in request.query_params.get(key, "").split(",") if word] for key in ("ids", "fields")
            )
            most = 800
        if not ids or not names or len(ids) > most:
            raise Refusal("INVALID_INPUT", f"ids and fields are needed, and at most {most} ids")
        found = [self._shown(entity, whole_id(id), names, request) for id in ids]
        call_of(request).rows_given = sum(record is not None for record in found)
        return answer(found)

    def deleted(self, request: Request, _body: bytes) -> Response:
        table = self._table(request)
        start, end = self._period(request)
        found = [
            {"id": id, "deletedDate": moment(at)}
            for id, at in self.org.deletions(table.entity.name)
            if start <= at < end
        ]
        call_of(request).rows_given = len(found)
        return answer(
            {
                "deletedRecords": found,
                "earliestDateAvailable": moment(self._now() - REMEMBERS_DELETIONS),
                "latestDateCovered": moment(min(end, self._now())),
            }
        )

    def updated(self, request: Request, _body: bytes) -> Response:
        table = self._table(request)
        start, end = self._period(request)
        ids = table.reader(table.fields["Id"])
        found = [id for row in table.by_stamp(start, end - 1) if not self.org.is_deleted(id := ids(row))]
        return answer({"ids": found, "latestDateCovered": moment(min(end, self._now()))})

    def _shown(self, entity: str, id: str, names: list[str], request: Request) -> dict[str, Any] | None:
        table = self.org.table(entity)
        visible = table.visible()
        for name in names:
            if name.lower() not in visible:
                raise no_such_column(name, entity)
        if id not in table.rows or self.org.is_deleted(id):
            return None
        fields = [visible[name.lower()] for name in names] if names else list(visible.values())
        url = f"/services/data/v{request.path_params['version']}/sobjects/{entity}/{id}"
        values = {item.name: table.shown(item)(table.rows[id]) for item in fields}
        return {"attributes": {"type": entity, "url": url}} | values | {"Id": id}

    def _period(self, request: Request) -> tuple[int, int]:
        """The two moments of getDeleted and getUpdated, which look back thirty days at most."""
        try:
            # A plus sign that was not encoded has become a space on the way.
            start, end = (seconds(request.query_params[key].replace(" ", "+")) for key in ("start", "end"))
        except (KeyError, ValueError) as error:
            raise Refusal("INVALID_REPLICATION_DATE", "start and end must be moments") from error
        if start < self._now() - REMEMBERS_DELETIONS:
            raise Refusal("INVALID_REPLICATION_DATE", "start date more than 30 days ago")
        if end < start + 60:
            raise Refusal("INVALID_REPLICATION_DATE", "endDate must be at least one minute greater than startDate")
        return start, end

    # -----------------------------------------------------------------------------------------------------------------

    def _open(self, path: str, handler: Handler, *methods: str) -> Route:
        """A door that needs no session and costs no call of the budget."""

        async def endpoint(request: Request) -> Response:
            body = await request.body()
            with self.org.lock:
                return handler(request, body)

        return Route(path, endpoint, methods=list(methods))

    def _data(self, path: str, handler: Handler, *methods: str) -> Route:
        async def endpoint(request: Request) -> Response:
            body = await request.body()
            with self.org.lock:
                try:
                    self._admit(request)
                    told = handler(request, body)
                except Refusal as refusal:
                    call_of(request).error = refusal.code
                    told = answer(refusal.as_answer(), refusal.status)
                told.headers["Sforce-Limit-Info"] = f"api-usage={self.org.used}/{self.org.budget}"
            return told

        return Route(path, endpoint, methods=list(methods))

    def _admit(self, request: Request) -> None:
        if session_of(request) not in self.org.identity.sessions:
            raise Refusal("INVALID_SESSION_ID", "Session expired or invalid", status=401)
        if request.path_params.get("version", VERSIONS[0]) not in VERSIONS:
            raise not_found()
        if self.org.used >= self.org.budget:
            raise Refusal("REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded.", status=403)
        self.org.used += 1

    def _table(self, request: Request) -> Table:
        try:
            return self.org.table(request.path_params["entity"])
        except Refusal as refusal:
            raise not_found() from refusal

    def _now(self) -> int:
        return int(self.org.now.timestamp())


def _page(request: Request, page: dict[str, Any]) -> Response:
    call_of(request).rows_given = len(page["records"])
    return answer(page)
