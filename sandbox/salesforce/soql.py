"""The part of SOQL that a reader of records needs: parsed into a Query, compiled into a test of rows."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from math import inf
from typing import Any

from sandbox.salesforce.refusals import Refusal, no_such_column
from sandbox.salesforce.schema import Field

Row = tuple[Any, ...]
Reader = Callable[[Row], Any]
Test = Callable[[Row], bool]


@dataclass(frozen=True, slots=True)
class Literal:
    kind: str
    value: Any


@dataclass(frozen=True, slots=True)
class Comparison:
    field: str
    operator: str
    values: tuple[Literal, ...]


@dataclass(frozen=True, slots=True)
class Both:
    parts: tuple["Condition", ...]


@dataclass(frozen=True, slots=True)
class Either:
    parts: tuple["Condition", ...]


@dataclass(frozen=True, slots=True)
class Not:
    part: "Condition"


Condition = Comparison | Both | Either | Not


@dataclass(frozen=True, slots=True)
class Order:
    field: str
    descending: bool
    nulls_last: bool


@dataclass(frozen=True, slots=True)
class Aggregate:
    """COUNT(Id), MIN(x), MAX(x): `alias` is the name in the answer."""

    function: str
    field: str
    alias: str


@dataclass(frozen=True, slots=True)
class Query:
    """`counts` is SELECT COUNT() without a field: the number is the answer's totalSize."""

    entity: str
    fields: tuple[str, ...]
    counts: bool
    aggregates: tuple[Aggregate, ...]
    where: Condition | None
    order: tuple[Order, ...]
    limit: int | None
    offset: int


TOKEN = re.compile(
    r"""\s*(?:
        (?P<string>'(?:[^'\\]|\\.)*')
      | (?P<datetime>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:?\d\d))
      | (?P<date>\d{4}-\d\d-\d\d)
      | (?P<number>[+-]?\d+(?:\.\d+)?)
      | (?P<name>[A-Za-z_][A-Za-z0-9_.]*(?::\d+)?)
      | (?P<sign><=|>=|!=|<>|[=<>(),])
      | (?P<end>$)
    )""",
    re.VERBOSE,
)
ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "f": "\f"}
RESERVED = {"from", "where", "order", "limit", "offset", "and", "or", "not", "in", "like", "select"}
LONGEST = 100_000


def parse(text: str) -> Query:
    return _Parser(text).query()


def _malformed(reason: str) -> Refusal:
    return Refusal("MALFORMED_QUERY", reason)


