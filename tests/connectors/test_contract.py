"""Declarations that would lose data, and the catalogue of connectors."""

from datetime import timedelta
from typing import Any

import pytest

from connectors import catalogue
from connectors.contract import Fatal, Stream


@pytest.mark.parametrize(
    ("declaration", "reason"),
    [
        ({"primary_key": ""}, "no primary key"),
        ({"cursor": "SystemModstamp"}, "cursor without an overlap"),
        ({"cursor": "SystemModstamp", "overlap": timedelta(0)}, "cursor without an overlap"),
        ({"cursor": "SystemModstamp", "overlap": timedelta(minutes=-10)}, "overlap that overlaps nothing"),
        ({"overlap": timedelta(minutes=10)}, "overlap that overlaps nothing"),
        ({"cursor": "at", "overlap": timedelta(minutes=1), "deletes": "absent"}, "everything else would be deleted"),
        ({"name": "contacts; drop table"}, "names a table"),
        ({"name": "x" * 32}, "names a table"),
    ],
)
def test_a_stream_that_would_lose_data_cannot_be_declared(declaration: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        Stream(**{"name": "contacts", "primary_key": "Id", **declaration})


def test_a_stream_with_key_cursor_and_overlap_can_be_declared() -> None:
    stream = Stream(
        "contacts", primary_key="Id", cursor="SystemModstamp", overlap=timedelta(minutes=10), deletes="flag"
    )
    assert stream.deletes == "flag"


def test_every_folder_that_declares_streams_is_a_connector() -> None:
    assert "files" in catalogue.names()
    assert ("files", "accounts") in [(connector, stream.name) for connector, stream in catalogue.all_streams()]


def test_the_names_of_all_raw_tables_fit_into_what_postgresql_keeps_of_a_name() -> None:
    assert all(len(f"{connector}__{stream.name}") <= 60 for connector, stream in catalogue.all_streams())


def test_an_unknown_connector_is_refused_with_the_known_ones() -> None:
    with pytest.raises(Fatal, match=r"There are: .*files"):
        catalogue.connect("fax", {})
