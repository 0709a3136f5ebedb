"""What people do to records, and what a reader of the API sees of it."""

import tracemalloc
from datetime import timedelta

import pytest

from sandbox.salesforce import Org
from tests.sandbox.caller import Caller

STREAMS = (
    "Account", "Contact", "Lead", "Opportunity", "OpportunityContactRole", "OpportunityHistory",
    "Task", "Event", "User", "Campaign", "CampaignMember",
)  # fmt: skip


def test_the_same_seed_and_the_same_calls_give_the_same_org() -> None:
    def lived() -> Org:
        org = Org(seed=2, accounts=5)
        org.advance(days=9)
        first, second = org.ids("Account")[:2]
        org.merge("Account", first, second)
        org.convert_lead(org.ids("Lead")[0])
        return org

    one, other = lived(), lived()
    for entity in one.tables:
        assert one.truth(entity) == other.truth(entity)
    assert Org(seed=3, accounts=5).truth("Account") != Org(seed=2, accounts=5).truth("Account")


def test_an_org_holds_records_of_every_kind_that_refer_to_one_another() -> None:
    org = Org(seed=1, accounts=12)
    truth = {entity: org.truth(entity) for entity in STREAMS}
    everything = {id for records in truth.values() for id in records} | {org.identity.organization_id}
    for entity, records in truth.items():
        assert records, entity
        references = [item.name for item in org.tables[entity].fields.values() if item.type == "reference"]
        for record in records.values():
            assert {record[name] for name in references} - {None} <= everything
    converted = [lead for lead in truth["Lead"].values() if lead["IsConverted"]]
    assert converted
    assert all(lead["ConvertedContactId"] in truth["Contact"] for lead in converted)


def test_the_stages_of_a_deal_lie_in_its_history_in_their_order(org: Org) -> None:
    histories = sorted(org.truth("OpportunityHistory").values(), key=lambda line: str(line["CreatedDate"]))
    for id, deal in org.truth("Opportunity").items():
        way = [line["StageName"] for line in histories if line["OpportunityId"] == id]
        assert way[0] == "Prospecting"
        assert way[-1] == deal["StageName"]


def test_time_brings_new_records_and_changes_and_never_an_older_stamp(org: Org) -> None:
    before = {entity: org.truth(entity) for entity in STREAMS}
    then = org.now.isoformat()
    org.advance(days=40)
    kinds = set()
    for entity in STREAMS:
        after = org.truth(entity)
        assert before[entity].keys() <= after.keys()
        moved = [record for id, record in after.items() if record != before[entity].get(id)]
        kinds |= {entity for _ in moved}
        assert all(record["SystemModstamp"] > then for record in moved)
    assert {"Task", "Event", "Opportunity", "OpportunityHistory"} <= kinds


def test_every_change_has_a_stamp_of_its_own_and_a_bulk_edit_one_for_all(org: Org) -> None:
    first, second, third = org.ids("Contact")[:3]
    org.edit("Contact", first, Title="Head of Hats")
    org.bulk_edit("Contact", [second, third], Title="Head of Hats")
    truth = org.truth("Contact")
    assert truth[first]["SystemModstamp"] < truth[second]["SystemModstamp"] == truth[third]["SystemModstamp"]


def test_what_the_system_changes_moves_only_the_systems_stamp(org: Org) -> None:
    contact = org.ids("Contact")[0]
    before = org.truth("Contact")[contact]
    org.edit("Contact", contact, by_system=True, Title="Set by a trigger")
    after = org.truth("Contact")[contact]
    assert after["SystemModstamp"] > before["SystemModstamp"]
    assert after["LastModifiedDate"] == before["LastModifiedDate"]


