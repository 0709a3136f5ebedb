"""A whole platform, Airflow included, that may be killed: a home, a server and processes of its own."""

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli import platform as platform_commands
from tests.conftest import deployed_home, temporary_home

KILLS = int(os.environ.get("CHAOS_KILLS", "3"))
SEED = int(os.environ.get("CHAOS_SEED", "0")) or (20260310 if KILLS <= 3 else random.randrange(1, 10**6))


def silent(_line: str) -> None:
    """Nobody listens."""


@pytest.fixture(scope="module")
def running() -> Iterator[Path]:
    """`clarity up` in a home of its own."""
    with temporary_home(like=deployed_home()) as folder:
        platform_commands.start(silent)
        yield folder
