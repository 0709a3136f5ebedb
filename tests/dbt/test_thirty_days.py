"""Thirty days in the life of three tenants: what grew day by day is what a rebuild from raw makes of it.

They have Salesforce, files, and both. A transform stands for each of them at the end of every sixth day, or of every
DAYS_PER_RUN-th; with 1 there is one a day, which takes minutes.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from control import mappings, settings
from sandbox import companies
from sandbox.companies import Market
from sandbox.salesforce import Org
from sandbox.view import TODAY
from tests.conftest import _fresh_tenant
from tests.dbt import truth
from tests.dbt.worlds import ACTOR, EVERYTHING, World, differences_from_a_rebuild, world

DAYS = 30
DAYS_PER_RUN = int(os.environ.get("DAYS_PER_RUN", "10"))
SEED, ACCOUNTS = 5, 6
NOSY = "Mozilla/5.0 (compatible; NosyScanner/2.1)"

# What happens on which day, in whatever sources a tenant has.
Happening = Callable[[World], None]


# ── what people and systems do ───────────────────────────────────────────────────────────────────────────────────────


def some_opens_come_from_a_scanner_that_nobody_knows_yet(world: World) -> None:
    if world.files:
        opened = [row for row in world.files.company.activities if row.type in ("email_open", "email_click")]
        for row in opened[::5]:
            world.files.edit("activities", row.id, user_agent=NOSY)


def rows_come_late(world: World) -> None:
    """A change that took long, and a day's doings that were exported a week later."""
    if world.served:
        contact, account = world.org.ids("Contact")[3], world.org.ids("Account")[1]
        world.org.late_stamp("Contact", contact, Title="Late riser")
        world.org.late_stamp("Task", None, WhoId=contact, AccountId=account, Subject="Call", Status="Completed",
                             TaskSubtype="Call", ActivityDate=str(TODAY), seconds=240)  # fmt: skip
    if world.files:
        who = world.files.company.people[2]
        world.files.edit(
            "activities",
            "ACT-late",
            person_id=who.id,
            type="form_fill",
            channel="web",
            occurred_at=f"{TODAY}T09:00:00Z",
        )


def something_is_done_by_somebody_yet_unknown(world: World) -> None:
    if world.files:
        world.files.edit("activities", "ACT-early", person_id="CON-new", type="demo_request",
                         occurred_at="2026-03-15T10:00:00Z")  # fmt: skip
        world.files.edit("opportunities", "OPP-early", account_id="ACC-new", name="Early", stage="Proposal",
                         stage_changed_at="2026-03-15T10:00:00Z", contact_ids="CON-new")  # fmt: skip


def they_become_known(world: World) -> None:
    if world.files:
        world.files.edit("people", "CON-new", account_id="ACC-new", last_name="New", email="new@newcomer.example")
        world.files.edit("accounts", "ACC-new", name="Newcomer", domain="newcomer.example")


def records_arrive_without_what_is_required(world: World) -> None:
    if world.files:
        world.files.edit("accounts", world.files.company.accounts[1].id, name="", updated_at="2026-03-18T00:00:00Z")
        world.files.edit("accounts", "ACC-blank", name="", domain="blank.example")
        world.files.edit("activities", "ACT-odd", person_id=world.files.company.people[0].id, type="form_fill",
                         occurred_at="some day")  # fmt: skip


def they_are_mended(world: World) -> None:
    if world.files:
        world.files.edit(
            "accounts", world.files.company.accounts[1].id, name="Named", updated_at="2026-03-25T00:00:00Z"
        )
        world.files.edit("accounts", "ACC-blank", name="Blank no more")
        world.files.edit("activities", "ACT-odd", occurred_at="2026-03-17T08:00:00Z")


def two_become_one(world: World) -> None:
    if world.served:
        accounts, contacts = world.org.ids("Account"), world.org.ids("Contact")
        world.org.merge("Account", accounts[0], accounts[2])
        world.org.merge("Contact", contacts[0], contacts[-1])
    if world.files:
        one, two = world.files.company.accounts[0], world.files.company.accounts[2]
        world.files.edit("accounts", two.id, merged_into=one.id, updated_at="2026-03-17T00:00:00Z")


