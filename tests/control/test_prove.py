"""The security officer's page: computed now, true, and readable by somebody who trusts nobody."""

import html
import re
from pathlib import Path

import pytest

from control import bi_users, registry
from steps import prove, provision
from tests.conftest import Tenant
from warehouse import database
from warehouse.errors import ClarityError

ACTOR = "system:tests"


def text_of(page: str) -> str:
    return html.unescape(re.sub(r"<[^>]+>", " ", page))


def test_the_page_says_what_was_tried_and_that_nothing_was_found(tenant: Tenant, other_tenant: Tenant) -> None:
    page, sound = prove.run(tenant.slug, actor=ACTOR)
    assert sound
    tried = re.search(
        r"(\d+) attempts to see, add, change or remove another tenant's rows: none succeeded", text_of(page)
    )
    assert tried is not None
    assert int(tried.group(1)) > 400
    assert "The audit trail is whole." in page


def test_the_page_names_what_is_open(tenant: Tenant, other_tenant: Tenant) -> None:
    with database.connect(database.admin_conninfo(), autocommit=True) as admin:
        admin.execute("alter table scores.engagements no force row level security")
        try:
            page, sound = prove.run(tenant.slug, actor=ACTOR)
        finally:
            admin.execute("alter table scores.engagements force row level security")
    assert not sound
    assert "scores.engagements does not FORCE row-level security" in text_of(page)


def test_the_page_shows_connectors_and_keys_and_no_secret(tenant: Tenant, tmp_path: Path) -> None:
    folder = tmp_path / "canary-folder"
    provision.add_connector(tenant.id, "files", {"folder": str(folder)}, actor=ACTOR)
    page, _ = prove.run(tenant.slug, actor=ACTOR)
    assert "accounts, activities, opportunities, people" in text_of(page)
    assert "newest" in page
    assert "canary" not in page


def test_the_login_made_for_the_walk_is_gone_afterwards(tenant: Tenant) -> None:
    prove.run(tenant.slug, actor=ACTOR)
    assert bi_users.names(tenant.id, actor=ACTOR) == []


def test_a_tenants_name_cannot_write_html(platform: Path) -> None:
    from control import tenants

    tenant_id = provision.create_tenant("<script>alert(1)</script>", "scripted", actor=ACTOR)
    try:
        page, _ = prove.run("scripted", actor=ACTOR)
    finally:
        tenants.delete(tenant_id, actor=ACTOR)
    assert "<script>" not in page


def test_a_member_below_admin_may_not_ask_for_it(tenant: Tenant) -> None:
    assert registry.tenant(tenant.slug).id == tenant.id
    with pytest.raises(ClarityError, match="is no member of this tenant"):
        prove.run(tenant.slug, actor="ann")
