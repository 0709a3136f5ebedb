"""How Airflow tells that a run has ended: from its last task, and from the dag-processor where that was killed."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from cli import airflow_env
from control import incidents
from steps import alerts
from tests.alerts.receivers import Hook, http_receiver
from tests.conftest import Tenant
from warehouse.home import project_root

if TYPE_CHECKING:
    from airflow.sdk import DAG

ACTOR = "system:tests"
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
def bag(airflow: None, tenant: Tenant, monkeypatch: pytest.MonkeyPatch) -> Any:
    from airflow.dag_processing.dagbag import DagBag

    monkeypatch.setenv(PARSING_ONE_OF, f"pipeline__{tenant.slug}")
    return DagBag(dag_folder=project_root() / "dags")


@pytest.fixture
def slack(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hook]:
    with http_receiver() as hook:
        monkeypatch.setenv(alerts.SLACK_URL, hook.url)
        yield hook


def pipeline_of(bag: Any, tenant: Tenant) -> "DAG":
    found: DAG = bag.dags[f"pipeline__{tenant.slug}"]
    return found


def test_a_run_whose_workers_were_killed_is_told_by_the_dag_processor(bag: Any, tenant: Tenant, slack: Hook) -> None:
    import structlog
    from airflow.callbacks.callback_requests import DagCallbackRequest
    from airflow.dag_processing.processor import _execute_callbacks

    request = DagCallbackRequest(
        filepath="tenant_pipelines.py",
        bundle_name="dags-folder",
        bundle_version=None,
        dag_id=f"pipeline__{tenant.slug}",
        run_id="scheduled__2026-03-10",
        is_failure_callback=True,
        msg="task_failure",
    )
    for _delivered_twice in range(2):
        _execute_callbacks(bag, [request], structlog.get_logger())
    (heard,) = slack.heard
    text = json.loads(heard.body)["text"]
    assert "the run ended red, and no stage had the time to say why: task_failure" in text
    assert text.endswith(f"/dags/pipeline__{tenant.slug}/runs/scheduled__2026-03-10")
    (incident,) = incidents.recent(tenant.id, actor=ACTOR)
    assert incident.run_id == f"pipeline__{tenant.slug}/scheduled__2026-03-10"


def test_the_last_task_tells_of_a_red_run_and_of_the_next_good_one(bag: Any, tenant: Tenant, slack: Hook) -> None:
    dag = pipeline_of(bag, tenant)
    last: Any = dag.get_task("conclude")
    error = ValueError("failed: extract salesforce. What to do stands at the end of their logs.")
    for tell in last.on_failure_callback:
        tell({"dag": dag, "run_id": "one", "exception": error})
    for tell in last.on_success_callback:
        tell({"dag": dag, "run_id": "two"})
    red, good = (json.loads(heard.body)["text"] for heard in slack.heard)
    assert "failed: extract salesforce" in red
    assert "recovery" in good
