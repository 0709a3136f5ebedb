"""Clerk's organisations become tenants: all of them, the right ones, and never the wrong way round."""

import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from connectors.clerk import client as vendor
from control import audit, bi_users, clerk, members, registry, tenants
from sandbox.clerk import World, serve
from sandbox.clerk.world import SECRET_KEY, SIGNING_SECRET
from steps import organisations, provision, webhooks
from tests.conftest import Tenant
from warehouse import database
from warehouse.errors import ClarityError

SYSTEM = "system:tests"


@pytest.fixture
def world(platform: object, slug: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """A Clerk whose organisations are nobody's yet. Whoever becomes a tenant is gone after the test."""
    with serve(World(seed=slug)) as served:
        monkeypatch.setenv(clerk.SECRET_KEY, SECRET_KEY)
        monkeypatch.setenv(clerk.SIGNING_SECRET, SIGNING_SECRET)
        monkeypatch.setenv(clerk.ADDRESS, served.url)
        yield served.world
    for known in clerk.tenants():
        if not known.is_hand_made:
            tenants.delete(known.tenant_id, actor=SYSTEM)
    clerk.settle([event for events in clerk.unsettled().values() for event in events])


@pytest.fixture
def slug() -> str:
    return f"c_{uuid.uuid4().hex[:10]}"


def roles(tenant_slug: str) -> dict[str, str]:
    tenant = registry.tenant(tenant_slug)
    return {user: role for user, role, _since in members.all_of(tenant.id, actor=SYSTEM)}


def trail(tenant_slug: str) -> list[tuple[str, str]]:
    tenant = registry.tenant(tenant_slug)
    with database.control_session(tenant.id) as connection:
        return [(entry.actor, entry.action) for entry in audit.entries(connection, tenant.id, limit=50)]


def test_an_organisation_becomes_a_tenant_with_its_members(world: World, slug: str) -> None:
    acme = world.found("Acme Inc.", slug=slug.replace("_", "-"))
    ann, bob, eve = (
        world.join(acme, f"{name}@acme.example", f"org:{role}")
        for name, role in {"ann": "admin", "bob": "manager", "eve": "viewer"}.items()
    )
    done = organisations.run()
    assert done["created"] == [slug]
    assert registry.tenant(slug).name == "Acme Inc."
    assert roles(slug) == {ann: "admin", bob: "manager", eve: "viewer"}
    assert {actor for actor, _ in trail(slug)} == {"system:clerk"}
    # a second look changes nothing and writes nothing down
    before = trail(slug)
    assert organisations.run()["members"] == {"added": 0, "changed": 0, "removed": 0}
    assert trail(slug) == before


def test_members_follow_and_those_added_here_stay(world: World, slug: str) -> None:
    acme = world.found("Acme", slug=slug)
    ann, bob = (world.join(acme, name, "org:admin") for name in ("ann", "bob"))
    organisations.run()
    tenant = registry.tenant(slug)
    members.add(tenant.id, "operator", "manager", actor=SYSTEM)
    login = bi_users.add(tenant.id, actor=SYSTEM, member=bob)
    world.leave(acme, bob)
    world.join(acme, "ann", "org:manager")
    eve = world.join(acme, "eve", "org:admin")
    done = organisations.run()
    assert done["members"] == {"added": 1, "changed": 1, "removed": 1}
    assert roles(slug) == {ann: "manager", eve: "admin", "operator": "manager"}
    assert login.name not in bi_users.names(tenant.id, actor=SYSTEM)


def test_a_tenant_is_not_left_without_an_admin(world: World, slug: str) -> None:
    acme = world.found("Acme", slug=slug)
    ann = world.join(acme, "ann", "org:admin")
    organisations.run()
    world.join(acme, "ann", "org:member")
    done = organisations.run()
    assert roles(slug) == {ann: "admin"}
    assert f"{slug}: Clerk names no admin, so {ann} stay as they are" in done["notes"]
    assert (
        "the role org:member is none of org:admin, org:manager, org:viewer: 1 members with it are viewers"
        in (done["notes"])
    )
    bob = world.join(acme, "bob", "org:admin")
    organisations.run()
    assert roles(slug) == {ann: "viewer", bob: "admin"}


def test_a_renamed_organisation_keeps_its_slug(world: World, slug: str) -> None:
    acme = world.found("Acme", slug=slug)
    organisations.run()
    world.rename(acme, "Apex\x1b[2J ")
    world.organisations[acme].slug = "apex"
    assert organisations.run()["renamed"] == [slug]
    assert registry.tenant(slug).name == "Apex[2J"
    assert ("system:clerk", "tenant.rename") in trail(slug)


def test_a_removed_organisation_is_paused_and_nothing_of_it_is_deleted(world: World, slug: str) -> None:
    acme = world.found("Acme", slug=slug)
    world.found("Other", slug=f"{slug}_other")
    ann = world.join(acme, "ann", "org:admin")
    organisations.run()
    world.dissolve(acme)
    assert organisations.run()["paused"] == [slug]
    assert registry.tenant(slug).paused
    assert roles(slug) == {ann: "admin"}
    assert organisations.run()["paused"] == []


def test_one_that_only_slipped_through_the_list_is_not_taken_for_removed(
    world: World, slug: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = (world.found(name, slug=f"{slug}_{name}") for name in ("a", "b"))
    organisations.run()
    listed = vendor.Clerk.organisations

    async def without_the_second(api: Any) -> Any:
        return [one for one in await listed(api) if one.id != second]

    monkeypatch.setattr(vendor.Clerk, "organisations", without_the_second)
    done = organisations.run()
    assert (done["paused"], done["organisations"]) == ([], 2)
    assert first in world.organisations


def test_a_reading_that_knows_few_of_ours_pauses_nobody(world: World, slug: str) -> None:
    made = [world.found(f"Org {number}", slug=f"{slug}_{number}") for number in range(3)]
    organisations.run()
    for organisation in made[1:]:
        world.dissolve(organisation)
    with pytest.raises(ClarityError, match="Clerk knows 1 of the 3 organisations that are tenants here: nobody is pau"):
        organisations.run()
    assert not any(registry.tenant(f"{slug}_{number}").paused for number in range(3))
    world.dissolve(made[0])
    with pytest.raises(ClarityError, match="Clerk knows none of the 3"):
        organisations.run()
    assert len(organisations.run(accept_fewer=True)["paused"]) == 3


def test_a_tenant_made_by_hand_is_adopted_when_the_owner_of_the_instance_says_so(world: World, tenant: Tenant) -> None:
    stranger = world.found("Not theirs", slug=tenant.slug)
    mallory = world.join(stranger, "mallory", "org:admin")
    done = organisations.run()
    # whoever founds an organisation chooses its slug, and must not become anybody's admin by that
    assert done["created"] == done["adopted"] == []
    assert "was left out" in done["notes"][0]
    assert mallory not in roles(tenant.slug)
    world.describe(stranger, {"clarity_slug": tenant.slug})
    assert organisations.run()["adopted"] == [tenant.slug]
    assert roles(tenant.slug) == {mallory: "admin"}
    assert ("system:clerk", "tenant.adopt") in trail(tenant.slug)
    another = world.found("Late", private_metadata={"clarity_slug": tenant.slug})
    assert "which belongs to another organisation: it was left out" in organisations.run()["notes"][0]
    assert another not in {known.organisation for known in clerk.tenants()}


@pytest.mark.parametrize(
    ("name", "slug", "becomes"),
    [
        ("Łódź & Söhne", None, "d_s_hne"),
        ("42", "42", "t_42"),
        ("日本", None, "org_"),
        ("A" * 100, None, "a" * 40),
        ("x", "a", "t_a"),
    ],
)
def test_every_name_gives_a_slug(name: str, slug: str | None, becomes: str) -> None:
    found = organisations._slug_of(vendor.Organisation("org_2aBc", name, slug or ""))
    assert found.startswith(becomes)
    tenants.validate("any", found, "UTC")
    assert organisations._free(found, {found, organisations._free(found, {found})}).endswith("_3")


def test_two_organisations_of_one_name_are_two_tenants(world: World, slug: str) -> None:
    for _ in range(2):
        world.found(slug)
    assert organisations.run()["created"] == [slug, f"{slug}_2"]


def test_more_than_a_page_is_read_to_its_end(world: World, slug: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vendor, "MOST_PER_PAGE", 2)
    acme = world.found("Acme", slug=slug)
    people = {world.join(acme, f"person {number}", "org:viewer") for number in range(5)}
    organisations.run()
    assert roles(slug).keys() == people


def test_a_pause_that_clerk_asks_for_is_kept_and_a_wrong_key_is_said(
    world: World, slug: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.found("Acme", slug=slug)
    world.refuse(429, retry_after=0)
    world.refuse(503)
    assert organisations.run()["created"] == [slug]
    assert [status for _, _, status in world.calls[:3]] == [429, 503, 200]
    monkeypatch.setenv(clerk.SECRET_KEY, "sk_live_of_somebody_else")
    with pytest.raises(ClarityError, match="Put the instance's secret key, which begins with sk_") as refusal:
        organisations.run()
    assert "sk_live_of_somebody_else" not in str(refusal.value)


def test_without_a_key_nothing_is_done_and_that_is_said(platform: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(clerk.SECRET_KEY, raising=False)
    done = organisations.run()
    assert done["provisioned"] == "off"
    assert done["because"].startswith("Clerk's secret key is not given: CLERK_SECRET_KEY, or the file clerk_secret_key")
    file = platform / "clerk_secret_key"
    file.write_text("sk_test\n")
    try:
        file.chmod(0o644)
        with pytest.raises(ClarityError, match="is open to other users"):
            clerk.secret(clerk.SECRET_KEY)
        file.chmod(0o600)
        assert clerk.secret(clerk.SECRET_KEY) == "sk_test"
    finally:
        file.unlink()


@pytest.fixture
def deliver(world: World) -> Iterator[Callable[[], list[webhooks.Answer]]]:
    """Clerk's webhooks, to the receiver: whatever was not delivered yet."""
    delivered = 0
    with webhooks.session() as connection:

        def deliver() -> list[webhooks.Answer]:
            nonlocal delivered
            events, delivered = world.events[delivered:], len(world.events)
            answers = []
            for event in events:
                headers, body = event.signed(world.now)
                answers.append(webhooks.accept(connection, "clerk", "platform", headers, body, now=lambda: world.now))
            return answers

        yield deliver


def test_webhooks_say_about_whom_to_ask(world: World, slug: str, deliver: Callable[[], list[webhooks.Answer]]) -> None:
    world.found("Quiet", slug=f"{slug}_quiet")
    organisations.run()
    deliver()
    organisations.run(everything=False)
    world.calls.clear()
    assert organisations.run(everything=False)["organisations"] == 0
    assert world.calls == []
    acme = world.found("Acme", slug=slug)
    ann = world.join(acme, "ann", "org:admin")
    assert deliver() == [webhooks.Answer(200, "accepted")] * 2
    assert organisations.run(everything=False)["created"] == [slug]
    assert all(f"/v1/organizations/{acme}" in path for _, path, _ in world.calls)
    assert roles(slug) == {ann: "admin"}
    world.dissolve(acme)
    deliver()
    assert organisations.run(everything=False)["paused"] == [slug]


def test_an_event_that_is_forged_late_or_about_something_else_changes_nothing(world: World, slug: str) -> None:
    world.found("Acme", slug=slug)
    headers, body = world.events[-1].signed(world.now)
    with webhooks.session() as connection:

        def told(headers: dict[str, str], body: bytes) -> webhooks.Answer:
            return webhooks.accept(connection, "clerk", "platform", headers, body, now=lambda: world.now)

        assert told(headers, body + b" ").status == 401
        assert told(headers, body) == webhooks.Answer(200, "accepted")
        assert told(headers, body) == webhooks.Answer(200, "known already")
        world._tell("user.created", {"id": "user_1"})
        assert told(*world.events[-1].signed(world.now)) == webhooks.Answer(200, "of no concern")
        world._tell("organizationMembership.created", {"id": "orgmem_1"})
        assert told(*world.events[-1].signed(world.now)).status == 400
    assert list(clerk.unsettled()) == list(world.organisations)


def test_what_fails_for_one_organisation_does_not_hold_up_the_others(
    world: World, slug: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.found("Broken", slug=f"{slug}_broken")
    world.found("Whole", slug=slug)
    create = provision.create_tenant

    def create_but_one(name: str, *arguments: Any, **more: Any) -> str:
        if name == "Broken":
            raise ClarityError("the disk is full")
        return create(name, *arguments, **more)

    monkeypatch.setattr(provision, "create_tenant", create_but_one)
    with pytest.raises(ClarityError, match=r"not everybody could be provisioned\. Broken: the disk is full"):
        organisations.run()
    assert registry.tenant(slug).name == "Whole"
