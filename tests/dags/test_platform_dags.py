"""The platform's own DAGs: when they ask for everything, and when they have nothing to do."""

import os
import runpy
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cli import airflow_env
from steps import maintenance, observe, organisations
from warehouse.home import project_root


@pytest.fixture(scope="module")
def file(platform: Path) -> Iterator[dict[str, Any]]:
    """What dags/platform.py defines, under Airflow as the platform configures it."""
    before = dict(os.environ)
    os.environ.update(airflow_env.settings())
    yield runpy.run_path(str(project_root() / "dags" / "platform.py"))
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture
def carry_out(file: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """A task's own function, as it is called in a run for this moment with these parameters."""

    def carry_out(task: str, moment: datetime | None = None, **params: Any) -> Any:
        function = file[task].function
        context = {"dag_run": SimpleNamespace(logical_date=moment), "params": params}
        monkeypatch.setitem(function.__globals__, "get_current_context", lambda: context)
        return function()

    return carry_out


def at(minute: int) -> datetime:
    return datetime(2026, 11, 2, 8, minute, tzinfo=UTC)


def test_everything_is_asked_for_at_the_full_hour_and_when_somebody_wants_it(
    carry_out: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bool] = []

    def noted(*, everything: bool) -> dict[str, Any]:
        asked.append(everything)
        return {"provisioned": "on"}

    monkeypatch.setattr(organisations, "run", noted)
    carry_out("provision", at(0), everything=False)
    carry_out("provision", at(5), everything=False)
    carry_out("provision", at(5), everything=True)
    carry_out("provision", None, everything=False)
    assert asked == [True, False, True, True]


def test_without_a_key_or_a_server_a_task_is_skipped_and_says_why(
    carry_out: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow.sdk.exceptions import AirflowSkipException

    monkeypatch.delenv("CLERK_SECRET_KEY", raising=False)
    monkeypatch.delenv("AIRFLOW__METRICS__STATSD_ON", raising=False)
    with pytest.raises(AirflowSkipException, match="Clerk's secret key is not given"):
        carry_out("provision", at(0), everything=False)
    with pytest.raises(AirflowSkipException, match="there is nobody to tell"):
        carry_out("freshness")
    monkeypatch.setattr(observe, "freshness", lambda **_: {"metrics": "on", "told": 3})
    assert carry_out("freshness")["told"] == 3


def test_a_dry_run_of_the_maintenance_is_one(carry_out: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(maintenance, "run", lambda dry_run, **_: {"dry_run": dry_run})
    assert [carry_out("maintain", dry_run=wish) for wish in (True, False)] == [{"dry_run": True}, {"dry_run": False}]


def test_metrics_and_telemetry_are_airflows_own_settings(platform: Path) -> None:
    assert not [name for name in airflow_env.settings() if name.startswith(("AIRFLOW__METRICS", "AIRFLOW__TRACES"))]


def test_what_nobody_has_set_up_is_not_scheduled(file: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow.dag_processing.dagbag import DagBag

    def schedules() -> dict[str, bool]:
        bag = DagBag(dag_folder=project_root() / "dags" / "platform.py")
        return {name.removeprefix("platform__"): dag.schedule is not None for name, dag in bag.dags.items()}

    for variable in ("CLERK_SECRET_KEY", "AIRFLOW__METRICS__STATSD_ON"):
        monkeypatch.delenv(variable, raising=False)
    assert schedules() == {"provision": False, "maintenance": True, "freshness": False}
    monkeypatch.setenv("CLERK_SECRET_KEY", "sk_test")
    monkeypatch.setenv("AIRFLOW__METRICS__STATSD_ON", "True")
    assert schedules() == {"provision": True, "maintenance": True, "freshness": True}
