"""Field mappings: what may fill what, versions, and the way back to the default."""

import re
from pathlib import Path
from typing import Any

import pytest

from control import expressions, mappings
from steps import provision
from tests.conftest import Tenant
from warehouse import database
from warehouse.errors import MisuseError

SYSTEM = "system:tests"
NAME = {"sourceField": "Company", "targetField": "name"}


@pytest.fixture
def with_files(tenant: Tenant, tmp_path: Path) -> Tenant:
    provision.add_connector(tenant.id, "files", {"folder": str(tmp_path)}, actor=SYSTEM)
    return tenant


def put(tenant: Tenant, *entries: dict[str, Any], entity: str = "accounts") -> int:
    return mappings.put(tenant.id, "files", entity, {"mappings": list(entries)}, actor=SYSTEM).version


def in_force(tenant: Tenant, entity: str = "accounts") -> mappings.InForce:
    return mappings.show(tenant.id, "files", entity, actor=SYSTEM)


@pytest.mark.parametrize("entity", mappings.COLUMNS)
def test_the_default_fills_every_column_and_can_be_set_as_it_is_shown(with_files: Tenant, entity: str) -> None:
    shown = in_force(with_files, entity)
    assert (shown.is_default, shown.version) == (True, 0)
    assert [entry["targetField"] for entry in shown.mappings] == list(mappings.COLUMNS[entity])
    put(with_files, *shown.mappings, entity=entity)
    assert in_force(with_files, entity).mappings == shown.mappings


def test_a_mapping_is_kept_with_every_version_and_reset_brings_the_default_back(with_files: Tenant) -> None:
    default = in_force(with_files).mappings
    assert put(with_files, NAME) == 2
    assert put(with_files, NAME) == 2
    assert put(with_files, {**NAME, "transform": "trim"}) == 3
    assert in_force(with_files) == mappings.InForce(
        [{**NAME, "transform": "trim", "required": False}], is_default=False, version=3
    )
    assert mappings.reset(with_files.id, "files", "accounts", actor=SYSTEM).version == 4
    assert not mappings.reset(with_files.id, "files", "accounts", actor=SYSTEM).changed
    assert in_force(with_files) == mappings.InForce(default, is_default=True, version=4)
    assert mappings.rollback(with_files.id, "files", "accounts", 2, actor=SYSTEM).version == 5
    assert in_force(with_files).mappings[0]["transform"] == "none"
    assert mappings.rollback(with_files.id, "files", "accounts", 1, actor=SYSTEM).version == 6
    assert in_force(with_files) == mappings.InForce(default, is_default=True, version=6)
    listed = mappings.versions(with_files.id, "files", "accounts", actor=SYSTEM)
    assert [version.version for version in listed] == [1, 2, 3, 4, 5, 6]


def test_the_trail_tells_before_and_after(with_files: Tenant) -> None:
    put(with_files, NAME)
    mappings.reset(with_files.id, "files", "accounts", actor=SYSTEM)
    with database.control_session(with_files.id) as connection:
        rows = connection.execute(
            "select action, resource_id, (changes -> 'before' ->> 'is_default')::boolean,"
            " changes -> 'after' -> 'mappings' -> 0 ->> 'sourceField'"
            " from control.audit_log where resource = 'field_mapping' order by seq"
        ).fetchall()
    assert rows == [
        ("mapping.set", "files.accounts", True, "Company"),
        ("mapping.reset", "files.accounts", False, "name"),
    ]


