"""Export, delete, import: everything of a tenant leaves and comes back, row for row."""

import json
import shutil
import tarfile
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from control import bi_users, registry, tables, tenants, transfer
from sandbox import companies
from steps import pipeline, provision
from tests.conftest import Tenant
from warehouse import database
from warehouse.errors import ClarityError, MisuseError

TODAY = date(2026, 3, 10)
ACTOR = "system:tests"
Content = dict[str, list[str]]

# a value for every type of column, for tables that a run leaves empty
VALUES = {
    "text": "'Größe \\ \"x\"\n\t'",
    "jsonb": """'{"a": [1.50, "ü\\n\\u0001", null]}'""",
    "bytea": "'home.'::bytea || '\\x00ff'",
    "boolean": "true",
    "date": "date '2026-02-28'",
    "date[]": "array[date '0044-03-15 BC', current_date]",
    "timestamp with time zone": "timestamptz '2026-02-28 23:59:59.123456+00'",
    "bigint": "9007199254740993",
    "integer": "7",
    "numeric": "12.3400",
    "double precision": "0.1",
}
WORDS = {
    "role": "'viewer'",
    "kind": "'email'",
    "outcome": "'written'",
    "severity": "'failure'",
    "suite": "'raw'",
    "verdict": "'pass'",
}


@pytest.fixture
def admin(platform: Path) -> Iterator[psycopg.Connection]:
    with database.connect(database.admin_conninfo(), autocommit=True) as connection:
        yield connection


@pytest.fixture
def full(tenant: Tenant, tmp_path: Path, admin: psycopg.Connection) -> Tenant:
    """A tenant with at least one row in every table: those of a run, and made ones where a run leaves none."""
    folder = tmp_path / "csv"
    companies.write_csv(folder, companies.generate(7, 4, TODAY))
    (folder / "people.csv").open("a").write("broken,line\n")
    provision.add_connector(tenant.id, "files", {"folder": str(folder)}, actor=ACTOR)
    pipeline.run(tenant.slug, as_of=TODAY)
    for table in tables.of_tenants(admin):
        if table != transfer.AUDIT:
            _ensure_a_row(admin, table, tenant.id)
    return tenant


def _ensure_a_row(admin: psycopg.Connection, table: str, tenant_id: str) -> None:
    """A row of values that are hard to carry; what refers to another table refers to a row of this tenant's there."""
    if admin.execute(f"select from {table} where tenant_id = %s".encode(), [tenant_id]).rowcount:
        return
    columns = admin.execute(
        "select attname::text, format_type(atttypid, atttypmod) from pg_attribute"
        " where attrelid = %s::regclass and attnum > 0 and not attisdropped and attname <> 'tenant_id'",
        [table],
    ).fetchall()
    values = {name: WORDS.get(name, VALUES[type_]) for name, type_ in columns}
    for here, there, other in admin.execute(
        "select h.attname::text, t.attname::text, k.confrelid::regclass::text from pg_constraint as k,"
        " unnest(k.conkey, k.confkey) as pair (here, there)"
        " join pg_attribute as h on h.attnum = pair.here join pg_attribute as t on t.attnum = pair.there"
        " where k.conrelid = %s::regclass and k.contype = 'f' and h.attrelid = k.conrelid"
        " and t.attrelid = k.confrelid and h.attname <> 'tenant_id'",
        [table],
    ).fetchall():
        values[here] = f"(select {there} from {other} where tenant_id = '{tenant_id}' limit 1)"
    made = sql.SQL("insert into {} (tenant_id, {}) values ({}, {})").format(
        tables.identifier(table),
        sql.SQL(", ").join(map(sql.Identifier, values)),
        sql.Literal(tenant_id),
        sql.SQL(", ").join(map(sql.SQL, values.values())),
    )
    if table.startswith("raw."):
        # only a tenant's own login lands anything
        with database.run_session(tenant_id) as run:
            run.execute(made)
    else:
        admin.execute(made)


def content(admin: psycopg.Connection, tenant: Tenant) -> Content:
    """Every row of the tenant as text; not what is made anew with it, nor the trail, which only grows."""
    kept = [table for table in tables.of_tenants(admin) if table != transfer.AUDIT]
    rows = {table: f"select t::text from {table} as t where tenant_id = %s order by 1" for table in kept}
    rows["control.tenants"] = "select t::text from control.tenants as t where id = %s"
    return {
        table: [row[0] for row in admin.execute(query.encode(), [tenant.id]).fetchall()]
        for table, query in rows.items()
    }


