"""What the contract suite needs of a source: records that it can make, change and take away, and what is true of them.

A connector joins the suite with one such driver, listed in `drivers.py`. Whatever its source cannot have stands in
`cannot`, with the reason: those tests are not made for it, and one test holds that the reason is a sentence.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, Literal, Protocol, get_args

import pytest

from connectors.contract import ConnectorError, State
from sandbox.salesforce.faults import Faults

Capability = Literal[
    "delete",  # the source tells that a record is gone, and that it is back
    "new field",  # a field that a stream gains comes along with its records
    "late stamp",  # a record may appear with a stamp from before the last read
    "resume",  # a read that was cut short goes on from its last page
    "trouble",  # the source can fail in every way that has an error class
]
CAPABILITIES: tuple[Capability, ...] = get_args(Capability)


@dataclass(frozen=True, slots=True)
class Truth:
    """A record as raw must hold it in the end."""

    payload: Mapping[str, Any]
    is_deleted: bool = False


@dataclass(frozen=True, slots=True)
class Trouble:
    """A way in which the source itself fails while `lasts` is open, and what whoever has to act must then read."""

    leads_to: type[ConnectorError]
    lasts: AbstractContextManager[None]
    says: str


@contextmanager
def failing(faults: Faults, kind: str) -> Iterator[None]:
    """Every request to a vendor of the sandbox goes wrong in this way."""
    faults.rates = {kind: 1.0}
    yield
    faults.clear()


@contextmanager
def being(vendor: object, **settings: Any) -> Iterator[None]:
    """A vendor of the sandbox is otherwise than it was."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in settings.items():
            patch.setattr(vendor, name, value)
        yield


class Driver(Protocol):
    """A source with records of its own, made anew for each test."""

    connector: str
    stream: str
    named: str  # the field that `change` writes

    def config(self) -> dict[str, Any]:
        """The configuration with which the connector reads this source, in pages as small as it can have them."""
        ...

    def page_size(self) -> int: ...

    def add(self, count: int, *, one_stamp: bool = False) -> list[str]:
        """New records; returns their ids."""
        ...

    def add_late(self) -> str:
        """A new record with a stamp from before the last read, within the overlap."""
        ...

    def change(self, record_id: str, value: str) -> None: ...

    def truth(self) -> dict[str, Truth]:
        """Every record of the stream, as raw must hold it once everything that happened has been read."""
        ...

    def states_of_older_versions(self) -> Sequence[State]:
        """What an older version of the connector, or a mistaken one, may have left as the state of the stream."""
        ...

    def troubles(self) -> Sequence[Trouble]: ...


class Deleting(Driver, Protocol):
    """One that can "delete"."""

    def delete(self, record_id: str) -> None: ...

    def restore(self, record_id: str) -> None: ...


class GainingFields(Driver, Protocol):
    """One that can have a "new field"."""

    def add_field(self, name: str, record_id: str, value: str) -> None:
        """A new field of the stream, with a value in this one record."""
        ...

    def remove_field(self, name: str) -> None:
        """The field is gone, together with what it held."""
        ...
