"""One person is taken out of everything, and no later sync brings them back."""

import csv
import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import psycopg
import pytest

from control import erasure, registry, tenants
from control.erasure import Screen
from sandbox import companies
from sandbox.companies import Company, Person
from steps import extract, pipeline, provision
from tests.conftest import Tenant
from warehouse import database, lease
from warehouse.errors import ClarityError, MisuseError
from warehouse.keys import KEYS_VARIABLE

TODAY = date(2026, 3, 10)
ACTOR = "system:tests"
FIRST, LAST, EMAIL = "Zebulonia", "Quarkfeather", "zeb.quark@seltsam-firma.example"


@pytest.fixture
def admin(platform: Path) -> Iterator[psycopg.Connection]:
    with database.connect(database.admin_conninfo(), autocommit=True) as connection:
        yield connection


class Customer:
    """A tenant whose files tell of one unmistakable person in every way that files can."""

    def __init__(self, tenant: Tenant, folder: Path) -> None:
        self.tenant, self.folder = tenant, folder
        self.company: Company = companies.generate(7, 4, TODAY)
        companies.write_csv(folder, self.company)
        busiest = {activity.person_id: activity for activity in self.company.activities}
        self.person: Person = next(each for each in self.company.people if each.id in busiest)
        self.other = next(each for each in self.company.people if each.id != self.person.id)
        self._edit("people", self._become_unmistakable)
        self._append("people", [f"again-{self.person.id}", "", EMAIL.upper(), FIRST, LAST, "", "", ""])
        # cannot be read as a record, but the id says whose it is
        self._append("people", [self.person.id, FIRST, LAST])
        properties = json.dumps({"invited": [f"mailto:{EMAIL}"], "note": f"{FIRST} {LAST}"})
        self._append(
            "activities", ["mention-1", self.other.id, "", "meeting_attend", "", "2026-03-09T10:00:00Z", properties]
        )
        self._append("activities", ["later-1", self.person.id, "", "page_view", "web", "2026-03-09T11:00:00Z", "{}"])
        provision.add_connector(tenant.id, "files", {"folder": str(folder)}, actor=ACTOR)

    def _become_unmistakable(self, row: dict[str, str]) -> None:
        if row["id"] == self.person.id:
            row.update(email=f" {EMAIL.title()}", first_name=FIRST, last_name=LAST)

    def _edit(self, stream: str, change: Any) -> None:
        file = self.folder / f"{stream}.csv"
        with file.open(encoding="utf-8", newline="") as lines:
            rows = list(csv.DictReader(lines))
        for row in rows:
            change(row)
        with file.open("w", encoding="utf-8", newline="") as lines:
            writer = csv.DictWriter(lines, list(rows[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)

    def _append(self, stream: str, row: list[str]) -> None:
        with (self.folder / f"{stream}.csv").open("a", encoding="utf-8", newline="") as lines:
            csv.writer(lines, lineterminator="\n").writerow(row)

    def run(self, *, full: bool = False) -> None:
        pipeline.run(self.tenant.slug, as_of=TODAY, full=full)

    def erase(self) -> erasure.Erased:
        return erasure.erase(registry.tenant(self.tenant.slug), EMAIL, actor=ACTOR)

    def count(self, query: str, *parameters: Any) -> int:
        with database.control_session(self.tenant.id) as connection:
            row = connection.execute(query.encode(), parameters).fetchone()
        assert row is not None
        return int(row[0])


@pytest.fixture
def customer(tenant: Tenant, tmp_path: Path) -> Customer:
    return Customer(tenant, tmp_path / "csv")


@dataclass(frozen=True)
class Erasure:
    """Of a customer who had run once: what it was like before, and what the erasure did."""

    customer: Customer
    people: list[str]
    accounts_scored: int
    done: erasure.Erased


ACCOUNTS_SCORED = "select count(*) from scores.score_history where entity_type = 'account'"


@pytest.fixture(scope="module")
def erased(platform: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Erasure]:
    """The same for all tests that only look at what is left."""
    tenant_id = provision.create_tenant("Erased", "erased", actor=ACTOR)
    customer = Customer(Tenant(tenant_id, "erased"), tmp_path_factory.mktemp("csv"))
    customer.run()
    ids = "select id from canonical.people where lower(btrim(email)) = %s"
    with database.control_session(tenant_id) as connection:
        people = [row[0] for row in connection.execute(ids.encode(), [EMAIL]).fetchall()]
    yield Erasure(customer, people, customer.count(ACCOUNTS_SCORED), customer.erase())
    tenants.delete(tenant_id, actor=ACTOR)


def whereabouts(admin: psycopg.Connection, home: Path, *words: str) -> list[str]:
    """The tables, and the files under CLARITY_HOME but PostgreSQL's own, in which one of the words stands."""
    tables = admin.execute(
        "select oid::regclass::text from pg_class where relkind in ('r', 'm') and relnamespace::regnamespace::text"
        " !~ '^(pg_|information_schema)'"
    ).fetchall()
    found = [
        f"{table}: {word}"
        for (table,) in tables
        for word in words
        if admin.execute(
            f"select from {table} as t where position(%s in lower(t::text)) > 0".encode(), [word.lower()]
        ).rowcount
    ]
    for file in home.rglob("*"):
        if file.is_file() and "postgres" not in file.relative_to(home).parts[0]:
            text = file.read_bytes().lower()
            found += [f"{file}: {word}" for word in words if word.lower().encode() in text]
    return found


def test_after_an_erasure_nothing_tells_of_the_person_and_no_sync_brings_them_back(
    customer: Customer, admin: psycopg.Connection, platform: Path
) -> None:
    words = (EMAIL, FIRST, LAST)
    customer.run()
    with database.control_session(customer.tenant.id) as connection:
        ((group,),) = connection.execute(
            "insert into scores.buying_groups (id, tenant_id, account_id)"
            " select gen_random_uuid(), tenant_id, id from canonical.accounts limit 1"
            " on conflict (tenant_id, account_id, solution_tag) do update set name = excluded.name returning id"
        ).fetchall()
        connection.execute(
            "insert into scores.buying_group_members (id, tenant_id, buying_group_id, discovered_email)"
            " values (gen_random_uuid(), %s, %s, %s)",
            [customer.tenant.id, group, EMAIL.upper()],
        )
    told = {place.partition(":")[0] for place in whereabouts(admin, platform, *words)}
    assert told >= {
        "raw.files__people",
        "raw.files__activities",
        "quality.quarantine",
        "canonical.people",
        "canonical.activities",
        "scores.buying_group_members",
        "marts.mart_revenue__scores",
    }
    done = customer.erase()
    assert done.left == []
    assert whereabouts(admin, platform, *words) == []
    customer.run()
    assert whereabouts(admin, platform, *words) == []
    customer.run(full=True)
    assert whereabouts(admin, platform, *words) == []
    assert customer.count("select count(*) from canonical.people") == len(customer.company.people) - 1


def test_the_report_says_what_was_removed_from_where(erased: Erasure) -> None:
    customer, removed = erased.customer, erased.done.removed
    theirs = sum(activity.person_id == customer.person.id for activity in customer.company.activities)
    assert removed["raw.files__people"] == 2
    assert removed["raw.files__activities"] == removed["canonical.activities"] == theirs + 2
    # two records with one address are one person
    assert (removed["canonical.people"], removed["canonical.identities"]) == (1, 2)
    assert removed["quality.quarantine"] == 1
    assert removed["scores.engagements"] == removed["scores.score_history"] == 1
    assert removed["marts.mart_revenue__scores"] == 1
    assert removed["rollups.rollup_person_signals_daily"] > 0
    again = customer.erase()
    assert (again.removed, again.cleared, again.left) == ({}, {}, [])


def test_everybody_else_is_scored_as_if_the_person_had_never_been_there(
    customer: Customer, other_tenant: Tenant, tmp_path: Path
) -> None:
    customer.run()
    customer.erase()
    customer.run()
    without = tmp_path / "without"
    companies.write_csv(without, customer.company)
    for stream in ("people", "activities"):
        rows = (customer.folder / f"{stream}.csv").read_text(encoding="utf-8").splitlines(keepends=True)
        kept = [
            row
            for row in rows
            if not {customer.person.id, f"again-{customer.person.id}", "mention-1"} & set(row.split(","))
        ]
        (without / f"{stream}.csv").write_text("".join(kept), encoding="utf-8")
    provision.add_connector(other_tenant.id, "files", {"folder": str(without)}, actor=ACTOR)
    pipeline.run(other_tenant.slug, as_of=TODAY)
    query = (
        "select entity_type, external_id, fit, engagement, combined, tier, because from marts.mart_revenue__scores"
        " order by 1, 2"
    )
    with database.control_session(customer.tenant.id) as ours, database.control_session(other_tenant.id) as theirs:
        assert ours.execute(query.encode()).fetchall() == theirs.execute(query.encode()).fetchall()


def test_their_company_keeps_its_scores_which_no_longer_say_who_they_were(erased: Erasure) -> None:
    customer = erased.customer
    assert customer.count(ACCOUNTS_SCORED) == erased.accounts_scored > 0
    assert erased.done.cleared["scores.score_history"] > 0
    assert erased.people
    for table in ("score_history", "engagements"):
        for person in erased.people:
            assert customer.count(f"select count(*) from scores.{table} where score_breakdown::text ~ %s", person) == 0


def test_the_sync_log_counts_what_was_left_out_and_names_nobody(erased: Erasure) -> None:
    notes = extract.run(erased.customer.tenant.slug, "files", str(uuid.uuid4()), full=True)["notes"]
    assert any(note == "people: 3 records about erased people left out" for note in notes), notes
    assert any(note.startswith("activities: ") and note.endswith("left out") for note in notes)
    assert not any(word in note for note in notes for word in (EMAIL, FIRST, LAST))


def test_what_they_do_later_is_left_out_too(customer: Customer) -> None:
    customer.run()
    customer.erase()
    customer._append("activities", ["new-1", customer.person.id, "", "page_view", "web", "2026-03-10T01:00:00Z", "{}"])
    customer._append("people", ["new-person", "", f"<{EMAIL}>", FIRST, LAST, "", "", ""])
    customer.run()
    assert customer.count("select count(*) from raw.files__activities where record_id = 'new-1'") == 0
    assert customer.count("select count(*) from raw.files__people where record_id = 'new-person'") == 0


def test_an_account_that_mentions_them_stays_and_forgets(customer: Customer) -> None:
    account = customer.company.accounts[0].id

    def mention(row: dict[str, str]) -> None:
        row["owner"] = f"{FIRST} {LAST} <{EMAIL}>" if row["id"] == account else ""

    customer._edit("accounts", mention)
    customer.run()
    opportunities = customer.count("select count(*) from canonical.opportunities")
    done = customer.erase()
    assert done.removed["raw.files__accounts"] == done.cleared["canonical.accounts"] == 1
    customer.run(full=True)
    kept = "select count(*) from canonical.accounts where external_id = %s and source_data is null"
    assert customer.count(kept, f"files:{account}") == 1
    assert customer.count("select count(*) from canonical.opportunities") == opportunities


def test_who_once_had_the_address_is_erased_under_the_new_one_too(customer: Customer) -> None:
    customer.run()

    def move_on(row: dict[str, str]) -> None:
        if row["id"] == customer.person.id:
            row["email"] = "zeb@new.example"

    customer._edit("people", move_on)
    customer.run()
    customer.erase()
    customer.run(full=True)
    for table in ("raw.files__people", "canonical.people"):
        assert customer.count(f"select count(*) from {table} as t where t::text ~ %s", "zeb@new") == 0


def test_what_an_erasure_cannot_remove_is_said(customer: Customer) -> None:
    with database.control_session(customer.tenant.id) as connection:
        connection.execute(
            "insert into control.members (id, tenant_id, user_id, role) values (gen_random_uuid(), %s, %s, 'viewer')",
            [customer.tenant.id, EMAIL],
        )
    assert customer.erase().left == ["control.members: 1"]


def test_nobody_of_another_tenant_is_touched(
    customer: Customer, other_tenant: Tenant, admin: psycopg.Connection
) -> None:
    provision.add_connector(other_tenant.id, "files", {"folder": str(customer.folder)}, actor=ACTOR)
    pipeline.run(other_tenant.slug, as_of=TODAY)
    customer.run()
    customer.erase()
    pipeline.run(other_tenant.slug, as_of=TODAY, full=True)
    rows = admin.execute("select count(*) from canonical.people where tenant_id = %s", [other_tenant.id]).fetchone()
    # one of the lines has the address of another, so it is the same person
    assert rows == (len(customer.company.people),)


def test_the_trail_and_the_list_hold_digests_alone(erased: Erasure, admin: psycopg.Connection) -> None:
    told = admin.execute(
        "select (select string_agg(a::text, ' ') from control.audit_log as a where tenant_id = %(tenant)s)"
        " || (select string_agg(e::text, ' ') from control.erasures as e where tenant_id = %(tenant)s)",
        {"tenant": erased.customer.tenant.id},
    ).fetchone()
    assert told is not None
    assert "tenant.erase" in told[0]
    for word in (EMAIL, FIRST, LAST, erased.customer.person.id):
        assert word not in told[0]


def test_that_a_vendor_was_asked_about_them_is_forgotten(customer: Customer, admin: psycopg.Connection) -> None:
    digests = [sha256(email.encode()).hexdigest() for email in (EMAIL, "somebody@else.example")]
    admin.execute(
        "insert into control.lookups (tenant_id, connector_id, digest, good_until)"
        " select tenant_id, id, unnest(%s::text[]), now() from control.connectors where tenant_id = %s",
        [digests, customer.tenant.id],
    )
    customer.erase()
    assert customer.count("select count(*) from control.lookups where digest = %s", digests[0]) == 0
    assert customer.count("select count(*) from control.lookups where digest = %s", digests[1]) == 1


def test_an_erasure_waits_for_the_run_that_has_the_tenant(customer: Customer, monkeypatch: pytest.MonkeyPatch) -> None:
    customer.run()
    with lease.hold(customer.tenant.id, "airflow:other", stage="score"):
        monkeypatch.setattr(lease, "hold", partial(lease.hold, patience=0.2))
        with pytest.raises(ClarityError, match="another run has this tenant"):
            customer.erase()
    assert customer.count("select count(*) from canonical.people where email = %s", EMAIL) == 1


HIDDEN: list[Any] = [
    {"email": f"  {EMAIL.upper()} "},
    {"text": f"Hello {EMAIL}, how are you"},
    {"text": f"mail to {EMAIL}."},
    {"link": f"mailto:{EMAIL}?subject=x"},
    {"form": f"email={EMAIL}&x=1"},
    {"nested": [{"deep": [[f"<{EMAIL}>"]]}]},
    {"properties": json.dumps({"to": f"\n{EMAIL}"})},
    {EMAIL: "as the name of a field"},
    {"person_id": "p-1"},
    f"p-1,{FIRST},a line without all its fields",
    {"header": ["id", "name"], "line": f"p-1,{FIRST},a line without all its fields"},
]
SEEN: list[Any] = [
    {"email": f"x{EMAIL}"},
    {"email": f"{EMAIL}.au"},
    {"email": "somebody@else.example", "account_id": "p-1"},
    {"deep": json.loads("[" * 900 + "]" * 900), "odd": "[" * 100_000, "half": "\ud800@x.de"},
    {},
    None,
]


def test_what_a_sync_leaves_out_and_what_not(tenant: Tenant) -> None:
    with database.control_session(tenant.id) as connection:
        connection.execute(
            "insert into canonical.people (id, tenant_id, email) values ('id-1', %s, %s)", [tenant.id, EMAIL]
        )
        connection.execute(
            "insert into canonical.identities (tenant_id, entity, source, source_id, id)"
            " values (%s, 'person', 'files', 'p-1', 'id-1')",
            [tenant.id],
        )
    erasure.erase(registry.tenant(tenant.slug), EMAIL, actor=ACTOR)
    with database.control_session(tenant.id) as connection:
        screen = erasure.screen(connection, tenant.id, "files")
        other_source = erasure.screen(connection, tenant.id, "fax")
    assert screen is not None
    assert other_source is not None
    assert [payload for payload in HIDDEN if not screen.hides("people", "x-1", payload)] == []
    assert [payload for payload in SEEN if screen.hides("people", "x-1", payload)] == []
    assert screen.hides("people", "p-1", {})
    assert not screen.hides("accounts", "p-1", {})
    assert not other_source.hides("people", "p-1", {"person_id": "p-1"})


def test_a_tenant_that_erased_nobody_pays_nothing(customer: Customer) -> None:
    with database.control_session(customer.tenant.id) as connection:
        assert erasure.screen(connection, customer.tenant.id, "files") is None


def test_a_retired_key_stops_the_sync_instead_of_bringing_people_back(
    erased: Erasure, monkeypatch: pytest.MonkeyPatch
) -> None:
    tenant = erased.customer.tenant
    with database.run_session(tenant.id) as connection:
        assert isinstance(erasure.screen(connection, tenant.id, "files"), Screen)
        monkeypatch.setenv(KEYS_VARIABLE, "new:" + "n" * 40)
        with pytest.raises(ClarityError, match="put it back, last in the list"):
            erasure.screen(connection, tenant.id, "files")


@pytest.mark.parametrize(
    "email", ["", "ann", "ann@", "a b@c.de", 'a"b@c.de', "😀" * 5000, "a@b\x00.de", "@c.de", "a@b,c.de"]
)
def test_what_is_no_address_is_refused(tenant: Tenant, email: str) -> None:
    with pytest.raises(MisuseError, match="no e-mail address"):
        erasure.erase(registry.tenant(tenant.slug), email, actor=ACTOR)


def test_only_an_admin_may_erase(tenant: Tenant) -> None:
    with pytest.raises(ClarityError, match="needs the role admin"):
        erasure.erase(registry.tenant(tenant.slug), EMAIL, actor="mallory")
