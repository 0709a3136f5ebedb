"""Engagement: what a person's signals amount to on a day."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date
from typing import Self

import numpy as np
import numpy.typing as npt
import pandas as pd

from scoring.arrays import Codes, Flags, Floats, Ints, numbers, positions
from scoring.configs import EngagementConfig

Days = npt.NDArray[np.datetime64]

# Rows worked on at a time: what is in between then stays in the processor's cache, and memory stays flat.
# Measured on 1,000,000 rows: 50,000 to 130,000 rows are alike; a quarter of that, or all at once, takes half as long
# again.
BLOCK = 65_536

MOST = 2**31  # what a count may be; nobody does anything that often in a day


@dataclass(frozen=True)
class Daily:
    """Daily counts as arrays of one length: who (a position, below 0 for nobody), what (a position in `names`), when.

    `names` are in order and distinct. Rows ordered by person need no sorting; those ordered by person, signal and day
    need none at all, which is what makes a whole night fast.
    """

    person: Codes
    signal: Codes
    day: Days
    count: Codes
    names: list[str]

    @classmethod
    def of(cls, frame: pd.DataFrame, key: str, ids: pd.Index) -> Daily:
        """From the columns `key`, signal, day and count; of the ids, unique, a row counts for the one it names.

        A column `is_bot`, where there is one, drops the rows that it flags. Ids and signals that come as categories
        are not looked up row by row.
        """
        if "is_bot" in frame:
            frame = frame[~frame["is_bot"].to_numpy(dtype=bool, na_value=False)]
        signal, names = _vocabulary(frame["signal"])
        day = frame["day"].to_numpy().astype("datetime64[D]")
        count = frame["count"]
        if count.dtype.kind in "iu":
            whole = count.to_numpy()
        else:
            whole = np.clip(np.nan_to_num(numbers(count), nan=0.0), -MOST, MOST).astype(np.int64)
        return cls(positions(ids, frame[key]), signal, day, whole, names)


@dataclass(frozen=True)
class Parts:
    """One row per person and signal, ordered by person and signal; points add up to the person's score.

    Signals that are worth nothing stand here too, with 0 points.
    """

    person: Codes
    signal: Codes
    names: list[str]
    count: Floats
    last_age: Codes
    points: Floats

    @classmethod
    def room_for(cls, parts: int, daily: Daily) -> Self:
        """As many as there can be. Memory is taken as they are written."""
        person, signal, last_age = (np.empty(parts, dtype=np.int32) for _ in range(3))
        return cls(person, signal, daily.names, np.empty(parts), last_age, np.empty(parts))

    def first(self, parts: int) -> Self:
        return replace(
            self,
            person=self.person[:parts],
            signal=self.signal[:parts],
            count=self.count[:parts],
            last_age=self.last_age[:parts],
            points=self.points[:parts],
        )


@dataclass(frozen=True)
class Engagement:
    """Per person; `positive` (after channel caps) and `negative` are points before saturation."""

    score: Floats
    positive: Floats
    negative: Floats
    parts: Parts


def saturate(points: Floats, saturation: float) -> Floats:
    return 100.0 * (1.0 - np.exp(-points / saturation))


def engagement(daily: Daily, people: int, config: EngagementConfig, as_of: date) -> Engagement:
    """The engagement of the people 0 to `people` - 1 at the end of the day `as_of`.

    Rows of the same person, signal and day add up; what they add up to counts if it is above 0. Nobody's rows, days to
    come and days before the window do not count. The order of the rows does not matter, nor does who else is there.
    """
    rates = _Rates.of(daily.names, config)
    found = Engagement(np.zeros(people), np.zeros(people), np.zeros(people), Parts.room_for(len(daily.person), daily))
    parts = 0
    for block in _blocks(daily):
        rows = _counted(block, rates, as_of)
        if len(rows.count):
            parts += _fill(found, parts, rows, rates)
    return replace(found, parts=found.parts.first(parts))


@dataclass(frozen=True)
class _Rates:
    """What each signal is worth, as tables to look up: ages are whole days, and a table is cheaper than exponentials.

    `worth` has a row of `width` ages per distinct kind of signal, one after the other. Channels without a cap need no
    telling apart: they are the last row of `channel_cap`.
    """

    cap: Floats
    window: Ints
    row_start: Ints
    worth: Floats
    width: int
    channel: Ints
    channel_cap: Floats
    saturation: float

    @classmethod
    def of(cls, names: list[str], config: EngagementConfig) -> _Rates:
        kinds = [config.signal(name) for name in names]
        rates = [(kind.quality * kind.weight, config.half_life(kind)) for kind in kinds]
        windows = [config.window(kind) for kind in kinds]
        width = max(windows, default=1)
        distinct = sorted(set(rates))
        value, half_life = np.array(distinct or [(0.0, 1.0)]).T
        capped = sorted({kind.channel for kind in kinds} & config.channel_caps.keys())
        channels = {name: place for place, name in enumerate(capped)}
        return cls(
            cap=np.array([kind.daily_cap for kind in kinds], dtype=np.float64),
            window=np.array(windows, dtype=np.int64),
            row_start=np.array([distinct.index(rate) * width for rate in rates], dtype=np.int64),
            worth=(value[:, None] * np.exp2(-np.arange(width) / half_life[:, None])).ravel(),
            width=width,
            channel=np.array([channels.get(kind.channel, len(channels)) for kind in kinds], dtype=np.int64),
            channel_cap=np.array([*(config.channel_caps[name] for name in capped), np.inf]),
            saturation=config.saturation,
        )


@dataclass(frozen=True)
class _Rows:
    """One row per person, signal and day that counts, ordered by person, signal, day.

    `opens` is true where a person's signal begins.
    """

    person: Codes
    signal: Ints
    age: Ints
    count: Floats
    opens: Flags


def _vocabulary(column: pd.Series) -> tuple[npt.NDArray[np.integer], list[str]]:
    """Codes in the order of the names, so that sums do not depend on what a batch met first."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        codes, names = column.cat.codes.to_numpy(), [str(name) for name in column.cat.categories]
    else:
        codes, distinct = pd.factorize(column)
        names = [str(name) for name in distinct]
    in_order = sorted(set(names))
    if names == in_order:
        return codes, names
    place = {name: position for position, name in enumerate(in_order)}
    return np.array([*(place[name] for name in names), -1])[codes], in_order