def test_the_loser_of_a_merge_names_its_master_and_its_children_move(org: Org) -> None:
    master, loser = org.ids("Account")[:2]
    children = [id for id, contact in org.truth("Contact").items() if contact["AccountId"] == loser]
    stamps = {id: org.truth("Contact")[id]["SystemModstamp"] for id in children}
    org.merge("Account", master, loser)
    gone = org.truth("Account")[loser]
    assert (gone["IsDeleted"], gone["MasterRecordId"]) == (True, master)
    contacts = org.truth("Contact")
    assert children
    for id in children:
        assert (contacts[id]["AccountId"], contacts[id]["IsDeleted"]) == (master, False)
        assert contacts[id]["SystemModstamp"] > stamps[id]
    org.advance(days=60)
    assert not [task for task in org.truth("Task").values() if task["AccountId"] == loser]


def test_an_account_takes_its_contacts_and_deals_to_the_bin_and_back(caller: Caller) -> None:
    org = caller.org
    account = org.ids("Account")[0]
    lonely = next(id for id, contact in org.truth("Contact").items() if contact["AccountId"] == account)
    org.delete("Contact", lonely)
    org.delete("Account", account)
    children = [contact for contact in org.truth("Contact").values() if contact["AccountId"] == account]
    assert all(contact["IsDeleted"] for contact in children)
    org.undelete("Account", account)
    restored = {id for id, contact in org.truth("Contact").items() if not contact["IsDeleted"]}
    assert {contact["Id"] for contact in children} - restored == {lonely}, "it was deleted by itself before"
    truth = org.truth("Account")[account]
    assert truth["IsDeleted"] is False
    assert truth["SystemModstamp"] == max(record["SystemModstamp"] for record in org.truth("Account").values())


def test_after_fifteen_days_only_get_deleted_remembers(caller: Caller) -> None:
    org = caller.org
    lead = org.ids("Lead")[0]
    deleted_at = org.now
    org.delete("Lead", lead)
    org.advance(days=14)
    assert caller.records(f"SELECT IsDeleted FROM Lead WHERE Id = '{lead}'") == [{"IsDeleted": True}]
    org.advance(days=2)
    assert caller.records(f"SELECT Id FROM Lead WHERE Id = '{lead}'") == []
    assert lead not in org.truth("Lead")
    assert lead in org.purged["Lead"]
    period = {"start": deleted_at.isoformat(), "end": org.now.isoformat()}
    told = caller.get("sobjects/Lead/deleted/", params=period).json()
    assert [record["id"] for record in told["deletedRecords"]] == [lead]
    with pytest.raises(ValueError, match="not in the recycle bin"):
        org.undelete("Lead", lead)


def test_an_emptied_bin_hides_a_deletion_from_query_all(caller: Caller) -> None:
    lead = caller.org.ids("Lead")[0]
    caller.org.delete("Lead", lead)
    caller.org.purge("Lead", lead)
    assert lead not in {record["Id"] for record in caller.records("SELECT Id FROM Lead")}
    assert [id for id, _ in caller.org.deletions("Lead")] == [lead]


def test_a_merge_needs_live_records(org: Org) -> None:
    first, second = org.ids("Account")[:2]
    org.delete("Account", second)
    for losers in ((second,), (first,)):
        with pytest.raises(ValueError, match="live"):
            org.merge("Account", first, *losers)
    with pytest.raises(ValueError, match="cannot be merged"):
        org.merge("Task", *org.ids("Task")[:2])


def test_get_deleted_looks_back_thirty_days_and_no_further(caller: Caller) -> None:
    now = caller.org.now
    period = {"start": (now - timedelta(days=31)).isoformat(), "end": now.isoformat()}
    assert caller.refusal(caller.get("sobjects/Lead/deleted", params=period)) == "400 INVALID_REPLICATION_DATE"
    period["start"] = "yesterday"
    assert caller.refusal(caller.get("sobjects/Lead/deleted", params=period)) == "400 INVALID_REPLICATION_DATE"


