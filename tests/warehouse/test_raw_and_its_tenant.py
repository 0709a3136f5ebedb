"""Raw has no foreign key to the tenants; what such a key promises holds all the same."""

import threading
import time
from pathlib import Path

import psycopg
import pytest

from control import tenants
from steps import provision
from tests.conftest import Tenant
from warehouse import database

A_ROW = (
    "insert into raw.files__people (tenant_id, record_id, payload, payload_hash, sync_id, seq)"
    " select %s, 'someone', '{}', '', 'a sync', coalesce(max(seq), 0) + 1 from raw.files__people"
)


@pytest.fixture
def leaving(platform: Path) -> Tenant:
    """A tenant that the test itself removes."""
    return Tenant(provision.create_tenant("Leaving", "leaving_soon", actor="system:tests"), "leaving_soon")


def rows_of(tenant_id: str) -> int:
    with database.connect(database.admin_conninfo()) as admin:
        counted = admin.execute("select count(*) from raw.files__people where tenant_id = %s", [tenant_id]).fetchone()
    assert counted is not None
    return int(counted[0])


def test_a_tenants_raw_rows_go_with_it_and_nobody_elses(leaving: Tenant, tenant: Tenant) -> None:
    for one in (leaving, tenant):
        with database.run_session(one.id) as connection:
            connection.execute(A_ROW, [one.id])
    assert (rows_of(leaving.id), rows_of(tenant.id)) == (1, 1)
    tenants.delete(leaving.id, actor="system:tests")
    assert (rows_of(leaving.id), rows_of(tenant.id)) == (0, 1)


def test_a_tenant_is_not_removed_before_the_rows_under_way_have_come_in(leaving: Tenant) -> None:
    remover = threading.Thread(target=tenants.delete, args=[leaving.id], kwargs={"actor": "system:tests"})
    with database.run_session(leaving.id) as connection:
        connection.execute(A_ROW, [leaving.id])
        remover.start()
        wait_for_somebody_who_waits_for(connection.info.backend_pid)
    remover.join(timeout=20)
    assert not remover.is_alive()
    assert rows_of(leaving.id) == 0


def test_no_row_comes_in_for_a_tenant_that_has_gone(leaving: Tenant) -> None:
    with database.run_session(leaving.id, autocommit=True) as connection:
        tenants.delete(leaving.id, actor="system:tests")
        with pytest.raises(psycopg.Error):
            connection.execute(A_ROW, [leaving.id])
    assert rows_of(leaving.id) == 0


def test_a_login_without_a_tenant_puts_nothing_in_even_past_the_policies(tenant: Tenant) -> None:
    with (
        database.connect(database.admin_conninfo()) as admin,
        pytest.raises(psycopg.errors.ForeignKeyViolation, match="come in by a login of a tenant that there is"),
    ):
        admin.execute(A_ROW, [tenant.id])


def test_the_owner_sees_nobodys_rows(tenant: Tenant) -> None:
    with database.run_session(tenant.id) as connection:
        connection.execute(A_ROW, [tenant.id])
    with database.connect(database.owner_conninfo()) as owner:
        assert owner.execute("select count(*) from raw.files__people").fetchone() == (0,)
        assert owner.execute("select count(*) from control.tenants").fetchone() == (0,)


def wait_for_somebody_who_waits_for(backend: int) -> None:
    with database.connect(database.admin_conninfo(), autocommit=True) as admin:
        until = time.monotonic() + 20
        while time.monotonic() < until:
            if admin.execute(
                "select from pg_stat_activity where %s = any (pg_blocking_pids(pid)) limit 1", [backend]
            ).fetchall():
                return
            time.sleep(0.02)
    raise AssertionError("nobody waits for the rows that are coming in")
