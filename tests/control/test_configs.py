"""Scoring configurations: checked, versioned, never edited in place."""

import re
from typing import Any

import pytest

from control import configs
from steps import provision
from tests.conftest import Tenant
from warehouse import database
from warehouse.errors import MisuseError

SYSTEM = "system:tests"


def history(tenant: Tenant, kind: str = "fit") -> list[tuple[int, Any]]:
    with database.control_session(tenant.id) as connection:
        return connection.execute(
            "select version, config -> 'industries' from control.scoring_config_versions where type = %s order by 1",
            [kind],
        ).fetchall()


def score_version(tenant: Tenant) -> int:
    return configs.show(tenant.id, actor=SYSTEM).score_version


def test_a_configuration_becomes_a_new_version_and_the_old_one_stays(tenant: Tenant) -> None:
    assert provision.set_scoring_config(tenant.id, "fit", {"industries": ["Software"]}, actor=SYSTEM) == 2
    assert score_version(tenant) == 2
    assert history(tenant) == [(1, []), (2, ["Software"])]


def test_the_same_content_makes_no_version(tenant: Tenant) -> None:
    for _ in range(2):
        assert provision.set_scoring_config(tenant.id, "fit", {"industries": ["Software"]}, actor=SYSTEM) == 2
    assert provision.rollback_scoring_config(tenant.id, "fit", 2, actor=SYSTEM) == 2
    assert len(history(tenant)) == 2


def test_a_rollback_is_a_new_version_with_the_old_content(tenant: Tenant) -> None:
    provision.set_scoring_config(tenant.id, "fit", {"industries": ["Software"]}, actor=SYSTEM)
    assert provision.rollback_scoring_config(tenant.id, "fit", 1, actor="system:ann") == 3
    assert history(tenant) == [(1, []), (2, ["Software"]), (3, [])]
    assert score_version(tenant) == 3
    assert [(version.version, version.created_by) for version in configs.versions(tenant.id, "fit", actor=SYSTEM)] == [
        (1, "system:tests"),
        (2, "system:tests"),
        (3, "system:ann"),
    ]


def test_the_trail_tells_before_and_after(tenant: Tenant) -> None:
    provision.set_scoring_config(tenant.id, "fit", {"industries": ["Software"]}, actor=SYSTEM)
    provision.rollback_scoring_config(tenant.id, "fit", 1, actor=SYSTEM)
    with database.control_session(tenant.id) as connection:
        rows = connection.execute(
            "select action, changes -> 'before' -> 'industries', changes -> 'after' -> 'industries'"
            " from control.audit_log where resource = 'scoring_config' order by seq"
        ).fetchall()
    assert rows == [("config.set", [], ["Software"]), ("config.rollback", ["Software"], [])]


@pytest.mark.parametrize("version", [0, 2, 10**30])
def test_a_version_that_never_was_cannot_come_back(tenant: Tenant, version: int) -> None:
    with pytest.raises(MisuseError, match=f"there is no version {version}; there are 1 to 1"):
        provision.rollback_scoring_config(tenant.id, "fit", version, actor=SYSTEM)


@pytest.mark.parametrize(
    ("kind", "config", "sentence"),
    [
        ("fit", {"employees": {"min": 10, "max": 5}}, "fit.employees: min (10) must not be above max (5)"),
        ("fit", {"industry": ["x"]}, "fit.industry: there is no field 'industry'; there are weights, industries, "),
        ("fit", {"weights": {"fun": 1}}, "fit.weights.fun: there is no field 'fun'; there are industry, size, revenue"),
        ("fit", {"missing": "maybe"}, "fit.missing: Input should be 'exclude' or 'zero'"),
        ("fit", {"industries": ["a\0b"]}, "fit.industries.0: holds a character that can't be stored"),
        ("fit", {"industries": ["\ud800"]}, "fit.industries.0: holds a character that can't be stored"),
        ("fit", {"weights": {"size": float("nan")}}, "fit.weights.size: nan is no number"),
        ("engagement", {"half_life_days": 0}, "engagement.half_life_days: Input should be greater than 0"),
        ("combined", {"bands": {"hot": 50, "warm": 60}}, "combined.bands: bands overlap"),
        ("speed", {}, "there is no configuration 'speed'; there are fit, engagement, combined"),
        ("x" * 10_000, {}, "; there are fit, engagement, combined"),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else None,
)
def test_a_wrong_configuration_is_refused_with_its_field_and_what_is_allowed(
    tenant: Tenant, kind: str, config: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(MisuseError, match=re.escape(sentence)) as refusal:
        provision.set_scoring_config(tenant.id, kind, config, actor=SYSTEM)
    assert len(str(refusal.value)) < 500
    assert str(refusal.value).isprintable()
    assert score_version(tenant) == 1
