"""Where the demo's vendors stand, and that what its tenants are given to come in with is what connectors take."""

import socket
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from cli import vendors
from connectors import catalogue
from sandbox import demo_vendors
from sandbox.delivrai.index import COMPANIES
from sandbox.demo_tenants import DEMO_TENANTS

MONDAY, TUESDAY = date(2026, 3, 9), date(2026, 3, 10)
PLACES = ("acme/salesforce", "acme/o365")


@pytest.fixture(autouse=True)
def demo_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CLARITY_HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
def stranger() -> Iterator[socket.socket]:
    with socket.socket() as made:
        yield made


def test_without_a_demo_there_is_nothing_to_run(demo_home: Path) -> None:
    assert vendors.planned() is None
    assert vendors.command() is None


def test_vendors_stand_where_they_stood_and_another_day_is_another_process() -> None:
    first = vendors.plan(PLACES, MONDAY)
    assert len(set(first.ports.values())) == len(PLACES)
    assert vendors.plan(PLACES, MONDAY) == first == vendors.planned()
    before = vendors.command()
    later = vendors.plan(PLACES, TUESDAY)
    assert later.ports == first.ports
    assert later.days == ("2026-03-09", "2026-03-10")
    assert before != vendors.command()


def test_a_port_that_a_stranger_has_taken_is_given_up_and_the_others_are_not(stranger: socket.socket) -> None:
    first = vendors.plan(PLACES, MONDAY)
    stranger.bind(("127.0.0.1", first.ports["acme/o365"]))
    stranger.listen()
    second = vendors.plan(PLACES, MONDAY)
    assert second.ports["acme/salesforce"] == first.ports["acme/salesforce"]
    assert second.ports["acme/o365"] not in first.ports.values()


def test_each_source_of_each_tenant_has_a_place_and_a_way_in_that_its_connector_takes(tmp_path: Path) -> None:
    places = set(demo_vendors.places())
    for tenant in DEMO_TENANTS:
        for source in tenant.sources:
            if source != "files":
                assert f"{tenant.slug}/{source}" in places
                config = demo_vendors.connector_config(source, 41_000)
                catalogue.connect(source, config)
                # what opens the vendor is sealed, and stands in no address
                sealed = [str(value) for key, value in config.items() if catalogue.is_secret(source, key)]
                assert sealed
                addresses = [str(value) for key, value in config.items() if key.endswith("_url")]
                assert not [secret for secret in sealed for address in addresses if secret in address]


def test_of_the_three_tenants_one_has_every_vendor_one_has_three_and_one_has_files() -> None:
    every = {name for name in catalogue.names() if name != "files"}
    first, second, third = (set(tenant.sources) for tenant in DEMO_TENANTS)
    assert first == every
    assert len(second) == 3
    assert second < every
    assert third == {"files"}


SHOWN: dict[str, Callable[[Any], Any]] = {
    "salesforce": lambda org: [org.truth(entity) for entity in ("Account", "Contact", "Opportunity", "Task", "Event")],
    "customerio": lambda workspace: [
        [workspace.person(who) for who in workspace.people()],
        [workspace.message(message) for _, message in workspace.messages()],
    ],
    "o365": lambda directory: [list(directory.messages()), list(directory.events())],
    "delivrai": lambda index: [index.researchers(COMPANIES, topic, high_only=False) for topic in demo_vendors.TOPICS],
    "fathom": lambda studio: [studio.meeting(recording.id) for recording in studio.shown()],
}


@pytest.mark.parametrize("source", demo_vendors.MADE)
def test_a_vendor_shows_the_same_at_every_start(source: str) -> None:
    first = DEMO_TENANTS[0]
    small = replace(first, accounts=3, market=replace(first.market, activities_per_year=200))
    one, other = (SHOWN[source](demo_vendors.world(source, small, [MONDAY, TUESDAY])) for _ in range(2))
    assert one
    assert repr(one) == repr(other)
