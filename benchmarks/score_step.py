"""Contenders of bench-score, each in a process of its own.

night   what a run does from its rollups to published scores: `steps.score`, then `steps.publish`
bare    reads the rows that a night reads, by ADBC, and writes the rows that a night wrote: COPY to a temporary table,
        one INSERT, table by table. The same login, so the same policies; the same indexes, keys and bytes. No
        arithmetic, no candidates, no comparison
"""

from __future__ import annotations

import sys
import time
from datetime import date
from pathlib import Path

from psycopg import sql

from benchmarks.measure import peak_memory, report
from benchmarks.score_world import AS_OF
from steps import bulk, publish, score
from steps.score_inputs import QUERIES
from warehouse import database, lease

RUN = "bench"
# Each after those that it refers to.
WRITTEN = ("engagements", "score_history", "buying_groups", "buying_group_members")


def night(tenant_id: str, as_of: date) -> None:
    with lease.hold(tenant_id, "bench", stage="score") as held:
        start = time.perf_counter()
        made = score.run(tenant_id, RUN, held.fence, as_of)
        done = publish.run(tenant_id, RUN, held.fence)
        seconds = time.perf_counter() - start
    report(seconds=seconds, memory=peak_memory(), scored=sum(made["scored"].values()), moved=done["moved"])


def bare(tenant_id: str, folder: Path) -> None:
    start = time.perf_counter()
    with bulk.reader(tenant_id) as reader:
        for query in QUERIES:
            for _batch in reader.batches(
                query, tenant=tenant_id, as_of=AS_OF.isoformat(), first="2025-03-10", custom=[], solution_field=None
            ):
                pass
    with database.run_session(tenant_id) as connection:
        for table in WRITTEN:
            name, target = sql.Identifier(f"bare_{table}"), sql.Identifier("scores", table)
            connection.execute(sql.SQL("create temporary table {} (like {}) on commit drop").format(name, target))
            statement = sql.SQL("copy {} from stdin").format(name)
            with connection.cursor().copy(statement) as copy, (folder / table).open("rb") as file:
                while block := file.read(1 << 20):
                    copy.write(block)
            connection.execute(sql.SQL("insert into {} select * from {}").format(target, name))
    report(seconds=time.perf_counter() - start, memory=peak_memory(), scored=0, moved=0)


if __name__ == "__main__":
    if sys.argv[1] == "night":
        night(sys.argv[2], date.fromisoformat(sys.argv[3]))
    else:
        bare(sys.argv[2], Path(sys.argv[3]))
