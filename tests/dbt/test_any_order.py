"""Whatever arrives in whatever order: after each transform canonical is the truth, and at the end it is a rebuild.

Many small stories about few records each are told at once, in one tenant: they never meet, so a transform tests them
all. A story that goes wrong is printed. STORIES and CHAPTERS make the test longer, STORY_SEED tells others.
"""

import hashlib
import os
import random
import uuid
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest

from control import mappings, settings
from tests.conftest import Tenant
from tests.dbt import truth
from tests.dbt.truth import Rules, Version
from tests.dbt.worlds import ACTOR, differences_from_a_rebuild, rows_of, transformed
from warehouse import database

STORIES = int(os.environ.get("STORIES", "40"))
CHAPTERS = int(os.environ.get("CHAPTERS", "10"))
SEED = int(os.environ.get("STORY_SEED", "20260310"))

BEGINNING = datetime(2026, 3, 1, tzinfo=UTC)
DAYS = 6


@dataclass
class Story:
    """Few records of two sources that refer to each other by few ids, addresses and domains."""

    number: int
    dice: random.Random
    clock: datetime = BEGINNING

    def events(self) -> list[Version]:
        """What arrives together, at most a handful."""
        events = [self._event() for _ in range(self.dice.choice((0, 1, 1, 2, 3, 5)))]
        return [*events, *self._exchange()] if self.dice.random() < 0.2 else events

    def _exchange(self) -> list[Version]:
        """Two records give each other what they had: addresses, or the contacts that they were converted to."""
        one, two = self.dice.sample(("1", "2", "3"), 2)
        self.clock += timedelta(minutes=1)
        if self.dice.random() < 0.5:
            pairs = ((one, f"ann@one{self.number}.example"), (two, f"bob@one{self.number}.example"))
            made = [
                _version("files__people", id=f"p{place}-{self.number}", email=email, last_name="Moor")
                for place, email in pairs
            ]
        else:
            contacts = self.dice.sample(("1", "2", "3"), 2)
            made = [
                _version(
                    "salesforce__leads",
                    Id=f"L{place}-{self.number}",
                    LastName="Hill",
                    IsConverted=True,
                    ConvertedContactId=f"C{contact}-{self.number}",
                )
                for place, contact in zip((one, two), contacts, strict=True)
            ]
        return [replace(version, stamp=self.clock) for version in made]

    def _event(self) -> Version:
        makers = (
            *(self._account, self._file_account, self._contact, self._contact, self._lead, self._file_person),
            *(self._deal, self._file_deal, self._role, self._task, self._member, self._file_activity),
            self._file_activity,
        )
        version = self.dice.choice(makers)()
        self.clock += timedelta(minutes=1)
        stamp: datetime | None = self.clock
        if self.dice.random() < 0.15:
            stamp = self.clock - timedelta(minutes=self.dice.randrange(1, 40))
        elif version.source == "files" and self.dice.random() < 0.3:
            stamp = None
        version = replace(version, stamp=stamp)
        if self.dice.random() < 0.18:
            payload = version.payload
            if version.source == truth.CRM and self.dice.random() < 0.4:
                payload = {"Id": version.id, "IsDeleted": True}
            return replace(version, payload=payload, is_deleted=True)
        return version

    # ── names ──

    def _id(self, kind: str, among: int) -> str:
        return f"{kind}{self.dice.randrange(1, among + 1)}-{self.number}"

    def _maybe(self, value: str, chance: float = 0.75) -> str | None:
        return value if self.dice.random() < chance else None

    def _domain(self) -> str | None:
        names = (f"one{self.number}.example", f"two{self.number}.example", f"private{self.number}.example", "gmail.com")
        return self._maybe(self.dice.choice(names))

    def _email(self) -> str | None:
        local = self.dice.choice(("ann", "bob", "info"))
        host = self.dice.choice(
            (f"one{self.number}.example", f"two{self.number}.example", f"private{self.number}.example", "gmail.com")
        )
        # at a domain that all stories share, nobody of one may be taken for somebody of another
        local = f"{local}{self.number}" if host == "gmail.com" and local != "info" else local
        return self._maybe(f"{self.dice.choice((local, local.upper()))}@{host}", 0.8)

    def _later(self, kind: str, id: str, among: int) -> str | None:
        """A record of the kind to continue as, so that no chain closes on itself."""
        number = int(id.removeprefix(kind).partition("-")[0])
        if number == among or self.dice.random() < 0.7:
            return None
        return f"{kind}{self.dice.randrange(number + 1, among + 1)}-{self.number}"

    # ── records ──

    def _account(self) -> Version:
        id = self._id("A", 4)
        website = self._domain()
        return _version(
            "salesforce__accounts",
            Id=id,
            Name=self._maybe(f"{id} {self.dice.randrange(3)}", 0.9),
            Website=website and self.dice.choice((website, f"https://www.{website}/about", website.upper())),
            Domain__c=self._domain(),
            Industry=self.dice.choice(("Software", "Retail", None)),
            NumberOfEmployees=self.dice.choice((10, 500, None)),
            MasterRecordId=self._later("A", id, 4),
        )

    def _file_account(self) -> Version:
        id = self._id("a", 3)
        return _version(
            "files__accounts",
            id=id,
            name=self._maybe(f"{id} {self.dice.randrange(3)}", 0.9),
            domain=self._domain(),
            merged_into=self._later("a", id, 3),
        )

    def _contact(self) -> Version:
        id = self._id("C", 4)
        return _version(
            "salesforce__contacts",
            Id=id,
            LastName=self.dice.choice(("Hill", "Wood")),
            Email=self._email(),
            AccountId=self._maybe(self._id("A", 4)),
            MasterRecordId=self._later("C", id, 4),
        )

    def _lead(self) -> Version:
        id = self._id("L", 3)
        converted = self.dice.random() < 0.3
        return _version(
            "salesforce__leads",
            Id=id,
            LastName=self.dice.choice(("Hill", "Wood")),
            Company="Somewhere",
            Industry=self._maybe("Retail", 0.5),
            Email=self._email(),
            IsConverted=converted,
            ConvertedContactId=self._id("C", 4) if converted else None,
            MasterRecordId=None if converted else self._later("L", id, 3),
        )

    def _file_person(self) -> Version:
        account = self._maybe(self._id("a", 3), 0.6)
        id = self._id("p", 3)
        return _version(
            "files__people",
            id=id,
            email=self._email(),
            account_id=account,
            last_name="Moor",
            merged_into=self._later("p", id, 3),
        )

    def _deal(self) -> Version:
        id, account = self._id("O", 2), self._maybe(self._id("A", 4), 0.9)
        name = self._maybe(f"{id} {self.dice.randrange(3)}", 0.9)
        return _version("salesforce__opportunities", Id=id, Name=name, AccountId=account, StageName="Proposal")

    def _file_deal(self) -> Version:
        who = ";".join(sorted({self._id("p", 3) for _ in range(self.dice.randrange(3))}))
        return _version(
            "files__opportunities",
            id=self._id("o", 2),
            name="Deal",
            account_id=self._maybe(self._id("a", 3), 0.9),
            stage=self.dice.choice(("Proposal", "Closed Won")),
            stage_changed_at=f"2026-03-0{self.dice.randrange(1, 4)}",
            contact_ids=who or None,
        )

    def _role(self) -> Version:
        return _version(
            "salesforce__opportunity_contact_roles",
            Id=self._id("R", 3),
            OpportunityId=self._id("O", 2),
            ContactId=self._id("C", 4),
            Role=self.dice.choice((*truth.ROLES, None)),
            IsPrimary=False,
        )

    def _task(self) -> Version:
        is_done = self.dice.random() < 0.85
        return _version(
            "salesforce__tasks",
            Id=self._id("T", 4),
            WhoId=self._maybe(self.dice.choice((self._id("C", 4), self._id("L", 3)))),
            AccountId=self._maybe(self._id("A", 4)),
            Subject=self.dice.choice(("Re: the offer", "The offer")),
            TaskSubtype=self.dice.choice(("Email", "Call", "Task")),
            Status="Completed" if is_done else "Not Started",
            IsClosed=is_done,
            ActivityDate=self._day(),
            CreatedDate=self._day(),
        )

    def _member(self) -> Version:
        who = self._id("C", 4)
        lead = None if self.dice.random() < 0.5 else self._id("L", 3)
        return _version(
            "salesforce__campaign_members",
            Id=self._id("M", 2),
            ContactId=None if lead else who,
            LeadId=lead,
            Status="Responded",
            HasResponded=True,
            FirstRespondedDate=self._day(),
            CreatedDate=self._day(),
        )

    def _file_activity(self) -> Version:
        agent = self.dice.choice((None, "Mozilla/5.0", f"Story/{self.number} (via GoogleImageProxy)", "NosyScanner/1"))
        return _version(
            "files__activities",
            id=self._id("e", 5),
            person_id=self._maybe(self._id("p", 3), 0.9),
            account_id=self._maybe(self._id("a", 3)),
            type=self.dice.choice(("email_open", "Email Thread", "form_fill", None)),
            occurred_at=self.dice.choice((self._day(), self._day(), self._day(), "soon")),
            occasion=self._maybe(self._id("thread", 2), 0.4),
            user_agent=agent,
        )

    def _day(self) -> str:
        return str((BEGINNING + timedelta(days=self.dice.randrange(DAYS))).date())


