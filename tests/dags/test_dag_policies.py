"""What holds for every DAG, and what parsing may cost."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from cli import airflow_env
from control import registry
from control.registry import TenantEntry
from warehouse.home import project_root

if TYPE_CHECKING:
    from airflow.dag_processing.dagbag import DagBag

DAGS = project_root() / "dags"
PARSING_ONE_OF = "_AIRFLOW_PARSING_CONTEXT_DAG_ID"


@pytest.fixture(scope="module")
def airflow(platform: Path) -> Iterator[None]:
    """Airflow configured as the platform configures it, before anything imports it."""
    before = dict(os.environ)
    os.environ.update(airflow_env.settings())
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture
def parse(airflow: None) -> "Callable[[], DagBag]":
    from airflow.dag_processing.dagbag import DagBag

    return lambda: DagBag(dag_folder=DAGS)


@pytest.fixture
def tenants(monkeypatch: pytest.MonkeyPatch) -> list[TenantEntry]:
    """The registry's answer. A test may change it."""
    entries = [_tenant("acme"), _tenant("globex"), _tenant("idle", paused=True)]
    monkeypatch.setattr(registry, "tenants", lambda: entries)
    return entries


def _tenant(slug: str, *, paused: bool = False) -> TenantEntry:
    return TenantEntry(f"id-{slug}", slug, slug.title(), "UTC", paused, created_at="2026-03-10T08:00:00+00:00")


def test_every_dag_file_imports_without_an_error(parse: "Callable[[], DagBag]", tenants: list[TenantEntry]) -> None:
    bag = parse()
    assert bag.import_errors == {}
    assert set(bag.dags) == {"pipeline__acme", "pipeline__globex", "pipeline__idle"}


def test_every_dag_says_whose_it_is_what_it_does_and_what_to_do_when_it_fails(
    parse: "Callable[[], DagBag]", tenants: list[TenantEntry]
) -> None:
    for dag in parse().dags.values():
        assert dag.owner not in ("", "airflow"), dag.dag_id
        assert dag.tags, dag.dag_id
        assert dag.description, dag.dag_id
        assert "When it fails" in (dag.doc_md or ""), dag.dag_id
        assert "{" not in (dag.doc_md or ""), f"{dag.dag_id} shows a placeholder"


def test_every_task_is_retried_soon_and_can_not_run_for_ever(
    parse: "Callable[[], DagBag]", tenants: list[TenantEntry]
) -> None:
    for dag in parse().dags.values():
        for task in dag.tasks:
            assert task.retries == 2, task
            assert task.retry_delay <= timedelta(seconds=30), task
            assert task.execution_timeout is not None, task
            assert task.execution_timeout <= timedelta(hours=2), task


def test_no_dag_catches_up_or_overtakes_itself(parse: "Callable[[], DagBag]", tenants: list[TenantEntry]) -> None:
    for dag in parse().dags.values():
        assert dag.catchup is False
        assert dag.max_active_runs == 1


def test_a_pipeline_reads_like_the_data_flows(parse: "Callable[[], DagBag]", tenants: list[TenantEntry]) -> None:
    dag = parse().dags["pipeline__acme"]
    order = ["connectors", "extract", "transform", "score", "publish", "writeback", "conclude"]
    assert [task.task_id for task in dag.tasks] == order
    for before, after in pairwise(order):
        assert dag.get_task(before).downstream_task_ids == {after}
    assert dag.get_task("extract").is_mapped


def test_each_tenant_has_a_minute_of_its_own_that_never_changes(
    parse: "Callable[[], DagBag]", tenants: list[TenantEntry]
) -> None:
    dags = parse().dags
    assert dags["pipeline__acme"].schedule == _cron("37 */4 * * *")
    assert dags["pipeline__globex"].schedule == _cron("45 */4 * * *")


def test_a_paused_tenants_dag_stays_to_be_looked_at_and_is_not_scheduled(
    parse: "Callable[[], DagBag]", tenants: list[TenantEntry]
) -> None:
    dag = parse().dags["pipeline__idle"]
    assert dag.schedule is None
    assert "paused" in dag.tags
    assert "clarity tenant resume idle" in (dag.doc_md or "")


