"""Invented companies that a tenant sells to: accounts, people, deals that move through stages, a year of their doings.

The world is a function of its seed and the calendar: what happens on a day does not depend on the day of asking. So a
later `today` adds to the earlier world, and the same arguments give the same bytes. Nothing here is real; every domain
ends in .example.
"""

import csv
import json
import math
import unicodedata
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from hashlib import blake2b
from itertools import accumulate
from pathlib import Path
from random import Random
from typing import TypeVar

from sandbox.names import CULTURES, ENDINGS, STEMS, TITLES, TITLES_IN, TRADES

BEGINNING = date(2024, 1, 1)
WORLD_FILE = "world.json"

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Market:
    """The place that the companies are in. A name that stands twice in a tuple is met twice as often."""

    home: str = "australia"
    cultures: tuple[str, ...] = ("australia", "india", "vietnam", "poland")
    industries: tuple[str, ...] = ("Software", "Financial Services", "Retail", "Education", "Energy")
    typical_employees: int = 250
    activities_per_year: int = 5_000


@dataclass(frozen=True, slots=True)
class World:
    """What a company is generated from. `today` has not happened yet; `since` is the first day of the activities."""

    seed: int
    accounts: int
    today: date
    since: date
    market: Market


@dataclass(frozen=True, slots=True)
class Account:
    id: str
    name: str
    domain: str
    industry: str
    employee_count: str
    annual_revenue: str
    updated_at: str


@dataclass(frozen=True, slots=True)
class Person:
    id: str
    account_id: str
    email: str
    first_name: str
    last_name: str
    title: str
    phone: str
    updated_at: str


@dataclass(frozen=True, slots=True)
class Opportunity:
    id: str
    account_id: str
    name: str
    stage: str
    amount: str
    close_date: str
    updated_at: str
    stage_changed_at: str
    is_closed: str
    contact_ids: str


@dataclass(frozen=True, slots=True)
class Activity:
    id: str
    person_id: str
    account_id: str
    type: str
    channel: str
    occurred_at: str
    properties: str


@dataclass(frozen=True, slots=True)
class StageChange:
    """A stage that an opportunity reached, and when; the first one is its beginning."""

    opportunity_id: str
    stage: str
    changed_at: str


@dataclass(frozen=True, slots=True)
class Company:
    """Everything that a tenant's systems know, as rows of text."""

    world: World
    accounts: tuple[Account, ...]
    people: tuple[Person, ...]
    opportunities: tuple[Opportunity, ...]
    activities: tuple[Activity, ...]


KINDS = {"accounts": Account, "people": Person, "opportunities": Opportunity, "activities": Activity}

# stage: how many days it lasts, how likely the deal dies in it, how lively the account is meanwhile
STAGES = {
    "Prospecting": (18, 0.20, 1.6),
    "Qualification": (22, 0.20, 3.5),
    "Proposal": (26, 0.15, 6.0),
    "Negotiation": (20, 0.15, 8.0),
}
CUSTOMER, STRANGER = 0.7, 0.35

# how often nobody has filled in the column
UNKNOWN = {"domain": 0.05, "industry": 0.07, "employee_count": 0.1, "annual_revenue": 0.18}

CHANNELS = {
    "demo_request": "web",
    "form_fill": "web",
    "content_download": "web",
    "page_view": "web",
    "event_attend": "events",
    "meeting_attend": "meetings",
    "intent_signal": "intent",
    "ad_click": "ads",
    "email_thread": "email",
    "email_click": "email",
    "email_open": "email",
    "email_sent": "email",
    "unsubscribe": "email",
    "bounce": "email",
}
# what people do, and how often, while nobody talks to them, and while a deal is open
AT_REST = {
    "email_sent": 40,
    "email_open": 26,
    "page_view": 18,
    "email_click": 5,
    "ad_click": 4,
    "content_download": 2,
    "intent_signal": 3,
    "event_attend": 1,
    "form_fill": 1,
}
IN_A_DEAL = {
    "email_thread": 26,
    "page_view": 22,
    "meeting_attend": 14,
    "email_open": 12,
    "email_sent": 10,
    "email_click": 6,
    "content_download": 4,
    "form_fill": 2,
    "demo_request": 2,
    "intent_signal": 2,
    "event_attend": 1,
    "ad_click": 1,
}
NOT_TO_THE_UNREACHABLE = {"email_sent", "email_open", "email_click"}

