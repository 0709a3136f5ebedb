"""Reads each stream's file: whole when it has changed, not at all when it has not."""

import asyncio
import re
from array import array
from collections import Counter
from collections.abc import AsyncIterator, Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from hashlib import file_digest
from itertools import compress
from typing import Any, TypeVar

from connectors.contract import Fatal, Health, Page, Record, Rejected, Renew, State, Stream
from connectors.files import config as configuration
from connectors.files import formats
from connectors.files.formats import File
from connectors.files.places import Opened, place_of
from connectors.files.shape import Batch, Shape
from connectors.files.streams import STREAMS
from connectors.files.text import Unreadable

ROWS_PER_PAGE = 5_000
CHARACTERS_PER_PAGE = 4_000_000

_FORMATS = r"(csv(\.gz)?|jsonl(\.gz)?|ndjson(\.gz)?|parquet)"

# How many ids are told apart at a time: a set of so many is some 30 MB.
_IDS_AT_A_TIME = 400_000

T = TypeVar("T")


class Client:
    """Values are text in every format, nested ones JSON; an empty one is null. A time without a zone is UTC."""

    def __init__(self, config: Mapping[str, Any], renew: Renew | None = None) -> None:  # noqa: ARG002
        self.config = configuration.parse(config)
        self._place = place_of(self.config)

    @property
    def streams(self) -> Sequence[Stream]:
        whole = self.config.whole
        return [replace(stream, deletes="absent") if stream.name in whole else stream for stream in STREAMS]

    async def check(self) -> Health:
        try:
            return await _in_thread(self._check)
        except Fatal as error:
            return Health(False, str(error))

    async def pages(self, stream: Stream, state: State | None) -> AsyncIterator[Page]:
        with closing(self._pages(stream, state)) as pages:
            while (page := await _in_thread(partial(next, pages, None))) is not None:
                yield page

    def replay(self, stream: Stream, raw: Any, record_id: str | None) -> Record | Rejected:
        return formats.replay(raw, self._shape(stream), self.config, record_id)

    def _shape(self, stream: Stream) -> Shape:
        return Shape(stream.primary_key, tuple(self.config.date_columns(stream.name).items()))

    def _check(self) -> Health:
        folder, names = self.config.folder, self._place.names()
        found = {stream.name: _files_of(stream, names) for stream in STREAMS}
        present = [name for files in found.values() for name in files]
        if not present:
            wanted = ", ".join(f"{stream}.csv" for stream in found)
            return Health(False, f"{folder} holds none of {wanted}. Put at least one there.")
        if unreadable := [name for name in present if not self._place.is_readable(name)]:
            return Health(False, f"{', '.join(unreadable)} in {folder} cannot be read. Correct the file permissions.")
        # The other streams are read all the same, so this is no reason to stop.
        rivals = "".join(f". {_too_many(files)}" for files in found.values() if len(files) > 1)
        return Health(True, f"{folder}: {', '.join(present)}{rivals}")

    def _pages(self, stream: Stream, state: State | None) -> Generator[Page, None, None]:
        folder = self.config.folder
        found = _files_of(stream, self._place.names())
        if len(found) > 1:
            raise Fatal(f"In {folder}, {_too_many(found)}")
        name = found[0] if found else str((state or {}).get("name", f"{stream.name}.csv"))
        try:
            if not found:
                raise FileNotFoundError(name)
            with self._place.opened(name) as opened:
                yield from self._reading(stream, name, opened, state)
        except FileNotFoundError:
            gone = f"{name} has disappeared from {folder}: nothing was read, nothing is deleted"
            never_there = f"{name} is not in {folder}: the stream is skipped"
            yield Page((), state, notes=[gone if state else never_there])
        except Unreadable as reason:
            raise Fatal(str(reason).replace("{file}", f"{folder}/{name}")) from None
        except OSError as error:
            raise Fatal(
                f"{folder}/{name} cannot be read: {error.strerror}. Correct the file or its permissions."
            ) from error

    def _reading(self, stream: Stream, name: str, opened: Opened, state: State | None) -> Iterator[Page]:
        known = state or {}
        read_as = {"name": name, "read_as": self.config.reading(stream.name)}
        seen = {**read_as, **opened.fingerprint}
        is_same = bool(opened.fingerprint) and _agrees(known, seen)
        if is_same and not known.get("unfinished"):
            return
        with opened.content() as content:
            seen["sha256"] = file_digest(content, "sha256").hexdigest()
        is_same = _agrees(known, {**read_as, "sha256": seen["sha256"]})
        if is_same and not known.get("unfinished"):
            if seen != known:
                yield Page((), seen)
            return
        file = formats.file(name, opened, self._shape(stream), self.config)
        reading = _Reading(name, file, gives_time=not is_same)
        for records, rejected in reading.pages():
            yield Page(records, state, rejected)  # a read that is cut short starts again from the first line
        if was_altered := opened.was_altered():
            reading.notes.append(f"{name} was written to while it was read: the next sync reads it again")
            del seen["sha256"]
        if reading.unfinished:
            seen["unfinished"] = True
        is_whole = not was_altered and not reading.unfinished
        yield Page((), seen, notes=reading.notes, completes=reading.held if is_whole else None)


