"""The reasons: parts that add up to the score, a sentence that says because of what, another what would make it hot."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from datetime import date, timedelta
from itertools import starmap
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from scoring.arrays import Floats, numbers, published
from scoring.configs import CombinedConfig, EngagementConfig, FitConfig, Range
from scoring.engagement import Engagement
from scoring.fit import Criterion, Fit
from scoring.rollup import Rollup
from scoring.tiers import Tiers

PEOPLE_SHOWN = 5

# Text of a tenant goes in as it is; everything else is composed as text, which is ten times faster than dumping dicts.
quote = json.JSONEncoder(ensure_ascii=False).encode

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


class FitStory(NamedTuple):
    """Why a fit is what it is: its JSON, what speaks for it, what against it, what is not known."""

    json: str
    strong: str
    weak: str
    unknown: str


class EngagementStory(NamedTuple):
    """Why an engagement is what it is: its JSON, its main reasons, and how it could rise from `now` to `needed`."""

    json: str
    why: str
    how: str


NO_FIT = FitStory('{"score":null,"coverage":0.0,"parts":[]}', "", "", "")


def exact(values: Floats) -> list[float]:
    """Precise enough that parts add up to 1e-9, short enough to store a hundred thousand times."""
    rounded: list[float] = (np.round(values, 11) + 0.0).tolist()
    return rounded


# --- fit -------------------------------------------------------------------------------------------------------------


def fit_stories(fit: Fit, companies: pd.DataFrame, config: FitConfig) -> list[FitStory]:
    texts = [_criterion_texts(criterion, companies, config) for criterion in fit.criteria]
    names = [quote(criterion.name) for criterion in fit.criteria]
    labels = [_label(criterion) for criterion in fit.criteria]
    weights = [criterion.weight for criterion in fit.criteria]
    matches = [exact(criterion.match) for criterion in fit.criteria]
    points = [exact(row) for row in fit.points]
    scores, coverages = exact(fit.score), exact(fit.coverage)
    stories: list[FitStory] = []
    for row in range(len(scores)):
        known = {place for place, match in enumerate(matches) if match[row] == match[row]}
        parts = ",".join(
            f'{{"part":{name},"points":{points[place][row]!r},'
            f'"match":{matches[place][row]!r},"text":{quote(texts[place][row])}}}'
            if place in known
            else f'{{"part":{name},"points":{points[place][row]!r},"match":null,"text":{quote(texts[place][row])}}}'
            for place, name in enumerate(names)
        )
        score = repr(scores[row]) if known else "null"
        gains = sorted((place for place in known if matches[place][row] >= 50), key=lambda place: -weights[place])
        losses = sorted(
            (place for place in known if matches[place][row] < 100),
            key=lambda place: weights[place] * (matches[place][row] - 100),
        )
        stories.append(
            FitStory(
                f'{{"score":{score},"coverage":{coverages[row]!r},"parts":[{parts}]}}',
                ", ".join(texts[place][row] for place in gains[:2]),
                ", ".join(texts[place][row] for place in losses[:2]),
                " and ".join(label for place, label in enumerate(labels) if place not in known),
            )
        )
    return stories


def _label(criterion: Criterion) -> str:
    return {"size": "number of employees"}.get(criterion.name, criterion.name.removeprefix("custom."))


def _criterion_texts(criterion: Criterion, companies: pd.DataFrame, config: FitConfig) -> list[str]:
    matches = criterion.match.tolist()
    if criterion.name == "size":
        values = numbers(companies["employee_count"]).tolist()
        return [
            f"{_short(value)} employees {_place(value, config.employees)}"
            if value >= 0
            else "number of employees unknown"
            for value in values
        ]
    if criterion.name == "revenue":
        values = numbers(companies["annual_revenue"]).tolist()
        return [
            f"revenue {_short(value)} {_place(value, config.revenue)}" if value >= 0 else "revenue unknown"
            for value in values
        ]
    if criterion.name == "industry":
        pairs = zip(companies["industry"], matches, strict=True)
        return [_match_text("industry", value, match) for value, match in pairs]
    name = criterion.name.removeprefix("custom.")
    customs = companies["custom"] if "custom" in companies else [None] * len(matches)
    shown = [fields.get(name) if isinstance(fields, dict) else None for fields in customs]
    return [_match_text(name, value, match) for value, match in zip(shown, matches, strict=True)]


def _place(value: float, ideal: Range) -> str:
    if ideal.min is not None and value < ideal.min:
        return f"below {_short(ideal.min)}"
    if ideal.max is not None and value > ideal.max:
        return f"above {_short(ideal.max)}"
    return "in the ideal range"


def _match_text(what: str, value: Any, match: float) -> str:
    if match != match:
        return f"{what} unknown"
    shown = ", ".join(str(one) for one in value) if isinstance(value, list) else str(value).strip()
    return f"{what} {shown} {'is' if match else 'is not'} wanted"


def _short(value: float) -> str:
    for size, unit in ((1e9, "bn"), (1e6, "m")):
        if value >= size:
            return f"{value / size:.4g}{unit}"
    return f"{value:.10g}"


# --- engagement ------------------------------------------------------------------------------------------------------


def person_stories(
    found: Engagement, needed: Floats, config: EngagementConfig, as_of: date
) -> Iterator[EngagementStory]:
    """One per person, in order. `needed` is the engagement at which the person's engagement side is high."""
    parts, people = found.parts, len(found.score)
    order = np.lexsort((parts.signal, -parts.points, parts.person))
    bounds = np.searchsorted(parts.person[order], np.arange(people + 1)).tolist()
    names = [parts.names[code] for code in parts.signal[order].tolist()]
    quoted = {name: quote(name) for name in parts.names}
    points, counts = exact(parts.points[order]), parts.count[order].tolist()
    day = [(as_of - timedelta(days=age)).isoformat() for age in range(int(parts.last_age.max(initial=0)) + 1)]
    days = [day[age] for age in parts.last_age[order].tolist()]
    pieces = [
        f'{{"part":{quoted[name]},"points":{value!r},"count":{count},"last_on":"{last}"}}'
        for name, value, count, last in zip(names, points, counts, days, strict=True)
    ]
    scores = exact(found.score)
    hows = _how_a_person_rises(found, needed, config)
    nothing = EngagementStory('{"score":0.0,"parts":[]}', "no signals", "")
    for person, score in enumerate(scores):
        begin, end = bounds[person], bounds[person + 1]
        if begin == end:
            yield nothing._replace(how=hows[person])
            continue
        said = [
            f"{_counted(names[place], counts[place])}, last on {days[place]}"
            for place in range(begin, min(begin + 2, end))
            if points[place] > 0
        ]
        if points[end - 1] < 0 or not said:
            said.append(f"less {_counted(names[end - 1], counts[end - 1])}")
        yield EngagementStory(
            f'{{"score":{score!r},"parts":[{",".join(pieces[begin:end])}]}}', "; ".join(said), hows[person]
        )


