"""The roles that the platform's isolation stands on, made by the administrator before anything else.

    clarity_owner       logs in to migrate and deploy; owns every table but the audit trail
    clarity_auditor     owns the audit trail; nobody can log in as it
    clarity_registry    may list tenants and the kinds of their connectors, and nothing else
    clarity_registrar   makes and removes tenants and their logins
    clarity_receiver    may put what a webhook brings into the inbox of whom it is for, and look nothing up
    clarity_airflow     owns Airflow's metadata, in a database of its own
    clarity_pipeline    what a tenant's run login may do         (a group: one login per tenant is a member)
    clarity_control     what a tenant's control login may do     (a group: one login per tenant is a member)
    clarity_bi          what a tenant's BI logins may do         (a group)

None is a superuser or has BYPASSRLS. Members inherit from their group and can't become it: row-level security goes by
the login that opened the session, which no SET can change.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg
from psycopg import sql

from warehouse import database, sessions
from warehouse.database import AIRFLOW, OWNER, RECEIVER, REGISTRAR, REGISTRY, Login
from warehouse.errors import ClarityError

AUDITOR = "clarity_auditor"
PIPELINE, CONTROL, BI = "clarity_pipeline", "clarity_control", "clarity_bi"
GROUPS = (PIPELINE, CONTROL, BI)
SCHEMAS = ("control", "raw", "staging", "canonical", "rollups", "scores", "marts", "quality")
RUN_CONNECTIONS = 20
BI_CONNECTIONS = 10
BI_STATEMENT_TIMEOUT = "60s"
MINIMUM_VERSION = 16
SESSIONS_END_WITHIN = 10.0
# How often a password is hashed. Nobody guesses one that is derived from a key: 4,096 times, as the standard asks and
# other programs insist on, would only cost each of the platform's own connections 2.4 ms.
FEW, MANY = 1, 4096
# any fixed number will do; it says "a migration of GTM Clarity" to whoever looks at pg_locks
LOCK = 7_462_530_118


@contextmanager
def alone(report: Callable[[str], None]) -> Iterator[psycopg.Connection]:
    """The administrator's connection, for one migration or rotation at a time: roles can't be changed by two at once.

    The lock is held in a database that is there before ours is.
    """
    with database.connect(
        database.admin_conninfo("postgres"), autocommit=True, application="clarity migrate"
    ) as connection:
        if connection.execute("select pg_try_advisory_lock(%s)", [LOCK]).fetchone() != (True,):
            report("another migration is running; waiting for it")
            connection.execute("select pg_advisory_lock(%s)", [LOCK])
        yield connection


def ensure_databases(connection: psycopg.Connection) -> None:
    """Make roles and both databases where they are missing. Runs as the administrator, outside of them."""
    name = database.database_name()
    version = connection.info.server_version // 10000
    if version < MINIMUM_VERSION:
        raise ClarityError(f"PostgreSQL {MINIMUM_VERSION} or later is needed; this server is {version}")
    _ensure_role(connection, AUDITOR, login=None)
    for role in (OWNER, REGISTRY, REGISTRAR, RECEIVER, AIRFLOW):
        _ensure_role(connection, role, login=database.platform_login(role), create_role=role == REGISTRAR)
    for group in GROUPS:
        _ensure_role(connection, group, login=None)
        connection.execute(
            sql.SQL("grant {} to {} with admin option").format(sql.Identifier(group), sql.Identifier(REGISTRAR))
        )
        connection.execute(
            sql.SQL("grant {} to {} with inherit false, set false").format(
                sql.Identifier(group), sql.Identifier(REGISTRAR)
            )
        )
    _ensure_database(connection, name, OWNER)
    _ensure_database(connection, database.airflow_database_name(), AIRFLOW)
    connection.execute(sql.SQL("revoke all on database {} from public").format(sql.Identifier(name)))
    for role in (REGISTRY, REGISTRAR, RECEIVER, *GROUPS):
        connection.execute(
            sql.SQL("grant connect on database {} to {}").format(sql.Identifier(name), sql.Identifier(role))
        )
    # bulk load and dbt work through temporary tables
    for role in (PIPELINE, CONTROL):
        connection.execute(
            sql.SQL("grant temporary on database {} to {}").format(sql.Identifier(name), sql.Identifier(role))
        )


def ensure_schemas(connection: psycopg.Connection) -> None:
    """Make the schemas, owned by the owner, open to those who work in them. Runs as the administrator."""
    connection.execute("revoke all on schema public from public")
    for schema in SCHEMAS:
        connection.execute(
            sql.SQL("create schema if not exists {} authorization {}").format(
                sql.Identifier(schema), sql.Identifier(OWNER)
            )
        )
        for role in (PIPELINE, CONTROL):
            connection.execute(
                sql.SQL("grant usage on schema {} to {}").format(sql.Identifier(schema), sql.Identifier(role))
            )
    for role in (REGISTRY, REGISTRAR, RECEIVER, AUDITOR):
        connection.execute(sql.SQL("grant usage on schema control to {}").format(sql.Identifier(role)))
    connection.execute(sql.SQL("grant usage on schema marts to {}").format(sql.Identifier(BI)))


def create_tenant_logins(connection: psycopg.Connection, tenant_id: str) -> None:
    """The two logins that every tenant has, for its runs and for the control plane. Runs as the registrar."""
    for kind, login, group in (
        ("run", database.run_login(tenant_id), PIPELINE),
        ("control", database.control_login(tenant_id), CONTROL),
    ):
        create_login(connection, login, group)
        connection.execute(
            "insert into control.logins (login, tenant_id, kind) values (%s, %s, %s) on conflict do nothing",
            [login.name, tenant_id, kind],
        )


def create_login(connection: psycopg.Connection, login: Login, group: str) -> None:
    """Make a tenant's login. Runs as the registrar, in the transaction that makes the tenant."""
    _ensure_role(connection, login.name, login=login)
    limit = BI_CONNECTIONS if group == BI else RUN_CONNECTIONS
    connection.execute(sql.SQL("alter role {} connection limit {}").format(sql.Identifier(login.name), limit))
    if group == BI:
        connection.execute(
            sql.SQL("alter role {} set statement_timeout = {}").format(
                sql.Identifier(login.name), sql.Literal(BI_STATEMENT_TIMEOUT)
            )
        )
    connection.execute(
        sql.SQL("grant {} to {} with inherit true, set false").format(sql.Identifier(group), sql.Identifier(login.name))
    )


