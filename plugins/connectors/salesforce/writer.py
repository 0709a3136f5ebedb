"""Writes fields of records that exist: by sObject Collections, or by one Bulk job where there are many.

What a row was refused for decides what to do next, and Salesforce says it in a code.
"""

import csv
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping, Sequence
from functools import partial
from io import StringIO
from typing import Any

from connectors.contract import Change, Fatal, Outcome, Receipt, Retry, Shown, Target
from connectors.http import Clock, Refused
from connectors.salesforce import jobs
from connectors.salesforce.api import MOST_RECORDS_PER_RETRIEVAL, MOST_RECORDS_PER_UPDATE, Api
from connectors.salesforce.config import SalesforceConfig
from connectors.salesforce.streams import OBJECTS
from connectors.salesforce.vendor import BulkPage

# Above so many a Bulk job costs fewer calls, and at most so many fit into one job whatever their values.
BULK_ABOVE, MOST_RECORDS_PER_JOB = 10_000, 150_000
STREAMS_OF = {"accounts": ("accounts",), "people": ("contacts", "leads"), "opportunities": ("opportunities",)}
VERSION, CHANGED_BY = "SystemModstamp", "LastModifiedById"
SET_TO_NULL = "#N/A"

_KINDS: Mapping[str, Any] = {
    **dict.fromkeys(("double", "currency", "percent", "int", "long"), "number"),
    **dict.fromkeys(("string", "textarea"), "text"),
    **dict.fromkeys(("picklist", "combobox"), "list"),
    "datetime": "moment",
    "date": "day",
}

# by what the code is or begins with; what is not here is about the values of this one record
_OUTCOMES: Mapping[str, Outcome] = {
    "UNABLE_TO_LOCK_ROW": "busy",
    "SERVER_UNAVAILABLE": "busy",
    "REQUEST_RUNNING_TOO_LONG": "busy",
    "ENTITY_IS_DELETED": "gone",
    "INVALID_CROSS_REFERENCE_KEY": "gone",
    "NOT_FOUND": "gone",
    "INVALID_FIELD": "forbidden",
    "INVALID_FIELD_FOR_INSERT_UPDATE": "forbidden",
    "INSUFFICIENT_FIELD_ACCESS": "forbidden",
}


class Writer:
    """Belongs to the event loop that its `api` is made in."""

    def __init__(self, api: Api, config: SalesforceConfig, clock: Clock) -> None:
        self._api = api
        self._config = config
        self._clock = clock
        self._described: dict[str, dict[str, Any]] = {}

    def streams(self, entity: str) -> Sequence[str]:
        return STREAMS_OF[entity]

    async def targets(self, stream: str, fields: Collection[str]) -> dict[str, Target]:
        there = await self._fields(stream)
        return {name: target_of(there[name]) for name in fields if name in there}

    def at_once(self, count: int) -> int:
        """Up to the size of a call, so that the look before it is as fresh as it can be; or of a job."""
        return MOST_RECORDS_PER_UPDATE if count <= BULK_ABOVE else MOST_RECORDS_PER_JOB

    async def shown(self, stream: str, fields: Sequence[str], record_ids: Sequence[str]) -> AsyncIterator[Shown]:
        there = await self._fields(stream)
        asked = [name for name in (*fields, VERSION, CHANGED_BY) if name in there]
        for start in range(0, len(record_ids), MOST_RECORDS_PER_RETRIEVAL):
            ids = record_ids[start : start + MOST_RECORDS_PER_RETRIEVAL]
            try:
                rows = await self._api.retrieve(OBJECTS[stream], ids, asked)
            except Retry:
                # perhaps because a field has just gone
                self._described.pop(stream, None)
                raise
            for row in rows:
                if row is not None:
                    values = {name: row.get(name) for name in fields}
                    yield Shown(str(row["Id"]), values, str(row[VERSION]), row.get(CHANGED_BY))

    async def write(self, stream: str, changes: list[Change], ticket: Callable[[str], None]) -> AsyncIterator[Receipt]:
        if len(changes) > BULK_ABOVE:
            async for receipt in self._by_job(OBJECTS[stream], changes, ticket):
                yield receipt
            return
        for start in range(0, len(changes), MOST_RECORDS_PER_UPDATE):
            some = changes[start : start + MOST_RECORDS_PER_UPDATE]
            told = await self._api.update(
                [{"attributes": {"type": OBJECTS[stream]}, "id": each.record_id, **each.values} for each in some]
            )
            if len(told) != len(some):
                raise Retry(f"Salesforce answered for {len(told)} of {len(some)} records.")
            for change, result in zip(some, told, strict=True):
                yield receipt_of(change.record_id, result)

    async def end_of(self, ticket: str) -> None:
        """One that was never filled is ended; of one that Salesforce has forgotten nothing goes on."""
        try:
            told = await self._api.update_job(ticket)
            if told.get("state") == "Open":
                await self._api.set_update_job(ticket, "Aborted")
            else:
                await self._ended(ticket)
        except Refused as refused:
            if refused.status != 404:
                raise

    async def _fields(self, stream: str) -> dict[str, Any]:
        """What describe shows of the object, by name; asked once."""
        if stream not in self._described:
            entity = OBJECTS[stream]
            try:
                told = await self._api.describe(entity)
            except Refused as refused:
                if refused.status != 404:
                    raise
                raise Fatal(
                    f"Salesforce does not show {entity} to this user. Give the user Read and Edit on {entity} (profile"
                    " or permission set), or disable its writeback."
                ) from None
            self._described[stream] = {str(each["name"]): each for each in told.get("fields", ())}
        return self._described[stream]

    # ── in bulk ──

    async def _by_job(
        self, entity: str, changes: list[Change], ticket: Callable[[str], None]
    ) -> AsyncIterator[Receipt]:
        job = str((await self._api.create_update_job(entity))["id"])
        ticket(job)
        ids = [change.record_id for change in changes]
        table = table_of(changes)
        # a hundred thousand of them weigh more than their table, and the table says it all
        changes.clear()
        await self._api.upload(job, table)
        del table
        await self._begin(job)
        ended = await self._ended(job)
        if ended["state"] != "JobComplete":
            raise Retry(f"Salesforce ended the bulk job for {entity} ({ended['state']}): {jobs.reason(ended)}.")
        processed, failed = (int(ended.get(f"numberRecords{what}", -1)) for what in ("Processed", "Failed"))
        refused = list(_refusals(await self._api.refused_rows(job))) if failed else []
        if processed != len(ids) or failed != len(refused):
            raise Retry(f"Salesforce's bulk job {job} does not account for all of its {len(ids):,} records.")
        for receipt in refused:
            yield receipt
        names = {receipt.record_id for receipt in refused}
        for record_id in ids:
            if record_id not in names:
                yield Receipt(record_id, "written")

    async def _begin(self, job: str) -> None:
        try:
            await self._api.set_update_job(job, "UploadComplete")
        except Refused as refused:
            # it was told twice, because the first answer was lost
            if refused.code != "INVALIDJOBSTATE":
                raise

    async def _ended(self, job: str) -> jobs.Told:
        told = await jobs.ended(partial(self._api.update_job, job), self._config, self._clock)
        if told is None:
            raise Retry(
                f"Salesforce's bulk job {job} is not done after {self._config.bulk_minutes:g} minutes. It goes on"
                " there, and the next run looks at what it wrote."
            )
        return told


