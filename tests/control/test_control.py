"""Tenants, credentials, the registry and the audit trail."""

import json
import threading
import uuid
from pathlib import Path
from typing import Any

import psycopg
import pytest

from control import audit, bi_users, configs, connectors, registry, sealing, tenants
from steps import provision
from tests.conftest import Tenant
from warehouse import database
from warehouse.errors import ClarityError, MisuseError


@pytest.fixture
def admin(platform: Path) -> Any:
    with database.connect(database.admin_conninfo(), autocommit=True) as connection:
        yield connection


def test_a_new_tenant_can_be_scored_and_is_in_the_registry(tenant: Tenant) -> None:
    assert registry.tenant(tenant.slug).id == tenant.id
    with database.run_session(tenant.id) as connection:
        in_force = configs.in_force(connection, tenant.id)
    assert set(in_force.configs) == {"fit", "engagement", "combined"}
    assert in_force.score_version == 1


def test_the_same_slug_twice_says_so_and_changes_nothing(tenant: Tenant) -> None:
    before = registry.everybody()
    with pytest.raises(MisuseError, match="a tenant with this slug already"):
        provision.create_tenant("Another", tenant.slug, actor="system:tests")
    assert registry.everybody() == before


@pytest.mark.parametrize("slug", ["", "A", "a", "1a", "a-b", "../etc", "a b", "é" * 5, "a" * 41, "a\x00b", "😀😀"])
def test_a_slug_that_could_not_be_a_file_name_is_refused(platform: Path, slug: str) -> None:
    with pytest.raises(MisuseError, match="can't be a slug"):
        provision.create_tenant("Acme", slug, actor="system:tests")


def test_a_tenant_is_deleted_while_its_last_session_is_still_closing(platform: Path, admin: psycopg.Connection) -> None:
    tenant_id = provision.create_tenant("Leaving", f"leaving_{uuid.uuid4().hex[:8]}", actor="system:tests")
    closing = database.connect(database.conninfo(database.run_login(tenant_id)), autocommit=True)
    closing.execute("create temp table half_a_page (line text)")
    later = threading.Timer(0.5, closing.close)
    later.start()
    tenants.delete(tenant_id, actor="system:tests")
    later.join()
    assert not admin.execute("select from control.tenants where id = %s", [tenant_id]).rowcount


def test_deleting_a_tenant_removes_all_but_the_trail(platform: Path, admin: psycopg.Connection) -> None:
    slug = f"t_{uuid.uuid4().hex[:12]}"
    tenant_id = provision.create_tenant("Gone soon", slug, actor="system:tests")
    bi_users.add(tenant_id, actor="system:tests")
    with database.run_session(tenant_id) as connection:
        connection.execute("insert into canonical.accounts (id, tenant_id, name) values ('a', %s, 'A')", [tenant_id])
        connection.execute(
            "insert into canonical.people (id, tenant_id, account_id) values ('p', %s, 'a')", [tenant_id]
        )
        connection.execute(
            "insert into canonical.activities (id, tenant_id, person_id, account_id, type, occurred_at)"
            " values ('x', %s, 'p', 'a', 'page_view', now())",
            [tenant_id],
        )
    logins = [row[0] for row in admin.execute("select login from control.logins where tenant_id = %s", [tenant_id])]
    assert len(logins) == 3
    tenants.delete(tenant_id, actor="system:tests")
    for table in ("canonical.accounts", "canonical.activities", "canonical.touched_person_days", "control.logins"):
        assert admin.execute(f"select count(*) from {table} where tenant_id = %s".encode(), [tenant_id]).fetchone() == (
            0,
        )
    assert admin.execute("select count(*) from pg_roles where rolname = any(%s)", [logins]).fetchone() == (0,)
    actions = admin.execute(
        "select action from control.audit_log where tenant_id = %s order by seq", [tenant_id]
    ).fetchall()
    assert actions == [("tenant.create",), ("bi_user.add",), ("tenant.delete",)]


def test_the_trail_is_a_chain_in_which_every_change_shows(tenant: Tenant, admin: psycopg.Connection) -> None:
    with database.control_session(tenant.id) as connection:
        for number in range(3):
            audit.record(
                connection, tenant_id=tenant.id, actor="ann", action=f"test.{number}", resource="x", after={"n": "ü"}
            )

    def faults() -> list[str]:
        with database.control_session(tenant.id) as connection:
            rows = connection.execute("select seq, fault from control.audit_faults(%s)", [tenant.id]).fetchall()
        return [f"{seq}: {fault}" for seq, fault in rows]

    assert faults() == []
    admin.execute("alter table control.audit_log disable trigger user")
    admin.execute("update control.audit_log set user_id = 'bob' where tenant_id = %s and seq = 2", [tenant.id])
    assert faults() == ["2: the row was altered"]
    admin.execute("update control.audit_log set user_id = 'ann' where tenant_id = %s and seq = 2", [tenant.id])
    assert faults() == []
    admin.execute("delete from control.audit_log where tenant_id = %s and seq = 4", [tenant.id])
    assert faults() == ["4: rows at the end are missing or altered"]
    admin.execute("delete from control.audit_log where tenant_id = %s and seq = 2", [tenant.id])
    assert "3: rows before it are missing" in faults()
    admin.execute("alter table control.audit_log enable trigger user")