def drop_login(connection: psycopg.Connection, name: str) -> None:
    """Remove a tenant's login. Runs as the registrar."""
    sessions.end_those_of(name)
    deadline = time.monotonic() + SESSIONS_END_WITHIN
    while True:
        try:
            with connection.transaction():
                connection.execute(sql.SQL("drop role if exists {}").format(sql.Identifier(name)))
            return
        except psycopg.errors.DependentObjectsStillExist as error:
            # A session takes its temporary tables along when it ends, a moment after its client has gone.
            if time.monotonic() > deadline:
                raise ClarityError(
                    f"the login {name} still has a session with tables of its own: wait until the tenant's run has"
                    " ended, and say it again"
                ) from error
            time.sleep(0.05)


def refresh_login(connection: psycopg.Connection, login: Login) -> None:
    """Give a login the password that the platform's present key derives."""
    with _iterations(connection, FEW if login == database.platform_login(login.name) else MANY):
        # hashed here: a password in a statement could end up in the server's log
        verifier = connection.pgconn.encrypt_password(login.password.encode(), login.name.encode(), b"scram-sha-256")
    connection.execute(
        sql.SQL("alter role {} password {}").format(sql.Identifier(login.name), sql.Literal(verifier.decode()))
    )


@contextmanager
def _iterations(connection: psycopg.Connection, number: int) -> Iterator[None]:
    """How often a password is hashed that is given within."""
    connection.execute("select set_config('scram_iterations', %s, false)", [str(number)])
    yield
    connection.execute("reset scram_iterations")


def _ensure_role(connection: psycopg.Connection, name: str, *, login: Login | None, create_role: bool = False) -> None:
    if not connection.execute("select from pg_roles where rolname = %s", [name]).rowcount:
        connection.execute(
            sql.SQL("create role {} {} {}").format(
                sql.Identifier(name),
                sql.SQL("login" if login else "nologin"),
                sql.SQL("createrole" if create_role else "nocreaterole"),
            )
        )
    if login:
        refresh_login(connection, login)


def _ensure_database(connection: psycopg.Connection, name: str, owner: str) -> None:
    if connection.execute("select from pg_database where datname = %s", [name]).rowcount == 0:
        # an administrator who is not a superuser can give a database only to a role that it may become
        if connection.execute("select rolsuper from pg_roles where rolname = current_user").fetchone() != (True,):
            connection.execute(sql.SQL("grant {} to current_user").format(sql.Identifier(owner)))
        connection.execute(
            sql.SQL("create database {} owner {} template template0 encoding 'UTF8'").format(
                sql.Identifier(name), sql.Identifier(owner)
            )
        )
    connection.execute(sql.SQL("revoke all on database {} from public").format(sql.Identifier(name)))
