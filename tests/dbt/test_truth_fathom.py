"""What Fathom recorded is in canonical row by row, and one meeting that several systems know is one."""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest

from control import consent
from sandbox import fathom, graph, salesforce
from sandbox.fathom import Studio
from sandbox.fathom.studio import CANARY, Recording, invitee
from sandbox.graph import Directory
from sandbox.salesforce import Org
from steps import pipeline, provision
from tests.conftest import Tenant
from tests.connectors.contract_suite.fathom import QUICK, key
from tests.connectors.contract_suite.salesforce import login
from tests.dbt import mailboxes
from tests.dbt.worlds import rows_of, transformed

SYSTEM, SEED, ACCOUNTS, PER_YEAR = "system:tests", 11, 4, 400


@pytest.fixture
def studio(tenant: Tenant) -> Iterator[Studio]:
    """The same meetings in the CRM and in Fathom."""
    org = Org(SEED, ACCOUNTS, activities_per_year=PER_YEAR)
    with (
        salesforce.serve(org) as crm,
        fathom.serve(Studio(SEED, ACCOUNTS, activities_per_year=PER_YEAR)) as served,
    ):
        provision.add_connector(tenant.id, "salesforce", login(crm), actor=SYSTEM)
        provision.add_connector(
            tenant.id, "fathom", {**key(served), **QUICK, "timeout_seconds": 20, "history_days": 410}, actor=SYSTEM
        )
        yield served.studio


def brought_up_to_date(tenant: Tenant) -> None:
    for summary in pipeline.sync(tenant.slug):
        assert not summary["failure"], summary["failure"]
    transformed(tenant.id, tenant.slug)


def held(tenant: Tenant) -> dict[str, dict[str, Any]]:
    rows = rows_of(
        tenant.id,
        "select m.fathom_meeting_id, m.title, m.started_at, m.ended_at, m.participants_json, m.transcript_json,"
        " m.summary_text, a.type, a.external_id from canonical.fathom_meetings as m"
        " left join canonical.activities as a on a.id = m.activity_id",
    )
    return {row.pop("fathom_meeting_id"): row for row in rows}


def expected(studio: Studio) -> dict[str, dict[str, Any]]:
    return {
        str(made.id): {
            "title": told["title"],
            "started_at": datetime.fromisoformat(told["scheduled_start_time"]),
            "ended_at": datetime.fromisoformat(told["scheduled_end_time"]),
            "participants_json": [
                {"name": one["name"], "email": one["email"], "role": "guest" if one["is_external"] else "host"}
                for one in told["calendar_invitees"]
            ],
            "transcript_json": None,
            "summary_text": None,
            "type": "meeting_recorded",
            "external_id": f"fathom:{made.id}",
        }
        for made in studio.shown()
        for told in [studio.meeting(made.id)]
    }


def attendance(tenant: Tenant) -> Counter[tuple[str, str]]:
    """How often each person is counted to have attended on each day."""
    rows = rows_of(
        tenant.id,
        "select p.email, r.day::text as day, sum(r.count)::integer as count"
        " from rollups.rollup_person_signals_daily as r join canonical.people as p on p.id = r.person_id"
        " where r.signal = 'meeting_attend' and p.email is not null group by 1, 2 having sum(r.count) <> 0",
    )
    return Counter({(row["email"], row["day"]): row["count"] for row in rows})


def attended_by(tenant: Tenant) -> set[str]:
    """The systems that tell of attendance."""
    told = rows_of(tenant.id, "select distinct source from canonical.activities where type = 'meeting_attend'")
    return {row["source"] for row in told}


def facts(studio: Studio) -> Counter[tuple[str, str]]:
    """The same by the generator's account: a person is in one meeting at a time."""
    people = {person.id: person.email for person in studio.company.people if person.email}
    meetings = {
        (people[activity.person_id], activity.occurred_at)
        for activity in studio.company.activities
        if activity.type == "meeting_attend" and activity.person_id in people
    }
    return Counter((email, at[:10]) for email, at in meetings)


def seen_by_fathom(tenant: Tenant) -> set[tuple[str, str]]:
    """Who attended by Fathom's account alone, and when."""
    rows = rows_of(
        tenant.id,
        "select p.email, extract(epoch from a.occurred_at)::bigint::text as at from canonical.activities as a"
        " join canonical.people as p on p.id = a.person_id"
        " where a.source = 'fathom' and a.type = 'meeting_attend' and a.deleted_at is null and p.email is not null",
    )
    return {(row["email"], row["at"]) for row in rows}


