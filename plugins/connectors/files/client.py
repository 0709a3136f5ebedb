"""Reads `<stream>.csv` from a folder: whole when the file has changed, not at all when it has not."""

import os
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from hashlib import file_digest
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from connectors.contract import Fatal, Health, Page, Record, Rejected, State, Stream
from connectors.files.csv_reader import Broken, Row, rows
from connectors.files.streams import STREAMS

ROWS_PER_PAGE = 5_000


def _absolute(folder: Path) -> Path:
    if not folder.is_absolute():
        raise ValueError("must be an absolute path: the scheduler does not start where you stand")
    return folder


def _known_encoding(encoding: str) -> str:
    try:
        "".encode(encoding)
    except LookupError:
        raise ValueError(f"{encoding!r} is not an encoding; try utf-8 or latin-1") from None
    # Spreadsheets put a byte order mark before UTF-8; it would become part of the first header.
    return "utf-8-sig" if encoding.lower().replace("_", "-") in ("utf-8", "utf8") else encoding


class FilesConfig(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    folder: Annotated[Path, AfterValidator(_absolute)]
    delimiter: str = Field(default=",", min_length=1, max_length=1)
    encoding: Annotated[str, AfterValidator(_known_encoding)] = "utf-8-sig"


class Client:
    """Values stay the strings they are; an empty one is null. Times without a zone are taken as UTC."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        try:
            self.config = FilesConfig.model_validate(config)
        except ValidationError as invalid:
            first = invalid.errors()[0]
            where = ".".join(map(str, first["loc"]))
            raise Fatal(f"files: {where}: {first['msg'].removeprefix('Value error, ')}") from None

    @property
    def streams(self) -> Sequence[Stream]:
        return STREAMS

    async def check(self) -> Health:
        folder = self.config.folder
        if not folder.is_dir():
            return Health(False, f"There is no folder {folder}. Make it, or correct the connector's folder.")
        found = [path.name for stream in STREAMS if (path := self._path(stream)).is_file()]
        if not found:
            wanted = ", ".join(self._path(stream).name for stream in STREAMS)
            return Health(False, f"{folder} holds none of {wanted}. Put at least one there.")
        if unreadable := [name for name in found if not os.access(folder / name, os.R_OK)]:
            return Health(False, f"{', '.join(unreadable)} in {folder} cannot be read. Correct the file permissions.")
        return Health(True, f"{folder}: {', '.join(found)}")

    async def pages(self, stream: Stream, state: State | None) -> AsyncIterator[Page]:
        path, known = self._path(stream), state or {}
        try:
            with path.open("rb") as file:
                # Taken before the read: whatever is appended meanwhile differs from it, so the next sync reads it.
                status = os.fstat(file.fileno())
                seen = {"size": status.st_size, "mtime_ns": status.st_mtime_ns}
                if seen == {fact: known.get(fact) for fact in seen}:
                    return
                state_when_read = {**seen, "sha256": file_digest(file, "sha256").hexdigest()}
        except FileNotFoundError:
            gone = f"{path.name} has disappeared from {path.parent}: nothing was read, nothing is deleted"
            never_there = f"{path.name} is not in {path.parent}: the stream is skipped"
            yield Page((), state, notes=[gone if state else never_there])
            return
        except OSError as error:
            raise Fatal(f"{path} cannot be read: {error.strerror}. Correct the file or its permissions.") from error
        if state_when_read["sha256"] == known.get("sha256"):
            yield Page((), state_when_read)
            return

        outcomes = self._outcomes(path, stream)
        while outcomes_of_page := list(islice(outcomes, ROWS_PER_PAGE)):
            yield Page(
                [outcome for outcome in outcomes_of_page if isinstance(outcome, Record)],
                state,  # a read that is cut short starts again from the first line
                [outcome for outcome in outcomes_of_page if isinstance(outcome, Rejected)],
            )
        yield Page((), state_when_read)

    def _path(self, stream: Stream) -> Path:
        return self.config.folder / f"{stream.name}.csv"

    def _outcomes(self, path: Path, stream: Stream) -> Iterator[Record | Rejected]:
        with path.open(encoding=self.config.encoding, errors="surrogateescape", newline="") as lines:
            table = rows(lines, self.config.delimiter)
            header = _header(path, next(table, None), stream)
            for row in table:
                yield _outcome(header, row, stream)


def _header(path: Path, row: Row | Broken | None, stream: Stream) -> list[str]:
    if row is None:
        raise Fatal(f"{path} is empty: it needs a header line with at least {stream.primary_key!r}.")
    if isinstance(row, Broken):
        raise Fatal(f"The header line of {path} {row.reason}. Export the file again.")
    header = [name.strip() for name in row.fields]
    if stream.primary_key not in header:
        raise Fatal(
            f"{path} has no column {stream.primary_key!r}; it has {', '.join(header)}. Check header and delimiter."
        )
    if twice := sorted({name for name in header if header.count(name) > 1}):
        raise Fatal(f"{path} names a column twice: {', '.join(twice)}. Rename one of them.")
    return header


def _outcome(header: list[str], row: Row | Broken, stream: Stream) -> Record | Rejected:
    position = f"line {row.line}"
    if isinstance(row, Broken):
        return Rejected(position, row.reason, row.text)
    if len(row.fields) != len(header):
        return Rejected(position, f"has {len(row.fields)} fields where the header has {len(header)}", row.text)
    payload = {name: value or None for name, value in zip(header, row.fields, strict=True)}
    record_id = (payload[stream.primary_key] or "").strip()
    if not record_id:
        return Rejected(position, f"has no {stream.primary_key}", row.text)
    stamp = payload.get("updated_at")
    if stamp is None:
        return Record(record_id, payload)
    with suppress(ValueError):
        return Record(record_id, payload, _instant(stamp))
    return Rejected(position, f"updated_at is no ISO 8601 time: {stamp}", row.text, record_id)


def _instant(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
