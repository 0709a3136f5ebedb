# ruff: noqa: E501  a file is one row of the table
"""Files as they come: what must land of each, and what must be quarantined, where and why."""

import asyncio
import gzip
import io
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson
import pyarrow  # type: ignore[import-untyped]
import pytest
from pyarrow import parquet

from connectors.contract import Fatal, Page, Record, Rejected, State
from connectors.files import text
from connectors.files.client import Client
from connectors.files.shape import LONGEST_ID
from connectors.files.streams import STREAMS
from control import connectors
from tests.conftest import Tenant
from warehouse import database, landing, lease

OPPORTUNITIES = STREAMS[2]
A_YEAR_AGO = 1_700_000_000


@dataclass(frozen=True)
class Hostile:
    """A file of opportunities: `landed` are names by id, or the values that count, `quarantined` reasons by position.

    `fails` is why nothing can be read. `waits` is the position of a last line that has until the next sync. `notes` are
    what must be said.
    """

    what: str
    content: bytes | str
    landed: Mapping[str, Any] = field(default_factory=dict)
    quarantined: Mapping[str, str] = field(default_factory=dict)
    name: str = "opportunities.csv"
    config: Mapping[str, Any] = field(default_factory=dict)
    fails: str | None = None
    waits: Mapping[str, str] = field(default_factory=dict)
    notes: str | None = None


def lines(*numbers_and_reasons: tuple[int, str]) -> dict[str, str]:
    return {f"line {number}": reason for number, reason in numbers_and_reasons}


def parquet_of(columns: Mapping[str, Any], **options: Any) -> bytes:
    sink = io.BytesIO()
    parquet.write_table(pyarrow.table(dict(columns)), sink, **options)
    return sink.getvalue()


def parquet_with_a_damaged_group() -> bytes:
    content = bytearray(
        parquet_of(
            {"id": ["1", "2", "3"], "name": ["A" * 40, "B" * 40, "C" * 40]},
            row_group_size=1,
            compression="gzip",
            use_dictionary=False,
        )
    )
    group = parquet.ParquetFile(io.BytesIO(bytes(content))).metadata.row_group(1)
    start = group.column(1).data_page_offset
    content[start : start + group.column(1).total_compressed_size] = b"\xff" * group.column(1).total_compressed_size
    return bytes(content)


def parquet_with_a_column_twice() -> bytes:
    sink = io.BytesIO()
    columns = [pyarrow.array([value]) for value in ("1", "A", "B")]
    table = pyarrow.Table.from_arrays(columns, ["id", "n", "n"])
    parquet.write_table(table, sink)
    return sink.getvalue()


PLAIN = "id,name\n1,A\n2,B\n"
TWO = {"1": "A", "2": "B"}
ZIPPED = gzip.compress(("id,name\n" + "".join(f"{n},name {n * 7919 % 1009}\n" for n in range(20_000))).encode())
MANY = [f"column_{n}" for n in range(98)]

