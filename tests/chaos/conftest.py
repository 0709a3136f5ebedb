"""A whole platform, Airflow included, that may be killed: a home, a server and processes of its own."""

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli import platform as platform_commands
from docs import take_screenshots
from tests.conftest import deployed_home, temporary_home

# A laptop need not have a browser; what CI runs on installs one.
WANTS_A_BROWSER = "test_the_pictures_of_a_finished_run_are_taken"
KILLS = int(os.environ.get("CHAOS_KILLS", "3"))
SEED = int(os.environ.get("CHAOS_SEED", "0")) or (20260310 if KILLS <= 3 else random.randrange(1, 10**6))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave the pictures out where nobody can take them, and say so."""
    without = [item for item in items if item.name == WANTS_A_BROWSER and take_screenshots.find_browser() is None]
    if without:
        config.hook.pytest_deselected(items=without)
        items[:] = [item for item in items if item not in without]
        print(f"no browser here ({', '.join(take_screenshots.BROWSERS)}): the pictures are not tested")


def silent(_line: str) -> None:
    """Nobody listens."""


@pytest.fixture(scope="module")
def running() -> Iterator[Path]:
    """`clarity up` in a home of its own."""
    with temporary_home(like=deployed_home()) as folder:
        platform_commands.start(silent)
        yield folder
