"""The language of field mappings: one meaning in Python and in PostgreSQL, and no way out of it."""

import json
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from control.expressions import (
    BLANKS,
    DEEPEST,
    FUNCTIONS,
    LONGEST,
    ExpressionError,
    compile_sql,
    evaluate,
    fields,
    parse,
)
from warehouse import database


@pytest.fixture(scope="module")
def server(platform: Path) -> Iterator[psycopg.Connection]:
    """Where the compiled text means something: an empty session, statements prepared never."""
    with database.connect(database.owner_conninfo(), autocommit=True) as connection:
        connection.prepare_threshold = None
        yield connection


def on_the_server(server: psycopg.Connection, source: str, record: dict[str, Any]) -> str | None:
    sql = f"select {compile_sql(parse(source), 'landed.payload')} from (select $1::jsonb as payload) as landed"
    answer = psycopg.RawCursor(server).execute(sql.encode(), [json.dumps(record)]).fetchone()
    assert answer is not None
    assert answer[0] is None or isinstance(answer[0], str)
    return answer[0]


@pytest.mark.parametrize(
    ("source", "record", "value"),
    [
        ("Industry", {"Industry": "Software"}, "Software"),
        ('"Größe (custom)"', {"Größe (custom)": "XL"}, "XL"),
        ("missing", {}, None),
        ("deep", {"deep": {"a": 1}}, None),
        ("listed", {"listed": ["a"]}, None),
        ("won", {"won": True}, "true"),
        ("amount", {"amount": 1e22}, "10000000000000000000000"),
        ("'it''s'", {}, "it's"),
        ("lower('GRÖSSE ÉCOLE')", {}, "grösse école"),
        ("upper('straße')", {}, "STRAßE"),
        ("trim(x)", {"x": "\u00a0\t Acme \r\n"}, "Acme"),
        ("coalesce(a, b, 'none')", {"a": None, "b": "2"}, "2"),
        ("coalesce(a, b)", {}, None),
        ("concat(first, ' ', last)", {"first": "Ann"}, "Ann "),
        ("concat('v', 1.50)", {}, "v1.5"),
        ("replace(x, ',', '')", {"x": "1,500,000"}, "1500000"),
        ("substr(x, 2, 3)", {"x": "abcdef"}, "bcd"),
        ("split_part(email, '@', 2)", {"email": "ann@acme.com"}, "acme.com"),
        ("split_part(email, '@', 3)", {"email": "ann@acme.com"}, ""),
        ("number(x)", {"x": " 0042.50 "}, "42.5"),
        ("number(x)", {"x": "1e6"}, None),
        ("number(x)", {"x": "NaN"}, None),
        ("number(x) * 1000", {"x": 1.5}, "1500"),
        ("2 + 3 * 4 - -1", {}, "15"),
        ("(2 + 3) * 4", {}, "20"),
        ("2 / 3", {}, "0.6666666667"),
        ("-2 / 3", {}, "-0.6666666667"),
        ("1 / 0", {}, None),
        ("8 / 2 / 2", {}, "2"),
        ("round(2.5)", {}, "3"),
        ("round(-2.5)", {}, "-3"),
        ("round(2.345, 2)", {}, "2.35"),
        ("0 * -1", {}, "0"),
        ("if(number(x) >= 1000, 'big', 'small')", {"x": "1000"}, "big"),
        ("if(number(x) >= 1000, 'big', 'small')", {}, "small"),
        ("if(not x = 'a' and y <> 'b' or z < 'c', 1, 0)", {"x": "a", "z": "b"}, "1"),
        ("if(x = 'a' or y = 'b', 1, 0)", {"x": "a"}, "1"),
        ("IF(NOT 1 = 2, Upper('a'), 'b')", {}, "A"),
    ],
)
def test_an_expression_means_one_thing_in_python_and_in_postgresql(
    server: psycopg.Connection, source: str, record: dict[str, Any], value: str | None
) -> None:
    assert evaluate(parse(source), record) == value
    assert on_the_server(server, source, record) == value


# ── any expression over any record ───────────────────────────────────────────────────────────────────────────────────

