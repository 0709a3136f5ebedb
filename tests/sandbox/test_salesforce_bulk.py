"""Bulk 2.0: jobs, their states, their results as CSV."""

import csv
import io
from typing import Any

import httpx
import pytest

from tests.sandbox.caller import DATA, Caller


def start(caller: Caller, soql: str, **more: str) -> str:
    answer = caller.send("POST", "jobs/query", {"operation": "queryAll", "query": soql, **more})
    assert answer.json()["state"] == "UploadComplete", answer.text
    id: str = answer.json()["id"]
    return id


def wait(caller: Caller, kind: str, job: str) -> list[str]:
    states: list[str] = []
    while not states or states[-1] in ("UploadComplete", "InProgress"):
        states.append(caller.get(f"jobs/{kind}/{job}").json()["state"])
    return states


def results(caller: Caller, job: str, **params: object) -> httpx.Response:
    return caller.get(f"jobs/query/{job}/results", params=params)


def rows(text: str, delimiter: str = ",") -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter))


def test_a_query_job_is_ordered_waited_for_and_read_in_parts(caller: Caller) -> None:
    caller.org.fill("Task", 2300)
    job = start(caller, "SELECT Id, SystemModstamp FROM Task")
    assert caller.refusal(results(caller, job)) == "404 NOT_FOUND", "it is not done yet"
    assert wait(caller, "query", job) == ["InProgress", "JobComplete"]
    found, locator, parts = [], "", 0
    while locator != "null":
        part = results(caller, job, maxRecords=1000, **({"locator": locator} if locator else {}))
        read = rows(part.text)
        assert int(part.headers["Sforce-NumberOfRecords"]) == len(read)
        found += read
        locator, parts = part.headers["Sforce-Locator"], parts + 1
    assert parts == len(found) // 1000 + 1
    truth = caller.org.truth("Task")
    assert {row["Id"] for row in found} == truth.keys()
    assert found[0]["SystemModstamp"] == truth[found[0]["Id"]]["SystemModstamp"].replace("+0000", "Z")
    assert caller.get(f"jobs/query/{job}").json()["numberRecordsProcessed"] == len(truth)


def test_every_value_survives_its_way_through_csv(caller: Caller) -> None:
    account = caller.org.ids("Account")[0]
    text = 'He said: "no",\nthen left; ü, 🎩, '
    caller.org.edit("Account", account, Description=text, AnnualRevenue=1.5, Website=None)
    job = start(caller, f"SELECT Description, AnnualRevenue, Website, IsDeleted FROM Account WHERE Id = '{account}'")
    wait(caller, "query", job)
    (row,) = rows(results(caller, job).text)
    assert row == {
        "Description": text,
        "AnnualRevenue": "1.5",
        "Website": "",
        "IsDeleted": "false",
    }


def test_delimiter_and_line_end_are_those_that_were_asked_for(caller: Caller) -> None:
    job = start(caller, "SELECT Id, Name FROM Account", columnDelimiter="TAB", lineEnding="CRLF")
    wait(caller, "query", job)
    text = results(caller, job).text
    assert text.startswith('"Id"\t"Name"\r\n')
    assert len(rows(text, "\t")) == 4


def test_nothing_found_is_a_header_and_the_end(caller: Caller) -> None:
    job = start(caller, "SELECT Id FROM Account WHERE Name = 'nobody'")
    wait(caller, "query", job)
    answer = results(caller, job)
    assert (answer.text, answer.headers["Sforce-Locator"]) == ('"Id"\n', "null")


@pytest.mark.parametrize(
    ("soql", "code"),
    [
        ("SELECT Id, BillingAddress FROM Account", "FUNCTIONALITY_NOT_ENABLED"),
        ("SELECT Id, Office__c FROM Account", "FUNCTIONALITY_NOT_ENABLED"),
        ("SELECT COUNT() FROM Account", "FUNCTIONALITY_NOT_ENABLED"),
        ("SELECT Fooo FROM Account", "INVALID_FIELD"),
        ("SELECT", "MALFORMED_QUERY"),
    ],
)
def test_bulk_refuses_compound_fields_and_whatever_is_no_query(caller: Caller, soql: str, code: str) -> None:
    answer = caller.send("POST", "jobs/query", {"operation": "query", "query": soql})
    assert caller.refusal(answer) == f"400 {code}"
    if "Address" in soql:
        assert answer.json()[0]["message"] == "Selecting compound data not supported in Bulk Query"


