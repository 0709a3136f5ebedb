"""What a tenant may decide about scoring, with every default, and errors that name the field."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

Weight = Annotated[float, Field(ge=0, le=1000, allow_inf_nan=False)]
Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Percent = Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)]
RollupMethod = Literal["champion", "weighted_average", "max_breadth"]

BuyingRole = Literal[
    "champion", "economic_buyer", "technical_evaluator", "end_user", "legal_procurement", "coach", "blocker"
]

WINDOW_DAYS = 365
HALF_LIVES_IN_WINDOW = 5


class ConfigError(ValueError):
    """A configuration that can't be used; one line per problem, each opening with the name of the field."""


class _Config(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Range(_Config):
    """The ideal range, bounds included. An open end is None; open at both ends is a criterion left empty."""

    min: Amount | None = None
    max: Amount | None = None

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min ({self.min:g}) must not be above max ({self.max:g})")
        return self

    @property
    def is_empty(self) -> bool:
        return self.min is None and self.max is None


class CustomCriterion(_Config):
    """A field of the account's custom fields whose value should be one of `values`."""

    field: Annotated[str, Field(min_length=1)]
    values: tuple[str | int | float | bool, ...] = ()
    weight: Weight = 1.0


class FitWeights(_Config):
    """Divided by the weights in play, so any sum will do. The custom criteria share `custom` by their own weights."""

    industry: Weight = 30.0
    size: Weight = 25.0
    revenue: Weight = 25.0
    custom: Weight = 20.0


class FitConfig(_Config):
    """The ideal customer profile. What is left empty (no industries, bounds or values, weight 0) is not in play."""

    weights: FitWeights = FitWeights()
    industries: tuple[str, ...] = ()
    employees: Range = Range(min=50, max=1000)
    revenue: Range = Range(min=1_000_000, max=100_000_000)
    custom: tuple[CustomCriterion, ...] = ()
    missing: Literal["exclude", "zero"] = "exclude"

    @field_validator("custom")
    @classmethod
    def _one_criterion_per_field(cls, custom: tuple[CustomCriterion, ...]) -> tuple[CustomCriterion, ...]:
        names = [criterion.field for criterion in custom]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"field {name!r} is listed twice; list all its values in one criterion")
        return custom


class Signal(_Config):
    """What one kind of signal is worth. Quality 0 is not scored; a negative quality takes away."""

    quality: Annotated[float, Field(ge=-1, le=1, allow_inf_nan=False)] = 0.2
    weight: Annotated[float, Field(ge=0, le=10, allow_inf_nan=False)] = 1.0
    daily_cap: Annotated[int, Field(ge=0, le=1000)] = 3
    half_life_days: Annotated[float, Field(gt=0, le=3650, allow_inf_nan=False)] | None = None
    channel: Annotated[str, Field(min_length=1)] = "other"


# One capped channel alone must not make a person high: f(2) = 48.7 stays under the threshold of 50. That is why mail
# threads sit with the other mail, forms and downloads with the page views; a demo, an event, a meeting have no cap.
DEFAULT_SIGNALS: Mapping[str, Signal] = {
    "demo_request": Signal(quality=1.0, channel="direct"),
    "event_attend": Signal(quality=0.9, channel="events"),
    "meeting_attend": Signal(quality=0.9, channel="meetings"),
    "form_fill": Signal(quality=0.8, channel="web"),
    "content_download": Signal(quality=0.7, channel="web"),
    "intent_signal": Signal(quality=0.7, channel="intent"),
    "email_click": Signal(quality=0.6, channel="email"),
    "ad_click": Signal(quality=0.5, channel="ads"),
    "email_thread": Signal(quality=0.5, channel="email"),
    "email_open": Signal(quality=0.4, daily_cap=2, channel="email"),
    "page_view": Signal(quality=0.2, daily_cap=5, channel="web"),
    "email_sent": Signal(quality=0.1, daily_cap=1, channel="email"),
    "meeting_recorded": Signal(quality=0.0, channel="meetings"),
    "unsubscribe": Signal(quality=-0.8, channel="email"),
    "bounce": Signal(quality=-0.4, channel="email"),
    "spam_complaint": Signal(quality=-1.0, channel="email"),
}


class Velocity(_Config):
    """How much an opportunity gains by moving faster than expected through its stage, or loses by standing still."""

    expected_days: Annotated[float, Field(gt=0, le=3650, allow_inf_nan=False)] = 30.0
    weight: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] = 0.1


