"""Canonical equals what Customer.io knows to be true, and what the invented world knows to have happened."""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from sandbox.customerio import Workspace
from sandbox.salesforce import Org
from tests.conftest import Tenant
from tests.dbt.worlds import World, differences_from_a_rebuild, world

SEED, ACCOUNTS, PER_YEAR = 11, 4, 400
# what a workspace can know of; mail threads, meetings and clicks on ads are other systems' matters
KNOWN_TO_MARKETING = {
    *("email_sent", "email_open", "email_click", "unsubscribe", "bounce"),
    *("page_view", "form_fill", "demo_request", "content_download"),
}
ONLY_IN_THE_LOG = {"page_view", "form_fill", "demo_request", "content_download"}


def invented() -> Workspace:
    return Workspace(SEED, ACCOUNTS, activities_per_year=PER_YEAR)


@pytest.fixture
def marketing(tenant: Tenant, tmp_path: Path) -> Iterator[World]:
    with world(tenant, tmp_path, workspace=invented()) as made:
        yield made


@pytest.fixture
def both(tenant: Tenant, tmp_path: Path) -> Iterator[World]:
    """The same people in the CRM and in marketing."""
    org = Org(SEED, ACCOUNTS, activities_per_year=PER_YEAR)
    with world(tenant, tmp_path, org=org, workspace=invented()) as made:
        yield made


def brought_up_to_date(world: World) -> None:
    world.sync()
    world.transform()
    assert world.differences() == []


def workspace_of(world: World) -> Workspace:
    assert world.marketing is not None
    return world.marketing.workspace


def facts(workspace: Workspace) -> set[tuple[str, str, str]]:
    """Who did what and when by the generator's own account, as far as Customer.io still shows it."""
    people = {person.id: person.email for person in workspace.company.people if person.email}
    log_begins = workspace.now.timestamp() - 30 * 24 * 3600
    told = set()
    for activity in workspace.company.activities:
        at = activity.occurred_at
        if activity.type not in KNOWN_TO_MARKETING or activity.person_id not in people or at > _iso(workspace):
            continue
        if activity.type in ONLY_IN_THE_LOG and _seconds(at) < log_begins:
            continue
        told.add((people[activity.person_id], activity.type, at))
    return told


def _iso(workspace: Workspace) -> str:
    return workspace.now.strftime("%Y-%m-%dT%H:%M:%SZ")


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def test_a_workspace_becomes_what_it_knows_also_after_a_week_of_late_opens(marketing: World) -> None:
    workspace = workspace_of(marketing)
    brought_up_to_date(marketing)
    opened = [id for id, delivery in workspace.deliveries.items() if "opened" in delivery.metrics]
    unopened = next(
        id
        for at, id in sorted(workspace.messages(), reverse=True)
        if id not in opened and delivered_to_somebody(workspace, id)
    )
    workspace.happen(unopened, "opened", by_machine=True)
    brought_up_to_date(marketing)
    assert marketing.held().activities[f"customerio:{unopened}:opened"]["is_bot"]
    # the person looks at it two days after the machine did
    workspace.advance(days=2)
    workspace.happen(unopened, "opened")
    brought_up_to_date(marketing)
    assert not marketing.held().activities[f"customerio:{unopened}:opened"]["is_bot"]

    leaver, renamed, moved = workspace.people()[:3]
    workspace.delete_person(leaver)
    workspace.set_attribute(renamed, "first_name", "Renamed")
    workspace.set_email(moved, "somebody.else@elsewhere.example")
    workspace.advance(days=5)
    brought_up_to_date(marketing)
    people = marketing.held().people
    assert people[f"customerio:{leaver}"]["is_deleted"]
    assert people[f"customerio:{renamed}"]["first_name"] == "Renamed"
    assert people[f"customerio:{moved}"]["email"] == "somebody.else@elsewhere.example"
    assert differences_from_a_rebuild(marketing.id, marketing.transform) == []


def delivered_to_somebody(workspace: Workspace, message: str) -> bool:
    return "delivered" in workspace.deliveries[message].metrics


def test_whatever_the_world_did_that_marketing_can_know_is_there_once(both: World) -> None:
    workspace = workspace_of(both)
    brought_up_to_date(both)
    held = both.held()
    emails = {key: row["email"] for key, row in held.people.items()}
    # whoever is in both systems is one person, and the CRM's
    assert not [row for row in held.people.values() if row["source"] == "customerio"]
    found = {
        (emails[row["person"]], row["type"], row["occurred_at"].strftime("%Y-%m-%dT%H:%M:%SZ"))
        for row in held.activities.values()
        if row["source"] == "customerio" and not row["is_bot"]
    }
    missing = facts(workspace) - found
    assert facts(workspace)
    assert missing == set()
    # what is there beyond them is that whatever came of a message was sent, and opened before it was clicked
    assert {kind for _, kind, _ in found - facts(workspace)} <= {"email_sent", "email_open"}