class _Parser:
    def __init__(self, text: str) -> None:
        if len(text) > LONGEST:
            raise Refusal("QUERY_TOO_COMPLICATED", "The query is too long.")
        self.tokens = list(self._tokens(text))
        self.place = 0

    @staticmethod
    def _tokens(text: str) -> Iterator[tuple[str, str]]:
        place = 0
        while True:
            match = TOKEN.match(text, place)
            if not match or match.lastgroup is None:
                raise _malformed(f"line 1:{place} no viable alternative at character '{text[place : place + 1]}'")
            yield match.lastgroup, match[match.lastgroup]
            if match.lastgroup == "end":
                return
            place = match.end()

    def query(self) -> Query:
        self._want("select")
        fields, aggregates, counts = self._selected()
        self._want("from")
        entity = self._name()
        where = self._either() if self._take("where") else None
        order = tuple(self._orders()) if self._take("order") else ()
        limit = self._number() if self._take("limit") else None
        offset = self._number() if self._take("offset") else 0
        if self._take("all"):
            raise _malformed("ALL ROWS not allowed in this context")
        if self.tokens[self.place][0] != "end":
            raise _malformed(f"unexpected token: '{self.tokens[self.place][1]}'")
        if any(field.upper().startswith("FIELDS(") for field in fields) and (limit is None or limit > 200):
            raise _malformed("The SOQL FIELDS function must have a LIMIT of at most 200")
        return Query(entity, fields, counts, aggregates, where, order, limit, offset)

    def _selected(self) -> tuple[tuple[str, ...], tuple[Aggregate, ...], bool]:
        fields: list[str] = []
        aggregates: list[Aggregate] = []
        while True:
            name = self._name()
            if not self._take("("):
                fields.append(name)
            elif name.upper() == "FIELDS":
                fields.append(f"FIELDS({self._name().upper()})")
                self._want(")")
            elif name.upper() == "COUNT" and self._take(")"):
                if fields or aggregates:
                    raise _malformed("COUNT() must be the only element in the SELECT list")
                return (), (), True
            elif name.upper() in ("COUNT", "MIN", "MAX"):
                field = self._name()
                self._want(")")
                kind, word = self.tokens[self.place]
                alias = f"expr{len(aggregates)}"
                if kind == "name" and word.lower() not in RESERVED:
                    alias = self._name()
                aggregates.append(Aggregate(name.upper(), field, alias))
            else:
                raise _malformed(f"unexpected function: '{name}'")
            if not self._take(","):
                break
        if fields and aggregates:
            raise _malformed(f"Field must be grouped or aggregated: {fields[0]}")
        return tuple(fields), tuple(aggregates), False

    def _either(self) -> Condition:
        parts = [self._both()]
        while self._take("or"):
            parts.append(self._both())
        return parts[0] if len(parts) == 1 else Either(tuple(parts))

    def _both(self) -> Condition:
        parts = [self._single()]
        while self._take("and"):
            parts.append(self._single())
        return parts[0] if len(parts) == 1 else Both(tuple(parts))

    def _single(self) -> Condition:
        if self._take("not"):
            return Not(self._single())
        if self._take("("):
            inner = self._either()
            self._want(")")
            return inner
        field = self._name()
        negated = self._take("not")
        if self._take("in"):
            self._want("(")
            values = [self._literal()]
            while self._take(","):
                values.append(self._literal())
            self._want(")")
            return Comparison(field, "not in" if negated else "in", tuple(values))
        if self._take("like"):
            return Comparison(field, "like", (self._literal(),))
        for operator in ("<=", ">=", "!=", "<>", "=", "<", ">"):
            if self._take(operator):
                return Comparison(field, "!=" if operator == "<>" else operator, (self._literal(),))
        raise _malformed(f"unexpected token: '{self.tokens[self.place][1]}'")

    def _orders(self) -> Iterator[Order]:
        self._want("by")
        while True:
            field = self._name()
            descending = not self._take("asc") and self._take("desc")
            nulls_last = False
            if self._take("nulls"):
                nulls_last = not self._take("first")
                if nulls_last:
                    self._want("last")
            yield Order(field, descending, nulls_last)
            if not self._take(","):
                return

    def _literal(self) -> Literal:
        kind, word = self.tokens[self.place]
        self.place += 1
        match kind:
            case "string":
                return Literal(kind, re.sub(r"\\(.)", lambda found: ESCAPES.get(found[1], found[1]), word[1:-1]))
            case "number":
                return Literal(kind, float(word) if "." in word else int(word))
            case "datetime":
                return Literal(kind, datetime.fromisoformat(word).timestamp())
            case "date":
                return Literal(kind, word)
            case "name" if word.lower() in ("true", "false"):
                return Literal("boolean", word.lower() == "true")
            case "name" if word.lower() == "null":
                return Literal("null", None)
            case "name" if re.fullmatch(r"TODAY|YESTERDAY|LAST_N_DAYS:\d+", word.upper()):
                return Literal("day", word.upper())
        raise _malformed(f"unexpected token: '{word}'")

    def _take(self, word: str) -> bool:
        kind, found = self.tokens[self.place]
        if kind in ("name", "sign") and found.lower() == word:
            self.place += 1
            return True
        return False

    def _want(self, word: str) -> None:
        if not self._take(word):
            raise _malformed(f"unexpected token: '{self.tokens[self.place][1]}' (expecting '{word}')")

    def _name(self) -> str:
        kind, word = self.tokens[self.place]
        if kind != "name" or word.lower() in RESERVED:
            raise _malformed(f"unexpected token: '{word}'")
        self.place += 1
        return word

    def _number(self) -> int:
        literal = self._literal()
        if literal.kind != "number" or not isinstance(literal.value, int) or literal.value < 0:
            raise _malformed(f"unexpected token: '{literal.value}'")
        return literal.value


@dataclass(frozen=True, slots=True)
class Columns:
    """What a compiled condition knows of the object: its visible fields by lower-case name, and how to read a row."""

    entity: str
    fields: Mapping[str, Field]
    reader: Callable[[Field], Reader]
    now: datetime

    def field(self, name: str) -> Field:
        found = self.fields.get(name.lower())
        if found is None:
            raise no_such_column(name, self.entity)
        return found


