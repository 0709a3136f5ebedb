"""No tenant can see, change or point at another's rows: tried on everything that the catalogue knows."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from control import bi_users
from tests.conftest import Tenant, _fresh_tenant
from tests.warehouse.filler import fill
from warehouse import database, isolation
from warehouse.database import Login


@pytest.fixture(scope="module")
def tenant(platform: Path) -> Iterator[Tenant]:
    """One for the whole file: whatever is tried gains nothing, and whatever is opened is closed again."""
    yield from _fresh_tenant()


@pytest.fixture(scope="module")
def other_tenant(platform: Path) -> Iterator[Tenant]:
    yield from _fresh_tenant()


@pytest.fixture(scope="module")
def admin(platform: Path) -> Iterator[psycopg.Connection]:
    with database.connect(database.admin_conninfo(), autocommit=True) as connection:
        yield connection


@pytest.fixture(scope="module")
def logins(admin: psycopg.Connection, tenant: Tenant, other_tenant: Tenant) -> dict[str, Login]:
    """Every kind of login of `tenant`, in a database where both tenants have a row in every table."""
    bi = bi_users.add(tenant.id, actor="system:tests")
    fill(admin, [tenant.id, other_tenant.id])
    return {"run": database.run_login(tenant.id), "control": database.control_login(tenant.id), "bi": bi}


def walk(logins: dict[str, Login], tenant: Tenant, other_tenant: Tenant) -> isolation.Walk:
    return isolation.walk(logins, tenant.id, other_tenant.id)


def test_nothing_of_another_tenant_can_be_seen_or_touched(
    logins: dict[str, Login], tenant: Tenant, other_tenant: Tenant
) -> None:
    result = walk(logins, tenant, other_tenant)
    assert result.findings == ()
    # four actions, three kinds of login, and there are dozens of relations
    assert result.tried >= 4 * 3 * 40


def test_each_login_sees_its_own_rows(logins: dict[str, Login], tenant: Tenant, admin: psycopg.Connection) -> None:
    with database.run_session(tenant.id) as connection:
        assert connection.execute("select count(*) from canonical.accounts").fetchone() == (1,)
    mart = admin.execute(
        "select min(oid::regclass::text) from pg_class where relnamespace = 'marts'::regnamespace and relkind = 'r'"
    ).fetchone()
    assert mart is not None
    with database.connect(database.conninfo(logins["bi"])) as connection:
        assert connection.execute(f"select count(*) from {mart[0]}".encode()).fetchone() == (1,)


@pytest.mark.parametrize(
    ("breach", "mend", "finding"),
    [
        (
            "drop policy tenant on canonical.people",
            "select control.secure('canonical.people', writes => 'insert, update')",
            "no policy says which rows are its own",
        ),
        (
            "alter table canonical.people no force row level security",
            "alter table canonical.people force row level security",
            "does not FORCE row-level security",
        ),
        (
            "alter table canonical.people disable row level security",
            "alter table canonical.people enable row level security",
            "sees 1 rows that are not its own",
        ),
        (
            "alter table canonical.opportunities drop constraint opportunities_tenant_id_account_id_fkey,"
            " add constraint plain foreign key (account_id) references canonical.accounts (id) not valid",
            "alter table canonical.opportunities drop constraint plain,"
            " add constraint opportunities_tenant_id_account_id_fkey foreign key (tenant_id, account_id)"
            " references canonical.accounts (tenant_id, id) on delete cascade not valid",
            "does not carry the tenant",
        ),
        (
            "drop trigger hold_tenant on raw.files__people",
            "select control.make_raw_table('files__people')",
            "raw.files__people has lost the trigger",
        ),
        (
            "alter table control.tenants disable trigger remove_raw",
            "alter table control.tenants enable trigger remove_raw",
            "control.tenants has lost the trigger",
        ),
        (
            "create policy wide on scores.engagements to clarity_pipeline using (true)",
            "drop policy wide on scores.engagements",
            "does not go by the session's tenant alone",
        ),
        (
            "create table canonical.next_year (id text primary key, tenant_id text not null);"
            " grant select on canonical.next_year to clarity_pipeline",
            "drop table canonical.next_year",
            "canonical.next_year has no row-level security",
        ),
        (
            "create view marts.careless as select * from canonical.people;"
            " grant select on marts.careless to clarity_bi",
            "drop view marts.careless",
            "needs security_invoker",
        ),
        (
            "create function marts.everything() returns bigint language sql security definer"
            " as 'select count(*) from canonical.people'",
            "drop function marts.everything()",
            "is not one of the few that may",
        ),
        (
            "grant usage on schema scores to clarity_bi",
            "revoke usage on schema scores from clarity_bi",
            "may use schema",
        ),
        ("alter role clarity_bi bypassrls", "alter role clarity_bi nobypassrls", "lets it past the policies"),
    ],
    ids=lambda value: value.split(";")[0][:60] if isinstance(value, str) else None,
)
def test_the_walk_finds_what_was_left_open(
    admin: psycopg.Connection,
    logins: dict[str, Login],
    tenant: Tenant,
    other_tenant: Tenant,
    breach: str,
    mend: str,
    finding: str,
) -> None:
    admin.execute(breach.encode())
    try:
        findings = walk({"run": logins["run"]}, tenant, other_tenant).findings
    finally:
        admin.execute("set role clarity_owner" if mend.startswith("select") else "reset role")
        admin.execute(mend.encode())
        admin.execute("reset role")
    assert any(finding in found for found in findings), findings


def test_a_person_cannot_be_attached_to_another_tenants_account(
    logins: dict[str, Login], tenant: Tenant, other_tenant: Tenant
) -> None:
    with database.run_session(other_tenant.id) as connection:
        row = connection.execute("select id from canonical.accounts").fetchone()
    assert row is not None
    with database.run_session(tenant.id) as ours, pytest.raises(psycopg.errors.ForeignKeyViolation):
        ours.execute(
            "insert into canonical.people (id, tenant_id, account_id) values ('p', %s, %s)", [tenant.id, row[0]]
        )


ATTACKS = [
    "set role clarity_owner",
    "set role clarity_pipeline",
    "set role clarity_registry",
    "set role clarity_auditor",
    "set session authorization clarity_owner",
    "set session authorization {theirs}",
    "set role {theirs}",
    "select set_config('role', 'clarity_owner', false)",
    "select set_config('session_authorization', '{theirs}', false)",
    "set row_security = off",
    "select set_config('row_security', 'off', false)",
    "set app.tenant_id = '{tenant}'",
    "select set_config('app.tenant_id', '{tenant}', false)",
    "set search_path = pg_temp, control, canonical",
    "create function pg_temp.session_tenant() returns text language sql as 'select ''{tenant}''::text'",
    "create function public.peek() returns bigint language sql security definer"
    " as 'select count(*) from canonical.accounts'",
    "create function marts.peek() returns bigint language sql as 'select 1'",
    "create schema mine",
    "create view pg_temp.peek as select * from canonical.accounts",
    "alter table canonical.accounts disable row level security",
    "alter table canonical.accounts owner to current_user",
    "grant clarity_owner to current_user",
    "drop policy tenant on canonical.accounts",
    "create policy mine on canonical.accounts using (true)",
    "update control.logins set tenant_id = '{tenant}'",
    "lock table canonical.accounts",
    "truncate canonical.accounts",
    "do $$ begin execute 'set role clarity_owner'; end $$",
]


@pytest.mark.parametrize("attack", ATTACKS)
def test_nothing_that_a_login_says_gains_it_anything(
    logins: dict[str, Login], tenant: Tenant, other_tenant: Tenant, attack: str
) -> None:
    theirs = database.run_login(other_tenant.id).name
    statement = attack.format(theirs=theirs, tenant=other_tenant.id)
    for login in logins.values():
        with database.connect(database.conninfo(login), autocommit=True) as connection:
            said(connection, statement)
            for relation in ("canonical.accounts", "control.connectors", "marts.mart_revenue__scores"):
                seen = said(connection, f"select count(*) from {relation} where tenant_id = '{other_tenant.id}'")
                assert seen in (None, 0), f"{attack} let {login.name} see {relation}"
                assert not said(connection, f"delete from {relation} where tenant_id = '{other_tenant.id}' returning 1")
            assert said(connection, "select (session_user = current_user)::int") == 1
        with database.run_session(other_tenant.id) as connection:
            assert connection.execute("select count(*) from canonical.accounts").fetchone() == (1,)


def test_copy_to_gives_a_login_its_own_rows_alone(logins: dict[str, Login], tenant: Tenant) -> None:
    with database.connect(database.conninfo(logins["run"])) as connection:
        with connection.cursor().copy("copy canonical.accounts (tenant_id) to stdout") as copy:
            assert [bytes(row).decode().strip() for row in copy] == [tenant.id]


@pytest.mark.parametrize("schema", ["control", "raw", "staging", "canonical", "rollups", "scores", "quality"])
def test_a_bi_login_reads_marts_and_nothing_else(
    admin: psycopg.Connection, logins: dict[str, Login], schema: str
) -> None:
    relations = admin.execute(
        "select oid::regclass::text from pg_class where relnamespace = %s::regnamespace and relkind in ('r', 'v')",
        [schema],
    ).fetchall()
    assert relations
    with database.connect(database.conninfo(logins["bi"]), autocommit=True) as connection:
        for (relation,) in relations:
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(f"select 1 from {relation}".encode())


def test_a_login_without_a_tenant_sees_no_rows(admin: psycopg.Connection, logins: dict[str, Login]) -> None:
    admin.execute("create role stranger login password 'only-for-this-test' in role clarity_pipeline")
    try:
        with database.connect(database.conninfo(Login("stranger", "only-for-this-test"))) as connection:
            assert connection.execute("select count(*) from canonical.accounts").fetchone() == (0,)
    finally:
        admin.execute("drop role stranger")


def test_a_tenants_login_cannot_open_airflows_database(logins: dict[str, Login]) -> None:
    for login in logins.values():
        with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
            psycopg.connect(database.conninfo(login, database.airflow_database_name()))


def test_the_names_of_logins_tell_nothing_about_their_tenants(logins: dict[str, Login], tenant: Tenant) -> None:
    for login in logins.values():
        assert tenant.slug not in login.name
        assert tenant.id not in login.name


def said(connection: psycopg.Connection, statement: str) -> Any:
    """The single value that the statement answers with; None where it was refused or answers nothing."""
    try:
        cursor = connection.execute(statement.encode())
        if cursor.description is None:
            return None
        row = cursor.fetchone()
        return row[0] if row else None
    except psycopg.Error:
        return None


def test_a_password_that_people_carry_is_hashed_often_and_a_derived_one_once(
    logins: dict[str, Login], admin: psycopg.Connection
) -> None:
    hashed: dict[str, int] = dict(
        admin.execute(
            "select rolname, split_part(split_part(rolpassword, ':', 1), '$', 2)::int from pg_authid"
            " where rolpassword is not null"
        ).fetchall()
    )
    assert {kind: hashed[login.name] for kind, login in logins.items()} == {"run": 1, "control": 1, "bi": 4096}
    assert hashed[database.OWNER] == 1
