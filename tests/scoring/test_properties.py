"""What holds for every tenant, history and configuration."""

from __future__ import annotations

import json
import math
import random
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from scoring.configs import Configs
from scoring.engine import score_all
from tests.scoring import reference
from tests.scoring.strategies import AS_OF, GOOD, configs, signals, worlds
from tests.scoring.world import Account, Person, Signal, World


def scored(world: World, configs: Configs, as_of: date = AS_OF) -> pd.DataFrame:
    return score_all(world.inputs(), configs, as_of)


def by_entity(table: pd.DataFrame) -> dict[tuple[str, str], dict[str, Any]]:
    rows: list[dict[Any, Any]] = table.to_dict("records")
    return {(row["entity_type"], row["entity_id"]): row for row in rows}


@given(worlds(), configs())
def test_the_engine_gives_the_numbers_of_the_reference(world: World, configs: Configs) -> None:
    expected = reference.score_all(world, configs, AS_OF)
    found = by_entity(scored(world, configs))
    assert found.keys() == expected.keys()
    for entity, score in expected.items():
        row = found[entity]
        columns = ("fit_score", "engagement_score", "combined_score", "tier", "fit_high", "engagement_high")
        assert reference.Score(*(row[column] for column in columns)) == score, entity


@given(worlds(), configs())
def test_every_score_is_within_0_and_100_and_is_a_number(world: World, configs: Configs) -> None:
    for row in by_entity(scored(world, configs)).values():
        for column in ("engagement_score", "combined_score"):
            assert 0 <= row[column] <= 100
        assert row["fit_score"] is None or 0 <= row["fit_score"] <= 100
        assert row["tier"] in ("hot", "warm", "cool", "cold")


@given(worlds(), configs())
def test_the_parts_of_a_breakdown_add_up_to_its_score(world: World, configs: Configs) -> None:
    for row in by_entity(scored(world, configs)).values():
        breakdown = json.loads(row["score_breakdown"], parse_constant=_refuse)
        for side in ("fit", "engagement", "combined"):
            told = breakdown[side]
            assert math.isclose(math.fsum(part["points"] for part in told["parts"]), told["score"] or 0, abs_tol=1e-9)
            kept = row[f"{side}_score"]
            assert told["score"] is None if kept is None else abs(told["score"] - kept) <= 0.05 + 1e-6
        assert breakdown["because"].endswith(".")
        assert breakdown["to_be_hot"].endswith(".")


def _refuse(constant: str) -> None:
    raise AssertionError(f"{constant} is not JSON")


@given(worlds(), configs(), st.randoms(use_true_random=False))
def test_the_order_of_the_rows_changes_nothing(world: World, configs: Configs, chance: random.Random) -> None:
    def shuffled(rows: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(chance.sample(rows, len(rows)))

    mixed = World(**{name: shuffled(rows) for name, rows in vars(world).items()})
    pd.testing.assert_frame_equal(scored(world, configs), scored(mixed, configs), check_exact=True)


@given(worlds(), configs())
def test_accounts_scored_one_by_one_score_as_all_together(world: World, configs: Configs) -> None:
    accounts = {account.account_id for account in world.accounts}
    home = {person.person_id: person.account_id for person in world.people if person.account_id in accounts}
    # An opportunity needs its contacts in the batch, so here nobody speaks for the opportunity of another account.
    account_of = {one.opportunity_id: one.account_id for one in world.opportunities}
    world = replace(
        world,
        opportunity_contacts=tuple(
            contact
            for contact in world.opportunity_contacts
            if home.get(contact.person_id) == account_of.get(contact.opportunity_id) is not None
        ),
    )
    whole = by_entity(scored(world, configs))
    apart: dict[tuple[str, str], dict[str, Any]] = {}
    for account_id in [*accounts, None]:
        batch = replace(
            world,
            accounts=tuple(account for account in world.accounts if account.account_id == account_id),
            people=tuple(person for person in world.people if home.get(person.person_id) == account_id),
            company_signals=tuple(one for one in world.company_signals if one.account_id == account_id),
            opportunities=tuple(
                one
                for one in world.opportunities
                if (one.account_id if one.account_id in accounts else None) == account_id
            ),
        )
        apart |= by_entity(scored(batch, configs))
    assert apart == whole


ALONE = World(accounts=(Account("a"),), people=(Person("p", "a"), Person("q", "a"), Person("r", "a")))


def engagements(history: list[Signal], configs: Configs, as_of: date = AS_OF) -> dict[tuple[str, str], float]:
    table = scored(replace(ALONE, signals=tuple(history)), configs, as_of)
    return {entity: row["engagement_score"] for entity, row in by_entity(table).items()}


@given(configs(), signals(["p", "q", "r"], recent=True), signals(["p"], names=GOOD, recent=True))
def test_more_good_signals_of_a_person_lower_no_score(
    configs: Configs, before: list[Signal], more: list[Signal]
) -> None:
    good = [one for one in more if configs.engagement.signals[one.signal].quality >= 0]
    lower, higher = engagements(before, configs), engagements([*before, *good], configs)
    assert all(higher[entity] >= score for entity, score in lower.items())


@given(configs(), signals(["p", "q"], names=GOOD), st.integers(1, 400))
def test_the_same_good_history_counts_no_more_when_it_is_older(
    configs: Configs, history: list[Signal], days: int
) -> None:
    good = [one for one in history if configs.engagement.signals[one.signal].quality >= 0 and one.day <= AS_OF]
    now, later = engagements(good, configs), engagements(good, configs, AS_OF + timedelta(days=days))
    assert all(later[entity] <= score for entity, score in now.items())


@given(configs(), worlds(), st.integers(1, 400))
def test_what_happens_after_the_day_changes_nothing(configs: Configs, world: World, days: int) -> None:
    known = tuple(one for one in world.signals if one.day <= AS_OF)
    future = tuple(replace(one, day=AS_OF + timedelta(days=days)) for one in world.signals)
    with_future = scored(replace(world, signals=known + future), configs)
    pd.testing.assert_frame_equal(scored(replace(world, signals=known), configs), with_future, check_exact=True)


@given(worlds(), configs())
def test_numbers_are_the_same_without_the_reasons(world: World, configs: Configs) -> None:
    without = score_all(world.inputs(), configs, AS_OF, breakdown=False).drop(columns="score_breakdown")
    pd.testing.assert_frame_equal(scored(world, configs).drop(columns="score_breakdown"), without, check_exact=True)
