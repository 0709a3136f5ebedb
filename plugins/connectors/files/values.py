"""Typed values as text, so that a stream means the same in every format; nested ones stay what they are in JSON.

Numbers keep the digits they were written with: 007 is no number, and 12345678901234567890 does not fit into one.
"""

import json
import re
from collections import Counter
from collections.abc import Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from math import isfinite, isnan
from typing import Any

import orjson

from connectors.files.shape import Refused, Values

# Less than what orjson and PostgreSQL take, and more than anybody means.
DEEPEST_NESTING = 100

_ESCAPED_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
_BIGGEST = 2**53


class _Number(str):
    """A number as it was written."""


def of_json(line: str) -> Values:
    """The values of one line of JSON. Raises Refused."""
    try:
        parsed = _decoder.decode(line)
    except json.JSONDecodeError as malformed:
        raise Refused(f"is no JSON: {malformed.msg} at character {malformed.pos + 1}") from None
    except RecursionError:
        raise Refused(f"is nested deeper than {DEEPEST_NESTING} levels") from None
    if not isinstance(parsed, dict):
        raise Refused(f"is no JSON object but {_kind(parsed)}")
    values = of_row(parsed)
    if "\\u" in line:
        check_storable(values)
    return values


def of_row(row: Mapping[str, Any]) -> Values:
    return {name: value or None if type(value) is str else as_text(value) for name, value in row.items()}


def check_storable(values: Values) -> None:
    """JSON can spell characters that no database stores."""
    try:
        body = orjson.dumps(values)
    except TypeError:
        raise Refused("holds half a character, which is no text") from None
    if b"\\u0000" in body and _ESCAPED_NUL.search(body):
        raise Refused("holds a NUL character")


def as_text(value: Any) -> Any:
    match value:
        case None:
            return None
        case bool():
            return "true" if value else "false"
        case str():
            return str(value) or None
        case int():
            return str(value)
        case float():
            # A missing number is NaN in the tables of pandas, and whole numbers beside it become 7.0.
            if isnan(value):
                return None
            return str(int(value)) if value.is_integer() and abs(value) < _BIGGEST else repr(value)
        case Decimal():
            return format(value, "f")
        case datetime() | date() | time():
            return value.isoformat()
        case timedelta():
            return str(value.total_seconds())
        case bytes():
            try:
                return value.decode() or None
            except UnicodeDecodeError:
                raise Refused("holds bytes that are no text") from None
        case _:
            return _nested(value, DEEPEST_NESTING)


def _nested(value: Any, levels: int) -> Any:
    if levels == 0:
        raise Refused(f"is nested deeper than {DEEPEST_NESTING} levels")
    match value:
        case Mapping():
            return {str(name): _nested(part, levels - 1) for name, part in value.items()}
        case list() | tuple():
            return [_nested(part, levels - 1) for part in value]
        case _Number():
            return _number(value)
        case None | bool() | str():
            return value
        case int():
            return value if abs(value) < 2**63 else str(value)
        case float():
            return value if isfinite(value) else None if isnan(value) else repr(value)
        case _:
            return as_text(value)


def _number(written: str) -> int | float | str:
    """The number, or its text if it is one that would lose digits."""
    if not any(sign in written for sign in ".eE"):
        return int(written) if len(written) < 19 else str(written)
    return number if isfinite(number := float(written)) else str(written)


def _kind(parsed: Any) -> str:
    match parsed:
        case list():
            return "an array"
        case _Number():
            return "a number"
        case str():
            return "a text"
        case _:
            return f"the word {json.dumps(parsed)}"


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    named = dict(pairs)
    if len(named) != len(pairs):
        ((twice, _),) = Counter(name for name, _ in pairs).most_common(1)
        raise Refused(f"names {twice!r} twice")
    return named


def _no_number(word: str) -> Any:
    raise Refused(f"is no JSON: {word} is no number there")


_decoder = json.JSONDecoder(
    object_pairs_hook=_object, parse_int=_Number, parse_float=_Number, parse_constant=_no_number
)
