"""Any PostgreSQL by CLARITY_DATABASE_URL: here one whose administrator is no superuser, as with hosted ones."""

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from cli import supervisor
from sandbox import companies
from steps import deploy, pipeline, provision
from tests.conftest import temporary_home
from tests.end_to_end.conftest import TODAY
from warehouse import database, isolation, server

PASSWORD = "an operator's own: @/%"


@pytest.fixture
def external(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A home that uses another home's server as an operator would hand it out: CREATEROLE, CREATEDB, nothing more."""
    with temporary_home():
        address = server.start()
        with psycopg.connect(database.admin_conninfo("postgres"), autocommit=True) as superuser:
            superuser.execute(
                sql.SQL("create role operator login createrole createdb password {}").format(sql.Literal(PASSWORD))
            )
        url = database.url(
            make_conninfo(host=address.host, port=address.port, user="operator", dbname="gtm", password=PASSWORD)
        )
        with temporary_home() as folder:
            monkeypatch.setenv("CLARITY_DATABASE_URL", url)
            yield folder
            monkeypatch.delenv("CLARITY_DATABASE_URL")


@pytest.mark.long
def test_a_hosted_postgresql_without_a_superuser_will_do(external: Path, tmp_path: Path) -> None:
    deploy.run(lambda _line: None)
    deploy.run(lambda _line: None)
    companies.write_csv(tmp_path, companies.generate(7, 8, TODAY))
    ours, theirs = (provision.create_tenant(slug.title(), slug, actor="system:tests") for slug in ("ours", "theirs"))
    provision.add_connector(ours, "files", {"folder": str(tmp_path)}, actor="system:tests")
    pipeline.run("ours", as_of=TODAY)
    logins = {"run": database.run_login(theirs), "control": database.control_login(theirs)}
    assert isolation.walk(logins, theirs, ours).findings == ()
    assert not (external / "postgres").exists()
    assert supervisor.status()[0].state == "running"