def trail(admin: psycopg.Connection, tenant: Tenant) -> list[str]:
    rows = admin.execute("select action from control.audit_log where tenant_id = %s order by seq", [tenant.id])
    return [row[0] for row in rows.fetchall()]


def export(tenant: Tenant, target: Path) -> transfer.Transferred:
    return transfer.export(registry.tenant(tenant.slug), target, actor=ACTOR, report=lambda _line: None)


def load(source: Path) -> transfer.Transferred:
    return transfer.load(source, actor=ACTOR, report=lambda _line: None)


@pytest.mark.parametrize("name", ["tenant.tar", "folder"])
def test_export_delete_import_is_row_for_row_the_same(
    full: Tenant, admin: psycopg.Connection, tmp_path: Path, name: str
) -> None:
    before = content(admin, full)
    assert [table for table, rows in before.items() if not rows] == []
    export(full, tmp_path / name)
    tenants.delete(full.id, actor=ACTOR)
    assert all(rows == [] for rows in content(admin, full).values())
    assert load(tmp_path / name).tenant_id == full.id
    assert content(admin, full) == before
    assert trail(admin, full)[-3:] == ["tenant.export", "tenant.delete", "tenant.import"]
    with database.control_session(full.id) as connection:
        assert connection.execute("select * from control.audit_faults(%s)", [full.id]).fetchall() == []


@pytest.mark.long
def test_an_imported_tenant_goes_on_as_if_nothing_had_been(
    full: Tenant, admin: psycopg.Connection, tmp_path: Path
) -> None:
    for table in tables.FILLED_BY_TRIGGERS:
        admin.execute(f"delete from {table} where tenant_id = %s".encode(), [full.id])
    before = content(admin, full)
    export(full, tmp_path / "t.tar")
    tenants.delete(full.id, actor=ACTOR)
    load(tmp_path / "t.tar")
    # the sealed configuration opens again, and a run finds nothing new to write
    pipeline.run(full.slug, as_of=TODAY)
    after = content(admin, full)
    for table in before:
        if table.partition(".")[0] in ("raw", "canonical", "rollups"):
            assert after[table] == before[table], table


def test_deleting_leaves_nothing_in_any_table_but_the_trail(full: Tenant, admin: psycopg.Connection) -> None:
    bi_users.add(full.id, actor=ACTOR)
    logins = [row[0] for row in admin.execute("select login from control.logins where tenant_id = %s", [full.id])]
    assert len(logins) == 3
    tenants.delete(full.id, actor=ACTOR)
    left = [
        table
        for table in (*tables.of_tenants(admin), *tables.MADE_ANEW)
        if admin.execute(f"select from {table} where tenant_id = %s".encode(), [full.id]).rowcount
    ]
    assert sorted(left) == ["control.audit_heads", "control.audit_log"]
    assert admin.execute("select from pg_roles where rolname = any(%s)", [logins]).rowcount == 0


def test_the_trail_travels_as_a_file_and_is_not_loaded_twice(
    full: Tenant, admin: psycopg.Connection, tmp_path: Path
) -> None:
    export(full, tmp_path / "folder")
    lines = (tmp_path / "folder" / "control.audit_log.jsonl").read_text().splitlines()
    exported = sorted(map(json.loads, lines), key=lambda entry: entry["seq"])
    assert [entry["action"] for entry in exported] == trail(admin, full)
    tenants.delete(full.id, actor=ACTOR)
    load(tmp_path / "folder")
    assert len(trail(admin, full)) == len(exported) + 2


def test_an_import_changes_no_tenant_that_is_there(full: Tenant, admin: psycopg.Connection, tmp_path: Path) -> None:
    export(full, tmp_path / "t.tar")
    before = content(admin, full)
    with pytest.raises(MisuseError, match="there is a tenant with this"):
        load(tmp_path / "t.tar")
    assert content(admin, full) == before
    assert trail(admin, full)[-1] == "tenant.export"


def test_an_export_never_writes_over_anything(tenant: Tenant, tmp_path: Path) -> None:
    (tmp_path / "t.tar").write_text("precious")
    with pytest.raises(MisuseError, match="is there already"):
        export(tenant, tmp_path / "t.tar")
    assert (tmp_path / "t.tar").read_text() == "precious"
    with pytest.raises(MisuseError, match="can't be written to"):
        export(tenant, tmp_path / "no" / "such" / "folder" / "t.tar")
    assert [path.name for path in tmp_path.iterdir()] == ["t.tar"]


