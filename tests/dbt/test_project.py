"""The dbt project's own rules: layers, names, and that every model says what it is."""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from psycopg.conninfo import make_conninfo

from scoring.configs import DEFAULT_SIGNALS
from steps import project
from warehouse import database
from warehouse.home import home

NAMES = {
    "staging": r"stg_[a-z0-9]+__[a-z0-9_]+",
    "canonical": r"[a-z]+|fathom_meetings|int_[a-z_]+__[a-z]+",
    "rollups": r"rollup_[a-z]+_[a-z_]+",
    "marts": r"mart_[a-z]+__[a-z_]+|int_[a-z_]+__[a-z]+",
    "writeback": r"int_writeback__[a-z]+",
}
# `seeds` are what dbt knows of the world, the others are layers and sources
MAY_READ = {
    "staging": {"raw", "seeds"},
    "canonical": {"staging", "canonical", "control", "seeds"},
    "rollups": {"rollups", "canonical", "seeds"},
    "marts": {"canonical", "rollups", "scores", "marts", "control", "quality"},
    "writeback": {"canonical", "scores", "control", "writeback"},
}
# what a model can do to a row beside naming its columns; whoever does it shows by an example that it is right
LOGIC = re.compile(r"\b(join|where|group by|union|distinct|case|over|lateral|having)\b", re.IGNORECASE)


@pytest.fixture(scope="module")
def manifest(platform: Path) -> Any:
    return project.manifest()


def models(manifest: Any) -> Iterator[tuple[str, Any]]:
    for node in manifest.nodes.values():
        if node.resource_type == "model":
            yield node.fqn[1], node


def layer_of(manifest: Any, unique_id: str) -> str:
    if source := manifest.sources.get(unique_id):
        return str(source.source_name)
    node = manifest.nodes[unique_id]
    return "seeds" if node.resource_type == "seed" else str(node.fqn[1])


def is_plain(node: Any) -> bool:
    """Staging and unions only name columns, for all that macros do there has tests of its own."""
    return node.name.startswith("stg_") or node.name.endswith("__unioned") or not LOGIC.search(node.raw_code)


