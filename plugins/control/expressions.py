"""A small language for field mappings: read to a tree, never handed on as text.

    if(number(replace(employees, ',', '')) >= 1000, 'enterprise', coalesce(segment, 'other'))

    Industry  "Odd name (custom)"       fields of the record
    'text'  'it''s'  12  12.5           what is written out
    lower(t)  upper(t)  trim(t)         coalesce(a, b, ...)       concat(a, b, ...)
    replace(t, 'from', 'to')            substr(t, 1, 3)           split_part(t, '@', 2)
    number(t)  round(n)  round(n, 2)    if(condition, a, b)
    = != <> < <= > >=  and or not       + - * /

A field is text: what holds a list or an object is empty to an expression, and so is a field that is not there.
`number` reads up to 20 digits on either side of the point and gives nothing for anything else; nothing stays nothing
through every function but coalesce, concat and if; what is divided by 0 is nothing.

`evaluate` and `compile_sql` say the same in Python and in PostgreSQL. The SQL consists of this module's own words: all
that a stranger wrote are field names and texts, and they become literals in which whatever is not a plain letter is
an escape. It can't fail on any record, so that one odd cell stops no run, and grows with the expression, not faster.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Context, Decimal
from enum import StrEnum
from functools import cached_property
from typing import Any, ClassVar

LONGEST = 2_000
DEEPEST = 40
LONGEST_FIELD_NAME = 200
# of a field's text, and of what a replacement makes of it: without a bound, nested replacements grow without one
LONGEST_TEXT = 10_000
LONGEST_QUOTED = 100
DIGITS = 20
DIGITS_OF_A_QUOTIENT = 10

# what spreadsheets and web forms leave around a value
BLANKS = " \t\n\r\f\v\u00a0"

NUMBER = rf"[+-]?[0-9]{{1,{DIGITS}}}(?:\.[0-9]{{1,{DIGITS}}})?"
COLUMN = re.compile(r"[a-z_][a-z0-9_]*(\.[a-z_][a-z0-9_]*)?")

# wide enough for any expression of the longest length over numbers of the most digits: no result is rounded
EXACT = Context(prec=100_000)

Value = str | Decimal | bool | None


class ExpressionError(ValueError):
    """What is wrong, where, and what is allowed there."""

    def __init__(self, position: int, reason: str) -> None:
        super().__init__(f"at character {position + 1}: {reason}")


class Kind(StrEnum):
    TEXT = "text"
    NUMBER = "a number"
    CONDITION = "a condition"


# ── the tree ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Literal:
    value: str | Decimal
    depth: ClassVar[int] = 1

    @property
    def kind(self) -> Kind:
        return Kind.TEXT if isinstance(self.value, str) else Kind.NUMBER


@dataclass(frozen=True)
class Field:
    name: str
    kind: ClassVar[Kind] = Kind.TEXT
    depth: ClassVar[int] = 1


@dataclass(frozen=True)
class Call:
    """A function or an operator with its arguments; `kind` is what it gives."""

    function: str
    arguments: "tuple[Tree, ...]"
    kind: Kind

    @cached_property
    def depth(self) -> int:
        return 1 + max(argument.depth for argument in self.arguments)


Tree = Literal | Field | Call


def fields(tree: Tree) -> set[str]:
    """The fields of the record that the expression reads."""
    match tree:
        case Field(name):
            return {name}
        case Call(_, arguments):
            return {name for argument in arguments for name in fields(argument)}
        case _:
            return set()


# ── what there is to call ────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Quoted:
    """An argument that must be a quoted text: data may not decide it."""

    shortest: int

    def __str__(self) -> str:
        return f"a quoted text of {self.shortest} to {LONGEST_QUOTED} characters"


@dataclass(frozen=True)
class Whole:
    """An argument that must be a whole number written out."""

    least: int
    most: int

    def __str__(self) -> str:
        return f"a whole number from {self.least} to {self.most}"


class Open(StrEnum):
    """An argument of either kind. Those that are ALIKE share one, and the function may give it."""

    ALIKE = "text or a number, all alike"
    EACH = "text or a number"


Parameter = Kind | Quoted | Whole | Open


@dataclass(frozen=True)
class Function:
    """`sql` and `value` are two writings of one thing. Unless `total`, nothing in any argument makes nothing."""

    parameters: tuple[Parameter, ...]
    gives: Kind | Open
    sql: str
    value: Callable[..., Value]
    optional: int = 0
    variadic: bool = False
    total: bool = False

    def takes(self, count: int) -> bool:
        least = len(self.parameters) - self.optional
        return least <= count and (self.variadic or count <= len(self.parameters))

    def parameter(self, index: int) -> Parameter:
        return self.parameters[min(index, len(self.parameters) - 1)]


def _lower(text: str) -> str:
    # one letter for one letter, as PostgreSQL does it
    return "".join(letter.lower()[0] for letter in text)


def _upper(text: str) -> str:
    return "".join(next((one for one in (letter.upper(), letter.title()) if len(one) == 1), letter) for letter in text)


def _number(text: str) -> Decimal | None:
    text = text.strip(BLANKS)
    return Decimal(text) if re.fullmatch(NUMBER, text) else None


def _round(number: Decimal, digits: Decimal = Decimal(0)) -> Decimal:
    return number.quantize(Decimal(1).scaleb(-int(digits)), ROUND_HALF_UP, EXACT)


def _quotient(dividend: Decimal, divisor: Decimal) -> Decimal | None:
    if divisor == 0:
        return None
    # one digit more than is kept, cut off: rounding it afterwards is exact
    scale = DIGITS_OF_A_QUOTIENT + 1
    whole = EXACT.divide_int(dividend.scaleb(scale, EXACT), divisor)
    return _round(whole.scaleb(-scale, EXACT), Decimal(DIGITS_OF_A_QUOTIENT))


def _part(text: str, separator: str, place: Decimal) -> str:
    parts = text.split(separator)
    return parts[int(place) - 1] if place <= len(parts) else ""


def _plain(number: Decimal) -> str:
    text = f"{number:f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text in ("-0", "") else text


def _both(left: bool | None, right: bool | None) -> bool | None:
    return False if left is False or right is False else None if left is None or right is None else True


def _either(left: bool | None, right: bool | None) -> bool | None:
    return True if left is True or right is True else None if left is None or right is None else False


def _literal(text: str) -> str:
    r"""An SQL literal in which nothing but plain letters, digits and `_ ,.@` stands for itself.

    With quotes, backslashes, comments, braces, percent signs and colons gone, whoever passes the SQL on (dbt, Jinja, a
    driver) finds nothing to take for its own.
    """
    escaped = re.sub(r"[^A-Za-z0-9_ ,.@]", lambda odd: _escape(ord(odd.group())), text)
    return f"{'' if escaped == text else 'E'}'{escaped}'::text"


def _escape(point: int) -> str:
    return f"\\u{point:04x}" if point <= 0xFFFF else f"\\U{point:08x}"


T, N, C = Kind.TEXT, Kind.NUMBER, Kind.CONDITION

FUNCTIONS: Mapping[str, Function] = {
    "lower": Function((T,), T, "lower({0})", _lower),
    "upper": Function((T,), T, "upper({0})", _upper),
    "trim": Function((T,), T, f"btrim({{0}}, {_literal(BLANKS)})", lambda text: text.strip(BLANKS)),
    "coalesce": Function(
        (Open.ALIKE,), Open.ALIKE, "coalesce({all})",
        lambda *values: next((value for value in values if value is not None), None), variadic=True, total=True,
    ),
    "concat": Function(
        (Open.EACH,), T, "concat({all})",
        lambda *values: "".join(value for value in values if value is not None), variadic=True, total=True,
    ),
    "replace": Function(
        (T, Quoted(1), Quoted(0)), T, f"left(replace(left({{0}}, {LONGEST_TEXT}), {{1}}, {{2}}), {LONGEST_TEXT})",
        lambda text, old, new: text[:LONGEST_TEXT].replace(old, new)[:LONGEST_TEXT],
    ),
    "substr": Function(
        (T, Whole(1, LONGEST_TEXT), Whole(0, LONGEST_TEXT)), T, "substr({all})",
        lambda text, start, length: text[int(start) - 1 : int(start) - 1 + int(length)],
    ),
    "split_part": Function((T, Quoted(1), Whole(1, 100)), T, "split_part({all})", _part),
    "if": Function(
        (C, Open.ALIKE, Open.ALIKE), Open.ALIKE, "case when {0} then {1} else {2} end",
        lambda condition, then, otherwise: then if condition else otherwise, total=True,
    ),
    "number": Function(
        (T,), N, f"substring(btrim({{0}}, {_literal(BLANKS)}), {_literal(f'^{NUMBER}$')})::numeric", _number
    ),
    "round": Function((N, Whole(0, DIGITS_OF_A_QUOTIENT)), N, "round({all})", _round, optional=1),
}  # fmt: skip

OPERATORS: Mapping[str, Function] = {
    "+": Function((N, N), N, "{0} + {1}", EXACT.add),
    "-": Function((N, N), N, "{0} - {1}", EXACT.subtract),
    "*": Function((N, N), N, "{0} * {1}", EXACT.multiply),
    # div() cuts off, exactly; PostgreSQL's own / chooses its digits by the operands
    "/": Function((N, N), N, "round(div({0} * 100000000000, nullif({1}, 0)) * 0.00000000001, 10)", _quotient),
    "negative": Function((N,), N, "- {0}", EXACT.minus),
    "as text": Function((N,), T, "trim_scale({0})::text", _plain),
    "=": Function((Open.ALIKE, Open.ALIKE), C, "{0} = {1}", lambda left, right: left == right),
    "!=": Function((Open.ALIKE, Open.ALIKE), C, "{0} <> {1}", lambda left, right: left != right),
    "<": Function((Open.ALIKE, Open.ALIKE), C, "{0} < {1}", lambda left, right: left < right),
    "<=": Function((Open.ALIKE, Open.ALIKE), C, "{0} <= {1}", lambda left, right: left <= right),
    ">": Function((Open.ALIKE, Open.ALIKE), C, "{0} > {1}", lambda left, right: left > right),
    ">=": Function((Open.ALIKE, Open.ALIKE), C, "{0} >= {1}", lambda left, right: left >= right),
    "and": Function((C, C), C, "{0} and {1}", _both, total=True),
    "or": Function((C, C), C, "{0} or {1}", _either, total=True),
    "not": Function((C,), C, "not {0}", lambda condition: not condition),
}

_COMPARISONS = ("=", "!=", "<", "<=", ">", ">=")


# ── both meanings ────────────────────────────────────────────────────────────────────────────────────────────────────


def evaluate(tree: Tree, record: Mapping[str, Any]) -> str | None:
    """The expression's text for this record (as JSON gives it); None for nothing."""
    value = _value(_as_text(tree), record)
    assert value is None or isinstance(value, str)
    return value


