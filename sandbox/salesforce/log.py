"""What the sandbox was asked and what it told: the witness of every test."""

from dataclasses import asdict, dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlencode

SECRETS = frozenset({"access_token", "refresh_token", "client_secret", "assertion", "password", "code", "sid"})


@dataclass(frozen=True, slots=True)
class Write:
    """One record that an API call created, changed or deleted, with the fields it named before and after."""

    entity: str
    id: str
    operation: str
    before: dict[str, Any]
    after: dict[str, Any]


@dataclass(slots=True)
class Call:
    """`fault` is what went wrong on the wire on purpose; the status is the one that was sent, 0 if none was."""

    number: int
    at: str
    method: str
    path: str
    query: str
    about: str = ""
    status: int = 0
    error: str = ""
    rows_given: int = 0
    fault: str = ""
    writes: list[Write] = field(default_factory=list)


@dataclass(slots=True)
class Log:
    calls: list[Call] = field(default_factory=list)

    def begin(self, at: str, method: str, path: str, query: str) -> Call:
        shown = urlencode([(key, "***" if key.lower() in SECRETS else value) for key, value in parse_qsl(query)])
        call = Call(len(self.calls) + 1, at, method, path, shown)
        self.calls.append(call)
        return call

    @property
    def writes(self) -> list[Write]:
        return [write for call in self.calls for write in call.writes]

    def of(self, part: str, method: str | None = None) -> list[Call]:
        """The calls whose path holds this."""
        return [call for call in self.calls if part in call.path and method in (None, call.method)]

    def clear(self) -> None:
        self.calls.clear()

    def as_json(self) -> list[dict[str, Any]]:
        return [asdict(call) for call in self.calls]
