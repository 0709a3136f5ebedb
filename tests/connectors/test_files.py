"""Reading a folder of CSV files: what lands, what is refused, and when a file is read again."""

import asyncio
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from connectors.contract import Fatal, Page, Record, Rejected, State, Stream
from connectors.files.client import ROWS_PER_PAGE, Client
from connectors.files.csv_reader import LONGEST_QUOTED_TEXT_IN_LINES
from connectors.files.streams import STREAMS

ACCOUNTS = STREAMS[0]


def read(folder: Path, state: State | None = None, stream: Stream = ACCOUNTS, **config: Any) -> list[Page]:
    async def pages() -> list[Page]:
        return [page async for page in Client({"folder": str(folder), **config}).pages(stream, state)]

    return asyncio.run(pages())


def records(pages: Iterable[Page]) -> list[Record]:
    return [record for page in pages for record in page.records]


def rejected(pages: Iterable[Page]) -> list[Rejected]:
    return [refusal for page in pages for refusal in page.rejected]


def notes(pages: Iterable[Page]) -> list[str]:
    return [note for page in pages for note in page.notes]


def accounts_csv(folder: Path, content: str | bytes) -> Path:
    path = folder / "accounts.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize(
    ("content", "landed", "refused"),
    [
        pytest.param("id,name\n1,A\n2,B\n", {"1": "A", "2": "B"}, {}, id="a plain file"),
        pytest.param("id,name\n1,A\n2,B", {"1": "A", "2": "B"}, {}, id="no newline at the end"),
        pytest.param("id,name\r\n1,A\r\n2,B\r\n", {"1": "A", "2": "B"}, {}, id="windows line ends"),
        pytest.param("id,name\r1,A\r2,B\r", {"1": "A", "2": "B"}, {}, id="old macintosh line ends"),
        pytest.param("\ufeffid,name\n1,A\n", {"1": "A"}, {}, id="a byte order mark"),
        pytest.param(" id , name \n1,A\n", {"1": "A"}, {}, id="blanks around headers"),
        pytest.param("name,id\nA,1\n", {"1": "A"}, {}, id="columns in another order"),
        pytest.param("id,name\n", {}, {}, id="a header and nothing else"),
        pytest.param("id,name\n\n1,A\n  \n", {"1": "A"}, {}, id="blank lines"),
        pytest.param("id,name\n1,\n", {"1": None}, {}, id="an empty value is null"),
        pytest.param('id,name\n1,"A, ""B"" & C"\n', {"1": 'A, "B" & C'}, {}, id="quotes and commas in quotes"),
        pytest.param('id,name\n1,"A\nB"\n2,C\n', {"1": "A\nB", "2": "C"}, {}, id="a line end in quotes"),
        pytest.param('id,name\n1,5" pipe\n2,B\n', {"1": '5" pipe', "2": "B"}, {}, id="a quote amid a bare text"),
        pytest.param("id,name\n1\n2,B\n", {"2": "B"}, {2: "1 fields"}, id="a line too short"),
        pytest.param("id,name\n1,A,x\n2,B\n", {"2": "B"}, {2: "3 fields"}, id="a line too long"),
        pytest.param("id,name\n,A\n2,B\n", {"2": "B"}, {2: "has no id"}, id="a missing id"),
        pytest.param("id,name\n  ,A\n2,B\n", {"2": "B"}, {2: "has no id"}, id="a blank id"),
        pytest.param("id,name\n1,a\0b\n2,B\n", {"2": "B"}, {2: "NUL"}, id="a NUL byte"),
        pytest.param(b"id,name\n1,M\xfcller\n2,B\n", {"2": "B"}, {2: "not text"}, id="latin-1 taken for utf-8"),
        pytest.param('id,name\n1,"A\n2,B\n3,C\n', {"2": "B", "3": "C"}, {2: "never closed"}, id="a quote left open"),
        pytest.param('id,name\n1,"A"x\n2,B\n', {"2": "B"}, {2: "expected after"}, id="text after a closing quote"),
        pytest.param(
            'id,name\n1,"A\n2,"B"\n3,C\n', {"2": "B", "3": "C"}, {2: "expected after"}, id="two quotes tangled"
        ),
        pytest.param(
            'id,name\n1,"A\n2,\0\n3,C\n', {"3": "C"}, {2: "never closed", 3: "NUL"}, id="NUL in an open quote"
        ),
        pytest.param(
            "id,name\n1," + "x" * 200_000 + "\n2,B\n", {"2": "B"}, {2: "field"}, id="a field beyond all measure"
        ),
        pytest.param(
            'id,name\n1,"A\n' + "2,B\n" * 3 * LONGEST_QUOTED_TEXT_IN_LINES + '3,"C"\n',
            {"2": "B", "3": "C"},
            {2: "never closed"},
            id="an open quote far from the next",
        ),
        pytest.param(
            "id,name,updated_at\n1,A,yesterday\n2,B,2026-03-10T12:00:00Z\n",
            {"2": "B"},
            {2: "no ISO 8601 time: yesterday"},
            id="a stamp that is no time",
        ),
    ],
)
def test_one_broken_line_costs_that_line_and_no_other(
    tmp_path: Path, content: str | bytes, landed: dict[str, str | None], refused: dict[int, str]
) -> None:
    accounts_csv(tmp_path, content)
    pages = read(tmp_path)
    assert {record.id: record.payload["name"] for record in records(pages)} == landed
    assert [refusal.position for refusal in rejected(pages)] == [f"line {line}" for line in refused]
    for refusal, reason in zip(rejected(pages), refused.values(), strict=True):
        assert reason in refusal.reason
        assert refusal.raw


