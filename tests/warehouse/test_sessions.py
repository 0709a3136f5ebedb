"""Sessions that are kept: whoever is lent one can't tell it from a new one, and nobody is lent one that is lost."""

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from control import tenants
from steps import provision
from tests.conftest import Tenant
from warehouse import database, server, sessions
from warehouse.errors import ClarityError


@pytest.fixture(autouse=True)
def none_is_kept(platform: Path) -> Iterator[None]:
    sessions.end_all()
    yield
    sessions.end_all()


def server_process(session: psycopg.Connection) -> int:
    return session.info.backend_pid


def asked(session: psycopg.Connection, question: str) -> Any:
    row = session.execute(question.encode()).fetchone()
    assert row is not None
    return row[0]


def test_the_next_one_goes_on_with_it_and_finds_no_trace(tenant: Tenant) -> None:
    with database.run_session(tenant.id) as first:
        as_new = (asked(first, "show work_mem"), asked(first, "show application_name"))
        first.execute("set work_mem = '1MB'")
        first.execute("set application_name = 'somebody else'")
        first.execute("select set_config('clarity.run_id', 'mine', false)")
        first.execute("create temp table left_behind (line text)")
    with database.run_session(tenant.id) as second:
        assert server_process(second) == server_process(first)
        assert (asked(second, "show work_mem"), asked(second, "show application_name")) == as_new
        assert not asked(second, "select current_setting('clarity.run_id', true)")
        assert asked(second, "select to_regclass('left_behind')") is None


def test_how_the_one_before_read_is_forgotten(tenant: Tenant) -> None:
    with database.control_session(tenant.id) as reading:
        reading.isolation_level, reading.read_only = psycopg.IsolationLevel.REPEATABLE_READ, True
        assert asked(reading, "show transaction_isolation") == "repeatable read"
    with database.control_session(tenant.id, autocommit=True) as there:
        assert server_process(there) == server_process(reading)
        assert there.autocommit
    with database.control_session(tenant.id) as writing:
        assert asked(writing, "show transaction_isolation") == "read committed"
        assert asked(writing, "show transaction_read_only") == "off"
        assert not writing.autocommit


def test_what_was_said_stands_and_what_went_wrong_does_not(tenant: Tenant) -> None:
    rename = "update control.tenants set name = %s"
    with database.control_session(tenant.id) as session:
        session.execute(rename, ["Kept"])
    with pytest.raises(psycopg.errors.DivisionByZero), database.control_session(tenant.id) as failing:
        failing.execute(rename, ["Lost"]).connection.execute("select 1 / 0")
    assert failing.closed
    with database.control_session(tenant.id) as another:
        assert asked(another, "select name from control.tenants") == "Kept"


def test_nobody_is_lent_anothers(tenant: Tenant, other_tenant: Tenant) -> None:
    seen = set()
    for mine in (tenant, other_tenant):
        for opened in (database.run_session, database.control_session):
            with opened(mine.id) as session:
                assert asked(session, "select array_agg(distinct id) from control.tenants") in ([mine.id], None)
                seen.add(server_process(session))
    assert len(seen) == 4
    with database.run_session(tenant.id) as one, database.run_session(tenant.id) as other:
        assert server_process(one) != server_process(other), "two at once"


def test_it_bears_the_name_of_whoever_has_it(tenant: Tenant) -> None:
    for application in ("run", "rehearsal", "run"):
        with database.run_session(tenant.id, application=application) as session:
            assert asked(session, "show application_name") == application
    assert len({kept.connection for kept in sessions._kept if kept.login == session.info.user}) == 1


def test_no_more_are_kept_than_so_many_and_none_for_long(tenant: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "AT_MOST", 2)
    several = [database.run_session(tenant.id) for _ in range(5)]
    opened = [each.__enter__() for each in several]
    for each in several:
        each.__exit__(None, None, None)
    assert [session.closed for session in opened] == [True, True, True, False, False]
    monkeypatch.setattr(sessions, "SECONDS", 0.0)
    with database.run_session(tenant.id) as fresh:
        assert fresh not in opened


def test_one_that_the_server_has_ended_is_not_lent(tenant: Tenant) -> None:
    with database.run_session(tenant.id) as session:
        ended = server_process(session)
    with database.connect(database.admin_conninfo(), autocommit=True) as admin:
        assert asked(admin, f"select pg_terminate_backend({ended}, 5000)")
    with database.run_session(tenant.id) as another:
        assert server_process(another) != ended


def test_one_that_was_lost_while_it_was_lent_is_not_kept(tenant: Tenant) -> None:
    with database.run_session(tenant.id) as session:
        with pytest.raises(psycopg.OperationalError):
            session.execute("select pg_terminate_backend(pg_backend_pid()), pg_sleep(1)")
    assert session not in [kept.connection for kept in sessions._kept]


def test_those_of_a_login_end_with_it(tenant: Tenant) -> None:
    tenant_id = provision.create_tenant("Comes back", f"back_{os.getpid()}", actor="system:tests")
    with database.run_session(tenant_id) as first:
        pass
    tenants.delete(tenant_id, actor="system:tests")
    assert first.closed
    with pytest.raises(ClarityError, match="does not know the login"), database.run_session(tenant_id):
        pass


def test_a_fork_leaves_its_parents_sessions_alone(tenant: Tenant) -> None:
    with database.run_session(tenant.id) as session:
        of_the_parent = server_process(session)
    child = os.fork()
    if child == 0:
        with database.run_session(tenant.id) as its_own:
            well = server_process(its_own) != of_the_parent
        # as at the end of any program: what it holds is finalized
        for kept in sessions._of_the_parent:
            kept.connection.close()
        os._exit(0 if well else 1)
    assert os.waitpid(child, 0)[1] == 0
    time.sleep(0.2)
    with database.run_session(tenant.id) as again:
        assert server_process(again) == of_the_parent
        assert asked(again, "select 1") == 1


def test_many_threads_share_them(tenant: Tenant) -> None:
    wrong: list[BaseException] = []

    def ask() -> None:
        try:
            for number in range(20):
                with database.run_session(tenant.id) as session:
                    assert asked(session, f"select {number}") == number
        except BaseException as error:  # noqa: BLE001 - told below
            wrong.append(error)

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert len(sessions._kept) <= sessions.AT_MOST


def test_without_a_server_it_says_what_to_do(tenant: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    address = server.address()
    nobody = database.admin_conninfo().replace(str(address.port), "1")
    with pytest.raises(ClarityError, match="can't be reached"), database.session(nobody, application="tests"):
        pass