def test_a_project_parsed_for_one_database_is_not_taken_for_another(
    manifest: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parsed = []

    def parse(_folder: Path, _command: list[str]) -> SimpleNamespace:
        parsed.append(os.environ["CLARITY_DBT_DBNAME"])
        return SimpleNamespace(result=manifest)

    monkeypatch.setattr(project, "invoke", parse)
    for name in ("one", "another", "one"):
        with project.session(make_conninfo(database.owner_conninfo(), dbname=name)):
            project.parse(tmp_path)
    assert parsed == ["one", "another"]


def test_a_model_reads_only_the_layers_drawn_for_it(manifest: Any) -> None:
    wrong = [
        f"{node.name} reads {parent}"
        for layer, node in models(manifest)
        for parent in node.depends_on.nodes
        if layer_of(manifest, parent) not in MAY_READ[layer]
    ]
    assert wrong == []


def test_a_view_of_staging_reads_one_stream_and_is_named_after_it(manifest: Any) -> None:
    wrong = []
    for layer, node in models(manifest):
        if layer == "staging":
            streams = [manifest.sources[parent].name for parent in node.depends_on.nodes if parent in manifest.sources]
            connector, _, stream = node.name.removeprefix("stg_").partition("__")
            # a stream that holds several things has a view for each
            if len(streams) != 1 or not streams[0].startswith(f"{connector}__") or node.fqn[2] != connector:
                wrong.append(f"{node.name} in {'/'.join(node.fqn[1:])} reads {', '.join(streams)}")
            assert stream
    assert wrong == []


def test_a_union_reads_nothing_but_staging(manifest: Any) -> None:
    """So that a further source is its folder in staging and a line in each union, and nothing else."""
    unions = [node for _, node in models(manifest) if node.name.endswith("__unioned")]
    assert unions
    wrong = [
        f"{node.name} reads {parent}"
        for node in unions
        for parent in node.depends_on.nodes
        if layer_of(manifest, parent) != "staging"
    ]
    assert wrong == []
    elsewhere = [
        f"{node.name} reads {parent}"
        for layer, node in models(manifest)
        for parent in node.depends_on.nodes
        if node not in unions and layer != "staging" and layer_of(manifest, parent) == "staging"
    ]
    assert elsewhere == []


def test_what_is_not_kept_is_an_intermediate_step(manifest: Any) -> None:
    wrong = [
        node.name
        for layer, node in models(manifest)
        if node.config.materialized in ("view", "ephemeral") and layer != "staging" and not node.name.startswith("int_")
    ]
    assert wrong == []


def test_names_say_the_layer(manifest: Any) -> None:
    assert [node.name for layer, node in models(manifest) if not re.fullmatch(NAMES[layer], node.name)] == []


def test_every_model_says_what_it_is_and_what_its_rows_are(manifest: Any) -> None:
    silent = [node.name for _, node in models(manifest) if not (node.description and node.config.meta.get("grain"))]
    assert silent == []


def test_every_table_is_held_to_a_contract_and_every_column_described(manifest: Any) -> None:
    tables = [node for _, node in models(manifest) if node.config.materialized == "incremental"]
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
    kept = [node for _, node in models(manifest) if node.config.materialized != "ephemeral"]
    assert [node.name for node in kept if node.unique_id not in tested] == []


def test_every_model_with_logic_shows_by_an_example_that_it_is_right(manifest: Any) -> None:
    shown = {parent for test in manifest.unit_tests.values() for parent in test.depends_on.nodes}
    assert [node.name for _, node in models(manifest) if not is_plain(node) and node.unique_id not in shown] == []


def test_every_seed_and_its_columns_are_described(manifest: Any) -> None:
    seeds = [node for node in manifest.nodes.values() if node.resource_type == "seed"]
    assert [node.name for node in seeds if not node.description or not node.columns] == []
    columns = [(f"{node.name}.{name}", column) for node in seeds for name, column in node.columns.items()]
    assert [name for name, column in columns if not column.description] == []


def test_somebody_uses_every_mart_and_every_exposure_says_who(manifest: Any) -> None:
    used = {parent for exposure in manifest.exposures.values() for parent in exposure.depends_on.nodes}
    marts = [node for layer, node in models(manifest) if layer == "marts" and node.name.startswith("mart_")]
    assert [node.name for node in marts if node.unique_id not in used] == []
    silent = [
        it.name for it in manifest.exposures.values() if not (it.description and (it.owner.name or it.owner.email))
    ]
    assert silent == []


def test_a_table_of_ours_goes_with_its_tenant(manifest: Any) -> None:
    """Migrations say so for their tables; for those that dbt makes the contract does."""
    for layer, node in models(manifest):
        if layer in ("rollups", "marts") and node.config.materialized == "incremental":
            expressions = [constraint.expression for constraint in node.columns["tenant_id"].constraints]
            assert "control.tenants (id) on delete cascade" in expressions, node.name


def test_the_channels_are_those_of_the_engine(manifest: Any) -> None:
    macro = manifest.macros["macro.clarity.signal_channels"].macro_sql
    channels = {name: signal.channel for name, signal in DEFAULT_SIGNALS.items()}
    assert dict(re.findall(r'"(\w+)": "(\w+)"', macro)) == channels


def test_unit_tests_hold(platform: Path) -> None:
    with project.session(database.owner_conninfo()):
        outcome = project.invoke(
            home() / "dbt" / "unit",
            ["test", "--target", "deploy", "--select", "test_type:unit"],
            manifest=project.manifest(),
        )
    results = outcome.result.results
    assert len(results) >= 16
    assert [f"{result.node.name}: {result.message}" for result in results if result.status != "pass"] == []


def test_the_documentation_is_one_file_that_knows_every_model(platform: Path, manifest: Any) -> None:
    page = project.document().read_text(encoding="utf-8")
    assert [node.name for _, node in models(manifest) if f'"{node.unique_id}"' not in page] == []
    # with the types that the database has
    assert '"timestamp with time zone"' in page


@pytest.mark.long
def test_a_deploy_over_a_deployment_changes_no_row_and_no_view(platform: Path) -> None:
    owner = database.owner_conninfo()
    views = (
        "select oid, relname from pg_class where relkind = 'v' and relnamespace = 'staging'::regnamespace order by 1"
    )
    with database.connect(owner) as connection:
        before = connection.execute(views).fetchall()
    project.deploy(lambda _line: None)
    with database.connect(owner) as connection:
        assert connection.execute(views).fetchall() == before
    assert len(before) == len([1 for _, node in models(project.manifest()) if node.config.materialized == "view"])


def test_views_read_with_the_rights_of_whoever_asks(platform: Path) -> None:
    with database.connect(database.owner_conninfo()) as connection:
        definers = connection.execute(
            "select relname from pg_class where relkind = 'v' and relnamespace = 'staging'::regnamespace"
            " and not coalesce(reloptions @> '{security_invoker=true}', false)"
        ).fetchall()
    assert definers == []


def test_the_environment_is_as_it_was_after_dbt(platform: Path) -> None:
    before = dict(os.environ)
    with project.session(database.owner_conninfo()):
        assert os.environ["CLARITY_DBT_USER"] == "clarity_owner"
    assert dict(os.environ) == before
