"""The database holds the product's schema reference (schema_reference.yml) to the letter."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml

from tests.conftest import Tenant
from warehouse import database

REFERENCE: dict[str, dict[str, Any]] = yaml.safe_load(
    (Path(__file__).parent / "schema_reference.yml").read_text(encoding="utf-8")
)
TYPES = {"timestamptz": "timestamp with time zone"}
DEFAULTS = {
    "now()": "now()",
    "{}": "'{}'::jsonb",
    "[]": "'[]'::jsonb",
    "true": "true",
    "false": "false",
    "1": "1",
    "0": "0",
}


@dataclass(frozen=True)
class Column:
    type: str
    not_null: bool
    default: str | None
    primary_key: bool
    unique: bool
    references: str | None


def parse(definition: str) -> Column:
    """`text not null unique default now() fk accounts.id` as a Column; a word that is not understood is an error."""
    rest = definition
    found: dict[str, str | None] = {}
    for word, pattern in (
        ("not_null", r"\bnot null\b"),
        ("primary_key", r"\bpk\b"),
        ("unique", r"\bunique\b"),
        ("references", r"\bfk (\S+)"),
        ("default", r"\bdefault (\S+)"),
    ):
        match = re.search(pattern, rest)
        found[word] = (match.group(1) if match.groups() else "yes") if match else None
        rest = re.sub(pattern, "", rest)
    type_ = rest.strip()
    assert type_ in {"text", "jsonb", "integer", "numeric", "boolean", "timestamptz"}, definition
    default = found["default"]
    if default is not None:
        default = DEFAULTS.get(default, f"'{default}'::text")
    return Column(
        TYPES.get(type_, type_),
        bool(found["not_null"] or found["primary_key"]),
        default,
        bool(found["primary_key"]),
        bool(found["unique"]),
        found["references"],
    )


@pytest.fixture(scope="module")
def catalogue(platform: Path) -> Iterator[psycopg.Connection]:
    with database.connect(database.admin_conninfo()) as connection:
        yield connection


@pytest.mark.parametrize("table", REFERENCE)
def test_every_column_has_its_type_nullability_and_default(catalogue: psycopg.Connection, table: str) -> None:
    actual = {
        name: (type_, not_null, default)
        for name, type_, not_null, default in catalogue.execute(
            "select a.attname::text, format_type(a.atttypid, a.atttypmod), a.attnotnull,"
            " pg_get_expr(d.adbin, d.adrelid)"
            " from pg_attribute as a left join pg_attrdef as d on d.adrelid = a.attrelid and d.adnum = a.attnum"
            " where a.attrelid = %s::regclass and a.attnum > 0 and not a.attisdropped",
            [f"{REFERENCE[table]['schema']}.{table}"],
        )
    }
    for name, definition in REFERENCE[table]["columns"].items():
        column = parse(definition)
        assert actual.get(name) == (column.type, column.not_null, column.default), f"{table}.{name}: {definition}"


@pytest.mark.parametrize("table", REFERENCE)
def test_every_key_and_index_is_there(catalogue: psycopg.Connection, table: str) -> None:
    entry = REFERENCE[table]
    rows = catalogue.execute(
        "select array_agg(a.attname::text order by k.place), i.indisunique, i.indisprimary, i.indnullsnotdistinct"
        " from pg_index as i, unnest(i.indkey::int[]) with ordinality as k (attnum, place), pg_attribute as a"
        " where i.indrelid = %s::regclass and i.indpred is null"
        " and a.attrelid = i.indrelid and a.attnum = k.attnum"
        " group by i.indexrelid",
        [f"{entry['schema']}.{table}"],
    ).fetchall()
    columns = {name: parse(definition) for name, definition in entry["columns"].items()}
    unique = {tuple(names) for names, is_unique, _, _ in rows if is_unique}
    assert [names for names, _, primary, _ in rows if primary] == [
        [name for name, column in columns.items() if column.primary_key]
    ]
    assert {(name,) for name, column in columns.items() if column.unique} <= unique
    assert {tuple(names) for names in entry.get("unique", [])} <= unique
    # an index that begins with the columns asked for serves as one on them
    for wanted in entry.get("indexes", []):
        assert any(names[: len(wanted)] == wanted for names, *_ in rows), f"{table}: no index on {wanted}"
    for wanted in entry.get("indexes", []):
        assert any(names == wanted for names, *_ in rows), f"{table}: no index on just {wanted}"
    if table == "buying_groups":
        nulls = [nulls for names, _, _, nulls in rows if names == ["tenant_id", "account_id", "solution_tag"]]
        assert nulls == [True], "a null solution_tag counts as equal"


@pytest.mark.parametrize("table", REFERENCE)
def test_every_foreign_key_carries_the_tenant(catalogue: psycopg.Connection, table: str) -> None:
    entry = REFERENCE[table]
    keys = {
        (tuple(here), there, tuple(their)): action
        for here, there, their, action in catalogue.execute(
            "select array(select attname::text from unnest(k.conkey) with ordinality as n (attnum, place)"
            " join pg_attribute as a on a.attrelid = k.conrelid and a.attnum = n.attnum order by place),"
            " confrelid::regclass::text,"
            " array(select attname::text from unnest(k.confkey) with ordinality as n (attnum, place)"
            " join pg_attribute as a on a.attrelid = k.confrelid and a.attnum = n.attnum order by place),"
            " k.confdeltype::text from pg_constraint as k"
            " where k.conrelid = %s::regclass and k.contype = 'f'",
            [f"{entry['schema']}.{table}"],
        )
    }
    if "tenant_id" in entry["columns"] and table != "audit_log":
        assert keys.get((("tenant_id",), "control.tenants", ("id",))) == "c"
    for name, definition in entry["columns"].items():
        references = parse(definition).references
        if references:
            parent, column = references.split(".")
            target = f"{REFERENCE[parent]['schema']}.{parent}"
            assert (("tenant_id", name), target, ("tenant_id", column)) in keys, f"{table}.{name} -> {references}"


def test_all_seventeen_tables_are_in_the_reference() -> None:
    assert len(REFERENCE) == 17


def test_updated_at_moves_when_content_changes_and_only_then(tenant: Tenant) -> None:
    with database.run_session(tenant.id) as connection:
        connection.execute(
            "insert into canonical.accounts (id, tenant_id, name, updated_at) values ('a', %s, 'Acme', '2020-01-01')",
            [tenant.id],
        )
        connection.execute("update canonical.accounts set name = 'Acme'")
        assert connection.execute("select extract(year from updated_at)::int from canonical.accounts").fetchone() == (
            2020,
        )
        connection.execute("update canonical.accounts set name = 'Acme Ltd'")
        assert connection.execute("select updated_at = now() from canonical.accounts").fetchone() == (True,)
        connection.rollback()