def test_an_export_is_for_its_owner_alone_to_read(tenant: Tenant, tmp_path: Path) -> None:
    export(tenant, tmp_path / "t.tar")
    export(tenant, tmp_path / "folder")
    assert (tmp_path / "t.tar").stat().st_mode & 0o077 == 0
    assert (tmp_path / "folder").stat().st_mode & 0o077 == 0


def edit_manifest(folder: Path, **changes: Any) -> None:
    file = folder / "manifest.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def flip_a_bit(folder: Path) -> None:
    file = folder / "control.scoring_configs.jsonl"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def cut_short(folder: Path) -> None:
    file = folder / "control.scoring_configs.jsonl"
    file.write_bytes(file.read_bytes()[:-20])


def lose_a_file(folder: Path) -> None:
    (folder / "control.scoring_configs.jsonl").unlink()


def add_a_table(folder: Path) -> None:
    (folder / "control.later.jsonl").write_bytes(b"")
    empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"  # pragma: allowlist secret
    listed = json.loads((folder / "manifest.json").read_text())["tables"]
    edit_manifest(folder, tables=[*listed, {"name": "control.later", "columns": [], "rows": 0, "sha256": empty}])


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (flip_a_bit, "control.scoring_configs.jsonl is not as it was written"),
        (cut_short, "control.scoring_configs.jsonl is not as it was written"),
        (lose_a_file, "is damaged or no export"),
        (add_a_table, "control.later, which the database does not have here"),
        (lambda folder: edit_manifest(folder, format=2), "made by a newer platform"),
        (lambda folder: edit_manifest(folder, tables="none"), "manifest.json is wrong at tables"),
        (lambda folder: (folder / "manifest.json").write_text("{"), "manifest.json is not JSON"),
        (lambda folder: (folder / "manifest.json").unlink(), "is damaged or no export"),
    ],
)
def test_a_damaged_or_newer_export_is_refused_and_leaves_nothing(
    tenant: Tenant, admin: psycopg.Connection, tmp_path: Path, damage: Any, sentence: str
) -> None:
    export(tenant, tmp_path / "folder")
    tenants.delete(tenant.id, actor=ACTOR)
    damage(tmp_path / "folder")
    with pytest.raises(ClarityError, match=sentence):
        load(tmp_path / "folder")
    assert all(rows == [] for rows in content(admin, tenant).values())
    assert admin.execute("select from control.logins where tenant_id = %s", [tenant.id]).rowcount == 0


def test_a_row_of_another_tenant_in_the_files_stops_the_import(
    tenant: Tenant, other_tenant: Tenant, admin: psycopg.Connection, tmp_path: Path
) -> None:
    export(tenant, tmp_path / "mine")
    tenants.delete(tenant.id, actor=ACTOR)
    export(other_tenant, tmp_path / "theirs")
    before = content(admin, other_tenant)
    stolen = "control.scoring_configs.jsonl"
    shutil.copy(tmp_path / "theirs" / stolen, tmp_path / "mine" / stolen)
    theirs = {each["name"]: each for each in json.loads((tmp_path / "theirs" / "manifest.json").read_text())["tables"]}
    mine = json.loads((tmp_path / "mine" / "manifest.json").read_text())["tables"]
    edit_manifest(
        tmp_path / "mine",
        tables=[theirs[each["name"]] if each["name"] == "control.scoring_configs" else each for each in mine],
    )
    with pytest.raises(ClarityError, match="row-level security"):
        load(tmp_path / "mine")
    assert content(admin, other_tenant) == before
    assert all(rows == [] for rows in content(admin, tenant).values())


def test_what_is_no_export_is_refused(platform: Path, tmp_path: Path) -> None:
    (tmp_path / "x.tar").write_text("not a tar")
    with tarfile.open(tmp_path / "empty.tar", "w"):
        pass
    for source in ("x.tar", "nothing", "empty.tar", "."):
        with pytest.raises(ClarityError, match=r"no export|can't be read"):
            load(tmp_path / source)


def test_who_may_export_and_import(tenant: Tenant, tmp_path: Path) -> None:
    with pytest.raises(ClarityError, match="needs the role admin"):
        transfer.export(registry.tenant(tenant.slug), tmp_path / "t.tar", actor="mallory", report=lambda _line: None)
    with pytest.raises(ClarityError, match="for the platform's operators"):
        transfer.load(tmp_path / "t.tar", actor="mallory", report=lambda _line: None)
