"""One Customer.io workspace in memory: its people, messages and log, its clock, and what happens behind an API's back.

The clock stands still unless it is told to advance. What is shown is what had happened by then: of a message, its
metrics so far; of the log, the last thirty days.
"""

from base64 import b64encode
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sandbox.companies import Company
from sandbox.customerio import world
from sandbox.customerio.world import CAMPAIGNS, NEWSLETTERS, Done, Sent
from sandbox.view import View

LOG_IS_KEPT = 30 * 24 * world.HOUR
EVERYBODY = 7
# when campaigns, newsletters and segments were made, in seconds
MADE = 1_700_000_000

Row = dict[str, Any]


@dataclass
class Profile:
    id: str | None
    email: str | None
    created: int
    attributes: dict[str, Any]
    timestamps: dict[str, int]
    unsubscribed: bool = False
    segments: set[int] = field(default_factory=lambda: {EVERYBODY})


@dataclass
class Delivery:
    cio_id: str
    created: int
    metrics: dict[str, int]
    human: dict[str, int]  # when a person did it, who may come after a machine
    campaign: str
    subject: str
    touched: int = 0  # changed by hand, later than any metric


@dataclass(frozen=True)
class Entry:
    id: str
    cio_id: str
    type: str
    name: str
    at: int
    data: Mapping[str, Any]


