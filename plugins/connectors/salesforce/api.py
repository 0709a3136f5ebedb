"""Salesforce's API through simple-salesforce, whose every request goes out by the HTTP core.

simple-salesforce knows the paths and the forms; it blocks, so it runs in threads. Its session has one adapter, which
hands each request to the core on the event loop. So time-outs, retries, budget and the refresh of a session are the
core's, once, and the token never passes through a library.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from datetime import datetime
from functools import partial
from io import BytesIO
from typing import Any, Literal, TypeVar
from urllib.parse import urlsplit

import orjson
import requests
from requests.adapters import BaseAdapter
from requests.structures import CaseInsensitiveDict
from simple_salesforce.api import Salesforce
from simple_salesforce.bulk2 import Operation, SFBulk2Handler

from connectors.contract import Retry
from connectors.http import Answer, Http
from connectors.salesforce.vendor import SALESFORCE, BulkPage

Told = TypeVar("Told")

MOST_RECORDS_PER_UPDATE = 200
MOST_RECORDS_PER_RETRIEVAL = 2_000

# The address is the login's to know, and pretty-printing costs a third more to send and to read.
_NOT_PASSED_ON = frozenset(
    {"authorization", "host", "content-length", "connection", "accept-encoding", "user-agent", "x-prettyprint"}
)


class Api:
    """Belongs to the event loop that it is made in. What it raises is one of the contract's errors."""

    def __init__(self, http: Http, version: str) -> None:
        self._http = http
        self._threads = ThreadPoolExecutor(SALESFORCE.concurrency, thread_name_prefix="salesforce")
        self._loop = asyncio.get_running_loop()
        session = requests.Session()
        session.trust_env = False
        self._adapter = _ThroughTheCore(http, self._loop)
        session.mount("https://", self._adapter)
        self._salesforce = _Salesforce(
            session_id="held by the HTTP core",
            instance_url="https://instance.invalid",
            version=version,
            session=session,
        )
        self._jobs = SFBulk2Handler("held by the HTTP core", self._salesforce.bulk2_url, session=session)

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    @property
    def vendor_now(self) -> datetime | None:
        """Salesforce's clock at its latest answer: ours may go wrong, and stamps are of theirs."""
        return self._adapter.vendor_now

    async def objects(self) -> list[dict[str, Any]]:
        """All objects that the user can see, in short."""
        told = await self._call("sobjects")
        return list(told["sobjects"])

    async def describe(self, entity: str) -> dict[str, Any]:
        return dict(await self._call(f"sobjects/{entity}/describe"))

    async def limits(self) -> dict[str, Any]:
        """The org's allowances by name: {"Max": ..., "Remaining": ...}."""
        return dict(await self._call("limits") or {})

    async def query(self, soql: str) -> dict[str, Any]:
        """One page, with deleted and archived records."""
        return dict(await self._in_thread(partial(self._salesforce.query, soql, include_deleted=True)))

    async def deleted(self, entity: str, start: datetime, end: datetime) -> dict[str, Any]:
        """What was deleted between two times, also what has left the recycle bin."""
        between = {"start": start.isoformat(timespec="seconds"), "end": end.isoformat(timespec="seconds")}
        return dict(await self._call(f"sobjects/{entity}/deleted/", params=between))

    async def retrieve(self, entity: str, ids: Sequence[str], fields: Sequence[str]) -> list[dict[str, Any] | None]:
        """At most 2,000 records in the order of their ids, None in the place of one that is not there any more."""
        if len(ids) > MOST_RECORDS_PER_RETRIEVAL:
            raise ValueError(f"Salesforce shows at most {MOST_RECORDS_PER_RETRIEVAL} records at once")
        body = orjson.dumps({"ids": list(ids), "fields": list(fields)})
        return list(await self._call(f"composite/sobjects/{entity}", method="POST", data=body) or [])

    async def update(self, records: Sequence[Mapping[str, Any]], *, all_or_none: bool = False) -> list[dict[str, Any]]:
        """Update at most 200 records, each with `attributes` and `id`. One result per record, in their order."""
        if len(records) > MOST_RECORDS_PER_UPDATE:
            raise ValueError(f"Salesforce updates at most {MOST_RECORDS_PER_UPDATE} records at once")
        body = orjson.dumps({"allOrNone": all_or_none, "records": [dict(record) for record in records]})
        return list(await self._call("composite/sobjects", method="PATCH", data=body) or [])

    async def create_query_job(self, soql: str) -> dict[str, Any]:
        job = {"operation": Operation.query_all, "query": soql}
        return dict(await self._call("jobs/query", method="POST", data=orjson.dumps(job)))

    async def query_job(self, entity: str, job: str) -> dict[str, Any]:
        return dict(await self._in_thread(partial(self._job(entity).get_job, job, True)))

    async def query_job_page(self, job: str, locator: str | None, most: int) -> BulkPage:
        """A part of a finished job's result."""
        place = {"locator": locator} if locator else {}
        accept = {"Accept": "text/csv"}
        told = await self._call(f"jobs/query/{job}/results", params={"maxRecords": most, **place}, headers=accept)
        if not isinstance(told, BulkPage):
            raise Retry("Salesforce's bulk result is no CSV. Run the sync again.")
        return told

    async def delete_query_job(self, job: str) -> None:
        await self._call(f"jobs/query/{job}", method="DELETE")

    async def create_update_job(self, entity: str) -> dict[str, Any]:
        job = {"operation": Operation.update, "object": entity, "contentType": "CSV", "lineEnding": "LF"}
        return dict(await self._call("jobs/ingest", method="POST", data=orjson.dumps(job)))

    async def upload(self, job: str, table: str) -> None:
        """Rows of CSV with a header, for a job that was just made."""
        # the name of the object is of no account once there is a job
        await self._in_thread(partial(self._job("any").upload_job_data, job, table))

    async def set_update_job(self, job: str, state: Literal["UploadComplete", "Aborted"]) -> None:
        await self._call(f"jobs/ingest/{job}", method="PATCH", data=orjson.dumps({"state": state}))

    async def update_job(self, job: str) -> dict[str, Any]:
        return dict(await self._call(f"jobs/ingest/{job}"))

    async def refused_rows(self, job: str) -> BulkPage:
        """The rows of a job that has ended which Salesforce did not take, with the reasons."""
        told = await self._call(f"jobs/ingest/{job}/failedResults", headers={"Accept": "text/csv"})
        # an empty answer is one without rows
        return told if isinstance(told, BulkPage) else BulkPage([], [], None)

    def _job(self, entity: str) -> Any:
        return getattr(self._jobs, entity)._client

    async def _call(
        self, path: str, method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"] = "GET", **more: Any
    ) -> Any:
        return await self._in_thread(partial(self._salesforce.restful, path, method=method, **more))

    async def _in_thread(self, call: Callable[[], Told]) -> Told:
        return await self._loop.run_in_executor(self._threads, call)


