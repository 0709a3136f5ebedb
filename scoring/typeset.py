"""Text by the hundred thousand: columns of bytes side by side, with holes that close when the rows are set.

Formatting a number in Python takes 0.3 to 0.5 microseconds; a night has some millions of them. Here it takes a tenth.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from scoring.arrays import Codes, Flags, Floats, Ints

Bytes = npt.NDArray[np.uint8]

DECIMALS = 11  # parts so written add up to the score to 1e-9, and a breakdown stays short
_HOLE = 0
_GROUP = 10_000
_GROUPS = np.array([f"{number:04d}" for number in range(_GROUP)], dtype="S4").view(np.uint32)
# The same with holes for leading zeros, of which the last few stay.
_LEADING = [
    np.array([f"{number or '':0>{kept}}".rjust(4, "\0") for number in range(_GROUP)], dtype="S4").view(np.uint32)
    for kept in range(4)
]
_BYTES_AT_ONCE = 1 << 21  # a page that stays in the processor's cache


@dataclass(frozen=True)
class Words:
    """A choice of texts, and which of them stands in each row. They are spread out page by page only."""

    letters: Bytes
    code: Codes


Column = bytes | Bytes | Words


def lines(columns: Sequence[Column], rows: int) -> Iterator[str]:
    """Columns of that many rows side by side, row by row; plain bytes are the same in each row."""
    at = _ends(columns, rows)
    for begin, end, text in _pages(columns, rows):
        yield from (text[here:there] for here, there in pairwise((at[begin : end + 1] - at[begin]).tolist()))


def runs(columns: Sequence[Column], bounds: Ints, skip: int) -> list[str]:
    """Rows bounds[i] to bounds[i + 1] as one text each, without the first `skip` letters of it."""
    rows = int(bounds[-1])
    at = _ends(columns, rows)[bounds].tolist()
    text = "".join(text for _, _, text in _pages(columns, rows))
    return [text[here + skip : there] for here, there in pairwise(at)]


def _pages(columns: Sequence[Column], rows: int) -> Iterator[tuple[int, int, str]]:
    widths = [_width(column) for column in columns]
    step = max(1, _BYTES_AT_ONCE // max(sum(widths), 1))
    page = np.empty((step, sum(widths)), dtype=np.uint8)
    for begin in range(0, rows, step):
        end = min(begin + step, rows)
        place = 0
        for column, width in zip(columns, widths, strict=True):
            page[: end - begin, place : place + width] = _spread(column, begin, end)
            place += width
        letters = page[: end - begin]
        yield begin, end, letters[letters != _HOLE].tobytes().decode("ascii")


def _ends(columns: Sequence[Column], rows: int) -> Ints:
    """Where each row begins, and at last where all end."""
    lengths = sum((_lengths(column) for column in columns), np.zeros(rows, dtype=np.int64))
    return np.concatenate([[0], np.cumsum(lengths)])


def _lengths(column: Column) -> Ints | int:
    if isinstance(column, bytes):
        return len(column)
    letters = column.letters if isinstance(column, Words) else column
    lengths: Ints = np.count_nonzero(letters, axis=1).astype(np.int64)
    return lengths.take(column.code) if isinstance(column, Words) else lengths


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
    """Whole numbers from 0 to 10^16."""
    return _digits(values.astype(np.int64))


def decimals(values: Floats) -> Bytes:
    """Numbers from -10^5 to 10^5 to 11 decimals, without needless zeros: 0.0, 28.3469, -6.5."""
    scaled = np.rint(values * 10.0**DECIMALS).astype(np.int64)
    columns = np.full((len(values), 18), ord("."), dtype=np.uint8)
    columns[:, 0] = np.where(scaled < 0, np.uint8(ord("-")), np.uint8(_HOLE))
    digits = _digits(np.abs(scaled), keeping=DECIMALS + 1)
    columns[:, 1:6], columns[:, 7:] = digits[:, :5], digits[:, 5:]
    round_ones = np.flatnonzero(digits[:, -1] == ord("0"))
    for place in range(17, 7, -1):
        round_ones = round_ones[columns[round_ones, place] == ord("0")]
        columns[round_ones, place] = _HOLE
    return columns


def _digits(values: Ints, keeping: int = 1) -> Bytes:
    """Sixteen digits, holes for leading zeros but for the last `keeping` digits, which are one more than whole groups
    or one."""
    groups = np.empty((len(values), 4), dtype=np.uint32)
    for place in (3, 2, 1, 0):
        higher = values // _GROUP
        group = values - higher * _GROUP
        digits_kept = keeping - 4 * (3 - place)
        if digits_kept >= 4:
            groups[:, place] = _GROUPS.take(group)
        else:
            leads = _LEADING[max(digits_kept, 0)].take(group)
            groups[:, place] = np.where(higher > 0, _GROUPS.take(group), leads) if place else leads
        values = higher
    return groups.view(np.uint8).reshape(len(groups), 16)
