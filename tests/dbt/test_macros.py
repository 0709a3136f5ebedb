"""The macros that make values of what a source sent, case by case: what they read, and what is nothing to them."""

import json
import unicodedata
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import idna
import psycopg
import pytest

from tests.dbt.rendering import data, macro
from warehouse import database

LONG = "x" * 12_000


def named(given: object) -> str:
    """A case's name in a report: two that look alike in their beginning differ in their length."""
    text = ascii(given)
    return text if len(text) < 60 else f"{text[:30]}... of {len(text)}"


@pytest.fixture(scope="module")
def connection(platform: Path) -> Iterator[psycopg.Connection[Any]]:
    with database.connect(database.owner_conninfo(), autocommit=True) as opened:
        opened.execute("set timezone = 'UTC'")
        yield opened


def value(connection: psycopg.Connection[Any], expression: str, given: str | None) -> Any:
    """What the expression over a column `given` gives."""
    return _first(connection, f"select {expression} from (select %s::text as given offset 0) as row", given)


def of_field(connection: psycopg.Connection[Any], name: str, given: Any) -> Any:
    """What a macro makes of the field x of a payload."""
    payload = "{}" if given is ... else json.dumps({"x": given})
    return _first(connection, f"select {macro(name, 'x')} from (select %s::jsonb as payload offset 0) as row", payload)


def _first(connection: psycopg.Connection[Any], query: str, given: str | None) -> Any:
    """As over a table: without `offset 0` the planner would take the case for a constant and work it out."""
    row = connection.execute(query.encode(), [given]).fetchone()
    assert row
    return row[0]


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ("Acme", "Acme"),
        (" Acme Ltd ", "Acme Ltd"),
        ("\tAcme\r\n", "Acme"),
        ("\u00a0Acme\u00a0", "Acme"),
        ("", None),
        (" \t\u00a0\n", None),
        (None, None),
        ("null", "null"),
        ("O'Brien -- \\' \"", "O'Brien -- \\' \""),
    ],
    ids=named,
)
def test_a_text_has_no_blanks_around_and_is_nothing_if_it_has_nothing_else(
    connection: psycopg.Connection[Any], given: str | None, text: str | None
) -> None:
    assert value(connection, macro("text_in", "given"), given) == text


NUMBERS: list[tuple[str | None, str | None]] = [
    ("120", "120"), ("120.50", "120.50"), (" 7 ", "7"), ("-3", "-3"), ("+3", "3"), (".5", "0.5"), ("5.", "5"),
    ("1e6", "1000000"), ("1.5E-3", "0.0015"), ("007", "7"), ("0", "0"),
    ("", None), (" ", None), (None, None), (".", None), ("-", None), ("1.2.3", None), ("1e", None), ("e5", None),
    ("1,000", None), ("1 000", None), ("1_000", None), ("0x1f", None), ("12 EUR", None), ("many", None),
    ("NaN", None), ("Infinity", None), ("-inf", None), ("1e400", None), ("9" * 50, "9" * 50), ("9" * 51, None),
    ("\u0663", None), ("true", None), ("1); drop table x", None),
]  # fmt: skip


@pytest.mark.parametrize(("given", "number"), NUMBERS, ids=named)
def test_a_number_is_plain_or_scientific(
    connection: psycopg.Connection[Any], given: str | None, number: str | None
) -> None:
    assert value(connection, macro("number_in", "given"), given) == (None if number is None else Decimal(number))


@pytest.mark.parametrize(
    ("given", "number"),
    [
        ("120", 120), ("120.0", 120), ("1.2e2", 120), ("119.5", 120), ("-4", -4), ("0", 0),
        ("2147483646", 2147483646), ("2147483647.5", None), ("-99999999999", None), ("1e99", None), ("many", None),
        ("NaN", None), (None, None),
    ],
    ids=named,
)  # fmt: skip
def test_a_whole_number_is_one_that_fits(
    connection: psycopg.Connection[Any], given: str | None, number: int | None
) -> None:
    assert value(connection, macro("integer_in", "given"), given) == number


def at(year: int, month: int, day: int, hour: int = 0, minute: int = 0, second: int = 0, micro: int = 0) -> datetime:
    return datetime(year, month, day, hour, minute, second, micro, tzinfo=UTC)


