"""From the embedded PostgreSQL to a server of an operator's: every row, every login, every policy, and the next run."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo
from typer.testing import CliRunner

from cli.main import app
from control import audit, bi_users
from sandbox import companies
from steps import pipeline, provision
from tests.conftest import Tenant, deployed_home, parsed_already, temporary_home
from tests.end_to_end.conftest import TODAY
from tests.end_to_end.content import content
from warehouse import database, dump, isolation, server
from warehouse.database import Login
from warehouse.errors import ClarityError, MisuseError
from warehouse.home import secret

pytestmark = pytest.mark.long

ACTOR = "system:tests"
PASSWORD = "an operator's own: @/%"
TOMORROW = TODAY + timedelta(days=1)

# the same query for every table there is, our own and Airflow's: each row as text, in an order of its own
TABLES = """
select format('%I.%I', n.nspname, c.relname)
from pg_class as c join pg_namespace as n on n.oid = c.relnamespace
where c.relkind = 'r' and n.nspname not in ('pg_catalog', 'information_schema') and n.nspname not like 'pg_t%'
order by 1
"""
OWNERS = """
select format('%I.%I', n.nspname, c.relname), pg_get_userbyid(c.relowner), c.relrowsecurity, c.relforcerowsecurity,
    (select array_agg(acl::text order by acl::text) from unnest(c.relacl) as acl where acl::text not like 'operator=%')
from pg_class as c join pg_namespace as n on n.oid = c.relnamespace
where n.nspname = any(array['control', 'raw', 'staging', 'canonical', 'rollups', 'scores', 'marts', 'quality'])
    and c.relkind in ('r', 'v', 'S')
union all
select p.oid::regprocedure::text, pg_get_userbyid(p.proowner), null, null,
    (select array_agg(acl::text order by acl::text) from unnest(p.proacl) as acl)
from pg_proc as p where p.pronamespace = 'control'::regnamespace
order by 1
"""


def rows_of(conninfo: str) -> dict[str, str]:
    with database.connect(conninfo) as connection:
        return {
            str(table): hashlib.sha256(
                repr(connection.execute(f"select t::text from {table} as t order by 1".encode()).fetchall()).encode()
            ).hexdigest()
            for (table,) in connection.execute(TABLES).fetchall()
        }


@dataclass(frozen=True)
class House:
    """What was in the old place, and what became of it there a day later."""

    dump: Path
    key: str
    tenants: list[Tenant]
    bi: Login
    rows: dict[str, str]
    airflow_rows: dict[str, str]
    owners: list[tuple[object, ...]]
    read: int
    a_day_later: list[dict[str, str]]


@dataclass(frozen=True)
class NewHouse:
    """The same on another server. `superuser` is who an operator's server does not give away: it counts for us."""

    old: House
    superuser: str

    @property
    def tenants(self) -> list[Tenant]:
        return self.old.tenants


def said(*words: str) -> dict[str, object]:
    """What the command answers to programs."""
    answer: dict[str, object] = json.loads(CliRunner().invoke(app, ["--json", *words], catch_exceptions=False).stdout)
    return answer


def read_by(tenants: list[Tenant]) -> int:
    """How many records their syncs have read so far."""
    read = 0
    for tenant in tenants:
        with database.run_session(tenant.id) as connection:
            row = connection.execute(
                "select coalesce(sum(records_created + records_updated), 0) from control.sync_logs"
            ).fetchone()
            assert row is not None
            read += row[0]
    return read


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("house")
    with temporary_home(like=deployed_home()):
        server.start()
        found = []
        for seed, slug in ((3, "first"), (4, "second")):
            companies.write_csv(folder / slug, companies.generate(seed, 4, TODAY))
            tenant_id = provision.create_tenant(slug.title(), slug, actor=ACTOR)
            provision.add_connector(tenant_id, "files", {"folder": str(folder / slug)}, actor=ACTOR)
            pipeline.run(slug, as_of=TODAY)
            found.append(Tenant(tenant_id, slug))
        bi = bi_users.add(found[0].id, actor=ACTOR)
        with database.connect(database.airflow_url(driver="postgresql")) as airflow:
            airflow.execute("create table what_airflow_keeps as select n, md5(n::text) from generate_series(1, 9) as n")
        said("db", "dump", str(folder / "dump"))
        with database.connect(database.admin_conninfo()) as admin:
            owners = admin.execute(OWNERS.encode()).fetchall()
        rows = rows_of(database.admin_conninfo())
        airflow_rows = rows_of(database.admin_conninfo(database.airflow_database_name()))
        company = companies.advance(companies.read_world(folder / "first"), 1)
        companies.write_csv(folder / "first", company)
        before = read_by(found)
        pipeline.run("first", as_of=TOMORROW)
        yield House(
            dump=folder / "dump",
            key=secret("encryption_key"),
            tenants=found,
            bi=bi,
            rows=rows,
            airflow_rows=airflow_rows,
            owners=owners,
            read=read_by(found) - before,
            a_day_later=[content(tenant) for tenant in found],
        )