class EngagementConfig(_Config):
    """How signals become engagement.

    `signals` is laid over the defaults, field by field; a signal that a tenant adds starts as an unknown one.
    A signal that is not listed counts as `unknown`, under its own name. `channel_caps` replaces the default caps.
    """

    half_life_days: Annotated[float, Field(gt=0, le=3650, allow_inf_nan=False)] = 30.0
    saturation: Annotated[float, Field(ge=0.01, le=10_000, allow_inf_nan=False)] = 3.0
    unknown: Signal = Signal()
    signals: dict[str, Signal] = Field(default_factory=lambda: dict(DEFAULT_SIGNALS))
    channel_caps: dict[str, Amount] = Field(default_factory=lambda: {"email": 2.0, "web": 2.0, "ads": 1.0})
    account_rollup: RollupMethod = "champion"
    opportunity_rollup: RollupMethod = "weighted_average"
    velocity: Velocity = Velocity()

    @model_validator(mode="before")
    @classmethod
    def _laid_over_the_defaults(cls, given: Any) -> Any:
        if not isinstance(given, Mapping) or not isinstance(given.get("signals"), Mapping):
            return given
        overrides, unknown = given["signals"], given.get("unknown")
        start = unknown if isinstance(unknown, Mapping) else {}
        merged: dict[str, Any] = dict(DEFAULT_SIGNALS)
        for name, override in overrides.items():
            if isinstance(override, Mapping):
                default = DEFAULT_SIGNALS.get(name)
                merged[name] = {**(default.model_dump() if default else start), **override}
            else:
                merged[name] = override
        return {**given, "signals": merged}

    def signal(self, name: str) -> Signal:
        return self.signals.get(name, self.unknown)

    def half_life(self, signal: Signal) -> float:
        return signal.half_life_days or self.half_life_days

    def window(self, signal: Signal) -> int:
        """How many days count, today included: a year, and at least five half-lives (rounded up to a day)."""
        return max(WINDOW_DAYS, int(-(-HALF_LIVES_IN_WINDOW * self.half_life(signal) // 1)))


class Bands(_Config):
    """Where hot, warm and cool begin in threshold mode; what lies under cool is cold."""

    hot: Percent = 80.0
    warm: Percent = 60.0
    cool: Percent = 40.0

    @model_validator(mode="after")
    def _apart(self) -> Self:
        if not self.hot > self.warm > self.cool > 0:
            raise ValueError(
                f"bands overlap: hot ({self.hot:g}) > warm ({self.warm:g}) > cool ({self.cool:g}) > 0 must hold"
            )
        return self


class CombinedConfig(_Config):
    """How the two sides become one score (weights are divided by their sum) and a tier."""

    fit_weight: Weight = 0.5
    engagement_weight: Weight = 0.5
    tier_mode: Literal["matrix", "threshold"] = "matrix"
    fit_threshold: Percent = 50.0
    engagement_threshold: Percent = 50.0
    hysteresis: Percent = 10.0
    minimum_coverage: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] = 0.5
    bands: Bands = Bands()

    @model_validator(mode="after")
    def _reachable(self) -> Self:
        if self.fit_weight + self.engagement_weight == 0:
            raise ValueError("fit_weight and engagement_weight must not both be 0")
        for side in ("fit", "engagement"):
            threshold: float = getattr(self, f"{side}_threshold")
            low, high = threshold - self.hysteresis, threshold + self.hysteresis
            if low < 0 or high > 100:
                raise ValueError(f"{side}_threshold with hysteresis leaves 0-100: it spans {low:g} to {high:g}")
        return self


class TemplateRole(_Config):
    """A part in a purchase. `required` roles count towards a group's completeness, by their weight."""

    role: BuyingRole
    required: bool = True
    weight: Annotated[float, Field(gt=0, le=1000, allow_inf_nan=False)] = 1.0


class RoleTemplate(_Config):
    """Who belongs in a buying group: for one solution, or (the default) for whatever has no template of its own."""

    name: Annotated[str, Field(min_length=1)] = "Default buying group"
    solution_tag: Annotated[str, Field(min_length=1)] | None = None
    roles: tuple[TemplateRole, ...] = (
        TemplateRole(role="economic_buyer"),
        TemplateRole(role="champion"),
        TemplateRole(role="technical_evaluator", weight=0.8),
        TemplateRole(role="end_user", required=False, weight=0.5),
        TemplateRole(role="legal_procurement", required=False, weight=0.5),
    )
    is_default: bool = False

    @field_validator("roles")
    @classmethod
    def _each_once(cls, roles: tuple[TemplateRole, ...]) -> tuple[TemplateRole, ...]:
        if not roles:
            raise ValueError("name at least one role")
        names = [role.role for role in roles]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"{name} is listed twice")
        return roles


@dataclass(frozen=True)
class Configs:
    """The three configurations that one scoring run uses together."""

    fit: FitConfig = field(default_factory=FitConfig)
    engagement: EngagementConfig = field(default_factory=EngagementConfig)
    combined: CombinedConfig = field(default_factory=CombinedConfig)


_MODELS: Mapping[str, type[_Config]] = {"fit": FitConfig, "engagement": EngagementConfig, "combined": CombinedConfig}


def read_configs(stored: Mapping[str, Any]) -> Configs:
    """The configurations kept under `fit`, `engagement` and `combined`; one that is absent has its defaults.

    Raises ConfigError, which names every field that is wrong.
    """
    problems = [f"{kind}: no such configuration, only {', '.join(_MODELS)}" for kind in stored if kind not in _MODELS]
    models: dict[str, Any] = {}
    for kind, model in _MODELS.items():
        try:
            models[kind] = model.model_validate(stored.get(kind, {}))
        except ValidationError as error:
            problems += [_sentence(kind, detail) for detail in error.errors()]
    if problems:
        raise ConfigError("\n".join(problems))
    return Configs(**models)


def read_template(stored: Mapping[str, Any]) -> RoleTemplate:
    """A role template. Raises ConfigError, which names every field that is wrong."""
    try:
        return RoleTemplate.model_validate(stored)
    except ValidationError as error:
        raise ConfigError("\n".join(_sentence("template", detail) for detail in error.errors())) from None


def _sentence(kind: str, detail: Any) -> str:
    place = ".".join(str(step) for step in (kind, *detail["loc"]))
    return f"{place}: {detail['msg'].removeprefix('Value error, ')}"


def default_configs() -> dict[str, dict[str, Any]]:
    """The three configurations of a new tenant, as they are stored."""
    return {kind: model().model_dump(mode="json") for kind, model in _MODELS.items()}
