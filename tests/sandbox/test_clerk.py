"""The Clerk that is not there answers as the real one does."""

from collections.abc import Iterator

import httpx
import pytest

from sandbox.clerk import World, serve
from sandbox.clerk.world import SECRET_KEY


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def clerk(world: World) -> Iterator[httpx.Client]:
    with (
        serve(world) as served,
        httpx.Client(base_url=served.url, headers={"Authorization": f"Bearer {SECRET_KEY}"}) as client,
    ):
        yield client


def test_lists_come_in_pages_newest_first_unless_asked_for_otherwise(world: World, clerk: httpx.Client) -> None:
    first, second, third = (world.found(name) for name in ("A", "B", "C"))

    def ids(**params: str | int) -> list[str]:
        return [one["id"] for one in clerk.get("/v1/organizations", params=params).json()["data"]]

    assert ids() == [third, second, first]
    assert ids(order_by="+created_at", limit=2) == [first, second]
    assert ids(order_by="+created_at", limit=2, offset=2) == [third]
    assert clerk.get("/v1/organizations").json()["total_count"] == 3
    assert {clerk.get("/v1/organizations", params={"limit": limit}).status_code for limit in (0, 501, "x")} == {422}


def test_members_are_told_with_their_role_and_their_organisation(world: World, clerk: httpx.Client) -> None:
    acme = world.found("Acme")
    ann = world.join(acme, "ann", "org:admin")
    (membership,) = clerk.get(f"/v1/organizations/{acme}/memberships").json()["data"]
    assert membership["public_user_data"]["user_id"] == ann
    assert (membership["role"], membership["organization"]["id"]) == ("org:admin", acme)


def test_what_is_not_there_and_who_may_not_ask_are_told_in_clerks_own_form(world: World, clerk: httpx.Client) -> None:
    assert clerk.get("/v1/organizations/org_none").json()["errors"][0]["code"] == "resource_not_found"
    stranger = clerk.get("/v1/organizations", headers={"Authorization": "Bearer sk_of_somebody"})
    assert (stranger.status_code, stranger.json()["errors"][0]["code"]) == (401, "clerk_key_invalid")
    world.refuse(429, retry_after=3)
    asked_too_often = clerk.get("/v1/organizations")
    assert (asked_too_often.status_code, asked_too_often.headers["Retry-After"]) == (429, "3")
    assert clerk.get("/v1/organizations").status_code == 200


def test_another_process_makes_things_happen(world: World, clerk: httpx.Client) -> None:
    done = clerk.post("/_sandbox/do", json={"do": "found", "with": ["Acme"], "values": {"slug": "acme"}}).json()
    assert world.organisations[done["done"]].slug == "acme"
    assert clerk.post("/_sandbox/do", json={"do": "burn"}).status_code == 400
    assert [event["type"] for event in clerk.get("/_sandbox/events").json()] == ["organization.created"]
    clerk.get("/v1/organizations")
    assert clerk.get("/_sandbox/calls").json()[-1][2] == 200
