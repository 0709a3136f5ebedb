"""SOQL over the org's tables, and the cursors of answers that do not fit on one page."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from sandbox.salesforce import soql
from sandbox.salesforce.org import Org
from sandbox.salesforce.refusals import Refusal
from sandbox.salesforce.schema import Field
from sandbox.salesforce.soql import Columns, Order, Query, Reader, Row, Test
from sandbox.salesforce.tables import Table, writing, written

FEWEST_PER_PAGE, MOST_PER_PAGE = 200, 2000
# A user's eleventh open cursor closes the first.
OPEN_CURSORS = 10
CURSOR_LIVES = 2 * 24 * 3600


@dataclass(frozen=True, slots=True)
class Answer:
    """Rows as they stood when they were asked for, with the readers of that moment: columns come and go.

    `numbers` is the one row of an aggregate.
    """

    entity: str
    columns: tuple[tuple[Field, Reader], ...]
    id: Reader
    rows: list[Row]
    total: int
    numbers: dict[str, Any] | None = None

    def records(self, version: str, start: int, end: int) -> list[dict[str, Any]]:
        if self.numbers is not None:
            return [{"attributes": {"type": "AggregateResult"}} | self.numbers]
        place = f"/services/data/v{version}/sobjects/{self.entity}"
        shown = [(item.name, writing(item, read)) for item, read in self.columns]
        return [
            {"attributes": {"type": self.entity, "url": f"{place}/{self.id(row)}"}}
            | {name: read(row) for name, read in shown}
            for row in self.rows[start:end]
        ]


def ask(org: Org, text: str, *, everything: bool) -> Answer:
    """`everything` is queryAll: what is in the recycle bin and in the archive as well."""
    query = soql.parse(text)
    table = org.table(query.entity)
    columns = Columns(table.entity.name, table.visible(), table.reader, org.now)
    selected = tuple((item, table.reader(item)) for item in _selected(query, columns))
    name, ids = table.entity.name, table.reader(table.fields["Id"])
    rows = _matching(query, table, columns, everything)
    if query.counts or query.aggregates:
        found = list(rows)
        if query.counts:
            return Answer(name, (), ids, [], len(found))
        return Answer(name, (), ids, [], 1, dict(_aggregates(query, columns, found)))
    if not (_in_index_order(query.order) and query.limit is not None):
        rows = iter(_sorted(list(rows), query.order, columns))
    end = None if query.limit is None else query.offset + query.limit
    found = list(islice(rows, query.offset, end))
    return Answer(name, selected, ids, found, len(found))


def _selected(query: Query, columns: Columns) -> Iterator[Field]:
    seen = set()
    for name in query.fields:
        if name.startswith("FIELDS("):
            yield from (
                item
                for item in columns.fields.values()
                if name == "FIELDS(ALL)" or item.is_custom == ("CUSTOM" in name)
            )
            continue
        if "." in name:
            own, _, rest = name.partition(".")
            if own.lower() != columns.entity.lower():
                raise Refusal("INVALID_FIELD", f"Didn't understand relationship '{own}' in field path.")
            name = rest
        if name.lower() in seen:
            raise Refusal("INVALID_FIELD", f"duplicate field selected: {name}")
        seen.add(name.lower())
        yield columns.field(name)


def _matching(query: Query, table: Table, columns: Columns, everything: bool) -> Iterator[Row]:
    tests: list[Test] = []
    if query.where is not None:
        tests.append(soql.compiled(query.where, columns))
    if not everything:
        flags = (table.fields[name] for name in ("IsDeleted", "IsArchived") if name in table.fields)
        tests.extend(_unset(table.reader(flag)) for flag in flags)
    rows = table.by_stamp(*soql.span(query.where, "SystemModstamp"))
    return (row for row in rows if all(test(row) for test in tests))


def _unset(read: Reader) -> Test:
    return lambda row: not read(row)


def _in_index_order(order: tuple[Order, ...]) -> bool:
    names = [item.field.lower() for item in order]
    return names in (["systemmodstamp"], ["systemmodstamp", "id"]) and not any(item.descending for item in order)


def _sorted(rows: list[Row], order: tuple[Order, ...], columns: Columns) -> list[Row]:
    """Without an order Salesforce promises none; here it is that of the ids."""
    for item in reversed(order or (Order("Id", descending=False, nulls_last=False),)):
        read = columns.reader(columns.field(item.field))
        nulls = [row for row in rows if read(row) is None]
        known = sorted((row for row in rows if read(row) is not None), key=read, reverse=item.descending)
        rows = known + nulls if item.nulls_last else nulls + known
    return rows


def _aggregates(query: Query, columns: Columns, rows: list[Row]) -> Iterator[tuple[str, Any]]:
    for aggregate in query.aggregates:
        item = columns.field(aggregate.field)
        read = columns.reader(item)
        known = [value for row in rows if (value := read(row)) is not None]
        if aggregate.function == "COUNT":
            yield aggregate.alias, len(known)
            continue
        value = (min if aggregate.function == "MIN" else max)(known, default=None)
        yield aggregate.alias, written(item, value)


@dataclass(slots=True)
class Cursor:
    answer: Answer
    session: str
    page: int
    opened: int


@dataclass(slots=True)
class Cursors:
    """The answers that are still being paged through. A cursor belongs to the session that opened it."""

    open: dict[str, Cursor] = field(default_factory=dict)
    opened: int = 0

    def first_page(self, answer: Answer, session: str, page: int, version: str, now: int) -> dict[str, Any]:
        if len(answer.rows) <= page:
            return {"totalSize": answer.total, "done": True, "records": answer.records(version, 0, page)}
        self.opened += 1
        locator = f"0r8{self.opened:012}AAA"
        while len(self.open) >= OPEN_CURSORS:
            del self.open[next(iter(self.open))]
        self.open[locator] = Cursor(answer, session, page, now)
        return self._page(locator, 0, version)

    def later_page(self, locator: str, session: str, version: str, now: int) -> dict[str, Any]:
        name, _, place = locator.partition("-")
        cursor = self.open.get(name)
        if cursor is None or not place.isdecimal() or now > cursor.opened + CURSOR_LIVES:
            raise Refusal("INVALID_QUERY_LOCATOR", "invalid query locator")
        if cursor.session != session:
            # A fresh session does not help: only asking the query again does.
            raise Refusal("INVALID_SESSION_ID", "Session expired or invalid", status=401)
        return self._page(name, int(place), version)

    def _page(self, locator: str, start: int, version: str) -> dict[str, Any]:
        cursor = self.open[locator]
        end = start + cursor.page
        page: dict[str, Any] = {"totalSize": cursor.answer.total, "done": end >= len(cursor.answer.rows)}
        if not page["done"]:
            page["nextRecordsUrl"] = f"/services/data/v{version}/query/{locator}-{end}"
        return page | {"records": cursor.answer.records(version, start, end)}


def page_size(options: str) -> int:
    """From the header Sforce-Query-Options: batchSize=500."""
    name, _, size = options.partition("=")
    if name.strip() == "batchSize" and size.strip().isdecimal():
        return min(MOST_PER_PAGE, max(FEWEST_PER_PAGE, int(size)))
    return MOST_PER_PAGE
