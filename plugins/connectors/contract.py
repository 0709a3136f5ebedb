"""What a connector is, and what passes between it and the platform.

A connector is a folder named after the product, with `streams.py` (STREAMS: what can be read) and `client.py`
(Client: how). It knows no database: it yields pages, someone else lands them. State is opaque to everyone but the
connector that made it.

`streams.py` also says which fields of the configuration are secret: SECRETS = ("client_secret", "refresh_token"), or
() if none is. They can be given without standing in a file, are kept when the rest is configured anew, may be rotated
by the vendor, and are shown as ***. Of a connector that does not say, every field is taken for a secret.

BEHIND_CONSENT = True there says that the tenant has to allow what is read: the client is then made with a Consent.
ASKS_ABOUT_PEOPLE = True says that the vendor is asked about those whom the tenant knows: the client is then made with
Acquaintances.

Errors are classes by what to do next:

    ConnectorError
    ├── Retry            the same call again, soon
    ├── WaitUntil        the same call again, at a time that the vendor names
    ├── Reauthorise      a person has to log in again or to grant a permission
    ├── ResetState       the vendor no longer knows our state: read the stream again from the start
    ├── RecordRejected   one record is refused, the others go on
    └── Fatal            nothing helps but changing the configuration or the source
"""

from collections.abc import AsyncIterator, Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from re import fullmatch
from typing import Any, Literal, Protocol

State = Mapping[str, Any]

Deletes = Literal[
    "flag",  # a deleted record is delivered once more, marked as deleted
    "absent",  # a record that a full read no longer holds is deleted
    "never",  # the source does not tell
]


class ConnectorError(Exception):
    """One sentence for the person who has to act: what is wrong and what to do."""


class Retry(ConnectorError):
    pass


class WaitUntil(ConnectorError):
    def __init__(self, message: str, until: datetime) -> None:
        super().__init__(message)
        self.until = until


class Reauthorise(ConnectorError):
    pass


class ResetState(ConnectorError):
    pass


@contextmanager
def understood(state: State, *versions: int | None) -> Iterator[None]:
    """Around reading what a connector kept: ResetState unless it is of one of these versions and whole. Reading a
    stream twice is better than leaving something out."""
    try:
        if state.get("version") not in versions:
            raise KeyError("version")
        yield
    except (AttributeError, KeyError, TypeError, ValueError):
        raise ResetState("what was kept of the last sync is not of this version of the connector") from None


class RecordRejected(ConnectorError):
    pass


class Fatal(ConnectorError):
    pass


@dataclass(frozen=True, slots=True)
class Stream:
    """The declaration of one kind of record. One that would lose data raises, so it cannot even be imported.

    `overlap` is how far behind the saved cursor the next read starts: vendors deliver late, and stamps do not come in
    the order of commits.
    """

    name: str
    primary_key: str
    cursor: str | None = None
    overlap: timedelta | None = None
    deletes: Deletes = "never"

    def __post_init__(self) -> None:
        def refuse(reason: str) -> None:
            raise ValueError(f"stream {self.name!r} {reason}")

        if not fullmatch(r"[a-z][a-z0-9_]{0,30}", self.name):
            refuse("needs a name of lower case letters, digits and underscores, 31 at most: it names a table")
        if not self.primary_key:
            refuse("has no primary key: versions of a record could not be told apart and would overwrite each other")
        if self.cursor and not self.overlap:
            refuse("has a cursor without an overlap: records that the vendor stamps late would be skipped")
        if self.overlap is not None and (self.cursor is None or self.overlap <= timedelta(0)):
            refuse("has an overlap that overlaps nothing: it needs a cursor and a positive duration")
        if self.cursor and self.deletes == "absent":
            refuse("takes absence for deletion but reads only what changed: everything else would be deleted")


@dataclass(frozen=True, slots=True)
class Record:
    """One version of one thing, as the source tells it."""

    id: str
    payload: Mapping[str, Any]
    source_updated_at: datetime | None = None
    is_deleted: bool = False


@dataclass(frozen=True, slots=True)
class Rejected:
    """What could not be read as a record: where it stood, why it was refused, and all that is known of it."""

    position: str
    reason: str
    raw: Any
    record_id: str | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """About whom a vendor who is paid by the person was asked, also where it knew nobody: not again before `until`."""

    digests: Sequence[str]  # SHA-256 of the addresses in lower case
    until: datetime


@dataclass(frozen=True, slots=True)
class Page:
    """Some records, and the state to go on from once they are committed. `notes` are for whoever reads the sync log.

    `completes` stands on the last page of a reading of everything: how many records that reading held, resumed or not.
    It is what the next such reading is measured against. Where absence means deletion, the whole reading must have come
    from one call of `pages`, and only its last page moves the state.
    """

    records: Sequence[Record]
    state: State | None
    rejected: Sequence[Rejected] = ()
    notes: Sequence[str] = ()
    completes: int | None = None
    asked: Asked | None = None


@dataclass(frozen=True, slots=True)
class Health:
    """Whether a sync can work, and if not, what is wrong and what to do."""

    ok: bool
    message: str
    is_blocked: bool = False  # not by a failure: the tenant has not allowed it


@dataclass(frozen=True, slots=True)
class Consent:
    """What a tenant allows to be read of what its people write and say; nothing, unless somebody has said so."""

    accepted: bool = False
    domains: frozenset[str] = frozenset()
    own_domain: str | None = None