def test_values_stay_the_strings_they_are(tmp_path: Path) -> None:
    accounts_csv(tmp_path, "id,name,annual_revenue,is_closed\n007,A,1e6,true\n")
    (record,) = records(read(tmp_path))
    assert record.id == "007"
    assert record.payload == {"id": "007", "name": "A", "annual_revenue": "1e6", "is_closed": "true"}


@pytest.mark.parametrize(
    "stamp", ["2026-03-10T12:00:00Z", "2026-03-10T12:00:00", "2026-03-10 13:00:00+01:00", "2026-03-10T12:00:00.000000Z"]
)
def test_a_stamp_is_a_moment_in_utc_unless_it_says_otherwise(tmp_path: Path, stamp: str) -> None:
    accounts_csv(tmp_path, f"id,updated_at\n1,{stamp}\n")
    (record,) = records(read(tmp_path))
    assert record.source_updated_at is not None
    assert record.source_updated_at.timestamp() == 1773144000


def test_a_declared_delimiter_and_encoding_are_used(tmp_path: Path) -> None:
    accounts_csv(tmp_path, "id;name\n1;Müller, Köln\n".encode("latin-1"))
    (record,) = records(read(tmp_path, delimiter=";", encoding="latin-1"))
    assert record.payload["name"] == "Müller, Köln"


def test_a_long_file_comes_in_pages(tmp_path: Path) -> None:
    accounts_csv(tmp_path, "id,name\n" + "".join(f"{n},A\n" for n in range(2 * ROWS_PER_PAGE + 1)))
    assert [len(page.records) for page in read(tmp_path)] == [ROWS_PER_PAGE, ROWS_PER_PAGE, 1, 0]


def test_an_unchanged_file_is_not_read_again(tmp_path: Path) -> None:
    accounts_csv(tmp_path, "id,name\n1,A\n")
    assert read(tmp_path, read(tmp_path)[-1].state) == []


def test_a_file_touched_but_equal_is_not_landed_again(tmp_path: Path) -> None:
    path = accounts_csv(tmp_path, "id,name\n1,A\n")
    state = read(tmp_path)[-1].state
    os.utime(path, (1, 1))
    (page,) = read(tmp_path, state)
    assert not page.records
    assert read(tmp_path, page.state) == []