def _blocks(daily: Daily) -> Iterator[Daily]:
    """Some thousand rows at a time, ordered by person, and never a person in two of them."""
    person, signal, day, count = daily.person, daily.signal, daily.day, daily.count
    if (person[1:] < person[:-1]).any():
        order = np.argsort(person)
        person, signal, day, count = person[order], signal[order], day[order], count[order]
    begin = int(np.searchsorted(person, 0))
    while begin < len(person):
        end = begin + BLOCK
        end = int(np.searchsorted(person, person[end])) if end < len(person) else len(person)
        if end == begin:  # one person fills the block
            end = int(np.searchsorted(person, person[begin], side="right"))
        rows = slice(begin, end)
        yield Daily(person[rows], signal[rows], day[rows], count[rows], daily.names)
        begin = end


# The habits of the hot path below: `take` is three times as fast as brackets, integers never meet floats in a product,
# comparisons are made on the narrow columns as they came.


def _counted(block: Daily, rates: _Rates, as_of: date) -> _Rows:
    today = np.datetime64(as_of, "D").astype(np.int64)
    person, code = block.person, block.signal
    # A day that is not there is the smallest of numbers: it ends up with an age below 0.
    age = today - block.day.view(np.int64)
    count = block.count.astype(np.float64)
    if code.min() < 0 or age.min() < 0 or age.max() >= rates.window.min():
        keep = (code >= 0) & (age >= 0) & (age < rates.window[code])
        person, code, age, count = person[keep], code[keep], age[keep], count[keep]
    other_person, other_signal = person[1:] != person[:-1], code[1:] != code[:-1]
    if not (other_person | (code[1:] > code[:-1]) | (~other_signal & (age[1:] < age[:-1]))).all():
        key = (person.astype(np.int64) * len(block.names) + code) * rates.width - age
        order = np.argsort(key)
        key = key[order]
        starts = np.flatnonzero(np.append(True, key[1:] != key[:-1]))
        # Counts are whole numbers: their sum is exact in any order.
        count = np.add.reduceat(count[order], starts)
        person, code, age = person[order[starts]], code[order[starts]], age[order[starts]]
        other_person, other_signal = person[1:] != person[:-1], code[1:] != code[:-1]
    if len(count) and count.min() <= 0:
        keep = count > 0
        person, code, age, count = person[keep], code[keep], age[keep], count[keep]
        other_person, other_signal = person[1:] != person[:-1], code[1:] != code[:-1]
    opens = np.ones(len(count), dtype=bool)
    np.logical_or(other_person, other_signal, out=opens[1:])
    return _Rows(person, code.astype(np.int64), age, count, opens)


def _fill(found: Engagement, begin: int, rows: _Rows, rates: _Rates) -> int:
    """Write what some people's rows amount to into their places, their parts from `begin` on; say how many parts."""
    place = rates.row_start.take(rows.signal)
    place += rows.age
    worth = np.minimum(rows.count, rates.cap.take(rows.signal))
    worth *= rates.worth.take(place)
    first = np.flatnonzero(rows.opens)
    last = np.append(first[1:], len(worth)) - 1
    run = rows.opens.astype(np.int64)
    run[0] = 0
    np.cumsum(run, out=run)
    points = np.bincount(run, worth)
    count = np.bincount(run, rows.count)
    person, signal, last_age = rows.person.take(first), rows.signal.take(first), rows.age.take(last)
    here = slice(int(person[0]), int(person[-1]) + 1)
    people = here.stop - here.start
    local = person.astype(np.int64)
    local -= here.start
    taking = np.flatnonzero(points < 0)
    gains = np.maximum(points, 0.0) if len(taking) else points
    cell = rates.channel.take(signal)
    cell *= people
    cell += local
    earned = np.bincount(cell, gains, minlength=len(rates.channel_cap) * people).reshape(-1, people)
    capped = np.minimum(earned, rates.channel_cap[:, None])
    gained = capped.sum(axis=0)
    full = saturate(gained, rates.saturation)
    # Positive parts share f(P) by their points; a channel over its cap scales all its parts alike.
    share = capped / np.where(earned > 0, earned, 1.0)
    share *= full / np.where(gained > 0, gained, 1.0)
    gains = gains * share.ravel().take(cell)
    found.positive[here], found.score[here] = gained, full
    if len(taking):
        lost = np.bincount(local[taking], -points[taking], minlength=people)
        score = saturate(np.maximum(0.0, gained - lost), rates.saturation)
        found.negative[here], found.score[here] = lost, score
        # Negative parts share what is left to the score.
        left = (full - score) / np.where(lost > 0, lost, 1.0)
        gains[taking] = points[taking] * left[local[taking]]
    there = slice(begin, begin + len(points))
    found.parts.person[there], found.parts.signal[there] = person, signal
    found.parts.count[there], found.parts.last_age[there], found.parts.points[there] = count, last_age, gains
    return len(points)