HOSTILE = [
    # encodings
    Hostile("a byte order mark", "\ufeffid,name\n1,A\n", {"1": "A"}),
    Hostile("a byte order mark against the declaration", b"\xef\xbb\xbfid,name\n1,\xc3\xbc\n", {"1": "ü"}, config={"encoding": "latin-1"}),
    Hostile("UTF-16 with its mark, little end first", b"\xff\xfe" + "id,name\n1,Zoë 🚀\n".encode("utf-16-le"), {"1": "Zoë 🚀"}),
    Hostile("UTF-16 with its mark, big end first", b"\xfe\xff" + "id,name\n1,Zoë\n".encode("utf-16-be"), {"1": "Zoë"}),
    Hostile("UTF-32 with its mark", b"\xff\xfe\0\0" + "id,name\n1,Zoë\n".encode("utf-32-le"), {"1": "Zoë"}),
    Hostile("UTF-16 without mark, declared", "id,name\n1,Zoë\n".encode("utf-16-be"), {"1": "Zoë"}, config={"encoding": "utf-16-be"}),
    Hostile("UTF-16 without mark, undeclared", "id,name\n1,A\n".encode("utf-16-le"), fails="NUL byte.*declare the encoding utf-16-le"),
    Hostile("half a character of UTF-16", b"\xff\xfe" + "id,name\n1,".encode("utf-16-le") + b"\x00\xd8" + "\n2,B\n".encode("utf-16-le"), {"2": "B"}, lines((2, "not text in utf-16-le"))),
    Hostile("latin-1, declared", "id,name\n1,Müller\n".encode("latin-1"), {"1": "Müller"}, config={"encoding": "latin-1"}),
    Hostile("latin-1, undeclared", "id,name\n1,Müller\n2,B\n".encode("latin-1"), {"2": "B"}, lines((2, "not text in utf-8: declare the encoding of the file, such as latin-1"))),
    Hostile("latin-1 in the header, undeclared", "id,größe\n1,A\n".encode("latin-1"), fails="header line of .* not text in utf-8"),
    Hostile("the Euro sign of Windows", "id,name\n1,5 €\n".encode("cp1252"), {"1": "5 €"}, config={"encoding": "cp1252"}),
    Hostile("Japanese with a byte too many", "id,name\n1,東京\n2,".encode("cp932") + b"\x81\n3,C\n", {"1": "東京", "3": "C"}, lines((2 + 1, "not text in cp932")), config={"encoding": "cp932"}),
    Hostile("emoji, Arabic, combining marks", "id,name\n1,👩‍👩‍👧 شركة Zoe\u0308\n", {"1": "👩‍👩‍👧 شركة Zoe\u0308"}),
    # what no database stores, and what looks like the end of a line
    Hostile("a NUL byte", "id,name\n1,a\0b\n2,B\n", {"2": "B"}, lines((2, "NUL"))),
    Hostile("a NUL byte in the header", "id,na\0me\n1,A\n", fails="header line of .* NUL"),
    Hostile("a NUL byte within quotes over lines", 'id,name\n1,"A\n\0"\n2,B\n', {"2": "B"}, lines((2, "never closed"), (3, "NUL"))),
    Hostile("windows line ends", "id,name\r\n1,A\r\n2,B\r\n", TWO),
    Hostile("line ends of the old Macintosh", "id,name\r1,A\r2,B\r", TWO),
    Hostile("line ends of every kind", "id,name\r1,A\r\n2,B\n", TWO),
    Hostile("line ends that only Unicode knows", "id,name\n1,a\x0b\x0c\x1c\x85\u2028b\n", {"1": "a\x0b\x0c\x1c\x85\u2028b"}),
    Hostile("rows of nothing, as below a table in Excel", 'id,name\n1,A\n,\n , \n""\n,,,\n', {"1": "A"}),
    Hostile("blank lines", "\n \nid,name\n\n1,A\n  \n2,B\n\n", TWO),
    # quotes
    Hostile("quotes within quotes", 'id,name\n1,"A ""B"", C"\n', {"1": 'A "B", C'}),
    Hostile("a line end within quotes", 'id,name\n1,"A\r\nB"\r\n2,B\r\n', {"1": "A\r\nB", "2": "B"}),
    Hostile("quotes over many pieces of the file", 'id,name\n' + 'x,y\n' * 32_766 + '1,"A\nB"\n2,B\n', {"x": "y", "1": "A\nB", "2": "B"}, notes="32765 rows were left out"),
    Hostile("a quote never closed", 'id,name\n1,"A\n2,B\n3,C\n', {"2": "B", "3": "C"}, lines((2, "never closed"))),
    Hostile("a quote never closed, with others behind", 'id,name\n1,"A\n2,"B"\n3,C\n', {"2": "B", "3": "C"}, lines((2, "cannot be split"))),
    Hostile("a quote closed too far away", 'id,name\n1,"A\n' + "2,B\n" * 300 + '3,"C"\n', {"2": "B", "3": "C"}, lines((2, "never closed")), notes="299 rows were left out"),
    Hostile("text behind a closing quote", 'id,name\n1,"A"x\n2,B\n', {"2": "B"}, lines((2, "expected after"))),
    Hostile("a quote amid a bare text", 'id,name\n1,5" pipe\n', {"1": '5" pipe'}),
    Hostile("a header over two lines", 'id,"na\nme"\n1,A\n', {"1": {"na\nme": "A"}}),
    # delimiters
    Hostile("semicolons", "id;name\n1;A, B\n", {"1": "A, B"}),
    Hostile("tabs", "id\tname\n1\tA\n", {"1": "A"}),
    Hostile("pipes", "id|name\n1|A\n", {"1": "A"}),
    Hostile("the delimiter said in a line before", "sep=;\r\nid;name\r\n1;A\r\n", {"1": "A"}),
    Hostile("a header that two delimiters split", "id,x;id\n1,2;3\n", fails="can be split by ',' and ';'. Declare the delimiter"),
    Hostile("another delimiter than declared", "id,name\n1,A\n", config={"delimiter": "|"}, fails="has no column 'id'; it has id,name"),
    Hostile("a comma too many, as in an unquoted name", "id,name\n1,Acme, Inc\n2,B\n", {"2": "B"}, lines((2, "has 3 fields where the header has 2"))),
    Hostile("a line too short", "id,name,stage\n1,A\n2,B,Won\n", {"2": "B"}, lines((2, "has 2 fields"))),
    # headers
    Hostile("nothing at all", "", fails="is empty: it needs a header line with at least 'id'"),
    Hostile("blank lines and nothing else", "\n\n  \n", fails="is empty"),
    Hostile("a header and nothing else", "id,name\n"),
    Hostile("a header without its line end", "id,name"),
    Hostile("no header", "1,A\n2,B\n", fails="has no column 'id'; it has 1, A"),
    Hostile("the key by another name", "Id,Name\n1,A\n", fails="has no column 'id'; it has Id, Name"),
    Hostile("a header twice, told the same or once", "id,name,name\n1,A,A\n2,,B\n3,C,\n", {"1": "A", "2": "B", "3": "C"}),
    Hostile("a header twice, told otherwise", "id,name,name\n1,A,B\n2,B,B\n", {"2": "B"}, lines((2, "column name stands twice with different values: A, B"))),
    Hostile("columns without a name", "id,name,,\n1,A,x,\n", {"1": {"name": "A", "column 3": "x", "column 4": None}}),
    Hostile("blanks around the names", " id , name \n1,A\n", {"1": "A"}),
    Hostile("a hundred columns", ",".join(["id", "name", *MANY]) + "\n1,A" + ",x" * 98 + "\n2,B" + ",x" * 97 + "\n", {"1": {"name": "A", "column_0": "x", "column_97": "x"}}, lines((3, "has 99 fields where the header has 100"))),
    # lengths
    Hostile("a name of 10,000 characters", "id,name\n1," + "ä" * 10_000 + "\n", {"1": "ä" * 10_000}),
    Hostile("a field beyond all measure", "id,name\n1," + "x" * 200_000 + "\n2,B\n", {"2": "B"}, lines((2, "field larger than field limit"))),
    Hostile("a line beyond all measure", "id,name\n1," + "x" * text.LONGEST_LINE + "x" * 300_000 + "\n2,B\n", {"2": "B"}, lines((2, "longer than 8,388,608 characters"))),
    # ids
    Hostile("ids with blanks in and around", "id,name\n  a b ,A\n", {"a b": "A"}),
    Hostile("ids that differ in case and zeros", "id,name\na,1\nA,2\n7,3\n007,4\n", {"a": "1", "A": "2", "7": "3", "007": "4"}),
    Hostile("an id of the longest length, and one beyond", f"id,name\n{'x' * 255},A\n{'y' * 256},B\n", {"x" * 255: "A"}, lines((3, "has an id of more than 255 characters"))),
    Hostile("no id, a blank id", "id,name\n,A\n  ,B\n3,C\n", {"3": "C"}, lines((2, "has no id"), (3, "has no id"))),
    Hostile("an id that stands three times", "id,name\n1,A\n2,B\n1,C\n1,D\n", {"2": "B", "1": "D"}, notes=r"2 rows were left out .* \(the first: 1 at 2\)"),
    Hostile("an id whose last row is no record", "id,name,close_date\n1,A,2026-01-01\n1,B,01/02/2026\n", {"1": "A"}, lines((3, "close_date may have"))),
    Hostile("formulas, markup, escapes", "id,name\n1,=HYPERLINK(A1)\n2,<b>\\n'; drop table\n", {"1": "=HYPERLINK(A1)", "2": "<b>\\n'; drop table"}),
    # dates
    Hostile("a date that may be March or April, undeclared", "id,name,close_date\n1,A,03/04/2026\n2,B,2026-04-03\n", {"2": "B"}, lines((2, "close_date may have the day or the month first: 03/04/2026"))),
    Hostile("a date that can only be day-first, undeclared", "id,name,close_date\n1,A,31.12.2026\n", {}, lines((2, "close_date may have the day or the month first: 31.12.2026"))),
    Hostile("the day first, declared", "id,close_date\n1,03/04/2026\n2,31.12.2026\n3,2026-04-03\n", {"1": {"close_date": "2026-04-03"}, "2": {"close_date": "2026-12-31"}, "3": {"close_date": "2026-04-03"}}, config={"dates": "day-first"}),
    Hostile("the month first, declared", "id,close_date\n1,03/04/2026\n2,12-31-2026\n", {"1": {"close_date": "2026-03-04"}, "2": {"close_date": "2026-12-31"}}, config={"dates": "month-first"}),
    Hostile("another stream's declaration", "id,close_date\n1,03/04/2026\n", {}, lines((2, "may have")), config={"dates": {"activities": "day-first"}}),
    Hostile("a column's declaration before the stream's", "id,close_date,renewal\n1,03/04/2026,03/04/2026\n", {"1": {"close_date": "2026-04-03", "renewal": "2026-03-04"}}, config={"dates": {"opportunities": "day-first", "opportunities.renewal": "month-first"}}),
    Hostile("days that no calendar has", "id,close_date\n1,2026-02-30\n2,31/04/2026\n3,00/01/2026\n", {}, lines((2, "on no day"), (3, "on no day"), (4, "on no day")), config={"dates": "day-first"}),
    Hostile("the month first where the day is declared", "id,close_date\n1,12/31/2026\n", {}, lines((2, "12/31/2026 would be month 31, day 12")), config={"dates": "day-first"}),
    Hostile("years of two digits, serial numbers, epochs", "id,close_date\n1,03/04/26\n2,46115\n3,1767225600\n", {}, lines((2, "year of two digits"), (3, "no date that can be read: 46115"), (4, "no date that can be read: 1767225600")), config={"dates": "day-first"}),
    Hostile("words in place of dates", "id,close_date,updated_at\n1,TBD,\n2,n/a,yesterday\n", {"1": {"close_date": "TBD"}}, lines((3, "updated_at is no ISO 8601 time: yesterday"))),
    Hostile("times of day as people write them", "id,stage_changed_at\n1,03/04/2026 2:30 PM\n2,\"03/04/2026, 14.30.15\"\n3,03/04/2026 14:30 +0200\n4,2026/4/3 12:00 am\n5,20260403\n6,03/04/2026 25:00\n", {"1": {"stage_changed_at": "2026-04-03T14:30:00"}, "2": {"stage_changed_at": "2026-04-03T14:30:15"}, "3": {"stage_changed_at": "2026-04-03T14:30:00+0200"}, "4": {"stage_changed_at": "2026-04-03T00:00:00"}, "5": {"stage_changed_at": "2026-04-03T00:00:00"}}, lines((7, "at no time of day")), config={"dates": "day-first"}),
    # files that end too early
    Hostile("no line end at the end", "id,name\n1,A\n2,B", TWO),
    Hostile("half a last line", "id,name,stage\n1,A,Won\n2,B", {"1": "A"}, waits=lines((3, "has 2 fields"))),
    Hostile("an end within quotes", 'id,name\n1,A\n2,"B', {"1": "A"}, waits=lines((3, "never closed"))),
    Hostile("an end within half a character", "id,name\n1,A\n2,ü".encode()[:-1], {"1": "A"}, waits=lines((3, "not text"))),
    # compressed
    Hostile("a gzip file", gzip.compress(PLAIN.encode()), TWO, name="opportunities.csv.gz"),
    Hostile("a gzip file that does not say so", gzip.compress(PLAIN.encode()), TWO),
    Hostile("a plain file that says it is gzip", PLAIN, TWO, name="opportunities.csv.gz"),
    Hostile("gzip files behind each other, filled up with NUL", gzip.compress(b"id,name\n1,A\n") + gzip.compress(b"2,B\n") + b"\0" * 512, TWO, name="opportunities.csv.gz"),
    Hostile("a gzip file cut at its beginning", gzip.compress(PLAIN.encode())[:8], name="opportunities.csv.gz", fails="breaks off"),
    Hostile("an Excel workbook by another name", b"PK\x03\x04" + b"\0" * 100, fails="an Excel workbook. Export it as CSV"),
    Hostile("a Parquet file by another name", b"PAR1" + b"\0" * 100, fails="is a Parquet file. Name it .parquet"),
    Hostile("a name in capitals", PLAIN, TWO, name="OPPORTUNITIES.CSV"),
    # JSON Lines
    Hostile("values of every type", '{"id":7,"name":"A","amount":1.10,"is_closed":true,"stage":null,"x":""}\n', {"7": {"name": "A", "amount": "1.10", "is_closed": "true", "stage": None, "x": None}}, name="opportunities.jsonl"),
    Hostile("nested values", '{"id":"1","name":"A","contact_ids":["p1","p2"],"more":{"minutes":30,"share":0.5,"big":12345678901234567890,"far":1e999}}\n', {"1": {"contact_ids": ["p1", "p2"], "more": {"minutes": 30, "share": 0.5, "big": "12345678901234567890", "far": "1e999"}}}, name="opportunities.jsonl"),
    Hostile("arrays, numbers, words, texts", '[1]\n7\nnull\n"x"\n{"id":"1","name":"A"}\n', {"1": "A"}, lines((1, "no JSON object but an array"), (2, "but a number"), (3, "the word null"), (4, "a text")), name="opportunities.jsonl"),
    Hostile("a key twice", '{"id":"1","name":"A","name":"B"}\n{"id":"2","x":{"y":1,"y":1}}\n{"id":"3","name":"C"}\n', {"3": "C"}, lines((1, "names 'name' twice"), (2, "names 'y' twice")), name="opportunities.jsonl"),
    Hostile("NaN and Infinity", '{"id":"1","amount":NaN}\n{"id":"2","amount":-Infinity}\n', {}, lines((1, "NaN is no number"), (2, "-Infinity is no number")), name="opportunities.jsonl"),
    Hostile("numbers beyond all measure", '{"id":123456789012345678901234567890,"name":1e400,"x":' + "9" * 5_000 + "}\n", {"123456789012345678901234567890": {"name": "1e400", "x": "9" * 5_000}}, name="opportunities.jsonl"),
    Hostile("nesting without end", '{"id":"1","x":' + "[" * 120 + "]" * 120 + '}\n{"id":"2","x":' + "[" * 100_000 + "]" * 100_000 + '}\n{"id":"3","name":"C"}\n', {"3": "C"}, lines((1, "nested deeper than 100"), (2, "nested deeper than 100")), name="opportunities.jsonl"),
    Hostile("characters that JSON can spell and nobody can store", '{"id":"1","name":"a\\u0000b"}\n{"id":"2","name":"\\ud83d"}\n{"id":"3","name":"\\\\u0000 \\ud83d\\ude80"}\n', {"3": "\\u0000 🚀"}, lines((1, "NUL character"), (2, "half a character")), name="opportunities.jsonl"),
    Hostile("half a last object", '{"id":"1","name":"A"}\n{"id":"2","na', {"1": "A"}, waits=lines((2, "is no JSON")), name="opportunities.jsonl"),
    Hostile("a mark, windows line ends, blank lines", '\ufeff\r\n{"id":"1","name":"A"}\r\n\r\n', {"1": "A"}, name="opportunities.ndjson"),
    Hostile("one array laid out for the eye", '[\n  {"id": "1"}\n]\n', fails="laid out over several lines", name="opportunities.jsonl"),
    Hostile("one array on one line", '[{"id":"1"},{"id":"2"}]\n', {}, lines((1, "an array")), name="opportunities.jsonl"),
    Hostile("two objects on a line, a comma behind one, quotes of Python", '{"id":"1"}{"id":"2"}\n{"id":"3"},\n' + "{'id':'4'}\n", {}, lines((1, "Extra data at character 11"), (2, "Extra data"), (3, "is no JSON")), name="opportunities.jsonl"),
    Hostile("ids that are none", '{"id":null}\n{"name":"A"}\n{"id":{"a":1}}\n{"id":" "}\n{"id":7.5,"name":"B"}\n', {"7.5": "B"}, lines((1, "has no id"), (2, "has no id"), (3, "has an id that is no text"), (4, "has no id")), name="opportunities.jsonl"),
    Hostile("an empty file of no records", "", name="opportunities.jsonl"),
    Hostile("latin-1 among UTF-8", b'{"id":"1","name":"M\xfcller"}\n{"id":"2","name":"B"}\n', {"2": "B"}, lines((1, "not text in utf-8")), name="opportunities.jsonl"),
    Hostile("ids that are fractions and long numbers, twice", '{"id":7.50,"name":"A"}\n{"id":123456789012345678901,"name":"B"}\n{"id":7.50,"name":"C"}\n{"id":123456789012345678901,"name":"D"}\n', {"7.50": "C", "123456789012345678901": "D"}, notes="2 rows were left out", name="opportunities.jsonl"),
    Hostile("ids made fractions, twice in Parquet", parquet_of({"id": [7.0, None, 7.0], "name": ["A", "B", "C"]}), {"7": "C"}, {"row 2": "has no id"}, notes="1 rows were left out", name="opportunities.parquet"),
    Hostile("ids that are bytes, one of them no text", parquet_of({"id": [b"\xff", b"1", b"1"], "name": ["A", "B", "C"]}), {"1": "C"}, {"row 1": "bytes that are no text"}, notes="1 rows were left out", name="opportunities.parquet"),
    Hostile("an id as number and as text", '{"id":1,"name":"A"}\n{"id":"1","name":"B"}\n', {"1": "B"}, notes="1 rows were left out", name="opportunities.jsonl"),
    Hostile("dates, in zipped lines", gzip.compress(b'{"id":"1","close_date":"03/04/2026"}\n{"id":"2","close_date":1767225600000}\n'), {"1": {"close_date": "2026-04-03"}}, lines((2, "no date that can be read")), name="opportunities.ndjson.gz", config={"dates": "day-first"}),
    # Parquet
    Hostile(
        "columns of every type",
        parquet_of(
            {
                "id": [1, 2],
                "name": ["A", ""],
                "amount": [Decimal("10.50"), None],
                "share": [1e6, float("nan")],
                "is_closed": [True, False],
                "close_date": [date(2026, 4, 3), None],
                "updated_at": pyarrow.array([datetime(2026, 4, 3, 12, tzinfo=UTC), None], pyarrow.timestamp("ns", "UTC")),
                "contact_ids": [["p1"], None],
                "more": [{"minutes": 30}, None],
                "bytes": [b"x", None],
            }
        ),
        {
            "1": {"name": "A", "amount": "10.50", "share": "1000000", "is_closed": "true", "close_date": "2026-04-03", "updated_at": "2026-04-03T12:00:00+00:00", "contact_ids": ["p1"], "more": {"minutes": 30}, "bytes": "x"},
            "2": {"name": None, "amount": None, "share": None, "is_closed": "false", "close_date": None, "updated_at": None, "contact_ids": None, "more": None, "bytes": None},
        },
        name="opportunities.parquet",
    ),
    Hostile("a Parquet file cut short", parquet_of({"id": ["1"] * 100})[:-20], fails="no whole Parquet file", name="opportunities.parquet"),
    Hostile("an empty Parquet file", b"", fails="no whole Parquet file", name="opportunities.parquet"),
    Hostile("text that says it is Parquet", PLAIN, fails="no whole Parquet file", name="opportunities.parquet"),
    Hostile("a damaged part of a Parquet file", parquet_with_a_damaged_group(), {"1": "A" * 40, "3": "C" * 40}, {"from row 2": "1 rows cannot be read"}, name="opportunities.parquet"),
    Hostile("a Parquet file without the key", parquet_of({"Id": ["1"]}), fails="has no column 'id'; it has Id", name="opportunities.parquet"),
    Hostile("a Parquet file with a column twice", parquet_with_a_column_twice(), fails="names a column twice: n", name="opportunities.parquet"),
    Hostile("whole numbers made fractions by a missing one", parquet_of({"id": [7.0, None], "name": ["A", "B"]}), {"7": "A"}, {"row 2": "has no id"}, name="opportunities.parquet"),
    Hostile("bytes that are no text", parquet_of({"id": ["1", "2"], "name": [b"\xff", b"B"]}), {"2": "B"}, {"row 1": "bytes that are no text"}, name="opportunities.parquet"),
    Hostile("a time beyond the calendar", parquet_of({"id": ["1", "2"], "name": ["A", "B"], "x": pyarrow.array([10**12, 0], pyarrow.timestamp("s"))}), {"2": "B"}, {"row 1": "holds a value that cannot be read"}, name="opportunities.parquet"),
    Hostile("a NUL character in Parquet", parquet_of({"id": ["1", "2"], "name": ["a\0b", "B"]}), {"2": "B"}, {"row 1": "NUL character"}, name="opportunities.parquet"),
    Hostile("an id twice in Parquet", parquet_of({"id": ["1", "2", "1"], "name": ["A", "B", "C"]}, row_group_size=1), {"2": "B", "1": "C"}, notes="1 rows were left out", name="opportunities.parquet"),
    Hostile("a Parquet file of no rows", parquet_of({"id": pyarrow.array([], pyarrow.string())}), name="opportunities.parquet"),
]  # fmt: skip


