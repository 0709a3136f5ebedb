"""Engagement: what a person's signals amount to on a day."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import numpy as np
import pandas as pd

from scoring.arrays import Floats, Ints, numbers, positions, sums
from scoring.configs import EngagementConfig


@dataclass(frozen=True)
class Parts:
    """One row per person and signal that counts, ordered by person and signal; points add up to the person's score."""

    person: Ints
    signal: Ints
    names: list[str]
    count: Ints
    last_age: Ints
    points: Floats


@dataclass(frozen=True)
class Engagement:
    """Per person; `positive` (after channel caps) and `negative` are points before saturation."""

    score: Floats
    positive: Floats
    negative: Floats
    parts: Parts


@dataclass(frozen=True)
class _Daily:
    """One row per person, signal and day with a count above 0, ordered by person, signal, day."""

    person: Ints
    signal: Ints
    age: Ints
    count: Floats


def saturate(points: Floats, saturation: float) -> Floats:
    return 100.0 * (1.0 - np.exp(-points / saturation))


def engagement(signals: pd.DataFrame, people: pd.Index, config: EngagementConfig, as_of: date) -> Engagement:
    """The engagement of each of `people` (unique ids) at the end of the day `as_of`.

    Signals of others, of days to come and from before the window do not count. Rows already ordered by person (as in
    `people`), signal and day are not sorted again, which is what makes a whole night fast.
    """
    person = positions(people, signals["person_id"])
    codes, names = _vocabulary(signals["signal"])
    today = np.datetime64(as_of, "D")
    days = signals["day"].to_numpy().astype("datetime64[D]")
    lost = np.isnat(days)
    age = np.where(lost, -1, (today - np.where(lost, today, days)).astype(np.int64))
    count = np.nan_to_num(numbers(signals["count"]), nan=0.0)
    return _engagement(_daily(person, codes, age, count, names, config), names, len(people), config)


def _vocabulary(column: pd.Series) -> tuple[Ints, list[str]]:
    """Codes in the order of the names, so that sums do not depend on what a batch met first."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        codes, names = column.cat.codes.to_numpy().astype(np.int64), [str(name) for name in column.cat.categories]
    else:
        found, distinct = pd.factorize(column)
        codes, names = found.astype(np.int64), [str(name) for name in distinct]
    if names == sorted(names):
        return codes, names
    order = np.argsort(np.array(names, dtype=object))
    place = np.full(len(names) + 1, -1)
    place[order] = np.arange(len(names))
    return place[codes], [names[position] for position in order]


def _daily(person: Ints, signal: Ints, age: Ints, count: Floats, names: list[str], config: EngagementConfig) -> _Daily:
    kinds = [config.signal(name) for name in names]
    # A null signal has the code -1 and finds the window of 0 days at the end.
    window = np.array([config.window(kind) if kind.quality * kind.weight else 0 for kind in kinds] + [0])
    keep = (person >= 0) & (age >= 0) & (age < window[signal])
    if not keep.all():
        person, signal, age, count = person[keep], signal[keep], age[keep], count[keep]
    width = int(window.max())
    key = (person * len(names) + signal) * width + (width - 1 - age)
    if not (key[1:] > key[:-1]).all():
        order = np.argsort(key, kind="stable")
        starts = _starts(key[order])
        first = order[starts]
        # Counts are whole numbers: their sum is exact in any order.
        count = np.add.reduceat(count[order], starts) if len(starts) else count
        person, signal, age = person[first], signal[first], age[first]
    some = count > 0
    if not some.all():
        person, signal, age, count = person[some], signal[some], age[some], count[some]
    return _Daily(person, signal, age, count)


def _starts(key: Ints) -> Ints:
    """Where each run of equal values begins."""
    return np.flatnonzero(np.append(True, key[1:] != key[:-1])[: len(key)])


def _engagement(daily: _Daily, names: list[str], people: int, config: EngagementConfig) -> Engagement:
    kinds = [config.signal(name) for name in names]
    worth = np.array([kind.quality * kind.weight for kind in kinds])
    cap = np.array([kind.daily_cap for kind in kinds], dtype=np.float64)
    half_lives = sorted({config.half_life(kind) for kind in kinds})
    half_life = np.array([half_lives.index(config.half_life(kind)) for kind in kinds], dtype=np.int64)
    longest = max((config.window(kind) for kind in kinds), default=1)
    # Ages are whole days: a table of them is cheaper than an exponential per row.
    decay = np.exp2(-np.arange(longest) / np.array(half_lives or [1.0])[:, None])

    points = np.minimum(daily.count, cap[daily.signal]) * worth[daily.signal]
    points *= decay[half_life[daily.signal], daily.age]

    starts = _starts(daily.person * max(len(names), 1) + daily.signal)
    lengths = np.diff(np.append(starts, len(points)))
    pair = np.repeat(np.arange(len(starts)), lengths)
    person, signal = daily.person[starts], daily.signal[starts]
    pair_points = sums(pair, points, len(starts))

    positive, kept = _capped_per_channel(person, signal, pair_points, names, people, config)
    takes = pair_points < 0
    negative = sums(person[takes], -pair_points[takes], people)
    full = saturate(positive, config.saturation)
    score = saturate(np.maximum(0.0, positive - negative), config.saturation)

    # Positive parts share f(P) by their points, negative ones what is left to the score.
    share = np.where(takes, (score - full)[person], full[person])
    total = np.where(takes, -negative[person], positive[person])
    shared = np.divide(share * np.where(takes, pair_points, kept), total, out=np.zeros(len(starts)), where=total != 0)
    parts = Parts(
        person=person,
        signal=signal,
        names=names,
        count=sums(pair, daily.count, len(starts)).astype(np.int64),
        last_age=daily.age[starts + lengths - 1],
        points=shared,
    )
    return Engagement(score, positive, negative, parts)


def _capped_per_channel(
    person: Ints, signal: Ints, points: Floats, names: list[str], people: int, config: EngagementConfig
) -> tuple[Floats, Floats]:
    """P of each person, and the points of each part under its channel's cap, which scales all its parts alike."""
    channels = sorted({config.signal(name).channel for name in names})
    channel = np.array([channels.index(config.signal(name).channel) for name in names], dtype=np.int64)[signal]
    gains = np.maximum(points, 0.0)
    cell = channel * people + person
    earned = sums(cell, gains, len(channels) * people).reshape(len(channels), people)
    caps = np.array([config.channel_caps.get(name, np.inf) for name in channels], dtype=np.float64)[:, None]
    capped = np.minimum(earned, caps)
    positive = np.zeros(people)
    for row in capped:
        positive += row
    scale = np.divide(capped, earned, out=np.zeros_like(earned), where=earned > 0)
    return positive, gains * scale.reshape(-1)[cell]
