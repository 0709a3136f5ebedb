"""Reads one stream: what changed since last time, everything when that alone would not be true.

Everything is read the first time, when fields have come, every `full_every_days` (formulas and roll-ups change without
moving a stamp), and after a gap that Salesforce's memory of deletions does not bridge.
"""

from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Self
from urllib.parse import quote_plus

from connectors.contract import ConnectorError, Fatal, Page, Record, Rejected, Retry, State
from connectors.http import Clock, Refused, RepeatGuard
from connectors.salesforce import jobs
from connectors.salesforce.api import Api
from connectors.salesforce.config import SalesforceConfig
from connectors.salesforce.fields import Fields, fields_of
from connectors.salesforce.pages import outcomes_of, records_of, rows_of_texts
from connectors.salesforce.reading import Progress, Reading, select

# Salesforce refuses addresses of 16,384 bytes; a query for hundreds of custom fields comes near. A job takes any.
LONGEST_QUERY = 12_000
# How far getDeleted looks back at most, less a minute for the way there, and the least it looks at.
DELETIONS_ARE_KNOWN = timedelta(days=30) - timedelta(minutes=1)
SHORTEST_LOOK = timedelta(minutes=2)
# The gap is too long, or too much was deleted in it.
NOT_REMEMBERED = ("INVALID_REPLICATION_DATE", "EXCEEDED_ID_LIMIT")
IDS_PER_QUERY = 200
JOBS_PER_READING = 3
# What Salesforce says of a job, or a place in its result, that it has forgotten.
FORGOTTEN = ("INVALIDJOB", "INVALID_LOCATOR", "INVALID_QUERY_LOCATOR")


