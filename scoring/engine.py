"""score_all: the scores of every person, account and opportunity on a day, with their reasons."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from scoring import explain
from scoring.arrays import Floats, Ints, Objects, by_id, per_distinct, positions, published, rank_in_group
from scoring.configs import Configs
from scoring.engagement import engagement
from scoring.explain import EngagementStory, FitStory
from scoring.fit import fit
from scoring.rollup import rollup, velocity
from scoring.tiers import tiers
from scoring.titles import title_weight

COLUMNS = (
    "entity_type",
    "entity_id",
    "fit_score",
    "engagement_score",
    "combined_score",
    "tier",
    "fit_high",
    "engagement_high",
    "score_breakdown",
)


def _empty(*columns: str) -> pd.DataFrame:
    return pd.DataFrame({column: pd.Series(dtype=object) for column in columns})


@dataclass(frozen=True)
class Inputs:
    """What is known about one tenant, or about any part of it that holds whole accounts with all their people.

    accounts: account_id, industry, employee_count, annual_revenue, custom (dict or None)
    people: person_id, account_id or null, title; for a lead without account also industry, employee_count,
        annual_revenue and, optionally, custom. An account that is not among the accounts is as good as none.
    signals: person_id, signal, day, count. Rows of the same person, signal and day add up; a negative count corrects,
        and a sum below 0 counts as 0. Bots are left out by the caller.
    opportunities: opportunity_id, account_id, is_closed, days_in_stage
    opportunity_contacts: opportunity_id, person_id
    previous: entity_type, entity_id, fit_high, engagement_high: the sides of the last published scores
    """

    accounts: pd.DataFrame
    people: pd.DataFrame
    signals: pd.DataFrame
    opportunities: pd.DataFrame = field(
        default_factory=lambda: _empty("opportunity_id", "account_id", "is_closed", "days_in_stage")
    )
    opportunity_contacts: pd.DataFrame = field(default_factory=lambda: _empty("opportunity_id", "person_id"))
    previous: pd.DataFrame = field(
        default_factory=lambda: _empty("entity_type", "entity_id", "fit_high", "engagement_high")
    )


def score_all(inputs: Inputs, configs: Configs, as_of: date, breakdown: bool = True) -> pd.DataFrame:
    """One row per entity, ordered by entity_type and entity_id, whatever the order of the inputs.

    entity_type (account, opportunity, person), entity_id, fit_score (None where nothing is known), engagement_score,
    combined_score, tier, fit_high (None without a fit), engagement_high, score_breakdown (JSON text, None if not
    asked for).
    Scores are kept to 0.1; those inside the breakdown are exact, and their parts add up to them.
    """
    accounts = by_id(inputs.accounts, "account_id")
    people = by_id(inputs.people, "person_id")
    opportunities = by_id(inputs.opportunities, "opportunity_id")
    account_index, person_index = pd.Index(accounts["account_id"]), pd.Index(people["person_id"])
    account_of_person = positions(account_index, people["account_id"])
    account_of_opportunity = positions(account_index, opportunities["account_id"])
    settings = configs.engagement

    account_fit = fit(accounts, configs.fit)
    leads = account_of_person < 0
    lead_rows = people[leads]
    lead_fit = fit(lead_rows, configs.fit)
    # Fits of accounts, then of leads, then one for what has no account: everything else points into this list.
    fit_scores = np.concatenate([account_fit.score, lead_fit.score, [np.nan]])
    coverages = np.concatenate([account_fit.coverage, lead_fit.coverage, [0.0]])
    fit_of_person = account_of_person.copy()
    fit_of_person[leads] = len(accounts) + np.arange(len(lead_rows))

    of_people = engagement(inputs.signals, person_index, settings, as_of)
    title_weights = per_distinct(people["title"], title_weight, absent=1.0).astype(np.float64)
    members = np.flatnonzero(~leads)
    of_accounts = rollup(
        settings.account_rollup, account_of_person[members], members, len(accounts), of_people.score, title_weights
    )
    group, member = _opportunity_people(inputs, opportunities, person_index, account_of_person, account_of_opportunity)
    of_opportunities = rollup(
        settings.opportunity_rollup, group, member, len(opportunities), of_people.score, title_weights
    )
    moved = np.clip(of_opportunities.score + velocity(opportunities, settings.velocity), 0.0, 100.0)

    subjects = (
        _Subject(
            "account",
            accounts["account_id"],
            np.arange(len(accounts)),
            of_accounts.score,
            lambda _: explain.group_stories(
                of_accounts, np.zeros(len(accounts)), settings.account_rollup, people["person_id"].tolist()
            ),
        ),
        _Subject(
            "opportunity",
            opportunities["opportunity_id"],
            account_of_opportunity,
            moved,
            lambda _: explain.group_stories(
                of_opportunities,
                moved - of_opportunities.score,
                settings.opportunity_rollup,
                people["person_id"].tolist(),
            ),
        ),
        _Subject(
            "person",
            people["person_id"],
            fit_of_person,
            of_people.score,
            lambda needed: explain.person_stories(of_people, needed, settings, as_of),
        ),
    )
    fit_stories: list[FitStory] | None = None
    if breakdown:
        fit_stories = [
            *explain.fit_stories(account_fit, accounts, configs.fit),
            *explain.fit_stories(lead_fit, lead_rows, configs.fit),
            explain.NO_FIT,
        ]
    tables = [_table(subject, fit_scores, coverages, fit_stories, inputs.previous, configs) for subject in subjects]
    return pd.DataFrame({name: np.concatenate([table[name] for table in tables]) for name in COLUMNS}, columns=COLUMNS)


@dataclass(frozen=True)
class _Subject:
    """A kind of entity: its ids, where each finds its fit (-1: the last one, which is none), engagement, reasons."""

    entity_type: str
    ids: pd.Series
    fit_at: Ints
    engagement: Floats
    stories: Callable[[Floats], Iterator[EngagementStory]]


def _table(
    subject: _Subject,
    fit_scores: Floats,
    coverages: Floats,
    fit_stories: list[FitStory] | None,
    previous: pd.DataFrame,
    configs: Configs,
) -> dict[str, npt.NDArray[Any]]:
    fit_score, coverage = fit_scores[subject.fit_at], coverages[subject.fit_at]
    was_fit_high, was_engagement_high = _previous_sides(previous, subject)
    found = tiers(fit_score, coverage, subject.engagement, was_fit_high, was_engagement_high, configs.combined)
    reasons: Objects = np.full(len(subject.ids), None, dtype=object)
    if fit_stories is not None:
        fits = [fit_stories[place] for place in subject.fit_at.tolist()]
        stories = subject.stories(found.engagement_needed)
        reasons[:] = explain.breakdowns(fit_score, coverage, subject.engagement, found, fits, stories, configs.combined)
    shown_fit = published(fit_score).astype(object)
    shown_fit[np.isnan(fit_score)] = None
    return {
        "entity_type": np.full(len(subject.ids), subject.entity_type, dtype=object),
        "entity_id": subject.ids.to_numpy(dtype=object),
        "fit_score": shown_fit,
        "engagement_score": published(subject.engagement),
        "combined_score": published(found.combined),
        "tier": found.tier,
        "fit_high": found.fit_high,
        "engagement_high": found.engagement_high,
        "score_breakdown": reasons,
    }


def _previous_sides(previous: pd.DataFrame, subject: _Subject) -> tuple[Objects, Objects]:
    """The published states of both sides: True, False, or None where there is none."""
    rows = by_id(previous[previous["entity_type"] == subject.entity_type], "entity_id")
    place = positions(pd.Index(rows["entity_id"]), subject.ids)

    def side(column: str) -> Objects:
        states = np.concatenate([rows[column].to_numpy(dtype=object), [None]])
        states[pd.isna(states)] = None
        found: Objects = states[place]
        return found

    return side("fit_high"), side("engagement_high")


def _opportunity_people(
    inputs: Inputs,
    opportunities: pd.DataFrame,
    person_index: pd.Index,
    account_of_person: Ints,
    account_of_opportunity: Ints,
) -> tuple[Ints, Ints]:
    """Who speaks for an opportunity: its contacts, else the people of its account. Pairs of (opportunity, person)."""
    contacts = inputs.opportunity_contacts
    group = positions(pd.Index(opportunities["opportunity_id"]), contacts["opportunity_id"])
    person = positions(person_index, contacts["person_id"])
    known = (group >= 0) & (person >= 0)
    pairs = np.unique(group[known] * len(person_index) + person[known])
    group, person = (pairs // len(person_index), pairs % len(person_index)) if len(pairs) else (pairs, pairs)

    alone = np.ones(len(opportunities), dtype=bool)
    alone[group] = False
    without = np.flatnonzero(alone & (account_of_opportunity >= 0))
    by_account = np.argsort(account_of_person, kind="stable")
    sorted_accounts = account_of_person[by_account]
    begin = np.searchsorted(sorted_accounts, account_of_opportunity[without], "left")
    size = np.searchsorted(sorted_accounts, account_of_opportunity[without], "right") - begin
    borrowed = np.repeat(without, size)
    colleague = by_account[np.repeat(begin, size) + rank_in_group(borrowed)]
    return np.concatenate([group, borrowed]), np.concatenate([person, colleague])