def _counted(name: str, count: int) -> str:
    if name in _PHRASES:
        return f"{count} {_PHRASES[name][count != 1]}"
    return f"{count} x {name.replace('_', ' ')}"


def _how_a_person_rises(found: Engagement, needed: Floats, config: EngagementConfig) -> list[str]:
    """An example with the strongest signal of a channel without a cap, where one day of it is enough."""
    worth = {
        name: kind.quality * kind.weight
        for name, kind in config.signals.items()
        if kind.channel not in config.channel_caps
    }
    best = max(sorted(worth), key=lambda name: worth[name], default=None)
    if best is None or worth[best] <= 0:
        return [""] * len(found.score)
    # What is published as `needed` begins half a tenth below it.
    target = -config.saturation * np.log1p(-np.minimum(needed - 0.05, 99.95) / 100.0)
    times = np.ceil((target - (found.positive - found.negative)) / worth[best] - 1e-9)
    enough = config.signals[best].daily_cap
    says = {count: f", for example by {_counted(best, count)} in one day" for count in range(1, enough + 1)}
    return [says.get(count, "") for count in times.tolist()]


def group_stories(found: Rollup, pace: Floats, method: str, person_ids: list[str]) -> Iterator[EngagementStory]:
    """One per group, in order; `pace` is what velocity really added after the score was held in 0-100."""
    groups = len(found.score)
    bounds = np.searchsorted(found.group, np.arange(groups + 1)).tolist()
    points, breadth, paces = exact(found.points), exact(found.breadth), exact(pace)
    scores = exact(found.score + pace)
    members, sizes, actives = found.person.tolist(), found.people.tolist(), found.active.tolist()
    for group, size in enumerate(sizes):
        begin, end = bounds[group], bounds[group + 1]
        shown = min(end, begin + PEOPLE_SHOWN)
        parts = [
            f'{{"part":"person","points":{points[place]!r},"person_id":{quote(person_ids[members[place]])}}}'
            for place in range(begin, shown)
        ]
        if shown < end:
            rest = exact(np.array([math.fsum(found.points[shown:end])]))[0]
            parts.append(f'{{"part":"others","points":{rest!r},"people":{end - shown}}}')
        if breadth[group]:
            parts.append(f'{{"part":"breadth","points":{breadth[group]!r},"people":{actives[group]}}}')
        if paces[group]:
            parts.append(f'{{"part":"velocity","points":{paces[group]!r}}}')
        why = (
            "nobody known"
            if size == 0
            else "one person known"
            if size == 1
            else f"{actives[group]} of {size} people active"
        )
        if paces[group]:
            why += f", its pace {'adds' if paces[group] > 0 else 'takes'} {abs(paces[group]):.1f}"
        how = ", through more activity of its people" if size else ": find somebody to talk to"
        yield EngagementStory(
            f'{{"score":{scores[group]!r},"rollup":"{method}","people":{size},"parts":[{",".join(parts)}]}}', why, how
        )


