"""Reading a folder of files: what lands, what is refused, and when a file is read again."""

import asyncio
import gzip
import os
import subprocess
import sys
from collections.abc import AsyncGenerator, Callable, Iterable
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import Any

import orjson
import pyarrow  # type: ignore[import-untyped]
import pytest
from pyarrow import parquet

from connectors.contract import Fatal, Page, Record, Rejected, State, Stream
from connectors.files import text
from connectors.files.client import ROWS_PER_PAGE, Client
from connectors.files.csv_reader import LONGEST_QUOTED_TEXT_IN_LINES
from connectors.files.streams import STREAMS
from steps import extract, provision
from tests.conftest import Tenant

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
        ("id name\n1 A\n", "has no column 'id'; it has id name"),
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
        ({"folder": "/x", "delimiter": '"'}, "delimiter: cannot be a quote"),
        ({"folder": "s3://a::file:///x"}, "folder: is a chain of URLs"),
        ({"folder": "sftp://me:word@host/x"}, "folder: holds a password, which everybody would see"),
        ({"folder": "s3://a", "storage": {"client_kwargs": {"aws_secret_access_key": "x"}}}, "storage: aws_secret_acc"),
        ({"folder": "/x", "dates": "american"}, "dates: Input should be 'iso', 'day-first' or 'month-first'"),
        ({"folder": "/x", "encoding": "idna"}, "encoding: 'idna' is not an encoding"),
        ({"folder": "/x", "encoding": "hex"}, "encoding: 'hex' is not an encoding"),
        ({"folder": "/x", "dates": {"deals": "day-first"}}, "dates: 'deals' is neither default, nor a stream"),
        ({"folder": "/x", "whole": ["deals"]}, "whole: 'deals' is no stream; there are accounts, people"),
        ({"folder": "/x", "encoding": "utf-9"}, "encoding: 'utf-9' is not an encoding"),
        ({"folder": "/x", "pasword": "x"}, "pasword: Extra inputs are not permitted"),
    ],
)
def test_a_wrong_configuration_is_refused_by_the_name_of_the_field(config: dict[str, Any], reason: str) -> None:
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


def test_two_files_of_one_stream_are_refused_by_name_and_the_other_streams_are_read(tmp_path: Path) -> None:
    accounts_csv(tmp_path, "id\n1\n")
    (tmp_path / "accounts.jsonl.gz").write_bytes(b"")
    (tmp_path / "people.csv").write_text("id\n1\n")
    with pytest.raises(Fatal, match=r"accounts\.csv and accounts\.jsonl\.gz would both be the same stream"):
        read(tmp_path)
    assert len(records(read(tmp_path, stream=STREAMS[1]))) == 1
    health = asyncio.run(Client({"folder": str(tmp_path)}).check())
    assert health.ok
    assert "accounts.csv and accounts.jsonl.gz would both be" in health.message


def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "accounts.csv")
    (tmp_path / "people.csv").mkdir()
    for stream in STREAMS[:2]:
        with pytest.raises(Fatal, match="is no ordinary file"):
            read(tmp_path, stream=stream)


def test_a_file_is_read_again_when_it_is_to_be_read_otherwise(tmp_path: Path) -> None:
    path = accounts_csv(tmp_path, "id,name,updated_at\n1,A,03/04/2026\n")
    os.utime(path, (1, 1))
    pages = read(tmp_path)
    assert "day or the month first" in rejected(pages)[0].reason
    assert read(tmp_path, pages[-1].state) == []
    (record,) = records(read(tmp_path, pages[-1].state, dates="month-first"))
    assert record.payload["updated_at"] == "2026-03-04"
    assert record.source_updated_at == datetime(2026, 3, 4, tzinfo=UTC)


def test_a_file_rewritten_within_one_tick_of_its_clock_is_read(tmp_path: Path) -> None:
    path = accounts_csv(tmp_path, "id,name\n1,A\n")
    status = path.stat()
    state = read(tmp_path)[-1].state
    accounts_csv(tmp_path, "id,name\n1,B\n")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert [record.payload["name"] for record in records(read(tmp_path, state))] == ["B"]