def compile_sql(tree: Tree, payload_column: str) -> str:
    """The same as SQL over a jsonb column. It is of type text, as a field is."""
    if not COLUMN.fullmatch(payload_column):
        raise ValueError(f"{payload_column!r} is no column name that this compiles to")
    return _sql(_as_text(tree), payload_column)


def _as_text(tree: Tree) -> Tree:
    return Call("as text", (tree,), T) if tree.kind == N else tree


def _function(name: str) -> Function:
    return FUNCTIONS.get(name) or OPERATORS[name]


def _value(tree: Tree, record: Mapping[str, Any]) -> Value:
    match tree:
        case Literal(value):
            return value
        case Field(name):
            return _text_of(record.get(name))
        case Call(name, arguments):
            function = _function(name)
            values = [_value(argument, record) for argument in arguments]
            if not function.total and None in values:
                return None
            return function.value(*values)


def _text_of(value: Any) -> str | None:
    """What PostgreSQL's ->> makes of a JSON value."""
    match value:
        case str():
            text = value
        case bool():
            text = "true" if value else "false"
        case int() | float() | Decimal():
            number = Decimal(repr(value)) if isinstance(value, float) else Decimal(value)
            text = f"{number if number else number.copy_abs():f}"
        case _:
            return None
    return text[:LONGEST_TEXT]


