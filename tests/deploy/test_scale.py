"""What a fleet is reckoned to need follows from what was measured, and the page says where each figure is from."""

import re

import pytest

from benchmarks import scale
from benchmarks.fleet import Bill
from tests.deploy import reading


def bill(seconds: float) -> Bill:
    return Bill(1, 1.0, {"tasks": seconds})


MEASURED = scale.Measured(
    activities=1_000,
    per_activity={"raw": scale.Bytes(600, 400), "canonical": scale.Bytes(500, 500)},
    people=100,
    per_person=20_000,
    bills={
        scale.IDLE_RUN: bill(4),
        scale.IDLE_NIGHT: bill(2),
        scale.BUSY_RUN: bill(6),
        scale.BUSY_NIGHT: bill(3),
        scale.AT_REST: bill(12),
    },
    busy_news=200,
    tasks_at_once=4,
    connections={"tenants' logins": 10, "Airflow": 7},
    without_the_tenant=25,
    questions={},
)
ASSUMED = scale.Assumed(activities=365_000, people=1_000, cores=2)


def test_five_hundred_tenants_need_fifty_times_what_ten_do() -> None:
    few, many = (scale.reckon(MEASURED, ASSUMED, tenants) for tenants in (10, 500))
    for need in ("activities kept, millions", "CPU-hours of the nights", "CPU-hours a day", "PostgreSQL, GB", "logins"):
        assert many[need] == pytest.approx(50 * few[need])


def test_a_tenants_day_is_six_runs_a_night_and_its_news() -> None:
    # 6 * 4 s; 2 s and 1,000 people of (3 - 2) / 100 s; 1,000 activities of (6 - 4) / 200 s
    assert scale.reckon(MEASURED, ASSUMED, 3600)["CPU-hours a day"] == pytest.approx(24 + (2 + 10) + 10)


def test_the_disk_holds_activities_and_what_is_known_of_people() -> None:
    assumed = scale.Assumed(activities=1_000_000, people=50_000, cores=2)
    # 2,000 bytes an activity through all layers, 20,000 a person
    assert scale.reckon(MEASURED, assumed, 1)["PostgreSQL, GB"] == pytest.approx(2.0 + 1.0)


def test_connections_go_by_the_tasks_at_once_and_not_by_the_tenants() -> None:
    few, many = (scale.reckon(MEASURED, ASSUMED, tenants) for tenants in (10, 5_000))
    assert few["connections of 4 tasks"] == many["connections of 4 tasks"] == pytest.approx(4 * 2.5 + 7)


def test_no_figure_on_the_page_is_without_its_source() -> None:
    page = reading.project("docs/scaling.md")
    rows = [line for line in page.split("## What a tenant costs")[1].splitlines() if re.match(r"\| [^-].*\d", line)]
    assert len(rows) > 10
    unsaid = [row for row in rows if not re.search(r"measured: `make bench-[a-z]+`|reckoned|\.md\)", row)]
    assert unsaid == []
