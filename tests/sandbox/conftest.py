import pytest

from sandbox.salesforce import Org
from tests.sandbox.caller import Caller


@pytest.fixture
def org() -> Org:
    """A small one, of which every test gets its own."""
    return Org(seed=1, accounts=4)


@pytest.fixture
def caller(org: Org) -> Caller:
    return Caller(org)
