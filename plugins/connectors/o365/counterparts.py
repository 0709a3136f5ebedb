"""Whom a mail or a meeting was with, as far as it is allowed to know."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

LONGEST_NAME = 200
LONGEST_ADDRESS = 320


@dataclass(frozen=True, slots=True)
class Counterpart:
    address: str
    domain: str
    name: str | None
    part: str  # the part that they have in it: from, to, organizer, attendee
    response: str | None = None

    @property
    def digest(self) -> str:
        return digest(self.address)


def digest(address: str) -> str:
    """Stands for an address where the address itself must not stand."""
    return blake2b(address.encode(), digest_size=8).hexdigest()


class Allowlist:
    """Addresses at the allowed domains, without the tenant's own. A domain stands for itself, not for those below."""

    def __init__(self, allowed: Collection[str], own: Iterable[str]) -> None:
        self._own = {domain for name in own if (domain := _ascii(name))}
        self._allowed = {domain for name in allowed if (domain := _ascii(name))} - self._own

    def __bool__(self) -> bool:
        return bool(self._allowed)

    def is_own(self, recipient: Any) -> bool:
        return _split(_address_of(recipient))[1] in self._own

    def counterparts(self, recipients: Iterable[Any], part: str) -> Iterator[Counterpart]:
        for recipient in recipients:
            address, domain = _split(_address_of(recipient))
            if domain in self._allowed and len(address) <= LONGEST_ADDRESS:
                name = _text(_mail(recipient).get("name"))
                response = recipient.get("status", {}) or {}
                yield Counterpart(
                    address,
                    domain,
                    # Exchange writes the address where it knows no name
                    None if not name or "@" in name else name[:LONGEST_NAME],
                    part,
                    _text(response.get("response")) if isinstance(response, Mapping) else None,
                )


def once_each(counterparts: Iterable[Counterpart]) -> list[Counterpart]:
    """Each address once, in the part that comes first."""
    found: dict[str, Counterpart] = {}
    for counterpart in counterparts:
        found.setdefault(counterpart.address, counterpart)
    return list(found.values())


def _address_of(recipient: Any) -> str:
    return (_text(_mail(recipient).get("address")) or "").lower()


def _mail(recipient: Any) -> Mapping[str, Any]:
    inner = recipient.get("emailAddress") if isinstance(recipient, Mapping) else None
    return inner if isinstance(inner, Mapping) else {}


def _split(address: str) -> tuple[str, str]:
    """The address with its domain as the DNS writes it, and that domain; nothing for what is no address."""
    local, at, host = address.rpartition("@")
    domain = _ascii(host)
    if not (at and local and domain) or any(letter.isspace() for letter in local):
        return "", ""
    return f"{local}@{domain}", domain


def _ascii(domain: str) -> str:
    try:
        return domain.strip().rstrip(".").lower().encode("idna").decode()
    except UnicodeError:
        return ""


def _text(value: Any) -> str | None:
    return value.strip() or None if isinstance(value, str) else None