class TestWhile:
    """What happens to a file while it is read. The first page is out, the rest is not read yet."""

    LINES = 3 * ROWS_PER_PAGE

    def whole(self, folder: Path, happens: Callable[[Path], object]) -> list[Page]:
        path = accounts_csv(folder, "id,name\n" + "".join(f"{number},A\n" for number in range(self.LINES)))
        client = Client({"folder": str(folder), "whole": ["accounts"]})

        async def pages() -> list[Page]:
            found: list[Page] = []
            async for page in client.pages(client.streams[0], None):
                if not found:
                    happens(path)
                found.append(page)
            return found

        return asyncio.run(pages())

    def test_nothing_happens(self, tmp_path: Path) -> None:
        pages = self.whole(tmp_path, lambda _: None)
        assert [page.completes for page in pages] == [None, None, None, self.LINES]
        assert [page.state for page in pages[:-1]] == [None, None, None]

    def test_what_is_appended_is_left_to_the_next_reading_and_this_one_was_not_of_everything(
        self, tmp_path: Path
    ) -> None:
        def append(path: Path) -> None:
            with path.open("a") as file:
                file.write("late,B\n")

        pages = self.whole(tmp_path, append)
        assert len(records(pages)) == self.LINES
        assert pages[-1].completes is None
        assert notes(pages) == ["accounts.csv was written to while it was read: the next sync reads it again"]
        assert "late" in [record.id for record in records(read(tmp_path, pages[-1].state))]

    def test_a_file_moved_into_its_place_leaves_the_reading_of_the_old_one_whole(self, tmp_path: Path) -> None:
        def replace(path: Path) -> None:
            (path.parent / "new").write_text("id,name\nnew,B\n")
            (path.parent / "new").replace(path)

        pages = self.whole(tmp_path, replace)
        assert (len(records(pages)), pages[-1].completes) == (self.LINES, self.LINES)
        assert [record.id for record in records(read(tmp_path, pages[-1].state))] == ["new"]

    def test_a_file_written_over_is_not_taken_for_whole(self, tmp_path: Path) -> None:
        pages = self.whole(tmp_path, lambda path: path.write_text("id,name\nnew,B\n"))
        assert pages[-1].completes is None
        assert [record.id for record in records(read(tmp_path, pages[-1].state))] == ["new"]

    def test_whoever_stops_listening_leaves_the_file_closed(self, tmp_path: Path) -> None:
        accounts_csv(tmp_path, "id,name\n" + "".join(f"{number},A\n" for number in range(self.LINES)))

        async def first_page() -> int:
            pages = Client({"folder": str(tmp_path)}).pages(ACCOUNTS, None)
            await anext(pages)
            before = len([*Path("/proc/self/fd").iterdir()])
            assert isinstance(pages, AsyncGenerator)
            await pages.aclose()
            return before - len([*Path("/proc/self/fd").iterdir()])

        assert asyncio.run(first_page()) == 1

    def test_whoever_is_cancelled_waits_for_the_page_that_is_being_read(self, tmp_path: Path) -> None:
        accounts_csv(tmp_path, "id,name\n" + "".join(f"{number},A\n" for number in range(self.LINES)))

        async def cancelled() -> None:
            pages = Client({"folder": str(tmp_path)}).pages(ACCOUNTS, None)
            coming = asyncio.ensure_future(anext(pages))
            await asyncio.sleep(0)
            coming.cancel()
            with pytest.raises(asyncio.CancelledError):
                await coming

        asyncio.run(cancelled())


def test_half_a_last_line_is_no_error_once_the_rest_is_there(tmp_path: Path) -> None:
    accounts_csv(tmp_path, "id,name\n1,A\n2")
    pages = read(tmp_path)
    assert ([record.id for record in records(pages)], rejected(pages), pages[-1].completes) == (["1"], [], None)
    assert notes(pages) == [
        "accounts.csv ends within line 3, which has 1 fields where the header has 2: it has until the next sync to be"
        " completed"
    ]
    accounts_csv(tmp_path, "id,name\n1,A\n2,B\n")
    pages = read(tmp_path, pages[-1].state)
    assert ([record.id for record in records(pages)], rejected(pages), pages[-1].completes) == (["1", "2"], [], 2)


def test_half_a_last_line_is_quarantined_if_the_rest_does_not_come(tmp_path: Path) -> None:
    accounts_csv(tmp_path, "id,name\n1,A\n2")
    pages = read(tmp_path, read(tmp_path)[-1].state)
    assert [refusal.position for refusal in rejected(pages)] == ["line 3"]
    assert pages[-1].completes == 1
    assert read(tmp_path, pages[-1].state) == []


