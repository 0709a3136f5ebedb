"""docker-compose.yml, Dockerfile and the Helm values agree with the code; each check is shown to fail."""

import os
import subprocess
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy import reading
from warehouse.home import project_root


@pytest.fixture
def compose() -> dict[str, Any]:
    """As compose reads it, with all that is inherited."""
    content: dict[str, Any] = yaml.safe_load(reading.project(reading.COMPOSE))
    return deepcopy(content)


@pytest.fixture
def values() -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load(reading.project(reading.VALUES))
    return deepcopy(content)


def dockerfile() -> str:
    return reading.project(reading.DOCKERFILE)


# --- compose


def schema_says(file: Path) -> subprocess.CompletedProcess[str]:
    command = [reading.program("check-jsonschema"), "--builtin-schema", "vendor.compose-spec", str(file)]
    return subprocess.run(command, capture_output=True, text=True)


def test_the_compose_file_is_one_by_the_specification() -> None:
    checked = schema_says(project_root() / reading.COMPOSE)
    assert checked.returncode == 0, checked.stdout


def test_a_misspelt_key_is_none_by_the_specification(tmp_path: Path) -> None:
    broken = tmp_path / "docker-compose.yml"
    broken.write_text(reading.project(reading.COMPOSE).replace("healthcheck:", "healthchek:"), encoding="utf-8")
    checked = schema_says(broken)
    assert checked.returncode == 1
    assert "healthchek" in checked.stdout


def test_what_compose_sets_and_starts_is_what_the_code_reads_and_knows(compose: dict[str, Any]) -> None:
    assert reading.of_compose(compose, dockerfile()) == []


@pytest.mark.parametrize(
    ("where", "what", "sentence"),
    [
        (("scheduler", "environment", "CLARITY_DATABASE_URI"), "x", "scheduler: nobody reads CLARITY_DATABASE_URI"),
        (("scheduler", "environment", "CLARITY_AIRFLOW_URL"), "", "scheduler: it is not given CLARITY_AIRFLOW_URL"),
        (
            ("migrate", "environment", "CLARITY_DATABASE_URL"),
            "postgresql://admin:hidden@postgres/clarity",
            "migrate: CLARITY_DATABASE_URL holds a password",
        ),
        (("migrate", "command"), ["clarity", "migrait"], "migrate: there is no command clarity migrait"),
        (("migrate", "command"), ["clarity", "migrate", "--all"], "migrate: clarity migrate has no option --all"),
        (("scheduler", "command"), ["airflow", "webserver"], "scheduler: there is no command airflow webserver"),
        (("triggerer", "command", 2), "--skip-logs", "triggerer: airflow triggerer has no option --skip-logs"),
        (("worker-score", "command", 3), "extract", "the queue score has no worker"),
        (("worker-score", "volumes"), ["worker-score:/data"], "worker-score: nothing is kept in /data"),
        (("api-server", "ports"), ["127.0.0.1:80:80"], "api-server: nothing listens to the port 127.0.0.1:80:80"),
        (("redis", "secrets"), [], "redis: it uses the secret redis_password and is not given it"),
        (("redis", "image"), "redis:latest", "redis: its image redis:latest is not pinned to a version"),
        (("postgres", "user"), "0:0", "postgres: it runs as root"),
        (("triggerer", "depends_on"), {}, "triggerer does not wait for the migration"),
        (("triggerer", "secrets"), ["clerk_key"], "secrets: clerk_key is used and not declared"),
        (("demo", "volumes"), [], "volumes: demo is declared and not used"),
    ],
)
def test_a_compose_file_that_disagrees_with_the_code_is_found(
    compose: dict[str, Any], where: tuple[Any, ...], what: Any, sentence: str
) -> None:
    service, *path, last = where
    part: Any = compose["services"][service]
    for step in path:
        # what an anchor shares is taken apart first
        part[step] = deepcopy(part[step])
        part = part[step]
    part[last] = what
    if sentence.startswith("volumes"):
        compose["services"]["worker-extract"]["volumes"] = ["worker-extract:/var/lib/clarity"]
    assert sentence in reading.of_compose(compose, dockerfile())