# --- the whole -------------------------------------------------------------------------------------------------------


def breakdowns(
    fit: Floats,
    coverage: Floats,
    engagement: Floats,
    found: Tiers,
    fits: list[FitStory],
    engagements: Iterator[EngagementStory],
    config: CombinedConfig,
) -> list[str]:
    """The score_breakdown of each entity, as JSON text with its keys in a fixed order."""
    rows = zip(
        published(fit).tolist(),
        coverage.tolist(),
        published(engagement).tolist(),
        published(found.combined).tolist(),
        found.fit_high.tolist(),
        found.engagement_high.tolist(),
        found.fit_needed.tolist(),
        found.engagement_needed.tolist(),
        found.tier.tolist(),
        fits,
        engagements,
        strict=True,
    )
    sentences = _matrix_sentences if config.tier_mode == "matrix" else _threshold_sentences
    exact_parts = zip(exact(found.combined), exact(found.fit_points), exact(found.engagement_points), strict=True)
    texts: list[str] = []
    for row, (combined, fit_points, engagement_points) in zip(starmap(_Told, rows), exact_parts, strict=True):
        because, hot = sentences(row, config)
        parts = f'{{"part":"engagement","points":{engagement_points!r}}}'
        if row.fit_high is not None:
            parts = f'{{"part":"fit","points":{fit_points!r}}},{parts}'
        texts.append(
            f'{{"fit":{row.fit_story.json},"engagement":{row.engagement_story.json},'
            f'"combined":{{"score":{combined!r},"parts":[{parts}]}},'
            f'"because":{quote(because)},"to_be_hot":{quote(hot)}}}'
        )
    return texts


class _Told(NamedTuple):
    """What the sentences about one entity are made of."""

    fit: float
    coverage: float
    engagement: float
    combined: float
    fit_high: bool | None
    engagement_high: bool
    fit_needed: float
    engagement_needed: float
    tier: str
    fit_story: FitStory
    engagement_story: EngagementStory


def _matrix_sentences(told: _Told, config: CombinedConfig) -> tuple[str, str]:
    clauses = [_fit_clause(told, config), _engagement_clause(told)]
    if told.tier == "warm":
        clauses.reverse()
    link = "and" if told.tier in ("hot", "cold") else "while"
    because = f"{told.tier.capitalize()} because {clauses[0]} {link} {clauses[1]}."
    if told.tier == "hot":
        return because, "It is hot."
    wishes = [] if told.engagement_high else [_engagement_wish(told)]
    wishes += [] if told.fit_high else [_fit_wish(told, config)]
    return because, f"To become hot, {'; and '.join(wishes)}."


def _threshold_sentences(told: _Told, config: CombinedConfig) -> tuple[str, str]:
    because = (
        f"{told.tier.capitalize()} because the combined score is {told.combined}: "
        f"{_fit_clause(told, config)} and {_engagement_clause(told)}."
    )
    if told.tier == "hot":
        return because, "It is hot."
    side = "fit" if told.fit_high is not None and told.fit < told.engagement else "engagement"
    needed = f"the combined score must reach {config.bands.hot:g} (now {told.combined})"
    return because, f"To become hot, {needed}; {side} has the most room."


def _engagement_clause(told: _Told) -> str:
    return (
        f"engagement is {'high' if told.engagement_high else 'low'} at {told.engagement} ({told.engagement_story.why})"
    )


def _engagement_wish(told: _Told) -> str:
    return f"engagement must reach {told.engagement_needed:g} (now {told.engagement}){told.engagement_story.how}"


def _fit_clause(told: _Told, config: CombinedConfig) -> str:
    if told.fit_high is None:
        return "fit is unknown"
    if _is_mistrusted(told, config):
        return f"fit of {told.fit} is not trusted ({told.coverage:.0%} of the profile is known)"
    why = told.fit_story.strong if told.fit_high else told.fit_story.weak
    return f"fit is {'high' if told.fit_high else 'low'} at {told.fit}" + (f" ({why})" if why else "")


def _fit_wish(told: _Told, config: CombinedConfig) -> str:
    unknown = told.fit_story.unknown
    if told.fit_high is None:
        return (
            f"fit must be known: find out its {unknown}" if unknown else "the ideal customer profile must be filled in"
        )
    if _is_mistrusted(told, config):
        return f"more of the company must be known: find out its {unknown}"
    return f"fit must reach {told.fit_needed:g} (now {told.fit}: {told.fit_story.weak})"


def _is_mistrusted(told: _Told, config: CombinedConfig) -> bool:
    """High enough, yet kept from becoming high by how little of the profile is known."""
    return not told.fit_high and told.fit >= told.fit_needed and told.coverage < config.minimum_coverage
