"""The same company's life as its mailboxes and calendars saw it: a view of the generator's facts.

Whoever sells is the same as in Salesforce. What was sent to somebody or exchanged with them stands in the seller's
mailbox; whom nobody has typed into the CRM stands there too.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import blake2b

from sandbox.companies import Activity, Company, Person
from sandbox.salesforce.world import REPS

OWN_DOMAIN = "seller.example"
ANSWERED_AFTER = timedelta(minutes=20)
# Every so many threads a colleague is copied whom the CRM does not know.
COPIED = 3
STRANGERS = (("Noor", "Haddad"), ("Piet", "Vermeer"), ("Chiara", "Lombardi"), ("Wei", "Sun"))
# Half of the meetings are attended by a second seller, whose calendar has them too.
TWO_SELLERS = 2


@dataclass(frozen=True, slots=True)
class Party:
    name: str
    address: str


@dataclass(frozen=True, slots=True)
class Mail:
    """`thread` is what the mails of one conversation share; `seller` is the number of the mailbox that has it."""

    key: str
    seller: int
    thread: str
    at: datetime
    sender: Party
    to: tuple[Party, ...]
    copied: tuple[Party, ...] = ()

    @property
    def is_ours(self) -> bool:
        return self.sender.address.endswith(f"@{OWN_DOMAIN}")


@dataclass(frozen=True, slots=True)
class Meeting:
    key: str
    sellers: tuple[int, ...]
    at: datetime
    minutes: int
    attendees: tuple[Party, ...]


def seller(number: int) -> Party:
    first, last = REPS[number]
    return Party(f"{first} {last}", f"rep{number}@{OWN_DOMAIN}")


def stranger(account_domain: str, number: int) -> Party:
    """Somebody at a customer's whom the CRM has never heard of."""
    first, last = STRANGERS[number % len(STRANGERS)]
    return Party(f"{first} {last}", f"{first}.{last}@{account_domain}".lower())


def mails(company: Company, since: str) -> Iterator[Mail]:
    """From that day on, in the order of time of what was done."""
    for activity, who in _with_somebody(company, since):
        at, number = _at(activity), _seller(activity)
        us, them = seller(number), Party(f"{who.first_name} {who.last_name}".strip(), who.email)
        if activity.type == "email_sent":
            yield Mail(activity.id, number, activity.id, at, us, (them,))
        elif activity.type == "email_thread":
            domain = who.email.partition("@")[2]
            draw = _draw(activity.id)
            others = (stranger(domain, draw),) if draw % COPIED == 0 else ()
            yield Mail(f"{activity.id}/1", number, activity.id, at, them, (us,), others)
            yield Mail(f"{activity.id}/2", number, activity.id, at + ANSWERED_AFTER, us, (them,), others)


def meetings(company: Company, since: str) -> Iterator[Meeting]:
    for activity, who in _with_somebody(company, since):
        if activity.type == "meeting_attend":
            at, number = _at(activity), _seller(activity)
            seconds = int(at.timestamp())
            sellers = (number,) if seconds % TWO_SELLERS else (number, (number + 1) % len(REPS))
            them = Party(f"{who.first_name} {who.last_name}".strip(), who.email)
            yield Meeting(activity.id, sellers, at, 30 + seconds % 2 * 30, (them,))


def _with_somebody(company: Company, since: str) -> Iterator[tuple[Activity, Person]]:
    people = {person.id: person for person in company.people if person.email}
    for activity in company.activities:
        if activity.occurred_at >= since and activity.person_id in people:
            yield activity, people[activity.person_id]


def _at(activity: Activity) -> datetime:
    return datetime.fromisoformat(activity.occurred_at)


def _seller(activity: Activity) -> int:
    """Whoever Salesforce says it was."""
    return int(_at(activity).timestamp()) % len(REPS)


def _draw(text: str) -> int:
    return int.from_bytes(blake2b(text.encode(), digest_size=4).digest())