# Unassigned letters, and two whose capitals are younger than Python 3.11's tables, are the server's own matter.
_letters = st.characters(exclude_categories=("Cs", "Cn"), exclude_characters="\0\u019b\u0264", max_codepoint=0x1BFF)
_texts = st.text(st.sampled_from("aAbB ,.@'\"\\{%}:;-/*$ßÄéİΣσ\u00a0\t\n1234567890") | _letters, max_size=12)
_names = st.sampled_from(["a", "B_2", "odd name", 'quo"te', "it's", "{{ x }}", "größe"])
_wholes = st.integers(0, 10**6).map(str)
_numbers = st.one_of(_wholes, st.decimals(0, 10**6, places=3, allow_nan=False).map(str))


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _call(name: str, *arguments: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.tuples(*arguments).map(lambda given: f"{name}({', '.join(given)})")


def _infix(operators: list[str], operand: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.tuples(operand, st.sampled_from(operators), operand).map(lambda parts: f"({' '.join(parts)})")


def _expressions(depth: int) -> tuple[st.SearchStrategy[str], st.SearchStrategy[str], st.SearchStrategy[str]]:
    """Texts, numbers and conditions, `depth` levels of them."""
    if depth == 0:
        text = _texts.map(_quoted) | _names.map(lambda name: '"' + name.replace('"', '""') + '"')
        return text, _numbers | text.map(lambda field: f"number({field})"), text.map(lambda field: f"{field} = 'a'")
    text, number, condition = _expressions(depth - 1)
    search = _texts.filter(bool).map(_quoted)
    small = st.integers(1, 9).map(str)
    texts = st.one_of(
        text,
        *(_call(name, text) for name in ("lower", "upper", "trim")),
        *(_call(name, text, text) for name in ("coalesce", "concat")),
        _call("concat", number, text),
        _call("replace", text, search, _texts.map(_quoted)),
        _call("substr", text, small, small),
        _call("split_part", text, search, small),
        _call("if", condition, text, text),
    )
    numbers = st.one_of(
        number,
        _infix(["+", "-", "*", "/"], number),
        number.map(lambda inner: f"-{inner}"),
        _call("number", text),
        _call("round", number),
        _call("round", number, small),
        _call("coalesce", number, number),
        _call("if", condition, number, number),
    )
    conditions = st.one_of(
        condition.map(lambda inner: f"({inner})"),
        _infix(["=", "!=", "<>", "<", "<=", ">", ">="], text),
        _infix(["=", "!=", "<", "<=", ">", ">="], number),
        _infix(["and", "or"], condition.map(lambda inner: f"({inner})")),
        condition.map(lambda inner: f"not ({inner})"),
    )
    return texts, numbers, conditions


_values = st.one_of(
    st.none(), st.booleans(), _texts, _numbers, st.integers(-(10**12), 10**12),
    st.floats(allow_nan=False, allow_infinity=False), st.just([1]), st.just({"k": "v"}),
)  # fmt: skip
_records = st.dictionaries(_names, _values, max_size=7)
_any_expression = st.integers(0, 3).flatmap(lambda depth: st.one_of(*_expressions(depth)[:2]))


@pytest.mark.long
@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
@given(source=_any_expression.filter(lambda source: len(source) <= LONGEST), record=_records)
def test_python_and_postgresql_agree_about_any_expression(
    server: psycopg.Connection, source: str, record: dict[str, Any]
) -> None:
    tree = parse(source)
    assert fields(tree) <= {"a", "B_2", "odd name", 'quo"te', "it's", "{{ x }}", "größe"}
    assert evaluate(tree, record) == on_the_server(server, source, record)


def test_both_change_the_case_of_every_common_letter_alike(server: psycopg.Connection) -> None:
    """Latin with its extensions, Greek, Cyrillic, Armenian, Georgian."""
    letters = "".join(chr(point) for point in (*range(0x20, 0x590), *range(0x1E00, 0x2000)))
    letters = "".join(letter for letter in letters if letter not in "\u019b\u0264" and letter.isprintable())
    for source in ("lower(x)", "upper(x)"):
        assert evaluate(parse(source), {"x": letters}) == on_the_server(server, source, {"x": letters})


# ── nothing gets out ─────────────────────────────────────────────────────────────────────────────────────────────────

_WORDS = (
    "lower upper btrim coalesce concat left replace substr split_part case when then else end substring round div"
    " nullif trim_scale jsonb_typeof not in and or collate numeric text payload"
)
_VOCABULARY = re.compile(
    rf"""(?: E?'(?:[A-Za-z0-9_ ,.@]|\\u[0-9a-f]{{4}}|\\U[0-9a-f]{{8}})*'::text
          | \b(?:{"|".join(_WORDS.split())})\b | ::(?:numeric|text) | "C" | '(?:object|array)'
          | [0-9]+(?:\.[0-9]+)? | ->>? | <> | [<>]=? | = | [-+*](?![-*/]) | [(), ] )*""",
    re.VERBOSE,
)


def assert_speaks_only_our_words(sql: str) -> None:
    assert sql.isascii()
    assert _VOCABULARY.fullmatch(sql), sql


def test_every_function_stays_within_the_vocabulary() -> None:
    arguments = {
        "replace": "a, 'x', 'y'", "substr": "a, 1, 2", "split_part": "a, ',', 2", "if": "a = b and not 1 < 2, a, b",
        "round": "number(a) / -2 * 3 - 4 + 5, 2",
    }  # fmt: skip
    for name in FUNCTIONS:
        assert_speaks_only_our_words(compile_sql(parse(f"{name}({arguments.get(name, 'a')})"), "payload"))


HOSTILE = [
    "'); drop table control.tenants; --",
    "\\'; select 1; --",
    "\\",
    "/* */ -- ;",
    "{{ env_var('SECRET') }}{% raw %}",
    "%s %(x)s :name $1 $$",
    "U&'\\0027'",
    "\u2019 \uff07 \u02bc \U0001f600 \u202e",
    "\ufffd\x1b[2J\x7f\x01",
    "x" * 100,
]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_just_text_as_a_literal_and_as_a_fields_name(server: psycopg.Connection, text: str) -> None:
    literal, name = _quoted(text), '"' + text.replace('"', '""') + '"'
    for source, record in ((literal, {}), (name, {text: text}), (f"replace({name}, {literal}, '')", {text: text})):
        assert_speaks_only_our_words(compile_sql(parse(source), "payload"))
        assert on_the_server(server, source, record) == evaluate(parse(source), record)
    assert evaluate(parse(literal), {}) == text
    assert evaluate(parse(name), {text: text}) == text


@pytest.mark.long
@settings(max_examples=500, deadline=None)
@given(st.text() | st.text("()'\"\\,ab1.- \0{}%*/<>=!", max_size=60) | _any_expression)
def test_whatever_is_typed_is_either_refused_or_stays_within_the_vocabulary(source: str) -> None:
    with suppress(ExpressionError):
        assert_speaks_only_our_words(compile_sql(parse(source), "payload"))


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ("", "at character 1: the end can't stand here; a field, 'a text', a number"),
        (
            "amount + 1",
            "at character 8: + takes a number, a number; argument 1 is the field amount (text); number(...)",
        ),
        ("pg_sleep(10)", "at character 1: there is no function pg_sleep; there are lower, upper, trim"),
        ("lower(a", "at character 8: ) is missing before the end"),
        ("'abc", 'at character 1: "\'" opens what is never closed'),
        ("a; drop table x", "at character 2: ';' means nothing here"),
        ("a b", "at character 3: b is left over; an operator or the end"),
        ("a = 1", "argument 2 is the number 1"),
        ("a = 'b'", "a condition gives no value; write if(condition, 'one', 'other')"),
        ("a || b", "at character 3: '|' means nothing here"),
        ("lower()", "lower takes text, not 0 arguments"),
        ("lower(a, b)", "lower takes text, not 2 arguments"),
        ("replace(a, b, 'c')", "a quoted text of 1 to 100 characters"),
        ("replace(a, '', 'c')", "argument 2 is the text ''"),
        ("substr(a, 0, 3)", "a whole number from 1 to 10000"),
        ("split_part(a, ',', 1.5)", "a whole number from 1 to 100"),
        ("123456789012345678901", "a number has at most 20 digits"),
        ("12abc", "at character 1: '1' means nothing here"),
        ('""', "a field's name has 1 to 200 characters"),
        ("'\0'", "at character 2: this character can't be stored"),
        ("'\ud800'", "at character 2: this character can't be stored"),
        ("x" * 10_000, "an expression has at most 2000 characters, this one has 10000"),
        ("(" * 1_000, f"an expression is at most {DEEPEST} levels deep"),
        ("-" * 1_000 + "1", f"an expression is at most {DEEPEST} levels deep"),
        ("not " * 400 + "1 = 1", f"an expression is at most {DEEPEST} levels deep"),
        ("+".join("1" * 900), f"an expression is at most {DEEPEST} levels deep"),
        ("lower(" * 250 + "a" + ")" * 250, f"an expression is at most {DEEPEST} levels deep"),
    ],
    ids=lambda value: value[:20].encode("unicode_escape").decode("ascii"),
)
def test_an_error_says_where_and_what_is_allowed(source: str, sentence: str) -> None:
    with pytest.raises(ExpressionError, match=re.escape(sentence)):
        parse(source)


def test_the_column_is_a_plain_name() -> None:
    for column in ("payload -> 'x'", "payload;", "Payload", "", "a.b.c", 'p"x'):
        with pytest.raises(ValueError, match="is no column name"):
            compile_sql(parse("a"), column)


def test_nested_replacements_do_not_grow_without_bound(server: psycopg.Connection) -> None:
    source = "a"
    for _ in range(DEEPEST - 2):
        source = f"replace({source}, 'a', '{'a' * 30}')"
    assert len(source) <= LONGEST
    assert len(evaluate(parse(source), {"a": "a" * 50_000}) or "") == 10_000
    assert len(on_the_server(server, source, {"a": "a" * 50_000}) or "") == 10_000


def test_all_that_is_trimmed_is_blank() -> None:
    assert BLANKS.isspace()
