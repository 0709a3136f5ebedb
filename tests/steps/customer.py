"""A tenant with a folder of files, and a connector in its place that does what a test wants."""

import uuid
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from connectors import catalogue
from connectors.contract import Deletes, Health, Page, Record, Rejected, Renew, State, Stream
from control import connectors
from steps import extract
from tests.conftest import Tenant
from warehouse import database


class Customer:
    def __init__(self, tenant: Tenant, folder: Path) -> None:
        self.tenant, self.folder = tenant, folder
        self.told: list[str] = []
        with database.control_session(tenant.id) as control:
            connectors.add(
                control,
                tenant_id=tenant.id,
                connector_type="files",
                config={"folder": str(folder)},
                actor="system:tests",
            )

    def sync(self, *, full: bool = False, streams: Collection[str] = (), accept_fewer: bool = False) -> dict[str, Any]:
        return extract.run(
            self.tenant.slug,
            "files",
            str(uuid.uuid4()),
            full=full,
            streams=streams,
            accept_fewer=accept_fewer,
            report=self.told.append,
        )

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with database.run_session(self.tenant.id) as connection:
            return connection.execute(query.encode()).fetchall()

    def raw(self, stream: str) -> int:
        ((count,),) = self.rows(f"select count(*) from raw.files__{stream}")
        return int(count)

    def latest(self, stream: str = "accounts") -> dict[str, str]:
        """What each record is called now; of deleted ones it says that."""
        found = self.rows(
            "select distinct on (record_id) record_id, payload ->> 'name', is_deleted"
            f" from raw.files__{stream} order by record_id, source_updated_at desc nulls last, seq desc"
        )
        return {record_id: "(deleted)" if is_deleted else name for record_id, name, is_deleted in found}

    def state(self, stream: str = "accounts") -> State | None:
        ((state,),) = self.rows(f"select state from control.stream_states where stream = '{stream}'") or [(None,)]
        found: State | None = state
        return found

    def last_sync(self, columns: str) -> tuple[Any, ...]:
        return self.rows(f"select {columns} from control.sync_logs order by started_at desc limit 1")[0]

    def connector(self, columns: str) -> tuple[Any, ...]:
        return self.rows(f"select {columns} from control.connectors")[0]

    def write(self, stream: str, *lines: str) -> None:
        (self.folder / f"{stream}.csv").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


Script = Callable[[State | None], AsyncIterator[Page]]


async def nothing(_state: State | None) -> AsyncIterator[Page]:
    yield Page((), None)


async def healthy() -> Health:
    return Health(True, "scripted")


@dataclass
class Scripted:
    """A connector of which each stream does what its script says. Streams without one have nothing new."""

    scripts: dict[str, Script]
    deletes: Deletes = "never"
    reads: Sequence[str] = ("accounts", "people")
    check: Callable[[], Any] = healthy
    replay: Callable[[Stream, Any, str | None], Record | Rejected] | None = None
    renew: Renew | None = None
    asked: list[tuple[str, State | None]] = field(default_factory=list)

    @property
    def streams(self) -> list[Stream]:
        declared = {stream.name: stream for stream in catalogue.streams("files")}
        return [
            replace(declared.get(name, Stream(name, primary_key="id")), deletes=self.deletes) for name in self.reads
        ]

    async def pages(self, stream: Stream, state: State | None) -> AsyncIterator[Page]:
        self.asked.append((stream.name, state))
        async for one in self.scripts.get(stream.name, nothing)(state):
            yield one

    def states_of(self, stream: str = "accounts") -> list[State | None]:
        """What the stream was read from, each time that it was."""
        return [state for name, state in self.asked if name == stream]


def record(number: int, name: str = "", at: datetime | None = None) -> Record:
    return Record(str(number), {"name": name or f"record {number}"}, at)


def page(number: int) -> Page:
    return Page([Record(str(number), {"name": f"from page {number}"})], {"page": number})