class Reader:
    """`progress` is what the state of the next page tells."""

    def __init__(self, api: Api, fields: Fields, progress: Progress, config: SalesforceConfig, clock: Clock) -> None:
        self.api = api
        self.fields = fields
        self.progress = progress
        self.config = config
        self.clock = clock
        self._notes: list[str] = []  # for the next page

    @classmethod
    async def of(cls, api: Api, entity: str, state: State | None, config: SalesforceConfig, clock: Clock) -> Self:
        progress = Progress.of(state)
        try:
            fields = fields_of(entity, await api.describe(entity))
        except Refused as refused:
            if refused.status != 404:
                raise
            raise Fatal(
                f"Salesforce does not show {entity} to this user. Give the user Read on {entity} (profile or"
                " permission set), or leave its stream out."
            ) from None
        return cls(api, fields, progress, config, clock)

    async def pages(self) -> AsyncIterator[Page]:
        self._notes += self.fields.notes(self.progress.fields)
        async for page in self._all_pages():
            notes, self._notes = self._notes, []
            yield replace(page, notes=notes)

    async def _all_pages(self) -> AsyncIterator[Page]:
        if self.progress.reading is not None:
            # What a killed sync left is brought to its end first, from where its last page stood.
            async for page in self._rest_of(self.progress.reading):
                yield page
        reading = self._next()
        self.progress = replace(self.progress, fields=tuple(self.fields.names))
        async for page in self._rest_of(reading):
            yield page
        if self.progress.whole_at is None:
            async for page in self._rest_of(self._next()):
                yield page

    # ── what to read ──

    def _next(self) -> Reading:
        now = self._now()
        upto = now - timedelta(seconds=self.config.lag_seconds)
        known, entity = self.progress, self.fields.entity
        if known.read_upto is None:
            return Reading(upto, whole=True)
        upto = max(upto, known.read_upto)
        if known.fields and (gained := self.fields.gained_since(known.fields)):
            self._notes.append(f"{entity} has the new fields {', '.join(gained[:10])}: everything is read once")
        elif known.whole_at is not None and now - known.whole_at < timedelta(days=self.config.full_every_days):
            return Reading(upto, since=known.read_upto - self.config.overlap)
        elif known.whole_at is not None:
            self._notes.append(
                f"{entity} is read whole, as every {self.config.full_every_days:g} days: formulas and roll-ups change"
                " without a trace"
            )
        return Reading(upto, whole=True)

    def _now(self) -> datetime:
        """Salesforce's clock: stamps are of its making."""
        return (self.api.vendor_now or self.clock.now()).astimezone(UTC)

    async def _gone(self) -> tuple[list[Record], bool]:
        """Records deleted since the last reading that no query finds any more; their ids are all that is known of them.
        And whether Salesforce remembers all that were deleted since.

        To be asked when everything else is read: what was in the recycle bin when the reading began, days ago if it was
        killed, may have left it before its page came.
        """
        read_upto, entity = self.progress.read_upto, self.fields.entity
        if read_upto is None or not self.fields.tells_deletions:
            return [], True
        now = self._now()
        start = max(read_upto - self.config.overlap, now - DELETIONS_ARE_KNOWN)
        try:
            told = await self.api.deleted(entity, start, max(now, start + SHORTEST_LOOK))
        except Refused as refused:
            if refused.code not in NOT_REMEMBERED:
                self._notes.append(f"{entity}: what left the recycle bin is not known, for {refused}")
                return [], True
            told = {"earliestDateAvailable": now.isoformat()}
        remembers = told.get("earliestDateAvailable")
        known_since = max(start, datetime.fromisoformat(remembers) if remembers else start)
        if known_since > read_upto:
            self._notes.append(
                f"{entity} was last read at {read_upto:%Y-%m-%d %H:%M} UTC, and Salesforce remembers deletions only"
                f" since {known_since:%Y-%m-%d %H:%M} UTC: everything is read again. What was deleted for good in"
                " between still counts as there. Sync at least every two weeks"
            )
        stamps = {str(one["id"]): str(one["deletedDate"]) for one in told.get("deletedRecords") or ()}
        found = await self._found(list(stamps))
        gone = [self._tombstone(record_id, at) for record_id, at in stamps.items() if record_id not in found]
        return gone, known_since <= read_upto

    def _tombstone(self, record_id: str, deleted_at: str) -> Record:
        payload = {"Id": record_id, "IsDeleted": True, self.fields.stamp: deleted_at}
        return Record(record_id, payload, datetime.fromisoformat(deleted_at), is_deleted=True)

    async def _found(self, ids: Sequence[str]) -> set[str]:
        """Those of the ids that a query finds, in the recycle bin or out of it."""
        found: set[str] = set()
        for start in range(0, len(ids), IDS_PER_QUERY):
            among = ", ".join(f"'{record_id}'" for record_id in ids[start : start + IDS_PER_QUERY])
            told = await self.api.query(select("Id", self.fields.entity, f"Id IN ({among})"))
            found.update(str(row["Id"]) for row in told["records"])
        return found

    # ── reading it ──

    async def _rest_of(self, reading: Reading) -> AsyncIterator[Page]:
        """The way that suits its size; a reading that a job was made for goes on with the job."""
        self.progress = replace(self.progress, reading=reading)
        if reading.job is None and await self._suits_rest(reading):
            try:
                async for page in self._by_rest(reading):
                    yield page
                return
            except Refused as refused:
                if refused.code != "QUERY_TIMEOUT":
                    raise
                # A job has all the time that a query has not. It starts where the last page stood.
                reading = self.progress.reading or reading
        async for page in self._by_bulk(reading):
            yield page

    async def _suits_rest(self, reading: Reading) -> bool:
        if len(quote_plus(reading.page_query(self.fields, self.config.page_size))) > LONGEST_QUERY:
            return False
        try:
            counted = await self.api.query(reading.count_query(self.fields))
        except Refused as refused:
            if refused.code != "QUERY_TIMEOUT":
                raise
            return False
        return int(counted["totalSize"]) <= self.config.bulk_above

    async def _by_rest(self, reading: Reading) -> AsyncIterator[Page]:
        guard = RepeatGuard(f"Reading {self.fields.entity}")
        size = self.config.page_size
        while True:
            told = await self.api.query(reading.page_query(self.fields, size))
            rows = told["records"]
            records, rejected = _read(rows, self.fields.stamp)
            # A page's rows may come in any order and more than once; behind it is what follows its greatest key.
            keys = [(record.source_updated_at, record.id) for record in records if record.source_updated_at is not None]
            after = reading.after
            new = (
                records if after is None else [record for record, key in zip(records, keys, strict=True) if key > after]
            )
            reading = replace(
                reading,
                after=max(keys if after is None else [after, *keys], default=None),
                live=reading.live + _live(new),
            )
            if told["done"] and len(rows) < size:
                async for page in self._last_pages(reading, records, rejected):
                    yield page
                return
            guard.follow(reading.after)
            yield self._page(reading, records, rejected)

    async def _by_bulk(self, reading: Reading) -> AsyncIterator[Page]:
        entity = self.fields.entity
        for _ in range(JOBS_PER_READING):
            if reading.job is None:
                # No order is asked for: it would keep Salesforce from working on parts of the object side by side.
                job = await self.api.create_query_job(reading.query(self.fields))
                reading = replace(reading, job=str(job["id"]), locator=None)
                yield self._page(reading)
            try:
                async for page in self._of_job(reading):
                    yield page
                return
            except _JobEnded as ended:
                # The next sync makes a job of its own instead of asking after this one.
                yield self._page(reading.from_its_start())
                raise Retry(str(ended)) from None
            except Refused as refused:
                if refused.status != 404 and refused.code not in FORGOTTEN:
                    raise
                reading = reading.from_its_start()
                self._notes.append(
                    f"the bulk job for {entity} is gone from Salesforce: another one reads its part from the start"
                )
        raise Retry(f"Salesforce loses the bulk jobs for {entity} again and again. Run the sync later.")

    async def _of_job(self, reading: Reading) -> AsyncIterator[Page]:
        job = str(reading.job)
        await self._finished(job)
        guard = RepeatGuard(f"Reading {self.fields.entity} in bulk")
        guard.follow(reading.locator)
        while True:
            part = await self.api.query_job_page(job, reading.locator, self.config.bulk_page_size)
            rows = rows_of_texts(part.header, part.rows, self.fields.types)
            records, rejected = _read(rows, self.fields.stamp)
            reading = replace(reading, locator=part.locator, live=reading.live + _live(records))
            if part.locator is None:
                async for page in self._last_pages(reading, records, rejected):
                    yield page
                await self._forget(job)
                return
            guard.follow(part.locator)
            yield self._page(reading, records, rejected)

    async def _finished(self, job: str) -> None:
        entity = self.fields.entity
        told = await jobs.ended(partial(self.api.query_job, entity, job), self.config, self.clock)
        if told is None:
            raise Retry(
                f"The bulk job for {entity} is not done after {self.config.bulk_minutes:g} minutes. It goes on at"
                " Salesforce, and the next sync takes its result."
            )
        if told["state"] != "JobComplete":
            raise _JobEnded(
                f"Salesforce ended the bulk job for {entity} ({told['state']}): {jobs.reason(told)}. Nothing is lost,"
                " the next attempt makes a new job. If it fails each time, ask Salesforce's support with this sentence."
            )

    async def _forget(self, job: str) -> None:
        """Its result takes up room in the org; if it cannot be removed, Salesforce does so in a week."""
        try:
            await self.api.delete_query_job(job)
        except ConnectorError:
            return

    # ── pages ──

    def _page(self, reading: Reading, records: Sequence[Record] = (), rejected: Sequence[Rejected] = ()) -> Page:
        self.progress = replace(self.progress, reading=reading)
        return Page(records, self.progress.state(), rejected)

    async def _last_pages(
        self, reading: Reading, records: Sequence[Record], rejected: Sequence[Rejected]
    ) -> AsyncIterator[Page]:
        gone, is_remembered = await self._gone()
        if gone:
            # The state stays before the last page, which would come again.
            state = self.progress.state()
            for start in range(0, len(gone), self.config.page_size):
                yield Page(gone[start : start + self.config.page_size], state)
        self.progress = self.progress.through(reading)
        if not is_remembered and not reading.whole:
            self.progress = replace(self.progress, whole_at=None)
        yield Page(records, self.progress.state(), rejected, completes=reading.live if reading.whole else None)


class _JobEnded(Exception):
    pass


def _read(rows: Sequence[dict[str, Any]], stamp: str) -> tuple[list[Record], list[Rejected]]:
    try:
        return records_of(rows, stamp), []
    except (AttributeError, KeyError, TypeError, ValueError):
        return outcomes_of(rows, stamp)


def _live(records: Iterable[Record]) -> int:
    return len({record.id for record in records if not record.is_deleted})
