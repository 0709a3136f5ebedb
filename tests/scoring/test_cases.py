"""Runs the sentences in cases/*.yaml: hand-computed facts about scores, and configurations that are refused.

A case describes what differs from the defaults. `then` names columns of the result; `because` and `to_be_hot` are
fragments of the sentences; `coverage` and `<side>_parts` are read from the breakdown, parts rounded to 0.1.
"""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml

from scoring.configs import ConfigError, read_configs
from scoring.engine import score_all
from tests.scoring import reference
from tests.scoring.world import world

CASES = [
    pytest.param(case, id=f"{path.stem}: {case['name']}")
    for path in sorted((Path(__file__).parent / "cases").glob("*.yaml"))
    for case in yaml.safe_load(path.read_text(encoding="utf-8"))
]
KEYS = {"name", "as_of", "configs", "accounts", "people", "imported_contacts", "signals", "opportunities"}
KEYS |= {"opportunity_contacts", "previous", "company_signals", "then", "refused"}


@pytest.mark.parametrize("case", CASES)
def test_case(case: dict[str, Any]) -> None:
    assert case.keys() <= KEYS, f"a case knows nothing of {case.keys() - KEYS}"
    if "refused" in case:
        with pytest.raises(ConfigError) as refusal:
            read_configs(case["configs"])
        assert str(refusal.value) == case["refused"]
        return
    described = dict(case)
    if imported := case.get("imported_contacts"):
        contacts = [
            {"person_id": f"imported {number}", "account_id": imported["account_id"]}
            for number in range(imported["count"])
        ]
        described["people"] = [*case["people"], *contacts]
    subject = world(described)
    as_of = case.get("as_of", date(2026, 3, 10))
    configs = read_configs(case.get("configs", {}))
    records: list[dict[Any, Any]] = score_all(subject.inputs(), configs, as_of).to_dict("records")
    rows = {f"{row['entity_type']} {row['entity_id']}": row for row in records}
    assert {entity: _score(row) for entity, row in rows.items()} == {
        " ".join(entity): score for entity, score in reference.score_all(subject, configs, as_of).items()
    }
    for entity, expected in case["then"].items():
        for fact, value in expected.items():
            assert _holds(fact, value, found := _found(fact, rows[entity])), f"{entity}: {fact} is {found!r}"


def _score(row: dict[str, Any]) -> reference.Score:
    columns = ("fit_score", "engagement_score", "combined_score", "tier", "fit_high", "engagement_high")
    return reference.Score(*(row[column] for column in columns))


def _found(fact: str, row: dict[str, Any]) -> Any:
    if fact in row:
        return row[fact]
    breakdown = json.loads(row["score_breakdown"])
    if fact == "coverage":
        return breakdown["fit"]["coverage"]
    if fact in ("because", "to_be_hot"):
        return breakdown[fact]
    parts = breakdown[fact.removesuffix("_parts")]["parts"]
    return {part["part"]: reference.to_a_tenth(part["points"]) for part in parts}


def _holds(fact: str, value: Any, found: Any) -> bool:
    if fact in ("because", "to_be_hot"):
        return value in found
    if fact == "fit_parts":
        return all(found[part] == points for part, points in value.items())
    return bool(found == value)
