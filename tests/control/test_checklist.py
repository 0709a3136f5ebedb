"""`clarity tenant show`: what is there, and what is left to do."""

from pathlib import Path
from typing import Any

import pytest

from control import checklist, registry
from steps import provision
from tests.conftest import Tenant
from warehouse import database
from warehouse.errors import ClarityError

ACTOR = "system:tests"


def overview(tenant: Tenant, actor: str = ACTOR) -> checklist.Overview:
    return checklist.overview(registry.tenant(tenant.slug), actor=actor)


def done(tenant: Tenant) -> set[str]:
    return {item.what for item in overview(tenant).checklist if item.done}


def test_a_new_tenant_has_its_defaults_and_the_rest_to_do(tenant: Tenant) -> None:
    seen = overview(tenant)
    assert {item.what: (item.need, item.done) for item in seen.checklist} == {
        "scoring configuration": ("required", True),
        "data source": ("required", False),
        "ideal customer profile": ("required", False),
        "decay parameters": ("recommended", False),
        "team": ("recommended", False),
        "field mappings": ("recommended", False),
        "role templates": ("recommended", True),
    }
    assert seen.facts["slug"] == tenant.slug
    assert seen.facts["organisation"] == f"local:{tenant.slug}"
    assert (seen.facts["connectors"], seen.facts["people"], seen.facts["scores last moved"]) == ("none", 0, None)


def test_every_item_comes_with_a_command_for_this_tenant(tenant: Tenant) -> None:
    for item in overview(tenant).checklist:
        assert item.command.startswith("clarity ")
        assert tenant.slug in item.command.split()


@pytest.mark.parametrize(
    ("kind", "config", "makes"),
    [
        ("fit", {"industries": ["Software"]}, {"ideal customer profile"}),
        ("fit", {"employees": {"min": 10, "max": 50}}, {"ideal customer profile"}),
        ("fit", {"custom": [{"field": "segment", "values": ["A"]}]}, {"ideal customer profile"}),
        # weights say how much a criterion matters, not what is looked for
        ("fit", {"weights": {"industry": 50}}, set()),
        ("engagement", {"half_life_days": 20}, {"decay parameters"}),
        ("engagement", {"saturation": 5}, {"decay parameters"}),
        ("engagement", {"signals": {"page_view": {"half_life_days": 7}}}, {"decay parameters"}),
        ("engagement", {"account_rollup": "max_breadth"}, set()),
    ],
)
def test_a_configuration_counts_once_it_is_the_tenants_own(
    tenant: Tenant, kind: str, config: dict[str, Any], makes: set[str]
) -> None:
    before = done(tenant)
    provision.set_scoring_config(tenant.id, kind, config, actor=ACTOR)
    assert done(tenant) - before == makes
    provision.set_scoring_config(tenant.id, kind, {}, actor=ACTOR)
    assert done(tenant) == before


def test_connectors_members_mappings_and_templates_are_counted(tenant: Tenant, tmp_path: Path) -> None:
    before = done(tenant)
    connector = provision.add_connector(tenant.id, "files", {"folder": str(tmp_path)}, actor=ACTOR)
    with database.control_session(tenant.id) as connection:
        connection.execute(
            "insert into control.members (id, tenant_id, user_id, role)"
            " values (gen_random_uuid(), %s, 'ann', 'viewer')",
            [tenant.id],
        )
        connection.execute(
            "insert into control.field_mappings (id, tenant_id, connector_id, entity_type, mappings)"
            " values (gen_random_uuid(), %s, %s, 'account', '[]')",
            [tenant.id, connector],
        )
        connection.execute("delete from control.role_templates where tenant_id = %s", [tenant.id])
    assert done(tenant) - before == {"data source", "team", "field mappings"}
    assert before - done(tenant) == {"role templates"}
    assert overview(tenant, "ann").facts["members"] == 1


def test_who_is_no_member_sees_nothing(tenant: Tenant) -> None:
    with pytest.raises(ClarityError, match="is no member of this tenant"):
        overview(tenant, "mallory")
