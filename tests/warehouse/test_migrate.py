"""`clarity migrate`: from any earlier schema to this one, as often as one likes, without losing a row."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.conftest import temporary_home
from tests.warehouse.filler import fill
from warehouse import database, migrate

SCHEMAS = "('control', 'raw', 'canonical', 'scores', 'quality')"


@pytest.fixture
def empty_home() -> Iterator[Path]:
    with temporary_home() as folder:
        yield folder


def silent(_line: str) -> None:
    """Nobody listens."""


def rows(admin: psycopg.Connection) -> dict[str, list[Any]]:
    """Everything in every table, by the columns that the table has had all along."""
    tables = admin.execute(
        "select oid::regclass::text from pg_class where relkind = 'r' and relname <> 'alembic_version'"
        f" and relnamespace::regnamespace::text in {SCHEMAS} order by 1"
    ).fetchall()
    return {
        table: [row for (row,) in admin.execute(f"select to_jsonb(t) from {table} as t order by 1".encode())]
        for (table,) in tables
    }


def definitions(admin: psycopg.Connection) -> list[Any]:
    """Columns, constraints, indexes, policies, grants and owners."""
    return admin.execute(
        "select c.oid::regclass::text, c.relowner::regrole::text, c.relacl::text,"
        " c.relrowsecurity, c.relforcerowsecurity,"
        " (select array_agg(row(attname, atttypid, attnotnull)::text order by attnum)"
        " from pg_attribute where attrelid = c.oid and attnum > 0),"
        " (select array_agg(pg_get_constraintdef(oid) order by oid) from pg_constraint where conrelid = c.oid),"
        " (select array_agg(pg_get_indexdef(indexrelid) order by indexrelid) from pg_index where indrelid = c.oid),"
        " (select array_agg(row(polname, polroles, pg_get_expr(polqual, polrelid))::text order by polname)"
        " from pg_policy where polrelid = c.oid)"
        f" from pg_class as c where c.relnamespace::regnamespace::text in {SCHEMAS} order by 1"
    ).fetchall()


def test_an_older_schema_goes_forward_without_losing_a_row(empty_home: Path) -> None:
    migrate.migrate(silent, revision="0001")
    with database.connect(database.admin_conninfo(), autocommit=True) as admin:
        for tenant in ("one", "two"):
            admin.execute(
                "insert into control.tenants (id, clerk_org_id, name, slug) values (%s, %s, %s, %s)",
                [tenant, tenant, tenant, tenant],
            )
        fill(admin, ["one", "two"])
        before = rows(admin)
        assert len(before) >= 17
        migrate.migrate(silent)
        after = rows(admin)
    for table, old in before.items():
        kept = [{column: row.get(column) for column in old[0]} for row in after[table]]
        assert [row for row in old if row not in kept] == [], table


def test_migrating_again_changes_nothing(empty_home: Path) -> None:
    migrate.migrate(silent, ["files__accounts"])
    with database.connect(database.admin_conninfo(), autocommit=True) as admin:
        before = definitions(admin)
        assert len(before) > 40
        lines: list[str] = []
        migrate.migrate(lines.append, ["files__accounts"])
        assert definitions(admin) == before
    assert lines == [f"schema is at {migrate.head()}"]


def test_a_revision_that_fails_leaves_the_schema_as_it_was(
    empty_home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    migrate.migrate(silent, revision="0001")
    with database.connect(database.admin_conninfo(), autocommit=True) as admin:
        before = definitions(admin)
        real = migrate.run_sql

        def breaks_off(name: str) -> None:
            real(name)
            raise RuntimeError("the power went")

        monkeypatch.setattr(migrate, "run_sql", breaks_off)
        with pytest.raises(RuntimeError, match="the power went"):
            migrate.migrate(silent)
        assert definitions(admin) == before
        monkeypatch.undo()
        migrate.migrate(silent)
        assert definitions(admin) != before
