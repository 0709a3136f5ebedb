"""Records written through the API: results in the order of the request, errors by row, a log of before and after."""

from typing import Any

import pytest

from sandbox.salesforce import Org
from tests.sandbox.caller import Caller


def update(entity: str, id: str, **values: Any) -> dict[str, Any]:
    return {"attributes": {"type": entity}, "id": id, **values}


def collection(caller: Caller, *records: dict[str, Any], all_or_none: bool = False) -> list[dict[str, Any]]:
    body = {"allOrNone": all_or_none, "records": list(records)}
    answer = caller.send("PATCH", "composite/sobjects", body)
    assert answer.status_code == 200, answer.text
    results: list[dict[str, Any]] = answer.json()
    assert len(results) == len(records)
    return results


def codes(results: list[dict[str, Any]]) -> list[str]:
    return ["" if result["success"] else result["errors"][0]["statusCode"] for result in results]


def test_a_collection_answers_in_the_order_of_its_records_and_some_may_fail(caller: Caller) -> None:
    org = caller.org
    good, deleted, locked, invalid, other = org.ids("Contact")[:5]
    org.delete("Contact", deleted)
    org.refuse_row(locked, "UNABLE_TO_LOCK_ROW", times=1)
    org.refuse_row(invalid, "FIELD_CUSTOM_VALIDATION_EXCEPTION")
    request = [
        update("Contact", good, GTM_Score__c=80.5),
        update("Contact", deleted, GTM_Score__c=1),
        update("Contact", locked, GTM_Score__c=2),
        update("Contact", invalid, GTM_Score__c=3),
        update("Contact", "0035g0000zzzzzzAAA", GTM_Score__c=4),
        update("Contact", other, IsDeleted=True),
        update("Contact", other, Unknown__c=5),
        update("Contact", other, GTM_Score__c="very high"),
        update("Contact", other, GTM_Segment__c="Z"),
        update("Contact", other, LastName=None),
        update("Contact", other, Title="x" * 129),
        update("Contact", other, AccountId="0015g0000zzzzzzAAA"),
        update("Contact", "short", GTM_Score__c=6),
    ]
    results = collection(caller, *request)
    assert codes(results) == [
        "",
        "ENTITY_IS_DELETED",
        "UNABLE_TO_LOCK_ROW",
        "FIELD_CUSTOM_VALIDATION_EXCEPTION",
        "INVALID_CROSS_REFERENCE_KEY",
        "INVALID_FIELD_FOR_INSERT_UPDATE",
        "INVALID_FIELD",
        "INVALID_TYPE_ON_FIELD_IN_RECORD",
        "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST",
        "REQUIRED_FIELD_MISSING",
        "STRING_TOO_LONG",
        "INVALID_CROSS_REFERENCE_KEY",
        "MALFORMED_ID",
    ]
    assert results[0] == {"id": good, "success": True, "errors": []}
    assert org.truth("Contact")[good]["GTM_Score__c"] == 80.5
    assert [write.id for write in caller.log.writes] == [good]
    assert codes(collection(caller, request[2], request[3])) == ["", "FIELD_CUSTOM_VALIDATION_EXCEPTION"]


def test_a_share_of_rows_is_locked_for_one_attempt(caller: Caller) -> None:
    contacts = caller.org.ids("Contact")
    locked = caller.org.refuse_share("Contact", 0.3, "UNABLE_TO_LOCK_ROW", times=1)
    assert 0 < len(locked) < len(contacts)
    records = [update("Contact", id, GTM_Score__c=1) for id in contacts]
    first = codes(collection(caller, *records))
    assert [id for id, code in zip(contacts, first, strict=True) if code == "UNABLE_TO_LOCK_ROW"] == locked
    assert set(codes(collection(caller, *records))) == {""}


def test_all_or_none_leaves_nothing_behind(caller: Caller) -> None:
    org = caller.org
    first, second = org.ids("Account")[:2]
    before = org.truth("Account")
    records = [update("Account", first, Name="New"), update("Account", second, IsDeleted=True)]
    results = collection(caller, *records, all_or_none=True)
    assert codes(results) == ["ALL_OR_NONE_OPERATION_ROLLED_BACK", "INVALID_FIELD_FOR_INSERT_UPDATE"]
    assert org.truth("Account") == before
    assert not caller.log.writes


def test_more_than_two_hundred_records_or_ten_changes_of_type_are_refused_as_a_whole(caller: Caller) -> None:
    account, contact = caller.org.ids("Account")[0], caller.org.ids("Contact")[0]
    many = [update("Account", account, Name="x")] * 201
    mixed = [update("Account", account, Name="x"), update("Contact", contact, Title="x")] * 6
    for records in (many, mixed):
        answer = caller.send("PATCH", "composite/sobjects", {"records": records})
        assert caller.refusal(answer) in ("400 EXCEEDED_ID_LIMIT", "400 LIMIT_EXCEEDED")
    sorted_by_type = sorted(mixed, key=lambda record: str(record["attributes"]))
    assert set(codes(collection(caller, *sorted_by_type))) == {""}


def test_a_write_moves_the_stamp_and_is_remembered_before_and_after(caller: Caller) -> None:
    account = caller.org.ids("Account")[0]
    before = caller.org.truth("Account")[account]
    assert caller.send("PATCH", f"sobjects/Account/{account}", {"GTM_Score__c": 7}).status_code == 204
    after = caller.org.truth("Account")[account]
    assert after["SystemModstamp"] > before["SystemModstamp"]
    (write,) = caller.log.of("/sobjects/Account/", "PATCH")[0].writes
    assert (write.operation, write.before, write.after) == ("update", {"GTM_Score__c": None}, {"GTM_Score__c": 7.0})