def test_secrets_are_made_once_and_agree_with_each_other(tmp_path: Path) -> None:
    script = tmp_path / "deploy" / "make-secrets.sh"
    script.parent.mkdir()
    script.write_text(reading.project("deploy/make-secrets.sh"), encoding="utf-8")

    def make() -> dict[str, str]:
        subprocess.run(["sh", str(script)], check=True, capture_output=True, umask=0o077)
        return {file.name: file.read_text().strip() for file in (tmp_path / "secrets").iterdir()}

    made = make()
    assert make() == made
    assert made["database_url"] == f"postgresql://clarity_admin:{made['postgres_password']}@postgres:5432/clarity"
    assert made["broker_url"] == f"redis://:{made['redis_password']}@redis:6379/0"
    assert len(set(made.values())) == len(made) == 6
    assert (tmp_path / "secrets").stat().st_mode & 0o777 == 0o700
    # nobody comes to them through their folder; users of containers see the files alone
    assert {file.stat().st_mode & 0o777 for file in (tmp_path / "secrets").iterdir()} == {0o644}


# --- Dockerfile


def hadolint(text: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([reading.program("hadolint"), "-"], input=text, capture_output=True, text=True)


def test_hadolint_has_nothing_to_say() -> None:
    linted = hadolint(dockerfile())
    assert (linted.returncode, linted.stdout) == (0, "")


def test_hadolint_would_say_something() -> None:
    linted = hadolint(dockerfile().replace("python:3.11.14-slim-bookworm AS build", "python AS build"))
    assert linted.returncode == 1
    assert "DL3006" in linted.stdout


def test_the_image_copies_what_is_there_and_does_not_run_as_root() -> None:
    assert reading.of_dockerfile(dockerfile()) == []


@pytest.mark.parametrize(
    ("before", "after", "sentence"),
    [
        ("USER 50000:0", "USER root", "the image runs as root"),
        ("COPY dbt dbt", "COPY models models", "models is copied and not there"),
        ("COPY dbt dbt", "COPY tests tests", "tests is copied and kept out by .dockerignore"),
        ("COPY --from=build /opt/venv", "COPY --from=built /opt/venv", "there is no stage built"),
        ("CLARITY_IN_CONTAINER=yes", "CLARITY_CONTAINED=yes", "nobody reads CLARITY_CONTAINED"),
        ("FROM python:3.11.14-slim-bookworm AS", "FROM python:3 AS", "python:3 is not pinned to a version"),
    ],
)
def test_a_dockerfile_that_disagrees_with_the_tree_is_found(before: str, after: str, sentence: str) -> None:
    assert before in dockerfile()
    assert sentence in reading.of_dockerfile(dockerfile().replace(before, after))


# --- Helm


def test_the_helm_values_are_keys_of_the_chart_and_agree_with_the_code(values: dict[str, Any]) -> None:
    assert reading.of_values(values) == []
    assert f"--version {reading.CHART}" in reading.project(reading.VALUES)


@pytest.mark.parametrize(
    ("where", "what", "sentence"),
    [
        (("migrateDatabaseJobs",), {"enabled": True}, "the chart has no migrateDatabaseJobs.enabled"),
        (("scheduler", "arguments"), [], "the chart has no scheduler.arguments"),
        (("scheduler", "args"), ["airflow", "schedule"], "there is no command airflow schedule"),
        (("env", 0), {"name": "CLARITY_DB", "value": "x"}, "nobody reads CLARITY_DB"),
        (("secret",), [], "CLARITY_ENCRYPTION_KEYS is not given"),
        (("workers", "celery", "sets"), [], "the queue extract has no worker"),
        (
            ("fullnameOverride",),
            "other",
            "the chart's service for the API server is not http://clarity-api-server:8080",
        ),
    ],
)
def test_values_that_disagree_with_the_code_are_found(
    values: dict[str, Any], where: tuple[Any, ...], what: Any, sentence: str
) -> None:
    *path, last = where
    part: Any = values
    for step in path:
        part = part[step]
    part[last] = what
    assert sentence in reading.of_values(values)


def test_the_network_policies_name_labels_and_ports_that_are_there(compose: dict[str, Any]) -> None:
    policies = list(yaml.safe_load_all(reading.project("deploy/network-policies.yaml")))
    assert [policy["kind"] for policy in policies] == ["NetworkPolicy", "NetworkPolicy"]
    (named,) = policies[1]["spec"]["podSelector"]["matchExpressions"]
    # the same processes that compose lets out
    outside = {name.partition("-")[0] for name, each in compose["services"].items() if "outside" in each["networks"]}
    assert set(named["values"]) == {"worker", "dag-processor"}
    assert {"worker", "dag"} <= outside


def test_nobody_but_git_sees_the_secrets_left_out(tmp_path: Path) -> None:
    ignored = subprocess.run(
        ["git", "check-ignore", "secrets/postgres_password"], cwd=project_root(), capture_output=True, env=os.environ
    )
    assert ignored.returncode == 0
