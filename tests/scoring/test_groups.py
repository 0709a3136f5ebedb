"""Buying groups: the sentences in cases/groups, and what holds for every account."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from scoring.configs import ConfigError, Configs, RoleTemplate, read_template
from scoring.engine import score
from scoring.groups import EVIDENCE, ROLES, GroupInputs, Groups, crm_role, groups
from scoring.titles import read_title
from tests.scoring import reference
from tests.scoring.strategies import AS_OF
from tests.scoring.world import Person, Signal, World

COLUMNS = {
    "people": ["person_id", "account_id", "title", "email"],
    "opportunities": ["opportunity_id", "account_id", "is_closed", "solution_tag"],
    "contacts": ["opportunity_id", "person_id", "role"],
    "discovered": ["account_id", "email", "title", "source"],
    "evidence": ["kind", "person_id", "email", "role", "confidence"],
    "confirmed": ["account_id", "solution_tag", "person_id", "email", "role"],
    "engagement": ["person_id", "engagement_score"],
}
Rows = dict[str, list[dict[str, Any]]]
DEFAULT = RoleTemplate(is_default=True)

CASES = [
    pytest.param(case, id=case["name"])
    for path in sorted((Path(__file__).parent / "cases" / "groups").glob("*.yaml"))
    for case in yaml.safe_load(path.read_text(encoding="utf-8"))
]


def inputs(rows: Mapping[str, list[dict[str, Any]]]) -> GroupInputs:
    frames = {
        name: pd.DataFrame([[row.get(column) for column in columns] for row in rows.get(name, [])], columns=columns)
        for name, columns in COLUMNS.items()
    }
    frames["opportunities"]["is_closed"] = frames["opportunities"]["is_closed"].fillna(False).astype(bool)
    return GroupInputs(**{name: frame.astype(object) for name, frame in frames.items()})


def records(frame: pd.DataFrame) -> list[dict[Any, Any]]:
    found: list[dict[Any, Any]] = frame.to_dict("records")
    return found


@pytest.mark.parametrize("case", CASES)
def test_case(case: dict[str, Any]) -> None:
    assert case.keys() <= {*COLUMNS, "name", "templates", "imported_contacts", "then"}
    rows = {name: list(case.get(name, [])) for name in COLUMNS}
    if imported := case.get("imported_contacts"):
        account = imported["account_id"]
        rows["people"] += [{"person_id": f"imported {n}", "account_id": account} for n in range(imported["count"])]
    templates = [read_template(one) for one in case["templates"]] if "templates" in case else [DEFAULT]
    found = groups(inputs(rows), templates)
    for table, expected in case["then"].items():
        told = records(getattr(found, table))
        assert len(told) == len(expected) or (table == "candidates" and len(told) >= len(expected))
        for row, facts in zip(told, expected, strict=table != "candidates"):
            assert {name: row[name] for name in facts} == facts


def test_a_crm_says_roles_in_words_of_its_own() -> None:
    assert crm_role("Economic Decision Maker") == crm_role("BUDGET_HOLDER") == "economic_buyer"
    assert crm_role("Technical-Buyer") == "technical_evaluator"
    assert crm_role("Other") is crm_role(None) is None


def test_a_template_that_lists_a_role_twice_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match=r"^template.roles: coach is listed twice$"):
        read_template({"roles": [{"role": "coach"}, {"role": "coach"}]})
    with pytest.raises(ConfigError, match=r"^template.roles.0.weight: Input should be greater than 0$"):
        read_template({"roles": [{"role": "coach", "weight": 0}]})


def test_who_gives_a_day_drives_and_who_reads_uses() -> None:
    world = World(
        people=(Person("p"), Person("q"), Person("idle")),
        signals=(Signal("p", "demo_request", AS_OF, 3), Signal("q", "page_view", AS_OF, 5)),
    )
    evidence = records(score(world.inputs(), Configs(), AS_OF).engagement_evidence())
    assert [(row["kind"], row["person_id"], row["role"]) for row in evidence] == [
        ("engagement", "p", "champion"),
        ("engagement", "q", "end_user"),
    ]
    assert evidence[0]["confidence"] == pytest.approx(0.632, abs=0.001)


@st.composite
def tenants(draw: st.DrawFn) -> Rows:
    """Hypothesis chooses the sizes and a seed."""
    chance = random.Random(draw(st.integers(0, 2**32)))
    pick = chance.choice
    accounts = [f"a{number}" for number in range(draw(st.integers(1, 3)))]
    people = [f"p{number}" for number in range(draw(st.integers(0, 8)))]
    opportunities = [f"o{number}" for number in range(draw(st.integers(0, 4)))]
    mails = ["x@a.example", "Y@a.example", "z@b.example"]
    roles = [*ROLES, "nonsense"]
    titles = [None, "CEO", "IT Manager", "Leiter Einkauf", "Founder & CTO", "Intern"]

    def some(number: int) -> range:
        return range(chance.randint(0, number))

    return {
        "people": [
            {
                "person_id": one,
                "account_id": pick([None, *accounts]),
                "title": pick(titles),
                "email": pick([None, *mails]),
            }
            for one in people
        ],
        "opportunities": [
            {
                "opportunity_id": one,
                "account_id": pick([None, *accounts]),
                "is_closed": chance.random() < 0.3,
                "solution_tag": pick([None, "crm", "erp", " "]),
            }
            for one in opportunities
        ],
        "contacts": [
            {
                "opportunity_id": pick(["gone", *opportunities]),
                "person_id": pick(["stranger", *people]),
                "role": pick([None, "Decision Maker", "Evaluator", "Other"]),
            }
            for _ in some(6)
        ],
        "discovered": [
            {"account_id": pick(accounts), "email": pick([*mails, None]), "title": pick(titles), "source": "o365"}
            for _ in some(4)
        ],
        "evidence": [
            {
                "kind": pick([*EVIDENCE, "rumour"]),
                "person_id": pick([None, *people]),
                "email": pick([None, *mails]),
                "role": pick(roles),
                "confidence": pick([None, -1.0, 0.2, 0.7, 1.0, 3.0]),
            }
            for _ in some(8)
        ],
        "confirmed": [
            {
                "account_id": pick(accounts),
                "solution_tag": pick([None, "crm"]),
                "person_id": pick([None, "stranger", *people]),
                "email": pick([None, *mails]),
                "role": pick(roles),
            }
            for _ in some(2)
        ],
        "engagement": [{"person_id": one, "engagement_score": chance.uniform(0, 100)} for one in people],
    }


TEMPLATES = [
    DEFAULT,
    read_template({"name": "crm", "solution_tag": "CRM", "roles": [{"role": "champion", "weight": 3}]}),
]


@pytest.mark.long
@given(tenants(), st.randoms(use_true_random=False))
def test_groups_are_those_of_the_reference_in_any_order(rows: Rows, chance: random.Random) -> None:
    found = groups(inputs(rows), TEMPLATES)
    members = records(found.members)
    measured = {(row["account_id"], row["solution_tag"]): row for row in records(found.groups)}
    engagement = {row["person_id"]: row["engagement_score"] for row in rows["engagement"]}
    confirmed = {
        (row["account_id"], row["solution_tag"], row["person_id"]) for row in rows["confirmed"] if row["role"] in ROLES
    }
    for row in members:
        assert 0 <= row["role_confidence"] <= 1
        if row["is_confirmed"]:
            assert row["role_confidence"] == 1
            assert row["role"] in ROLES
        elif row["person_id"] is not None:
            assert (row["account_id"], row["solution_tag"], row["person_id"]) not in confirmed
            role, confidence = reference.role(evidence_of(rows, row))
            assert row["role"] == role
            assert math.isclose(row["role_confidence"], confidence, abs_tol=1e-4)
    for key, row in measured.items():
        own = [one for one in members if (one["account_id"], one["solution_tag"]) == key]
        template = TEMPLATES[key[1] == "crm"]
        held = [(one["role"], one["role_confidence"]) for one in own]
        active = [
            (one["role"], one["role_confidence"])
            for one in own
            if reference.to_a_tenth(engagement.get(one["person_id"], 0.0)) >= 10
        ]
        assert math.isclose(row["completeness"], reference.completeness(held, template), abs_tol=0.051)
        assert math.isclose(row["engaged_completeness"], reference.completeness(active, template), abs_tol=0.051)
        assert row["engaged_completeness"] <= row["completeness"]
    assert not {one["rank"] for one in records(found.candidates)} - {1, 2, 3}

    mixed = groups(inputs({name: chance.sample(some, len(some)) for name, some in rows.items()}), TEMPLATES)
    for name in vars(found):
        pd.testing.assert_frame_equal(getattr(found, name), getattr(mixed, name), check_exact=True)


def evidence_of(rows: Rows, member: Mapping[Any, Any]) -> list[tuple[str, str, float]]:
    """All that speaks of a member in a group: kind, role, confidence."""
    person = next(one for one in rows["people"] if one["person_id"] == member["person_id"])
    told: list[tuple[str, str, float]] = [
        ("title", role, confidence) for role, confidence in read_title(person["title"] or "").roles
    ]
    mail = (person["email"] or "").lower()
    for one in rows["evidence"]:
        theirs = (
            one["person_id"] == person["person_id"] if one["person_id"] else (one["email"] or "").lower() == mail != ""
        )
        if theirs and one["role"] in ROLES and one["kind"] in EVIDENCE:
            told.append((one["kind"], one["role"], min(1.0, max(0.0, one["confidence"] or 0.0))))
    tag = member["solution_tag"]
    where = {
        one["opportunity_id"]
        for one in rows["opportunities"]
        if one["account_id"] == member["account_id"]
        and (tag is None or (one["solution_tag"] == tag and not one["is_closed"]))
    }
    words = [
        crm_role(contact["role"])
        for contact in rows["contacts"]
        if contact["person_id"] == person["person_id"] and contact["opportunity_id"] in where
    ]
    return [*told, *(("contact_role", word, 1.0) for word in words if word)]


def test_no_accounts_have_no_groups() -> None:
    found: Groups = groups(inputs({}), [DEFAULT])
    assert found.groups.empty
    assert found.members.empty
    assert found.candidates.empty
