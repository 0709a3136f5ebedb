"""An instance of Clerk: its organisations, its users, who belongs to what, and an event for all that happens."""

import base64
import hmac
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

import orjson

SECRET_KEY = "sk_test_sandbox"  # pragma: allowlist secret
SIGNING_SECRET = "whsec_" + base64.b64encode(b"what the sandbox signs with").decode()  # pragma: allowlist secret


@dataclass
class Organisation:
    id: str
    name: str
    slug: str | None
    created_at: int
    private_metadata: dict[str, Any] = field(default_factory=dict)
    # by user
    roles: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Event:
    id: str
    kind: str
    data: dict[str, Any]

    def signed(self, at: datetime, secret: str = SIGNING_SECRET) -> tuple[dict[str, str], bytes]:
        """Headers and body as they are sent."""
        body = orjson.dumps({"type": self.kind, "object": "event", "data": self.data})
        sent_at = str(int(at.timestamp()))
        key = base64.b64decode(secret.removeprefix("whsec_"))
        signature = base64.b64encode(hmac.digest(key, f"{self.id}.{sent_at}.".encode() + body, "sha256")).decode()
        return {"svix-id": self.id, "svix-timestamp": sent_at, "svix-signature": f"v1,{signature}"}, body


@dataclass
class Refusal:
    """What the next so many calls are answered with."""

    status: int
    times: int
    retry_after: int | None = None


class World:
    """Everything is by order of creation. Ids are made of the seed and of names: the same story gives the same ids."""

    def __init__(self, secret_key: str = SECRET_KEY, seed: str = "") -> None:
        self.secret_key, self.seed = secret_key, seed
        self.organisations: dict[str, Organisation] = {}
        self.events: list[Event] = []
        self.refusals: list[Refusal] = []
        # method and path with query of each call, and the status it got
        self.calls: list[tuple[str, str, int]] = []
        self.now = datetime(2026, 11, 2, 8, tzinfo=UTC)

    # ── what people do ──

    def found(self, name: str, *, slug: str | None = None, private_metadata: dict[str, Any] | None = None) -> str:
        """A new organisation. Returns its id."""
        organisation_id = f"org_{self._id(f'{name} {len(self.events)}')}"
        organisation = Organisation(organisation_id, name, slug, self._moment(), private_metadata or {})
        self.organisations[organisation_id] = organisation
        self._tell("organization.created", self.shown(organisation))
        return organisation_id

    def rename(self, organisation_id: str, name: str) -> None:
        self.organisations[organisation_id].name = name
        self._tell("organization.updated", self.shown(self.organisations[organisation_id]))

    def describe(self, organisation_id: str, private_metadata: dict[str, Any]) -> None:
        self.organisations[organisation_id].private_metadata = private_metadata
        self._tell("organization.updated", self.shown(self.organisations[organisation_id]))

    def dissolve(self, organisation_id: str) -> None:
        del self.organisations[organisation_id]
        self._tell("organization.deleted", {"id": organisation_id, "object": "organization", "deleted": True})

    def join(self, organisation_id: str, email: str, role: str) -> str:
        """Returns the user's id; whoever is a member already gets another role."""
        organisation, user = self.organisations[organisation_id], f"user_{self._id(email)}"
        kind = "updated" if user in organisation.roles else "created"
        organisation.roles[user] = role
        self._tell(f"organizationMembership.{kind}", self.membership(organisation, user))
        return user

    def leave(self, organisation_id: str, user: str) -> None:
        organisation = self.organisations[organisation_id]
        told = self.membership(organisation, user)
        del organisation.roles[user]
        self._tell("organizationMembership.deleted", told)

    def refuse(self, status: int, *, times: int = 1, retry_after: int | None = None) -> None:
        self.refusals.append(Refusal(status, times, retry_after))

    # ── how it is told ──

    def refusal(self) -> Refusal | None:
        """What this call is refused with, if it is."""
        if not self.refusals:
            return None
        first = self.refusals[0]
        first.times -= 1
        if first.times <= 0:
            self.refusals.pop(0)
        return first

    def shown(self, organisation: Organisation) -> dict[str, Any]:
        return {
            "object": "organization",
            "id": organisation.id,
            "name": organisation.name,
            "slug": organisation.slug,
            "members_count": len(organisation.roles),
            "max_allowed_memberships": 5,
            "public_metadata": {},
            "private_metadata": organisation.private_metadata,
            "created_at": organisation.created_at,
            "updated_at": organisation.created_at,
        }

    def memberships(self, organisation_id: str) -> Iterator[dict[str, Any]]:
        organisation = self.organisations[organisation_id]
        return (self.membership(organisation, user) for user in organisation.roles)

    def membership(self, organisation: Organisation, user: str) -> dict[str, Any]:
        return {
            "object": "organization_membership",
            "id": f"orgmem_{self._id(organisation.id + user)}",
            "role": organisation.roles[user],
            "public_metadata": {},
            "organization": self.shown(organisation),
            "public_user_data": {"user_id": user, "first_name": None, "last_name": None, "image_url": ""},
            "created_at": organisation.created_at,
            "updated_at": organisation.created_at,
        }

    def _tell(self, kind: str, data: dict[str, Any]) -> None:
        self.events.append(Event(f"msg_{self._id(f'{kind} {len(self.events)}')}", kind, data))

    def _moment(self) -> int:
        return int(self.now.timestamp() * 1000) + len(self.events)

    def _id(self, text: str) -> str:
        return sha256(f"{self.seed} {text}".encode()).hexdigest()[:24]
