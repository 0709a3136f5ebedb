"""SOQL, pages and cursors."""

from typing import Any

import pytest

from sandbox.salesforce import Org
from tests.sandbox.caller import Caller

CONDITIONS: dict[str, Any] = {
    "Industry = 'software'": lambda a: (a["Industry"] or "").lower() == "software",
    "Industry != 'Software'": lambda a: a["Industry"] != "Software",
    "Industry = null": lambda a: a["Industry"] is None,
    "Industry != null AND NumberOfEmployees >= 100": lambda a: a["Industry"] and (a["NumberOfEmployees"] or 0) >= 100,
    "NumberOfEmployees < 100 OR AnnualRevenue > 1000000.5": lambda a: (
        (a["NumberOfEmployees"] is not None and a["NumberOfEmployees"] < 100) or (a["AnnualRevenue"] or 0) > 1000000.5
    ),
    "Type IN ('Customer', 'Partner')": lambda a: a["Type"] in ("Customer", "Partner"),
    "Type NOT IN ('Customer', 'Partner')": lambda a: a["Type"] not in ("Customer", "Partner"),
    "NOT (Type = 'Customer')": lambda a: a["Type"] != "Customer",
    "Name LIKE '%a%' and IsDeleted = false": lambda a: "a" in a["Name"].lower() and not a["IsDeleted"],
    "SystemModstamp > 2025-12-21T12:00:00Z": lambda a: a["SystemModstamp"] > "2025-12-21T12:00:00.000",
    "SystemModstamp < 2025-12-21T23:00:00.000+11:00": lambda a: a["SystemModstamp"] < "2025-12-21T12:00:00.000",
    "(SystemModstamp > 2025-12-21T12:00:00Z AND Type = 'Customer') OR Type = 'Prospect'": lambda a: (
        (a["SystemModstamp"] > "2025-12-21T12:00:00.000" and a["Type"] == "Customer") or a["Type"] == "Prospect"
    ),
}


@pytest.fixture(scope="module")
def reading() -> Caller:
    """An org that no test of this module changes."""
    return Caller(Org(seed=5, accounts=30))


@pytest.mark.parametrize("condition", CONDITIONS)
def test_a_condition_holds_for_these_and_no_others(reading: Caller, condition: str) -> None:
    wanted = {id for id, record in reading.org.truth("Account").items() if CONDITIONS[condition](record)}
    for where in (condition, f"NOT (NOT ({condition}))"):  # the second way no index helps
        assert {record["Id"] for record in reading.records(f"SELECT Id FROM Account WHERE {where}")} == wanted
    assert 0 < len(wanted) < 30


@pytest.mark.parametrize(
    ("soql", "code"),
    [
        ("SELECT Id FROM Nothing", "INVALID_TYPE"),
        ("SELECT Fooo FROM Account", "INVALID_FIELD"),
        ("SELECT Id, id FROM Account", "INVALID_FIELD"),
        ("SELECT Id FROM Account WHERE Fooo = 1", "INVALID_FIELD"),
        ("SELECT Id FROM Account ORDER BY Fooo", "INVALID_FIELD"),
        ("SELECT Id FROM Account WHERE SystemModstamp > '2026-01-01T00:00:00Z'", "INVALID_FIELD"),
        ("SELECT Id FROM Account WHERE SystemModstamp > 2026-01-01", "INVALID_FIELD"),
        ("SELECT Id FROM Account WHERE NumberOfEmployees = 'many'", "INVALID_FIELD"),
        ("SELECT Id FROM Account WHERE BillingAddress = 'x'", "INVALID_FIELD"),
        ("SELECT Id, IsDeleted FROM User", "INVALID_FIELD"),
        ("SELECT Id, LastModifiedDate FROM OpportunityHistory", "INVALID_FIELD"),
        ("SELECT FROM Account", "MALFORMED_QUERY"),
        ("SELECT Id FROM Account WHERE", "MALFORMED_QUERY"),
        ("SELECT Id FROM Account WHERE (Name = 'x'", "MALFORMED_QUERY"),
        ("SELECT Id FROM Account WHERE Name = 'x", "MALFORMED_QUERY"),
        ("SELECT Id FROM Account LIMIT ten", "MALFORMED_QUERY"),
        ("SELECT Id FROM Account; DROP TABLE Account", "MALFORMED_QUERY"),
        ("SELECT FIELDS(ALL) FROM Account", "MALFORMED_QUERY"),
        ("", "MALFORMED_QUERY"),
    ],
)
def test_a_wrong_query_is_refused_by_its_kind_of_wrong(reading: Caller, soql: str, code: str) -> None:
    assert reading.refusal(reading.query(soql)) == f"400 {code}"


def test_order_limit_and_offset(reading: Caller) -> None:
    truth = reading.org.truth("Account").values()
    names = sorted((record["Name"] for record in truth), reverse=True)
    found = reading.records("SELECT name FROM account ORDER BY Name DESC LIMIT 3 OFFSET 1")
    assert [record["Name"] for record in found] == names[1:4]
    by_size = reading.records("SELECT NumberOfEmployees FROM Account ORDER BY NumberOfEmployees NULLS LAST, Id")
    sizes = [record["NumberOfEmployees"] for record in by_size]
    assert sizes == sorted(size for size in sizes if size is not None) + [None] * sizes.count(None)


def test_counts_and_extremes(reading: Caller) -> None:
    truth = reading.org.truth("Account")
    counted = reading.query("SELECT COUNT() FROM Account").json()
    assert counted == {"totalSize": len(truth), "done": True, "records": []}
    (extremes,) = reading.records("SELECT COUNT(Industry) known, MAX(SystemModstamp) latest FROM Account")
    assert extremes["known"] == sum(record["Industry"] is not None for record in truth.values())
    assert extremes["latest"] == max(record["SystemModstamp"] for record in truth.values())


