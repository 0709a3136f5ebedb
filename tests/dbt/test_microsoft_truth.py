"""Canonical equals what the company's life was, as its mailboxes and calendars saw it, beside Salesforce."""

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from control import consent
from sandbox.graph import Directory
from sandbox.graph.world import Party, mails, meetings
from sandbox.salesforce import Org
from sandbox.view import TODAY
from tests.conftest import Tenant
from tests.dbt.worlds import ACTOR, World, differences_from_a_rebuild, world

SEED, ACCOUNTS = 11, 6


@pytest.fixture
def both(tenant: Tenant, tmp_path: Path) -> Iterator[World]:
    """The same company in Salesforce and in Microsoft 365."""
    with world(tenant, tmp_path, org=Org(SEED, ACCOUNTS), directory=Directory(SEED, ACCOUNTS)) as made:
        yield made


def assert_a_rebuild_says_the_same(made: World) -> None:
    """Of canonical and the rollups: marts wait for the next publication."""
    found = differences_from_a_rebuild(made.id, made.transform)
    assert [line for line in found if not line.startswith("marts.")] == []


def directory_of(made: World) -> Directory:
    assert made.microsoft is not None
    return made.microsoft.directory


def brought_up_to_date(made: World) -> None:
    made.sync()
    made.transform()
    assert made.differences() == []


def discovered(made: World) -> set[tuple[str, str]]:
    """Accounts by name and addresses of the members whom the CRM does not know."""
    rows = made.rows(
        "select a.name, m.discovered_email from scores.buying_group_members as m"
        " join scores.buying_groups as g on g.id = m.buying_group_id"
        " join canonical.accounts as a on a.id = g.account_id"
        " where m.person_id is null and m.is_discovered and m.discovery_source = 'o365' and g.solution_tag is null"
    )
    return {(row["name"], row["discovered_email"]) for row in rows}


def test_threads_meetings_and_discovered_members_are_those_of_the_company_s_life(both: World) -> None:
    directory = directory_of(both)
    company = directory.company
    brought_up_to_date(both)

    # straight from the generator: a thread per answer, a meeting per hour, whoever's calendars and systems had it
    people = {person.email: person for person in company.people if person.email}
    since = str(company.world.since)
    answered = Counter(
        mail.sender.address for mail in mails(company, since) if not mail.is_ours and mail.sender.address in people
    )
    met = Counter(meeting.attendees[0].address for meeting in meetings(company, since))
    held = both.held()
    who = {key: row["email"] for key, row in held.people.items()}
    threads = Counter(
        who[row["person"]]
        for row in held.activities.values()
        if row["source"] == "o365" and row["type"] == "email_thread" and row["person"]
    )
    assert threads == answered
    counted: Counter[str] = Counter()
    for (person, signal, _), row in held.signals.items():
        counted[who[person]] += row["count"] if signal == "meeting_attend" and who[person] in people else 0
    assert +counted == met

    both.publish(TODAY)
    names = {account.domain: account.name for account in company.accounts if account.domain}
    wanted = {
        (names[domain], stranger.address)
        for mail in mails(company, since)
        for stranger in mail.copied
        if (domain := stranger.address.partition("@")[2]) in names
    }
    assert wanted
    assert discovered(both) == wanted


@pytest.mark.long
def test_whom_the_crm_learns_of_is_the_same_member_with_a_name(both: World) -> None:
    both.sync()
    both.transform()
    both.publish(TODAY)
    name, address = sorted(discovered(both))[0]
    before = member_of(both, address)
    org = both.org
    (account,) = [id for id, row in org.truth("Account").items() if row["Name"] == name]
    contact = org.create("Contact", LastName="Learnt", Email=address, AccountId=account)
    brought_up_to_date(both)
    mails_of = [row for row in both.held().activities.values() if row["person"] == contact and row["source"] == "o365"]
    assert mails_of
    both.publish(TODAY)
    assert (name, address) not in discovered(both)
    assert member_of(both, address) == before

    # an address that becomes somebody else's takes its mails along, and one that becomes nobody's leaves them
    heir = org.create("Contact", LastName="Heir", AccountId=account)
    org.edit("Contact", contact, Email="elsewhere@another.example")
    org.edit("Contact", heir, Email=address)
    brought_up_to_date(both)
    assert {row["person"] for row in both.held().activities.values() if row["person"] in (contact, heir)} == {heir}
    org.edit("Contact", heir, Email=None)
    brought_up_to_date(both)
    assert_a_rebuild_says_the_same(both)
    both.publish(TODAY)
    assert (name, address) in discovered(both)


def member_of(made: World, address: str) -> list[dict[str, object]]:
    return made.rows(
        f"select id from scores.buying_group_members where lower(discovered_email) = '{address}' order by id"
    )


def test_what_happens_to_mails_and_meetings_afterwards_is_followed_where_it_matters(both: World) -> None:
    directory = directory_of(both)
    known = next(person for person in directory.company.people if person.email)
    ada = Party("Ada", known.email)
    soon = datetime.now(UTC).replace(microsecond=0) + timedelta(days=5)
    directory.now = datetime.now(UTC).replace(microsecond=0)
    removed = directory.receive(ada, thread="question")
    kept = directory.meet((ada,), directory.now - timedelta(days=1), sellers=(0, 1))
    cancelled = directory.meet((ada,), soon)
    deleted = directory.meet((ada,), soon + timedelta(days=1))
    brought_up_to_date(both)

    directory.delete_message(removed)
    directory.delete_event(kept)
    directory.edit_event(cancelled, isCancelled=True)
    directory.delete_event(deleted)
    both.sync()
    both.transform()
    rows = {
        str(key).removeprefix("o365:").partition("/")[0]: row["is_deleted"]
        for key, row in both.held().activities.items()
        if row["source"] == "o365"
    }
    assert (rows[removed], rows[kept], rows[cancelled], rows[deleted]) == (False, False, True, True)
    assert_a_rebuild_says_the_same(both)


def test_what_is_allowed_no_longer_is_purged_and_the_scores_follow(both: World) -> None:
    both.sync()
    both.transform()
    both.publish(TODAY)
    (name, address), *others = sorted(discovered(both))
    assert others
    assert both.domains is not None
    domain = address.partition("@")[2]
    before = engagement(both)
    consent.allow_domains(both.id, [each for each in both.domains if each != domain], actor=ACTOR)
    left = both.rows("select count(*) as n from canonical.activities where properties ->> 'domain' = '" + domain + "'")
    assert left == [{"n": 0}]
    both.transform()
    both.publish(TODAY)
    assert {account for account, _ in discovered(both)} == {account for account, _ in others} - {name}
    shrunk = engagement(both)
    assert shrunk[name] < before[name]
    assert {account: score for account, score in shrunk.items() if account != name} == {
        account: score for account, score in before.items() if account != name
    }

    consent.withdraw_dpa(both.id, actor=ACTOR)
    both.transform()
    both.publish(TODAY)
    assert discovered(both) == set()
    assert sum(engagement(both).values()) < sum(shrunk.values())
    kept = both.rows("select count(*) as n from canonical.activities where source = 'o365'")
    assert kept == both.rows("select count(*) as n from raw.o365__messages") == [{"n": 0}]
    assert_a_rebuild_says_the_same(both)


def engagement(made: World) -> dict[str, float]:
    rows = made.rows(
        "select a.name, e.engagement_score::float8 as score from scores.engagements as e"
        " join canonical.accounts as a on a.id = e.entity_id where e.entity_type = 'account'"
    )
    return {row["name"]: row["score"] for row in rows}