def _sql(tree: Tree, column: str) -> str:
    match tree:
        case Literal(str(text)):
            return _literal(text)
        case Literal(number):
            return f"{number:f}::numeric"
        case Field(name):
            key = _literal(name)
            return (
                f"(case when jsonb_typeof({column} -> {key}) not in ('object', 'array')"
                f" then left({column} ->> {key}, {LONGEST_TEXT}) end)"
            )
        case Call(name, arguments):
            function = _function(name)
            texts = [
                # these are integers to PostgreSQL, not numerics
                str(int(argument.value))
                if isinstance(argument, Literal) and isinstance(function.parameter(index), Whole)
                else _sql(argument, column)
                for index, argument in enumerate(arguments)
            ]
            if name in _COMPARISONS and arguments[0].kind == T:
                # by code points, whatever the database's own order
                texts = [f'{text} collate "C"' for text in texts]
            return f"({function.sql.format(*texts, all=', '.join(texts))})"


# ── reading ──────────────────────────────────────────────────────────────────────────────────────────────────────────

_TOKEN = re.compile(
    r"""[ \t\r\n]*(?:
        (?P<number> [0-9]+(?:\.[0-9]+)? (?![A-Za-z0-9_.]) )
      | (?P<text>   '(?:[^']|'')*' )
      | (?P<field>  "(?:[^"]|"")*" )
      | (?P<word>   [A-Za-z_][A-Za-z0-9_]* )
      | (?P<sign>   <= | >= | <> | != | [=<>+\-*/(),] )
      | (?P<end>    \Z )
    )""",
    re.VERBOSE,
)
_TOO_DEEP = f"an expression is at most {DEEPEST} levels deep; shorten it"
_ALLOWED = "a field, 'a text', a number, a function, ( or not"


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str
    position: int

    def __str__(self) -> str:
        return "the end" if self.kind == "end" else self.text if len(self.text) <= 40 else f"{self.text[:40]}..."


