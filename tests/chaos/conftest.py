"""A whole platform, Airflow included, that may be killed: a home, a server and processes of its own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from cli import platform as platform_commands
from tests.conftest import temporary_home


def silent(_line: str) -> None:
    """Nobody listens."""


@pytest.fixture(scope="module")
def running() -> Iterator[Path]:
    """`clarity up` in a home of its own."""
    with temporary_home() as folder:
        platform_commands.start(silent)
        yield folder