@pytest.mark.parametrize(
    ("given", "moment"),
    [
        ("2026-03-01", at(2026, 3, 1)),
        ("2026-03-01T10:00:00Z", at(2026, 3, 1, 10)),
        ("2026-03-01 10:00", at(2026, 3, 1, 10)),
        ("2026-03-01T10:00:00+02:00", at(2026, 3, 1, 8)),
        ("2026-03-01T10:00:00.123456-0530", at(2026, 3, 1, 15, 30, 0, 123456)),
        ("2026-03-01T10:00:00.000+0000", at(2026, 3, 1, 10)),
        ("2026-03-01 10:00:00 UTC", at(2026, 3, 1, 10)),
        ("2026-03-01t10:00:00z", at(2026, 3, 1, 10)),
        ("  2026-03-01  ", at(2026, 3, 1)),
        ("2024-02-29", at(2024, 2, 29)),
        ("2999-12-31T23:59:59-14:00", at(3000, 1, 1, 13, 59, 59)),
        *(
            (given, None)
            for given in (
                "", None, "now", "today", "tomorrow", "infinity", "-infinity", "epoch", "allballs", "03/01/2026",
                "1.3.2026", "20260301", "2026-3-1", "2026-02-30", "2026-13-01", "2026-03-01T25:00", "2026-03-01 BC",
                "2026-03-01 now", "2026-03-01 10:00 PM", "2026-03-01 America/New_York", "0001-01-01", "9999-12-31",
                "12026-03-01", "2026-03-01T10:00:00+99:00", "June-12-26", "1772359200", "2026-03-01'::text", LONG,
            )
        ),
    ],
    ids=named,
)  # fmt: skip
def test_a_moment_is_iso_8601_and_without_a_zone_utc(
    connection: psycopg.Connection[Any], given: str | None, moment: datetime | None
) -> None:
    assert value(connection, macro("moment_in", "given"), given) == moment


@pytest.mark.parametrize("style", ["ISO, DMY", "German", "SQL, MDY"])
def test_a_moment_is_the_same_whatever_a_session_thinks_of_dates(
    connection: psycopg.Connection[Any], style: str
) -> None:
    with connection.transaction(force_rollback=True):
        connection.execute("select set_config('DateStyle', %s, true)", [style])
        expression = f"extract(epoch from {macro('moment_in', 'given')})::bigint"
        assert value(connection, expression, "2026-03-01T10:00:00Z") == 1772359200
        assert value(connection, expression, "01-03-2026") is None


@pytest.mark.parametrize(
    ("given", "truth"),
    [
        *((given, True) for given in ("true", "TRUE", "t", "yes", "Y", "on", "1", " true ")),
        *((given, False) for given in ("false", "f", "no", "0", "off", "", "perhaps", "2", "tru", None)),
    ],
)
def test_only_what_says_so_is_true(connection: psycopg.Connection[Any], given: str | None, truth: bool) -> None:
    assert value(connection, macro("truth_in", "given"), given) is truth


@pytest.mark.parametrize(
    ("given", "email"),
    [
        ("ann@acme.com", "ann@acme.com"),
        (" Ann.Ash+News@ACME.co.uk\n", "ann.ash+news@acme.co.uk"),
        ("o'brien@acme.com", "o'brien@acme.com"),
        ("björn@bücher.de", "björn@bücher.de"),
        ("\u00a0ann@acme.com", "ann@acme.com"),
        *(
            (given, None)
            for given in (
                "", None, "n/a", "none", "ann", "ann@", "@acme.com", "ann@acme", "ann@@acme.com", "ann@b@acme.com",
                "ann@acme.com; bob@acme.com", "ann@acme.com,bob@acme.com", "Ann <ann@acme.com>", "ann ash@acme.com",
                '["ann@acme.com"]', '{"email": "ann@acme.com"}', "mailto:ann@acme.com", "a" * 320 + "@acme.com",
            )
        ),
    ],
    ids=named,
)  # fmt: skip
def test_an_email_is_one_address_in_lower_case(
    connection: psycopg.Connection[Any], given: str | None, email: str | None
) -> None:
    assert value(connection, macro("email_in", "given"), given) == email