@pytest.mark.parametrize(
    "statement",
    ["update control.audit_log set user_id = 'x'", "delete from control.audit_log", "truncate control.audit_log"],
)
def test_not_even_the_owner_can_change_the_trail(tenant: Tenant, statement: str) -> None:
    for conninfo in (
        database.owner_conninfo(),
        database.registrar_conninfo(),
        database.conninfo(database.control_login(tenant.id)),
        database.conninfo(database.run_login(tenant.id)),
    ):
        with database.connect(conninfo) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(statement.encode())


def test_a_row_cannot_be_back_dated(tenant: Tenant) -> None:
    with database.control_session(tenant.id) as connection:
        connection.execute(
            "insert into control.audit_log (id, tenant_id, user_id, action, resource, created_at, seq)"
            " values (%s, %s, 'ann', 'a', 'r', '2001-01-01', 1)",
            [str(uuid.uuid4()), tenant.id],
        )
        row = connection.execute(
            "select created_at > now() - interval '1 minute', metadata ->> 'login' = session_user"
            " from control.audit_log where action = 'a'"
        ).fetchone()
    assert row == (True, True)


def test_credentials_open_for_their_own_connector_alone() -> None:
    envelope = sealing.seal({"token": "canary"}, tenant_id="t1", connector_id="c1")
    assert "canary" not in envelope
    assert sealing.unseal(envelope, tenant_id="t1", connector_id="c1") == {"token": "canary"}
    for tenant_id, connector_id in (("t2", "c1"), ("t1", "c2"), ("t1c", "1")):
        with pytest.raises(ClarityError, match="copied from another connector"):
            sealing.unseal(envelope, tenant_id=tenant_id, connector_id=connector_id)


def test_damaged_credentials_are_refused_with_a_sentence() -> None:
    envelope = sealing.seal({"token": "canary"}, tenant_id="t1", connector_id="c1")
    version, key, body = envelope.split(".")
    flipped = body[:20] + ("A" if body[20] != "A" else "B") + body[21:]
    for damaged in (
        f"{version}.{key}.{body[:30]}",
        f"{version}.{key}.{flipped}",
        f"{version}.{key}.",
        f"{version}.{key}.%%",
    ):
        with pytest.raises(ClarityError, match="do not open"):
            sealing.unseal(damaged, tenant_id="t1", connector_id="c1")
    with pytest.raises(ClarityError, match="CLARITY_ENCRYPTION_KEYS"):
        sealing.unseal(f"{version}.retired.{body}", tenant_id="t1", connector_id="c1")


def test_a_connectors_configuration_is_sealed_at_rest_and_redacted_in_the_trail(tenant: Tenant) -> None:
    with database.control_session(tenant.id) as connection:
        first = connectors.add(
            connection, tenant_id=tenant.id, connector_type="files", config={"folder": "/canary"}, actor="system:tests"
        )
        again = connectors.add(
            connection, tenant_id=tenant.id, connector_type="files", config={"folder": "/canary2"}, actor="system:tests"
        )
        assert first == again
        assert connectors.open_connector(connection, tenant.id, "files").config == {"folder": "/canary2"}
        everything = connection.execute(
            "select jsonb_agg(to_jsonb(c))::text || (select jsonb_agg(to_jsonb(a))::text from control.audit_log as a)"
            " from control.connectors as c"
        ).fetchone()
    assert everything is not None
    assert "canary" not in everything[0]


def test_a_database_that_is_down_keeps_the_last_known_tenants(
    tenant: Tenant, platform: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    known = registry.tenants("pipeline")
    assert tenant.slug in {entry.slug for entry in known}
    monkeypatch.setattr(database, "registry_conninfo", lambda: "host=127.0.0.1 port=1 user=x dbname=x")
    assert registry.tenants("pipeline") == known
    assert "the registry does not answer" in caplog.text
    with pytest.raises(ClarityError, match="can't be reached"):
        registry.tenant(tenant.slug)


def test_the_registry_role_may_list_tenants_and_nothing_else(tenant: Tenant) -> None:
    with database.connect(database.registry_conninfo(), autocommit=True) as connection:
        assert connection.execute("select count(*) from control.tenants where id = %s", [tenant.id]).fetchone() == (1,)
        for statement in (
            "select * from control.connectors",
            "select clerk_org_id from control.tenants",
            "update control.tenants set name = 'x'",
            "select * from control.logins",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(statement.encode())


def test_the_registrys_last_good_file_holds_no_secret(tenant: Tenant, platform: Path) -> None:
    registry.tenants("pipeline")
    entries = json.loads((platform / "registry-pipeline.json").read_text(encoding="utf-8"))
    assert {tuple(sorted(entry)) for entry in entries} == {
        ("connectors", "created_at", "id", "name", "paused", "slug", "timezone")
    }


def test_the_registry_knows_which_connectors_a_tenant_has_as_they_came_and_nothing_else_of_them(
    tenant: Tenant, tmp_path: Path
) -> None:
    assert registry.tenant(tenant.slug).connectors == ()
    salesforce = {"login_url": "https://login.example", "client_id": "id", "client_secret": "secret", "username": "u"}
    with database.control_session(tenant.id) as control:
        for type_, config in (("salesforce", salesforce), ("files", {"folder": str(tmp_path)})):
            connectors.add(control, tenant_id=tenant.id, connector_type=type_, config=config, actor="system:tests")
            control.commit()
    assert registry.tenant(tenant.slug).connectors == ("salesforce", "files")
    assert registry.tenants("pipeline", tenant.slug) == [registry.tenant(tenant.slug)]
    with database.connect(database.registry_conninfo()) as login:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            login.execute("select config from control.connectors")