def _version(stream: str, **payload: Any) -> Version:
    return Version(stream, payload.get("Id") or payload["id"], payload, None, None)


# ── landing ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def connect(tenant: Tenant) -> None:
    with database.control_session(tenant.id) as connection:
        for source in ("salesforce", "files"):
            connection.execute(
                "insert into control.connectors (id, tenant_id, type, name) values (%s, %s, %s, %s)",
                [str(uuid.uuid4()), tenant.id, source, source],
            )


def land(tenant: Tenant, versions: Iterable[Version]) -> list[Version]:
    """New versions, stream by stream, numbered as landing numbers them. Returns them with the moment they landed."""
    by_stream: dict[str, list[Version]] = defaultdict(list)
    for version in versions:
        by_stream[version.stream].append(version)
    landed = []
    for stream, arrived in by_stream.items():
        source, _, name = stream.partition("__")
        with database.run_session(tenant.id) as connection:
            connection.execute(
                "insert into control.stream_states (tenant_id, connector_id, connector, stream)"
                " select tenant_id, id, type, %s from control.connectors where type = %s on conflict do nothing",
                [name, source],
            )
            row = connection.execute(
                "update control.stream_states set last_seq = last_seq + %s where connector = %s and stream = %s"
                " returning last_seq, now()",
                [len(arrived), source, name],
            ).fetchone()
            assert row
            first = row[0] - len(arrived) + 1
            bodies = [orjson.dumps(version.payload) for version in arrived]
            connection.cursor().executemany(
                f"insert into raw.{stream} (tenant_id, record_id, payload, payload_hash, is_deleted, source_updated_at,"
                " sync_id, seq) values (%s, %s, %s, %s, %s, %s, 'test', %s)".encode(),
                [
                    (
                        tenant.id,
                        version.id,
                        body.decode(),
                        hashlib.sha256(body).digest(),
                        version.is_deleted,
                        version.stamp,
                        first + place,
                    )
                    for place, (version, body) in enumerate(zip(arrived, bodies, strict=True))
                ],
            )
        landed += [replace(version, landed=row[1]) for version in arrived]
    return landed