DOMAINS: list[tuple[str | None, str | None]] = [
    ("acme.com", "acme.com"),
    ("Acme.COM", "acme.com"),
    ("acme.com.", "acme.com"),
    ("www.acme.com", "acme.com"),
    ("WWW.ACME.COM.", "acme.com"),
    ("https://acme.com", "acme.com"),
    ("HTTP://www.acme.com:8080/about?x=http://bolt.io#y", "acme.com"),
    ("https://ann:secret@acme.com/", "acme.com"),
    ("ftp://acme.com#top", "acme.com"),
    ("//acme.com/x", "acme.com"),
    ("acme.com?utm=mail", "acme.com"),
    ("acme.com\\about", "acme.com"),
    ("mail.acme.com", "acme.com"),
    ("eu.shop.acme.com", "acme.com"),
    ("mail.acme.co.uk", "acme.co.uk"),
    ("acme.co.uk", "acme.co.uk"),
    ("https://www.acme.com.au/", "acme.com.au"),
    ("a.b.c.acme.com.br", "acme.com.br"),
    ("acme.myshopify.com", "acme.myshopify.com"),
    ("www.acme.github.io", "acme.github.io"),
    ("_dmarc.acme.com", "acme.com"),
    ("my-acme24.io", "my-acme24.io"),
    ("ann@acme.com", "acme.com"),
    ("mailto:ann@acme.com", "acme.com"),
    (" acme.com ", "acme.com"),
    ("acme.com, bolt.io", "acme.com"),
    ("www.acme.com (old site)", "acme.com"),
    ("https://www.bücher.de/", "xn--bcher-kva.de"),
    ("BÜCHER.de", "xn--bcher-kva.de"),
    ("shop.xn--bcher-kva.de", "xn--bcher-kva.de"),
    ("XN--BCHER-KVA.DE", "xn--bcher-kva.de"),
    ("магазин.президент.рф", "xn--d1abbgf6aiiy.xn--p1ai"),
    *(
        (given, None)
        for given in (
            "", " ", None, "acme", "localhost", "localhost:8080", "co.uk", "com.au", "n/a", "-", ".", "..", "acme..com",
            ".acme.com", "-acme.com", "acme-.com", "acme.c-", "10.0.0.1", "https://192.168.0.1:80/", "http://[::1]/",
            "acme.123", "a_b.com", "https://", "@", "x" * 300 + ".com", "é" * 300 + ".com", '["acme.com"]', LONG,
            "acme'--.com",
        )
    ),
]  # fmt: skip


@pytest.mark.parametrize(("given", "domain"), DOMAINS, ids=named)
def test_a_domain_is_what_is_registered_however_it_is_written(
    connection: psycopg.Connection[Any], given: str | None, domain: str | None
) -> None:
    assert value(connection, macro("domain_in", "given"), given) == domain


def test_a_domain_stays_what_it_is_when_it_is_read_again(connection: psycopg.Connection[Any]) -> None:
    for domain in {domain for _, domain in DOMAINS if domain}:
        assert value(connection, macro("domain_in", "given"), domain) == domain


@pytest.mark.parametrize(
    ("given", "domain"),
    [
        ("ann@acme.com", "acme.com"), ("ann@mail.acme.co.uk", "acme.co.uk"), ("ann@bücher.de", "xn--bcher-kva.de"),
        ("ann@gmail.com", "gmail.com"), ("acme.com", None), ("ann@", None), ("ann", None), (None, None),
    ],
)  # fmt: skip
def test_an_email_has_its_domain(connection: psycopg.Connection[Any], given: str | None, domain: str | None) -> None:
    assert value(connection, macro("email_domain_in", "given"), given) == domain


@pytest.mark.parametrize(
    "name",
    [
        "bücher.example", "München.de", "straße.de", "faß-bier.at", "café.fr", unicodedata.normalize("NFD", "café.fr"),
        "ejemploñandú.com.ar", "smörgåsbord.se", "ÅNGSTRÖM.no", "zażółć-gęślą-jaźń.pl", "Żubr-Browar.com.pl", "các.vn",
        "ПРЕЗИДЕНТ.рф", "пример.испытание", "παράδειγμα.δοκιμή", "例え.テスト", "日本語。jp", "한국.kr", "ไทย.com",
        "ישראל.co.il", "ليهمابتكلموشعربي.com", "बिल्कुल.भारत", "\uff21\uff23\uff2d\uff25.com", "ünï.ünï.ünï",
        "a-ü.com", "xn--bcher-kva.example", "acme.com", "so\u00adft.com",
    ],
    ids=named,
)  # fmt: skip
def test_a_domain_in_unicode_and_in_punycode_is_one(connection: psycopg.Connection[Any], name: str) -> None:
    encoded = idna.encode(name, uts46=True).decode()
    assert value(connection, "control.ascii_domain(given)", name) == encoded
    assert value(connection, "control.ascii_domain(given)", encoded) == encoded


