"""A vendor that fails in a fifth of its answers, in each way it can: in the end every row is there, once and right."""

import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from connectors.salesforce.streams import OBJECTS
from sandbox.salesforce import Faults, Org, Served, serve
from sandbox.salesforce.faults import DISORDERS, KINDS
from steps import extract, patience, provision
from tests.conftest import Tenant
from tests.connectors.contract_suite.salesforce import login
from warehouse import database

A_FIFTH = 0.2
BUDGET = 1_000
# The larger objects come by Bulk in several pages, the others by REST.
CONFIG = {
    "bulk_above": 30,
    "bulk_page_size": 25,
    "lag_seconds": 1,
    "backoff_seconds": 0.005,
}
SILENT = ("timeout", "all of them")


def patience_for(kind: str) -> float:
    """The seconds after which an answer does not come any more. Where none stays away, the machine may be slow: what
    was given up is done all the same, and may end the session that came after it."""
    return 0.3 if kind in SILENT else 10


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    monkeypatch.setattr(patience, "FIRST_WAIT", 0.01)
    org = Org(seed=7, accounts=4, budget=BUDGET)
    org.advance(seconds=60)
    with serve(org, Faults(seed=7, slow_seconds=0.05)) as served:
        yield served


def sync(tenant: Tenant) -> None:
    extract.run(tenant.slug, "salesforce", str(uuid.uuid4()))


def latest(tenant: Tenant, stream: str) -> dict[str, dict[str, Any]]:
    """The newest version of each record of the stream."""
    with database.run_session(tenant.id) as connection:
        return dict(
            connection.execute(
                f"select distinct on (record_id) record_id, payload from raw.salesforce__{stream}"
                " order by record_id, source_updated_at desc nulls last, seq desc".encode()
            ).fetchall()
        )


def versions(tenant: Tenant) -> int:
    with database.run_session(tenant.id) as connection:
        counts = [connection.execute(f"select count(*) from raw.salesforce__{name}".encode()) for name in OBJECTS]
        return sum(int(count.fetchall()[0][0]) for count in counts)


def change_something(org: Org) -> int:
    """What people do in a day; returns how many versions that makes."""
    accounts, contacts, tasks = org.ids("Account"), org.ids("Contact"), org.ids("Task")
    org.edit("Account", accounts[0], Name="Renamed")
    org.delete("Task", tasks[0])
    org.bulk_edit("Task", tasks[1:], Priority="High")
    org.late_stamp("Contact", contacts[0], seconds=200, Title="Late riser")
    org.advance(seconds=60)
    return 1 + len(tasks) + 1


@pytest.mark.parametrize("kind", [*KINDS, "all of them"])
def test_with_a_fifth_of_all_answers_failing_every_stream_ends_with_the_vendor_s_rows(
    served: Served, tenant: Tenant, kind: str
) -> None:
    config = {**login(served), **CONFIG, "timeout_seconds": patience_for(kind)}
    provision.add_connector(tenant.id, "salesforce", config, actor="system:tests")
    org, faults = served.org, served.faults
    if kind == "all of them":
        faults.everything(A_FIFTH)
    else:
        # only answers that hold records can hold them in disorder, and they are a third
        faults.rates = {kind: 3 * A_FIFTH if kind in DISORDERS else A_FIFTH}
    sync(tenant)
    first = versions(tenant)
    made = change_something(org)
    sync(tenant)
    for stream, entity in OBJECTS.items():
        assert latest(tenant, stream) == org.truth(entity), stream
    assert versions(tenant) == first + made
    assert sum(faults.done.values()) >= 5, "nothing went wrong, so nothing was shown"
    assert len(served.log.calls) < 2 * 0.25 * BUDGET
    assert org.used <= 0.8 * BUDGET
