"""A Salesforce org of the sandbox, behind a real server: read by REST in pages of 200, or by Bulk in pages of three."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from connectors.contract import Fatal, Reauthorise, Retry, State, WaitUntil
from sandbox.salesforce import Org, Served, serve
from tests.connectors.contract_suite.driver import Capability, Trouble, Truth

CANNOT: Mapping[Capability, str] = {}

# What a person would wait for in seconds, a test has in hundredths.
QUICK: Mapping[str, Any] = {"timeout_seconds": 0.5, "backoff_seconds": 0.01, "attempts": 3}
ENTITY = "Account"


def login(served: Served) -> dict[str, Any]:
    return {
        "auth": "client_credentials",
        "login_url": served.url,
        "client_id": served.org.identity.client_id,
        "client_secret": served.org.identity.client_secret,
    }


class Salesforce:
    connector, stream, named = "salesforce", "accounts", "Name"

    def __init__(self, served: Served, *, bulk: bool) -> None:
        self.served, self.org, self.bulk = served, served.org, bulk

    def config(self) -> dict[str, Any]:
        pages = {"bulk_above": 0, "bulk_page_size": 3} if self.bulk else {"page_size": 200}
        return {**login(self.served), **QUICK, **pages, "streams": ["accounts", "users"], "lag_seconds": 1}

    def page_size(self) -> int:
        return 3 if self.bulk else 200

    def add(self, count: int, *, one_stamp: bool = False) -> list[str]:
        ids = [self.org.create(ENTITY, Name=f"Account {number}") for number in range(count)]
        if one_stamp:
            self.org.bulk_edit(ENTITY, ids, Industry="Software")
        # out of the overlap: whatever is read again after this is read again for a reason
        self.org.advance(seconds=3600)
        return ids

    def add_late(self) -> str:
        record_id = self.org.late_stamp(ENTITY, seconds=300, Name="Late")
        self._later()
        return record_id

    def change(self, record_id: str, value: str) -> None:
        self.org.edit(ENTITY, record_id, Name=value)
        self._later()

    def delete(self, record_id: str) -> None:
        self.org.delete(ENTITY, record_id)
        self._later()

    def restore(self, record_id: str) -> None:
        self.org.undelete(ENTITY, record_id)
        self._later()

    def add_field(self, name: str, record_id: str, value: str) -> None:
        self.org.add_field(ENTITY, name)
        values: dict[str, Any] = {name: value}
        self.org.edit(ENTITY, record_id, **values)
        self._later()

    def remove_field(self, name: str) -> None:
        self.org.remove_field(ENTITY, name)
        self._later()

    def truth(self) -> dict[str, Truth]:
        return {
            record_id: Truth(record, record["IsDeleted"] is True)
            for record_id, record in self.org.truth(ENTITY).items()
        }

    def states_of_older_versions(self) -> Sequence[State]:
        return [
            {},
            {"SystemModstamp": "2026-03-09T00:00:00.000+0000"},
            {"version": 0, "after": ["2026-03-09T00:00:00.000+0000", "001"]},
            {"job": "750000000000001AAA", "locator": "MTAwMDA"},
        ]

    def troubles(self) -> Sequence[Trouble]:
        return [
            Trouble(WaitUntil, self._spent(), "calls"),
            Trouble(WaitUntil, self._failing("quota"), "asks for a pause"),
            Trouble(Retry, self._failing("503"), "not well"),
            Trouble(Retry, self._failing("cut"), "the connection to Salesforce broke"),
            Trouble(Reauthorise, self._failing("expired"), "Log in again"),
            Trouble(Fatal, self._secret_changed(), "client_secret"),
        ]

    @contextmanager
    def _failing(self, kind: str) -> Iterator[None]:
        self.served.faults.rates = {kind: 1.0}
        yield
        self.served.faults.clear()

    @contextmanager
    def _spent(self) -> Iterator[None]:
        self.org.spend(self.org.budget)
        yield
        self.org.spend(-self.org.budget)

    @contextmanager
    def _secret_changed(self) -> Iterator[None]:
        known = self.org.identity.client_secret
        self.org.identity.client_secret = known[::-1]
        yield
        self.org.identity.client_secret = known

    def _later(self) -> None:
        """What has just happened is not read before it is a little past: a transaction may still be under way."""
        self.org.advance(seconds=2)


@contextmanager
def _org(*, bulk: bool) -> Iterator[Salesforce]:
    with serve(Org(seed=7, accounts=2, activities_per_year=4)) as served:
        yield Salesforce(served, bulk=bulk)


@contextmanager
def by_rest(_folder: Path, _patch: pytest.MonkeyPatch) -> Iterator[Salesforce]:
    with _org(bulk=False) as driver:
        yield driver


@contextmanager
def by_bulk(_folder: Path, _patch: pytest.MonkeyPatch) -> Iterator[Salesforce]:
    with _org(bulk=True) as driver:
        yield driver
