from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import pytest

from connectors import catalogue
from connectors.contract import Renew
from steps import patience
from tests.conftest import Tenant
from tests.steps.customer import Customer, Script, Scripted


@pytest.fixture
def customer(tenant: Tenant, tmp_path: Path) -> Customer:
    return Customer(tenant, tmp_path)


class Play(Protocol):
    def __call__(self, *, with_: Mapping[str, Any] = {}, **scripts: Script) -> Scripted: ...


@pytest.fixture
def play(monkeypatch: pytest.MonkeyPatch) -> Play:
    """Let a scripted connector take the place of the customer's files. Nobody waits for it longer than told."""
    monkeypatch.setattr(patience, "FIRST_WAIT", 0.0)

    def play(*, with_: Mapping[str, Any] = {}, **scripts: Script) -> Scripted:
        scripted = Scripted(scripts, **with_)

        def connect(_name: str, _config: Mapping[str, Any], renew: Renew | None = None) -> Scripted:
            scripted.renew = renew
            return scripted

        monkeypatch.setattr(catalogue, "connect", connect)
        return scripted

    return play