def test_a_job_may_fail_be_aborted_be_deleted_and_is_forgotten_after_a_week(caller: Caller) -> None:
    caller.http.post("/_sandbox/settings", json={"failures": ["QUERY_TIMEOUT"]})
    failed, aborted, kept = (start(caller, "SELECT Id FROM Account") for _ in range(3))
    assert wait(caller, "query", failed)[-1] == "Failed"
    assert caller.get(f"jobs/query/{failed}").json()["errorMessage"] == "QUERY_TIMEOUT"
    assert caller.send("PATCH", f"jobs/query/{aborted}", {"state": "Aborted"}).json()["state"] == "Aborted"
    assert caller.refusal(results(caller, aborted)) == "404 NOT_FOUND"
    assert caller.send("DELETE", f"jobs/query/{failed}").status_code == 204
    assert caller.refusal(caller.get(f"jobs/query/{failed}")) == "404 NOT_FOUND"
    wait(caller, "query", kept)
    caller.org.advance(days=6)
    assert results(caller, kept).status_code == 200
    caller.org.advance(days=1)
    assert caller.refusal(results(caller, kept)) == "404 NOT_FOUND"


def ingest(caller: Caller, text: str, **order: Any) -> str:
    job: str = caller.send("POST", "jobs/ingest", order).json()["id"]
    uploaded = caller.http.put(f"{DATA}/jobs/ingest/{job}/batches", content=text.encode())
    assert uploaded.status_code == 201
    caller.send("PATCH", f"jobs/ingest/{job}", {"state": "UploadComplete"})
    return job


def told(caller: Caller, job: str, which: str) -> list[dict[str, str]]:
    return rows(caller.get(f"jobs/ingest/{job}/{which}").text)


def test_an_update_by_file_tells_row_by_row_what_became_of_it(caller: Caller) -> None:
    good, deleted, untouched = caller.org.ids("Contact")[:3]
    caller.org.delete("Contact", deleted)
    caller.org.edit("Contact", untouched, GTM_Score__c=5.0, Title="Kept")
    lines = ["Id,GTM_Score__c,Title", f"{good},88,", f"{deleted},1,", f"{untouched},#N/A,"]
    job = ingest(caller, "\n".join(lines), operation="update", object="Contact")
    assert wait(caller, "ingest", job)[-1] == "JobComplete"
    done = told(caller, job, "successfulResults")
    assert [(row["sf__Id"], row["sf__Created"]) for row in done] == [(good, "false"), (untouched, "false")]
    (failed,) = told(caller, job, "failedResults")
    assert failed["sf__Error"].startswith("ENTITY_IS_DELETED:")
    assert told(caller, job, "unprocessedrecords") == []
    info = caller.get(f"jobs/ingest/{job}").json()
    assert (info["numberRecordsProcessed"], info["numberRecordsFailed"]) == (3, 1)
    contacts = caller.org.truth("Contact")
    assert contacts[good]["GTM_Score__c"] == 88.0
    assert (contacts[untouched]["GTM_Score__c"], contacts[untouched]["Title"]) == (None, "Kept")
    assert [write.id for write in caller.log.writes] == [good, untouched]


def test_an_upsert_by_file_creates_what_is_not_there(caller: Caller) -> None:
    text = "Domain__c,Name\nfresh.example,Fresh\n"
    job = ingest(caller, text, operation="upsert", object="Account", externalIdFieldName="Domain__c")
    wait(caller, "ingest", job)
    (created,) = told(caller, job, "successfulResults")
    assert created["sf__Created"] == "true"
    assert caller.org.truth("Account")[created["sf__Id"]]["Name"] == "Fresh"


def test_a_hard_delete_leaves_nothing_in_the_bin(caller: Caller) -> None:
    soft, hard = caller.org.ids("Lead")[:2]
    for operation, lead in (("delete", soft), ("hardDelete", hard)):
        wait(caller, "ingest", ingest(caller, f"Id\n{lead}\n", operation=operation, object="Lead"))
    assert caller.org.truth("Lead")[soft]["IsDeleted"] is True
    assert hard not in caller.org.truth("Lead")


def test_an_aborted_ingest_has_processed_nothing(caller: Caller) -> None:
    account = caller.org.ids("Account")[0]
    job: str = caller.send("POST", "jobs/ingest", {"operation": "update", "object": "Account"}).json()["id"]
    caller.http.put(f"{DATA}/jobs/ingest/{job}/batches", content=f"Id,Name\n{account},Never\n".encode())
    caller.send("PATCH", f"jobs/ingest/{job}", {"state": "Aborted"})
    assert told(caller, job, "unprocessedRecords") == [{"Id": account, "Name": "Never"}]
    assert caller.org.truth("Account")[account]["Name"] != "Never"