@pytest.mark.parametrize(
    ("entry", "value"),
    [
        ({"transform": "none"}, " Acme Ltd "),
        ({"transform": "lowercase"}, " acme ltd "),
        ({"transform": "uppercase"}, " ACME LTD "),
        ({"transform": "trim"}, "Acme Ltd"),
        ({"transform": "custom", "customTransform": "split_part(trim(Company), ' ', 1)"}, "Acme"),
    ],
)
def test_every_transform_is_a_tree(entry: dict[str, Any], value: str) -> None:
    tree = mappings.Entry.model_validate({**NAME, **entry}).tree
    assert expressions.evaluate(tree, {"Company": " Acme Ltd "}) == value


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ({}, "mappings: Field required"),
        ({"mappings": NAME}, "mappings: Input should be a valid list"),
        ({"mappings": [NAME], "note": 1}, "there is no field 'note'; there are mappings"),
        (
            {"mappings": [{**NAME, "sql": "x"}]},
            "mappings.0: there is no field 'sql'; there are sourceField, targetField",
        ),
        ({"mappings": [{"targetField": "name"}]}, "mappings.0.sourceField: Field required"),
        (
            {"mappings": [{**NAME, "sourceField": ""}]},
            "mappings.0.sourceField: String should have at least 1 character",
        ),
        ({"mappings": [{**NAME, "sourceField": 7}]}, "mappings.0.sourceField: Input should be a valid string, not 7"),
        ({"mappings": [{**NAME, "sourceField": "x" * 10_000}]}, "should have at most 200 characters"),
        ({"mappings": [{**NAME, "sourceField": "a\0"}]}, "mappings.0.sourceField: holds a character"),
        (
            {"mappings": [{**NAME, "required": "yes"}]},
            "mappings.0.required: Input should be a valid boolean, not 'yes'",
        ),
        (
            {"mappings": [{**NAME, "transform": "sql"}]},
            "'none', 'lowercase', 'uppercase', 'trim' or 'custom', not 'sql'",
        ),
        (
            {"mappings": [{**NAME, "transform": "custom"}]},
            "customTransform holds an expression when transform is custom",
        ),
        ({"mappings": [{**NAME, "customTransform": "a"}]}, "and only then"),
        (
            {"mappings": [{**NAME, "transform": "custom", "customTransform": "a; drop table x"}]},
            "mappings.0.customTransform: at character 2: ';' means nothing here; allowed are",
        ),
        (
            {"mappings": [{**NAME, "transform": "custom", "customTransform": "pg_sleep(9)"}]},
            "there is no function pg_sleep; there are lower, upper",
        ),
        ({"mappings": [NAME, NAME]}, "mappings.1.targetField: name is filled twice"),
        (
            {"mappings": [NAME, {**NAME, "targetField": "tenant_id"}]},
            "accounts have no column 'tenant_id' that a mapping may fill; there are name, domain",
        ),
        ({"mappings": []}, "mappings: nothing fills name, without which no accounts can be kept"),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else None,
)
def test_a_wrong_mapping_is_refused_with_its_field_and_what_is_allowed(
    with_files: Tenant, content: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(MisuseError, match=re.escape(sentence)) as refusal:
        mappings.put(with_files.id, "files", "accounts", content, actor=SYSTEM)
    assert len(str(refusal.value)) < 500
    assert str(refusal.value).isprintable()
    assert in_force(with_files).version == 0


@pytest.mark.parametrize("wrong", ["fax", "Files", "", "\U0001f600", "x" * 10_000, "a\0b", "\udcff", "\x1b[2J"])
def test_what_is_not_there_is_named_in_a_short_line(with_files: Tenant, wrong: str) -> None:
    for connector, entity in ((wrong, "accounts"), ("files", wrong)):
        with pytest.raises(MisuseError) as refusal:
            mappings.show(with_files.id, connector, entity, actor=SYSTEM)
        assert len(str(refusal.value)) < 250
        assert str(refusal.value).isprintable()


def test_a_mapping_goes_with_its_connector(with_files: Tenant) -> None:
    put(with_files, NAME)
    with database.control_session(with_files.id) as connection:
        connection.execute("delete from control.connectors where tenant_id = %s", [with_files.id])
        rows = connection.execute("select from control.mapping_versions union all select from control.field_mappings")
        assert rows.rowcount == 0