def put(folder: Path, case: Hostile) -> Path:
    path = folder / case.name
    path.write_bytes(case.content if isinstance(case.content, bytes) else case.content.encode())
    os.utime(path, (A_YEAR_AGO, A_YEAR_AGO))
    return path


def read(client: Client, state: State | None = None) -> list[Page]:
    async def pages() -> list[Page]:
        return [page async for page in client.pages(OPPORTUNITIES, state)]

    return asyncio.run(pages())


def records(pages: list[Page]) -> list[Record]:
    return [record for page in pages for record in page.records]


def rejected(pages: list[Page]) -> list[Rejected]:
    return [refusal for page in pages for refusal in page.rejected]


def assert_quarantined(found: list[Rejected], expected: Mapping[str, str]) -> None:
    assert [refusal.position for refusal in found] == list(expected)
    for refusal, reason in zip(found, expected.values(), strict=True):
        assert reason in refusal.reason


@pytest.mark.parametrize("case", HOSTILE, ids=lambda case: case.what)
def test_what_can_be_read_of_a_hostile_file_lands_and_the_rest_is_quarantined(tmp_path: Path, case: Hostile) -> None:
    put(tmp_path, case)
    client = Client({"folder": str(tmp_path), **case.config})
    if case.fails is not None:
        with pytest.raises(Fatal, match=case.fails) as failed:
            read(client)
        assert case.name in str(failed.value)
        return
    pages = read(client)
    landed = {record.id: record.payload for record in records(pages)}
    assert list(landed) == list(case.landed)
    assert len(records(pages)) == len(landed), "an id came twice"
    for record_id, expected in case.landed.items():
        wanted = expected if isinstance(expected, dict) else {"name": expected}
        assert {name: landed[record_id][name] for name in wanted} == wanted
        orjson.dumps(landed[record_id])
    assert_quarantined(rejected(pages), case.quarantined)
    notes = "\n".join(note for page in pages for note in page.notes)
    if case.notes is None:
        assert bool(notes) == bool(case.waits), notes
    else:
        assert re.search(case.notes, notes), notes

    state = pages[-1].state
    again = read(client, state)
    for refusal in rejected(pages):
        tried = client.replay(OPPORTUNITIES, refusal.raw, refusal.record_id)
        assert isinstance(tried, Rejected)
        # of a quote that is left open, only the line that opens it is kept
        same = "cannot be split" if "cannot be split" in refusal.reason else refusal.reason
        assert same in tried.reason or "can't be tried again" in tried.reason
        assert (tried.raw, tried.record_id) == (refusal.raw, refusal.record_id)
    if case.waits:
        assert pages[-1].completes is None
        assert next(iter(case.waits)) in notes
        assert_quarantined(rejected(again), case.waits)
        assert read(client, again[-1].state) == []
    else:
        assert pages[-1].completes == len(landed)
        assert again == [], "an unchanged file was read again"


