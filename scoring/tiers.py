"""The combined score and the tier."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from scoring.arrays import Flags, Floats, Ints, Objects, published
from scoring.configs import CombinedConfig


@dataclass(frozen=True)
class Tiers:
    """`fit_high` holds True, False or, without a fit, None. The points add up to the combined score.

    What is needed is what a side needs from here on, given the state that it has now: scored again on the same day,
    with nothing new, it is the same.
    """

    combined: Floats
    fit_points: Floats
    engagement_points: Floats
    fit_high: Objects
    engagement_high: Flags
    fit_needed: Floats
    engagement_needed: Floats
    tier: Objects

    def take(self, rows: Ints) -> Tiers:
        return Tiers(**{name: column[rows] for name, column in vars(self).items()})


def tiers(
    fit: Floats,
    coverage: Floats,
    engagement: Floats,
    was_fit_high: Objects,
    was_engagement_high: Objects,
    config: CombinedConfig,
) -> Tiers:
    """Combined score and tier of each row; fit is NaN where there is none, previous states are True, False or None.

    Scores are compared as they are published, so that the tier agrees with what people see.
    """
    whole = config.fit_weight + config.engagement_weight
    no_fit = np.isnan(fit)
    fit_points = np.where(no_fit, 0.0, fit * config.fit_weight / whole)
    engagement_points = np.where(no_fit, engagement, engagement * config.engagement_weight / whole)
    combined = np.minimum(fit_points + engagement_points, 100.0)

    may_be_high = (coverage >= config.minimum_coverage) | _is(True, was_fit_high)
    fit_bar = _needed(was_fit_high, config.fit_threshold, config.hysteresis)
    engagement_bar = _needed(was_engagement_high, config.engagement_threshold, config.hysteresis)
    fit_is_high = ~no_fit & may_be_high & (published(np.nan_to_num(fit)) >= fit_bar)
    engagement_is_high = published(engagement) >= engagement_bar

    if config.tier_mode == "matrix":
        is_tier = [fit_is_high & engagement_is_high, engagement_is_high, fit_is_high]
    else:
        shown = published(combined)
        is_tier = [shown >= config.bands.hot, shown >= config.bands.warm, shown >= config.bands.cool]
    fit_high = fit_is_high.astype(object)
    fit_high[no_fit] = None
    return Tiers(
        combined=combined,
        fit_points=fit_points,
        engagement_points=engagement_points,
        fit_high=fit_high,
        engagement_high=engagement_is_high,
        fit_needed=_needed(fit_high, config.fit_threshold, config.hysteresis),
        engagement_needed=_needed(engagement_is_high.astype(object), config.engagement_threshold, config.hysteresis),
        tier=np.select(is_tier, ["hot", "warm", "cool"], "cold").astype(object),
    )


def _needed(was_high: Objects, threshold: float, hysteresis: float) -> Floats:
    """What a side needs to be high: less if it was, more if it was not, the threshold itself for a first score."""
    needed = np.full(len(was_high), threshold)
    needed[_is(True, was_high)] = threshold - hysteresis
    needed[_is(False, was_high)] = threshold + hysteresis
    return needed


def _is(state: bool, states: Objects) -> Flags:
    return np.equal(states, state).astype(bool)
