"""Each test of the suite is made once for every source that can have what the test is about."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from steps import patience
from tests.conftest import _fresh_tenant
from tests.connectors.contract_suite.customer import Customer
from tests.connectors.contract_suite.driver import Driver
from tests.connectors.contract_suite.drivers import DRIVERS

NewCustomer = Callable[[], Customer]


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "needs(capability, ...): only for sources that can have it")
    config.addinivalue_line("markers", "whatever_the_source: about what the extract step does, so one source will do")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "source" not in metafunc.fixturenames:
        return
    needed = {need for mark in metafunc.definition.iter_markers("needs") for need in mark.args}
    able = [name for name, entry in DRIVERS.items() if not needed & set(entry.cannot)]
    if metafunc.definition.get_closest_marker("whatever_the_source"):
        able = able[:1]
    metafunc.parametrize("source", able, indirect=True)


@pytest.fixture
def source(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Driver]:
    # what a vendor is given in seconds, a test gives in hundredths
    monkeypatch.setattr(patience, "FIRST_WAIT", 0.01)
    with DRIVERS[request.param].opened(tmp_path, monkeypatch) as driver:
        yield driver


@pytest.fixture
def new_customer(platform: Path, source: Driver) -> Iterator[NewCustomer]:
    """Tenants that read the source, each with an empty raw of its own."""
    with ExitStack() as stack:
        yield lambda: Customer(stack.enter_context(contextmanager(_fresh_tenant)()), source)


@pytest.fixture
def customer(new_customer: NewCustomer) -> Customer:
    return new_customer()
