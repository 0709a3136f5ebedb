"""The Customer.io of the sandbox behaves as the vendor's does, also where that costs whoever reads it rows."""

from typing import Any

import httpx
import pytest

from sandbox.customerio import Workspace, create_app
from sandbox.salesforce.faults import Faults
from tests.sandbox.caller import InThisProcess

DAY = 24 * 3600


@pytest.fixture
def workspace() -> Workspace:
    return Workspace(seed=1, accounts=2, activities_per_year=60)


@pytest.fixture
def faults() -> Faults:
    return Faults()


@pytest.fixture
def http(workspace: Workspace, faults: Faults) -> httpx.Client:
    headers = {"Authorization": f"Bearer {workspace.api_key}"}
    way = InThisProcess(create_app(workspace, faults))
    return httpx.Client(base_url="http://customerio.example/v1", headers=headers, transport=way)


def test_an_address_whose_plus_is_not_encoded_is_nobody_s_and_no_error(
    workspace: Workspace, http: httpx.Client
) -> None:
    who = workspace.add_person("jane+news@customer.example")
    encoded = http.get("/customers", params={"email": "jane+news@customer.example"}).json()
    bare = http.get("/customers?email=jane+news@customer.example")
    assert [one["cio_id"] for one in encoded["results"]] == [who]
    assert (bare.status_code, bare.json()) == (200, {"results": []})


def test_a_place_whose_plus_is_not_encoded_is_no_place(http: httpx.Client) -> None:
    start = http.get("/messages", params={"limit": 1}).json()["next"]
    assert "+" in start
    assert http.get("/messages", params={"limit": 1, "start": start}).status_code == 200
    assert http.get(f"/messages?limit=1&start={start}").status_code == 400


def test_more_than_six_months_are_cut_without_a_word(workspace: Workspace, http: httpx.Client) -> None:
    long_ago = workspace.seconds - 390 * DAY
    shown = http.get("/messages", params={"start_ts": long_ago, "limit": 1000}).json()["messages"]
    assert min(message["created"] for message in shown) >= workspace.seconds - 182 * DAY
    earlier = {"start_ts": long_ago, "end_ts": long_ago + 150 * DAY, "limit": 1000}
    assert http.get("/messages", params=earlier).json()["messages"]


def test_an_open_moves_a_message_nowhere(workspace: Workspace, http: httpx.Client) -> None:
    message = workspace.send(workspace.people()[0])
    made = workspace.seconds
    workspace.advance(days=5)
    workspace.happen(message, "opened")
    recent = http.get("/messages", params={"start_ts": made + DAY, "limit": 1000}).json()["messages"]
    assert message not in {one["id"] for one in recent}
    all_of_it = http.get("/messages", params={"start_ts": made, "limit": 1000}).json()["messages"]
    shown = next(one for one in all_of_it if one["id"] == message)
    assert shown["metrics"]["human_opened"] == shown["metrics"]["opened"] == workspace.seconds
    assert shown["deduplicate_id"] == f"{message}:{workspace.seconds}"


def test_the_log_forgets_after_thirty_days(workspace: Workspace, http: httpx.Client) -> None:
    line = workspace.act(workspace.people()[0], "event", "demo_requested")

    def shown() -> list[str]:
        told = http.get("/activities", params={"type": "event", "limit": 100}).json()["activities"]
        return [one["id"] for one in told]

    assert line in shown()
    workspace.advance(days=31)
    assert line not in shown()


def test_who_was_deleted_is_in_the_log_of_the_deleted_alone(workspace: Workspace, http: httpx.Client) -> None:
    who = workspace.people()[0]
    workspace.delete_person(who)
    asked: dict[str, str] = {"type": "profile_delete", "limit": "100"}
    assert http.get("/activities", params=asked).json()["activities"] == []
    (line,) = http.get("/activities", params={**asked, "deleted": "true"}).json()["activities"]
    assert line["customer_identifiers"]["cio_id"] == who
    found = http.post("/customers", json={"filter": {"segment": {"id": 7}}}, params={"limit": 1000}).json()
    assert who not in {one["cio_id"] for one in found["identifiers"]}
    told = http.post("/customers/attributes", json={"ids": [who]}, params={"id_type": "cio_id"})
    assert told.json() == {"customers": []}


def test_it_says_no_in_three_ways(workspace: Workspace, http: httpx.Client) -> None:
    assert http.get("/activities?limit=101").json()["errors"][0]["source"] == {"pointer": "/limit"}
    assert http.get("/customers").json() == {"errors": [{"detail": "email is required", "status": "400"}]}
    workspace.is_forbidden = True
    refused = http.get("/segments")
    assert (refused.status_code, list(refused.json())) == (403, ["meta"])
    assert http.get("/segments", headers={"Authorization": "Bearer other"}).status_code == 401


def test_a_call_too_many_is_told_without_a_time(http: httpx.Client, faults: Faults) -> None:
    faults.next("429")
    refused = http.get("/segments")
    assert (refused.status_code, refused.content) == (429, b"")
    assert not {"retry-after", "ratelimit-reset", "x-ratelimit-reset"} & set(refused.headers)


def test_two_workspaces_of_one_seed_that_live_alike_are_the_same(workspace: Workspace) -> None:
    other = Workspace(seed=1, accounts=2, activities_per_year=60)
    for one in (workspace, other):
        one.advance(days=3)
    late = Workspace(seed=1, accounts=2, activities_per_year=60)
    late.advance(days=1)
    late.advance(days=2)

    def shown(one: Workspace) -> list[Any]:
        return [one.message(message) for _, message in sorted(one.messages())] + [*map(one.person, one.people())]

    assert shown(workspace) == shown(other) == shown(late)


def test_what_will_be_opened_tomorrow_was_sent_and_is_not_opened_yet() -> None:
    workspace = Workspace(seed=1, accounts=3, activities_per_year=2_000)
    before = {message: workspace.message(message)["metrics"] for _, message in workspace.messages()}
    workspace.advance(days=3)
    after = {message: workspace.message(message)["metrics"] for _, message in workspace.messages()}
    assert [message for message in before if "opened" in after[message] and "opened" not in before[message]]
    assert all(at <= workspace.seconds for metrics in after.values() for at in metrics.values())
