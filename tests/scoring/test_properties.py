"""What holds for every tenant, history and configuration."""

from __future__ import annotations

import json
import math
import random
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scoring.configs import Configs
from scoring.engine import score, score_all
from tests.scoring import reference
from tests.scoring.strategies import AS_OF, GOOD, configs, signals, worlds
from tests.scoring.world import Account, Person, Signal, World

COLUMNS = ("fit_score", "engagement_score", "combined_score", "tier", "fit_high", "engagement_high")


def numbers(world: World, configs: Configs, as_of: date = AS_OF) -> dict[tuple[str, str], reference.Score]:
    rows = by_entity(score(world.inputs(), configs, as_of).table)
    return {entity: reference.Score(*(row[column] for column in COLUMNS)) for entity, row in rows.items()}


def by_entity(table: pd.DataFrame) -> dict[tuple[str, str], dict[str, Any]]:
    rows: list[dict[Any, Any]] = table.to_dict("records")
    return {(row["entity_type"], row["entity_id"]): row for row in rows}


@given(worlds(), configs(), st.integers(1, 400))
def test_the_engine_gives_the_numbers_of_the_reference_whatever_is_yet_to_come(
    world: World, configs: Configs, days: int
) -> None:
    expected = reference.score_all(world, configs, AS_OF)
    to_come = tuple(replace(one, day=AS_OF + timedelta(days=days)) for one in world.signals)
    found = numbers(replace(world, signals=world.signals + to_come), configs)
    assert found.keys() == expected.keys()
    for entity, scored in expected.items():
        assert found[entity] == scored, entity
        assert 0 <= scored.engagement <= 100
        assert 0 <= scored.combined <= 100
        assert scored.fit is None or 0 <= scored.fit <= 100
        assert scored.tier in ("hot", "warm", "cool", "cold")


@pytest.mark.long
@given(worlds(), configs(), st.randoms(use_true_random=False))
def test_parts_add_up_and_are_the_same_in_any_order_and_however_the_batch_is_split(
    world: World, configs: Configs, chance: random.Random
) -> None:
    world = with_contacts_at_home(world)
    whole = by_entity(score_all(world.inputs(), configs, AS_OF))
    for row in whole.values():
        breakdown = json.loads(row["score_breakdown"], parse_constant=_refuse)
        for side in ("fit", "engagement", "combined"):
            told = breakdown[side]
            assert math.isclose(math.fsum(part["points"] for part in told["parts"]), told["score"] or 0, abs_tol=1e-9)
            kept = row[f"{side}_score"]
            assert told["score"] is None if kept is None else abs(told["score"] - kept) <= 0.05 + 1e-6
        assert breakdown["because"].endswith(".")
        assert breakdown["to_be_hot"].endswith(".")

    def shuffled(rows: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(chance.sample(rows, len(rows)))

    mixed = World(**{name: shuffled(rows) for name, rows in vars(world).items()})
    first = {account.account_id for account in world.accounts if chance.random() < 0.5}
    parts = [by_entity(score_all(part.inputs(), configs, AS_OF)) for part in split(mixed, first)]
    assert parts[0] | parts[1] == whole


def _refuse(constant: str) -> None:
    raise AssertionError(f"{constant} is not JSON")


def with_contacts_at_home(world: World) -> World:
    """An opportunity needs its contacts in the batch, so here nobody speaks for the opportunity of another account."""
    home = homes(world)
    account_of = {one.opportunity_id: one.account_id for one in world.opportunities}
    at_home = tuple(
        contact
        for contact in world.opportunity_contacts
        if home.get(contact.person_id) == account_of.get(contact.opportunity_id) is not None
    )
    return replace(world, opportunity_contacts=at_home)


def homes(world: World) -> dict[str, str | None]:
    accounts = {account.account_id for account in world.accounts}
    return {person.person_id: person.account_id for person in world.people if person.account_id in accounts}


def split(world: World, accounts: set[str]) -> list[World]:
    """The world of these accounts, and that of all others and of the people without account."""
    home = homes(world)

    def part(inside: bool) -> World:
        return replace(
            world,
            accounts=tuple(one for one in world.accounts if (one.account_id in accounts) == inside),
            people=tuple(one for one in world.people if (home.get(one.person_id) in accounts) == inside),
            company_signals=tuple(one for one in world.company_signals if (one.account_id in accounts) == inside),
            opportunities=tuple(one for one in world.opportunities if (one.account_id in accounts) == inside),
        )

    return [part(True), part(False)]


ALONE = World(accounts=(Account("a"),), people=(Person("p", "a"), Person("q", "a"), Person("r", "a")))


def engagements(history: list[Signal], configs: Configs, as_of: date = AS_OF) -> dict[tuple[str, str], float]:
    found = numbers(replace(ALONE, signals=tuple(history)), configs, as_of)
    return {entity: scored.engagement for entity, scored in found.items()}


@pytest.mark.long
@given(configs(), signals(["p", "q", "r"]), signals(["p"], names=GOOD))
def test_more_good_signals_of_a_person_lower_no_score(
    configs: Configs, before: list[Signal], more: list[Signal]
) -> None:
    good = [one for one in more if configs.engagement.signals[one.signal].quality >= 0]
    lower, higher = engagements(before, configs), engagements([*before, *good], configs)
    assert all(higher[entity] >= score for entity, score in lower.items())


@pytest.mark.long
@given(configs(), signals(["p", "q"], names=GOOD), st.integers(1, 400))
def test_the_same_good_history_counts_no_more_when_it_is_older(
    configs: Configs, history: list[Signal], days: int
) -> None:
    good = [one for one in history if configs.engagement.signals[one.signal].quality >= 0 and one.day <= AS_OF]
    now, later = engagements(good, configs), engagements(good, configs, AS_OF + timedelta(days=days))
    assert all(later[entity] <= score for entity, score in now.items())
