"""Rollup: from the engagement of people to that of their account or opportunity."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from scoring.arrays import Codes, Floats, Ints, numbers, published, rank_in_group, sums
from scoring.configs import RollupMethod, Velocity

TOP_SHARE = 0.6
FOLLOWERS = 4
BREADTH_SHARE = 0.3
BREADTH_PEOPLE = 5
ACTIVE_FROM = 10.0


@dataclass(frozen=True)
class Rollup:
    """Per group: score, number of people, how many of them are active (10 or more), points of breadth and of company.

    The members with a part in the score stand in `group`, `person`, `points`, ordered by group, most engaged first.
    A group's points, its breadth and its company add up to its score.
    """

    score: Floats
    people: Ints
    active: Ints
    breadth: Floats
    company: Floats
    group: Ints
    person: Ints
    points: Floats


def rollup(
    method: RollupMethod,
    members_of: Codes,
    person: Ints,
    groups: int,
    engagement: Floats,
    weight: Floats,
    company: Floats | None = None,
) -> Rollup:
    """Roll the memberships (members_of, person) up; engagement and weight are per person. Ties go to the lower person.

    `company` is the engagement of each group's company without a person (intent, for example): one more member, who is
    never the top and whom nothing weighs but 1. It may only add: where the group would score less with it, it is left
    out. Otherwise a first faint sign of interest would lower a score, and its fading would raise it.
    """
    order = np.lexsort((person, -engagement[person], members_of))
    group, person = members_of[order].astype(np.int64), person[order]
    score = engagement[person]
    people = np.bincount(group, minlength=groups)
    active = np.bincount(group[published(score) >= ACTIVE_FROM], minlength=groups)
    team = _Team(group, score, weight[person], people, active)
    points_of = {"champion": _champion, "weighted_average": _weighted_average, "max_breadth": _max_breadth}[method]

    def roll(company: Floats | None) -> Rollup:
        points, breadth, own = points_of(team, company)
        total = sums(group, points, groups) + breadth + own
        return Rollup(np.minimum(total, 100.0), people, active, breadth, own, group, person, points)

    found = roll(None)
    if company is not None and company.any():
        found = _better(found, roll(company))
    if method == "weighted_average":
        return found
    counted = rank_in_group(group) <= (FOLLOWERS if method == "champion" else 0)
    return replace(found, group=group[counted], person=person[counted], points=found.points[counted])


def _better(without: Rollup, with_company: Rollup) -> Rollup:
    """Of each group the one that scores more."""
    better = with_company.score > without.score
    return replace(
        without,
        score=np.where(better, with_company.score, without.score),
        breadth=np.where(better, with_company.breadth, without.breadth),
        company=np.where(better, with_company.company, 0.0),
        points=np.where(better[without.group], with_company.points, without.points),
    )


@dataclass(frozen=True)
class _Team:
    """The members, ordered by group, most engaged first; people and active are per group."""

    group: Ints
    score: Floats
    weight: Floats
    people: Ints
    active: Ints


# Each method: the points of the members, of the breadth, of the company.
_Points = tuple[Floats, Floats, Floats]


def _champion(team: _Team, company: Floats | None) -> _Points:
    groups = len(team.people)
    rank = rank_in_group(team.group)
    follows = (rank > 0) & (rank <= FOLLOWERS)
    others = np.clip(team.people - 1, 0, FOLLOWERS)
    alone = team.people == 1
    own = np.zeros(groups)
    if company is not None:
        full = others == FOLLOWERS
        is_last = rank == FOLLOWERS
        last = np.zeros(groups)
        last[team.group[is_last]] = team.score[is_last]
        # Where four follow already, the company takes the place of the last if it is more engaged.
        joins = (company > 0) & (~full | (company > last))
        follows &= ~(is_last & (joins & full)[team.group])
        others = np.where(joins & ~full, others + 1, others)
        alone &= ~joins
        own = np.where(joins, company * (1.0 - TOP_SHARE) / np.maximum(others, 1), 0.0)
    share = np.where(rank == 0, np.where(alone[team.group], 1.0, TOP_SHARE), 0.0)
    share = np.where(follows, (1.0 - TOP_SHARE) / np.maximum(others, 1)[team.group], share)
    return team.score * share, np.zeros(groups), own


def _weighted_average(team: _Team, company: Floats | None) -> _Points:
    groups = len(team.people)
    total = sums(team.group, team.weight, groups)
    own = np.zeros(groups)
    if company is not None:
        total = total + (company > 0)
        own = np.divide(company, total, out=own, where=company > 0)
    return team.score * team.weight / total[team.group], np.zeros(groups), own


def _max_breadth(team: _Team, company: Floats | None) -> _Points:
    groups = len(team.people)
    top = rank_in_group(team.group) == 0
    active = team.active if company is None else team.active + (published(company) >= ACTIVE_FROM)
    led = team.group[top]
    breadth = np.zeros(groups)
    breadth[led] = team.score[top] * BREADTH_SHARE * np.minimum(1.0, active[led] / BREADTH_PEOPLE)
    return np.where(top, team.score * (1.0 - BREADTH_SHARE), 0.0), breadth, np.zeros(groups)


def velocity(opportunities: pd.DataFrame, config: Velocity) -> Floats:
    """What the pace of each opportunity adds to its engagement; 0 when it is closed or its days are unknown."""
    days = numbers(opportunities["days_in_stage"])
    closed = opportunities["is_closed"].to_numpy(dtype=bool, na_value=False)
    pace = np.clip(config.expected_days / np.maximum(days, 1.0) - 1.0, -1.0, 1.0) * config.weight * 100.0
    return np.where(closed | np.isnan(days), 0.0, pace)
