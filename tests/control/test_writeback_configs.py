"""What goes back into the CRM: checked, versioned, off until switched on."""

import re
from pathlib import Path
from typing import Any

import pytest

from control import writeback_configs
from steps import provision
from tests.conftest import Tenant
from warehouse import database
from warehouse.errors import MisuseError

SYSTEM = "system:tests"
TIER = {"canonicalField": "tier", "targetField": "Tier__c"}
SCORED_AT = {"canonicalField": "scoredAt", "targetField": "Scored_At__c"}
PLACE = ("files", "accounts")


@pytest.fixture
def with_files(tenant: Tenant, tmp_path: Path) -> Tenant:
    provision.add_connector(tenant.id, "files", {"folder": str(tmp_path)}, actor=SYSTEM)
    return tenant


def put(tenant: Tenant, *fields: dict[str, Any], **policies: str) -> int:
    content = {"field_map": list(fields), "policies": policies}
    return writeback_configs.put(tenant.id, *PLACE, content, actor=SYSTEM).version


def shown(tenant: Tenant) -> list[dict[str, Any]]:
    return writeback_configs.show(tenant.id, actor=SYSTEM)


def test_it_is_off_and_asks_until_somebody_says_otherwise(with_files: Tenant) -> None:
    assert put(with_files, TIER, SCORED_AT, Tier__c="ours") == 1
    assert shown(with_files) == [
        {
            "connector": "files",
            "entity": "accounts",
            "enabled": False,
            "field_map": [TIER, SCORED_AT],
            "policies": {"Tier__c": "ours", "Scored_At__c": "ask"},
        }
    ]


def test_versions_grow_and_any_can_be_brought_back(with_files: Tenant) -> None:
    assert [put(with_files, TIER), put(with_files, TIER), put(with_files, TIER, SCORED_AT)] == [1, 1, 2]
    assert writeback_configs.rollback(with_files.id, *PLACE, 1, actor=SYSTEM).version == 3
    assert shown(with_files)[0]["field_map"] == [TIER]
    listed = writeback_configs.versions(with_files.id, *PLACE, actor=SYSTEM)
    assert [version.version for version in listed] == [1, 2, 3]


def test_the_switch_is_audited_and_stays_when_the_fields_change(with_files: Tenant) -> None:
    put(with_files, TIER)
    assert writeback_configs.enable(with_files.id, *PLACE, writable=True, actor=SYSTEM)
    assert not writeback_configs.enable(with_files.id, *PLACE, writable=True, actor=SYSTEM)
    put(with_files, TIER, SCORED_AT)
    assert shown(with_files)[0]["enabled"]
    assert writeback_configs.disable(with_files.id, *PLACE, actor=SYSTEM)
    assert not writeback_configs.disable(with_files.id, *PLACE, actor=SYSTEM)
    with database.control_session(with_files.id) as connection:
        rows = connection.execute(
            "select action, changes -> 'after' -> 'enabled' from control.audit_log"
            " where resource = 'writeback_config' order by seq"
        ).fetchall()
    assert rows == [
        ("writeback_config.set", None),
        ("writeback_config.enable", True),
        ("writeback_config.set", None),
        ("writeback_config.disable", False),
    ]


def test_a_connector_that_takes_nothing_back_cannot_be_enabled(with_files: Tenant) -> None:
    put(with_files, TIER)
    assert not provision.can_be_written_to("files")
    assert not provision.can_be_written_to("no such connector")
    with pytest.raises(MisuseError, match="a connector 'files' can't be written to"):
        writeback_configs.enable(with_files.id, *PLACE, writable=False, actor=SYSTEM)
    assert not shown(with_files)[0]["enabled"]


def test_what_was_never_set_cannot_be_switched(with_files: Tenant) -> None:
    with pytest.raises(MisuseError, match="clarity writeback-config set TENANT files accounts FILE"):
        writeback_configs.enable(with_files.id, *PLACE, writable=True, actor=SYSTEM)
    with pytest.raises(MisuseError, match="there are accounts, people, opportunities"):
        writeback_configs.disable(with_files.id, "files", "meetings", actor=SYSTEM)
    with pytest.raises(MisuseError, match="this tenant has no connector 'salesforce'"):
        writeback_configs.disable(with_files.id, "salesforce", "accounts", actor=SYSTEM)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ({}, "field_map: Field required"),
        ({"field_map": []}, "field_map: List should have at least 1 item"),
        ({"field_map": [TIER], "enabled": True}, "there is no field 'enabled'; there are field_map, policies"),
        ({"field_map": [{**TIER, "canonicalField": "score"}]}, "Input should be 'fitScore', 'engagementScore', "),
        ({"field_map": [{"canonicalField": "tier"}]}, "field_map.0.targetField: Field required"),
        ({"field_map": [{**TIER, "targetField": ""}]}, "field_map.0.targetField: String should have at least 1"),
        ({"field_map": [{**TIER, "targetField": "a\0"}]}, "field_map.0.targetField: holds a character"),
        ({"field_map": [TIER, TIER]}, "field_map: two fields are written to Tier__c"),
        ({"field_map": [SCORED_AT]}, "scoredAt and because only ride along; map one of fitScore"),
        (
            {"field_map": [TIER], "policies": {"Tier__c": "mine"}},
            "Input should be 'ours', 'theirs' or 'ask', not 'mine'",
        ),
        ({"field_map": [TIER], "policies": {"Other": "ours"}}, "policies: 'Other' is no targetField of field_map"),
        ({"field_map": [TIER], "policies": {"x" * 10_000: "mine"}}, "Input should be 'ours', 'theirs' or 'ask'"),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else None,
)
def test_a_wrong_configuration_is_refused_with_its_field_and_what_is_allowed(
    with_files: Tenant, content: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(MisuseError, match=re.escape(sentence)) as refusal:
        writeback_configs.put(with_files.id, *PLACE, content, actor=SYSTEM)
    assert len(str(refusal.value)) < 500
    assert str(refusal.value).isprintable()
    assert shown(with_files) == []