def test_a_tasks_process_builds_no_dag_but_its_own(
    parse: "Callable[[], DagBag]", tenants: list[TenantEntry], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(PARSING_ONE_OF, "pipeline__globex")
    assert set(parse().dags) == {"pipeline__globex"}


def test_a_tenant_that_is_gone_takes_its_dag_along(parse: "Callable[[], DagBag]", tenants: list[TenantEntry]) -> None:
    tenants.pop(0)
    assert "pipeline__acme" not in parse().dags


def test_parsing_asks_the_registrys_one_query_and_nothing_else(
    parse: "Callable[[], DagBag]", platform: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    statements: list[str] = []
    execute = psycopg.Connection.execute

    def noted(self: psycopg.Connection, query: Any, *args: Any, **options: Any) -> Any:
        if self.info.user != "clarity_admin":  # the embedded server is asked whether it is up
            statements.append(f"{self.info.user}: {query}")
        return execute(self, query, *args, **options)

    monkeypatch.setattr(psycopg.Connection, "execute", noted)
    assert parse().import_errors == {}
    assert len(statements) == 1, statements
    assert statements[0].startswith("clarity_registry: select")


def test_a_database_that_is_down_keeps_the_tenants_known_last(
    parse: "Callable[[], DagBag]", platform: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    known = asdict(_tenant("known"))
    monkeypatch.setenv("CLARITY_HOME", str(tmp_path))
    (tmp_path / "registry.json").write_text(json.dumps([known]))
    monkeypatch.setenv("CLARITY_DATABASE_URL", "postgresql://nobody:nothing@127.0.0.1:1/clarity")
    started = time.monotonic()
    bag = parse()
    assert bag.import_errors == {}
    assert set(bag.dags) == {"pipeline__known"}
    assert time.monotonic() - started < 5


def test_parsing_a_hundred_tenants_takes_less_than_a_second(
    parse: "Callable[[], DagBag]", tenants: list[TenantEntry]
) -> None:
    tenants.extend(_tenant(f"tenant_{number}") for number in range(100))
    parse()
    started = time.process_time()
    assert len(parse().dags) == 103
    assert time.process_time() - started < 1.0


def test_a_dag_file_loads_neither_steps_nor_what_they_need(airflow: None) -> None:
    loaded = _run_in_airflow(
        "import sys, runpy",
        f"runpy.run_path({str(DAGS / 'tenant_pipelines.py')!r})",
        "print([name for name in ('steps', 'dbt', 'pandas', 'connectors', 'scoring') if name in sys.modules])",
    )
    assert loaded == "[]"


def test_only_the_scheduler_loads_the_big_libraries_before_it_forks(airflow: None) -> None:
    for component, expected in {"scheduler": "True", "dag-processor": "False"}.items():
        loaded = _run_in_airflow(
            "import sys",
            f"sys.argv = ['airflow', {component!r}]",
            "from airflow import settings",
            "settings.initialize()",
            "print('numpy' in sys.modules and 'pandas' in sys.modules)",
        )
        assert loaded == expected, component


def test_airflow_registers_none_of_our_libraries_under_a_bare_name(airflow: None) -> None:
    plugins = project_root() / "plugins"
    found = json.loads(
        _run_in_airflow(
            "import json, sys",
            "from airflow import plugins_manager, settings",
            "settings.initialize()",
            "_, errors = plugins_manager._get_plugins()",
            "print(json.dumps([errors, {name: getattr(m, '__file__', None) for name, m in sys.modules.items()}]))",
        )
    )
    errors, modules = found
    ours = {name: Path(file) for name, file in modules.items() if file and Path(file).is_relative_to(plugins)}
    assert errors == {}
    assert "airflow_local_settings" in ours
    for name, file in ours.items():
        assert name == ".".join(file.relative_to(plugins).with_suffix("").parts).removesuffix(".__init__"), name


def _cron(expression: str) -> Any:
    from airflow.sdk import CronTriggerTimetable

    return CronTriggerTimetable(expression, timezone="UTC", run_immediately=False)


def _run_in_airflow(*lines: str) -> str:
    """The last line that a fresh process prints."""
    ran = subprocess.run(
        [sys.executable, "-c", "\n".join(lines)], env=airflow_env.environment(), capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.strip().splitlines()[-1]
