"""CSV as people really write it: one broken line costs that line, never the ones around it."""

import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain

from connectors.files.text import Broken, Lines, Unreadable, is_cut

# Without a bound, one forgotten quote would swallow the rest of the file before it is noticed.
LONGEST_QUOTED_TEXT_IN_LINES = 200

DELIMITERS = (",", ";", "\t", "|")

# Excel's way of saying the delimiter, in a line before the header
_SAID = re.compile(r"sep=(.)\s*", re.IGNORECASE)


@dataclass(slots=True)
class Rows:
    """Rows as they are split, each with the number of the line that it starts on. Lines of nothing are among them."""

    source: Lines
    numbers: Sequence[int] = ()
    rows: list[list[str]] = field(default_factory=list)
    broken: list[Broken] = field(default_factory=list)
    spans: dict[int, int] = field(default_factory=dict)

    def text(self, number: int) -> str:
        start = number - self.source.first
        return "".join(self.source.lines[start : start + self.spans.get(number, 1)])


@dataclass(frozen=True, slots=True)
class Table:
    """Columns in their order. One without a name is called by its place."""

    columns: list[str]
    delimiter: str
    parts: Iterator[Rows]


def table(parts: Iterator[Lines | Broken], key: str, delimiter: str | None) -> Table:
    """The header, and the rows below it. Without a delimiter, it is the one that makes `key` a column."""
    first = next(parts, None)
    if isinstance(first, Broken):
        raise Unreadable(f"The header line of {{file}} {first.reason}.")
    place = _first_written(first, 0)
    if first is not None and place is not None and (said := _SAID.fullmatch(first.lines[place])):
        delimiter, place = delimiter or said[1], _first_written(first, place + 1)
    if first is None or place is None:
        raise Unreadable(f"{{file}} is empty: it needs a header line with at least {key!r}.")
    if reason := first.spoilt.get(place):
        hint = " If it is UTF-16, declare the encoding utf-16-le or utf-16-be." if "NUL" in reason else ""
        raise Unreadable(f"The header line of {{file}} {reason}.{hint or ' Or export the file again.'}")
    lines = first.lines[place : place + LONGEST_QUOTED_TEXT_IN_LINES]
    columns, span, delimiter = _header(lines, key, delimiter)
    below = place + span
    rest = Lines(
        first.first + below,
        first.lines[below:],
        {spoilt - below: reason for spoilt, reason in first.spoilt.items() if spoilt >= below},
    )
    named = [name.strip() or f"column {position}" for position, name in enumerate(columns, start=1)]
    return Table(named, delimiter, split(chain([rest], parts), delimiter))


def split(parts: Iterator[Lines | Broken], delimiter: str) -> Iterator[Rows]:
    """Rows in the order of the file."""
    waiting: list[str] = []  # lines since a quote was opened
    for part, is_last in _with_last(parts):
        if isinstance(part, Broken):
            before = Lines(part.line - len(waiting), waiting, {})
            rows, waiting = _split(before, delimiter, may_go_on=False)
            rows.broken.append(part)
            yield rows
            continue
        if waiting:
            moved = {place + len(waiting): reason for place, reason in part.spoilt.items()}
            part = Lines(part.first - len(waiting), waiting + part.lines, moved)
        rows, waiting = _split(part, delimiter, may_go_on=not is_last)
        yield rows


def _split(part: Lines, delimiter: str, *, may_go_on: bool) -> tuple[Rows, list[str]]:
    """The rows of these lines, and those lines at the end whose quote may be closed further on."""
    lines = part.lines
    if not part.spoilt:
        try:
            rows = list(csv.reader(lines, delimiter=delimiter, strict=True))
        except csv.Error:
            pass
        else:
            if len(rows) == len(lines):
                return Rows(part, range(part.first, part.first + len(rows)), rows), []
    outcome = Rows(part, numbers := [])
    start = 0
    for spoilt in [*sorted(part.spoilt), len(lines)]:
        is_end = spoilt == len(lines)
        for at, span, found in _rows(lines, start, spoilt, delimiter):
            number = part.first + at
            if isinstance(found, list):
                numbers.append(number)
                outcome.rows.append(found)
                if span > 1:
                    outcome.spans[number] = span
            elif found is None and is_end and may_go_on:
                return outcome, lines[at:]
            else:
                cut = is_end and not may_go_on and at + span == len(lines) and is_cut(lines[-1])
                reason = "a quote is opened and never closed" if found is None else found
                outcome.broken.append(Broken(number, f"cannot be split into fields: {reason}", lines[at], cut))
        if not is_end:
            line = lines[spoilt]
            outcome.broken.append(Broken(part.first + spoilt, part.spoilt[spoilt], line, is_cut(line)))
        start = spoilt + 1
    return outcome, []


def _rows(lines: list[str], start: int, end: int, delimiter: str) -> Iterator[tuple[int, int, list[str] | str | None]]:
    """Where each row starts, how many lines it takes, and its fields: or what is wrong, None if a quote stays open.

    Only the line that opened the quote is to blame: those after it get a chance of their own.
    """
    at, reader = start, None
    while at < end:
        if reader is None:
            base = at
            reader = csv.reader((lines[place] for place in range(base, end)), delimiter=delimiter, strict=True)
        wrong: str | None = None
        try:
            fields = next(reader)
        except csv.Error as malformed:
            fields, wrong = None, str(malformed)
        span = base + reader.line_num - at
        if fields is not None and span <= LONGEST_QUOTED_TEXT_IN_LINES + 1:
            yield at, span, fields
            at += span
            continue
        if span > LONGEST_QUOTED_TEXT_IN_LINES + 1:
            yield at, 1, "a quote is opened and never closed"
        elif wrong and "unexpected end of data" in wrong:
            yield at, span, None
        else:
            yield at, span, wrong
        at, reader = at + 1, None


def _header(lines: list[str], key: str, delimiter: str | None) -> tuple[list[str], int, str]:
    found = []
    for candidate in (delimiter,) if delimiter else DELIMITERS:
        reader = csv.reader(lines, delimiter=candidate, strict=True)
        try:
            found.append((next(reader), reader.line_num, candidate))
        except csv.Error as malformed:
            if delimiter:
                raise Unreadable(
                    f"The header line of {{file}} cannot be split into fields: {malformed}. Export the file again."
                ) from None
    fitting = [header for header in found if key in map(str.strip, header[0])]
    if len({tuple(columns) for columns, _, _ in fitting}) > 1:
        several = " and ".join(repr(candidate) for _, _, candidate in fitting)
        raise Unreadable(f"The header line of {{file}} can be split by {several}. Declare the delimiter.")
    if not fitting:
        columns = ", ".join(name.strip() for name in found[0][0])[:500] if found else lines[0].strip()[:500]
        raise Unreadable(f"{{file}} has no column {key!r}; it has {columns}. Check header and delimiter.")
    return fitting[0]


def _first_written(lines: Lines | None, start: int) -> int | None:
    if lines is None:
        return None
    return next((place for place in range(start, len(lines.lines)) if lines.lines[place].strip()), None)


def _with_last(parts: Iterator[Lines | Broken]) -> Iterator[tuple[Lines | Broken, bool]]:
    part = next(parts, None)
    while part is not None:
        following = next(parts, None)
        yield part, following is None
        part = following
