"""The servers that none of us wrote, where `make test-contracts` has installed them."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contracts import foreign


@pytest.fixture(scope="session")
def contracts() -> Path:
    """Where the vendors' descriptions are."""
    folder = foreign.contracts()
    if folder is None:
        pytest.skip("CLARITY_CONTRACTS does not say where the vendors' contracts are: nothing was held against them.")
    if not foreign.NODE_MODULES.is_dir():
        pytest.skip("prism is not installed: `make test-contracts` installs it.")
    return folder


@pytest.fixture(scope="session")
def contract(contracts: Path) -> Path:
    """The third party's description of Bulk, collections and limits."""
    return contracts / "salesforce-thirdparty.yaml"


@pytest.fixture(scope="session")
def foreign_python() -> Path:
    """The python that has what others wrote: a Salesforce, and the vendors' own clients."""
    assert foreign.PYTHON.exists(), "nothing that others wrote is installed: `make test-contracts` does that"
    return foreign.PYTHON


@pytest.fixture(scope="session")
def mockforce(foreign_python: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of simple-mockforce."""
    with foreign.mockforce(foreign_python, tmp_path_factory.mktemp("mockforce") / "log") as url:
        yield url
