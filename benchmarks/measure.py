"""How a contender is measured and what it reports. Standard library only: peers run in an environment of their own."""

import json
import resource
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parent.parent


def say(line: str) -> None:
    """Progress, for whoever waits."""
    print(line, file=sys.stderr, flush=True)


class Progress:
    """A line every ten seconds."""

    def __init__(self, what: str, rows: int) -> None:
        self._what, self._rows, self._done = what, rows, 0
        self._start = self._said = time.monotonic()

    def add(self, rows: int) -> None:
        self._done += rows
        now = time.monotonic()
        if now - self._said >= 10:
            self._said = now
            say(f"    {self._what}: {self._done:,} of {self._rows:,} rows after {now - self._start:.0f} s")


def peak_memory() -> int:
    """The most that this process has had in memory at once, in megabytes.

    Where it exists the kernel's own mark of this program: getrusage starts from what the parent had.
    """
    status = Path("/proc/self/status")
    if status.exists():
        mark = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(mark.split()[1]) // 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // (1024 * 1024 if sys.platform == "darwin" else 1024)


def ran(command: Sequence[str], environment: Mapping[str, str] | None = None) -> dict[str, Any]:
    """What a contender reports from a process of its own."""
    ended = subprocess.run(command, env=environment, cwd=PROJECT, stdout=subprocess.PIPE, text=True, check=False)
    if ended.returncode:
        sys.exit(f"{' '.join(command[1:4])} failed; what it says stands above")
    figures: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    return figures


def report(**figures: float) -> None:
    """The last line that a contender prints."""
    print(json.dumps(figures), flush=True)
