"""Text by the hundred thousand: columns of bytes side by side, with holes that close when the rows are set.

Formatting a number in Python takes 0.3 to 0.5 microseconds; a night has some millions of them. Here it takes a tenth.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from scoring.arrays import Codes, Flags, Floats, Ints, Objects

Bytes = npt.NDArray[np.uint8]

DECIMALS = 11  # parts so written add up to the score to 1e-9, and a breakdown stays short
_HOLE = 0
_GROUP = 10_000


def _groups(write: Callable[[str], str]) -> npt.NDArray[np.uint32]:
    """Four digits of each number as four bytes; what is not written is a hole."""
    written = [write(f"{number:04d}") for number in range(_GROUP)]
    return np.array([text.replace(" ", "\0") for text in written], dtype="S4").view(np.uint32)


_GROUPS = _groups(str)
_LEADING = _groups(lambda digits: digits.lstrip("0").rjust(4))
_UNIT = _groups(lambda digits: (digits.lstrip("0") or "0").rjust(4))
_TRAILING = _groups(lambda digits: digits.rstrip("0"))
_TENTH = _groups(lambda digits: digits[:2] + digits[2:].rstrip("0"))
_BYTES_AT_ONCE = 1 << 21  # a page that stays in the processor's cache


@dataclass(frozen=True)
class Words:
    """A choice of texts, and which of them stands in each row. They are spread out page by page only."""

    letters: Bytes
    code: Codes


Column = bytes | Bytes | Words


def lines(columns: Sequence[Column], rows: int) -> Iterator[str]:
    """Columns of that many rows side by side, row by row; plain bytes are the same in each row."""
    for text in _pages([*columns, b"\n"], rows):
        yield from text.split("\n")[:-1]


def runs(columns: Sequence[Column], bounds: Ints) -> Objects:
    """Rows bounds[i] to bounds[i + 1] as one text each, with commas between them."""
    rows = int(bounds[-1])
    some = np.flatnonzero(np.diff(bounds))
    comma, end = np.ones(rows, dtype=bool), np.zeros(rows, dtype=bool)
    comma[bounds[some]], end[bounds[some + 1] - 1] = False, True
    text = "".join(_pages([where(comma, ","), *columns, where(end, "\n")], rows))
    found: Objects = np.full(len(bounds) - 1, "", dtype=object)
    found[some] = text.split("\n")[:-1]
    return found


def _pages(columns: Sequence[Column], rows: int) -> Iterator[str]:
    widths = [_width(column) for column in columns]
    step = min(rows, max(1, _BYTES_AT_ONCE // max(sum(widths), 1)))
    page = np.empty((step, sum(widths)), dtype=np.uint8)
    for begin in range(0, rows, max(step, 1)):
        end = min(begin + step, rows)
        place = 0
        for column, width in zip(columns, widths, strict=True):
            page[: end - begin, place : place + width] = _spread(column, begin, end)
            place += width
        letters = page[: end - begin]
        yield letters[letters != _HOLE].tobytes().decode("ascii")


def _width(column: Column) -> int:
    if isinstance(column, bytes):
        return len(column)
    return int((column.letters if isinstance(column, Words) else column).shape[1])


def _spread(column: Column, begin: int, end: int) -> Bytes:
    if isinstance(column, bytes):
        return np.frombuffer(column, dtype=np.uint8)
    if isinstance(column, Words):
        return column.letters.take(column.code[begin:end], axis=0)
    return column[begin:end]


def words(choice: Sequence[str], code: Codes | Flags) -> Words:
    """choice[code] for each row. The choice is ASCII, as JSON can always be."""
    letters = np.array(choice or [""], dtype=bytes)
    return Words(letters.view(np.uint8).reshape(len(letters), -1), code.astype(np.int64))


def where(condition: Flags, text: str) -> Words:
    return words(["", text], condition)


def only(condition: Flags, column: Bytes | Words) -> Bytes | Words:
    """Nothing in the rows where the condition does not hold."""
    if isinstance(column, Words):
        nothing = np.zeros((1, column.letters.shape[1]), dtype=np.uint8)
        return Words(np.concatenate([column.letters, nothing]), np.where(condition, column.code, len(column.letters)))
    column[~condition] = _HOLE
    return column


def integers(values: Codes) -> Bytes:
    """Whole numbers from 0 to 10^8."""
    high, low = np.divmod(values.astype(np.int64), _GROUP)
    groups = np.empty((len(values), 2), dtype=np.uint32)
    groups[:, 0] = _LEADING.take(high)
    groups[:, 1] = np.where(high > 0, _GROUPS.take(low), _UNIT.take(low))
    return groups.view(np.uint8).reshape(len(groups), 8)


def decimals(values: Floats) -> Bytes:
    """Numbers from -10^5 to 10^5 to 11 decimals, without needless zeros: 0.0, 28.3469, -6.5."""
    scaled = np.rint(values * 10.0**DECIMALS).astype(np.int64)
    rest, last = np.divmod(np.abs(scaled), _GROUP)
    rest, third = np.divmod(rest, _GROUP)
    first, second = np.divmod(rest, _GROUP)
    # Five digits and eleven decimals: the point comes after the first digit of the second group.
    groups = np.empty((len(values), 4), dtype=np.uint32)
    groups[:, 0] = _LEADING.take(first)
    groups[:, 1] = np.where((third == 0) & (last == 0), _TENTH.take(second), _GROUPS.take(second))
    groups[:, 2] = np.where(last == 0, _TRAILING.take(third), _GROUPS.take(third))
    groups[:, 3] = _TRAILING.take(last)
    digits = groups.view(np.uint8).reshape(len(groups), 16)
    columns = np.empty((len(values), 18), dtype=np.uint8)
    columns[:, 0] = np.where(scaled < 0, np.uint8(ord("-")), np.uint8(_HOLE))
    columns[:, 1:6], columns[:, 6], columns[:, 7:] = digits[:, :5], ord("."), digits[:, 5:]
    return columns