def parse(source: str) -> Tree:
    """The tree of an expression, or ExpressionError."""
    if len(source) > LONGEST:
        raise ExpressionError(LONGEST, f"an expression has at most {LONGEST} characters, this one has {len(source)}")
    reader = _Reader(_tokens(source))
    tree = reader.disjunction()
    if not reader.at("end"):
        raise ExpressionError(reader.now.position, f"{reader.now} is left over; an operator or the end is allowed here")
    if tree.kind == C:
        raise ExpressionError(0, "a condition gives no value; write if(condition, 'one', 'other')")
    return tree


def _tokens(source: str) -> list[_Token]:
    for position, character in enumerate(source):
        if character == "\0" or "\ud800" <= character <= "\udfff":
            raise ExpressionError(position, "this character can't be stored; remove it")
    tokens: list[_Token] = []
    place = 0
    while not tokens or tokens[-1].kind != "end":
        found = _TOKEN.match(source, place)
        if found is None:
            place += len(source[place:]) - len(source[place:].lstrip(" \t\r\n"))
            odd = source[place]
            reason = f"{odd!r} opens what is never closed" if odd in "'\"" else f"{odd!r} means nothing here"
            raise ExpressionError(place, f"{reason}; allowed are {_ALLOWED}, and the operators")
        kind = found.lastgroup
        assert kind is not None
        tokens.append(_Token(kind, found.group(kind), found.start(kind)))
        place = found.end()
    return tokens


