"""The security officer's page: computed now, true, and readable by somebody who trusts nobody."""

import html
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from control import bi_users, registry, tenants
from steps import prove, provision
from tests.conftest import Tenant
from warehouse import database
from warehouse.errors import ClarityError

ACTOR = "system:tests"


def text_of(page: str) -> str:
    return html.unescape(re.sub(r"<[^>]+>", " ", page))


@dataclass(frozen=True)
class Proof:
    tenant_id: str
    page: str
    sound: bool


@pytest.fixture(scope="module")
def proof(platform: Path) -> Iterator[Proof]:
    """Of a tenant that means ill: the same for all tests that only read it."""
    another = provision.create_tenant("Another", "another", actor=ACTOR)
    tenant_id = provision.create_tenant("<script>alert(1)</script>", "scripted", actor=ACTOR)
    provision.add_connector(tenant_id, "files", {"folder": "/somewhere/canary-folder"}, actor=ACTOR)
    page, sound = prove.run("scripted", actor=ACTOR)
    yield Proof(tenant_id, page, sound)
    for each in (tenant_id, another):
        tenants.delete(each, actor=ACTOR)


def test_the_page_says_what_was_tried_and_that_nothing_was_found(proof: Proof) -> None:
    assert proof.sound
    tried = re.search(
        r"(\d+) attempts to see, add, change or remove another tenant's rows: none succeeded", text_of(proof.page)
    )
    assert tried is not None
    assert int(tried.group(1)) > 400
    assert "The audit trail is whole." in proof.page


def test_the_page_names_what_is_open(tenant: Tenant, other_tenant: Tenant) -> None:
    with database.connect(database.admin_conninfo(), autocommit=True) as admin:
        admin.execute("alter table scores.engagements no force row level security")
        try:
            page, sound = prove.run(tenant.slug, actor=ACTOR)
        finally:
            admin.execute("alter table scores.engagements force row level security")
    assert not sound
    assert "scores.engagements does not FORCE row-level security" in text_of(page)


def test_the_page_shows_connectors_and_keys_and_no_secret(proof: Proof) -> None:
    assert "accounts, activities, opportunities, people" in text_of(proof.page)
    assert "newest" in proof.page
    assert "canary" not in proof.page


def test_the_login_made_for_the_walk_is_gone_afterwards(proof: Proof) -> None:
    assert bi_users.names(proof.tenant_id, actor=ACTOR) == []


def test_a_tenants_name_cannot_write_html(proof: Proof) -> None:
    assert "<script>" not in proof.page
    assert "alert(1)" in proof.page


def test_a_member_below_admin_may_not_ask_for_it(tenant: Tenant) -> None:
    assert registry.tenant(tenant.slug).id == tenant.id
    with pytest.raises(ClarityError, match="is no member of this tenant"):
        prove.run(tenant.slug, actor="ann")
