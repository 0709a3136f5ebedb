"""Files in object storage: the same reading, through fsspec, with what only storage does."""

import asyncio
import gzip
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import fsspec  # type: ignore[import-untyped]
import pytest
from fsspec.implementations.memory import MemoryFileSystem  # type: ignore[import-untyped]

from connectors import catalogue
from connectors.contract import ConnectorError, Fatal, Page, Reauthorise, Retry, State
from connectors.files.client import Client
from connectors.files.streams import SECRETS, STREAMS

URL = "memory://bucket/acme"


@pytest.fixture(autouse=True)
def bucket() -> Iterator[MemoryFileSystem]:
    files = MemoryFileSystem()
    files.makedirs("/bucket/acme", exist_ok=True)
    yield files
    files.rm("/bucket", recursive=True)


def read(state: State | None = None, folder: str = URL, **config: Any) -> list[Page]:
    async def pages() -> list[Page]:
        return [page async for page in Client({"folder": folder, **config}).pages(STREAMS[0], state)]

    return asyncio.run(pages())


def names(pages: list[Page]) -> dict[str, str]:
    return {record.id: record.payload["name"] for page in pages for record in page.records}


def check(**config: Any) -> tuple[bool, str]:
    health = asyncio.run(Client({"folder": URL, **config}).check())
    return health.ok, health.message


def test_a_bucket_is_read_as_a_folder_is(bucket: MemoryFileSystem) -> None:
    bucket.pipe("/bucket/acme/accounts.csv.gz", gzip.compress(b"id,name\n1,A\n2,B\n3\n"))
    pages = read()
    assert names(pages) == {"1": "A", "2": "B"}
    assert [refusal.position for page in pages for refusal in page.rejected] == ["line 4"]
    assert pages[-1].completes == 2
    assert check() == (True, f"{URL}: accounts.csv.gz")


