"""Tenants come, change, pause and go, and Airflow follows without a restart."""

import time
from pathlib import Path
from typing import Any

import pytest

from cli.airflow_api import Airflow
from control import settings, tenants
from steps import pipeline
from tests.chaos.test_kills import company, ending, wait_until
from tests.end_to_end.conftest import TODAY

WITHIN = 60


@pytest.fixture(scope="module")
def airflow(running: Path) -> Airflow:
    return Airflow()


def test_new_changed_paused_and_deleted_tenants_show_within_a_minute(running: Path, airflow: Airflow) -> None:
    changed, paused, gone = (company(running) for _ in range(3))
    dags = {each: [f"{kind}__{each.slug}" for kind in ("pipeline", "rescore")] for each in (changed, paused, gone)}
    began = time.monotonic()
    wait_until(lambda: all(airflow.has_dag(dag, tag="source:files") for pair in dags.values() for dag in pair), WITHIN)
    print(f"\nfleet: new tenants are there after {time.monotonic() - began:.0f} s")

    settings.change(changed.id, actor="system:tests", assignments=["timezone=Asia/Kathmandu"])
    tenants.set_paused(paused.id, True, actor="system:tests")
    tenants.delete(gone.id, actor="system:tests")
    began = time.monotonic()
    wait_until(
        lambda: (
            all("Asia/Kathmandu" in airflow.dag(dag)["doc_md"] for dag in dags[changed])
            and all(airflow.has_dag(dag, tag="paused") for dag in dags[paused])
            and not set(dags[gone]) & set(airflow.dags())
        ),
        WITHIN,
    )
    print(f"fleet: changes are there after {time.monotonic() - began:.0f} s")
    assert all(airflow.dag(dag)["timetable_summary"] is None for dag in dags[paused])


def test_a_backfilled_night_is_scored_as_of_its_day_and_published_to_nobody(running: Path, airflow: Airflow) -> None:
    tenant = company(running)
    pipeline.run(tenant.slug, as_of=TODAY)
    dag_id = f"rescore__{tenant.slug}"
    wait_until(lambda: airflow.has_dag(dag_id), WITHIN)
    run_id = airflow.trigger(dag_id, {}, logical_date="2026-02-08T02:30:00+00:00")
    assert ending(airflow, dag_id, run_id) == "success"
    summary: dict[str, Any] = airflow.returned(dag_id, run_id, "score")
    assert (summary["as_of"], summary["kept"]) == ("2026-02-08", False)
    assert summary["would_move"]
    states = {task.name: task.state for task in airflow.tasks(dag_id, run_id)}
    assert states == {"score": "success", "publish": "skipped", "writeback": "skipped", "conclude": "success"}