def a_lead_is_converted(world: World) -> None:
    if world.served:
        leads = [id for id, row in world.org.truth("Lead").items() if not row["IsConverted"]]
        world.org.convert_lead(leads[0])


def the_mapping_changes(world: World) -> None:
    """Domain and industry come from other fields, titles are written in capitals."""

    def mapped(connector: str, entity: str, read: Callable[[Any], truth.Row], *entries: tuple[str, str, str]) -> None:
        given = [
            {"sourceField": field, "targetField": column, "transform": how, "required": column == "name"}
            for field, column, how in entries
        ]
        mappings.put(world.id, connector, entity, {"mappings": given}, actor=ACTOR)
        world.rules = replace(world.rules, mapped={**world.rules.mapped, (connector, entity): read})

    def account(name: str, domain: str, industry: str) -> Callable[[Any], truth.Row]:
        return lambda payload: {
            "name": truth.text(payload.get(name)),
            "domain": truth.domain(payload.get(domain)),
            "industry": truth.text((payload.get(industry) or "").upper()),
            "employee_count": None,
            "annual_revenue": None,
        }

    def person(email: str, last_name: str, title: str) -> Callable[[Any], truth.Row]:
        return lambda payload: {
            "email": (truth.text(payload.get(email)) or "").lower() or None,
            "first_name": None,
            "last_name": truth.text(payload.get(last_name)),
            "title": truth.text((payload.get(title) or "").upper()),
            "phone": None,
        }

    def columns(*fields: str) -> list[tuple[str, str, str]]:
        return list(zip(fields[::3], fields[1::3], fields[2::3], strict=True))

    if world.served:
        mapped(
            "salesforce",
            "accounts",
            account("Name", "Domain__c", "Type"),
            *columns("Name", "name", "none", "Domain__c", "domain", "none", "Type", "industry", "uppercase"),
        )
        mapped(
            "salesforce",
            "people",
            person("Email", "LastName", "Title"),
            *columns("Email", "email", "none", "LastName", "last_name", "none", "Title", "title", "uppercase"),
        )
    if world.files:
        mapped(
            "files",
            "accounts",
            account("name", "domain", "industry"),
            *columns("name", "name", "none", "domain", "domain", "none", "industry", "industry", "uppercase"),
        )


def the_scanner_becomes_known(world: World) -> None:
    settings.change(world.id, actor=ACTOR, assignments=['bots.userAgents=["NosyScanner"]'])
    world.rules = replace(world.rules, agents=(*world.rules.agents, "nosyscanner"))


def records_are_deleted(world: World) -> None:
    if world.served:
        world.org.delete("Account", world.org.ids("Account")[1])
        world.org.delete("Task", world.org.ids("Task")[-1])
    if world.files:
        world.files.absent |= {
            ("accounts", world.files.company.accounts[3].id),
            ("people", world.files.company.people[1].id),
        }


def they_are_restored(world: World) -> None:
    if world.served:
        for entity in ("Account", "Task"):
            gone = [id for id in world.org.ids(entity, deleted=True) if not _is_merged(world.org, entity, id)]
            world.org.undelete(entity, gone[0])
    if world.files:
        world.files.absent.clear()


def a_company_gets_another_domain(world: World) -> None:
    if world.served:
        new = "renamed.example"
        world.org.edit("Account", world.org.ids("Account")[-1], Website=f"https://www.{new}/", Domain__c=new)
        world.org.create(
            "Lead", LastName="Visitor", Company="?", Email=f"visitor@{new}", OwnerId=world.org.ids("User")[0]
        )
    if world.files:
        last = world.files.company.accounts[-1].id
        world.files.edit("accounts", last, domain="Renamed.example", updated_at="2026-03-29T00:00:00Z")


def a_domain_turns_out_to_be_anybodys(world: World) -> None:
    settings.change(world.id, actor=ACTOR, assignments=['domains.personal=["newcomer.example"]'])
    world.rules = replace(world.rules, personal=world.rules.personal | {"newcomer.example"})


