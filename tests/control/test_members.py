"""Members, and the BI logins that go with them."""

import pytest

from control import bi_users, members
from tests.conftest import Tenant
from warehouse.errors import ClarityError, MisuseError

SYSTEM = "system:tests"


def roles(tenant: Tenant) -> dict[str, str]:
    return {user: role for user, role, _since in members.all_of(tenant.id, actor=SYSTEM)}


def test_members_come_change_and_go(tenant: Tenant) -> None:
    assert members.add(tenant.id, "ann", "admin", actor=SYSTEM)
    assert members.add(tenant.id, "bob", "viewer", actor="ann")
    assert not members.add(tenant.id, "bob", "viewer", actor="ann")
    assert members.add(tenant.id, "bob", "manager", actor="ann")
    assert roles(tenant) == {"ann": "admin", "bob": "manager"}
    members.remove(tenant.id, "bob", actor="ann")
    assert roles(tenant) == {"ann": "admin"}
    with pytest.raises(MisuseError, match="'bob' is no member"):
        members.remove(tenant.id, "bob", actor="ann")


def test_the_last_admin_stays_unless_the_platform_says_otherwise(tenant: Tenant) -> None:
    members.add(tenant.id, "ann", "admin", actor=SYSTEM)
    members.add(tenant.id, "bob", "manager", actor="ann")
    with pytest.raises(ClarityError, match="'ann' is the last admin"):
        members.remove(tenant.id, "ann", actor="ann")
    with pytest.raises(ClarityError, match="'ann' is the last admin"):
        members.add(tenant.id, "ann", "viewer", actor="ann")
    members.add(tenant.id, "bob", "admin", actor="ann")
    members.add(tenant.id, "ann", "viewer", actor="bob")
    members.remove(tenant.id, "bob", actor=SYSTEM)
    assert roles(tenant) == {"ann": "viewer"}


def test_a_members_bi_logins_go_with_them(tenant: Tenant) -> None:
    members.add(tenant.id, "bob", "viewer", actor=SYSTEM)
    bi_users.add(tenant.id, actor=SYSTEM, member="bob")
    bi_users.add(tenant.id, actor=SYSTEM, member="bob")
    nobodys = bi_users.add(tenant.id, actor=SYSTEM)
    members.remove(tenant.id, "bob", actor=SYSTEM)
    assert bi_users.names(tenant.id, actor=SYSTEM) == [nobodys.name]


def test_a_bi_login_is_made_for_members_alone(tenant: Tenant) -> None:
    with pytest.raises(MisuseError, match="'bob' is no member of this tenant: clarity member add"):
        bi_users.add(tenant.id, actor=SYSTEM, member="bob")
    assert bi_users.names(tenant.id, actor=SYSTEM) == []


def test_another_tenants_bi_login_cannot_be_revoked(tenant: Tenant, other_tenant: Tenant) -> None:
    login = bi_users.add(other_tenant.id, actor=SYSTEM)
    assert not bi_users.revoke(tenant.id, login.name, actor=SYSTEM)
    assert bi_users.names(other_tenant.id, actor=SYSTEM) == [login.name]


@pytest.mark.parametrize(
    ("user", "role", "sentence"),
    [
        ("ann", "king", "there is no role 'king'; there are viewer, manager, admin"),
        ("ann", "", "there is no role ''"),
        ("", "viewer", "1 to 200 printable characters"),
        (" ann", "viewer", "without blanks around them"),
        ("x" * 10_000, "viewer", "1 to 200 printable characters"),
        ("a\0b", "viewer", "1 to 200 printable characters"),
        ("\x1b[2J", "viewer", "1 to 200 printable characters"),
        ("\udcff", "viewer", "1 to 200 printable characters"),
        ("system:ann", "viewer", "no member of any tenant"),
    ],
    ids=lambda value: value[:20].encode("unicode_escape").decode("ascii"),
)
def test_a_user_or_role_that_cannot_be_is_refused(tenant: Tenant, user: str, role: str, sentence: str) -> None:
    with pytest.raises(MisuseError, match=sentence):
        members.add(tenant.id, user, role, actor=SYSTEM)
    assert roles(tenant) == {}


@pytest.mark.parametrize("user", ["nobody", "\U0001f600", "a\0b", "\udcff", "x" * 10_000])
def test_whoever_is_no_member_cannot_be_removed(tenant: Tenant, user: str) -> None:
    with pytest.raises(MisuseError) as refusal:
        members.remove(tenant.id, user, actor=SYSTEM)
    assert len(str(refusal.value)) < 200
