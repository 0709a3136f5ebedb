"""What the vendor's data holds at a moment, made anew every midnight, and what of it was charged.

Beside what the invented world gives, tests put in researchers of their own: each such change makes the data anew.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, time
from typing import Any

from sandbox.companies import Activity, Company
from sandbox.delivrai.world import Known, everybody, hem_of, interests, percentile, visits
from sandbox.view import View

# from this percentile on somebody is told of as high, below it as medium
HIGH = 70
PEOPLE, COMPANIES = "people", "companies"

Row = dict[str, Any]


@dataclass
class Researcher:
    """Somebody, or a company, who researches a topic."""

    topic: str
    key: str  # the digest of an address, or a domain
    percentile: int
    email: str = ""
    people: int = 0
    extra: Row = field(default_factory=dict)

    @property
    def score(self) -> str:
        return "high" if self.percentile >= HIGH else "medium"


class Index(View):
    def __post_init__(self) -> None:
        super().__post_init__()
        self.built = self.now
        self.api_key, self.api_secret = "sandbox-delivrai-key", "sandbox-delivrai-secret"
        self.is_closed = self.is_out_of_credit = False
        self.billed: Counter[str] = Counter()
        self.people: dict[str, Known] = {}
        self.asked: list[str] = []  # about whom, by digest, each time
        self._visits: list[Row] = []
        self._told: dict[str, list[Researcher]] = {}
        self._added: dict[str, dict[tuple[str, str], Researcher]] = {PEOPLE: {}, COMPANIES: {}}
        self._tell()

    def _tell(self, _before: Company | None = None) -> None:
        """The data of the last midnight."""
        self.built = datetime.combine(self.now.date(), time(), UTC)
        self._visits = [self._visit(*visit) for visit in visits(self.company)]
        self.people = {known.hem: known for known in everybody(self.company)}
        by_person: dict[tuple[str, str], str] = {}
        by_company: dict[tuple[str, str], set[str]] = {}
        for interest in interests(self.company, self.built):
            if interest.who:
                by_person[interest.topic, interest.who.hem] = interest.who.email
            if interest.domain:
                whom = interest.who.hem if interest.who else f"somebody at {interest.at}"
                by_company.setdefault((interest.topic, interest.domain), set()).add(whom)
        self._told = {
            PEOPLE: [Researcher(*key, percentile(*key), email) for key, email in by_person.items()],
            COMPANIES: [Researcher(*key, percentile(*key), people=len(who)) for key, who in by_company.items()],
        }

    # What tests put in -----------------------------------------------------------------------------------------------

    def research(self, topic: str, *emails: str) -> list[str]:
        """These people research the topic from now on, and are told of. Returns their digests."""
        with self.lock:
            self._change()
            for email in emails:
                found = Researcher(topic, hem_of(email), 99, email)
                self._added[PEOPLE][topic, found.key] = found
            return [hem_of(email) for email in emails]

    def edit(self, topic: str, hem: str, **values: Any) -> None:
        with self.lock:
            self._change()
            self._added[PEOPLE][topic, hem].extra |= values

    def drop_field(self, name: str) -> None:
        with self.lock:
            self._change()
            for found in self._added[PEOPLE].values():
                found.extra.pop(name, None)

    def _change(self) -> None:
        self.tick()
        self.built = self.now

    # What the API shows ----------------------------------------------------------------------------------------------

    def researchers(self, about: str, topic: str, *, high_only: bool) -> list[Researcher]:
        """The strongest first; companies by how many people of theirs research."""
        everyone: Iterable[Researcher] = [*self._told[about], *self._added[about].values()]
        found = [one for one in everyone if one.topic == topic and (one.score == "high" or not high_only)]
        return sorted(found, key=rank)

    def row(self, about: str, one: Researcher, *, resolved: bool) -> Row:
        if about == COMPANIES:
            told: Row = {"domain": one.key, "people_count": one.people}
        else:
            told = {"hem": one.key}
        told |= {"score": one.score, "perc_score": one.percentile}
        if resolved and one.email:
            told["seen_email"] = one.email
        return told | one.extra

    def visits(self, start: int, end: int) -> list[Row]:
        """Of people with a name who came to the website, both bounds included."""
        return [visit for visit in self._visits if start <= visit["timestamp_ms"] <= end]

    def _visit(self, activity: Activity, who: Known) -> Row:
        at = round(datetime.fromisoformat(activity.occurred_at).timestamp() * 1000)
        event = {"event_id": activity.id, "event_type": "page_view", "timestamp_ms": at, "resolved": True}
        return event | self.contact(who)

    def contact(self, known: Known) -> Row:
        """No field tells by which address it was asked for but those that hold addresses."""
        return {
            "first_name": known.first_name,
            "last_name": known.last_name,
            "job_title": known.title,
            "seniority_level": None,
            "department": None,
            "company_name": known.company,
            "company_domain": known.domain,
            "current_business_email": known.email,
            "business_emails": [known.email],
        }


def rank(one: Researcher) -> tuple[int, int, str]:
    return -one.people, -one.percentile, one.key