def an_old_version_is_delivered(world: World) -> None:
    """It is older than the one that is known, so nothing changes."""
    if world.served:
        contact = world.org.ids("Contact")[4]
        world.org.edit("Contact", contact, Title="Director")
        world.sync()
        world.org.late_stamp("Contact", contact, seconds=120, Title="Assistant")
    if world.files:
        who = world.files.company.people[4].id
        world.files.edit("people", who, title="Assistant", updated_at="2023-01-01T00:00:00Z")


def addresses_change_hands(world: World) -> None:
    """One gives the address up and another takes it, between two syncs."""
    if world.served:
        one, two = world.org.ids("Contact")[5:7]
        email = world.org.truth("Contact")[one]["Email"] or "free@address.example"
        world.org.edit("Contact", one, Email="fresh@address.example")
        world.org.edit("Contact", two, Email=email)
    if world.files:
        first, second, *_ = (person for person in world.files.company.people if person.email)
        world.files.edit("people", first.id, email=second.email, updated_at="2026-04-01T00:00:00Z")
        world.files.edit("people", second.id, email=first.email, updated_at="2026-04-01T00:00:00Z")


def a_merge_is_taken_back(world: World) -> None:
    if world.served:
        merged = next(id for id in world.org.ids("Account", deleted=True) if _is_merged(world.org, "Account", id))
        world.org.undelete("Account", merged)
    if world.files:
        two = world.files.company.accounts[2]
        world.files.edit("accounts", two.id, merged_into="", updated_at="2026-03-31T00:00:00Z")


def _is_merged(org: Org, entity: str, id: str) -> bool:
    return bool(org.truth(entity)[id].get("MasterRecordId"))


CALENDAR: dict[int, tuple[Happening, ...]] = {
    1: (some_opens_come_from_a_scanner_that_nobody_knows_yet,),
    3: (rows_come_late, a_lead_is_converted),
    5: (something_is_done_by_somebody_yet_unknown,),
    7: (two_become_one,),
    8: (records_arrive_without_what_is_required,),
    10: (they_become_known, the_mapping_changes),
    13: (the_scanner_becomes_known,),
    15: (they_are_mended, records_are_deleted),
    19: (they_are_restored, a_company_gets_another_domain),
    21: (a_merge_is_taken_back,),
    22: (addresses_change_hands,),
    24: (an_old_version_is_delivered,),
    27: (a_domain_turns_out_to_be_anybodys,),
}


# ── thirty days ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def three(platform: Path, tmp_path: Path) -> Iterator[dict[str, World]]:
    """Tenants by what they have. The files know the same companies as Salesforce does."""

    def company() -> companies.Company:
        return companies.generate(SEED, ACCOUNTS, TODAY, market=Market(activities_per_year=200))

    with ExitStack() as stack:
        made = {}
        for name, has_org, has_files in (("salesforce", 1, 0), ("files", 0, 1), ("both", 1, 1)):
            tenant = stack.enter_context(contextmanager(_fresh_tenant)())
            org = Org(SEED, ACCOUNTS, activities_per_year=200) if has_org else None
            made[name] = stack.enter_context(world(tenant, tmp_path, org=org, company=company() if has_files else None))
        yield made


@pytest.mark.long
@pytest.mark.timeout(900 + 20 * DAYS // DAYS_PER_RUN)
def test_what_grew_day_by_day_is_what_a_rebuild_from_raw_makes(three: dict[str, World]) -> None:
    for day in range(1, DAYS + 1):
        for name, one in three.items():
            for happening in CALENDAR.get(day, ()):
                happening(one)
            if day % DAYS_PER_RUN == 0 or day == DAYS:
                one.sync()
                one.transform()
                lines = one.differences()
                assert not lines, "\n".join([f"{name}, day {day}", *lines])
            if one.served:
                one.org.advance(days=1)
            if one.files:
                one.files.advance(1)
    for name, one in three.items():
        one.publish(TODAY + timedelta(days=DAYS))
        lines = differences_from_a_rebuild(one.id, partial(one.transform, EVERYTHING))
        assert not lines, "\n".join([name, *lines])