def test_a_gzip_file_cut_short_gives_what_it_holds_and_is_not_taken_for_whole(tmp_path: Path) -> None:
    rows = "".join(f"{number},{sha256(str(number).encode()).hexdigest()}\n" for number in range(20_000))
    (tmp_path / "accounts.csv.gz").write_bytes(gzip.compress(f"id,name\n{rows}".encode())[:-1000])
    pages = read(tmp_path)
    landed = {record.id: record.payload["name"] for record in records(pages)}
    assert len(landed) > 19_900
    assert all(name == sha256(number.encode()).hexdigest() for number, name in landed.items())
    assert "breaks off: its gzip data has no end" in notes(pages)[0]
    assert pages[-1].completes is None
    (refusal,) = rejected(read(tmp_path, pages[-1].state))
    assert refusal.position == f"line {len(landed) + 2}"


@pytest.mark.parametrize("place", [0.5, 0.999])
def test_of_a_damaged_gzip_file_nothing_is_believed(tmp_path: Path, place: float) -> None:
    rows = "".join(f"{number},{sha256(str(number).encode()).hexdigest()}\n" for number in range(20_000))
    content = bytearray(gzip.compress(f"id,name\n{rows}".encode()))
    start = int(len(content) * place)
    content[start : start + 64] = bytes(len(content[start : start + 64]))
    (tmp_path / "accounts.csv.gz").write_bytes(content)
    with pytest.raises(Fatal, match="is damaged gzip"):
        read(tmp_path)


@pytest.mark.parametrize("delimiter", [",", ";"])
def test_a_quoted_text_over_the_edge_of_what_is_read_at_a_time_stays_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, delimiter: str
) -> None:
    content = f'id{delimiter}name\r\n1{delimiter}"A\r\n""Ä"" 🚀"\r\n2{delimiter}B\r\n'
    accounts_csv(tmp_path, content)
    for chunk in range(1, len(content.encode())):
        monkeypatch.setattr(text, "CHUNK", chunk)
        pages = read(tmp_path)
        assert {record.id: record.payload["name"] for record in records(pages)} == {"1": 'A\r\n"Ä" 🚀', "2": "B"}
        assert rejected(pages) == []


def test_how_much_is_read_at_a_time_makes_no_difference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pieces = [b"1", b"2", b",", b'"', b"\n", b"\r\n", b"\r", b"x", "ä".encode(), b"\xff", b"\0", b'","', b'"\n"']
    chosen = Random("files")
    for _ in range(150):
        accounts_csv(tmp_path, b"id,name\n" + b"".join(chosen.choices(pieces, k=chosen.randrange(40))))
        outcomes = []
        for chunk in (1, 5, 1_000):
            monkeypatch.setattr(text, "CHUNK", chunk)
            pages = read(tmp_path)
            refusals = sorted((refusal.position, refusal.reason, str(refusal.raw)) for refusal in rejected(pages))
            outcomes.append((records(pages), refusals, notes(pages), pages[-1]))
        assert outcomes[0] == outcomes[1] == outcomes[2]


def test_a_stream_whose_file_is_whole_takes_absence_for_deletion_and_the_others_do_not(tmp_path: Path) -> None:
    streams = {stream.name: stream.deletes for stream in Client({"folder": "/x", "whole": ["people"]}).streams}
    assert streams == {"accounts": "never", "people": "absent", "opportunities": "never", "activities": "never"}


def test_a_file_becomes_whole_by_being_read_again(tmp_path: Path) -> None:
    os.utime(accounts_csv(tmp_path, "id\n1\n"), (1, 1))
    state = read(tmp_path)[-1].state
    assert read(tmp_path, state) == []
    assert read(tmp_path, state, whole=["accounts"])[-1].completes == 1


def test_a_known_id_of_a_refused_row_is_told_so_that_it_is_not_missed(tmp_path: Path) -> None:
    accounts_csv(tmp_path, "id,updated_at\n1,03/04/2026\n")
    assert rejected(read(tmp_path))[0].record_id == "1"


@pytest.mark.parametrize(
    ("content", "correction"),
    [
        ("id,name,updated_at\n1,Müller,04.03.2026\n".encode(), {"dates": "day-first"}),
        ("id,name,updated_at\n1,Müller,2026-03-04\n".encode("latin-1"), {"encoding": "latin-1"}),
        ("id,name,updated_at\n1,Müller,04.03.2026\n".encode("latin-1"), {"encoding": "latin-1", "dates": "day-first"}),
    ],
)
def test_what_was_refused_lands_once_the_configuration_is_right(
    tmp_path: Path, content: bytes, correction: dict[str, Any]
) -> None:
    accounts_csv(tmp_path, content)
    (refusal,) = rejected(read(tmp_path))
    kept = orjson.loads(orjson.dumps(refusal.raw))
    assert isinstance(Client({"folder": str(tmp_path)}).replay(ACCOUNTS, kept, refusal.record_id), Rejected)
    (read_again,) = records(read(tmp_path, **correction))
    assert Client({"folder": str(tmp_path), **correction}).replay(ACCOUNTS, kept, refusal.record_id) == read_again
    assert read_again.payload == {"id": "1", "name": "Müller", "updated_at": "2026-03-04"}


