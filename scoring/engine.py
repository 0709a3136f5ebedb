"""score_all: the scores of every person, account and opportunity on a day, with their reasons."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pandas as pd

from scoring import explain
from scoring.arrays import Codes, Flags, Floats, Ints, Objects, by_id, per_distinct, positions, published, rank_in_group
from scoring.configs import Configs, EngagementConfig
from scoring.engagement import Daily, Engagement, engagement
from scoring.explain import EngagementStories, Told
from scoring.fit import Fit, fit
from scoring.rollup import ACTIVE_FROM, Rollup, rollup, velocity
from scoring.tiers import Tiers, tiers
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
    company_signals: account_id, signal, day, count: what an account's company did without a person (intent, for
        example). All of it is one pseudo-person, who may add to the account's engagement and never leads it.

    Ids and signals may come as categories, which saves looking up each row. Signals ordered by person_id, signal and
    day are not sorted again.
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
    company_signals: pd.DataFrame = field(default_factory=lambda: _empty("account_id", "signal", "day", "count"))


def score_all(inputs: Inputs, configs: Configs, as_of: date, breakdown: bool = True) -> pd.DataFrame:
    """One row per entity, ordered by entity_type and entity_id, whatever the order of the inputs.

    entity_type (account, opportunity, person), entity_id, fit_score (None where nothing is known), engagement_score,
    combined_score, tier, fit_high (None without a fit), engagement_high, score_breakdown (JSON text, None if not
    asked for).
    Scores are kept to 0.1; those inside the breakdown are exact, and their parts add up to them.
    """
    scored = score(inputs, configs, as_of)
    reasons = scored.breakdowns() if breakdown else np.full(len(scored.table), None, dtype=object)
    return scored.table.assign(score_breakdown=reasons)


def score(inputs: Inputs, configs: Configs, as_of: date) -> Scored:
    """The same scores, with the reasons of those rows alone that one asks for."""
    settings = configs.engagement
    accounts = by_id(inputs.accounts, "account_id")
    people = by_id(inputs.people, "person_id")
    opportunities = by_id(inputs.opportunities, "opportunity_id")
    account_index, person_index = pd.Index(accounts["account_id"]), pd.Index(people["person_id"])
    account_of_person = positions(account_index, people["account_id"])
    account_of_opportunity = positions(account_index, opportunities["account_id"])

    leads = np.flatnonzero(account_of_person < 0)
    fit_of_person = account_of_person.astype(np.int64)
    fit_of_person[leads] = len(accounts) + np.arange(len(leads))
    companies = _companies(accounts, people.iloc[leads])
    fits = fit(companies, configs.fit)

    of_people = engagement(Daily.of(inputs.signals, "person_id", person_index), len(people), settings, as_of)
    of_companies = engagement(
        Daily.of(inputs.company_signals, "account_id", account_index), len(accounts), settings, as_of
    ).score
    weight = per_distinct(people["title"], title_weight, absent=1.0).astype(np.float64)
    members = np.flatnonzero(account_of_person >= 0)
    of_accounts = rollup(
        settings.account_rollup,
        account_of_person[members],
        members,
        len(accounts),
        of_people.score,
        weight,
        of_companies,
    )
    group, member, borrows = _opportunity_people(
        inputs, opportunities, person_index, account_of_person, account_of_opportunity
    )
    of_opportunities = rollup(
        settings.opportunity_rollup,
        group,
        member,
        len(opportunities),
        of_people.score,
        weight,
        np.where(borrows, np.append(of_companies, 0.0)[account_of_opportunity], 0.0),
    )
    moved = np.clip(of_opportunities.score + velocity(opportunities, settings.velocity), 0.0, 100.0)
    pace = moved - of_opportunities.score
    ids = people["person_id"].to_numpy(dtype=object)

    def stories_of(found: Rollup, pace: Floats, method: str) -> Stories:
        return lambda rows, _: explain.group_stories(found, rows, pace[rows], method, ids)

    subjects = (
        _Subject(
            "account",
            accounts["account_id"].to_numpy(dtype=object),
            np.arange(len(accounts)),
            of_accounts.score,
            stories_of(of_accounts, np.zeros(len(accounts)), settings.account_rollup),
        ),
        _Subject(
            "opportunity",
            opportunities["opportunity_id"].to_numpy(dtype=object),
            account_of_opportunity.astype(np.int64),
            moved,
            stories_of(of_opportunities, pace, settings.opportunity_rollup),
        ),
        _Subject(
            "person",
            ids,
            fit_of_person,
            of_people.score,
            lambda rows, needed: explain.person_stories(of_people, rows, needed, settings, as_of),
        ),
    )
    return Scored.of(subjects, fits, companies, inputs.previous, configs, of_people)


Stories = Callable[[Ints, Floats], EngagementStories]


@dataclass(frozen=True)
class _Subject:
    """A kind of entity: its ids, where each finds its fit (-1: it has none), engagement, and the reasons of some."""

    entity_type: str
    ids: Objects
    fit_at: Ints
    engagement: Floats
    stories: Stories


@dataclass(frozen=True)
class Scored:
    """`table` has the columns and the order of `score_all`, without the breakdown."""

    table: pd.DataFrame
    _subjects: tuple[_Subject, ...]
    _tiers: tuple[Tiers, ...]
    _fits: Fit
    _companies: pd.DataFrame
    _configs: Configs
    _of_people: Engagement

    @classmethod
    def of(
        cls,
        subjects: tuple[_Subject, ...],
        fits: Fit,
        companies: pd.DataFrame,
        previous: pd.DataFrame,
        configs: Configs,
        of_people: Engagement,
    ) -> Self:
        fit_scores, coverages = np.append(fits.score, np.nan), np.append(fits.coverage, 0.0)
        found = tuple(
            tiers(
                fit_scores[subject.fit_at],
                coverages[subject.fit_at],
                subject.engagement,
                *_previous_sides(previous, subject),
                configs.combined,
            )
            for subject in subjects
        )
        tables = [
            _table(subject, fit_scores[subject.fit_at], one) for subject, one in zip(subjects, found, strict=True)
        ]
        columns = {name: np.concatenate([table[name] for table in tables]) for name in COLUMNS[:-1]}
        return cls(pd.DataFrame(columns), subjects, found, fits, companies, configs, of_people)

    def breakdowns(self, rows: Ints | None = None) -> Objects:
        """The score_breakdown, as JSON text, of these rows of the table, given in its order; of all if none are."""
        wanted = np.arange(len(self.table)) if rows is None else rows
        begins = np.cumsum([0, *(len(subject.ids) for subject in self._subjects)])
        bounds = np.searchsorted(wanted, begins).tolist()
        own = [wanted[low:high] - begin for low, high, begin in zip(bounds, bounds[1:], begins, strict=False)]
        # People share the fit of their account with it: each story of a fit is written once.
        is_used = np.zeros(len(self._companies) + 1, dtype=bool)
        for subject, some in zip(self._subjects, own, strict=True):
            is_used[subject.fit_at[some]] = True
        used = np.flatnonzero(is_used[:-1])
        place = np.append(np.cumsum(is_used[:-1]) - 1, len(used))
        fits = self._fits.take(used)
        fit_scores, coverages = np.append(fits.score, np.nan), np.append(fits.coverage, 0.0)
        fit_stories = explain.fit_stories(fits, self._companies.iloc[used], self._configs.fit)

        texts: list[str] = []
        for subject, found, some in zip(self._subjects, self._tiers, own, strict=True):
            if len(some):
                fit_at = place[subject.fit_at[some]]
                told = Told(
                    fit=fit_scores[fit_at],
                    coverage=coverages[fit_at],
                    engagement=subject.engagement[some],
                    tiers=found.take(some),
                    fit_at=fit_at,
                    fits=fit_stories,
                    stories=subject.stories(some, found.engagement_needed[some]),
                )
                texts += explain.breakdowns(told, self._configs.combined)
        result: Objects = np.empty(len(texts), dtype=object)
        result[:] = texts
        return result

    def engagement_evidence(self) -> pd.DataFrame:
        """What engagement says of the roles that active people play, as `groups.GroupInputs.evidence` wants it."""
        return _engagement_evidence(self._of_people, self._subjects[-1].ids, self._configs.engagement)


def _engagement_evidence(found: Engagement, ids: Objects, config: EngagementConfig) -> pd.DataFrame:
    """Who gives a day to an event, a meeting, a demo drives a purchase; who reads and clicks uses what is bought.

    The second is told by its channels: they have a cap, because they are cheap. Both weigh by how engaged somebody is.
    """
    parts = found.parts
    cheap = np.array([config.signal(name).channel in config.channel_caps for name in parts.names], dtype=bool)
    gains = np.maximum(parts.points, 0.0)
    read = np.bincount(parts.person, gains * np.append(cheap, False)[parts.signal], minlength=len(ids))
    done = np.bincount(parts.person, gains, minlength=len(ids))
    share = np.divide(read, done, out=np.zeros(len(ids)), where=done > 0)
    active = np.flatnonzero((published(found.score) >= ACTIVE_FROM) & (done > 0))
    confidence = np.concatenate([(1.0 - share[active]), share[active]]) * np.tile(found.score[active] / 100.0, 2)
    roles = np.repeat(np.array(["champion", "end_user"], dtype=object), len(active))
    nobody = np.full(2 * len(active), None, dtype=object)
    table = pd.DataFrame({"kind": "engagement", "person_id": np.tile(ids[active], 2), "email": nobody, "role": roles})
    return table.assign(confidence=confidence)[confidence > 0].reset_index(drop=True)


def _companies(accounts: pd.DataFrame, leads: pd.DataFrame) -> pd.DataFrame:
    """Accounts first, then leads: all that has a fit of its own."""

    def facts(frame: pd.DataFrame, name: str) -> Objects:
        return frame[name].to_numpy(dtype=object) if name in frame else np.full(len(frame), None, dtype=object)

    names = ("industry", "employee_count", "annual_revenue", "custom")
    return pd.DataFrame({name: np.concatenate([facts(accounts, name), facts(leads, name)]) for name in names})


def _table(subject: _Subject, fit_score: Floats, found: Tiers) -> dict[str, npt.NDArray[Any]]:
    shown_fit = published(fit_score).astype(object)
    shown_fit[np.isnan(fit_score)] = None
    return {
        "entity_type": np.full(len(subject.ids), subject.entity_type, dtype=object),
        "entity_id": subject.ids,
        "fit_score": shown_fit,
        "engagement_score": published(subject.engagement),
        "combined_score": published(found.combined),
        "tier": found.tier,
        "fit_high": found.fit_high,
        "engagement_high": found.engagement_high,
    }


def _previous_sides(previous: pd.DataFrame, subject: _Subject) -> tuple[Objects, Objects]:
    """The published states of both sides: True, False, or None where there is none."""
    rows = by_id(previous[(previous["entity_type"] == subject.entity_type).to_numpy(dtype=bool)], "entity_id")
    place = positions(pd.Index(rows["entity_id"]), pd.Series(subject.ids, dtype=object))

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
    account_of_person: Codes,
    account_of_opportunity: Codes,
) -> tuple[Ints, Ints, Flags]:
    """Who speaks for an opportunity: its contacts, else the people of its account. Pairs of (opportunity, person), and
    which opportunities borrow their people."""
    contacts = inputs.opportunity_contacts
    group = positions(pd.Index(opportunities["opportunity_id"]), contacts["opportunity_id"]).astype(np.int64)
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
    return np.concatenate([group, borrowed]), np.concatenate([person, colleague]), alone
