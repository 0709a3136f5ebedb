"""docker-compose.yml without an engine: what its services start, started here as processes that share as little.

Each has a home and an environment of its own, which hold what compose gives it and nothing else; secrets are files.
"""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from tests.celery.conftest import LOG_PORT
from tests.celery.machines import PYTHON, PYTHONPATH, Redis, free_port, new_home
from tests.conftest import temporary_home
from tests.deploy import reading
from warehouse import database, server

READY_WITHIN = 150
SERVICES = (
    "api-server",
    "scheduler",
    "dag-processor",
    "triggerer",
    "worker-extract",
    "worker-transform",
    "worker-score",
)


class Engine:
    """Starts a service's command as the image's entrypoint would."""

    def __init__(self, folder: Path, hosts: dict[str, str], secrets: dict[str, str]) -> None:
        self.compose: dict[str, Any] = yaml.safe_load(reading.project(reading.COMPOSE))
        self.folder, self.hosts = folder, hosts
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        (folder / "secrets").mkdir(mode=0o700)
        for name, value in secrets.items():
            (folder / "secrets" / name).write_text(f"{value}\n", encoding="utf-8")

    def start(self, name: str) -> subprocess.Popen[bytes]:
        command = self.compose["services"][name]["command"]
        programs = {"clarity": [str(PYTHON), "-m", "cli.main"], "airflow": [str(PYTHON), "-m", "airflow"]}
        command = [str(PYTHON), "-m", "cli.main", "exec", *programs[command[0]], *command[1:]]
        with open(self.log(name), "ab") as log:
            self.running[name] = subprocess.Popen(
                command, env=self._environment(name), stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd="/",
                start_new_session=True,
            )  # fmt: skip
        return self.running[name]

    def run(self, name: str) -> None:
        """A service that ends, and has to end well."""
        assert self.start(name).wait(READY_WITHIN) == 0, self.last_words(name)

    def is_healthy(self, name: str) -> bool:
        """As its health check finds, or for want of one: it runs."""
        assert self.running[name].poll() is None, self.last_words(name)
        test = self.compose["services"][name].get("healthcheck", {}).get("test")
        if test is None:
            return b" ready" in self.log(name).read_bytes()
        return self.ask(name, *test[2:]).returncode == 0

    def ask(self, name: str, *words: str) -> subprocess.CompletedProcess[str]:
        """Python's answer within this service, as `docker compose exec` would have it."""
        return subprocess.run(
            [str(PYTHON), *words], env=self._environment(name), cwd="/", capture_output=True, text=True, check=False
        )

    def stop(self) -> None:
        """All at once, with whatever they started."""
        for process in self.running.values():
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        sessions = {process.pid for process in self.running.values()}
        psutil.wait_procs(
            [psutil.Process(process.pid) for process in self.running.values() if process.poll() is None], 20
        )
        for left in psutil.process_iter():
            with suppress(ProcessLookupError, PermissionError, psutil.NoSuchProcess):
                if os.getsid(left.pid) in sessions:
                    left.kill()

    def log(self, name: str) -> Path:
        return self.folder / f"{name}.log"

    def last_words(self, name: str) -> str:
        return f"{name}:\n" + "\n".join(self.log(name).read_text(errors="replace").splitlines()[-30:])

    def _environment(self, name: str) -> dict[str, str]:
        service = self.compose["services"][name]
        home = self.folder / service["volumes"][0].split(":")[0]
        home.mkdir(mode=0o700, exist_ok=True)
        given = {key: self._here(value) for key, value in service["environment"].items()}
        # one log server to a machine; here they share one
        return {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": PYTHONPATH,
            "HOME": str(home),
            "CLARITY_HOME": str(home),
            "CLARITY_IN_CONTAINER": "yes",
            LOG_PORT: str(free_port()),
            **given,
        }

    def _here(self, value: str) -> str:
        value = (
            value.replace("/run/secrets/", f"{self.folder}/secrets/").replace("${CLARITY_PUBLIC_URL:-", "").rstrip("}")
        )
        for host, here in self.hosts.items():
            value = value.replace(host, here)
        return value


@pytest.fixture
def engine() -> Iterator[Engine]:
    if not PYTHON.exists() or shutil.which("redis-server") is None:
        pytest.exit("tests/celery want Redis and an environment of their own: `make test-celery`", 2)
    redis = Redis(new_home("redis"), free_port())
    with temporary_home():
        address = server.start()
        administrator = database.url(database.admin_conninfo())
        redis.start()
        api = f"127.0.0.1:{free_port()}"
        engine = Engine(
            new_home("compose"),
            {"postgres:5432": f"{address.host}:{address.port}", "api-server:8080": api, "localhost:8080": api},
            {
                "database_url": administrator,
                "broker_url": redis.url,
                "encryption_keys": f"one:{os.urandom(32).hex()}",
                "airflow_secret": os.urandom(32).hex(),
            },
        )
        try:
            yield engine
        finally:
            engine.stop()
            redis.kill()
            shutil.rmtree(redis.folder)
            shutil.rmtree(engine.folder)


def test_what_compose_starts_migrates_becomes_healthy_and_scores_the_demo(engine: Engine) -> None:
    engine.run("migrate")
    for name in SERVICES:
        engine.start(name)
    deadline, waited_for = time.monotonic() + READY_WITHIN, list(SERVICES)
    while waited_for:
        waited_for = [name for name in waited_for if not engine.is_healthy(name)]
        assert time.monotonic() < deadline, engine.last_words(waited_for[0])
        time.sleep(1)
    engine.run("demo")
    assert "Ready in" in engine.log("demo").read_text(encoding="utf-8")
    status = engine.ask("api-server", "-m", "cli.main", "status")
    assert status.returncode == 0, status.stdout + status.stderr
    # nobody but who migrates and makes tenants was told who the administrator is
    told = {name for name in SERVICES if "database_url" in engine.compose["services"][name]["secrets"]}
    assert told == set()