def to_be_seen(studio: Studio, *, with_words: bool) -> set[tuple[str, str]]:
    """The same by the generator's account: by address, or by a name that one alone in the company has."""
    people = {person.id: person for person in studio.company.people}
    named = Counter((person.account_id, words(f"{person.first_name} {person.last_name}")) for person in people.values())
    recordings: dict[int, list[Recording]] = {}
    for made in studio.recordings.values():
        recordings.setdefault(made.started, []).append(made)
    seen = set()
    for activity in studio.company.activities:
        who = people.get(activity.person_id)
        if activity.type != "meeting_attend" or who is None or not who.email:
            continue
        name = words(f"{who.first_name} {who.last_name}")
        began = int(datetime.fromisoformat(activity.occurred_at).timestamp())
        for made in recordings[began]:
            by_address = any(one["email"] == who.email and one["matched_speaker_display_name"] for one in made.invitees)
            names = [one["name"] for one in made.invitees if not one["email"]] + (made.uninvited if with_words else [])
            by_name = named[who.account_id, name] == 1 and name in map(words, names)
            if by_address or by_name:
                seen.add((who.email, str(began)))
    return seen


def words(name: str) -> tuple[str, ...]:
    folded = unicodedata.normalize("NFKD", name.casefold()).replace("đ", "d").replace("ł", "l").replace("ø", "o")
    return tuple(sorted(re.findall(r"\w+", "".join(c for c in folded if not unicodedata.combining(c)))))


def test_whoever_has_but_a_name_is_found_by_it_in_the_meetings_company_and_nowhere_else(
    tenant: Tenant, studio: Studio
) -> None:
    brought_up_to_date(tenant)
    invited = to_be_seen(studio, with_words=False)
    assert seen_by_fathom(tenant) == invited
    studio.advance(days=1)
    consent.accept_dpa(tenant.id, "Ada Example", actor=SYSTEM)
    brought_up_to_date(tenant)
    assert seen_by_fathom(tenant) == to_be_seen(studio, with_words=True) > invited
    consent.withdraw_dpa(tenant.id, actor=SYSTEM)
    assert seen_by_fathom(tenant) == to_be_seen(studio, with_words=False)


def test_a_meeting_is_told_row_by_row_counts_once_and_has_its_words_by_consent_alone(
    tenant: Tenant, studio: Studio
) -> None:
    brought_up_to_date(tenant)
    assert held(tenant) == expected(studio)
    assert attendance(tenant) == facts(studio)
    assert attended_by(tenant) == {"salesforce", "fathom"}

    # a meeting that the CRM knows nothing of, with somebody who did not come and a tablet that nobody is
    known, absent, *_ = [person.email for person in studio.company.people if person.email and person.account_id]
    recorded = studio.record(
        invitee("Known", known),
        invitee("Absent", absent, came=False),
        invitee("Eric's iPad (Acme)", None),
        title="Only here",
    )
    day = studio.meeting(recorded)["scheduled_start_time"][:10]
    before = attendance(tenant)
    brought_up_to_date(tenant)
    assert attendance(tenant) - before == Counter({(known, day): 1})
    assert held(tenant) == expected(studio)
    # without consent not a word of what was said is anywhere
    said = rows_of(tenant.id, f"select 1 from canonical.fathom_meetings as m where m::text like '%{CANARY}%'")
    assert said == []

    # the calendar is the third that knows these meetings, and its consent opens the words too
    studio.advance(days=1)
    with graph.serve(Directory(SEED, ACCOUNTS, activities_per_year=PER_YEAR)) as calendars:
        provision.add_connector(tenant.id, "o365", mailboxes.config(calendars), actor=SYSTEM)
        consent.accept_dpa(tenant.id, "Ada Example", actor=SYSTEM)
        consent.allow_domains(tenant.id, mailboxes.domains(calendars.directory), actor=SYSTEM)
        brought_up_to_date(tenant)
    assert attended_by(tenant) == {"salesforce", "fathom", "o365"}
    assert attendance(tenant) == facts(studio) + Counter({(known, day): 1})
    words = {id: (row["transcript_json"], row["summary_text"]) for id, row in held(tenant).items()}
    assert {id for id, (transcript, _) in words.items() if transcript} == expected(studio).keys()
    assert all(CANARY in summary for _, summary in words.values() if summary)

    consent.withdraw_dpa(tenant.id, actor=SYSTEM)
    assert held(tenant) == expected(studio)
    assert rows_of(tenant.id, "select 1 from raw.fathom__transcripts") == []
