"""The audit trail as it is read and verified."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import typer
from typer.testing import CliRunner

from cli import audit_trail, main
from control import audit, members
from steps import provision
from tests.conftest import Tenant
from warehouse import database
from warehouse.errors import ClarityError

SYSTEM = "system:tests"

app = typer.Typer()
app.callback()(main.options)
audit_trail.register(app)


def ask(*words: str, code: int = 0) -> str:
    done = CliRunner().invoke(app, list(words))
    if isinstance(done.exception, ClarityError):
        raise done.exception
    assert done.exit_code == code, done.output
    return done.stdout


@pytest.fixture
def admin(platform: Path) -> Iterator[psycopg.Connection]:
    with database.connect(database.admin_conninfo(), autocommit=True) as connection:
        yield connection


@pytest.fixture
def busy(tenant: Tenant) -> Tenant:
    members.add(tenant.id, "ann", "admin", actor=SYSTEM)
    provision.set_scoring_config(tenant.id, "fit", {"industries": ["Größe"]}, actor="ann")
    return tenant


def read(tenant: Tenant, **choice: Any) -> list[tuple[int, str, str]]:
    with database.control_session(tenant.id) as connection:
        rows = audit.entries(connection, tenant.id, **{"limit": 50, **choice})
    return [(row.seq, row.actor, row.action) for row in rows]


def test_the_newest_rows_are_read_in_the_order_in_which_things_happened(busy: Tenant) -> None:
    whole = [(1, SYSTEM, "tenant.create"), (2, SYSTEM, "member.add"), (3, "ann", "config.set")]
    assert read(busy) == whole
    assert read(busy, limit=2) == whole[1:]
    assert read(busy, action_prefix="member.") == whole[1:2]
    assert read(busy, action_prefix="%") == []


def test_a_tenants_trail_is_its_own(busy: Tenant, other_tenant: Tenant) -> None:
    with database.control_session(other_tenant.id) as connection:
        assert audit.entries(connection, busy.id, limit=50) == []
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="may not verify the trail"):
            audit.faults(connection, busy.id)


def test_the_command_tells_who_did_what_with_before_and_after(busy: Tenant) -> None:
    rows = json.loads(ask("--json", "audit", busy.slug, "--action", "config."))
    assert [(row["seq"], row["actor"], row["action"], row["resource_id"]) for row in rows] == [
        (3, "ann", "config.set", "fit")
    ]
    assert (rows[0]["before"]["industries"], rows[0]["after"]["industries"]) == ([], ["Größe"])
    told = ask("audit", busy.slug, "--limit", "1")
    assert "config.set" in told
    assert "ann" in told
    assert "tenant.create" not in told


def test_a_whole_trail_is_called_whole_and_counted(busy: Tenant) -> None:
    assert ask("audit", busy.slug, "--verify") == "The trail is whole: 3 rows.\n"
    assert json.loads(ask("--json", "audit", busy.slug, "--verify")) == {"whole": True, "rows": 3, "faults": []}


def test_an_altered_and_a_missing_row_are_named_and_the_command_fails(busy: Tenant, admin: psycopg.Connection) -> None:
    admin.execute("alter table control.audit_log disable trigger user")
    try:
        admin.execute("update control.audit_log set user_id = 'bob' where tenant_id = %s and seq = 2", [busy.id])
        admin.execute("delete from control.audit_log where tenant_id = %s and seq = 3", [busy.id])
        told = ask("audit", busy.slug, "--verify", code=1)
        assert told == (
            "The trail is NOT whole: row 2: the row was altered; row 3: rows at the end are missing or altered.\n"
        )
        answer = json.loads(ask("--json", "audit", busy.slug, "--verify", code=1))
        assert (answer["whole"], [fault["seq"] for fault in answer["faults"]]) == (False, [2, 3])
    finally:
        admin.execute("alter table control.audit_log enable trigger user")


def test_only_an_admin_reads_it_and_whoever_else_tried_is_in_it(busy: Tenant) -> None:
    members.add(busy.id, "vic", "viewer", actor=SYSTEM)
    for user in ("vic", "eve"):
        for flag in ([], ["--verify"]):
            with pytest.raises(ClarityError, match=r"audit\.read needs the role admin"):
                ask("--actor", user, "audit", busy.slug, *flag)
    refused = read(busy, action_prefix="audit.read.refused")
    assert [actor for _, actor, _ in refused] == ["vic", "vic", "eve", "eve"]
    told = ask("--actor", "ann", "audit", busy.slug)
    assert "vic" in told


def test_a_name_cannot_write_to_the_readers_screen(busy: Tenant) -> None:
    with database.control_session(busy.id) as connection:
        audit.record(connection, tenant_id=busy.id, actor="\x1b[2Jeve", action="a", resource="r")
    told = ask("audit", busy.slug)
    assert "eve" in told
    assert "\x1b" not in told
