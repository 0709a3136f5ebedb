"""The formats of files, each as what the client asks of it: the ids, quickly, and the outcomes, in batches."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from io import StringIO
from operator import itemgetter
from typing import Any, Protocol

import orjson

from connectors.contract import Record, Rejected
from connectors.files import csv_reader, text
from connectors.files.config import FilesConfig
from connectors.files.csv_reader import Table
from connectors.files.places import Opened
from connectors.files.shape import Batch, Refused, Shape, Values
from connectors.files.text import Broken, Encoding, Lines, Unreadable
from connectors.files.values import of_json, of_row

# what `raw` of a refused line may consist of; a refused row of which the values are known is a mapping of these
_LINE = {"line", "is_partial", "bytes", "encoding", "is_marked", "header", "delimiter"}


class File(Protocol):
    """May be read more than once, from the beginning each time. Raises Unreadable, also on the way."""

    def ids(self) -> Iterator[Iterable[str]]:
        """Those of all records, exactly as they are, and perhaps some of rows that are no records."""
        ...

    def batches(self) -> Iterator[Batch]: ...


def file(name: str, opened: Opened, shape: Shape, config: FilesConfig) -> File:
    lower = name.lower()
    if lower.endswith(".parquet"):
        # Its library takes a while to load, and memory.
        from connectors.files.parquet import ParquetFile

        return ParquetFile(opened, shape)
    if lower.removesuffix(".gz").endswith(".csv"):
        return CsvFile(opened, shape, config)
    return JsonFile(opened, shape, config)


def replay(raw: Any, shape: Shape, config: FilesConfig, record_id: str | None) -> Record | Rejected:
    """What was refused, tried again as the configuration stands now."""
    position = "replay"
    if not isinstance(raw, Mapping) or set(raw) == {"row"}:
        return Rejected(position, "can't be tried again: its values could not be kept as they were", raw, record_id)
    if "line" not in raw or set(raw) - _LINE:
        try:
            return shape.record(of_row(raw))
        except Refused as refused:
            return Rejected(position, str(refused), raw, refused.record_id or record_id)
    if raw.get("is_partial"):
        return Rejected(position, "can't be tried again: it was too long to be kept as it was", raw, record_id)
    encoding = Encoding(raw["encoding"], True) if raw.get("is_marked") else Encoding(config.encoding)
    line = text.restored(raw, encoding)
    lines = list(StringIO(line, newline=""))
    spoilt = {place: reason for place, part in enumerate(lines) if (reason := text.reason_against(part, encoding.name))}
    parts = iter([Lines(1, lines, spoilt)])
    if "header" in raw:
        delimiter = config.delimiter or raw["delimiter"]
        table = Table(raw["header"], delimiter, csv_reader.split(parts, delimiter))
        batches: Iterator[Batch] = csv_batches(table, shape, encoding)
    else:
        batches = json_batches(parts, shape, encoding)
    outcomes = [outcome for batch in batches for outcome in (*batch.rejected, *batch.unfinished, *batch.records)]
    match outcomes:
        case [Record() as record]:
            return record
        case [Rejected() as refusal]:
            return Rejected(position, refusal.reason, raw, refusal.record_id or record_id)
        case _:
            return Rejected(position, f"holds {len(outcomes)} records where one was refused", raw, record_id)


class CsvFile:
    def __init__(self, opened: Opened, shape: Shape, config: FilesConfig) -> None:
        self._opened, self._shape, self._config = opened, shape, config

    def ids(self) -> Iterator[Iterable[str]]:
        _, table = self._table()
        width, at = len(table.columns), table.columns.index(self._shape.key)
        for part in table.parts:
            rows: Iterable[Sequence[str]] = part.rows
            if set(map(len, rows)) != {width}:
                rows = [fields for fields in rows if len(fields) == width]
            yield map(str.strip, map(itemgetter(at), rows))

    def batches(self) -> Iterator[Batch]:
        encoding, table = self._table()
        return csv_batches(table, self._shape, encoding)

    def _table(self) -> tuple[Encoding, Table]:
        encoding, parts = text.read(self._opened.content(), self._config.encoding)
        return encoding, csv_reader.table(parts, self._shape.key, self._config.delimiter)


class JsonFile:
    """One object per line."""

    def __init__(self, opened: Opened, shape: Shape, config: FilesConfig) -> None:
        self._opened, self._shape, self._config = opened, shape, config

    def ids(self) -> Iterator[Iterable[str]]:
        _, parts = self._parts()
        for part in parts:
            if isinstance(part, Lines):
                yield filter(None, map(self._id, part.lines))

    def batches(self) -> Iterator[Batch]:
        encoding, parts = self._parts()
        return json_batches(parts, self._shape, encoding)

    def _parts(self) -> tuple[Encoding, Iterator[Lines | Broken]]:
        encoding, parts = text.read(self._opened.content(), self._config.encoding)
        return encoding, _one_object_per_line(parts)

    def _id(self, line: str) -> str | None:
        # Five times as quick as the exact reader, which has to tell what becomes of any other type.
        try:
            written = orjson.loads(line)[self._shape.key]
            if not isinstance(written, str | int) or isinstance(written, bool):
                written = of_json(line)[self._shape.key]
        except (ValueError, LookupError, TypeError, Refused):
            return None
        return str(written).strip()


def csv_batches(table: Table, shape: Shape, encoding: Encoding) -> Iterator[Batch]:
    columns, width, record = table.columns, len(table.columns), shape.record
    repeated = {name for name in columns if columns.count(name) > 1}

    def unread(line: str) -> Mapping[str, Any]:
        return {"header": columns, "delimiter": table.delimiter, **text.kept(line, encoding)}

    for part in table.parts:
        batch = Batch(size=sum(map(len, part.source.lines)))
        numbers, records = batch.numbers, batch.records
        for number, fields in zip(part.numbers, part.rows, strict=True):
            try:
                if len(fields) != width:
                    raise Refused(f"has {len(fields)} fields where the header has {width}")
                values: Values = dict(zip(columns, fields, strict=True))
                if "" in fields:
                    values = {name: value or None for name, value in values.items()}
                if repeated:
                    _agree(columns, fields, repeated, values)
                records.append(record(values))
                numbers.append(number)
            except Refused as refused:
                if any(map(str.strip, fields)):
                    line = part.text(number)
                    raw = values if len(fields) == width and not repeated else unread(line)
                    refusal = Rejected(f"line {number}", str(refused), raw, refused.record_id)
                    batch.refuse(refusal, unfinished=text.is_cut(line))
        for broken in part.broken:
            refusal = Rejected(f"line {broken.line}", broken.reason, unread(broken.text))
            batch.refuse(refusal, unfinished=broken.unfinished)
        if part.broken:
            batch.rejected.sort(key=_line)
        yield batch


def json_batches(parts: Iterable[Lines | Broken], shape: Shape, encoding: Encoding) -> Iterator[Batch]:
    for part in parts:
        if isinstance(part, Broken):
            batch = Batch(size=len(part.text))
            refusal = Rejected(f"line {part.line}", part.reason, text.kept(part.text, encoding))
            batch.refuse(refusal, unfinished=part.unfinished)
            yield batch
            continue
        batch = Batch(size=sum(map(len, part.lines)))
        for number, line in enumerate(part.lines, start=part.first):
            if line.isspace():
                continue
            raw: Any = None
            try:
                if reason := part.spoilt.get(number - part.first):
                    raise Refused(reason)
                raw = of_json(line)
                batch.records.append(shape.record(raw))
                batch.numbers.append(number)
            except Refused as refused:
                refusal = Rejected(f"line {number}", str(refused), raw or text.kept(line, encoding), refused.record_id)
                batch.refuse(refusal, unfinished=text.is_cut(line))
        yield batch


def _one_object_per_line(parts: Iterator[Lines | Broken]) -> Iterator[Lines | Broken]:
    """JSON that is laid out for the eye would give an error for each of its lines."""
    is_first = True
    for part in parts:
        if is_first and isinstance(part, Lines) and (line := next((line for line in part.lines if line.strip()), "")):
            if line.strip() in ("[", "{", "[{"):
                raise Unreadable("{file} has its JSON laid out over several lines. Write one object per line: jq -c .")
            is_first = False
        yield part


def _agree(columns: list[str], fields: list[str], repeated: set[str], values: Values) -> None:
    """Columns of one name are one column, and where one of them is empty, the other tells."""
    for name in repeated:
        told = {field for column, field in zip(columns, fields, strict=True) if column == name and field}
        if len(told) > 1:
            raise Refused(f"column {name} stands twice with different values: {', '.join(sorted(told))[:200]}")
        values[name] = next(iter(told), None)


def _line(refusal: Rejected) -> int:
    return int(refusal.position.removeprefix("line "))