class _Response(requests.Response):
    """An answer that the core has read already."""

    def __init__(self, answer: Answer, request: requests.PreparedRequest) -> None:
        super().__init__()
        self.answer = answer
        self.status_code = answer.status
        self.headers = CaseInsensitiveDict(answer.headers)
        self.headers.pop("Content-Encoding", None)
        self.raw = BytesIO(answer.body)
        self.url = str(request.url)
        self.request = request
        self.encoding = "utf-8"


class _Salesforce(Salesforce):
    def parse_result_to_json(self, result: requests.Response) -> Any:
        if not isinstance(result, _Response):
            return super().parse_result_to_json(result)
        # an answer without a word
        return {} if result.answer.told is None else result.answer.told


class _ThroughTheCore(BaseAdapter):
    def __init__(self, http: Http, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._http = http
        self._loop = loop
        self.vendor_now: datetime | None = None

    def send(
        self,
        request: requests.PreparedRequest,
        stream: bool = False,  # noqa: ARG002 - the base class's arguments; the core has its own of all of them
        timeout: Any = None,  # noqa: ARG002
        verify: Any = True,  # noqa: ARG002
        cert: Any = None,  # noqa: ARG002
        proxies: Any = None,  # noqa: ARG002
    ) -> requests.Response:
        address = urlsplit(str(request.url))
        body = request.body
        sending = self._http.send(
            str(request.method),
            address.path + (f"?{address.query}" if address.query else ""),
            headers={name: str(value) for name, value in request.headers.items() if name.lower() not in _NOT_PASSED_ON},
            content=body.encode() if isinstance(body, str) else body,
        )
        answer = self._answer(asyncio.run_coroutine_threadsafe(sending, self._loop))
        self.vendor_now = answer.date or self.vendor_now
        return _Response(answer, request)

    def _answer(self, coming: Future[Answer]) -> Answer:
        """Not for ever: a loop that ended meanwhile answers nobody, and no process ends while a thread waits."""
        while not wait([coming], timeout=1).done:
            if self._loop.is_closed():
                raise Retry("The reading was ended while Salesforce was asked. Run the sync again.")
        return coming.result()

    def close(self) -> None:
        """The core closes its connections itself."""
