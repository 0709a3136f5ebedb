"""Canonical equals what the sources know to be true, row by row, also after all that people do to records."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from sandbox import companies
from sandbox.companies import Company
from sandbox.salesforce import Org
from sandbox.view import TODAY
from tests.conftest import Tenant
from tests.dbt.worlds import World, differences_from_a_rebuild, world

SEED, ACCOUNTS = 11, 10


@pytest.fixture
def salesforce(tenant: Tenant, tmp_path: Path) -> Iterator[World]:
    with world(tenant, tmp_path, org=Org(SEED, ACCOUNTS)) as made:
        yield made


@pytest.fixture
def files(tenant: Tenant, tmp_path: Path) -> Iterator[World]:
    with world(tenant, tmp_path, company=invented()) as made:
        yield made


@pytest.fixture
def both(tenant: Tenant, tmp_path: Path) -> Iterator[World]:
    """The same companies and people in two systems: their domains and addresses are the same."""
    with world(tenant, tmp_path, org=Org(SEED, ACCOUNTS), company=invented()) as made:
        yield made


def invented() -> Company:
    """What the org knows is invented the same way, so half of it stands in the files as well."""
    company = companies.generate(SEED, ACCOUNTS, TODAY, market=companies.Market(activities_per_year=300))
    return replace(company, accounts=company.accounts[: ACCOUNTS // 2])


@dataclass(frozen=True)
class Prepared:
    """Records of the org, by what is about them or will become of them."""

    accounts: list[str]
    doubles: tuple[str, str]
    desk: set[str]
    private: str
    visitor: str
    lead: str
    leaver: str
    mover: str
    namesake: str
    ada: str
    former: str
    heir: str


def prepare(org: Org) -> Prepared:
    """Records that the invented world has none of: shared, private and free addresses, visitors, plans, doubles."""
    accounts, contacts, owner = org.ids("Account"), org.ids("Contact"), org.ids("User")[0]
    at = {who: row["AccountId"] for who, row in org.truth("Contact").items()}
    doubles = next((one, two) for one in contacts for two in contacts if at[one] and at[two] and at[one] != at[two])
    free = [who for who in contacts if who not in doubles and at[who] in accounts[6:]]

    def lead(name: str, email: str) -> str:
        return org.create("Lead", LastName=name, Company=name, Email=email, OwnerId=owner)

    def contact(name: str, email: str) -> str:
        return org.create("Contact", LastName=name, Email=email, AccountId=accounts[6])

    def task(who: str, **values: Any) -> str:
        return org.create("Task", WhoId=who, OwnerId=owner, **values)

    org.edit("Account", accounts[7], Website="https://gmail.com")
    prepared = Prepared(
        accounts=accounts,
        doubles=doubles,
        desk={lead("Front", "info@unknown-company.example"), lead("Desk", "info@unknown-company.example")},
        private=lead("Private", "somebody@gmail.com"),
        visitor=lead("Visitor", "visitor@xn--grnwiek-o2a.example"),
        lead=lead("Convert", "convert@somewhere.example"),
        leaver=free[1],
        mover=free[2],
        namesake=free[3],
        ada=contact("Ada", "Ada@Shared.example"),
        former=contact("Former", "former@shared.example"),
        heir=lead("Heir", "former@other.example"),
    )
    task(prepared.private, Subject="Call", TaskSubtype="Call", Status="Completed")
    task(prepared.lead, Subject="AW: your offer", TaskSubtype="Email", Status="Completed")
    task(free[0], Subject="Call them one day", Status="Not Started")
    return prepared


def brought_up_to_date(world: World) -> None:
    world.sync()
    world.transform()
    assert world.differences() == []


def test_files_become_what_they_say(files: World) -> None:
    assert files.files is not None
    company = files.files.company
    brought_up_to_date(files)
    expected = files.expected()
    assert len(expected.people) == len(company.people)
    # an opportunity of a company that is in no file waits
    known = {account.id for account in company.accounts}
    assert len(expected.waiting) == sum(deal.account_id not in known for deal in company.opportunities) > 0

    files.files.advance(3)
    brought_up_to_date(files)
    assert files.expected().waiting == {}


def test_a_salesforce_org_becomes_what_it_knows(salesforce: World) -> None:
    brought_up_to_date(salesforce)
    org, expected = salesforce.org, salesforce.expected()
    assert expected.accounts.keys() == set(org.ids("Account"))
    converted = [id for id, lead in org.truth("Lead").items() if lead["ConvertedContactId"]]
    assert converted
    assert expected.people.keys() == {*org.ids("Contact"), *org.ids("Lead")} - set(converted)


def test_two_sources_become_one_company_and_one_person(both: World) -> None:
    brought_up_to_date(both)
    expected = both.expected()
    sources = [row["source"] for row in expected.people.values()]
    assert set(sources) == {"salesforce", "files"}
    # whoever is in the files with an address is in Salesforce with the same one
    assert not [key for key, row in expected.people.items() if row["source"] == "files" and row["email"]]
    assert [row["email"] for row in expected.people.values() if row["source"] == "files"]


def test_merges_conversions_deletions_and_moves_are_followed_and_taken_back(salesforce: World) -> None:
    org = salesforce.org
    prepared = prepare(org)
    winner, loser, buyer, closed, newcomer, renamed, *_ = prepared.accounts
    brought_up_to_date(salesforce)
    before = salesforce.held()
    assert prepared.desk <= before.people.keys()
    assert before.people[prepared.private]["account"] is None
    assert before.people[prepared.visitor]["account"] is None
    of_the_loser = {who for who, row in before.people.items() if row["account"] == loser}

    org.merge("Account", winner, loser)
    org.merge("Contact", *prepared.doubles)
    contact = org.convert_lead(prepared.lead, account=buyer)["Contact"]
    org.delete("Account", closed)
    org.delete("Contact", prepared.leaver)
    org.edit("Contact", prepared.mover, AccountId=newcomer)
    org.edit("Contact", prepared.namesake, Email="ADA@shared.example")
    org.edit("Contact", prepared.former, Email="elsewhere@shared.example")
    org.edit("Lead", prepared.heir, Email="former@shared.example")
    org.edit("Account", renamed, Website="https://WWW.Grünwiek.example:443/about?us#here")
    brought_up_to_date(salesforce)
    after = salesforce.held()
    assert loser not in after.accounts
    assert {after.people[who]["account"] for who in of_the_loser & after.people.keys()} == {winner}
    assert {prepared.doubles[1], prepared.lead} & after.people.keys() == set()
    assert after.people[contact]["account"] == buyer
    assert [row["person"] for row in after.activities.values() if row["type"] == "email_thread"].count(contact) == 1
    assert after.accounts[closed]["is_deleted"]
    assert after.people[prepared.leaver]["is_deleted"]
    assert after.people[prepared.mover]["account"] == newcomer
    assert len({prepared.namesake, prepared.ada} & after.people.keys()) == 1
    assert {prepared.former, prepared.heir} <= after.people.keys()
    assert after.people[prepared.visitor]["account"] == renamed

    org.undelete("Account", closed)
    org.undelete("Contact", prepared.leaver)
    org.undelete("Account", loser)
    org.merge("Account", newcomer, winner)
    org.edit("Contact", prepared.namesake, Email=None)
    org.advance(days=3)
    brought_up_to_date(salesforce)
    at_last = salesforce.held()
    assert not at_last.accounts[closed]["is_deleted"]
    assert not at_last.people[prepared.leaver]["is_deleted"]
    assert {loser, newcomer} <= at_last.accounts.keys()
    assert winner not in at_last.accounts
    assert {prepared.namesake, prepared.ada} <= at_last.people.keys()
    assert differences_from_a_rebuild(salesforce.id, salesforce.transform) == []
