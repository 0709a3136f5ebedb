"""CSV as people really write it: one broken line costs that line, never the ones around it."""

import csv
import re
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

# Without a bound, one forgotten quote would swallow the rest of the file before it is noticed.
LONGEST_QUOTED_TEXT_IN_LINES = 200

_UNDECODABLE = re.compile("[\udc80-\udcff]")


@dataclass(frozen=True, slots=True)
class Row:
    line: int
    fields: list[str]
    text: str


@dataclass(frozen=True, slots=True)
class Broken:
    line: int
    reason: str
    text: str


def rows(lines: Iterable[str], delimiter: str) -> Iterator[Row | Broken]:
    """Rows in the order of the file, with the number of the line each starts on. Blank lines are skipped.

    Lines must come with their ends untouched, and undecodable bytes as lone surrogates (errors="surrogateescape").
    """
    source = iter(lines)
    ahead: deque[str] = deque()
    number = 0
    while (line := ahead.popleft() if ahead else next(source, None)) is not None:
        number += 1
        if not line.strip():
            continue
        if reason := _unstorable(line):
            yield Broken(number, reason, printable(line))
            continue
        try:
            text, taken = line, 0
            while (fields := _fields(text, delimiter)) is None:
                if taken == len(ahead):
                    ahead.extend(following for following in [next(source, None)] if following is not None)
                if taken in (len(ahead), LONGEST_QUOTED_TEXT_IN_LINES) or _unstorable(ahead[taken]):
                    raise csv.Error("a quote is opened and never closed")
                text, taken = text + ahead[taken], taken + 1
        except csv.Error as malformed:
            # Only the line that opened the quote is to blame: those pulled in after it get a chance of their own.
            yield Broken(number, f"cannot be split into fields: {malformed}", printable(line))
            continue
        yield Row(number, fields, printable(text))
        for _ in range(taken):
            ahead.popleft()
        number += taken


def _fields(text: str, delimiter: str) -> list[str] | None:
    """None while a quote is still open."""
    try:
        return next(csv.reader([text], delimiter=delimiter, strict=True))
    except csv.Error as malformed:
        if "unexpected end of data" in str(malformed):
            return None
        raise


def _unstorable(line: str) -> str | None:
    if "\0" in line:
        return "holds a NUL byte"
    if not line.isascii() and _UNDECODABLE.search(line):
        return "holds bytes that are not text in the declared encoding"
    return None


def printable(text: str) -> str:
    """The same text with what no database stores, NUL and undecodable bytes, written out as escapes."""
    return text.rstrip("\r\n").replace("\0", "\\x00").encode("utf-8", "backslashreplace").decode("utf-8")
