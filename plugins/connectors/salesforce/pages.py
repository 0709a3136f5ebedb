"""From what Salesforce answers to records: pure, and quick enough that reading waits for the network alone.

REST answers with JSON, Bulk with CSV in which every value is text. The same record makes the same payload either way:
otherwise each change of the way would look like a change of every record.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import orjson

from connectors.contract import Record, Rejected

# Singer's order of choice: the later ones move on fewer kinds of change.
STAMPS = ("SystemModstamp", "LastModifiedDate", "CreatedDate")


def records(body: bytes) -> list[Record]:
    """The records of one REST page."""
    return records_of(orjson.loads(body)["records"])


def records_of(rows: Iterable[dict[str, Any]], stamp: str = STAMPS[0]) -> list[Record]:
    """Takes the rows over: they become the payloads. Raises KeyError, TypeError or ValueError if one is no record."""
    moment = datetime.fromisoformat
    made = []
    for row in rows:
        row.pop("attributes", None)
        at = moment(row[stamp])
        made.append(Record(row["Id"], row, at if at.tzinfo else at.replace(tzinfo=UTC), row.get("IsDeleted") is True))
    return made


def outcomes_of(rows: Sequence[Any], stamp: str = STAMPS[0]) -> tuple[list[Record], list[Rejected]]:
    """As `records_of`, but a row that is no record costs that row alone."""
    made, refused = [], []
    for position, row in enumerate(rows):
        outcome = outcome_of(row, f"row {position + 1} of the page", stamp)
        if isinstance(outcome, Record):
            made.append(outcome)
        else:
            refused.append(outcome)
    return made, refused


def outcome_of(row: Any, position: str, stamp: str = STAMPS[0]) -> Record | Rejected:
    if not isinstance(row, Mapping):
        return Rejected(position, "is not an object with fields", row)
    row_id = row.get("Id")
    if not isinstance(row_id, str) or not row_id:
        return Rejected(position, "has no Id", row)
    try:
        return records_of([dict(row)], stamp)[0]
    except (KeyError, TypeError, ValueError):
        return Rejected(position, f"{stamp} is no time: {str(row.get(stamp))[:40]}", row, row_id)


def rows_of_texts(
    header: Sequence[str], lines: Iterable[Sequence[str]], types: Mapping[str, str]
) -> list[dict[str, Any]]:
    """Rows of a Bulk result as REST would have told them, with the fields whose types describe shows."""
    hidden = [name for name in header if name not in types]
    convert = [
        (place, of_type) for place, name in enumerate(header) if (of_type := _FROM_TEXT.get(types.get(name, "")))
    ]
    rows = []
    for line in lines:
        values: list[Any] = [value or None for value in line]
        for place, of_type in convert:
            if values[place] is not None:
                values[place] = of_type(values[place])
        row = dict(zip(header, values, strict=True))
        for name in hidden:
            del row[name]
        rows.append(row)
    return rows


def _instant(text: str) -> str:
    return text[:-1] + "+0000" if text.endswith("Z") else text


def _boolean(text: str) -> bool:
    return text == "true"


_FROM_TEXT: Mapping[str, Callable[[str], Any]] = {
    "boolean": _boolean,
    "int": int,
    "long": int,
    "double": float,
    "currency": float,
    "percent": float,
    "datetime": _instant,
}
