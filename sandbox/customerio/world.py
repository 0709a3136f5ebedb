"""What the invented company's marketing has in Customer.io, derived from the same facts as every other system's view.

A fact of the world becomes a message with what came of it, or a line of the log:

    email_sent, email_open, email_click, unsubscribe, bounce   a message; whatever was opened was sent some days before
    page_view                                                  a page
    form_fill, demo_request, content_download                  an event with a name

Machines open mails too: some messages have an open that no person did.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import blake2b
from json import loads
from random import Random
from typing import Any

from sandbox.companies import Activity, Company, Person

HOUR = 3_600
CAMPAIGNS = {"spring-offer": 1, "product-news": 2, "win-back": 3}
NEWSLETTERS = {"newsletter": 1}
EVENTS = {"form_fill": "form_submitted", "demo_request": "demo_requested", "content_download": "asset_downloaded"}
# how long before what came of it a message was made, at most
LONGEST_DELAY = 3 * 24 * HOUR
SHARE_OF_MACHINES = 0.2


@dataclass(frozen=True, slots=True)
class Sent:
    """A message, and when what became of it. A time that has not come yet has not happened."""

    id: str
    person_id: str
    created: int
    metrics: Mapping[str, int]
    human: frozenset[str]
    campaign: str


@dataclass(frozen=True, slots=True)
class Done:
    """A line of the log that tells what a person did."""

    id: str
    person_id: str
    type: str
    name: str
    at: int
    data: Mapping[str, Any] = field(default_factory=dict)


def cio_id(seed: int, person: Person) -> str:
    return blake2b(f"{seed}/{person.id}/cio".encode(), digest_size=6).hexdigest()


def is_known(person: Person) -> bool:
    """Marketing knows whom it can write to."""
    return bool(person.email)


def attributes(person: Person) -> dict[str, str]:
    known = {
        "first_name": person.first_name,
        "last_name": person.last_name,
        "title": person.title,
        "phone": person.phone,
    }
    return {name: value for name, value in known.items() if value}


def doings(company: Company) -> Iterator[Sent | Done]:
    people = {person.id: person for person in company.people if is_known(person)}
    for activity in company.activities:
        if activity.person_id in people:
            yield from _told(company.world.seed, people[activity.person_id], activity)


def _told(seed: int, person: Person, activity: Activity) -> Iterator[Sent | Done]:
    at = _seconds(activity.occurred_at)
    about = loads(activity.properties)
    match activity.type:
        case "page_view":
            yield Done(activity.id, activity.person_id, "page", f"https://seller.example{about['url']}", at)
        case "form_fill" | "demo_request" | "content_download":
            yield Done(activity.id, activity.person_id, "event", EVENTS[activity.type], at, about)
        case "email_sent" | "email_open" | "email_click" | "unsubscribe" | "bounce":
            yield _sent(seed, person, activity, at, str(about.get("campaign", "newsletter")))


def _sent(seed: int, person: Person, activity: Activity, at: int, campaign: str) -> Sent:
    rng = Random(f"{seed}/{activity.id}/customerio")
    created = at if activity.type in ("email_sent", "bounce") else at - rng.randrange(HOUR, LONGEST_DELAY)
    # nobody is written to before they are known
    created = min(at, max(created, _seconds(person.updated_at)))
    metrics = {"created": created, "sent": created}
    human: set[str] = set()
    match activity.type:
        case "bounce":
            metrics["bounced"] = at
        case "email_open":
            metrics |= {"delivered": created + 5, "opened": at}
            human.add("opened")
        case "email_click":
            metrics |= {"delivered": created + 5, "opened": at - 60, "clicked": at}
            human |= {"opened", "clicked"}
        case "unsubscribe":
            metrics |= {"delivered": created + 5, "unsubscribed": at}
        case "email_sent":
            metrics["delivered"] = created + 5
            if rng.random() < SHARE_OF_MACHINES:
                # a mail gateway looks at every picture and follows every link, within seconds
                metrics |= {"opened": created + 8, "clicked": created + 9}
    return Sent(activity.id, activity.person_id, created, metrics, frozenset(human), campaign)


def _seconds(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp())