def test_all_fields_at_once_are_those_of_describe(reading: Caller) -> None:
    (record,) = reading.records("SELECT FIELDS(ALL) FROM Account LIMIT 1")
    assert list(record) == reading.names("Account", compounds=True)
    assert record["BillingAddress"]["city"] == record["BillingCity"]


def test_every_record_comes_with_an_id_of_eighteen_characters_and_a_stamp_to_the_second(reading: Caller) -> None:
    for record in reading.records("SELECT Id, SystemModstamp FROM Contact"):
        assert record["Id"].startswith("003")
        assert len(record["Id"]) == 18
        assert record["SystemModstamp"].endswith(".000+0000")


def test_a_short_id_means_the_same_record(reading: Caller) -> None:
    id = reading.org.ids("Account")[9]
    assert reading.records(f"SELECT Id FROM Account WHERE Id = '{id[:15]}'") == [{"Id": id}]


def test_a_page_is_as_large_as_asked_within_bounds(caller: Caller) -> None:
    caller.org.fill("Task", 2100)
    for asked, given in ((200, 200), (7, 200), (5000, 2000), (None, 2000)):
        page = caller.query("SELECT Id FROM Task", page_size=asked).json()
        assert (len(page["records"]), page["done"]) == (given, False)
    assert len(caller.records("SELECT Id FROM Task")) == page["totalSize"] > 2100


def test_ten_thousand_rows_of_one_stamp_are_read_by_stamp_and_id(caller: Caller) -> None:
    wanted = caller.org.fill("Task", 10_000, at=1_772_000_000)
    stamp, last, found = "2026-02-25T06:13:20Z", "000000000000000AAA", []
    while True:
        page = caller.records(
            f"SELECT Id, SystemModstamp FROM Task WHERE SystemModstamp = {stamp} AND Id > '{last}'"
            " ORDER BY SystemModstamp, Id LIMIT 2000"
        )
        if not page:
            break
        found += [record["Id"] for record in page]
        last = found[-1]
    assert found == wanted
    assert {record["SystemModstamp"] for record in caller.org.truth("Task").values() if record["Id"] in found} == {
        "2026-02-25T06:13:20.000+0000"
    }


def test_a_cursor_shows_the_rows_as_they_were_when_they_were_asked_for(caller: Caller) -> None:
    ids = caller.org.fill("Task", 400)
    page = caller.query("SELECT Id, Subject FROM Task ORDER BY Id", page_size=200).json()
    caller.org.bulk_edit("Task", ids, Subject="changed meanwhile")
    caller.org.add_field("Task", "Late__c")
    found = list(page["records"])
    while not page["done"]:
        page = caller.http.get(page["nextRecordsUrl"]).json()
        found += page["records"]
    assert not [record for record in found if record["Subject"] == "changed meanwhile"]
    assert len(found) == page["totalSize"]


def test_a_cursor_ends_with_its_session_and_a_new_login_does_not_bring_it_back(caller: Caller) -> None:
    caller.org.fill("Task", 2500)
    link = caller.query("SELECT Id FROM Task").json()["nextRecordsUrl"]
    caller.org.expire_sessions()
    caller.login()
    assert caller.refusal(caller.http.get(link)) == "401 INVALID_SESSION_ID"
    assert caller.get("limits").status_code == 200


def test_the_eleventh_cursor_closes_the_first_and_time_closes_them_all(caller: Caller) -> None:
    caller.org.fill("Task", 2500)
    links = [caller.query("SELECT Id FROM Task").json()["nextRecordsUrl"] for _ in range(11)]
    assert caller.refusal(caller.http.get(links[0])) == "400 INVALID_QUERY_LOCATOR"
    assert caller.http.get(links[1]).status_code == 200
    caller.org.advance(days=3)
    assert caller.refusal(caller.http.get(links[1])) == "400 INVALID_QUERY_LOCATOR"


def test_query_hides_what_is_deleted_or_archived_and_query_all_shows_it(caller: Caller) -> None:
    caller.org.delete("Task", caller.org.ids("Task")[-1])
    truth = caller.org.truth("Task")
    hidden = {id for id, record in truth.items() if record["IsDeleted"] or record["IsArchived"]}
    shown = {record["Id"] for record in caller.records("SELECT Id FROM Task", everything=False)}
    assert shown == truth.keys() - hidden
    assert len(hidden) > 1
    assert len(caller.records("SELECT Id FROM Task")) == len(truth)


def test_a_hidden_field_is_gone_from_describe_and_unknown_in_queries(caller: Caller) -> None:
    caller.org.hide_field("Contact", "Email")
    assert "Email" not in caller.names("Contact")
    assert caller.refusal(caller.query("SELECT Id, Email FROM Contact")) == "400 INVALID_FIELD"
    assert "Email" not in next(iter(caller.org.truth("Contact").values()))
    caller.org.show_field("Contact", "Email")
    assert "Email" in caller.names("Contact")


def test_a_hidden_object_is_not_there(caller: Caller) -> None:
    caller.org.hide_object("Campaign")
    assert caller.refusal(caller.query("SELECT Id FROM Campaign")) == "400 INVALID_TYPE"
    assert caller.refusal(caller.get("sobjects/Campaign/describe")) == "404 NOT_FOUND"
    assert "Campaign" not in {told["name"] for told in caller.get("sobjects").json()["sobjects"]}


def test_every_object_reads_back_as_the_truth_says(reading: Caller) -> None:
    for entity in reading.org.tables:
        names = reading.names(entity)
        found = {record["Id"]: record for record in reading.records(f"SELECT {','.join(names)} FROM {entity}")}
        assert found == reading.org.truth(entity)
        assert found
