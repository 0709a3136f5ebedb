"""What Delivr.ai tells of is in canonical row by row, and whom it alone knows is found for the buying group."""

from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from json import loads
from typing import Any

import pytest

from sandbox import delivrai, salesforce
from sandbox.companies import Company
from sandbox.delivrai import Index
from sandbox.delivrai.index import HIGH
from sandbox.delivrai.world import colleague, is_unknown, percentile
from sandbox.salesforce import Org
from steps import pipeline, provision
from tests.conftest import Tenant
from tests.connectors.contract_suite.delivrai import keys
from tests.connectors.contract_suite.salesforce import login
from tests.dbt.worlds import rows_of, transformed

SYSTEM, SEED, ACCOUNTS, PER_YEAR = "system:tests", 11, 4, 3_000
TOPICS = ["planning-software", "supplier-comparison", "automation", "compliance"]
PROJECT = "1d7b5e3c-7a9e-4e31-91a8-0b2d9f2b7a10"
A_WEEK = timedelta(days=7)

Rows = dict[str, dict[str, Any]]


@pytest.fixture
def served(tenant: Tenant) -> Iterator[delivrai.Served]:
    """The same people in the CRM and in the index."""
    with ExitStack() as stack:
        crm = stack.enter_context(salesforce.serve(Org(SEED, ACCOUNTS, activities_per_year=100)))
        index = Index(SEED, ACCOUNTS, activities_per_year=PER_YEAR)
        served = stack.enter_context(delivrai.serve(index))
        provision.add_connector(tenant.id, "salesforce", login(crm), actor=SYSTEM)
        what = {"topics": TOPICS, "project_id": PROJECT}
        provision.add_connector(tenant.id, "delivrai", {**keys(served), **what}, actor=SYSTEM)
        yield served


def brought_up_to_date(tenant: Tenant) -> None:
    for summary in pipeline.sync(tenant.slug):
        assert not summary["failure"], summary["failure"]
    transformed(tenant.id, tenant.slug)


def held(tenant: Tenant) -> Rows:
    return {id: row for id, row in _told(tenant).items() if row["type"] == "intent_signal"}


def _told(tenant: Tenant) -> Rows:
    rows = rows_of(
        tenant.id,
        "select a.external_id, a.type, a.channel, a.occurred_at, p.email as person, c.domain as account"
        " from canonical.activities as a left join canonical.people as p on p.id = a.person_id"
        " left join canonical.accounts as c on c.id = a.account_id where a.source = 'delivrai'"
        " and a.deleted_at is null",
    )
    return {row.pop("external_id"): row for row in rows}


def visited(tenant: Tenant) -> Rows:
    return {id: row for id, row in _told(tenant).items() if row["type"] == "page_view"}


def came(company: Company, upto: datetime) -> dict[str, tuple[str, datetime]]:
    """Who looked at the website in the thirty days before, of those whom the vendor can name."""
    people = {person.id: person for person in company.people if not is_unknown(SEED, person)}
    return {
        f"delivrai:{activity.id}": (people[activity.person_id].email, at)
        for activity in company.activities
        if activity.type == "page_view" and activity.person_id in people
        for at in [datetime.fromisoformat(activity.occurred_at)]
        if upto - timedelta(days=30) <= at < upto
    }


def expected(company: Company, on: datetime) -> Rows:
    """Of each who researched in the week before: by the facts of the world, whom the vendor knows."""
    accounts = {account.id: account for account in company.accounts}
    people = {person.id: person for person in company.people}
    found: Rows = {}

    def tell(topic: str, key: str, person: str | None, account: str | None) -> None:
        if percentile(topic, key) >= HIGH:
            found[f"delivrai:{topic}:{key}:{on:%Y-%m-%d}"] = {
                "type": "intent_signal", "channel": "intent", "occurred_at": on, "person": person, "account": account,
            }  # fmt: skip

    for activity in company.activities:
        if activity.type != "intent_signal" or not on - A_WEEK <= datetime.fromisoformat(activity.occurred_at) < on:
            continue
        account, topic = accounts[activity.account_id], loads(activity.properties)["topic"].replace(" ", "-")
        if account.domain:
            tell(topic, account.domain, None, account.domain)
        person = people.get(activity.person_id)
        if person and not is_unknown(SEED, person):
            tell(topic, sha256(person.email.lower().encode()).hexdigest(), person.email, account.domain or None)
        if stranger := colleague(SEED, account):
            tell(topic, sha256(stranger.email.encode()).hexdigest(), None, account.domain)
    return found


def profiles(tenant: Tenant) -> set[tuple[str, str]]:
    rows = rows_of(tenant.id, "select email, title from canonical.profiles where source = 'delivrai'")
    return {(row["email"], row["title"] or "") for row in rows}


def known(company: Company, found: Rows) -> set[tuple[str, str]]:
    """Whom the vendor knows of the CRM's people, and those that it alone has told of."""
    people = {(person.email, person.title) for person in company.people if not is_unknown(SEED, person)}
    strangers = {stranger for account in company.accounts if (stranger := colleague(SEED, account))}
    told = {key.split(":")[2] for key in found}
    return people | {(stranger.email, stranger.title) for stranger in strangers if stranger.hem in told}


def intent_billed(index: Index) -> int:
    return index.billed["intent_people"] + index.billed["intent_companies"]


def test_who_researches_is_told_row_by_row_once_a_week_and_nobody_is_paid_for_twice(
    tenant: Tenant, served: delivrai.Served
) -> None:
    index = served.index
    brought_up_to_date(tenant)
    first = expected(index.company, datetime(2026, 3, 10, tzinfo=UTC))
    assert held(tenant) == first
    assert {row["person"] is None for row in first.values()} == {True, False}
    assert intent_billed(index) == len(first)
    # the last hour may still be told of late
    visits = came(index.company, datetime(2026, 3, 9, 23, tzinfo=UTC))
    assert {id: (row["person"], row["occurred_at"]) for id, row in visited(tenant).items()} == visits
    assert not index.asked, "before the first transform nobody is known"

    index.advance(days=3)
    brought_up_to_date(tenant)
    assert held(tenant) == first
    assert intent_billed(index) == len(first)
    assert profiles(tenant) == known(index.company, first)
    assert index.billed["contact_record"] == len(profiles(tenant))
    assert len(index.asked) > len(profiles(tenant)), "about some of them the vendor knows nothing"

    index.advance(days=4)
    brought_up_to_date(tenant)
    second = expected(index.company, datetime(2026, 3, 17, tzinfo=UTC))
    assert held(tenant) == first | second
    assert intent_billed(index) == len(first) + len(second)
    assert len(index.asked) == len(set(index.asked)), "about nobody it was asked twice"
    brought_up_to_date(tenant)
    assert profiles(tenant) == known(index.company, first | second)