def test_a_changed_file_is_read_again_whole(tmp_path: Path) -> None:
    accounts_csv(tmp_path, "id,name\n1,A\n")
    state = read(tmp_path)[-1].state
    accounts_csv(tmp_path, "id,name\n1,A\n2,B\n")
    assert [record.id for record in records(read(tmp_path, state))] == ["1", "2"]


def test_a_read_that_is_cut_short_starts_again_from_the_first_line(tmp_path: Path) -> None:
    accounts_csv(tmp_path, "id,name\n" + "".join(f"{n},A\n" for n in range(ROWS_PER_PAGE + 1)))
    before_the_end = read(tmp_path)[0].state
    assert len(records(read(tmp_path, before_the_end))) == ROWS_PER_PAGE + 1


def test_what_is_appended_during_the_read_is_seen_by_the_next(tmp_path: Path) -> None:
    path = accounts_csv(tmp_path, "id,name\n" + "".join(f"{n},A\n" for n in range(ROWS_PER_PAGE + 1)))

    async def read_while_it_grows() -> list[Page]:
        pages: list[Page] = []
        async for page in Client({"folder": str(tmp_path)}).pages(ACCOUNTS, None):
            if not pages:
                with path.open("a") as file:
                    file.write("late,B\n")
            pages.append(page)
        return pages

    state = asyncio.run(read_while_it_grows())[-1].state
    assert "late" in [record.id for record in records(read(tmp_path, state))]


def test_a_file_that_never_was_there_is_skipped_and_said(tmp_path: Path) -> None:
    (page,) = read(tmp_path)
    assert (page.records, page.state) == ((), None)
    assert page.notes == [f"accounts.csv is not in {tmp_path}: the stream is skipped"]


def test_a_file_that_disappears_is_said_and_deletes_nothing(tmp_path: Path) -> None:
    path = accounts_csv(tmp_path, "id,name\n1,A\n")
    state = read(tmp_path)[-1].state
    path.unlink()
    (page,) = read(tmp_path, state)
    assert (page.records, page.state) == ((), state)
    assert "has disappeared" in page.notes[0]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "is empty: it needs a header line"),
        ("name,domain\nA,a.example\n", "has no column 'id'; it has name, domain"),
        ("id;name\n1;A\n", "has no column 'id'; it has id;name"),
        ("id,name,name\n1,A,B\n", "names a column twice: name"),
        ("id,na\0me\n1,A\n", "header line of .* NUL"),
    ],
)
def test_a_file_without_a_usable_header_fails_its_stream(tmp_path: Path, content: str, reason: str) -> None:
    accounts_csv(tmp_path, content)
    with pytest.raises(Fatal, match=reason):
        read(tmp_path)


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ({}, "folder: Field required"),
        ({"folder": "exports"}, "folder: must be an absolute path"),
        ({"folder": "/x", "delimiter": "||"}, "delimiter: "),
        ({"folder": "/x", "encoding": "utf-9"}, "encoding: 'utf-9' is not an encoding"),
        ({"folder": "/x", "pasword": "x"}, "pasword: Extra inputs are not permitted"),
    ],
)
def test_a_wrong_configuration_is_refused_by_the_name_of_the_field(config: dict[str, str], reason: str) -> None:
    with pytest.raises(Fatal, match=f"files: {reason}"):
        Client(config)


def test_check_says_what_is_missing_and_what_to_do(tmp_path: Path) -> None:
    def check(folder: Path) -> tuple[bool, str]:
        health = asyncio.run(Client({"folder": str(folder)}).check())
        return health.ok, health.message

    assert check(tmp_path / "nowhere") == (
        False,
        f"There is no folder {tmp_path / 'nowhere'}. Make it, or correct the connector's folder.",
    )
    wanted = "accounts.csv, people.csv, opportunities.csv, activities.csv"
    assert check(tmp_path) == (False, f"{tmp_path} holds none of {wanted}. Put at least one there.")
    accounts_csv(tmp_path, "id\n")
    assert check(tmp_path) == (True, f"{tmp_path}: accounts.csv")