@pytest.fixture(scope="module")
def moved(house: House) -> Iterator[NewHouse]:
    """The platform in another home, on a server whose administrator has CREATEROLE and CREATEDB and nothing more."""
    with temporary_home(), pytest.MonkeyPatch.context() as patch:
        address = server.start()
        with psycopg.connect(database.admin_conninfo("postgres"), autocommit=True) as elsewhere:
            elsewhere.execute(
                sql.SQL("create role operator login createrole createdb password {}").format(sql.Literal(PASSWORD))
            )
        url = database.url(
            make_conninfo(host=address.host, port=address.port, user="operator", dbname="gtm", password=PASSWORD)
        )
        counting = database.admin_conninfo("gtm")
        with temporary_home() as home:
            patch.setenv(database.URL_VARIABLE, url)
            patch.setenv("CLARITY_ENCRYPTION_KEYS", f"home:{house.key}")
            parsed_already(home)
            assert said("db", "restore", str(house.dump)) == {"restored": True, "unknown": []}
            yield NewHouse(house, counting)


def test_every_row_is_there_ours_and_airflows(moved: NewHouse) -> None:
    assert rows_of(moved.superuser) == moved.old.rows
    assert rows_of(database.airflow_url(driver="postgresql")) == moved.old.airflow_rows


def test_owners_grants_and_forced_policies_are_those_that_were(moved: NewHouse) -> None:
    with database.connect(database.admin_conninfo()) as operator:
        assert operator.execute(OWNERS.encode()).fetchall() == moved.old.owners


def test_a_tenants_own_login_sees_its_own_and_nobody_elses(moved: NewHouse) -> None:
    first, second = moved.tenants
    logins = {"run": database.run_login(first.id), "control": database.control_login(first.id), "bi": moved.old.bi}
    walked = isolation.walk(logins, first.id, second.id)
    assert walked.findings == ()
    assert walked.tried > 400


def test_the_trail_is_whole(moved: NewHouse) -> None:
    for tenant in moved.tenants:
        with database.control_session(tenant.id) as connection:
            assert audit.length(connection, tenant.id) > 1
            assert audit.faults(connection, tenant.id) == []


def test_the_next_run_reads_what_is_new_and_ends_as_in_the_old_place(moved: NewHouse) -> None:
    before = read_by(moved.tenants)
    pipeline.run("first", as_of=TOMORROW)
    assert read_by(moved.tenants) - before == moved.old.read > 0
    assert [content(tenant) for tenant in moved.tenants] == moved.old.a_day_later


def test_nothing_is_loaded_over_a_platform(moved: NewHouse) -> None:
    with pytest.raises(MisuseError, match=r"^gtm holds a platform already: name another database"):
        dump.load(moved.old.dump, lambda _line: None)


def test_who_is_bound_by_the_policies_dumps_nothing(moved: NewHouse, tmp_path: Path) -> None:
    with pytest.raises(ClarityError, match=r"^operator is bound by the tenants' policies"):
        dump.dump(tmp_path / "dump", lambda _line: None)
    assert not (tmp_path / "dump").exists()


def test_a_dump_is_for_its_owner_alone_and_holds_no_key(house: House) -> None:
    files = {file.name: file for file in house.dump.iterdir()}
    assert sorted(files) == ["airflow.dump", "bi_logins.json", "clarity.dump"]
    assert {file.stat().st_mode & 0o077 for file in (house.dump, *files.values())} == {0}
    assert not any(house.key.encode() in file.read_bytes() for file in files.values())
    (verifier,) = json.loads(files["bi_logins.json"].read_text()).values()
    assert verifier.startswith("SCRAM-SHA-256$")