# The sum of what is lively about an average account on an average day; measured, so that a market's activities_per_year
# come out about right.
LIVELINESS = 2.0


def generate(
    seed: int, accounts: int, today: date, *, since: date | None = None, market: Market | None = None
) -> Company:
    """The world as it stands at the start of `today` (UTC), with activities from `since`, one year back by default."""
    since = since or today - timedelta(days=365)
    if since < BEGINNING:
        raise ValueError(f"the invented world begins on {BEGINNING}; activities since {since} are not to be had")
    return made(World(seed, accounts, today, since, market or Market()))


def advance(company: Company, days: int) -> Company:
    """The same world some days later."""
    return made(replace(company.world, today=company.world.today + timedelta(days=days)))


def stage_changes(company: Company) -> Iterator[StageChange]:
    """The whole way of every opportunity of the company, stage by stage, up to today."""
    world = company.world
    known = {opportunity.id for opportunity in company.opportunities}
    for number in range(1, world.accounts + 1):
        life = _Life(world, number)
        for deal in life.deals_ever:
            if life.opportunity_id(deal) in known:
                for day, stage in deal.steps:
                    if day < world.today:
                        yield StageChange(life.opportunity_id(deal), stage, life.stage_changed_at(deal, day, stage))


def write_csv(folder: Path, company: Company) -> None:
    """One file per kind, as a customer would export them, and the world they came from, which `read_world` reads."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, kind in KINDS.items():
        # Moved into place, as a careful export does: a sync never meets half a file.
        draft = folder / f".{name}.csv"
        with draft.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            columns = [column.name for column in fields(kind)]
            writer.writerow(columns)
            writer.writerows([getattr(row, column) for column in columns] for row in getattr(company, name))
        draft.replace(folder / f"{name}.csv")
    (folder / WORLD_FILE).write_text(json.dumps(asdict(company.world), default=str, indent=2) + "\n", encoding="utf-8")


def read_world(folder: Path) -> Company:
    """The company that `write_csv` wrote into this folder."""
    facts = json.loads((folder / WORLD_FILE).read_text(encoding="utf-8"))
    market = facts["market"]
    return made(
        World(
            seed=facts["seed"],
            accounts=facts["accounts"],
            today=date.fromisoformat(facts["today"]),
            since=date.fromisoformat(facts["since"]),
            market=Market(
                home=market["home"],
                cultures=tuple(market["cultures"]),
                industries=tuple(market["industries"]),
                typical_employees=market["typical_employees"],
                activities_per_year=market["activities_per_year"],
            ),
        )
    )


@lru_cache(maxsize=4)
def made(world: World) -> Company:
    """Nothing in a company changes once it is made, so whoever asks for the same world again is given the same one."""
    lives = [_Life(world, number) for number in range(1, world.accounts + 1)]
    activities = (activity for life in lives for activity in life.activities())
    return Company(
        world,
        accounts=tuple(life.account() for life in lives),
        people=tuple(contact.person for life in lives for contact in life.contacts),
        opportunities=tuple(opportunity for life in lives for opportunity in life.opportunities()),
        activities=tuple(sorted(activities, key=lambda activity: (activity.occurred_at, activity.id))),
    )


@dataclass(frozen=True, slots=True)
class _Contact:
    person: Person
    joined: date
    unreachable: date
    hard_bounce: bool


@dataclass(frozen=True, slots=True)
class _Deal:
    """`steps` are the stages in order, each with the day it begins; the last one is closed, won or lost."""

    number: int
    steps: tuple[tuple[date, str], ...]
    contacts: tuple[_Contact, ...]
    product: str
    amount: int

    @property
    def begins(self) -> date:
        return self.steps[0][0]

    @property
    def ends(self) -> date:
        return self.steps[-1][0]

    def stage(self, day: date) -> tuple[date, str]:
        return self.steps[bisect_right(self.steps, day, key=lambda step: step[0]) - 1]


class _Life:
    """One account from the beginning of the world: its people and its deals, to be asked about any day."""

    def __init__(self, world: World, number: int) -> None:
        self.world, self.number = world, number
        self.id = f"ACC-{number:04}"
        rng = self._rng("account")
        market = world.market
        self.industry = rng.choice(market.industries)
        self.brand = f"{_stem(world, number)} {rng.choice(TRADES[self.industry])}"
        self.name = f"{self.brand} {rng.choice(ENDINGS[market.home])}" if rng.random() < 0.6 else self.brand
        self.domain = f"{_ascii(self.brand).replace(' ', '-')}.example"
        self.employees = max(3, round(rng.lognormvariate(math.log(market.typical_employees), 1.1)))
        self.revenue = int(round(self.employees * rng.lognormvariate(math.log(140_000), 0.5), -4))
        self.unknown = {column for column, share in UNKNOWN.items() if rng.random() < share}
        self.appetite = rng.lognormvariate(0, 0.7)
        self.contacts_ever = tuple(self._contacts())
        self.deals_ever = tuple(self._deals())
        self.contacts = [contact for contact in self.contacts_ever if contact.joined < world.today]

    def account(self) -> Account:
        # Head counts are estimated anew now and then.
        period = (self.world.today - BEGINNING).days // 180
        rng = self._rng("size", period)
        known_since = BEGINNING + timedelta(days=180 * period)
        employees = max(3, round(self.employees * rng.uniform(0.9, 1.15))) if period else self.employees
        columns = {
            "domain": self.domain,
            "industry": self.industry,
            "employee_count": str(employees),
            "annual_revenue": str(self.revenue),
        }
        known = {column: "" if column in self.unknown else value for column, value in columns.items()}
        return Account(id=self.id, name=self.name, updated_at=_at(known_since, rng), **known)

    def opportunities(self) -> Iterator[Opportunity]:
        last_day = self.world.today - timedelta(days=1)
        for deal in self.deals_ever:
            if deal.ends < self.world.since or deal.begins > last_day:
                continue
            since, stage = deal.stage(last_day)
            changed = self.stage_changed_at(deal, since, stage)
            closed = stage.startswith("Closed")
            expected = since if closed else deal.begins + timedelta(days=90)
            yield Opportunity(
                id=self.opportunity_id(deal),
                account_id=self.id,
                name=f"{self.brand}: {deal.product}",
                stage=stage,
                amount="" if stage == "Prospecting" else str(deal.amount),
                close_date=f"{expected}T00:00:00Z",
                updated_at=changed,
                stage_changed_at=changed,
                is_closed=str(closed).lower(),
                contact_ids=";".join(contact.person.id for contact in deal.contacts),
            )

    def opportunity_id(self, deal: _Deal) -> str:
        return f"OPP-{self.number:04}-{deal.number}"

    def stage_changed_at(self, deal: _Deal, day: date, stage: str) -> str:
        return _at(day, self._rng("stage", deal.number, stage))

    def activities(self) -> Iterator[Activity]:
        month = self.world.since.replace(day=1)
        while month < self.world.today:
            after = (month + timedelta(days=31)).replace(day=1)
            days = [month + timedelta(days=offset) for offset in range((after - month).days)]
            moods = [self._mood(day) for day in days]
            for place, contact in enumerate(self.contacts):
                # A generator per person and month, used to the month's end: cutting it short would change what follows.
                rng = self._rng("activities", contact.person.id, month)
                for day, (liveliness, deal) in zip(days, moods, strict=True):
                    for activity in self._doings(rng, day, contact, _weight(contact, place, deal) * liveliness, deal):
                        if self.world.since <= day < self.world.today:
                            yield activity
            month = after

    def _doings(
        self, rng: Random, day: date, contact: _Contact, liveliness: float, deal: _Deal | None
    ) -> Iterator[Activity]:
        expected = liveliness * self.world.market.activities_per_year / (365 * self.world.accounts * LIVELINESS)
        if day.weekday() >= 5:
            expected *= 0.15
        for place in range(_poisson(rng, expected)):
            habits = IN_A_DEAL if deal and contact in deal.contacts else AT_REST
            kind = _weighted(rng, tuple(habits.items()))
            nobody = kind == "intent_signal" and rng.random() < 0.5
            activity = self._activity(rng, day, place, contact, kind, nobody)
            if day < contact.joined or (day >= contact.unreachable and kind in NOT_TO_THE_UNREACHABLE):
                continue
            yield activity
        if day == contact.unreachable and day >= contact.joined:
            yield self._activity(rng, day, -1, contact, "bounce" if contact.hard_bounce else "unsubscribe", False)

    def _activity(self, rng: Random, day: date, place: int, contact: _Contact, kind: str, nobody: bool) -> Activity:
        name = f"{self.world.seed}/{contact.person.id}/{day}/{place}"
        return Activity(
            id=f"ACT-{blake2b(name.encode(), digest_size=8).hexdigest()}",
            # Intent is often known of a company and not of anyone in it.
            person_id="" if nobody else contact.person.id,
            account_id=self.id,
            type=kind,
            channel=CHANNELS[kind],
            occurred_at=_at(day, rng),
            properties=json.dumps(_properties(rng, kind), ensure_ascii=False, sort_keys=True),
        )

    def _mood(self, day: date) -> tuple[float, _Deal | None]:
        """How lively the account is on a day, and because of which deal."""
        won = False
        for deal in self.deals_ever:
            if deal.begins <= day < deal.ends:
                return STAGES[deal.stage(day)[1]][2], deal
            won = won or (deal.ends <= day and deal.steps[-1][1] == "Closed Won")
        return (CUSTOMER if won else STRANGER) * self.appetite, None

    def _contacts(self) -> Iterator[_Contact]:
        rng = self._rng("people")
        founders = 2 + _poisson(rng, 2.0)
        newcomers = 12  # one about every 500 days
        mailboxes: set[str] = set()
        for place in range(1, founders + newcomers + 1):
            joined = BEGINNING
            if place > founders:
                joined += timedelta(days=500 * (place - founders - 1) + rng.randrange(30, 500))
            yield self._contact(place, joined, mailboxes)

    def _contact(self, place: int, joined: date, mailboxes: set[str]) -> _Contact:
        rng = self._rng("person", place)
        culture = CULTURES[rng.choice(self.world.market.cultures)]
        first, last = rng.choice(culture.first_names), rng.choice(culture.last_names)
        title = _weighted(rng, TITLES + TITLES_IN.get(self.world.market.home, ()))
        mailbox = f"{_ascii(first)}.{_ascii(last)}"
        if mailbox in mailboxes:
            mailbox += str(place)
        mailboxes.add(mailbox)
        person = Person(
            id=f"CON-{self.number:04}-{place:02}",
            account_id=self.id if rng.random() < 0.97 else "",
            email=f"{mailbox}@{self.domain}" if rng.random() < 0.94 else "",
            first_name=first if rng.random() < 0.98 else "",
            last_name=last,
            title=title if rng.random() < 0.92 else "",
            phone=f"{culture.dialling_code} 555 {rng.randrange(10**6):06}" if rng.random() < 0.5 else "",
            updated_at=_at(joined, rng),
        )
        unreachable = joined + timedelta(days=round(rng.expovariate(1 / 2500)) + 20)
        return _Contact(person, joined, unreachable, hard_bounce=rng.random() < 0.4)

    def _deals(self) -> Iterator[_Deal]:
        rng = self._rng("deals")
        day, number = BEGINNING + timedelta(days=rng.randrange(200)), 0
        while day < self.world.today + timedelta(days=400):
            number += 1
            deal = self._deal(rng, day, number)
            yield deal
            day = deal.ends + timedelta(days=30 + round(rng.expovariate(1 / (260 / self.appetite))))

    def _deal(self, rng: Random, day: date, number: int) -> _Deal:
        begins, steps, outcome = day, [], "Closed Won"
        for stage, (usual_days, dies, _) in STAGES.items():
            steps.append((day, stage))
            day += timedelta(days=max(2, round(usual_days * rng.lognormvariate(0, 0.6))))
            if rng.random() < dies:
                outcome = "Closed Lost"
                break
        steps.append((day, outcome))
        there = [contact for contact in self.contacts_ever if contact.joined <= begins]
        contacts = tuple(rng.sample(there, min(len(there), rng.choice((1, 2, 2, 3, 3, 4)))))
        product = rng.choice(("starter package", "annual licence", "expansion", "pilot", "renewal and upgrade"))
        amount = round(min(self.revenue * 0.002, 400_000) * rng.lognormvariate(0, 0.5), -2) + 1_000
        return _Deal(number, tuple(steps), contacts, product, int(amount))

    def _rng(self, *what: object) -> Random:
        return Random("/".join(map(str, (self.world.seed, self.number, *what))))


def _stem(world: World, number: int) -> str:
    heads, tails = STEMS[world.market.home]
    stems = [head + tail for head in heads for tail in tails]
    Random(f"{world.seed}/stems").shuffle(stems)
    lap, place = divmod(number - 1, len(stems))
    return f"{stems[place]} {lap + 1}" if lap else stems[place]


def _weight(contact: _Contact, place: int, deal: _Deal | None) -> float:
    """Most of what happens in a company is done by few of its people."""
    if deal and contact in deal.contacts:
        return (1.0, 0.6, 0.4, 0.3)[deal.contacts.index(contact)]
    return 0.3 / (1 + place)


def _properties(rng: Random, kind: str) -> dict[str, str | int]:
    match kind:
        case "page_view":
            return {"url": rng.choice(("/pricing", "/product", "/docs", "/customers", "/blog/planning", "/security"))}
        case "content_download":
            return {"asset": rng.choice(("buyers-guide.pdf", "security-whitepaper.pdf", "roi-calculator.xlsx"))}
        case "event_attend":
            return {"event": rng.choice(("Spring webinar", "User day", "Trade fair", "Product launch"))}
        case "meeting_attend":
            return {"minutes": rng.choice((30, 30, 45, 60))}
        case "form_fill" | "demo_request":
            return {"form": rng.choice(("contact", "demo", "newsletter"))}
        case "intent_signal":
            return {"topic": rng.choice(("planning software", "supplier comparison", "automation", "compliance"))}
        case "ad_click" | "email_open" | "email_click" | "email_sent":
            return {"campaign": rng.choice(("spring-offer", "newsletter", "product-news", "win-back"))}
        case "bounce":
            return {"kind": "hard"}
        case _:
            return {}


def _at(day: date, rng: Random) -> str:
    """A moment of that day, mostly in working hours."""
    hour = min(23, max(0, round(rng.gauss(12, 3.5))))
    moment = datetime.combine(day, time(hour, rng.randrange(60), rng.randrange(60)), UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _poisson(rng: Random, expected: float) -> int:
    count, product, limit = 0, rng.random(), math.exp(-expected)
    while product > limit:
        count, product = count + 1, product * rng.random()
    return count


def _weighted(rng: Random, choices: Sequence[tuple[T, int]]) -> T:
    heights = list(accumulate(weight for _, weight in choices))
    return choices[bisect_right(heights, rng.random() * heights[-1])][0]


def _ascii(text: str) -> str:
    """As a name is written in an address: ü becomes ue, é becomes e."""
    spelled = text.lower()
    for letter, letters in (("ä", "ae"), ("ö", "oe"), ("ü", "ue"), ("ß", "ss"), ("ł", "l"), ("đ", "d")):
        spelled = spelled.replace(letter, letters)
    return "".join(c for c in unicodedata.normalize("NFKD", spelled) if c.isascii() and (c.isalnum() or c in " -"))