def test_a_payload_that_landing_refused_can_be_tried_again(tmp_path: Path) -> None:
    payload = {"id": "1", "name": "A", "line": "3", "more": {"x": [1, 2.5]}}
    assert Client({"folder": "/x"}).replay(ACCOUNTS, payload, "1") == Record("1", payload)


@pytest.mark.parametrize("raw", [None, "1,A", {}, {"line": "x"}, {"header": ["id"], "delimiter": ",", "line": "1\n2"}])
def test_what_cannot_be_tried_again_says_so(raw: Any) -> None:
    tried = Client({"folder": "/x"}).replay(ACCOUNTS, raw, "7")
    assert isinstance(tried, Rejected)
    assert (tried.raw, tried.record_id) == (raw, "7")


def test_the_same_rows_mean_the_same_in_every_format(tmp_path: Path) -> None:
    rows = [
        {"id": "7", "name": "Ä, B", "annual_revenue": "1000000", "is_x": "true", "updated_at": "2026-03-04T12:00:00"},
        {"id": "8", "name": None, "annual_revenue": None, "is_x": None, "updated_at": None},
    ]
    in_csv = 'id,name,annual_revenue,is_x,updated_at\n7,"Ä, B",1000000,true,2026-03-04T12:00:00\n8,,,,\n'
    in_json = (
        '{"id":7,"name":"Ä, B","annual_revenue":1000000,"is_x":true,"updated_at":"2026-03-04T12:00:00"}\n'
        '{"id":8,"name":"","annual_revenue":null,"is_x":null,"updated_at":null}\n'
    )
    columns = {
        "id": [7, 8],
        "name": ["Ä, B", ""],
        "annual_revenue": [1e6, None],
        "is_x": [True, None],
        "updated_at": [datetime(2026, 3, 4, 12), None],  # noqa: DTZ001
    }
    found = []
    for name, content in (("csv", in_csv), ("jsonl", in_json), ("parquet", None)):
        folder = tmp_path / name
        folder.mkdir()
        if content is None:
            parquet.write_table(pyarrow.table(columns), folder / "accounts.parquet")
        else:
            (folder / f"accounts.{name}").write_text(content, encoding="utf-8")
        found.append(records(read(folder)))
    assert [record.payload for record in found[0]] == rows
    assert found[1] == found[0] == found[2]


def test_a_row_that_stands_again_further_down_does_not_land_anew_at_every_reading(
    tenant: Tenant, tmp_path: Path
) -> None:
    accounts_csv(tmp_path, "id,name\n1,A\n2,B\n1,C\n")
    provision.add_connector(tenant.id, "files", {"folder": str(tmp_path)}, actor="system:tests")
    first, again = (extract.run(tenant.slug, "files", "test", full=True) for _ in range(2))
    assert (first["streams"]["accounts"]["created"], first["streams"]["accounts"]["updated"]) == (2, 0)
    assert (again["streams"]["accounts"]["created"], again["streams"]["accounts"]["updated"]) == (0, 0)
    assert any("1 rows were left out because their id stands again" in note for note in first["notes"])


PEAK = """
import asyncio, resource, sys
from connectors.files.client import Client

async def count(client, rows=0):
    async for page in client.pages(client.streams[0], None):
        rows += len(page.records)
    return rows

print(asyncio.run(count(Client({"folder": sys.argv[1]}))), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.long
@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_memory_stays_flat_however_long_the_file_is(tmp_path: Path, form: str) -> None:
    peaks = []
    for rows in (20_000, 200_000):
        folder = tmp_path / str(rows)
        folder.mkdir()
        with (folder / f"accounts.{form}").open("w", encoding="utf-8") as file:
            if form == "csv":
                file.write("id,name,domain,industry\n")
                file.writelines(f"{n},Company number {n},company{n}.example,Software\n" for n in range(rows))
            else:
                file.writelines(
                    f'{{"id":{n},"name":"Company {n}","domain":"company{n}.example"}}\n' for n in range(rows)
                )
        output = subprocess.run(
            [sys.executable, "-c", PEAK, folder],
            check=True,
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        ).stdout
        read_rows, peak = map(int, output.split())
        assert read_rows == rows
        peaks.append(peak / 1024)
    # 200,000 records in memory are some 120 MB; what is kept of each is a number
    assert peaks[1] - peaks[0] < 40, f"{peaks} MB"
