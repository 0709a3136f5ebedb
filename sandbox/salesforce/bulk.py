"""Bulk 2.0: jobs that are ordered, waited for, and read or fed as CSV."""

import csv
import io
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from sandbox.salesforce.answers import answer, call_of, json_object
from sandbox.salesforce.log import Write
from sandbox.salesforce.org import Org
from sandbox.salesforce.query import Answer, ask
from sandbox.salesforce.refusals import Refusal, not_found
from sandbox.salesforce.schema import Field
from sandbox.salesforce.soql import Reader
from sandbox.salesforce.tables import DAY, new_id
from sandbox.salesforce.writes import Saved, Writes

LIVES = 7 * DAY
ROWS_PER_PAGE = 50_000
DELIMITERS = {"COMMA": ",", "TAB": "\t", "PIPE": "|", "SEMICOLON": ";", "CARET": "^", "BACKQUOTE": "`"}
LINE_ENDS = {"LF": "\n", "CRLF": "\r\n"}
OPERATIONS = ("insert", "update", "upsert", "delete", "hardDelete")
SET_TO_NULL = "#N/A"


@dataclass(slots=True)
class Job:
    id: str
    operation: str
    entity: str
    created: int
    state: str
    delimiter: str = "COMMA"
    line_end: str = "LF"
    key: str = ""
    polls: int = 0
    error: str = ""
    query: str = ""
    answer: Answer | None = None
    uploaded: str = ""
    header: list[str] = field(default_factory=list)
    done: list[tuple[Saved, list[str]]] = field(default_factory=list)
    failed: list[tuple[Refusal, str, list[str]]] = field(default_factory=list)

    @property
    def is_query(self) -> bool:
        return self.operation in ("query", "queryAll")


