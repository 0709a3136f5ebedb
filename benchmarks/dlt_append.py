"""dlt appends the pages to a schema of its own. Runs in .venv-bench, where the platform is not installed.

python -m benchmarks.dlt_append PAGES FORMAT [tuned]; DLT_BENCH_URL is the database. Tuned is what its documentation
advises for speed, as far as it helps here: two processes that normalise, no compression of the files between its steps.
"""

import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from benchmarks.measure import Progress, peak_memory, report

SCHEMA = "dlt_bench"


def main(pages: Path, file_format: str, is_tuned: bool) -> None:
    os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"
    # it warns of columns without a value, at length
    os.environ["RUNTIME__LOG_LEVEL"] = "ERROR"
    files = sorted(pages.iterdir())
    rows = int(orjson.loads(files[0].read_bytes())["totalSize"])
    if is_tuned:
        os.environ["NORMALIZE__WORKERS"] = "2"
        # a worker takes a file at a time: with a single one the other would have nothing to do
        os.environ["DATA_WRITER__FILE_MAX_ITEMS"] = str(max(5000, min(100_000, rows // 4)))
        os.environ["DATA_WRITER__DISABLE_COMPRESSION"] = "true"
    import dlt  # type: ignore[import-not-found]

    def tasks() -> Iterator[list[dict[str, Any]]]:
        progress = Progress("dlt has read", rows)
        for file in files:
            records = orjson.loads(file.read_bytes())["records"]
            for record in records:
                del record["attributes"]
            progress.add(len(records))
            yield records

    with tempfile.TemporaryDirectory() as folder:
        pipeline = dlt.pipeline(
            "bench_load",
            destination=dlt.destinations.postgres(os.environ["DLT_BENCH_URL"]),
            dataset_name=SCHEMA,
            pipelines_dir=folder,
        )
        start = time.perf_counter()
        pipeline.run(
            dlt.resource(tasks, write_disposition="append", max_table_nesting=0), loader_file_format=file_format
        )
        seconds = time.perf_counter() - start
    report(seconds=seconds, memory=peak_memory())


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], is_tuned=sys.argv[3:] == ["tuned"])
