"""Parquet, row group by row group: a damaged one costs its rows, never the others'."""

from collections.abc import Iterable, Iterator
from typing import Any

import pyarrow  # type: ignore[import-untyped]
from pyarrow import parquet

from connectors.contract import Rejected
from connectors.files.places import BUFFER, Opened
from connectors.files.shape import Batch, Refused, Shape
from connectors.files.text import Unreadable
from connectors.files.values import check_storable, of_row

ROWS_PER_BATCH = 1_000

_BROKEN = (pyarrow.ArrowException, OSError, ValueError, OverflowError)


class ParquetFile:
    def __init__(self, opened: Opened, shape: Shape) -> None:
        self._opened, self._shape = opened, shape

    def ids(self) -> Iterator[Iterable[str]]:
        for _, batch in self._read([self._shape.key]):
            if not isinstance(batch, str):
                yield filter(None, map(self._id, _rows(batch)))

    def _id(self, row: Any) -> str | None:
        try:
            return None if isinstance(row, str) else str(of_row(row)[self._shape.key]).strip()
        except Refused:
            return None

    def batches(self) -> Iterator[Batch]:
        for first, rows in self._read(None):
            if isinstance(rows, str):
                lost = Rejected(f"from row {first}", rows, None)
                yield Batch(rejected=[lost])
            else:
                yield self._batch(first, rows)

    def _batch(self, first: int, rows: Any) -> Batch:
        batch = Batch(size=rows.nbytes)
        for number, row in enumerate(_rows(rows), start=first):
            if isinstance(row, str):
                batch.refuse(Rejected(f"row {number}", f"holds a value that cannot be read: {row}", None))
                continue
            raw: Any = {"row": row}
            try:
                values = of_row(row)
                check_storable(values)
                raw = values
                batch.records.append(self._shape.record(values))
                batch.numbers.append(number)
            except Refused as refused:
                batch.refuse(Rejected(f"row {number}", str(refused), raw, refused.record_id))
        return batch

    def _read(self, columns: list[str] | None) -> Iterator[tuple[int, Any]]:
        """Record batches, or what is wrong instead of them, each with the number of its first row."""
        try:
            file = parquet.ParquetFile(self._opened.content(), buffer_size=BUFFER)
        except _BROKEN as error:
            raise Unreadable(
                f"{{file}} is no whole Parquet file, perhaps because it is still being written: {_said(error)}."
            ) from None
        names = file.schema_arrow.names
        if self._shape.key not in names:
            raise Unreadable(f"{{file}} has no column {self._shape.key!r}; it has {', '.join(names)[:500]}.")
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise Unreadable(f"{{file}} names a column twice: {', '.join(twice)}. Rename one of them.")
        first = 1
        for group in range(file.num_row_groups):
            held = file.metadata.row_group(group).num_rows
            read = 0
            try:
                for batch in file.iter_batches(ROWS_PER_BATCH, [group], columns, use_threads=False):
                    yield first + read, batch
                    read += batch.num_rows
            except _BROKEN as error:
                yield first + read, f"{held - read} rows cannot be read: {_said(error)}. Export the file again"
            first += held


def _rows(batch: Any) -> Iterator[Any]:
    """Each row as a dict, or as the words for what Python cannot hold in it."""
    batch = _without_nanoseconds(batch)
    names = batch.schema.names
    try:
        columns = [_values(column) for column in batch.columns]
        yield from (dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True))
        return
    except _BROKEN:
        """One of its values is too big; the other rows are not to suffer for it."""
    for place in range(batch.num_rows):
        try:
            yield from batch.slice(place, 1).to_pylist()
        except _BROKEN as error:
            yield _said(error)


def _values(column: Any) -> Any:
    # By way of numpy texts come four times as quickly.
    return (
        column.to_numpy(zero_copy_only=False).tolist() if pyarrow.types.is_string(column.type) else column.to_pylist()
    )


def _without_nanoseconds(batch: Any) -> Any:
    """Times to the microsecond, as every other source tells them."""
    fields = [
        field.with_type(pyarrow.timestamp("us", field.type.tz))
        if pyarrow.types.is_timestamp(field.type) and field.type.unit == "ns"
        else field
        for field in batch.schema
    ]
    return batch.cast(pyarrow.schema(fields), safe=False) if fields != list(batch.schema) else batch


def _said(error: BaseException) -> str:
    return str(error).partition("\n")[0].rstrip(".")[:200]