def compiled(condition: Condition, columns: Columns) -> Test:
    match condition:
        case Both(parts):
            tests = [compiled(part, columns) for part in parts]
            return lambda row: all(test(row) for test in tests)
        case Either(parts):
            tests = [compiled(part, columns) for part in parts]
            return lambda row: any(test(row) for test in tests)
        case Not(part):
            test = compiled(part, columns)
            return lambda row: not test(row)
        case Comparison(name, operator, literals):
            field = columns.field(name)
            if field.is_compound:
                raise Refusal("INVALID_FIELD", f"field '{field.name}' can not be filtered in a query call")
            values = [_value(field, literal, columns.now) for literal in literals]
            return _comparison(_folded(field, columns.reader(field)), operator, values)


def span(condition: Condition | None, field: str) -> tuple[float, float]:
    """Between which values of a datetime field every row that can pass must lie: what an index is good for."""
    match condition:
        case Both(parts):
            lows, highs = zip(*(span(part, field) for part in parts), strict=True)
            return max(lows), min(highs)
        case Either(parts):
            lows, highs = zip(*(span(part, field) for part in parts), strict=True)
            return min(lows), max(highs)
        case Comparison(name, operator, (Literal("datetime", value),)) if name.lower() == field.lower():
            if operator in (">", ">="):
                return value, inf
            if operator in ("<", "<="):
                return -inf, value
            if operator == "=":
                return value, value
    return -inf, inf


KINDS = {
    "boolean": {"boolean"},
    "int": {"number"},
    "double": {"number"},
    "currency": {"number"},
    "percent": {"number"},
    "date": {"date", "day"},
    "datetime": {"datetime", "day"},
}


def _value(field: Field, literal: Literal, now: datetime) -> Any:
    if literal.kind == "null":
        return None
    if literal.kind not in KINDS.get(field.type, {"string"}):
        quoted = " and should not be enclosed in quotes" if literal.kind == "string" else ""
        raise Refusal(
            "INVALID_FIELD",
            f"\nERROR at Row:1:Column:1\nvalue of filter criterion for field '{field.name}' must be of type "
            f"{field.type}{quoted}",
        )
    if literal.kind == "day":
        day = _day(literal.value, now)
        return day.timestamp() if field.type == "datetime" else day.date().isoformat()
    if field.type in ("id", "reference"):
        return whole_id(literal.value)
    return literal.value.lower() if literal.kind == "string" else literal.value


def _day(word: str, now: datetime) -> datetime:
    midnight = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    back = {"TODAY": 0, "YESTERDAY": 1}.get(word)
    return midnight - timedelta(days=int(word.partition(":")[2]) if back is None else back)


def _folded(field: Field, read: Reader) -> Reader:
    """Text is compared without regard to case; ids are not."""
    if field.type in KINDS or field.type in ("id", "reference"):
        return read
    return lambda row: None if (value := read(row)) is None else value.lower()


def _comparison(read: Reader, operator: str, values: list[Any]) -> Test:
    value = values[0]
    match operator:
        case "=":
            return lambda row: bool(read(row) == value)
        case "!=":
            return lambda row: bool(read(row) != value)
        case "in":
            among = frozenset(values)
            return lambda row: read(row) in among
        case "not in":
            among = frozenset(values)
            return lambda row: read(row) not in among
        case "like":
            pattern = re.compile(
                "".join(".*" if c == "%" else "." if c == "_" else re.escape(c) for c in str(value)), re.DOTALL
            )
            return lambda row: pattern.fullmatch(read(row) or "") is not None
    if value is None:
        raise _malformed("null can only be compared with = and !=")
    match operator:
        case "<":
            return lambda row: (found := read(row)) is not None and found < value
        case "<=":
            return lambda row: (found := read(row)) is not None and found <= value
        case ">":
            return lambda row: (found := read(row)) is not None and found > value
    return lambda row: (found := read(row)) is not None and found >= value


ID_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"


def whole_id(id: str) -> str:
    """The 18 characters of an id, whose last three tell which of the first fifteen are capitals."""
    if len(id) != 15:
        return id
    return id + _mark(id[:5]) + _mark(id[5:10]) + _mark(id[10:])


@cache
def _mark(letters: str) -> str:
    return ID_LETTERS[sum(1 << place for place, letter in enumerate(letters) if letter.isupper())]
