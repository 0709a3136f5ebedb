"""Fit: how well a company matches the ideal customer profile."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from scoring.arrays import Flags, Floats, Ints, numbers, per_distinct
from scoring.configs import CustomCriterion, FitConfig, Range


@dataclass(frozen=True)
class Criterion:
    """A criterion in play, with the match (0-100, NaN where the value is unknown) of every row."""

    name: str
    weight: float
    match: Floats


@dataclass(frozen=True)
class Fit:
    """Per row. `score` is NaN where nothing is known; `points` has a line per criterion and adds up to the score."""

    score: Floats
    coverage: Floats
    criteria: tuple[Criterion, ...]
    points: Floats

    def take(self, rows: Ints) -> Fit:
        criteria = tuple(replace(criterion, match=criterion.match[rows]) for criterion in self.criteria)
        return Fit(self.score[rows], self.coverage[rows], criteria, self.points[:, rows])


def fit(companies: pd.DataFrame, config: FitConfig) -> Fit:
    """The fit of each row by industry, employee_count, annual_revenue and, if there is such a column, custom."""
    criteria = _criteria(companies, config)
    rows = len(companies)
    in_play = sum(criterion.weight for criterion in criteria)
    known_weight = np.zeros(rows)
    for criterion in criteria:
        known_weight += criterion.weight * _known(criterion)
    divisor = known_weight if config.missing == "exclude" else np.full(rows, in_play)
    nothing_known = known_weight == 0
    safe = np.where(nothing_known, 1.0, divisor)
    points = np.zeros((len(criteria), rows))
    score = np.zeros(rows)
    for row, criterion in zip(points, criteria, strict=True):
        row[:] = np.where(_known(criterion), criterion.match, 0.0) * criterion.weight / safe
        score += row
    return Fit(
        score=np.where(nothing_known, np.nan, np.minimum(score, 100.0)),
        coverage=known_weight / in_play if in_play else np.zeros(rows),
        criteria=criteria,
        points=points,
    )


def _known(criterion: Criterion) -> Flags:
    return ~np.isnan(criterion.match)


def _criteria(companies: pd.DataFrame, config: FitConfig) -> tuple[Criterion, ...]:
    weights = config.weights
    found: list[Criterion] = []
    if config.industries:
        found.append(Criterion("industry", weights.industry, _industry(companies["industry"], config.industries)))
    if not config.employees.is_empty:
        found.append(Criterion("size", weights.size, in_range(numbers(companies["employee_count"]), config.employees)))
    if not config.revenue.is_empty:
        revenue = numbers(companies["annual_revenue"])
        found.append(Criterion("revenue", weights.revenue, in_range(revenue, config.revenue)))
    custom = [criterion for criterion in config.custom if criterion.values and criterion.weight]
    whole = sum(criterion.weight for criterion in custom)
    for criterion in custom:
        share = weights.custom * criterion.weight / whole
        found.append(Criterion(f"custom.{criterion.field}", share, _custom(companies, criterion)))
    return tuple(criterion for criterion in found if criterion.weight > 0)


def in_range(value: Floats, ideal: Range) -> Floats:
    """100 inside, falling in proportion to the distance outside, never below 0. A negative value is unknown."""
    match = np.where(value >= 0, 100.0, np.nan)
    with np.errstate(over="ignore"):  # infinitely far from a tiny bound is as good as 0
        if ideal.min:
            below = 100.0 - (ideal.min - value) / ideal.min * 100.0
            match = np.where((value >= 0) & (value < ideal.min), np.maximum(0.0, below), match)
        if ideal.max is not None:
            # Nothing is near a maximum of 0.
            above = 100.0 - (value - ideal.max) / ideal.max * 100.0 if ideal.max else np.zeros(len(value))
            match = np.where(value > ideal.max, np.maximum(0.0, above), match)
    return match


def _industry(column: pd.Series, wanted: tuple[str, ...]) -> Floats:
    ideal = {plain(industry) for industry in wanted}

    def match(industry: Any) -> float:
        return (100.0 if plain(industry) in ideal else 0.0) if plain(industry) else np.nan

    return per_distinct(column, match, absent=np.nan).astype(np.float64)


def _custom(companies: pd.DataFrame, criterion: CustomCriterion) -> Floats:
    if "custom" not in companies:
        return np.full(len(companies), np.nan)
    ideal = {plain(value) for value in criterion.values}
    return np.array([_custom_match(fields, criterion.field, ideal) for fields in companies["custom"]], dtype=np.float64)


def _custom_match(fields: Any, name: str, ideal: set[str]) -> float:
    """A field with several values matches if one of them does."""
    value = fields.get(name) if isinstance(fields, dict) else None
    known = {plain(one) for one in (value if isinstance(value, list) else [value])} - {""}
    if not known:
        return np.nan
    return 100.0 if known & ideal else 0.0


def plain(value: Any) -> str:
    """How values are compared: without case or surrounding blanks, 5 and 5.0 and "5" alike; "" for what is unknown."""
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return ""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value).strip().casefold()
