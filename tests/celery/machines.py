"""Stand-ins for machines: a Redis that can be killed and comes back, workers that have nothing but their own home."""

import json
import os
import secrets
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from warehouse.home import project_root

PYTHON = project_root() / ".venv-celery" / "bin" / "python"
PYTHONPATH = f"{project_root()}{os.pathsep}{project_root() / 'plugins'}"
STARTS_WITHIN = 90


@dataclass
class Redis:
    """Keeps what it was told on its disk, as one between machines has to."""

    folder: Path
    port: int
    password: str = field(default_factory=lambda: secrets.token_hex(16))
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://:{self.password}@127.0.0.1:{self.port}/0"

    def start(self) -> None:
        configuration = self.folder / "redis.conf"
        configuration.write_text(
            f"bind 127.0.0.1\nport {self.port}\nrequirepass {self.password}\ndir {self.folder}\n"
            "appendonly yes\nappendfsync always\nsave ''\n",
            encoding="utf-8",
        )
        with open(self.folder / "redis.log", "ab") as log:
            self.process = subprocess.Popen(["redis-server", configuration], stdout=log, stderr=log)
        wait_for_port(self.port)

    def kill(self) -> None:
        if self.process:
            self.process.kill()
            self.process.wait()

    def deliver_again(self) -> int:
        """Put what workers have taken into its queue once more, as if its time had run out. Returns how much it was."""
        taken = [json.loads(line) for line in self._say("hvals", "unacked").splitlines()]
        for message, _, queue in taken:
            self._say("-x", "lpush", queue, stdin=json.dumps(message))
        return len(taken)

    def _say(self, *words: str, stdin: str = "") -> str:
        return subprocess.run(
            ["redis-cli", "-p", str(self.port), *words],
            env=os.environ | {"REDISCLI_AUTH": self.password},
            input=stdin,
            capture_output=True,
            text=True,
            check=True,
        ).stdout


@dataclass
class Worker:
    """`clarity worker` in a home of its own, told what a machine has to be told and nothing else."""

    home: Path
    queues: str
    slots: int
    told: Mapping[str, str]
    process: subprocess.Popen[bytes] | None = None
    said: int = 0

    def start(self) -> None:
        self.said = self.log.stat().st_size if self.log.exists() else 0
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [PYTHON, "-m", "cli.main", "worker", "--queues", self.queues, "--slots", str(self.slots)],
                env={
                    "PATH": os.environ["PATH"],
                    "HOME": str(self.home),
                    "PYTHONPATH": PYTHONPATH,
                    "CLARITY_HOME": str(self.home),
                    **self.told,
                },
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/", start_new_session=True,
            )  # fmt: skip

    @property
    def log(self) -> Path:
        return self.home / "worker.log"

    def await_ready(self) -> None:
        deadline = time.monotonic() + STARTS_WITHIN
        while b" ready" not in self.log.read_bytes()[self.said :]:
            assert self.process is not None
            assert self.process.poll() is None, self.last_words()
            assert time.monotonic() < deadline, self.last_words()
            time.sleep(0.2)

    def kill(self) -> None:
        """The power fails: it, its pool and the tasks in it are gone at once."""
        if self.process is None:
            return
        self.process.kill()
        for process in self._all():
            with suppress(psutil.NoSuchProcess):
                process.kill()
        self.process.wait()

    def last_words(self) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-30:])

    def _all(self) -> list[psutil.Process]:
        """Whatever lives in its session, wherever in the family."""
        assert self.process is not None
        found = []
        for process in psutil.process_iter():
            with suppress(ProcessLookupError, PermissionError):
                if os.getsid(process.pid) == self.process.pid:
                    found.append(process)
        return found


def new_home(name: str) -> Path:
    return Path(tempfile.mkdtemp(prefix=f"clarity-{name}-"))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for_port(port: int) -> None:
    deadline = time.monotonic() + STARTS_WITHIN
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            assert time.monotonic() < deadline, f"nobody listens on port {port}"
            time.sleep(0.05)
        else:
            return