def target_of(field: Mapping[str, Any]) -> Target:
    kind = _KINDS.get(str(field.get("type")), "other")
    scale = 0 if field.get("type") in ("int", "long") else int(field.get("scale") or 0)
    return Target(
        kind,
        length=int(field.get("length") or 0) or None if kind in ("text", "list") else None,
        scale=scale if kind == "number" else None,
        values=[str(each["value"]) for each in field.get("picklistValues") or () if each.get("active")]
        if kind == "list"
        else (),
        refusal=_refusal(field),
    )


def _refusal(field: Mapping[str, Any]) -> str:
    if field.get("calculated"):
        return "is a formula, which Salesforce fills itself: make a field of its own for the score"
    if not field.get("updateable"):
        return (
            "may not be written by this user: give it Edit on the field (Setup, Object Manager, Fields, Set Field-Level"
            " Security, or a permission set)"
        )
    return ""


def receipt_of(record_id: str, result: Mapping[str, Any]) -> Receipt:
    if result.get("success"):
        return Receipt(record_id, "written")
    first: Mapping[str, Any] = next(iter(result.get("errors") or ()), {})
    code = str(first.get("statusCode") or "UNKNOWN")
    return _refused(record_id, code, str(first.get("message") or ""), [str(name) for name in first.get("fields") or ()])


def table_of(changes: Sequence[Change]) -> str:
    """An empty cell leaves the field as it is, so records with other fields fit into the same table."""
    names = sorted({name for change in changes for name in change.values})
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["Id", *names])
    for change in changes:
        writer.writerow([change.record_id, *(_cell(change.values, name) for name in names)])
    return text.getvalue()


def _cell(values: Mapping[str, Any], name: str) -> Any:
    if name not in values:
        return ""
    return SET_TO_NULL if values[name] is None else values[name]


def _refusals(told: BulkPage) -> Iterator[Receipt]:
    """`sf__Error` reads CODE:sentence:FIELD FIELD--."""
    place = {name: position for position, name in enumerate(told.header)}
    for row in told.rows:
        code, _, rest = row[place["sf__Error"]].partition(":")
        message, _, fields = rest.removesuffix("--").rpartition(":")
        yield _refused(row[place["Id"]], code, message or rest, fields.split())


def _refused(record_id: str, code: str, message: str, fields: Sequence[str]) -> Receipt:
    outcome = _OUTCOMES.get(code, "rejected")
    if outcome == "forbidden" and not fields:
        outcome = "rejected"
    return Receipt(record_id, outcome, code, " ".join(message.split())[:500], fields)