def test_an_object_that_has_not_changed_is_not_even_fetched(
    bucket: MemoryFileSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket.pipe("/bucket/acme/accounts.csv", b"id,name\n1,A\n")
    state = read()[-1].state
    monkeypatch.setattr(MemoryFileSystem, "get_file", None)
    assert read(state) == []


def test_an_object_written_anew_is_read_again_and_an_equal_one_is_not_landed(bucket: MemoryFileSystem) -> None:
    bucket.pipe("/bucket/acme/accounts.csv", b"id,name\n1,A\n")
    state = read()[-1].state
    bucket.pipe("/bucket/acme/accounts.csv", b"id,name\n1,A\n")
    (page,) = read(state)
    assert not page.records
    bucket.pipe("/bucket/acme/accounts.csv", b"id,name\n1,B\n")
    assert names(read(page.state)) == {"1": "B"}


def test_what_is_missing_is_said(bucket: MemoryFileSystem) -> None:
    bucket.pipe("/bucket/acme/accounts.txt", b"id\n1\n")
    (page,) = read()
    assert page.notes == [f"accounts.csv is not in {URL}: the stream is skipped"]
    assert check() == (
        False,
        f"{URL} holds none of accounts.csv, people.csv, opportunities.csv, activities.csv. Put at least one there.",
    )
    with pytest.raises(Fatal, match="There is nothing at memory://bucket/other"):
        read(folder="memory://bucket/other")


def test_an_object_replaced_while_it_is_fetched_is_fetched_again(
    bucket: MemoryFileSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket.pipe("/bucket/acme/accounts.csv", b"id,name\n1,A\n")
    fetch = MemoryFileSystem.get_file

    def and_replace(files: MemoryFileSystem, path: str, into: str) -> None:
        fetch(files, path, into)
        files.pipe(path, b"id,name\n1,B\n")

    monkeypatch.setattr(MemoryFileSystem, "get_file", and_replace)
    with pytest.raises(Retry, match=r"accounts\.csv was replaced while it was read"):
        read()


def test_an_object_that_arrives_cut_short_is_fetched_again(
    bucket: MemoryFileSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket.pipe("/bucket/acme/accounts.csv", b"id,name\n1,A\n")

    def half(files: MemoryFileSystem, path: str, into: str) -> None:
        with open(into, "wb") as copy:
            copy.write(files.cat(path)[:8])

    monkeypatch.setattr(MemoryFileSystem, "get_file", half)
    with pytest.raises(Retry):
        read()


@pytest.mark.parametrize(
    ("raised", "kind", "sentence"),
    [
        (PermissionError("Access Denied"), Reauthorise, "Access Denied. Check the credentials"),
        (OSError("Forbidden: https://storage/x"), Reauthorise, "refuses us: Forbidden"),
        (RuntimeError("NoCredentialsError: Unable to locate credentials"), Reauthorise, "refuses us"),
        (OSError("connection reset by peer"), Retry, "could not be read: connection reset by peer"),
        (TimeoutError(), Retry, "could not be read: TimeoutError"),
        (RuntimeError("signed with TOPSECRET\nin a long story"), Retry, r"signed with \*\*\*\. If"),
    ],
)
def test_what_the_driver_says_becomes_what_to_do_and_repeats_no_secret(
    monkeypatch: pytest.MonkeyPatch, raised: Exception, kind: type[ConnectorError], sentence: str
) -> None:
    def fails(*_arguments: object, **_options: object) -> None:
        raise raised

    monkeypatch.setattr(MemoryFileSystem, "ls", fails)
    with pytest.raises(kind, match=sentence) as failed:
        read(secret="TOPSECRET")
    assert type(failed.value) is kind
    # nor does the story behind it, which a traceback would tell
    assert failed.value.__cause__ is None
    assert failed.value.__suppress_context__


@pytest.mark.parametrize(
    ("folder", "sentence"),
    [
        ("s3://bucket/acme", "s3:// needs the package s3fs. Install it beside the platform: pip install s3fs"),
        ("gs://bucket/acme", "gs:// needs the package gcsfs"),
        ("abfs://bucket/acme", "abfs:// needs the package adlfs"),
        ("carrier-pigeon://loft", "Files are not read from carrier-pigeon://, but from s3, gs"),
    ],
)
def test_a_place_that_cannot_be_reached_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, folder: str, sentence: str
) -> None:
    def is_not_there(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(fsspec.core, "url_to_fs", lambda url, **_options: is_not_there(url))
    ok, message = check(folder=folder)
    assert (ok, sentence in message) == (False, True), message


def test_a_driver_is_given_its_options_and_its_own_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[Mapping[str, Any]] = []

    def url_to_fs(url: str, **options: Any) -> tuple[MemoryFileSystem, str]:
        given.append(options)
        return MemoryFileSystem(), "/bucket/acme"

    monkeypatch.setattr(fsspec.core, "url_to_fs", url_to_fs)
    check(folder="s3://b", storage={"key": "AK", "endpoint_url": "https://minio"}, secret="S", password="of another")
    check(folder="gs://b", token='{"type": "service_account"}')
    assert given == [
        {"skip_instance_cache": True, "key": "AK", "endpoint_url": "https://minio", "secret": "S"},
        {"skip_instance_cache": True, "token": {"type": "service_account"}},
    ]


def test_wrong_options_are_told_from_a_place_out_of_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    def url_to_fs(url: str, **options: Any) -> None:
        raise TypeError("unexpected keyword argument 'regoin'")

    monkeypatch.setattr(fsspec.core, "url_to_fs", url_to_fs)
    ok, message = check(folder="s3://b", storage={"regoin": "x"})
    assert not ok
    assert message == "s3://b: the storage options are not right: unexpected keyword argument 'regoin'."


def test_every_secret_is_known_to_the_catalogue_as_one() -> None:
    assert all(catalogue.is_secret("files", name) for name in SECRETS)
    assert not any(catalogue.is_secret("files", name) for name in ("folder", "storage", "dates", "whole", "encoding"))


def test_reading_a_page_leaves_the_loop_to_the_other_streams(
    bucket: MemoryFileSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket.pipe("/bucket/acme/accounts.csv", b"id,name\n1,A\n")
    turns = 0
    fetch: Callable[..., None] = MemoryFileSystem.get_file

    def slowly(files: MemoryFileSystem, path: str, into: str) -> None:
        before = turns
        while turns < before + 3:
            """Until the loop has turned three times: for ever, if this stood in its way."""
        fetch(files, path, into)

    monkeypatch.setattr(MemoryFileSystem, "get_file", slowly)

    async def both() -> int:
        async def turn() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        turning = asyncio.create_task(turn())
        pages = [page async for page in Client({"folder": URL}).pages(STREAMS[0], None)]
        turning.cancel()
        return len(pages)

    assert asyncio.run(both()) == 2