@dataclass(frozen=True, slots=True)
class Target:
    """What the vendor says of a field that a score may go into.

    `scale` is how many places a number keeps, `length` how many characters a text; `values` are the only ones that a
    list takes, as it spells them. `refusal` is why nothing can be written there, in words that follow the field's name.
    """

    kind: Literal["number", "text", "list", "moment", "day", "other"]
    length: int | None = None
    scale: int | None = None
    values: Sequence[str] = ()
    refusal: str = ""


@dataclass(frozen=True, slots=True)
class Shown:
    """What a record shows at this moment, in the fields that were asked for."""

    record_id: str
    values: Mapping[str, Any]
    version: str  # the vendor's mark of it; later versions have greater ones
    changed_by: str | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """What a record that exists is to show from now on."""

    record_id: str
    values: Mapping[str, Any]


Outcome = Literal[
    "written",
    "busy",  # somebody else holds it: again, a little later
    "gone",  # deleted
    "forbidden",  # `fields` of it may not be written, by nobody's rule about this record: the others may
    "rejected",  # the vendor refuses these values for this record
]


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of one change. `code` is the vendor's word, `message` the vendor's sentence."""

    record_id: str
    outcome: Outcome
    code: str = ""
    message: str = ""
    fields: Sequence[str] = ()


class Renew(Protocol):
    """The way to new secrets for a client whose present ones have expired or are replaced by the vendor.

    Blocks; to be called in a thread. Of all processes that come with the same stale secrets one asks the vendor, with
    the present configuration, and its answer is kept before anybody sees it. Returns the configuration to go on with.
    """

    def __call__(
        self, *, stale: Mapping[str, str], ask_vendor: Callable[[Mapping[str, Any]], Mapping[str, str]]
    ) -> Mapping[str, Any]: ...


class Acquaintances(Protocol):
    """Whom a tenant knows by address, for a vendor who is paid by the person. Blocks; to be called in a thread."""

    def due(self, most: int) -> Sequence[str]:
        """Addresses in lower case about which the vendor was never asked, or long enough ago; always in one order."""
        ...

    def how_many_are_due(self) -> int: ...


class Connector(Protocol):
    """Made as `Client(config, renew)`, which calls nobody; raises Fatal if the configuration is wrong.

    Without `renew` it keeps no secret that the vendor rotates: enough to check a configuration, not for a sync. One
    that stands behind the tenant's consent is given it as `consent=` and without it reads nothing; one that is asked
    about people is given `acquaintances=` and without them asks about nobody.
    """

    @property
    def streams(self) -> Sequence[Stream]:
        """Those that this configuration reads. They stand in the catalogue too, where they may declare less."""
        ...

    async def check(self) -> Health:
        """Cheap: one call at most."""
        ...

    def pages(self, stream: Stream, state: State | None) -> AsyncIterator[Page]:
        """What changed since `state`, everything without one. Reads at least once: landing drops what is known.

        The next page is fetched while one lands: what follows a `yield` runs before its page is committed.
        """
        ...

    def replay(self, stream: Stream, raw: Any, record_id: str | None) -> Record | Rejected:
        """Try once more what was refused, from what Rejected, or the refused Record's payload, had kept of it."""
        ...


@dataclass(frozen=True, slots=True)
class Cost:
    """What a sync would buy of a stream now: so many of the vendor's records, at most where `is_ceiling`."""

    stream: str
    what: str
    records: int
    is_ceiling: bool
    price: str = ""  # in money, where the vendor names it


class Charging(Protocol):
    """A Connector whose vendor is paid by the record."""

    @property
    def most_records(self) -> int:
        """What one sync may buy."""
        ...

    async def costs(self, stream: Stream, state: State | None) -> Sequence[Cost]:
        """Buys nothing."""
        ...


class Hears(Protocol):
    """A Connector that understands what its vendor's webhooks tell."""

    def heard(self, event: Any) -> Iterable[tuple[str, Record | Rejected]]:
        """The records that an event tells of, each with the name of its stream; none if it is about something else.

        As a later reading would bring them: the same ids, and stamps that put both in their order. Calls nobody.
        """
        ...


class Writer(Protocol):
    """The other side of a connector that takes something back: what its `async with client.writer()` gives.

    It updates records that exist and creates none. A Retry out of `write` means that it is not known what was carried
    out: whoever asked looks at the records first.
    """

    def streams(self, entity: str) -> Sequence[str]:
        """The kinds of record that show scores of `accounts`, `people` or `opportunities`."""
        ...

    async def targets(self, stream: str, fields: Collection[str]) -> Mapping[str, Target]:
        """What there is of these fields to write into. One that does not exist is not in the answer."""
        ...

    def at_once(self, count: int) -> int:
        """How many records to look at, and then to write, in one go, if there are so many in all."""
        ...

    def shown(self, stream: str, fields: Sequence[str], record_ids: Sequence[str]) -> AsyncIterator[Shown]:
        """What these records show now. A deleted one is left out."""
        ...

    def write(self, stream: str, changes: list[Change], ticket: Callable[[str], None]) -> AsyncIterator[Receipt]:
        """Write them, one receipt each. Takes the list over: nobody else may look into it afterwards.

        `ticket` is told of a job at the vendor before the vendor begins with it.
        """
        ...

    async def end_of(self, ticket: str) -> None:
        """Come back when the vendor works on this job no more."""
        ...


class Writable(Protocol):
    """A Connector whose product takes something back."""

    def writer(self) -> AbstractAsyncContextManager[Writer]: ...