@dataclass(slots=True)
class _Reading:
    """One reading of a file from its first row to its last.

    If it `gives_time`, a last line that cannot be read is not refused yet: somebody may be writing the file, and then
    the rest of the line is there the next time.
    """

    name: str
    file: File
    gives_time: bool
    held: int = 0
    unfinished: list[Rejected] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def pages(self) -> Iterator[tuple[Sequence[Record], Sequence[Rejected]]]:
        records: list[Record] = []
        rejected: list[Rejected] = []
        size = 0
        for batch in self._last_versions():
            records += batch.records
            rejected += batch.rejected
            if self.gives_time:
                self.unfinished += batch.unfinished
            else:
                rejected += batch.unfinished
            size += batch.size
            while len(records) >= ROWS_PER_PAGE:
                yield records[:ROWS_PER_PAGE], rejected
                del records[:ROWS_PER_PAGE]
                rejected, size = [], 0
            if len(rejected) >= ROWS_PER_PAGE or size > CHARACTERS_PER_PAGE:
                yield records, rejected
                records, rejected, size = [], [], 0
        if records or rejected:
            yield records, rejected
        self.notes += [
            f"{self.name} ends within {cut.position}, which {cut.reason}: it has until the next sync to be completed"
            for cut in self.unfinished
        ]

    def _last_versions(self) -> Iterator[Batch]:
        """Of rows with the same id the last one alone: if all were landed, they would land anew at every reading, for
        each differs from the one before it."""
        last = self._last_of_repeated()
        followed, example = 0, ""
        for batch in self.file.batches():
            if last:
                counts = [
                    last.get(record.id, number) == number
                    for number, record in zip(batch.numbers, batch.records, strict=True)
                ]
                if not all(counts):
                    followed += counts.count(False)
                    place = counts.index(False)
                    example = example or f"{batch.records[place].id} at {batch.numbers[place]}"
                    batch.records = list(compress(batch.records, counts))
            self.held += len(batch.records)
            yield batch
        if followed:
            self.notes.append(
                f"{self.name}: {followed} rows were left out because their id stands again further down, where it"
                f" counts (the first: {example})"
            )

    def _last_of_repeated(self) -> Mapping[str, int]:
        """Where the last record stands, for each id that more than one bears."""
        hashes = array("q")
        for ids in self.file.ids():
            hashes.extend(map(hash, ids))
        repeated = _repeated(hashes)
        last: dict[str, int] = {}
        if repeated:
            for batch in self.file.batches():
                for number, record in zip(batch.numbers, batch.records, strict=True):
                    if hash(record.id) in repeated:
                        last[record.id] = number
        return last


def _repeated(hashes: "array[int]") -> set[int]:
    """Those that stand there more than once, found with little memory."""
    parts = len(hashes) // _IDS_AT_A_TIME + 1
    repeated: set[int] = set()
    for part in range(parts):
        of_part = [one for one in hashes if one % parts == part] if parts > 1 else hashes
        if len(set(of_part)) < len(of_part):
            repeated.update(one for one, times in Counter(of_part).items() if times > 1)
    return repeated


async def _in_thread(call: Callable[[], T]) -> T:
    """The call's result. Cancelled, it first waits for the thread, which nobody can stop: it still uses the file."""
    running = asyncio.ensure_future(asyncio.to_thread(call))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait([running])
        raise


def _agrees(known: Mapping[str, Any], seen: Mapping[str, Any]) -> bool:
    return all(known.get(fact) == value for fact, value in seen.items())


def _files_of(stream: Stream, names: Sequence[str]) -> list[str]:
    return [name for name in names if re.fullmatch(rf"{stream.name}\.{_FORMATS}", name, re.IGNORECASE)]


def _too_many(files: Sequence[str]) -> str:
    return f"{' and '.join(files)} would both be the same stream. Take away all but one."
