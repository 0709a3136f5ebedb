"""Rows in memory: tuples, because a hundred thousand of them have to fit beside the tests."""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import lru_cache
from math import inf
from operator import itemgetter
from typing import Any

from sandbox.salesforce.schema import Entity, Field
from sandbox.salesforce.soql import Reader, Row, whole_id

DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
DAY = 86_400


def new_id(prefix: str, number: int) -> str:
    digits = ""
    while number:
        number, place = divmod(number, len(DIGITS))
        digits = DIGITS[place] + digits
    return whole_id(f"{prefix}5g00{digits:0>8}")


@lru_cache(maxsize=200_000)
def moment(seconds: int) -> str:
    """A datetime as REST writes it."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.000+0000")


def seconds(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp())


def written(item: Field, value: Any) -> Any:
    """A value as REST writes it."""
    return moment(value) if item.type == "datetime" and value is not None else value


def writing(item: Field, read: Reader) -> Reader:
    """The reader of a field, its values as REST writes them."""
    return (lambda row: written(item, read(row))) if item.type == "datetime" else read


@dataclass(slots=True)
class Table:
    """All records of one object. `clock` tells the org's present in seconds, for formulas."""

    entity: Entity
    clock: Callable[[], int]
    fields: dict[str, Field] = field(init=False)
    rows: dict[str, Row] = field(default_factory=dict)
    hidden: set[str] = field(default_factory=set)
    locked: set[str] = field(default_factory=set)
    _columns: dict[str, int] = field(init=False)
    _blank: list[Any] = field(init=False)
    _by_stamp: list[tuple[int, str]] | None = None

    def __post_init__(self) -> None:
        self.fields = {item.name: item for item in self.entity.fields}
        self._number_columns()

    def visible(self) -> dict[str, Field]:
        """What the user of the integration may see, by its lower-case name."""
        return {
            name.lower(): replace(item, writable=False) if name in self.locked else item
            for name, item in self.fields.items()
            if name not in self.hidden
        }

    def reader(self, item: Field) -> Reader:
        if item.is_compound:
            parts = [(name, self.reader(self.fields[part])) for name, part in item.parts if part in self.fields]

            def compound(row: Row) -> Any:
                values = {name: read(row) for name, read in parts}
                return values if any(value is not None for value in values.values()) else None

            return compound
        if item.days_since:
            since = self.reader(self.fields[item.days_since])
            return lambda row: None if (start := since(row)) is None else (self.clock() - start) // DAY
        return itemgetter(self._columns[item.name])

    def shown(self, item: Field) -> Reader:
        """As `reader`, with moments written out as REST writes them."""
        return writing(item, self.reader(item))

    def get(self, id: str, name: str) -> Any:
        return self.reader(self.fields[name])(self.rows[id])

    def records(self, *, compounds: bool) -> dict[str, dict[str, Any]]:
        """All records by id, as REST would show them."""
        shown = [(item.name, self.shown(item)) for item in self.visible().values() if compounds or not item.is_compound]
        return {id: {name: read(row) for name, read in shown} for id, row in sorted(self.rows.items())}

    def insert(self, values: Mapping[str, Any]) -> None:
        """A new row. Stamps that this object does not have are left out."""
        row = list(self._blank)
        for name, value in values.items():
            if name in self._columns:
                row[self._columns[name]] = value
        self.rows[values["Id"]] = tuple(row)
        self._by_stamp = None

    def change(self, id: str, values: Mapping[str, Any]) -> None:
        row = list(self.rows[id])
        for name, value in values.items():
            row[self._columns[name]] = value
        self.rows[id] = tuple(row)
        self._by_stamp = None

    def remove(self, id: str) -> None:
        del self.rows[id]
        self._by_stamp = None

    def restore(self, rows: dict[str, Row]) -> None:
        self.rows = rows
        self._by_stamp = None

    def add_field(self, item: Field, default: Any) -> None:
        self.fields[item.name] = item
        if item.is_stored:
            self._number_columns()
            self.rows = {id: (*row, default) for id, row in self.rows.items()}

    def remove_field(self, name: str) -> None:
        item = self.fields.pop(name)
        if item.is_stored:
            place = self._columns[name]
            self._number_columns()
            self.rows = {id: row[:place] + row[place + 1 :] for id, row in self.rows.items()}

    def by_stamp(self, low: float = -inf, high: float = inf) -> Iterator[Row]:
        """The rows whose SystemModstamp lies between, both ends included, in the order of stamp and id."""
        if self._by_stamp is None:
            stamp = self._columns["SystemModstamp"]
            self._by_stamp = sorted((row[stamp], id) for id, row in self.rows.items())
        start = bisect_left(self._by_stamp, low, key=lambda entry: entry[0])
        end = bisect_right(self._by_stamp, high, key=lambda entry: entry[0])
        rows = self.rows
        return (rows[id] for _, id in self._by_stamp[start:end])

    def _number_columns(self) -> None:
        # A new field comes last, so that the older rows need only be lengthened.
        stored = [item for item in self.fields.values() if item.is_stored]
        self._columns = {item.name: place for place, item in enumerate(stored)}
        self._blank = [False if item.type == "boolean" else None for item in stored]