class Workspace(View):
    ahead = timedelta(days=4)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.api_key = "sandbox-app-key"
        self.is_forbidden = False
        self.profiles: dict[str, Profile] = {}
        self.gone: dict[str, Profile] = {}
        self.deliveries: dict[str, Delivery] = {}
        self.log: dict[str, Entry] = {}
        self.segments: dict[int, Row] = {
            EVERYBODY: {"id": EVERYBODY, "name": "Everybody", "type": "dynamic", "state": "finished"}
        }
        self._edited: dict[str, dict[str, Any]] = {}
        self._numbers = 0
        self._tell()

    def _tell(self, _before: Company | None = None) -> None:
        known = {}
        for person in self.company.people:
            if not world.is_known(person):
                continue
            who = known[person.id] = world.cio_id(self.seed, person)
            if who not in self.profiles and who not in self.gone:
                at = int(datetime.fromisoformat(person.updated_at).timestamp())
                about = world.attributes(person)
                self.profiles[who] = Profile(person.id, person.email, at, about, dict.fromkeys(about, at))
                self._note(f"made/{who}", who, "profile_create", "", at)
        for told in world.doings(self.company):
            match told:
                case Sent() if _delivery_id(told.id) not in self.deliveries:
                    subject = f"{told.campaign}: für {told.person_id}"
                    self.deliveries[_delivery_id(told.id)] = Delivery(
                        known[told.person_id],
                        told.created,
                        dict(told.metrics),
                        {metric: told.metrics[metric] for metric in told.human},
                        told.campaign,
                        subject,
                    )
                case Done():
                    self._note(told.id, known[told.person_id], told.type, told.name, told.at, told.data)

    def _note(self, name: str, who: str, kind: str, about: str, at: int, data: Mapping[str, Any] | None = None) -> str:
        entry = Entry(_entry_id(name), who, kind, about, at, data or {})
        self.log.setdefault(entry.id, entry)
        return entry.id

    # What people and programs do -------------------------------------------------------------------------------------

    def add_person(self, email: str | None, *, ago: int = 0, **attributes: Any) -> str:
        """Somebody who was made so many seconds ago and is shown from now on."""
        with self.lock:
            self._numbers += 1
            at, who = self.tick() - ago, f"f{self._numbers:011x}"
            self.profiles[who] = Profile(
                f"made-{self._numbers}", email, at, dict(attributes), dict.fromkeys(attributes, at)
            )
            self._note(f"made/{who}", who, "profile_create", "", at)
            return who

    def add_people(self, count: int) -> list[str]:
        """Many at one moment, as an import makes them."""
        with self.lock:
            made = [self.add_person(f"{self.seed}-{self._numbers}@import.example") for _ in range(count)]
            at = self.tick()
            for who in made:
                self.profiles[who].attributes["first_name"] = f"Person {who}"
                self.profiles[who].timestamps["first_name"] = at
            return made

    def set_attribute(self, who: str, name: str, value: Any) -> None:
        with self.lock:
            at = self.tick()
            self.profiles[who].attributes[name] = value
            self.profiles[who].timestamps[name] = at
            self._note(f"set/{who}/{at}", who, "attribute_change", "", at)

    def drop_attribute(self, name: str) -> None:
        """Of everybody, as when a customer tidies up; each of them is noted as changed."""
        with self.lock:
            at = self.tick()
            for who, profile in self.profiles.items():
                if profile.attributes.pop(name, None) is not None:
                    profile.timestamps.pop(name)
                    self._note(f"drop/{who}/{at}", who, "attribute_change", "", at)

    def set_email(self, who: str, email: str) -> None:
        with self.lock:
            at = self.tick()
            self.profiles[who].email = email
            self._note(f"email/{who}/{at}", who, "attribute_change", "", at)

    def delete_person(self, who: str) -> None:
        with self.lock:
            self.gone[who] = self.profiles.pop(who)
            self._note(f"gone/{who}", who, "profile_delete", "", self.tick())

    def send(self, who: str, *, ago: int = 0, subject: str = "A mail", campaign: str = "newsletter") -> str:
        """A message that was made so many seconds ago and is shown from now on."""
        with self.lock:
            self._numbers += 1
            created = self.tick() - ago
            message = _delivery_id(f"by hand/{self._numbers}")
            self.deliveries[message] = Delivery(
                who, created, {"created": created, "sent": created}, {}, campaign, subject, self.seconds
            )
            return message

    def send_many(self, who: str, count: int) -> list[str]:
        """Messages of one moment."""
        with self.lock:
            made = [self.send(who) for _ in range(count)]
            at = self.tick()
            for message in made:
                delivery = self.deliveries[message]
                delivery.created, delivery.metrics, delivery.touched = at, {"created": at, "sent": at}, at
            return made

    def happen(self, message: str, metric: str, *, by_machine: bool = False) -> None:
        """Something becomes of a message now: opened, clicked, bounced, unsubscribed, spammed."""
        with self.lock:
            at = self.tick()
            delivery = self.deliveries[message]
            delivery.metrics.setdefault(metric, at)
            if not by_machine and metric in ("opened", "clicked"):
                delivery.human.setdefault(metric, at)
            delivery.touched = at

    def edit_message(self, message: str, **values: Any) -> None:
        """Any field of a message as it is shown."""
        with self.lock:
            self._edited.setdefault(message, {}).update(values)
            self.deliveries[message].touched = self.tick()

    def drop_message_field(self, name: str) -> None:
        """What was edited into messages is gone again."""
        with self.lock:
            at = self.tick()
            for message, values in self._edited.items():
                if values.pop(name, None) is not None:
                    self.deliveries[message].touched = at

    def act(self, who: str, kind: str, name: str, *, ago: int = 0, **data: Any) -> str:
        with self.lock:
            self._numbers += 1
            return self._note(f"act/{self._numbers}", who, kind, name, self.tick() - ago, data)

    # What the API shows ----------------------------------------------------------------------------------------------

    def people(self) -> list[str]:
        """Those who are there by now."""
        return sorted(who for who, profile in self.profiles.items() if profile.created <= self.seconds)

    def identifiers(self, who: str) -> Row:
        profile = self.profiles.get(who) or self.gone[who]
        return {"email": profile.email, "id": profile.id, "cio_id": who}

    def person(self, who: str) -> Row:
        profile = self.profiles[who]
        return {
            "id": profile.id,
            "identifiers": self.identifiers(who),
            "attributes": {
                **profile.attributes,
                "cio_id": who,
                "_last_emailed": str(self._last_emailed(who)),
            },
            "timestamps": {**profile.timestamps, "cio_id": profile.created, "_last_emailed": self.seconds},
            "unsubscribed": profile.unsubscribed,
            "devices": [],
        }

    def messages(self) -> Iterator[tuple[int, str]]:
        """When each was made that was made by now, and its id."""
        for message, delivery in self.deliveries.items():
            if delivery.created <= self.seconds:
                yield delivery.created, message

    def message(self, message: str) -> Row:
        delivery = self.deliveries[message]
        metrics = {name: at for name, at in delivery.metrics.items() if at <= self.seconds}
        changed = max(delivery.touched, *metrics.values())
        metrics |= {f"human_{name}": at for name, at in delivery.human.items() if at <= self.seconds}
        identifiers = self.identifiers(delivery.cio_id)
        return {
            "id": message,
            "deduplicate_id": f"{message}:{changed}",
            "type": "email",
            "customer_id": identifiers["id"],
            "customer_identifiers": identifiers,
            "recipient": identifiers["email"],
            "subject": delivery.subject,
            "metrics": metrics,
            "created": delivery.created,
            "failure_message": None,
            "campaign_id": CAMPAIGNS.get(delivery.campaign),
            "newsletter_id": NEWSLETTERS.get(delivery.campaign),
        } | self._edited.get(message, {})

    def entries(self, kind: str, *, of_deleted: bool) -> Iterator[tuple[int, str]]:
        """When each line of the log that is still kept was written, and its id."""
        for entry in self.log.values():
            is_shown = entry.type == kind and self.seconds - LOG_IS_KEPT <= entry.at <= self.seconds
            if is_shown and (entry.cio_id in self.gone) == of_deleted:
                yield entry.at, entry.id

    def entry(self, id: str) -> Row:
        entry = self.log[id]
        identifiers = self.identifiers(entry.cio_id)
        shown = {
            "id": id,
            "customer_id": identifiers["id"],
            "customer_identifiers": identifiers,
            "type": entry.type,
            "timestamp": entry.at,
            "data": dict(entry.data),
        }
        if entry.type == "page":
            return shown | {"url": entry.name, "name": entry.name}
        return shown | {"name": entry.name} if entry.name else shown

    def things(self, kind: str) -> list[Row]:
        """Campaigns, newsletters or segments."""
        if kind == "segments":
            return [
                {**row, "deduplicate_id": f"{id}:{MADE}", "created_at": MADE, "updated_at": MADE}
                for id, row in self.segments.items()
            ]
        names = CAMPAIGNS if kind == "campaigns" else NEWSLETTERS
        return [
            {
                "id": id,
                "deduplicate_id": f"{id}:{MADE + id}",
                "name": name,
                "created": MADE,
                "updated": MADE + id,
                "tags": ["sandbox"],
            }
            for name, id in names.items()
        ]

    def _last_emailed(self, who: str) -> int:
        return self.seconds - int(who[-1], 16)


def _delivery_id(name: str) -> str:
    """As the vendor's look: base64 with all that has to be encoded in an address."""
    return b64encode(f"dg+{name}".encode()).decode()


def _entry_id(name: str) -> str:
    return b64encode(name.encode()).decode().rstrip("=")
