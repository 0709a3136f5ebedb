"""The steps of the Dockerfile that need no engine, in a clean folder: `make test-image`.

Its COPY, RUN and ENV lines are read from the file and carried out with this machine's Python, in a folder that stands
for /opt. What is not: the base image, the user made in it, and whatever an engine does when it starts a container.
"""

import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from cli import containers
from tests.deploy import reading
from warehouse.home import project_root

# made by root for its own files, in the image and nowhere else
FOR_THE_ENGINE = ("useradd",)


class Build:
    def __init__(self, root: Path) -> None:
        self.root, self.folder, self.stages = root, root, 0
        self.environment: dict[str, str] = {}
        self.entrypoint: list[str] = []
        # what the base image brings: Python, under that name
        base = root / "usr" / "local" / "bin"
        base.mkdir(parents=True)
        (base / "python").symlink_to(sys.executable if sys.prefix == sys.base_prefix else Path(sys._base_executable))  # type: ignore[attr-defined]
        self.path = f"{base}:/usr/bin:/bin"

    def carry_out(self) -> None:
        for keyword, line in reading.dockerfile_instructions(reading.project(reading.DOCKERFILE)):
            began = time.monotonic()
            getattr(self, f"_{keyword.lower()}")(line)
            print(f"{time.monotonic() - began:6.1f} s  {keyword} {line[:90]}", flush=True)

    def here(self, text: str) -> str:
        """A path of the image, in our folder."""
        return text.replace("/opt/", f"{self.root}/opt/").replace("/var/lib/clarity", f"{self.root}/var/lib/clarity")

    def run(self, command: list[str], **more: str) -> subprocess.CompletedProcess[str]:
        """As a container of the image would, given these settings."""
        environment = {"PATH": self.path, "HOME": str(self.root), **self.environment, **more}
        return subprocess.run(command, env=environment, cwd=self.folder, capture_output=True, text=True, check=False)

    def _from(self, _line: str) -> None:
        self.stages, self.environment, self.folder = self.stages + 1, {}, self.root

    def _workdir(self, line: str) -> None:
        self.folder = Path(self.here(line))
        self.folder.mkdir(parents=True, exist_ok=True)

    def _env(self, line: str) -> None:
        pairs = dict(pair.split("=", 1) for pair in shlex.split(self.here(line)))
        if "PATH" in pairs:
            pairs["PATH"] = pairs["PATH"].replace("/usr/local/bin:/usr/bin:/bin", self.path)
        self.environment |= pairs

    def _copy(self, line: str) -> None:
        if line.startswith("--from="):
            return
        *sources, target = line.split()
        for source in sources:
            found, place = project_root() / source, self.folder / target / ("" if target != "./" else source)
            if found.is_dir():
                shutil.copytree(found, place, ignore=shutil.ignore_patterns("__pycache__", "target", "logs"))
            else:
                shutil.copy(found, place)

    def _run(self, line: str) -> None:
        if line.split()[0] in FOR_THE_ENGINE:
            print(f"        not run, an engine's: {line.split()[0]}")
            for folder in reading.folders(reading.project(reading.DOCKERFILE)):
                Path(self.here(folder)).mkdir(parents=True, exist_ok=True)
            return
        ended = self.run(["/bin/sh", "-euc", self.here(line)], **_proxies())
        if ended.returncode:
            sys.exit(f"RUN {line}\nended with {ended.returncode}:\n{ended.stdout[-2000:]}{ended.stderr[-2000:]}")

    def _entrypoint(self, line: str) -> None:
        self.entrypoint = json.loads(line)

    def _cmd(self, line: str) -> None:
        self.command: list[str] = json.loads(line)

    def _user(self, line: str) -> None:
        """Who runs here is whoever started this."""

    def _volume(self, line: str) -> None:
        assert Path(self.here(line)).is_dir(), f"{line} is not made"


def _proxies() -> dict[str, str]:
    """How this machine reaches its package index: an engine is told the same."""
    passed_on = ("PIP_", "SSL_", "HTTP", "http", "NO_", "no_")
    return {name: value for name, value in os.environ.items() if name.startswith(passed_on)}


def check(build: Build) -> None:
    """What a container would do first."""
    program = shutil.which(build.entrypoint[0], path=build.environment["PATH"])
    assert program, "the entrypoint is not in the image"
    refused = build.run([program, *build.entrypoint[1:], *build.command])
    for name in containers.NEEDED:
        assert name in refused.stderr, f"a start without {name} did not name it: {refused.stderr}"
    assert refused.returncode == 2, refused.stderr
    given: Mapping[str, str] = {
        "CLARITY_DATABASE_URL": "postgresql://postgres:5432/clarity",
        "CLARITY_ENCRYPTION_KEYS": "one:" + "k" * 40,
        "CLARITY_AIRFLOW_SECRET": "s" * 40,
        "CLARITY_AIRFLOW_URL": "http://api-server:8080",
        "CLARITY_EXECUTOR": "celery",
        "CLARITY_BROKER_URL": "redis://redis:6379/0",
    }
    for command, expected in (
        (["clarity", "--help"], "migrate"),
        (["airflow", "version"], "3."),
        (["python", "-c", "import steps.pipeline, airflow.providers.celery, redis; print('imported')"], "imported"),
        (["python", "-c", "from warehouse.home import project_root as p; print(p())"], build.here("/opt/clarity")),
    ):
        done = build.run([program, *build.entrypoint[1:], *command], **given)
        assert done.returncode == 0, f"{command} ended with {done.returncode}: {done.stderr[-2000:]}"
        assert expected in done.stdout, f"{command} said {done.stdout[-2000:]}"
        print(f"          {shlex.join(command)[:90]}")


def main() -> int:
    # not below a folder that another Python is in charge of
    with tempfile.TemporaryDirectory(prefix="clarity-image-") as folder:
        build = Build(Path(folder))
        build.carry_out()
        check(build)
    print("image: every step of the build that needs no engine was carried out; no image was built")
    return 0


if __name__ == "__main__":
    sys.exit(main())
