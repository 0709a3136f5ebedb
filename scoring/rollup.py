"""Rollup: from the engagement of people to that of their account or opportunity."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from scoring.arrays import Floats, Ints, numbers, published, rank_in_group, sums
from scoring.configs import RollupMethod, Velocity

TOP_SHARE = 0.6
FOLLOWERS = 4
BREADTH_SHARE = 0.3
BREADTH_PEOPLE = 5
ACTIVE_FROM = 10.0


@dataclass(frozen=True)
class Rollup:
    """Per group: score, number of people, how many of them are active (10 or more), and the points of its breadth.

    The members with a part in the score stand in `group`, `person`, `points`, ordered by group, most engaged first.
    A group's points and its breadth add up to its score.
    """

    score: Floats
    people: Ints
    active: Ints
    breadth: Floats
    group: Ints
    person: Ints
    points: Floats


def rollup(method: RollupMethod, group: Ints, person: Ints, groups: int, engagement: Floats, weight: Floats) -> Rollup:
    """Roll the memberships (group, person) up; engagement and weight are per person. Ties go to the lower person."""
    order = np.lexsort((person, -engagement[person], group))
    group, person = group[order], person[order]
    score, rank = engagement[person], rank_in_group(group)
    people = np.bincount(group, minlength=groups)
    active = np.bincount(group[published(score) >= ACTIVE_FROM], minlength=groups)
    breadth = np.zeros(groups)
    if method == "champion":
        alone = people[group] == 1
        followers = np.clip(people[group] - 1, 1, FOLLOWERS)
        points = score * np.where(alone, 1.0, np.where(rank == 0, TOP_SHARE, (1.0 - TOP_SHARE) / followers))
        counted = rank <= FOLLOWERS
    elif method == "weighted_average":
        total = sums(group, weight[person], groups)
        points = score * weight[person] / total[group]
        counted = np.ones(len(group), dtype=bool)
    else:
        points = score * (1.0 - BREADTH_SHARE)
        counted = rank == 0
        tops = group[counted]
        breadth[tops] = score[counted] * BREADTH_SHARE * np.minimum(1.0, active[tops] / BREADTH_PEOPLE)
    group, person, points = group[counted], person[counted], points[counted]
    total_points = sums(group, points, groups) + breadth
    return Rollup(np.minimum(total_points, 100.0), people, active, breadth, group, person, points)


def velocity(opportunities: pd.DataFrame, config: Velocity) -> Floats:
    """What the pace of each opportunity adds to its engagement; 0 when it is closed or its days are unknown."""
    days = numbers(opportunities["days_in_stage"])
    closed = opportunities["is_closed"].to_numpy(dtype=bool, na_value=False)
    pace = np.clip(config.expected_days / np.maximum(days, 1.0) - 1.0, -1.0, 1.0) * config.weight * 100.0
    return np.where(closed | np.isnan(days), 0.0, pace)
