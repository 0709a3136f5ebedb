"""One process to a container: what it must be given, and what it makes of it."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cli import airflow_env, health, supervisor
from tests.cli.test_commands import clarity
from warehouse.errors import MisuseError

GIVEN = {
    "CLARITY_DATABASE_URL": "postgresql://postgres:5432/clarity",
    "CLARITY_ENCRYPTION_KEYS": "one:" + "k" * 40,
    "CLARITY_AIRFLOW_SECRET": "s" * 40,
    "CLARITY_AIRFLOW_URL": "http://api-server:8080",
}


@pytest.fixture
def container(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CLARITY_HOME", str(tmp_path / "home"))
    for name, value in GIVEN.items():
        monkeypatch.setenv(name, value)
    return tmp_path / "home"


def test_a_container_without_its_secrets_says_which_are_missing(tmp_path: Path) -> None:
    done = clarity("exec", "airflow", "version", CLARITY_HOME=str(tmp_path), **dict.fromkeys(GIVEN, ""))
    assert (done.returncode, done.stdout) == (2, "")
    for name in GIVEN:
        assert f"{name} or {name}_FILE" in done.stderr


def test_one_missing_secret_is_the_only_one_named(container: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CLARITY_AIRFLOW_SECRET")
    done = clarity("exec", "airflow", "version")
    assert done.returncode == 2
    assert "CLARITY_AIRFLOW_SECRET_FILE" in done.stderr
    assert "CLARITY_ENCRYPTION_KEYS" not in done.stderr
    assert not container.exists()


def test_a_command_gets_all_of_its_own_options_and_airflows_settings(container: Path) -> None:
    program = "import os, sys; print(sys.argv[1:], os.environ['AIRFLOW__CORE__EXECUTION_API_SERVER_URL'])"
    done = clarity("exec", sys.executable, "-c", program, "--skip-serve-logs", "--help")
    assert done.stdout.strip() == "['--skip-serve-logs', '--help'] http://api-server:8080/execution/"
    assert (container / "airflow" / "passwords.json").exists()


def test_a_command_that_is_not_there_is_said_in_one_line(container: Path) -> None:
    done = clarity("exec", "airflou")
    assert (done.returncode, done.stderr.strip()) == (2, "clarity: airflou can't be started: No such file or directory")


def test_containers_that_share_no_home_agree_on_airflows_keys(
    container: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, password = airflow_env.settings(), airflow_env.admin_password()
    monkeypatch.setenv("CLARITY_HOME", str(tmp_path / "another"))
    there = airflow_env.settings()
    keys = ("AIRFLOW__CORE__FERNET_KEY", "AIRFLOW__API__SECRET_KEY", "AIRFLOW__API_AUTH__JWT_SECRET")
    assert [here[key] for key in keys] == [there[key] for key in keys]
    assert len({here[key] for key in keys}) == 3
    assert airflow_env.admin_password() == password
    monkeypatch.setenv("CLARITY_AIRFLOW_SECRET", "t" * 40)
    assert all(airflow_env.settings()[key] != there[key] for key in keys)


def test_a_secret_that_could_be_guessed_is_refused(container: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLARITY_AIRFLOW_SECRET", "guess me")
    with pytest.raises(MisuseError, match=r"^CLARITY_AIRFLOW_SECRET needs 32 characters or more"):
        airflow_env.admin_password()


def test_people_may_come_by_another_address_than_the_processes(
    container: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLARITY_PUBLIC_URL", "https://clarity.example")
    settings = airflow_env.settings()
    assert settings["AIRFLOW__API__BASE_URL"] == "https://clarity.example"
    assert settings["AIRFLOW__CORE__EXECUTION_API_SERVER_URL"] == "http://api-server:8080/execution/"
    assert (settings["AIRFLOW__API__HOST"], settings["AIRFLOW__API__PORT"]) == (airflow_env.EVERYWHERE, "8080")
    assert "api-server" in airflow_env.environment()["NO_PROXY"].split(",")


@pytest.mark.parametrize("address", ["api-server:8080", "ftp://api-server", "http://", "http://api-server/airflow"])
def test_an_address_that_is_none_is_refused(container: Path, monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv("CLARITY_AIRFLOW_URL", address)
    with pytest.raises(MisuseError, match=r"write http://HOST:PORT"):
        airflow_env.port()


def test_in_a_container_nothing_is_stopped_that_others_started(container: Path) -> None:
    done = clarity("down", CLARITY_IN_CONTAINER="yes")
    assert done.returncode == 2
    assert "whoever started the containers stops them" in done.stderr


@pytest.mark.parametrize(
    ("told", "name", "expected"),
    [
        ({"metadatabase": {"status": "healthy"}}, "api-server", None),
        ({"metadatabase": {"status": "unhealthy"}}, "api-server", "Airflow has lost its database"),
        ({"metadatabase": {"status": "healthy"}}, "scheduler", "it has never given a heartbeat"),
        (
            {
                "metadatabase": {"status": "healthy"},
                "dag_processor": {"latest_dag_processor_heartbeat": "2026-01-01T00:00:00+00:00"},
            },
            "dag-processor",
            "its last heartbeat is",
        ),
    ],
)
def test_a_health_check_says_what_is_wrong(
    monkeypatch: pytest.MonkeyPatch, told: dict[str, Any], name: str, expected: str | None
) -> None:
    monkeypatch.setenv("CLARITY_AIRFLOW_URL", "http://api-server:8080")
    monkeypatch.setattr(health, "_ask", lambda _address: json.dumps(told).encode())
    found = health.trouble(name)
    assert found == expected if expected is None else str(found).startswith(expected)


def test_a_health_check_of_what_is_silent_fails(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "cli.health", "scheduler"],
        env={**os.environ, "CLARITY_AIRFLOW_URL": "http://127.0.0.1:9"},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout.strip()) == (1, "Airflow's API server does not answer")


def test_the_status_in_a_container_goes_by_heartbeats(container: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLARITY_IN_CONTAINER", "yes")
    monkeypatch.setenv("CLARITY_AIRFLOW_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("CLARITY_DATABASE_URL", "postgresql://127.0.0.1:9/clarity")
    states = supervisor.status()
    assert [state.name for state in states] == ["postgresql", *supervisor.COMPONENTS]
    assert {state.state for state in states} == {"failing"}