class _Reader:
    """Recursive descent, a method per level of precedence."""

    def __init__(self, tokens: Sequence[_Token]) -> None:
        self._tokens = tokens
        self._place = 0
        self._nesting = 0

    @property
    def now(self) -> _Token:
        return self._tokens[self._place]

    def at(self, kind: str, *texts: str) -> bool:
        return self.now.kind == kind and (not texts or self.now.text.lower() in texts)

    def _take(self) -> _Token:
        token = self.now
        self._place += 1
        return token

    def _expect(self, sign: str) -> None:
        if not self.at("sign", sign):
            raise ExpressionError(self.now.position, f"{sign} is missing before {self.now}")
        self._take()

    def disjunction(self) -> Tree:
        left = self._conjunction()
        while self.at("word", "or"):
            left = self._operation(self._take(), left, self._conjunction())
        return left

    def _conjunction(self) -> Tree:
        left = self._negation()
        while self.at("word", "and"):
            left = self._operation(self._take(), left, self._negation())
        return left

    def _negation(self) -> Tree:
        if self.at("word", "not"):
            return self._operation(self._take(), self._deeper(self._negation))
        return self._comparison()

    def _comparison(self) -> Tree:
        left = self._sum()
        if self.at("sign", "<>", *_COMPARISONS):
            left = self._operation(self._take(), left, self._sum())
        return left

    def _sum(self) -> Tree:
        left = self._product()
        while self.at("sign", "+", "-"):
            left = self._operation(self._take(), left, self._product())
        return left

    def _product(self) -> Tree:
        left = self._signed()
        while self.at("sign", "*", "/"):
            left = self._operation(self._take(), left, self._signed())
        return left

    def _signed(self) -> Tree:
        if self.at("sign", "-"):
            token = self._take()
            return self._call("negative", "-", token.position, [self._deeper(self._signed)])
        return self._primary()

    def _primary(self) -> Tree:
        token = self._take()
        match token.kind:
            case "number":
                return Literal(_written_number(token))
            case "text":
                return Literal(token.text[1:-1].replace("''", "'"))
            case "field":
                return Field(_field_name(token.text[1:-1].replace('""', '"'), token.position))
            case "word" if self.at("sign", "("):
                return self._deeper(lambda: self._function_call(token))
            case "word" if token.text.lower() not in ("and", "or", "not"):
                return Field(_field_name(token.text, token.position))
            case "sign" if token.text == "(":
                inner = self._deeper(self.disjunction)
                self._expect(")")
                return inner
        raise ExpressionError(token.position, f"{token} can't stand here; {_ALLOWED} can")

    def _function_call(self, token: _Token) -> Tree:
        name = token.text.lower()
        if name not in FUNCTIONS:
            raise ExpressionError(token.position, f"there is no function {token}; there are {', '.join(FUNCTIONS)}")
        self._expect("(")
        arguments = [] if self.at("sign", ")") else [self.disjunction()]
        while self.at("sign", ","):
            self._take()
            arguments.append(self.disjunction())
        self._expect(")")
        return self._call(name, name, token.position, arguments)

    def _operation(self, token: _Token, *operands: Tree) -> Tree:
        name = "!=" if token.text == "<>" else token.text.lower()
        return self._call(name, name, token.position, operands)

    def _call(self, name: str, shown: str, position: int, arguments: Sequence[Tree]) -> Tree:
        """The call, if its arguments are of the kinds that the function takes."""
        function = _function(name)
        if not function.takes(len(arguments)):
            raise ExpressionError(position, f"{shown} takes {_listed(function)}, not {len(arguments)} arguments")
        alike = [argument.kind for index, argument in enumerate(arguments) if function.parameter(index) == Open.ALIKE]
        for index, argument in enumerate(arguments):
            if not _fits(argument, function.parameter(index), alike):
                wants_number = N in (*function.parameters, *alike) and argument.kind == T
                raise ExpressionError(
                    position,
                    f"{shown} takes {_listed(function)}; argument {index + 1} is {_described(argument)}"
                    + ("; number(...) makes a number of text" if wants_number else ""),
                )
        if name == "concat":
            arguments = [_as_text(argument) for argument in arguments]
        call = Call(name, tuple(arguments), alike[0] if isinstance(function.gives, Open) else function.gives)
        if call.depth > DEEPEST:
            raise ExpressionError(position, _TOO_DEEP)
        return call

    def _deeper(self, read: Callable[[], Tree]) -> Tree:
        self._nesting += 1
        if self._nesting > DEEPEST:
            raise ExpressionError(self.now.position, _TOO_DEEP)
        tree = read()
        self._nesting -= 1
        return tree


def _fits(argument: Tree, parameter: Parameter, alike: Sequence[Kind]) -> bool:
    match parameter:
        case Kind():
            return argument.kind == parameter
        case Open.ALIKE:
            return argument.kind == alike[0] != C
        case Open.EACH:
            return argument.kind != C
        case Quoted(shortest):
            value = argument.value if isinstance(argument, Literal) else None
            return isinstance(value, str) and shortest <= len(value) <= LONGEST_QUOTED
        case Whole(least, most):
            value = argument.value if isinstance(argument, Literal) else None
            return isinstance(value, Decimal) and value == int(value) and least <= value <= most


def _described(argument: Tree) -> str:
    match argument:
        case Literal(str(text)):
            return f"the text '{text[:40]}'"
        case Literal(number):
            return f"the number {number}"
        case Field(name):
            return f"the field {name[:40]} (text)"
        case Call():
            return argument.kind.value


def _listed(function: Function) -> str:
    names = [str(parameter) for parameter in function.parameters]
    required, optional = names[: len(names) - function.optional], names[len(names) - function.optional :]
    return ", ".join(required) + "".join(f" and, if wanted, {name}" for name in optional) + (" ..." * function.variadic)


def _written_number(token: _Token) -> Decimal:
    if not re.fullmatch(NUMBER, token.text):
        raise ExpressionError(token.position, f"a number has at most {DIGITS} digits on either side of the point")
    return Decimal(token.text)


def _field_name(name: str, position: int) -> str:
    if not 1 <= len(name) <= LONGEST_FIELD_NAME:
        raise ExpressionError(position, f"a field's name has 1 to {LONGEST_FIELD_NAME} characters")
    return name
