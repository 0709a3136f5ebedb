"""Of two runs of a tenant, one works and the other waits; one that was thought dead can't write."""

import threading
import time

import psycopg
import pytest

from tests.conftest import Tenant
from warehouse import database, lease
from warehouse.errors import ClarityError


def write(tenant: Tenant, fence: int) -> None:
    with database.run_session(tenant.id) as connection:
        connection.execute("select control.hold_lease(%s)", [fence])


def expire(tenant: Tenant) -> None:
    with database.run_session(tenant.id) as connection:
        connection.execute("update control.run_leases set expires_at = now() - interval '1 second'")


def test_a_second_run_is_refused_while_the_first_works(tenant: Tenant) -> None:
    with lease.hold(tenant.id, "run:one", stage="score"):
        with pytest.raises(ClarityError, match=r"another run has this tenant: run:one \(score\)"):
            with lease.hold(tenant.id, "run:two", stage="score", patience=0):
                pass


def test_a_second_run_waits_and_then_works(tenant: Tenant) -> None:
    order: list[str] = []
    first_has_it = threading.Event()

    def first() -> None:
        with lease.hold(tenant.id, "run:one", stage="score"):
            first_has_it.set()
            time.sleep(0.3)
            order.append("one ends")

    thread = threading.Thread(target=first)
    thread.start()
    first_has_it.wait(5)
    waiting: list[str] = []
    with lease.hold(tenant.id, "run:two", stage="score", patience=10, report=waiting.append):
        order.append("two begins")
    thread.join()
    assert order == ["one ends", "two begins"]
    assert waiting == ["waiting for another run of this tenant: run:one (score)"]


def test_a_run_whose_lease_was_taken_over_cannot_write(tenant: Tenant) -> None:
    with lease.hold(tenant.id, "run:one", stage="score") as old:
        expire(tenant)
        with lease.hold(tenant.id, "run:two", stage="score") as new:
            with pytest.raises(psycopg.Error, match="is no longer in force"):
                write(tenant, old.fence)
            write(tenant, new.fence)


def test_nobody_takes_over_while_a_transaction_of_the_holder_is_open(tenant: Tenant) -> None:
    with lease.hold(tenant.id, "run:one", stage="score") as held, database.run_session(tenant.id) as connection:
        connection.execute("select control.hold_lease(%s)", [held.fence])
        expired = threading.Thread(target=expire, args=[tenant])
        expired.start()
        expired.join(5)
        assert not expired.is_alive(), "the heartbeat's column can be moved meanwhile"
        with pytest.raises(ClarityError, match="a run that is just ending"):
            with lease.hold(tenant.id, "run:two", stage="score", patience=0):
                pass


def test_an_earlier_attempt_of_the_same_task_cannot_write(tenant: Tenant) -> None:
    with lease.hold(tenant.id, "run:one", stage="score", keep=True) as zombie:
        pass
    with lease.hold(tenant.id, "run:one", stage="score"), pytest.raises(psycopg.Error, match="no longer in force"):
        write(tenant, zombie.fence)


def test_extracts_of_one_run_work_side_by_side(tenant: Tenant) -> None:
    with lease.hold(tenant.id, "run:one", stage="extract files", exclusive=False, keep=True) as files:
        with lease.hold(tenant.id, "run:one", stage="extract fathom", exclusive=False, keep=True) as fathom:
            assert files.fence == fathom.fence
            write(tenant, files.fence)


def test_the_lease_of_a_process_that_died_is_free_at_once(tenant: Tenant) -> None:
    host = lease.local_holder().split(":")[1]
    with database.run_session(tenant.id) as connection:
        connection.execute(
            "insert into control.run_leases (tenant_id, holder, stage, fence, expires_at)"
            " values (%s, %s, 'score', 7, now() + interval '1 hour')",
            [tenant.id, f"cli:{host}:999999999:1"],
        )
    with lease.hold(tenant.id, "run:two", stage="score", patience=0) as held:
        assert held.fence == 8


def test_a_kept_lease_is_given_back_by_its_run_alone(tenant: Tenant) -> None:
    with lease.hold(tenant.id, "run:one", stage="score", keep=True):
        pass
    lease.release(tenant.id, "run:two")
    with pytest.raises(ClarityError):
        with lease.hold(tenant.id, "run:two", stage="score", patience=0):
            pass
    lease.release(tenant.id, "run:one")
    with lease.hold(tenant.id, "run:two", stage="score", patience=0):
        pass
