"""What is expected of each metric: the bounds that follow from the tenant's own history and settings.

Each metric has one expectation, of the same name. Where there is nothing to compare with yet, a tenant's first runs,
there are no bounds and it is met. A breach holds publication back; a warning does not, it is told.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal

from control.settings import Quality
from steps.quality_metrics import History

Bounds = tuple[float | None, float | None]
Weight = Literal["breach", "warning"]

# Of a handful one is a large share: below so many, shares and falls mean nothing.
FEW = 50
# as many may always land: a quiet week before does not make it a flood
ALWAYS_FINE = 1_000
# so many runs before how much usually lands is known
RUNS_TO_KNOW = 3
# Scores fall as days go by and nothing happens: of another time they are no measure.
DAYS_COMPARABLE = 14
FREE: Bounds = (None, None)


@dataclass(frozen=True)
class Expectation:
    """`lower` or `upper` is None where nothing is expected on that side."""

    name: str
    lower: float | None
    upper: float | None
    weight: Weight
    sentence: str
    remedy: str

    @property
    def suite(self) -> str:
        return self.name.partition(".")[0]

    @property
    def is_bound(self) -> bool:
        return (self.lower, self.upper) != FREE

    def is_met_by(self, value: float) -> bool:
        return (self.lower is None or value >= self.lower) and (self.upper is None or value <= self.upper)


@dataclass(frozen=True)
class Known:
    """What bounds are made of."""

    thresholds: Quality
    metrics: Mapping[str, float]
    history: History

    def last(self, name: str) -> float | None:
        return self.history.last.get(name)

    def few(self, name: str) -> bool:
        """Whether there are, or were, too few of the thing for a share to mean anything."""
        suite, thing, _ = name.split(".")
        counted = f"{suite}.{thing}.{'offered' if suite == 'raw' else 'count'}"
        return self.metrics.get(counted, 0) < FEW

    def of_another_time(self, suite: str) -> bool:
        then, now = self.last(f"{suite}.day"), self.metrics.get(f"{suite}.day")
        return then is None or now is None or abs(now - then) > DAYS_COMPARABLE

    def by_other_rules(self) -> bool:
        version = "candidates.score_version"
        return self.last(version) != self.metrics.get(version)


@dataclass(frozen=True)
class Rule:
    """`metric` is a pattern; `{thing}` and `{what}` in the words stand for the second and third part of its name."""

    metric: str
    bounds: Callable[[str, Known], Bounds]
    sentence: str
    remedy: str
    weight: Weight = "breach"


def _landed(name: str, known: Known) -> Bounds:
    before = known.history.volumes.get(name, [])
    if len(before) < RUNS_TO_KNOW:
        return FREE
    factor = known.thresholds.max_volume_factor
    least = min(before) / factor
    return (least if least >= FEW else 0.0), max(max(before) * factor, ALWAYS_FINE)


def _rejected(name: str, known: Known) -> Bounds:
    return FREE if known.few(name) else (None, known.thresholds.max_rejected_share)


def _hours(_name: str, known: Known) -> Bounds:
    return None, known.thresholds.freshness_hours


def _arrived(_name: str, _known: Known) -> Bounds:
    return 1.0, None


def _is_required(name: str, known: Known) -> bool:
    return name.split(".")[1] in known.thresholds.required_sources


def _count(name: str, known: Known) -> Bounds:
    last = known.last(name)
    if last is None or last < FEW:
        return FREE
    most = max(last * known.thresholds.max_volume_factor, ALWAYS_FINE)
    return last * (1 - known.thresholds.max_volume_drop), most


def _recent(name: str, known: Known) -> Bounds:
    return FREE if known.of_another_time("canonical") else _count(name, known)


def _null_share(name: str, known: Known) -> Bounds:
    last = known.last(name)
    if last is None or known.few(name):
        return FREE
    return None, min(1.0, last + known.thresholds.max_null_share_rise)


def _impossible(name: str, known: Known) -> Bounds:
    return FREE if known.few(name) else (None, known.thresholds.max_impossible_share)


def _shift(by: Callable[[Quality], float]) -> Callable[[str, Known], Bounds]:
    def bounds(name: str, known: Known) -> Bounds:
        last = _comparable(name, known)
        return FREE if last is None else (last - by(known.thresholds), last + by(known.thresholds))

    return bounds


def _spread(name: str, known: Known) -> Bounds:
    last, factor = _comparable(name, known), known.thresholds.max_spread_factor
    # where all scores are nearly alike, the next is many times as wide
    return FREE if not last or last < 1 else (last / factor, last * factor)


def _comparable(name: str, known: Known) -> float | None:
    """The value then, unless it was another time, another way to score, or only a few."""
    if known.few(name) or known.of_another_time("candidates") or known.by_other_rules():
        return None
    thing = name.rpartition(".")[0]
    return known.last(name) if (known.last(f"{thing}.count") or 0) >= FEW else None


def _none(_name: str, _known: Known) -> Bounds:
    return None, 0.0


_LOOK_AT_SOURCE = "look at the source: was something deleted or archived in bulk, or may the connector see less now?"
_LOOK_AT_MAPPING = (
    "look at the mapping and at the field in the source: `clarity mapping show {slug} <connector> {thing}`"
)
_LOOK_AT_SCORES = (
    "look at what moved some of them: `clarity explain {slug} {thing} <one of them>`; more or less data does it too"
)

# The first that fits. Order: the particular before the general.
RULES = (
    Rule(
        "raw.*.landed",
        _landed,
        "records that {thing} landed in this run",
        "was {thing} filled twice, emptied, or read from the start? `clarity sync {slug}` reads again",
    ),
    Rule(
        "raw.*.rejected_share",
        _rejected,
        "share of the records from {thing} that were refused",
        "`clarity quarantine {slug} --connector {thing}` shows them with the reasons; repair, then add --replay",
        "warning",
    ),
    Rule(
        "raw.*.hours_since_good_sync",
        _hours,
        "hours since {thing} was last read to its end",
        "`clarity connector test {slug} {thing}` says what is wrong, then `clarity run {slug}`",
        "warning",
    ),
    Rule(
        "raw.*.arrived",
        _arrived,
        "{thing}, without which nothing is published, was read to its end (1) or not (0)",
        "`clarity connector test {slug} {thing}` says what is wrong, then `clarity run {slug}`",
    ),
    Rule("canonical.*.count", _count, "{thing} known", _LOOK_AT_SOURCE),
    Rule(
        "canonical.activities.last_28_days",
        _recent,
        "activities in the 28 days until the day of the scores",
        _LOOK_AT_SOURCE,
    ),
    Rule("canonical.*.*_null_share", _null_share, "share of {thing} without {what}", _LOOK_AT_MAPPING),
    Rule(
        "canonical.*.impossible_share",
        _impossible,
        "share of {thing} with a number or a day that can't be",
        _LOOK_AT_MAPPING,
    ),
    Rule(
        "candidates.rows.*", _none, "{what}", "the rows are in quality.failures, run_id {run}; this is a fault of ours"
    ),
    Rule("candidates.*.mean", _shift(lambda q: q.max_mean_shift), "mean score, {thing}", _LOOK_AT_SCORES),
    Rule("candidates.*.spread", _spread, "how far scores lie from their mean, {thing}", _LOOK_AT_SCORES),
    Rule(
        "candidates.*.*_share",
        _shift(lambda q: q.max_tier_share_shift),
        "share that is {what}, {thing}",
        _LOOK_AT_SCORES,
    ),
    Rule("candidates.*.count", _count, "scores of the kind {thing}", _LOOK_AT_SOURCE),
)


def expectations(known: Known, *, slug: str, run_id: str, reasons: Mapping[str, str]) -> Iterator[Expectation]:
    """One for each metric that anything is expected of. `reasons` words what a check of single rows found."""
    for name in sorted(known.metrics):
        rule = next((rule for rule in RULES if fnmatchcase(name, rule.metric)), None)
        if rule is None or (name.endswith(".arrived") and not _is_required(name, known)):
            continue
        _, thing, what = name.split(".")
        words = {
            "slug": slug,
            "run": run_id,
            "thing": thing,
            "what": reasons.get(name) or re.sub("_(null_)?share$", "", what).replace("_", " "),
        }
        weight = "breach" if what == "hours_since_good_sync" and _is_required(name, known) else rule.weight
        yield Expectation(
            name, *rule.bounds(name, known), weight, rule.sentence.format(**words), rule.remedy.format(**words)
        )