def wrong(tenant: Tenant, versions: list[Version], rules: Rules) -> list[str]:
    wanted = truth.expected(tenant.id, versions, rules)
    return truth.differences_between(wanted, truth.found(lambda query: rows_of(tenant.id, query)))


def told(lines: list[str], chapters: list[list[Version]]) -> str:
    """The differences, and the story of the first of them."""
    numbers = [number for line in lines for number in range(STORIES) if f"-{number}'" in line or f"-{number}:" in line]
    about = f"-{numbers[0]}" if numbers else None
    story = [
        f"  chapter {place}: {version.stream} {'deleted ' if version.is_deleted else ''}{version.stamp}"
        f" {orjson.dumps(version.payload).decode()}"
        for place, chapter in enumerate(chapters)
        for version in chapter
        if about and version.id.endswith(about)
    ]
    return "\n".join([*lines, f"STORY_SEED={SEED}", *story])


@pytest.mark.long
@pytest.mark.timeout(900 + 10 * CHAPTERS)
def test_whatever_arrives_in_whatever_order_canonical_is_the_truth_and_equals_a_rebuild(tenant: Tenant) -> None:
    connect(tenant)
    stories = [Story(number, random.Random(f"{SEED}/{number}")) for number in range(STORIES)]
    chapters: list[list[Version]] = []
    rules, dice = Rules(), random.Random(SEED)
    for chapter in range(CHAPTERS):
        if chapter % 2:
            rules = SAID[chapter // 2 % len(SAID)](tenant, rules)
        arriving = [version for story in stories for version in story.events()]
        chapters.append([])
        if dice.random() < 0.5:
            # a run that broke off: some models stand, the others have seen nothing
            early = arriving[: len(arriving) // 2]
            chapters[-1] += land(tenant, early)
            transformed(tenant.id, tenant.slug, MODELS[: dice.randrange(1, len(MODELS))])
            arriving = arriving[len(early) :]
        chapters[-1] += land(tenant, arriving)
        transformed(tenant.id, tenant.slug)
        lines = wrong(tenant, [version for landed in chapters for version in landed], rules)
        assert not lines, told(lines, chapters)
    lines = differences_from_a_rebuild(tenant.id, lambda: transformed(tenant.id, tenant.slug))
    assert not lines, told(lines, chapters)


# ── what the tenant says anew ────────────────────────────────────────────────────────────────────────────────────────


def some_domains_are_anybodys(tenant: Tenant, rules: Rules) -> Rules:
    private = frozenset(f"private{number}.example" for number in range(STORIES))
    said = orjson.dumps(sorted(private)).decode()
    settings.change(tenant.id, actor=ACTOR, assignments=[f"domains.personal={said}"])
    return replace(rules, personal=rules.personal | private)


def an_agent_is_a_machine(tenant: Tenant, rules: Rules) -> Rules:
    settings.change(tenant.id, actor=ACTOR, assignments=['bots.userAgents=["NosyScanner"]'])
    return replace(rules, agents=(*rules.agents, "nosyscanner"))


def domains_stand_in_another_field(tenant: Tenant, rules: Rules) -> Rules:
    return _accounts_filled(tenant, rules, name="Name", domain="Domain__c")


def names_stand_where_some_have_none(tenant: Tenant, rules: Rules) -> Rules:
    return _accounts_filled(tenant, rules, name="Industry", domain="Website")


def nobody_is_kept_without_an_address(tenant: Tenant, rules: Rules) -> Rules:
    entries = [
        {"sourceField": "email", "targetField": "email", "required": True},
        {"sourceField": "last_name", "targetField": "last_name"},
    ]
    mappings.put(tenant.id, "files", "people", {"mappings": entries}, actor=ACTOR)
    return replace(rules, required={("files", "people"): ("email",)})


def it_is_all_as_usual(tenant: Tenant, rules: Rules) -> Rules:
    mappings.reset(tenant.id, "files", "people", actor=ACTOR)
    return replace(_accounts_filled(tenant, rules, name="Name", domain="Website"), required={})


def _accounts_filled(tenant: Tenant, rules: Rules, name: str, domain: str) -> Rules:
    entries = [
        {"sourceField": name, "targetField": "name", "required": True},
        {"sourceField": domain, "targetField": "domain"},
    ]
    mappings.put(tenant.id, "salesforce", "accounts", {"mappings": entries}, actor=ACTOR)

    def filled(payload: Mapping[str, Any]) -> truth.Row:
        told = {"name": truth.text(payload.get(name)), "domain": truth.domain(payload.get(domain))}
        return dict.fromkeys(truth.FIRMOGRAPHICS) | told

    return replace(rules, mapped={("salesforce", "accounts"): filled})


MODELS = ("identities", "accounts", "people", "opportunities", "activities")
SAID = (
    some_domains_are_anybodys,
    an_agent_is_a_machine,
    domains_stand_in_another_field,
    nobody_is_kept_without_an_address,
    names_stand_where_some_have_none,
    it_is_all_as_usual,
)
