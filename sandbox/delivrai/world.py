"""Whom the vendor knows at the invented companies and what they research, derived from the same facts as every view.

An intent_signal of the world is somebody who researches its topic, or somebody at the company whom nobody can name.
Beside those whom the seller knows, a colleague at some companies researches what is researched there: so people are
found who stand in no other system.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from hashlib import sha256
from json import loads
from random import Random

from sandbox.companies import Account, Activity, Company, Person
from sandbox.names import CULTURES, TITLES

# how long somebody is told of as researching
WINDOW = timedelta(days=7)
SHARE_OF_COLLEAGUES, SHARE_OF_UNKNOWN = 0.5, 0.2


@dataclass(frozen=True, slots=True)
class Known:
    """Somebody as the vendor knows them."""

    email: str
    first_name: str
    last_name: str
    title: str
    company: str
    domain: str

    @property
    def hem(self) -> str:
        return hem_of(self.email)


@dataclass(frozen=True, slots=True)
class Interest:
    """`who` is null where it is known of the company alone; the domain is missing where the world lacks it."""

    topic: str
    who: Known | None
    domain: str
    at: datetime


def hem_of(email: str) -> str:
    return sha256(email.strip().lower().encode()).hexdigest()


def topic_id(name: str) -> str:
    return name.replace(" ", "-")


def colleague(seed: int, account: Account) -> Known | None:
    """Who works there and stands in no other system."""
    rng = Random(f"{seed}/{account.id}/delivrai")
    if not account.domain or rng.random() >= SHARE_OF_COLLEAGUES:
        return None
    culture = CULTURES[rng.choice(sorted(CULTURES))]
    first, last = rng.choice(culture.first_names), rng.choice(culture.last_names)
    title = rng.choice([title for title, _ in TITLES])
    return Known(f"colleague@{account.domain}", first, last, title, account.name, account.domain)


def is_unknown(seed: int, person: Person) -> bool:
    """Some people no index has."""
    return not person.email or Random(f"{seed}/{person.id}/delivrai").random() < SHARE_OF_UNKNOWN


def everybody(company: Company) -> Iterator[Known]:
    accounts = {account.id: account for account in company.accounts}
    for person in company.people:
        if not is_unknown(company.world.seed, person):
            yield _known(person, accounts.get(person.account_id))
    for account in company.accounts:
        if found := colleague(company.world.seed, account):
            yield found


def interests(company: Company, upto: datetime) -> Iterator[Interest]:
    """Who has researched what in the days before this moment. Whoever did so twice is there twice."""
    accounts = {account.id: account for account in company.accounts}
    people = {person.id: person for person in company.people}
    since = upto - WINDOW
    for activity in company.activities:
        if activity.type != "intent_signal":
            continue
        at = datetime.fromisoformat(activity.occurred_at).astimezone(UTC)
        if not since <= at < upto:
            continue
        account, person = accounts[activity.account_id], people.get(activity.person_id)
        topic = topic_id(loads(activity.properties)["topic"])
        named = person is not None and not is_unknown(company.world.seed, person)
        yield Interest(topic, _known(person, account) if person and named else None, account.domain, at)
        if found := colleague(company.world.seed, account):
            yield Interest(topic, found, account.domain, at)


def visits(company: Company) -> Iterator[tuple[Activity, Known]]:
    """Who looked at the seller's website, of those whom the vendor can name."""
    accounts = {account.id: account for account in company.accounts}
    people = {person.id: person for person in company.people}
    for activity in company.activities:
        person = people.get(activity.person_id)
        if activity.type == "page_view" and person and not is_unknown(company.world.seed, person):
            yield activity, _known(person, accounts.get(person.account_id))


@cache
def percentile(topic: str, key: str) -> int:
    """How strong it is, by a dice of its own."""
    return Random(f"{topic}/{key}").randrange(40, 100)


def _known(person: Person, account: Account | None) -> Known:
    company, domain = (account.name, account.domain) if account else ("", "")
    return Known(person.email, person.first_name, person.last_name, person.title, company, domain)
