"""Role templates: closed roles, one default, versions."""

import re
from typing import Any

import pytest

from control import templates
from tests.conftest import Tenant
from warehouse import database
from warehouse.errors import MisuseError

SYSTEM = "system:tests"
CHAMPION = {"role": "champion", "required": True, "weight": 1}
COACH = {"role": "coach", "required": False, "weight": 0.5}
GIVEN = "Default buying group"


def put(tenant: Tenant, name: str, *roles: dict[str, Any], **more: Any) -> int:
    return templates.put(tenant.id, {"name": name, "roles": list(roles or [CHAMPION]), **more}, actor=SYSTEM).version


def names(tenant: Tenant) -> list[tuple[str, bool]]:
    return [(template["name"], template["is_default"]) for template in templates.show(tenant.id, actor=SYSTEM)]


def test_a_template_can_be_set_as_it_is_shown(tenant: Tenant) -> None:
    (shown,) = templates.show(tenant.id, actor=SYSTEM)
    assert not templates.put(tenant.id, shown, actor=SYSTEM).changed
    assert templates.versions(tenant.id, GIVEN, actor=SYSTEM) == []


def test_one_template_is_the_default_and_another_can_take_over(tenant: Tenant) -> None:
    assert put(tenant, "Security", solution_tag="security") == 1
    assert names(tenant) == [(GIVEN, True), ("Security", False)]
    put(tenant, "Security", COACH, solution_tag="security", is_default=True)
    assert names(tenant) == [("Security", True), (GIVEN, False)]
    put(tenant, "Security", CHAMPION, COACH, solution_tag="security")
    assert names(tenant) == [("Security", True), (GIVEN, False)]
    with pytest.raises(MisuseError, match="set another one with is_default true instead"):
        put(tenant, "Security", is_default=False)
    assert names(tenant) == [("Security", True), (GIVEN, False)]


def test_what_a_tenant_began_with_can_be_brought_back(tenant: Tenant) -> None:
    (given,) = templates.show(tenant.id, actor=SYSTEM)
    assert put(tenant, GIVEN, COACH) == 2
    assert put(tenant, "Other", is_default=True) == 1
    rolled_back = templates.rollback(tenant.id, GIVEN, 1, actor=SYSTEM)
    assert (rolled_back.version, rolled_back.changed) == (4, True)
    assert templates.show(tenant.id, actor=SYSTEM)[1] == {**given, "is_default": False}
    assert names(tenant) == [("Other", True), (GIVEN, False)]


def test_the_trail_tells_of_both_when_the_default_changes(tenant: Tenant) -> None:
    put(tenant, "Other", is_default=True)
    with database.control_session(tenant.id) as connection:
        rows = connection.execute(
            "select changes -> 'before' -> 'is_default', changes -> 'after' ->> 'name',"
            " changes -> 'after' -> 'is_default'"
            " from control.audit_log where action = 'template.set' order by seq"
        ).fetchall()
    assert rows == [(True, GIVEN, False), (None, "Other", True)]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ({"roles": [CHAMPION]}, "name: Field required"),
        ({"name": "X"}, "roles: Field required"),
        ({"name": "X", "roles": []}, "roles: List should have at least 1 item"),
        ({"name": "X", "roles": [{**CHAMPION, "role": "boss"}]}, "roles.0.role: Input should be 'champion', 'economic"),
        ({"name": "X", "roles": [{**CHAMPION, "weight": 0}]}, "roles.0.weight: Input should be greater than 0, not 0"),
        ({"name": "X", "roles": [{**CHAMPION, "weight": "1"}]}, "roles.0.weight: Input should be a valid number"),
        ({"name": "X", "roles": [{**CHAMPION, "weight": float("inf")}]}, "roles.0.weight: inf is no number"),
        (
            {"name": "X", "roles": [{**CHAMPION, "why": 1}]},
            "roles.0: there is no field 'why'; there are role, required",
        ),
        ({"name": "X", "roles": [CHAMPION, CHAMPION]}, "roles: champion is listed twice"),
        ({"name": "", "roles": [CHAMPION]}, "name: String should have at least 1 character"),
        ({"name": "x" * 10_000, "roles": [CHAMPION]}, "name: String should have at most 200 characters"),
        ({"name": " X ", "roles": [CHAMPION]}, "name: must be printable characters without blanks around them"),
        ({"name": "\x1b[2J", "roles": [CHAMPION]}, "name: must be printable characters"),
        ({"name": "a\0", "roles": [CHAMPION]}, "name: holds a character that can't be stored"),
        ({"name": "X", "solution_tag": "taken", "roles": [CHAMPION]}, "taken belongs to the template Taken"),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else None,
)
def test_a_wrong_template_is_refused_with_its_field_and_what_is_allowed(
    tenant: Tenant, content: dict[str, Any], sentence: str
) -> None:
    put(tenant, "Taken", solution_tag="taken")
    with pytest.raises(MisuseError, match=re.escape(sentence)) as refusal:
        templates.put(tenant.id, content, actor=SYSTEM)
    assert len(str(refusal.value)) < 500
    assert str(refusal.value).isprintable()
    assert names(tenant) == [(GIVEN, True), ("Taken", False)]


def test_a_template_that_is_not_there_is_named_with_those_that_are(tenant: Tenant) -> None:
    for attempt in (
        lambda: templates.versions(tenant.id, "Nope", actor=SYSTEM),
        lambda: templates.rollback(tenant.id, "Nope", 1, actor=SYSTEM),
    ):
        with pytest.raises(MisuseError, match="there is no template 'Nope'; there are Default buying group"):
            attempt()
    with pytest.raises(MisuseError, match="there is no version 1; nothing was changed yet"):
        templates.rollback(tenant.id, GIVEN, 1, actor=SYSTEM)
