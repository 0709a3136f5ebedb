"""The reasons: parts that add up to the score, a sentence that says because of what, another what would make it hot.

A night asks for a hundred thousand of them, so they are made column by column: numbers and parts are typeset together,
sentences are put together from clauses that many entities share. All text in here is already escaped for JSON.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from json.encoder import encode_basestring_ascii
from typing import Any

import numpy as np
import pandas as pd

from scoring.arrays import Codes, Flags, Floats, Ints, Objects, numbers, published, rank_in_group, sums
from scoring.configs import CombinedConfig, EngagementConfig, FitConfig, Range
from scoring.engagement import Engagement
from scoring.fit import Criterion, Fit
from scoring.rollup import Rollup
from scoring.tiers import Tiers
from scoring.typeset import Column, Words, decimals, integers, lines, only, runs, where, words

PEOPLE_SHOWN = 5
LETTERS_SHOWN = 80
MOST_TOLD = 99_999_999

_PHRASES = {
    "demo_request": ("demo request", "demo requests"),
    "event_attend": ("event attended", "events attended"),
    "meeting_attend": ("meeting attended", "meetings attended"),
    "form_fill": ("form filled in", "forms filled in"),
    "content_download": ("download", "downloads"),
    "intent_signal": ("intent signal", "intent signals"),
    "email_click": ("e-mail click", "e-mail clicks"),
    "ad_click": ("ad click", "ad clicks"),
    "email_thread": ("e-mail exchanged", "e-mails exchanged"),
    "email_open": ("e-mail opened", "e-mails opened"),
    "page_view": ("page view", "page views"),
    "email_sent": ("e-mail sent to them", "e-mails sent to them"),
    "unsubscribe": ("unsubscribe", "unsubscribes"),
    "bounce": ("bounced e-mail", "bounced e-mails"),
    "spam_complaint": ("spam complaint", "spam complaints"),
}


@dataclass(frozen=True)
class FitStories:
    """Why each fit is what it is: its JSON, what speaks for it, what against it, what is not known."""

    json: Objects
    strong: Objects
    weak: Objects
    unknown: Objects


@dataclass(frozen=True)
class EngagementStories:
    """Why each engagement is what it is: its parts and what else its JSON says, its main reasons, and how it could rise
    to what is needed."""

    parts: list[str]
    json: list[Column]
    why: list[Column]
    how: list[Words]


def escaped(text: str) -> str:
    """What stands between the quotes in JSON. Escaping piece by piece is the same as escaping the whole."""
    return encode_basestring_ascii(text)[1:-1]


_TENTHS = [f"{tenth / 10:.1f}" for tenth in range(1001)]


def shown(values: Floats) -> Words:
    """As people see scores, from 0.0 to 100.0."""
    return words(_TENTHS, np.rint(published(values) * 10))


def _objects(values: Sequence[str]) -> Objects:
    found: Objects = np.empty(len(values), dtype=object)
    found[:] = values
    return found


# --- fit -------------------------------------------------------------------------------------------------------------


def fit_stories(fit: Fit, companies: pd.DataFrame, config: FitConfig) -> FitStories:
    """One per row, and one more at the end for what has no fit."""
    rows = len(companies)
    texts = [_criterion_texts(criterion, companies, config) for criterion in fit.criteria]
    columns: list[Column] = [b'{"coverage":', decimals(fit.coverage), b',"parts":[']
    for nth, (criterion, points, text) in enumerate(zip(fit.criteria, fit.points, texts, strict=True)):
        columns += [
            f'{"," if nth else ""}{{"part":"{escaped(criterion.name)}","points":'.encode(),
            decimals(points),
            b',"match":',
            *_or_null(criterion.match),
            b',"text":"',
            text,
            b'"}',
        ]
    whole = lines([*columns, b'],"score":', *_or_null(fit.score), b"}"], rows)
    match = np.array([criterion.match for criterion in fit.criteria]).reshape(len(fit.criteria), rows)
    weight = np.array([criterion.weight for criterion in fit.criteria])[:, None]
    said = np.array([_objects(list(lines([text], rows))) for text in texts], dtype=object)
    said = said.reshape(len(fit.criteria), rows)
    return FitStories(
        json=_objects([*whole, '{"coverage":0.0,"parts":[],"score":null}']),
        strong=_objects([*_first_two(said, -weight * match, match >= 50), ""]),
        weak=_objects([*_first_two(said, weight * (match - 100), match < 100), ""]),
        unknown=_objects([*_unknown([_label(criterion) for criterion in fit.criteria], np.isnan(match)), ""]),
    )


def _or_null(values: Floats) -> list[Column]:
    known = ~np.isnan(values)
    return [where(~known, "null"), only(known, decimals(np.nan_to_num(values)))]


def _first_two(texts: Objects, key: Floats, said: Flags) -> Objects:
    """Of each column the one or two texts with the lowest keys, of those that are said."""
    order = np.argsort(np.where(said, key, np.inf).T, axis=1, kind="stable")[:, :2]
    rows = np.arange(len(order))
    found: Objects = np.full(len(order), "", dtype=object)
    for nth, place in enumerate(order.T):
        there = said[place, rows]
        more = texts[place[there], rows[there]]
        found[there] = found[there] + ", " + more if nth else more
    return found


def _unknown(labels: list[str], missing: Flags) -> Objects:
    found: Objects = np.full(missing.shape[1], "", dtype=object)
    for label, is_missing in zip(labels, missing, strict=True):
        found[is_missing] += np.where(found[is_missing] == "", "", " and ") + escaped(label)
    return found


def _label(criterion: Criterion) -> str:
    return {"size": "number of employees"}.get(criterion.name, criterion.name.removeprefix("custom."))


def _criterion_texts(criterion: Criterion, companies: pd.DataFrame, config: FitConfig) -> Words:
    if criterion.name == "size":
        return _range_texts(
            companies["employee_count"], "{} employees", "number of employees unknown", config.employees
        )
    if criterion.name == "revenue":
        return _range_texts(companies["annual_revenue"], "revenue {}", "revenue unknown", config.revenue)
    if criterion.name == "industry":
        which, industries = pd.factorize(companies["industry"])
        first = _firsts(which, len(industries))
        pairs = zip(industries.tolist(), criterion.match[first].tolist(), strict=True)
        return words([*(_match_text("industry", *pair) for pair in pairs), "industry unknown"], which)
    name = criterion.name.removeprefix("custom.")
    values = [fields.get(name) if isinstance(fields, dict) else None for fields in companies["custom"]]
    pairs = zip(values, criterion.match.tolist(), strict=True)
    which, texts = pd.factorize(_objects([_match_text(name, *pair) for pair in pairs]))
    return words(texts.tolist(), which)


def _range_texts(column: pd.Series, text: str, unknown: str, ideal: Range) -> Words:
    low, high = ideal.min if ideal.min is not None else -np.inf, ideal.max if ideal.max is not None else np.inf
    below, above, inside = f" below {_short(low)}", f" above {_short(high)}", " in the ideal range"
    which, distinct = pd.factorize(numbers(column))
    texts = [
        text.format(_short(value)) + (below if value < low else above if value > high else inside)
        if value >= 0
        else unknown
        for value in distinct.tolist()
    ]
    return words([*texts, unknown], which)


def _firsts(codes: Codes, distinct: int) -> Ints:
    """Where each code stands for the first time."""
    first = np.zeros(distinct + 1, dtype=np.int64)
    first[codes[::-1]] = np.arange(len(codes))[::-1]
    return first[:distinct]


def _match_text(what: str, value: Any, match: float) -> str:
    if match != match:
        return escaped(f"{what} unknown")
    told = ", ".join(str(one) for one in value) if isinstance(value, list) else str(value).strip()
    if len(told) > LETTERS_SHOWN:
        told = f"{told[:LETTERS_SHOWN]}..."
    return escaped(f"{what} {told} {'is' if match else 'is not'} wanted")


def _short(value: float) -> str:
    for size, unit in ((1e9, "bn"), (1e6, "m")):
        if value >= size:
            return f"{value / size:.4g}{unit}"
    return f"{value:.10g}"


# --- engagement ------------------------------------------------------------------------------------------------------


def person_stories(
    found: Engagement, people: Ints, needed: Floats, config: EngagementConfig, as_of: date
) -> EngagementStories:
    """One for each of these people, in order. `needed` is the engagement at which their engagement side is high."""
    parts = found.parts
    picked, bounds = _ranges(parts.person, people)
    owner = np.repeat(np.arange(len(people)), np.diff(bounds))
    counts = np.flatnonzero(parts.points[picked])
    picked, owner = picked[counts], owner[counts]
    bounds = np.searchsorted(owner, np.arange(len(people) + 1))
    picked = picked[np.lexsort((-parts.points[picked], owner))]
    points, count = parts.points[picked], np.minimum(parts.count[picked], MOST_TOLD).astype(np.int64)
    signal, age = parts.signal[picked], parts.last_age[picked]
    names = [escaped(name) for name in parts.names]
    day = [(as_of - timedelta(days=days)).isoformat() for days in range(int(age.max(initial=0)) + 1)]
    pieces = runs(
        [
            b'{"part":"',
            words(names, signal),
            b'","points":',
            decimals(points),
            b',"count":',
            integers(count),
            b',"last_on":"',
            words(day, age),
            b'"}',
        ],
        bounds,
    )

    # The two strongest reasons, and what takes most away.
    size = np.diff(bounds)
    first, last = bounds[:-1], bounds[1:] - 1
    # One more row, which is nobody's, so that who has no signals has a place to look at.
    points, count = np.append(points, 0.0), np.append(count, 0)
    signal, age = np.append(signal, 0), np.append(age, 0)
    second = np.minimum(first + 1, len(points) - 1)
    good = (size > 0) & (points[first] > 0)
    better = (size > 1) & (points[second] > 0)
    less = (size > 0) & (points[last] < 0)
    said = [escaped(phrase) for name in parts.names for phrase in phrases(name)] or [""]

    def told(place: Ints, there: Flags) -> list[Column]:
        which = np.where(there, signal[place] * 2 + (count[place] != 1) + 1, 0)
        return [only(there, integers(count[place])), words(["", *said], which)]

    def dated(place: Ints, there: Flags) -> list[Column]:
        when = words(["", *(f", last on {one}" for one in day)], np.where(there, age[place] + 1, 0))
        return [*told(place, there), when]

    why = [where(size == 0, "no signals that count"), *dated(first, good), where(better, "; "), *dated(second, better)]
    why += [where(less & good, "; "), where(less, "less "), *told(last, less)]
    return EngagementStories(
        parts=pieces.tolist(),
        json=[b'],"score":', decimals(found.score[people])],
        why=why,
        how=[_how_people_rise(found, people, needed, config)],
    )


def phrases(name: str) -> tuple[str, str]:
    """What follows the number of a signal, for one and for more."""
    one, more = _PHRASES.get(name, (f"x {name.replace('_', ' ')}",) * 2)
    return f" {one}", f" {more}"


def _how_people_rise(found: Engagement, people: Ints, needed: Floats, config: EngagementConfig) -> Words:
    """An example with the strongest signal of a channel without a cap, where one day of it is enough."""
    worth = {
        name: kind.quality * kind.weight
        for name, kind in config.signals.items()
        if kind.channel not in config.channel_caps
    }
    best = max(sorted(worth), key=lambda name: worth[name], default=None)
    if best is None or worth[best] <= 0:
        return words([""], np.zeros(len(people), dtype=np.int64))
    # What is published as `needed` begins half a tenth below it.
    target = -config.saturation * np.log1p(-np.minimum(needed - 0.05, 99.95) / 100.0)
    with np.errstate(over="ignore"):  # more often than can be counted is more often than in one day
        times = np.ceil((target - (found.positive - found.negative)[people]) / worth[best] - 1e-9)
    enough = config.signals[best].daily_cap
    one, more = map(escaped, phrases(best))
    says = [f", for example by {day}{one if day == 1 else more} in one day" for day in range(1, enough + 1)]
    return words(["", *says], np.where((times >= 1) & (times <= enough), times, 0))


def group_stories(found: Rollup, groups: Ints, pace: Floats, method: str, person_ids: Objects) -> EngagementStories:
    """One for each of these groups, in order; `pace` is what velocity added after the score was held in 0-100."""
    picked, bounds = _ranges(found.group, groups)
    owner = np.repeat(np.arange(len(groups)), np.diff(bounds))
    points = found.points[picked]
    is_shown = rank_in_group(owner) < PEOPLE_SHOWN
    ids = [escaped(one) for one in person_ids[found.person[picked][is_shown]].tolist()]
    named = np.concatenate([[0], np.cumsum(np.bincount(owner[is_shown], minlength=len(groups)))])
    pieces = runs(
        [
            b'{"part":"person","points":',
            decimals(points[is_shown]),
            b',"person_id":"',
            words(ids, np.arange(len(ids))),
            b'"}',
        ],
        named,
    )
    others = np.diff(bounds) - np.diff(named)
    rest = sums(owner[~is_shown], points[~is_shown], len(groups))
    sizes, active = found.people[groups], found.active[groups]
    breadth, company = found.breadth[groups], found.company[groups]

    def more(name: str, amount: Floats, has: Flags, people: Ints | None = None) -> list[Column]:
        counted: list[Column] = [] if people is None else [where(has, ',"people":'), only(has, integers(people))]
        opening = where(has, f',{{"part":"{name}","points":')
        return [opening, only(has, decimals(amount)), *counted, where(has, "}")]

    rows = len(groups)
    also = lines(
        [
            *more("others", rest, others > 0, others),
            *more("company", company, company != 0),
            *more("breadth", breadth, breadth != 0, active),
            *more("velocity", pace, pace != 0),
        ],
        rows,
    )
    some = sizes > 1
    quicker, slower = pace > 0, pace < 0
    return EngagementStories(
        parts=[f"{people}{rest}" if people else rest[1:] for people, rest in zip(pieces.tolist(), also, strict=True)],
        json=[
            b'],"score":',
            decimals(found.score[groups] + pace),
            f',"rollup":"{method}","people":'.encode(),
            integers(sizes),
        ],
        why=[
            where(sizes == 0, "nobody known"),
            where(sizes == 1, "one person known"),
            only(some, integers(active)),
            where(some, " of "),
            only(some, integers(sizes)),
            where(some, " people active"),
            where(company > 0, ", its company shows interest"),
            where(quicker, ", its pace adds "),
            where(slower, ", its pace takes "),
            only(pace != 0, shown(np.abs(pace))),
        ],
        how=[
            where(sizes > 0, ", through more activity of its people"),
            where(sizes == 0, ": find somebody to talk to"),
        ],
    )


def _ranges(ordered: Codes, wanted: Ints) -> tuple[Ints, Ints]:
    """Where the rows of each of `wanted` are in an ordered column, one after the other, and where each begins there."""
    begin = np.searchsorted(ordered, wanted, "left")
    size = np.searchsorted(ordered, wanted, "right") - begin
    bounds = np.concatenate([[0], np.cumsum(size)])
    return np.repeat(begin - bounds[:-1], size) + np.arange(bounds[-1]), bounds


# --- the whole -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Told:
    """All that the sentences of some entities of one kind say. `fit_at` is where each finds its story of fit."""

    fit: Floats
    coverage: Floats
    engagement: Floats
    tiers: Tiers
    fit_at: Ints
    fits: FitStories
    stories: EngagementStories


def breakdowns(told: Told, config: CombinedConfig) -> list[str]:
    """The score_breakdown of each entity, as JSON text with its keys in a fixed order."""
    has_fit = ~np.isnan(told.fit)
    sentences = _matrix_sentences if config.tier_mode == "matrix" else _threshold_sentences
    because, hot = sentences(told, config)
    tails = lines(
        [
            *told.stories.json,
            b'},"combined":{"score":',
            decimals(told.tiers.combined),
            b',"parts":[',
            where(has_fit, '{"part":"fit","points":'),
            only(has_fit, decimals(told.tiers.fit_points)),
            where(has_fit, "},"),
            b'{"part":"engagement","points":',
            decimals(told.tiers.engagement_points),
            b'}]},"because":"',
            *because,
            b'","to_be_hot":"',
            *hot,
            b'"}',
        ],
        len(told.fit),
    )
    rows = zip(told.fits.json[told.fit_at].tolist(), told.stories.parts, tails, strict=True)
    return [f'{{"fit":{fit},"engagement":{{"parts":[{parts}{tail}' for fit, parts, tail in rows]


def _matrix_sentences(told: Told, config: CombinedConfig) -> tuple[list[Column], list[Column]]:
    tier = told.tiers.tier
    is_hot, is_warm = tier == "hot", tier == "warm"
    is_high = told.tiers.engagement_high
    fit_before, fit_after, wish, wishes = _fit_clauses(told, config, is_warm)
    agree = is_hot | (tier == "cold")
    because: list[Column] = [
        *_tier_word(tier),
        b" because ",
        fit_before,
        where(agree, " and "),
        where(~agree & ~is_warm, " while "),
        *_engagement_clause(told),
        where(is_warm, " while "),
        fit_after,
        b".",
    ]
    need, needs = pd.factorize(told.tiers.engagement_needed)
    rises = ~is_high
    hot: list[Column] = [
        where(is_hot, "It is hot."),
        where(~is_hot, "To become hot, "),
        words(["", *(f"engagement must reach {needed:g} (now " for needed in needs)], np.where(rises, need + 1, 0)),
        only(rises, shown(told.engagement)),
        where(rises, ")"),
        *(only(rises, column) for column in told.stories.how),
        where(rises & wishes, "; and "),
        wish,
        where(~is_hot, "."),
    ]
    return because, hot


def _threshold_sentences(told: Told, config: CombinedConfig) -> tuple[list[Column], list[Column]]:
    is_hot = told.tiers.tier == "hot"
    fit_says, _, _, _ = _fit_clauses(told, config, np.zeros(len(is_hot), dtype=bool))
    because: list[Column] = [
        *_tier_word(told.tiers.tier),
        b" because the combined score is ",
        shown(told.tiers.combined),
        b": ",
        fit_says,
        b" and ",
        *_engagement_clause(told),
        b".",
    ]
    # Without a fit the comparison is false, and it is engagement that has room.
    fit_has_room = published(told.fit) < published(told.engagement)
    hot: list[Column] = [
        where(is_hot, "It is hot."),
        where(~is_hot, f"To become hot, the combined score must reach {config.bands.hot:g} (now "),
        only(~is_hot, shown(told.tiers.combined)),
        where(~is_hot, "); "),
        where(~is_hot & fit_has_room, "fit"),
        where(~is_hot & ~fit_has_room, "engagement"),
        where(~is_hot, " has the most room."),
    ]
    return because, hot


def _tier_word(tier: Objects) -> list[Column]:
    return [where(tier == name, name.capitalize()) for name in ("hot", "warm", "cool", "cold")]


def _engagement_clause(told: Told) -> list[Column]:
    high = told.tiers.engagement_high
    level: list[Column] = [where(high, "engagement is high at "), where(~high, "engagement is low at ")]
    return [*level, shown(told.engagement), b" (", *told.stories.why, b")"]


def _fit_clauses(told: Told, config: CombinedConfig, later: Flags) -> tuple[Words, Words, Words, Flags]:
    """What is said of each fit, apart for those who say it later; what is wished of those not high; who wishes.

    People of one account share both: what is said is put together once for all that are alike.
    """
    found = told.tiers
    state = np.where(np.isnan(told.fit), 2, found.fit_high == np.True_).astype(np.int64)
    need, needs = pd.factorize(found.fit_needed)
    which, distinct = pd.factorize((told.fit_at * 3 + state) * len(needs) + need)
    first = _firsts(which, len(distinct))
    fit = np.nan_to_num(told.fit)
    # High enough, yet kept from becoming high by how little of the profile is known.
    mistrusted = (published(fit) >= found.fit_needed) & (told.coverage < config.minimum_coverage)
    says, wishes = [""], [""]
    for at, high, is_mistrusted, needed, now, coverage in zip(
        told.fit_at[first].tolist(),
        state[first].tolist(),
        mistrusted[first].tolist(),
        found.fit_needed[first].tolist(),
        published(fit[first]).tolist(),
        told.coverage[first].tolist(),
        strict=True,
    ):
        unknown, weak = told.fits.unknown[at], told.fits.weak[at]
        if high == 2:
            says.append("fit is unknown")
            find_out = f"fit must be known: find out its {unknown}"
            wishes.append(find_out if unknown else "the ideal customer profile must be filled in")
        elif is_mistrusted and not high:
            says.append(f"fit of {now} is not trusted ({coverage:.0%} of the profile is known)")
            wishes.append(f"more of the company must be known: find out its {unknown}")
        else:
            why = told.fits.strong[at] if high else weak
            says.append(f"fit is {'high' if high else 'low'} at {now}" + (f" ({why})" if why else ""))
            wishes.append("" if high else f"fit must reach {needed:g} (now {now}: {weak})")
    is_wish = state != 1
    return (
        words(says, np.where(later, 0, which + 1)),
        words(says, np.where(later, which + 1, 0)),
        words(wishes, np.where(is_wish, which + 1, 0)),
        is_wish,
    )