def test_there_are_more_than_sixty_hostile_files() -> None:
    assert len({case.what for case in HOSTILE}) == len(HOSTILE) >= 60


def test_whatever_lands_and_whatever_is_quarantined_fits_into_the_database(tenant: Tenant, tmp_path: Path) -> None:
    readable = [case for case in HOSTILE if case.fails is None]
    with database.control_session(tenant.id) as control:
        connector_id = connectors.add(
            control, tenant_id=tenant.id, connector_type="files", config={"folder": "/nowhere"}, actor="system:tests"
        )
    with (
        lease.hold(tenant.id, lease.local_holder(), stage="extract") as held,
        database.run_session(tenant.id, autocommit=True) as connection,
    ):
        for number, case in enumerate(readable):
            folder = tmp_path / str(number)
            folder.mkdir()
            put(folder, case)
            client = Client({"folder": str(folder), **case.config})
            pages = read(client)
            pages += read(client, pages[-1].state) if case.waits else []
            landed = landing.land(
                connection,
                landing.prepare(
                    [replace(record, id=f"{number}:{record.id}"[:LONGEST_ID]) for record in records(pages)],
                    rejected(pages),
                ),
                tenant_id=tenant.id,
                connector_id=connector_id,
                connector="files",
                stream="opportunities",
                state=pages[-1].state,
                sync_id=f"hostile {number}",
                fence=held.fence,
            )
            # landing refuses what it cannot store: everything of that kind was found before, where the line is known
            assert landed.failed == len(case.quarantined) + len(case.waits), case.what
            for position, reason, raw, record_id in connection.execute(
                "select position, reason, record, record_id from quality.quarantine where sync_id = %s",
                [f"hostile {number}"],
            ).fetchall():
                tried = client.replay(OPPORTUNITIES, raw, record_id)
                assert isinstance(tried, Rejected), (case.what, position, reason)


def test_the_longest_id_is_the_one_that_landing_takes() -> None:
    assert LONGEST_ID == landing.LONGEST_RECORD_ID
