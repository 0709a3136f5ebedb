"""The database's part of `clarity migrate`: roles, databases, schemas and tables as this code expects them.

Safe to run at any time and twice at once: the second waits for the first and then finds nothing to do.
"""

from collections.abc import Callable, Iterable
from pathlib import Path

import psycopg
from alembic import command, op
from alembic.config import Config
from alembic.script import ScriptDirectory
from psycopg import sql
from sqlalchemy import create_engine
from sqlalchemy.pool import NullPool

from warehouse import database, roles
from warehouse.errors import ClarityError

MIGRATIONS = Path(__file__).parent / "migrations"


def migrate(
    report: Callable[[str], None],
    raw_tables: Iterable[str] = (),
    *,
    deploy: Callable[[Callable[[str], None]], None] = lambda _report: None,
    revision: str = "head",
) -> None:
    """Bring the database to `revision`.

    `raw_tables` are the landing tables that the connectors' streams need; `deploy` makes what dbt owns. Both run under
    the migration's lock.
    """
    database.ensure_up()
    with roles.alone(report) as keeper:
        roles.ensure_databases(keeper)
        with database.connect(database.admin_conninfo(), autocommit=True, application="clarity migrate") as connection:
            roles.ensure_schemas(connection)
            before, after = _current(connection), _upgrade(revision)
            moved = f"schema moved from {before or 'nothing'} to {after}"
            report(f"schema is at {after}" if before == after else moved)
            _hand_audit_to_its_owner(connection)
        _refresh_tenant_logins()
        with database.connect(database.owner_conninfo(), application="clarity migrate") as owner:
            for table in raw_tables:
                owner.execute("select control.make_raw_table(%s)", [table])
        deploy(report)


def run_sql(name: str) -> None:
    """Run a file of SQL inside the migration under way."""
    statement = (MIGRATIONS / "sql" / name).read_text(encoding="utf-8")
    driver = op.get_bind().connection.driver_connection
    assert isinstance(driver, psycopg.Connection)
    # straight to the driver: SQLAlchemy would read `:name` and `%` in it as parameters
    driver.execute(statement.encode())


def head() -> str:
    return str(ScriptDirectory.from_config(_config()).get_current_head())


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    return config


def _upgrade(revision: str) -> str:
    engine = create_engine(
        "postgresql+psycopg://",
        creator=lambda: database.connect(database.owner_conninfo(), application="clarity migrate"),
        poolclass=NullPool,
    )
    with engine.connect() as connection:
        config = _config()
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
    with database.connect(database.owner_conninfo()) as owner:
        current = _current(owner)
    if current is None:
        raise ClarityError("the migration left no revision behind; run `clarity migrate` again")
    return current


def _current(connection: psycopg.Connection) -> str | None:
    if connection.execute("select to_regclass('control.alembic_version')").fetchone() == (None,):
        return None
    row = connection.execute("select version_num from control.alembic_version").fetchone()
    return str(row[0]) if row else None


def _hand_audit_to_its_owner(connection: psycopg.Connection) -> None:
    """From here on nobody who can log in, the owner included, can change or remove an audit row."""
    me = connection.execute("select current_user, rolsuper from pg_roles where rolname = current_user").fetchone()
    assert me is not None
    administrator, is_superuser = me
    if not is_superuser:
        for role in (roles.AUDITOR, database.OWNER):
            connection.execute(sql.SQL("grant {} to {}").format(sql.Identifier(role), sql.Identifier(administrator)))
    with connection.transaction():
        connection.execute(sql.SQL("grant create on schema control to {}").format(sql.Identifier(roles.AUDITOR)))
        for kind, name in (
            ("table", "control.audit_log"),
            ("table", "control.audit_heads"),
            ("function", "control.audit_chain()"),
            ("function", "control.audit_faults(text)"),
            ("function", "control.audit_hash(control.audit_log)"),
        ):
            connection.execute(f"alter {kind} {name} owner to {roles.AUDITOR}".encode())
        connection.execute(
            sql.SQL("grant execute on function control.session_tenant() to {}").format(sql.Identifier(roles.AUDITOR))
        )
        connection.execute(sql.SQL("revoke create on schema control from {}").format(sql.Identifier(roles.AUDITOR)))
    if not is_superuser:
        connection.execute(
            sql.SQL("revoke {} from {}").format(sql.Identifier(roles.AUDITOR), sql.Identifier(administrator))
        )


def _refresh_tenant_logins() -> None:
    """Every tenant's own logins, with the passwords that the present key derives.

    A dump carries tenants but no roles: restored on another server they are made anew here.
    """
    with database.connect(database.registrar_conninfo(), autocommit=True) as registrar:
        for (tenant_id,) in registrar.execute("select id from control.tenants order by id").fetchall():
            with registrar.transaction():
                roles.create_tenant_logins(registrar, tenant_id)