def test_what_was_updated_is_listed_by_its_stamp(caller: Caller) -> None:
    now = caller.org.now
    contact = caller.org.ids("Contact")[3]
    caller.org.edit("Contact", contact, Title="Someone else")
    period = {"start": now.isoformat(), "end": (now + timedelta(minutes=5)).isoformat()}
    assert caller.get("sobjects/Contact/updated", params=period).json()["ids"] == [contact]


def test_a_converted_lead_tells_what_it_became(org: Org) -> None:
    lead = next(id for id, record in org.truth("Lead").items() if not record["IsConverted"])
    made = org.convert_lead(lead)
    converted = org.truth("Lead")[lead]
    assert converted["IsConverted"] is True
    assert converted["ConvertedDate"] == "2026-03-10"
    for entity in ("Account", "Contact", "Opportunity"):
        assert converted[f"Converted{entity}Id"] == made[entity]
    assert org.truth("Contact")[made["Contact"]]["Email"] == converted["Email"]
    assert org.truth("Contact")[made["Contact"]]["AccountId"] == made["Account"]


def test_a_late_record_appears_with_a_stamp_of_the_past(org: Org) -> None:
    late = org.late_stamp("Account", seconds=900, Name="Committed late")
    changed = org.late_stamp("Account", org.ids("Account")[0], seconds=600, Name="Changed late")
    stamps = {id: record["SystemModstamp"] for id, record in org.truth("Account").items()}
    now = org.now.strftime("%Y-%m-%dT%H:%M")
    assert stamps[late] < stamps[changed] < now


def test_fields_come_and_go_without_moving_a_stamp(caller: Caller) -> None:
    org = caller.org
    before = org.truth("Account")
    org.add_field("Account", "Tier__c", default="gold")
    assert {record["Tier__c"] for record in caller.records("SELECT Tier__c FROM Account")} == {"gold"}
    org.remove_field("Account", "Domain__c")
    assert caller.refusal(caller.query("SELECT Domain__c FROM Account")) == "400 INVALID_FIELD"
    after = org.truth("Account")
    for id, record in before.items():
        del record["Domain__c"]
        assert after[id] == record | {"Tier__c": "gold"}
    with pytest.raises(ValueError, match="not a custom field"):
        org.remove_field("Account", "Industry")


def test_a_formula_changes_while_its_stamp_stands_still(caller: Caller) -> None:
    org = caller.org
    org.add_field("Account", "Age__c", "int", days_since="CreatedDate")
    before = org.truth("Account")
    org.advance(days=1)
    after = org.truth("Account")
    for id, record in before.items():
        if after[id]["SystemModstamp"] == record["SystemModstamp"]:
            assert after[id]["Age__c"] == record["Age__c"] + 1
    (field,) = (f for f in caller.get("sobjects/Account/describe").json()["fields"] if f["name"] == "Age__c")
    assert (field["calculated"], field["updateable"]) == (True, False)
    old = after[org.ids("Account")[0]]["Age__c"]
    assert len(caller.records(f"SELECT Id FROM Account WHERE Age__c = {old}")) == len(after)


def test_describe_says_what_can_be_written_what_can_be_chosen_and_what_is_a_part_of_what(caller: Caller) -> None:
    fields = {field["name"]: field for field in caller.get("sobjects/Account/describe").json()["fields"]}
    assert fields["BillingAddress"]["type"] == "address"
    assert fields["BillingCity"]["compoundFieldName"] == "BillingAddress"
    assert fields["Office__c"]["type"] == "location"
    assert not fields["IsDeleted"]["updateable"]
    assert fields["GTM_Score__c"]["updateable"]
    assert [choice["value"] for choice in fields["GTM_Segment__c"]["picklistValues"]] == ["A", "B", "C", "D"]
    assert fields["OwnerId"]["referenceTo"] == ["User"]
    assert fields["Name"]["length"] == 255


def test_a_task_takes_little_memory(org: Org) -> None:
    org.fill("Task", 1)
    tracemalloc.start()
    try:
        org.fill("Task", 5000)
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert taken / 5000 < 700, "a hundred thousand in 70 MB"