def test_a_stage_that_is_written_leaves_a_line_of_history(caller: Caller) -> None:
    deal = caller.org.ids("Opportunity")[0]
    lines = len(caller.org.truth("OpportunityHistory"))
    collection(caller, update("Opportunity", deal, StageName="Closed Won"))
    truth = caller.org.truth("Opportunity")[deal]
    assert (truth["IsWon"], truth["Probability"]) == (True, 100.0)
    history = caller.org.truth("OpportunityHistory")
    assert len(history) == lines + 1
    assert max(history.items())[1]["StageName"] == "Closed Won"


def test_records_are_made_and_deleted(caller: Caller) -> None:
    made = caller.send("POST", "sobjects/Lead", {"LastName": "Nowak", "FirstName": "Ewa", "Company": "Hats"})
    assert made.status_code == 201
    lead = made.json()["id"]
    assert caller.get(f"sobjects/Lead/{lead}").json()["Name"] == "Ewa Nowak"
    assert caller.send("DELETE", f"sobjects/Lead/{lead}").status_code == 204
    assert caller.refusal(caller.get(f"sobjects/Lead/{lead}")) == "404 ENTITY_IS_DELETED"
    assert caller.refusal(caller.send("POST", "sobjects/Lead", {"LastName": "N"})) == "400 REQUIRED_FIELD_MISSING"
    assert [write.operation for write in caller.log.writes] == ["create", "delete"]


def test_many_records_are_made_and_deleted_at_once(caller: Caller) -> None:
    records = [{"attributes": {"type": "Campaign"}, "Name": name} for name in ("One", "Two")]
    made = caller.send("POST", "composite/sobjects", {"records": records}).json()
    ids = ",".join(result["id"] for result in made)
    gone = caller.send("DELETE", f"composite/sobjects?ids={ids}").json()
    assert codes(made) == codes(gone) == ["", ""]
    assert not set(ids.split(",")) & set(caller.org.ids("Campaign"))


def test_an_upsert_finds_by_the_external_id_or_creates(caller: Caller) -> None:
    id, record = next((id, a) for id, a in caller.org.truth("Account").items() if a["Domain__c"])
    known = {"attributes": {"type": "Account"}, "Domain__c": record["Domain__c"], "Name": "Known"}
    fresh = {"attributes": {"type": "Account"}, "Domain__c": "fresh.example", "Name": "Fresh"}
    path = "composite/sobjects/Account/Domain__c"
    first, second = caller.send("PATCH", path, {"records": [known, fresh]}).json()
    assert (first["id"], first["created"], second["created"]) == (id, False, True)
    wrong = caller.send("PATCH", "composite/sobjects/Account/Name", {"records": [known]}).json()
    assert codes(wrong) == ["INVALID_FIELD"]


def test_records_are_fetched_by_id_in_their_order_with_null_for_what_is_not_there(caller: Caller) -> None:
    first, second, gone = caller.org.ids("Account")[:3]
    caller.org.delete("Account", gone)
    wanted = [second, gone, first]
    by_get = caller.get(f"composite/sobjects/Account?ids={','.join(wanted)}&fields=Id,Name").json()
    by_post = caller.send("POST", "composite/sobjects/Account", {"ids": wanted, "fields": ["Id", "Name"]}).json()
    assert by_get == by_post
    assert [record and record["Id"] for record in by_get] == [second, None, first]
    unknown = caller.get(f"composite/sobjects/Account?ids={first}&fields=Fooo")
    assert caller.refusal(unknown) == "400 INVALID_FIELD"


def test_a_field_that_may_only_be_read_says_so_in_describe_and_when_it_is_written(caller: Caller) -> None:
    caller.org.lock_field("Contact", "GTM_Score__c")
    fields = {field["name"]: field for field in caller.get("sobjects/Contact/describe").json()["fields"]}
    assert (fields["GTM_Score__c"]["updateable"], fields["GTM_Segment__c"]["updateable"]) == (False, True)
    contact = caller.org.ids("Contact")[0]
    assert codes(collection(caller, update("Contact", contact, GTM_Score__c=1))) == ["INVALID_FIELD_FOR_INSERT_UPDATE"]
    assert "GTM_Score__c" in caller.org.truth("Contact")[contact]


def test_moments_are_written_and_logged_as_rest_writes_them(caller: Caller) -> None:
    contact = caller.org.ids("Contact")[0]
    collection(caller, update("Contact", contact, GTM_Scored_At__c="2026-03-09T23:00:00Z"))
    assert caller.log.writes[0].after == {"GTM_Scored_At__c": "2026-03-09T23:00:00.000+0000"}
    assert caller.org.truth("Contact")[contact]["GTM_Scored_At__c"] == "2026-03-09T23:00:00.000+0000"


def test_a_history_cannot_be_written(caller: Caller) -> None:
    line = caller.org.ids("OpportunityHistory")[0]
    assert codes(collection(caller, update("OpportunityHistory", line, StageName="Proposal"))) == [
        "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY"
    ]


@pytest.mark.parametrize("body", [b"{", b"[]", b'{"records": 5}'])
def test_a_body_that_is_no_collection_is_refused(org: Org, body: bytes) -> None:
    caller = Caller(org)
    answer = caller.http.patch("/services/data/v63.0/composite/sobjects", content=body)
    assert caller.refusal(answer) == "400 JSON_PARSER_ERROR"
