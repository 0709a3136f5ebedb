"""Tenants come, change, pause and go, and Airflow follows without a restart."""

import time
from pathlib import Path

import pytest

from cli.airflow_api import Airflow
from control import settings, tenants
from docs import take_screenshots
from steps import pipeline
from tests.chaos.test_kills import Company, company, ending, wait_until
from tests.end_to_end.conftest import TODAY
from tests.end_to_end.content import content

WITHIN = 60


@pytest.fixture(scope="module")
def airflow(running: Path) -> Airflow:
    return Airflow()


def test_new_changed_paused_and_deleted_tenants_show_within_a_minute(running: Path, airflow: Airflow) -> None:
    changed, paused, gone = (company(running) for _ in range(3))
    began = time.monotonic()
    new = dags_of(changed) + dags_of(paused) + dags_of(gone)
    wait_until(lambda: all(airflow.has_dag(dag, tag="source:files") for dag in new), WITHIN)
    print(f"\nfleet: new tenants are there after {time.monotonic() - began:.0f} s")

    settings.change(changed.id, actor="system:tests", assignments=["timezone=Asia/Kathmandu"])
    tenants.set_paused(paused.id, True, actor="system:tests")
    tenants.delete(gone.id, actor="system:tests")
    began = time.monotonic()
    wait_until(
        lambda: (
            all("Asia/Kathmandu" in airflow.dag(dag)["doc_md"] for dag in dags_of(changed))
            and all(airflow.has_dag(dag, tag="paused") for dag in dags_of(paused))
            and not set(dags_of(gone)) & set(airflow.dags())
        ),
        WITHIN,
    )
    print(f"fleet: changes are there after {time.monotonic() - began:.0f} s")
    assert all(airflow.dag(dag)["timetable_summary"] is None for dag in dags_of(paused))


def dags_of(tenant: Company) -> list[str]:
    return [f"pipeline__{tenant.slug}", f"rescore__{tenant.slug}"]


def test_the_pictures_of_a_finished_run_are_taken(running: Path, airflow: Airflow, tmp_path: Path) -> None:
    tenant = company(running)
    dag_id = f"pipeline__{tenant.slug}"
    wait_until(lambda: airflow.has_dag(dag_id, tag="source:files"), WITHIN)
    run_id = airflow.trigger(dag_id, {"as_of": TODAY.isoformat()})
    assert ending(airflow, dag_id, run_id) == "success"
    graph, grid = take_screenshots.take(dag_id, run_id, tmp_path)
    for image in (graph, grid):
        assert image.read_bytes().startswith(b"\x89PNG")
        assert image.stat().st_size > 20_000, "the page is empty"


def test_backfilled_nights_are_scored_as_of_their_days_and_published_to_nobody(running: Path, airflow: Airflow) -> None:
    tenant = company(running)
    pipeline.run(tenant.slug, as_of=TODAY)
    before = content(tenant)
    dag_id = f"rescore__{tenant.slug}"
    wait_until(lambda: airflow.has_dag(dag_id), WITHIN)
    runs = airflow.backfill(dag_id, "2026-02-07T00:00:00Z", "2026-02-09T00:00:00Z")
    looked = []
    for run_id in runs:
        assert ending(airflow, dag_id, run_id) == "success"
        looked.append(airflow.returned(dag_id, run_id, "score"))
        states = {task.name: task.state for task in airflow.tasks(dag_id, run_id)}
        assert states == {"score": "success", "publish": "skipped", "writeback": "skipped", "conclude": "success"}
    assert [(summary["as_of"], summary["kept"]) for summary in looked] == [("2026-02-07", False), ("2026-02-08", False)]
    assert all(summary["would_move"] for summary in looked)
    assert content(tenant) == before