def test_public_suffixes_are_suffixes_of_two_parts_each_once() -> None:
    suffixes = [suffix.strip("'") for suffix in macro("public_suffixes").split(", ")]
    assert len(suffixes) == len(set(suffixes)) > 300
    assert [suffix for suffix in suffixes if suffix.count(".") != 1] == []


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (" Acme ", "Acme"), (12, "12"), (1.50, "1.5"), (True, "true"), ("", None), (None, None), (..., None),
        ([], None), (["Acme"], None), ({"name": "Acme"}, None), ("[Acme]", "[Acme]"), (LONG, LONG[:10_000]),
    ],
    ids=named,
)  # fmt: skip
def test_a_field_is_one_value_and_no_list(connection: psycopg.Connection[Any], given: Any, text: str | None) -> None:
    assert of_field(connection, "text_of", given) == text


@pytest.mark.parametrize(("given", "id"), [(" p1 ", "p1"), (7, "7"), ("", None), (..., None)], ids=named)
def test_a_reference_is_an_id(connection: psycopg.Connection[Any], given: Any, id: str | None) -> None:
    assert of_field(connection, "reference_of", given) == id


def test_what_is_longer_than_an_id_can_be_names_no_record(connection: psycopg.Connection[Any]) -> None:
    assert of_field(connection, "reference_of", LONG) == "x" * 256
    assert of_field(connection, "references_of", [LONG]) == ["x" * 256]


@pytest.mark.parametrize(
    ("given", "ids"),
    [
        ("p1;p2", ["p1", "p2"]), ("p1, p2 p3;;", ["p1", "p2", "p3"]), (["p1", "p2"], ["p1", "p2"]),
        (["p2", "p1", " p1 "], ["p1", "p2"]), ([1, None, ""], ["1"]), ("", []), ([], []), (None, []), (..., []),
        ({"p1": True}, []), (7, []),
    ],
)  # fmt: skip
def test_references_are_ids_each_once(connection: psycopg.Connection[Any], given: Any, ids: list[str]) -> None:
    assert of_field(connection, "references_of", given) == ids


@pytest.mark.parametrize(
    ("given", "thing"),
    [
        ({"a": 1}, {"a": 1}), ('{"a": 1}', {"a": 1}), (' {"a": [1]}', {"a": [1]}), ({}, {}), ("{}", {}),
        *((given, None) for given in ("", "{", "{'a': 1}", "[1]", '"a"', "1", [1], 1, True, None, ...)),
        ('{"a": "\\u0000"}', None), ('{"":' * 20_000, None), ("{" + "[" * 200_000, None),
    ],
    ids=named,
)  # fmt: skip
def test_an_object_may_come_as_text(connection: psycopg.Connection[Any], given: Any, thing: Any) -> None:
    assert of_field(connection, "object_of", given) == thing


@pytest.mark.parametrize(
    ("given", "signal"),
    [
        ("Demo Request", "demo_request"), ("demo-request", "demo_request"), ("page_view", "page_view"),
        ("Page  - View", "page_view"), (None, "unknown"), ("Ünusual", "ünusual"), (LONG, "x" * 100),
    ],
    ids=named,
)  # fmt: skip
def test_a_signal_is_lower_case_with_underscores(
    connection: psycopg.Connection[Any], given: str | None, signal: str
) -> None:
    assert value(connection, macro("signal_of", "given"), given) == signal


def test_every_kind_of_column_that_a_mapping_fills_has_a_cast() -> None:
    casts = {"text", "email", "domain", "integer", "number", "moment"}
    kinds = {kind for columns in data("mappable_columns").values() for kind in columns.values()}
    assert kinds == casts
    assert len({macro("typed", kind, "given") for kind in kinds}) == len(casts)
