"""The dbt project's own rules: layers, names, and that every model says what it is."""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from scoring.configs import DEFAULT_SIGNALS
from steps import transform
from warehouse import database
from warehouse.home import home

NAMES = {
    "staging": r"stg_[a-z0-9]+__[a-z0-9_]+",
    "canonical": r"[a-z]+|int_[a-z]+__[a-z]+",
    "rollups": r"rollup_[a-z]+_[a-z_]+",
    "marts": r"mart_[a-z]+__[a-z_]+|int_[a-z]+__[a-z]+",
}
MAY_READ = {
    "staging": {"raw"},
    "canonical": {"staging", "canonical", "control"},
    "rollups": {"rollups", "canonical"},
    "marts": {"canonical", "rollups", "scores"},
}


@pytest.fixture(scope="module")
def manifest(platform: Path) -> Any:
    return transform._manifest()


def models(manifest: Any) -> Iterator[tuple[str, Any]]:
    for node in manifest.nodes.values():
        if node.resource_type == "model":
            yield node.fqn[1], node


def layer_of(manifest: Any, unique_id: str) -> str:
    source = manifest.sources.get(unique_id)
    return str(source.source_name if source else manifest.nodes[unique_id].fqn[1])


def test_a_model_reads_only_the_layers_drawn_for_it(manifest: Any) -> None:
    wrong = [
        f"{node.name} reads {parent}"
        for layer, node in models(manifest)
        for parent in node.depends_on.nodes
        if layer_of(manifest, parent) not in MAY_READ[layer]
        and not (layer == "marts" and parent.rsplit(".", 1)[-1].startswith("int_"))
    ]
    assert wrong == []


def test_names_say_the_layer(manifest: Any) -> None:
    assert [node.name for layer, node in models(manifest) if not re.fullmatch(NAMES[layer], node.name)] == []


def test_every_model_says_what_it_is_and_what_its_rows_are(manifest: Any) -> None:
    silent = [node.name for _, node in models(manifest) if not (node.description and node.config.meta.get("grain"))]
    assert silent == []


def test_every_table_is_held_to_a_contract_and_every_column_described(manifest: Any) -> None:
    tables = [node for _, node in models(manifest) if node.config.materialized != "view"]
    assert tables
    assert [node.name for node in tables if not node.config.contract.enforced] == []
    assert [node.name for node in tables if node.config.full_refresh is not False] == []
    columns = [(f"{node.name}.{name}", column) for node in tables for name, column in node.columns.items()]
    assert [name for name, column in columns if not column.description] == []


def test_every_model_has_a_key_that_is_tested(manifest: Any) -> None:
    tested = {
        node.attached_node
        for node in manifest.nodes.values()
        if node.resource_type == "test" and node.test_metadata.name in ("unique", "unique_together")
    }
    assert [node.name for _, node in models(manifest) if node.unique_id not in tested] == []


def test_a_table_of_ours_goes_with_its_tenant(manifest: Any) -> None:
    """Migrations say so for their tables; for those that dbt makes the contract does."""
    for layer, node in models(manifest):
        if layer in ("rollups", "marts") and node.config.materialized != "view":
            expressions = [constraint.expression for constraint in node.columns["tenant_id"].constraints]
            assert "control.tenants (id) on delete cascade" in expressions, node.name


def test_the_channels_are_those_of_the_engine(manifest: Any) -> None:
    macro = manifest.macros["macro.clarity.signal_channels"].macro_sql
    channels = {name: signal.channel for name, signal in DEFAULT_SIGNALS.items()}
    assert dict(re.findall(r'"(\w+)": "(\w+)"', macro)) == channels


def test_unit_tests_hold(platform: Path) -> None:
    with transform._dbt(database.owner_conninfo()):
        outcome = transform._invoke(
            home() / "dbt" / "unit",
            ["test", "--target", "deploy", "--select", "test_type:unit"],
            manifest=transform._manifest(),
        )
    results = outcome.result.results  # type: ignore[union-attr]
    assert len(results) >= 16
    assert [f"{result.node.name}: {result.message}" for result in results if result.status != "pass"] == []


def test_a_deploy_over_a_deployment_changes_no_row_and_no_view(platform: Path) -> None:
    owner = database.owner_conninfo()
    views = "select oid, relname from pg_class where relnamespace = 'staging'::regnamespace order by 1"
    with database.connect(owner) as connection:
        before = connection.execute(views).fetchall()
    transform.deploy(lambda _line: None)
    with database.connect(owner) as connection:
        assert connection.execute(views).fetchall() == before
    assert len(before) == len([1 for _, node in models(transform._manifest()) if node.config.materialized == "view"])


def test_views_read_with_the_rights_of_whoever_asks(platform: Path) -> None:
    with database.connect(database.owner_conninfo()) as connection:
        definers = connection.execute(
            "select relname from pg_class where relkind = 'v' and relnamespace = 'staging'::regnamespace"
            " and not coalesce(reloptions @> '{security_invoker=true}', false)"
        ).fetchall()
    assert definers == []


def test_the_environment_is_as_it_was_after_dbt(platform: Path) -> None:
    before = dict(os.environ)
    with transform._dbt(database.owner_conninfo()):
        assert os.environ["CLARITY_DBT_USER"] == "clarity_owner"
    assert dict(os.environ) == before