@dataclass(slots=True)
class Bulk:
    """`polls`: how often a job is seen in progress before it is done. `failures`: errors that the next jobs die of."""

    org: Org
    writes: Writes
    polls: int = 1
    rows_per_page: int = ROWS_PER_PAGE
    failures: list[str] = field(default_factory=list)
    jobs: dict[str, Job] = field(default_factory=dict)
    created: int = 0

    def doors(self) -> list[tuple[Any, ...]]:
        return [
            ("/query", self.create_query, "POST"),
            ("/query", self.list_queries, "GET"),
            ("/query/{id}", self.see, "GET"),
            ("/query/{id}", self.change, "PATCH"),
            ("/query/{id}", self.forget, "DELETE"),
            ("/query/{id}/results", self.results, "GET"),
            ("/ingest", self.create_ingest, "POST"),
            ("/ingest", self.list_ingests, "GET"),
            ("/ingest/{id}", self.see, "GET"),
            ("/ingest/{id}", self.change, "PATCH"),
            ("/ingest/{id}", self.forget, "DELETE"),
            ("/ingest/{id}/batches", self.upload, "PUT"),
            ("/ingest/{id}/successfulResults", self.successful, "GET"),
            ("/ingest/{id}/failedResults", self.failed_rows, "GET"),
            ("/ingest/{id}/unprocessedrecords", self.unprocessed, "GET"),
            ("/ingest/{id}/unprocessedRecords", self.unprocessed, "GET"),
        ]

    # Query jobs ------------------------------------------------------------------------------------------------------

    def create_query(self, request: Request, body: bytes) -> Response:
        """A wrong query is refused at once; the rows are those of the moment when the job is done."""
        order = json_object(body)
        operation, text = order.get("operation"), order.get("query")
        if operation not in ("query", "queryAll") or not isinstance(text, str):
            raise Refusal("INVALIDJOB", "a query job needs an operation, query or queryAll, and a query")
        found = self._ask(text, operation)
        job = self._new_job(order, operation, found.entity, "UploadComplete")
        job.query = text
        call_of(request).about = text
        self.org.bulk_jobs_used += 1
        return answer(self._told(job, request))

    def results(self, request: Request, _body: bytes) -> Response:
        job = self._job(request)
        if job.state != "JobComplete" or job.answer is None:
            raise not_found()
        start = self._place(request.query_params.get("locator", ""), job)
        wanted = request.query_params.get("maxRecords", "")
        if wanted and (not wanted.isdecimal() or int(wanted) == 0):
            raise Refusal("INVALID_VALUE", "maxRecords must be a positive number")
        end = start + min(self.rows_per_page, int(wanted or ROWS_PER_PAGE))
        rows = job.answer.rows[start:end]
        names = [item.name for item, _ in job.answer.columns]
        readers = [_csv_reader(item, read) for item, read in job.answer.columns]
        text = _csv(job, names, ([read(row) for read in readers] for row in rows))
        call_of(request).rows_given = len(rows)
        told = Response(text, media_type="text/csv;charset=UTF-8")
        told.headers["Sforce-NumberOfRecords"] = str(len(rows))
        told.headers["Sforce-Locator"] = "null" if end >= len(job.answer.rows) else f"MT{end:08}"
        return told

    def list_queries(self, request: Request, _body: bytes) -> Response:
        return self._list(request, queries=True)

    def _ask(self, text: str, operation: str) -> Answer:
        found = ask(self.org, text, everything=operation == "queryAll")
        if not found.columns:
            raise Refusal("FUNCTIONALITY_NOT_ENABLED", "Aggregate Relationships not supported in Bulk Query")
        if any(item.is_compound for item, _ in found.columns):
            raise Refusal("FUNCTIONALITY_NOT_ENABLED", "Selecting compound data not supported in Bulk Query")
        return found

    @staticmethod
    def _place(locator: str, job: Job) -> int:
        if not locator:
            return 0
        place = locator.removeprefix("MT")
        if not place.isdecimal() or job.answer is None or int(place) > len(job.answer.rows):
            raise Refusal("INVALID_LOCATOR", "the locator is not one of this job's")
        return int(place)

    # Ingest jobs -----------------------------------------------------------------------------------------------------

    def create_ingest(self, request: Request, body: bytes) -> Response:
        order = json_object(body)
        operation = order.get("operation")
        if operation not in OPERATIONS:
            raise Refusal("INVALIDJOB", f"operation must be one of {', '.join(OPERATIONS)}")
        entity = self.org.table(str(order.get("object", ""))).entity.name
        if operation == "upsert" and not order.get("externalIdFieldName"):
            raise Refusal("INVALIDJOB", "externalIdFieldName is required for upsert")
        job = self._new_job(order, operation, entity, "Open")
        job.key = str(order.get("externalIdFieldName", ""))
        return answer(self._told(job, request))

    def upload(self, request: Request, body: bytes) -> Response:
        job = self._job(request)
        if job.state != "Open" or job.uploaded:
            raise Refusal("INVALIDJOBSTATE", "data can be uploaded once, while the job is open")
        job.uploaded = body.decode()
        return Response(status_code=201)

    def successful(self, request: Request, _body: bytes) -> Response:
        job = self._finished(request)
        rows = ([saved.id, str(saved.created).lower(), *row] for saved, row in job.done)
        return _file(_csv(job, ["sf__Id", "sf__Created", *job.header], rows))

    def failed_rows(self, request: Request, _body: bytes) -> Response:
        job = self._finished(request)
        rows = (
            [id, f"{refusal.code}:{refusal.message}:{' '.join(refusal.fields)}--", *row]
            for refusal, id, row in job.failed
        )
        return _file(_csv(job, ["sf__Id", "sf__Error", *job.header], rows))

    def unprocessed(self, request: Request, _body: bytes) -> Response:
        """What a job that failed or was aborted never came to."""
        job = self._finished(request)
        rows = [] if job.state == "JobComplete" else _csv_rows(job)[1:]
        return _file(_csv(job, job.header or _csv_rows(job)[0], rows))

    def list_ingests(self, request: Request, _body: bytes) -> Response:
        return self._list(request, queries=False)

    def _ingest(self, job: Job, log: list[Write]) -> None:
        job.header, *rows = _csv_rows(job)
        for row in rows:
            values = dict(zip(job.header, row, strict=False))
            id = next((value for name, value in values.items() if name.lower() == "id"), "")
            # An empty cell leaves the field as it is; null has a word of its own.
            fields = {
                name: None if value == SET_TO_NULL else value
                for name, value in values.items()
                if value != "" and name.lower() != "id"
            }
            try:
                job.done.append((self._save(job, id, fields, log), row))
            except Refusal as refusal:
                job.failed.append((refusal, id, row))

    def _save(self, job: Job, id: str, fields: dict[str, Any], log: list[Write]) -> Saved:
        match job.operation:
            case "insert":
                return self.writes.create(job.entity, fields, log)
            case "update":
                return self.writes.update(job.entity, id, fields, log)
            case "upsert":
                return self.writes.upsert(job.entity, job.key, fields | ({"Id": id} if id else {}), log)
        return self.writes.delete(job.entity, id, log, hard=job.operation == "hardDelete")

    # Both ------------------------------------------------------------------------------------------------------------

    def see(self, request: Request, _body: bytes) -> Response:
        job = self._job(request)
        if job.state == "UploadComplete":
            job.state = "InProgress"
        if job.state == "InProgress":
            job.polls += 1
            if job.polls > self.polls:
                self._finish(job, call_of(request).writes)
        return answer(self._told(job, request))

    def change(self, request: Request, body: bytes) -> Response:
        job, state = self._job(request), json_object(body).get("state")
        if state == "Aborted" and job.state not in ("JobComplete", "Failed"):
            job.state = "Aborted"
        elif state == "UploadComplete" and not job.is_query and job.state == "Open":
            job.state = "UploadComplete"
        else:
            raise Refusal("INVALIDJOBSTATE", f"a job that is {job.state} cannot become {state}")
        return answer(self._told(job, request))

    def forget(self, request: Request, _body: bytes) -> Response:
        job = self._job(request)
        if job.state in ("UploadComplete", "InProgress"):
            raise Refusal("INVALIDJOBSTATE", f"a job that is {job.state} cannot be deleted")
        del self.jobs[job.id]
        return Response(status_code=204)

    def _finish(self, job: Job, log: list[Write]) -> None:
        if self.failures:
            job.state, job.error = "Failed", self.failures.pop(0)
            return
        if job.is_query:
            job.answer = self._ask(job.query, job.operation)
        else:
            self._ingest(job, log)
        job.state = "JobComplete"

    def _new_job(self, order: dict[str, Any], operation: str, entity: str, state: str) -> Job:
        delimiter, line_end = order.get("columnDelimiter") or "COMMA", order.get("lineEnding") or "LF"
        if delimiter not in DELIMITERS or line_end not in LINE_ENDS:
            raise Refusal("INVALIDJOB", "columnDelimiter or lineEnding is not known")
        self.created += 1
        id = new_id("750", self.created)
        self.jobs[id] = Job(id, operation, entity, int(self.org.now.timestamp()), state, delimiter, line_end)
        return self.jobs[id]

    def _job(self, request: Request) -> Job:
        job = self.jobs.get(request.path_params["id"])
        if job is None or job.created + LIVES <= self.org.now.timestamp():
            raise not_found()
        if job.is_query != ("/jobs/query" in request.url.path):
            raise not_found()
        return job

    def _finished(self, request: Request) -> Job:
        job = self._job(request)
        if job.state not in ("JobComplete", "Failed", "Aborted"):
            raise Refusal("INVALIDJOBSTATE", f"a job that is {job.state} has no results")
        return job

    def _list(self, request: Request, *, queries: bool) -> Response:
        records = [self._told(job, request) for job in self.jobs.values() if job.is_query == queries]
        return answer({"done": True, "nextRecordsUrl": None, "records": records})

    def _told(self, job: Job, request: Request) -> dict[str, Any]:
        version = request.path_params["version"]
        told: dict[str, Any] = {
            "id": job.id,
            "operation": job.operation,
            "object": job.entity,
            "createdById": self.org.identity.user_id,
            "createdDate": _moment(job.created),
            "systemModstamp": _moment(job.created),
            "state": job.state,
            "concurrencyMode": "Parallel",
            "contentType": "CSV",
            "apiVersion": float(version),
            "jobType": "V2Query" if job.is_query else "V2Ingest",
            "lineEnding": job.line_end,
            "columnDelimiter": job.delimiter,
        }
        if job.error:
            told["errorMessage"] = job.error
        if not job.is_query and job.state == "Open":
            told["contentUrl"] = f"services/data/v{version}/jobs/ingest/{job.id}/batches"
        if job.is_query and job.answer is not None:
            told |= {"numberRecordsProcessed": len(job.answer.rows), "totalProcessingTime": 100, "retries": 0}
        if not job.is_query and job.state == "JobComplete":
            counts = {"numberRecordsProcessed": len(job.done) + len(job.failed), "numberRecordsFailed": len(job.failed)}
            told |= counts | {"totalProcessingTime": 100}
        return told


def _csv(job: Job, header: list[str], rows: Iterable[list[Any]]) -> str:
    """Every cell in quotes, as Salesforce writes them; nothing is an empty cell."""
    buffer = io.StringIO()
    writer = csv.writer(
        buffer, delimiter=DELIMITERS[job.delimiter], lineterminator=LINE_ENDS[job.line_end], quoting=csv.QUOTE_ALL
    )
    writer.writerow(header)
    writer.writerows(rows)
    return buffer.getvalue()


def _csv_rows(job: Job) -> list[list[str]]:
    return list(csv.reader(io.StringIO(job.uploaded, newline=""), delimiter=DELIMITERS[job.delimiter])) or [[]]


def _csv_reader(item: Field, read: Reader) -> Reader:
    """Bulk writes moments with a Z where REST writes +0000, and everything as text."""
    match item.type:
        case "datetime":
            return lambda row: "" if (value := read(row)) is None else _moment(value)
        case "boolean":
            return lambda row: str(read(row)).lower()
    return lambda row: "" if (value := read(row)) is None else value


def _moment(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")


def _file(text: str) -> Response:
    return Response(text, media_type="text/csv;charset=UTF-8")
