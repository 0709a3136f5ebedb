"""What the planner knows of a table that a run is filling."""

import psycopg
import pytest

from tests.conftest import Tenant
from warehouse import database

TABLE = "canonical.touched_entities"
ROWS = 30_000


def believed(connection: psycopg.Connection) -> float:
    row = connection.execute("select reltuples from pg_class where oid = %s::regclass", [TABLE]).fetchone()
    assert row
    return float(row[0])


@pytest.mark.parametrize("autovacuum_came", [False, True])
def test_a_table_is_known_as_it_is_before_the_run_that_filled_it_commits(tenant: Tenant, autovacuum_came: bool) -> None:
    with database.connect(database.admin_conninfo(), autocommit=True) as admin:
        admin.execute(f"vacuum analyze {TABLE}".encode())
        with database.run_session(tenant.id) as run:
            run.execute(
                f"insert into {TABLE} (tenant_id, entity, id) select %s, 'person', number::text"
                " from generate_series(1, %s) as number".encode(),
                [tenant.id, ROWS],
            )
            if autovacuum_came:
                # it sees pages, and none of the rows on them
                admin.execute(f"vacuum analyze {TABLE}".encode())
            assert believed(run) < ROWS / 2
            run.execute("select control.analyze_if_grown(%s::regclass)", [TABLE])
            assert believed(run) == pytest.approx(ROWS, rel=0.2)
            run.rollback()
        admin.execute(f"vacuum analyze {TABLE}".encode())


def test_a_run_goes_on_without_it_if_somebody_stays_at_the_table(tenant: Tenant) -> None:
    with database.connect(database.owner_conninfo()) as owner, database.run_session(tenant.id) as run:
        owner.execute(f"lock table {TABLE} in share update exclusive mode".encode())
        run.execute(
            f"insert into {TABLE} (tenant_id, entity, id) select %s, 'person', number::text"
            " from generate_series(1, %s) as number".encode(),
            [tenant.id, ROWS],
        )
        run.execute("set local lock_timeout = '1min'")
        run.execute("select control.analyze_if_grown(%s::regclass)", [TABLE])
        assert believed(run) < ROWS / 2
        assert run.execute("show lock_timeout").fetchone() == ("1min",)
        run.rollback()
