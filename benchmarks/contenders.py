"""Our landing, and the least that could be done instead: each is run in a process of its own, as the tenant's login.

python -m benchmarks.contenders NAME PAGES TENANT CONNECTOR [MORE_PAGES]
"""

import sys
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import zip_longest
from pathlib import Path

import orjson
import psycopg

from benchmarks.measure import Progress, peak_memory, report
from connectors.salesforce import pages
from steps.extract import SECONDS_BETWEEN_TURNS
from warehouse import database, landing, lease
from warehouse.landing import Landed, Prepared

TABLE = "raw.salesforce__tasks"


def ours(folder: Path, tenant_id: str, connector_id: str, more: Path | None) -> None:
    """The pages, the same pages again, others on top: as a sync does it, one lands while the next is read."""
    sys.setswitchinterval(SECONDS_BETWEEN_TURNS)
    with (
        ThreadPoolExecutor(1) as reader,
        lease.hold(tenant_id, lease.local_holder(), stage="extract") as held,
        database.run_session(tenant_id, autocommit=True, application="bench") as connection,
    ):
        sync_id = str(uuid.uuid4())
        connection.execute(
            "insert into control.sync_logs (id, tenant_id, connector_id, sync_type) values (%s, %s, %s, 'full')",
            [sync_id, tenant_id, connector_id],
        )

        def land(files: Sequence[Path], what: str) -> tuple[float, Landed]:
            landed = Landed()
            progress = Progress(what, rows_in(files))
            start = time.perf_counter()
            coming = reader.submit(_read, files[0])
            for file, following in zip_longest(files, files[1:]):
                page = coming.result()
                if following:
                    coming = reader.submit(_read, following)
                landed += landing.land(
                    connection,
                    page,
                    tenant_id=tenant_id,
                    connector_id=connector_id,
                    connector="salesforce",
                    stream="tasks",
                    state={"page": file.name},
                    sync_id=sync_id,
                    fence=held.fence,
                )
                progress.add(len(page.records))
            # as a sync ends: with a commit that waits for the disk
            connection.execute("update control.sync_logs set completed_at = now() where id = %s", [sync_id])
            return time.perf_counter() - start, landed

        files = sorted(folder.iterdir())
        rows = rows_in(files)
        seconds, landed = land(files, "landed")
        _expect(landed == Landed(created=rows), f"{rows:,} new rows were to land, and it was {landed}")
        again, landed = land(files, "landed again")
        _expect(landed == Landed(unchanged=rows), f"nothing was to land twice, and it was {landed}")
        on_top = 0.0
        if more:
            new = sorted(more.iterdir())
            on_top, landed = land(new, "landed on top")
            _expect(landed == Landed(created=rows_in(new)), f"new rows were to land on top, and it was {landed}")
            rows += rows_in(new)
        _expect_rows(connection, rows)
    report(seconds=seconds, memory=peak_memory(), again=again, on_top=on_top)


def _read(file: Path) -> Prepared:
    return landing.prepare(pages.records(file.read_bytes()), ())


def bare_by_page(folder: Path, tenant_id: str, _connector_id: str, _more: Path | None) -> None:
    """A transaction for each page: COPY to a temporary table, then INSERT .. ON CONFLICT. No state, no comparison."""
    _bare(folder, tenant_id, lambda files: ([file] for file in files))


def bare_at_once(folder: Path, tenant_id: str, _connector_id: str, _more: Path | None) -> None:
    """The same in a single transaction for all pages."""
    _bare(folder, tenant_id, lambda files: [files])


def _bare(folder: Path, tenant_id: str, batches: Callable[[list[Path]], Iterable[list[Path]]]) -> None:
    files = sorted(folder.iterdir())
    rows = rows_in(files)
    progress = Progress("stored by bare COPY and INSERT", rows)
    with database.run_session(tenant_id, autocommit=True, application="bench") as connection:
        connection.execute(
            "create temp table page (record_id text, payload jsonb, source_updated_at timestamptz, seq bigint)"
            " on commit delete rows"
        )
        start = time.perf_counter()
        seq = 0
        for batch in batches(files):
            with connection.transaction():
                with connection.cursor().copy("copy pg_temp.page from stdin") as copy:
                    for file in batch:
                        records = orjson.loads(file.read_bytes())["records"]
                        copy.write(b"".join(_lines(records, seq)))
                        seq += len(records)
                        progress.add(len(records))
                connection.execute(
                    f"insert into {TABLE}"
                    " (tenant_id, record_id, payload, payload_hash, source_updated_at, sync_id, seq)"
                    " select %s, record_id, payload, '', source_updated_at, 'bare', seq from pg_temp.page"
                    " on conflict (tenant_id, record_id, seq) do nothing",
                    [tenant_id],
                )
        seconds = time.perf_counter() - start
        _expect_rows(connection, rows)
    report(seconds=seconds, memory=peak_memory())


def _lines(records: Iterable[dict[str, object]], seq: int) -> Iterator[bytes]:
    """As COPY's text format wants them: in JSON as it is written here, the backslash is all that it would misread."""
    for number, record in enumerate(records, seq + 1):
        del record["attributes"]
        payload = orjson.dumps(record).replace(b"\\", b"\\\\")
        yield b"%b\t%b\t%b\t%d\n" % (
            str(record["Id"]).encode(),
            payload,
            str(record["SystemModstamp"]).encode(),
            number,
        )


def rows_in(files: Sequence[Path]) -> int:
    return int(orjson.loads(files[0].read_bytes())["totalSize"])


def _expect_rows(connection: psycopg.Connection, rows: int) -> None:
    found = connection.execute(f"select count(*), count(distinct record_id), max(seq) from {TABLE}").fetchone()
    _expect(found == (rows, rows, rows), f"raw was to hold {rows:,} rows and holds {found}")


def _expect(is_so: bool, otherwise: str) -> None:
    if not is_so:
        sys.exit(f"not a measurement: {otherwise}")


CONTENDERS: dict[str, Callable[[Path, str, str, Path | None], None]] = {
    "ours": ours,
    "bare_by_page": bare_by_page,
    "bare_at_once": bare_at_once,
}

if __name__ == "__main__":
    name, folder, tenant, connector, *rest = sys.argv[1:]
    CONTENDERS[name](Path(folder), tenant, connector, Path(rest[0]) if rest else None)
