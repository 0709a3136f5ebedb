"""From Salesforce's texts to records, without a network."""

from datetime import UTC, datetime
from time import perf_counter

import orjson
import pytest

from connectors.contract import Record, Rejected
from connectors.http import Answer
from connectors.salesforce import pages
from connectors.salesforce.vendor import SALESFORCE, BulkPage

STAMP = "2026-03-01T10:20:30.000+0000"
TASK = {"Id": "00T000000000001AAA", "Subject": "Call", "SystemModstamp": STAMP, "IsDeleted": False}


def page_of(*rows: object) -> bytes:
    return orjson.dumps({"totalSize": len(rows), "done": True, "records": rows})


def test_a_page_becomes_records_with_the_fields_by_their_api_names() -> None:
    body = page_of({"attributes": {"type": "Task", "url": "/x"}, **TASK})
    assert pages.records(body) == [
        Record(TASK["Id"], TASK, datetime(2026, 3, 1, 10, 20, 30, tzinfo=UTC), is_deleted=False)  # type: ignore[arg-type]
    ]


def test_an_object_that_cannot_be_deleted_has_no_deleted_records() -> None:
    row = {"Id": "005000000000001AAA", "SystemModstamp": STAMP}
    assert [record.is_deleted for record in pages.records(page_of(row, row | {"IsDeleted": True}))] == [False, True]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (None, "is not an object with fields"),
        ([], "is not an object with fields"),
        ({"SystemModstamp": STAMP}, "has no Id"),
        ({"Id": "", "SystemModstamp": STAMP}, "has no Id"),
        ({"Id": 7, "SystemModstamp": STAMP}, "has no Id"),
        ({"Id": "1"}, "SystemModstamp is no time: None"),
        ({"Id": "1", "SystemModstamp": 12}, "SystemModstamp is no time: 12"),
        ({"Id": "1", "SystemModstamp": "2026-13-01"}, "SystemModstamp is no time: 2026-13-01"),
    ],
)
def test_a_row_that_is_no_record_costs_that_row_alone(row: object, reason: str) -> None:
    made, refused = pages.outcomes_of([TASK, row, TASK])
    assert [record.id for record in made] == [TASK["Id"]] * 2
    assert [(one.position, one.reason, one.raw) for one in refused] == [("row 2 of the page", reason, row)]


def test_a_row_that_was_refused_can_be_tried_again_as_it_was_kept() -> None:
    assert isinstance(pages.outcome_of(TASK, "replayed"), Record)
    assert isinstance(pages.outcome_of({}, "replayed"), Rejected)


def test_texts_of_a_bulk_result_become_what_rest_would_have_told() -> None:
    types = {
        "Id": "id",
        "IsDeleted": "boolean",
        "IsClosed": "boolean",
        "NumberOfEmployees": "int",
        "Amount": "currency",
        "Share": "percent",
        "CloseDate": "date",
        "SystemModstamp": "datetime",
        "Empty": "datetime",
        "Zip": "string",
    }
    texts = ["1", "false", "true", "120", "1.0E7", "12.5", "2026-03-01", "2026-03-01T10:20:30.000Z", "", "01234"]
    (row,) = pages.rows_of_texts(list(types), [texts], types)
    assert row == {
        "Id": "1",
        "IsDeleted": False,
        "IsClosed": True,
        "NumberOfEmployees": 120,
        "Amount": 10_000_000.0,
        "Share": 12.5,
        "CloseDate": "2026-03-01",
        "SystemModstamp": STAMP,
        "Empty": None,
        "Zip": "01234",
    }


def bulk(text: str, **headers: str) -> BulkPage:
    told = SALESFORCE.readers["csv"](
        Answer(200, {name.replace("_", "-"): value for name, value in headers.items()}, text.encode())
    )
    assert isinstance(told, BulkPage)
    return told


def test_a_bulk_page_with_line_breaks_and_quotes_in_its_texts_is_read_whole() -> None:
    text = '"Id","Description"\n"1","a ""quoted"" word\nand a second line, with commas"\n"2",""\n'
    assert bulk(text, Sforce_NumberOfRecords="2").rows == [
        ["1", 'a "quoted" word\nand a second line, with commas'],
        ["2", ""],
    ]


@pytest.mark.parametrize(("locator", "goes_on_at"), [("null", None), ("", None), ("MTAwMDA", "MTAwMDA")])
def test_the_word_null_in_the_locator_is_the_end(locator: str, goes_on_at: str | None) -> None:
    assert bulk('"Id"\n"1"\n', Sforce_Locator=locator).locator == goes_on_at


@pytest.mark.parametrize(
    "text",
    ['"Id","Name"\n"1","A"\n', '"Id","Name"\n"1","A"\n"2"\n', '"Id","Name"\n"1","A"\n"2","B', ""],
    ids=["at the end of a line", "between two fields", "within a text", "before anything"],
)
def test_a_bulk_page_that_was_cut_off_anywhere_is_noticed(text: str) -> None:
    with pytest.raises(ValueError, match=r"missing|not whole"):
        bulk(text, Sforce_NumberOfRecords="2")


def test_a_page_of_two_thousand_tasks_is_made_in_far_less_time_than_it_takes_to_fetch() -> None:
    fields = {f"Field_{number}__c": f"value {number}" for number in range(30)}
    body = page_of(*({**TASK, **fields, "Id": f"00T{number:015}"} for number in range(2_000)))
    quickest = min(_seconds_for(body) for _ in range(5))
    assert quickest < 0.25


def _seconds_for(body: bytes) -> float:
    started = perf_counter()
    assert len(pages.records(body)) == 2_000
    return perf_counter() - started
