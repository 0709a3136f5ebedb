"""A worker on a machine of its own: what it must be told, and what Airflow is told of who runs its tasks."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli import airflow_env, broker, main, supervisor
from tests.cli.test_commands import clarity
from warehouse.errors import ClarityError, MisuseError

TOLD = {
    "CLARITY_DATABASE_URL": "postgresql://postgres:5432/clarity",
    "CLARITY_BROKER_URL": "redis://:hidden@broker:6379/0",
    "CLARITY_ENCRYPTION_KEYS": "one:" + "k" * 40,
    "CLARITY_AIRFLOW_SECRET": "s" * 40,
    "CLARITY_AIRFLOW_URL": "http://airflow:8080",
}


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One with an empty home that has been told everything."""
    monkeypatch.setenv("CLARITY_HOME", str(tmp_path / "home"))
    for name, value in TOLD.items():
        monkeypatch.setenv(name, value)
    return tmp_path / "home"


def test_a_worker_that_was_told_nothing_names_all_that_it_needs(tmp_path: Path) -> None:
    done = clarity("worker", CLARITY_HOME=str(tmp_path), **dict.fromkeys(TOLD, ""))
    assert (done.returncode, done.stdout) == (2, "")
    for name in TOLD:
        assert f"{name} or {name}_FILE" in done.stderr


def refusal(*arguments: str) -> str:
    refused = CliRunner().invoke(main.app, ["worker", *arguments])
    assert isinstance(refused.exception, MisuseError)
    return str(refused.exception)


def test_a_worker_without_redis_names_that_alone(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CLARITY_BROKER_URL")
    assert "CLARITY_BROKER_URL" in refusal()
    assert "CLARITY_DATABASE_URL" not in refusal()


def test_a_queue_that_nothing_is_sent_to_is_refused(machine: Path) -> None:
    assert refusal("--queues", "extract,load").startswith("--queues wants one or more of extract, transform, score")
    assert refusal("--queues", " , ").startswith("--queues wants one or more of extract, transform, score")


def test_where_celery_is_not_installed_the_list_of_what_is_missing_is_named(machine: Path) -> None:
    assert refusal().endswith("what requirements-celery.txt lists")


def test_the_state_of_redis_is_told_to_those_who_have_workers(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def silent() -> str:
        raise ClarityError("Redis at broker:6379 does not answer")

    monkeypatch.setattr(broker, "ask", silent)
    assert "redis" not in {state.name for state in supervisor.status()}
    monkeypatch.setenv("CLARITY_EXECUTOR", "celery")
    told = next(state for state in supervisor.status() if state.name == "redis")
    assert (told.state, told.detail) == ("failing", "Redis at broker:6379 does not answer")


def test_by_default_this_machine_runs_tasks_and_celery_is_never_mentioned(machine: Path) -> None:
    settings = airflow_env.settings()
    assert settings["AIRFLOW__CORE__EXECUTOR"] == "LocalExecutor"
    assert not [name for name in settings if "CELERY" in name]


def test_with_workers_tasks_go_through_redis_and_answers_come_through_postgresql(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLARITY_EXECUTOR", "celery")
    settings = airflow_env.settings()
    assert settings["AIRFLOW__CORE__EXECUTOR"] == "CeleryExecutor"
    assert settings["AIRFLOW__CELERY__BROKER_URL"] == TOLD["CLARITY_BROKER_URL"]
    assert settings["AIRFLOW__CELERY__RESULT_BACKEND"].startswith("db+postgresql+psycopg://clarity_airflow:")
    assert settings["AIRFLOW__OPERATORS__DEFAULT_QUEUE"] in airflow_env.QUEUES
    # a message that was taken and never begun comes back before its task is taken for stuck
    comes_back = settings["AIRFLOW__CELERY_BROKER_TRANSPORT_OPTIONS__VISIBILITY_TIMEOUT"]
    assert float(comes_back) < float(settings["AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT"])
    assert json.loads(settings["AIRFLOW__CELERY__EXTRA_CELERY_CONFIG"])["task_reject_on_worker_lost"] is False
    # the pages ask workers for the logs of their tasks
    assert "AIRFLOW__LOGGING__LOGGING_CONFIG_CLASS" not in settings


def test_the_address_of_redis_may_lie_in_a_file(machine: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("CLARITY_BROKER_URL")
    (tmp_path / "broker").write_text("rediss://:hidden@broker/1\n", encoding="utf-8")
    monkeypatch.setenv("CLARITY_BROKER_URL_FILE", str(tmp_path / "broker"))
    assert airflow_env.broker_url() == "rediss://:hidden@broker/1"


@pytest.mark.parametrize("said", ["amqp://u:hidden@broker", "broker:6379", "redis://"])
def test_what_is_no_redis_is_refused_without_repeating_it(
    said: str, machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLARITY_BROKER_URL", said)
    with pytest.raises(MisuseError, match=r"^CLARITY_BROKER_URL is no address of a Redis") as refused:
        airflow_env.broker_url()
    assert "hidden" not in str(refused.value)


@pytest.mark.parametrize(
    ("name", "said", "refusal"),
    [
        ("CLARITY_EXECUTOR", "dask", "wants local or celery"),
        ("CLARITY_PARALLELISM", "many", "wants a number of tasks, 1 or more"),
        ("CLARITY_PARALLELISM", "0", "wants a number of tasks, 1 or more"),
    ],
)
def test_a_setting_that_means_nothing_is_refused(
    name: str, said: str, refusal: str, machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, said)
    with pytest.raises(MisuseError, match=f"^{name} says '{said}': it {refusal}"):
        airflow_env.settings()
