"""The formulas of scoring, one thing at a time, written to be read. The engine must give the same numbers.

Nothing is shared with the engine but the configurations and the weight of a title.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, get_args

from scoring.configs import BuyingRole, CombinedConfig, Configs, EngagementConfig, FitConfig, Range, RoleTemplate
from scoring.titles import title_weight
from tests.scoring.world import Account, Opportunity, Person, Signal, World


@dataclass(frozen=True)
class Score:
    fit: float | None
    engagement: float
    combined: float
    tier: str
    fit_high: bool | None
    engagement_high: bool


def to_a_tenth(value: float) -> float:
    """Halves go up, also those that arithmetic left a hair below the half."""
    return math.floor(value * 10 + 0.5 + 1e-7) / 10


def clamp(value: float, lowest: float, highest: float) -> float:
    return max(lowest, min(highest, value))


# --- fit -------------------------------------------------------------------------------------------------------------


def range_match(value: float | None, ideal: Range) -> float | None:
    """100 inside the range; outside, less in proportion to the distance. None for an unknown value."""
    if value is None or value < 0:
        return None
    if ideal.min is not None and value < ideal.min:
        return max(0.0, 100 - (ideal.min - value) / ideal.min * 100)
    if ideal.max is not None and value > ideal.max:
        return max(0.0, 100 - (value - ideal.max) / ideal.max * 100) if ideal.max > 0 else 0.0
    return 100.0


def spelt(value: Any) -> str:
    """Case and blanks do not matter, and 5.0 is 5. Nothing is spelt with no letters."""
    if value is None:
        return ""
    return str(int(value) if isinstance(value, float) and value == int(value) else value).strip().casefold()


def list_match(value: Any, wanted: Sequence[object]) -> float | None:
    """100 if the value, or one of several values, is wanted, else 0. None for an unknown value."""
    known = {spelt(one) for one in (value if isinstance(value, list) else [value])} - {""}
    if not known:
        return None
    return 100.0 if known & {spelt(one) for one in wanted} else 0.0


def fit(company: Account | Person, icp: FitConfig) -> tuple[float | None, float]:
    """Score and coverage: the average of the matches by weight, and the share of the weight in play that is known."""
    criteria: list[tuple[float, float | None]] = []
    if icp.industries:
        criteria.append((icp.weights.industry, list_match(company.industry, icp.industries)))
    if icp.employees.min is not None or icp.employees.max is not None:
        criteria.append((icp.weights.size, range_match(company.employee_count, icp.employees)))
    if icp.revenue.min is not None or icp.revenue.max is not None:
        criteria.append((icp.weights.revenue, range_match(company.annual_revenue, icp.revenue)))
    custom_fields = company.custom or {} if isinstance(company, Account) else {}
    custom = [one for one in icp.custom if one.values]
    for one in custom:
        if one.weight > 0:
            weight = icp.weights.custom * one.weight / sum(other.weight for other in custom)
            criteria.append((weight, list_match(custom_fields.get(one.field), one.values)))

    in_play = sum(weight for weight, _ in criteria)
    known = sum(weight for weight, match in criteria if match is not None)
    if known == 0:
        return None, 0.0
    earned = sum(weight * match for weight, match in criteria if match is not None)
    return earned / (known if icp.missing == "exclude" else in_play), known / in_play


# --- engagement ------------------------------------------------------------------------------------------------------


def daily_points(signal: str, count: int, day: date, as_of: date, config: EngagementConfig) -> float:
    """What one kind of signal on one day is worth now."""
    kind = config.signals.get(signal, config.unknown)
    half_life = kind.half_life_days or config.half_life_days
    age = (as_of - day).days
    if age < 0 or age >= max(365, math.ceil(5 * half_life)):
        return 0.0
    counted = clamp(count, 0, kind.daily_cap)
    return float(counted * kind.quality * kind.weight * 2 ** (-age / half_life))


def engagement(signals: Sequence[Signal], config: EngagementConfig, as_of: date) -> float:
    """The engagement of one person, given all their signals."""
    counts: dict[tuple[str, date], int] = defaultdict(int)
    for one in signals:
        counts[one.signal, one.day] += 0 if one.is_bot else one.count

    by_channel: dict[str, float] = defaultdict(float)
    negative = 0.0
    for (signal, day), count in sorted(counts.items()):
        points = daily_points(signal, count, day, as_of, config)
        if points >= 0:
            by_channel[config.signals.get(signal, config.unknown).channel] += points
        else:
            negative -= points
    positive = sum(min(points, config.channel_caps.get(channel, math.inf)) for channel, points in by_channel.items())
    return 100 * (1 - math.exp(-max(0.0, positive - negative) / config.saturation))


# --- rollup ----------------------------------------------------------------------------------------------------------


def champion(scores: Sequence[float], company: float) -> float:
    """The company may follow, it never leads."""
    ranked = sorted(scores, reverse=True)
    if len(ranked) == 1 and not company:
        return ranked[0]
    followers = sorted([*ranked[1:], *([company] if company else [])], reverse=True)[:4]
    return sum(ranked[:1]) * 0.6 + (sum(followers) / len(followers) * 0.4 if followers else 0.0)


def weighted_average(scores: Sequence[float], titles: Sequence[str | None], company: float) -> float:
    weighted = [(score, title_weight(title or "")) for score, title in zip(scores, titles, strict=True)]
    weighted += [(company, 1.0)] if company else []
    return (
        sum(score * weight for score, weight in weighted) / sum(weight for _, weight in weighted) if weighted else 0.0
    )


def max_breadth(scores: Sequence[float], company: float) -> float:
    active = sum(to_a_tenth(score) >= 10 for score in [*scores, company])
    return max(scores, default=0.0) * (0.7 + 0.3 * min(1.0, active / 5))


def rollup(method: str, people: Sequence[Person], engagements: dict[str, float], company: float) -> float:
    """What the company did without a person counts where it adds, and is left out where it would take."""
    scores = [engagements[person.person_id] for person in people]
    titles = [person.title for person in people]

    def rolled(company: float) -> float:
        if method == "champion":
            return champion(scores, company)
        if method == "weighted_average":
            return weighted_average(scores, titles, company)
        return max_breadth(scores, company)

    return max(rolled(0.0), rolled(company))


def velocity(opportunity: Opportunity, config: EngagementConfig) -> float:
    days = opportunity.days_in_stage
    if opportunity.is_closed or days is None:
        return 0.0
    return clamp(config.velocity.expected_days / max(days, 1) - 1, -1, 1) * config.velocity.weight * 100


# --- tier ------------------------------------------------------------------------------------------------------------


def combined(fit_score: float | None, engagement_score: float, config: CombinedConfig) -> float:
    if fit_score is None:
        return engagement_score
    weights = config.fit_weight + config.engagement_weight
    return (fit_score * config.fit_weight + engagement_score * config.engagement_weight) / weights


def is_high(score: float, threshold: float, hysteresis: float, was_high: bool | None) -> bool:
    if was_high is None:
        return to_a_tenth(score) >= threshold
    return to_a_tenth(score) >= (threshold - hysteresis if was_high else threshold + hysteresis)


def is_fit_high(score: float, coverage: float, was_high: bool | None, config: CombinedConfig) -> bool:
    if coverage < config.minimum_coverage and was_high is not True:
        return False
    return is_high(score, config.fit_threshold, config.hysteresis, was_high)


def tier(combined_score: float, fit_high: bool, engagement_high: bool, config: CombinedConfig) -> str:
    if config.tier_mode == "matrix":
        return {(True, True): "hot", (False, True): "warm", (True, False): "cool"}.get(
            (fit_high, engagement_high), "cold"
        )
    for name in ("hot", "warm", "cool"):
        if to_a_tenth(combined_score) >= getattr(config.bands, name):
            return name
    return "cold"


# --- everything ------------------------------------------------------------------------------------------------------


def score_all(world: World, configs: Configs, as_of: date) -> dict[tuple[str, str], Score]:
    accounts = {account.account_id: account for account in world.accounts}
    people = {person.person_id: person for person in world.people}
    previous = {(one.entity_type, one.entity_id): one for one in world.previous}
    settings = configs.engagement

    engagements = {
        person_id: engagement([one for one in world.signals if one.person_id == person_id], settings, as_of)
        for person_id in people
    }
    companies = {
        account_id: engagement(
            [
                Signal(one.account_id, one.signal, one.day, one.count)
                for one in world.company_signals
                if one.account_id == account_id
            ],
            settings,
            as_of,
        )
        for account_id in accounts
    }
    team: dict[str | None, list[Person]] = defaultdict(list)
    for person in world.people:
        team[person.account_id if person.account_id in accounts else None].append(person)
    fits = {account_id: fit(account, configs.fit) for account_id, account in accounts.items()}

    def score(entity_type: str, entity_id: str, its_fit: tuple[float | None, float], its_engagement: float) -> Score:
        before = previous.get((entity_type, entity_id))
        fit_score, coverage = its_fit
        high_fit = (
            None
            if fit_score is None
            else is_fit_high(fit_score, coverage, before.fit_high if before else None, configs.combined)
        )
        high_engagement = is_high(
            its_engagement,
            configs.combined.engagement_threshold,
            configs.combined.hysteresis,
            before.engagement_high if before else None,
        )
        whole = combined(fit_score, its_engagement, configs.combined)
        return Score(
            fit=None if fit_score is None else to_a_tenth(fit_score),
            engagement=to_a_tenth(its_engagement),
            combined=to_a_tenth(whole),
            tier=tier(whole, high_fit is True, high_engagement, configs.combined),
            fit_high=high_fit,
            engagement_high=high_engagement,
        )

    scores: dict[tuple[str, str], Score] = {}
    for account_id in accounts:
        together = rollup(settings.account_rollup, team[account_id], engagements, companies[account_id])
        scores["account", account_id] = score("account", account_id, fits[account_id], together)
    for person_id, person in people.items():
        own = fits[person.account_id] if person.account_id in fits else fit(person, configs.fit)
        scores["person", person_id] = score("person", person_id, own, engagements[person_id])
    for one in world.opportunities:
        contacts = {
            contact.person_id
            for contact in world.opportunity_contacts
            if contact.opportunity_id == one.opportunity_id and contact.person_id in people
        }
        known_account = one.account_id is not None and one.account_id in accounts
        involved = [people[person_id] for person_id in sorted(contacts)] or (
            team[one.account_id] if known_account else []
        )
        company = companies.get(one.account_id or "", 0.0) if not contacts else 0.0
        together = rollup(settings.opportunity_rollup, involved, engagements, company) + velocity(one, settings)
        its_fit = fits.get(one.account_id or "", (None, 0.0))
        scores["opportunity", one.opportunity_id] = score(
            "opportunity", one.opportunity_id, its_fit, clamp(together, 0, 100)
        )
    return scores


# --- buying groups ---------------------------------------------------------------------------------------------------

BELIEVED = {"contact_role": 0.9, "title": 0.6, "delivrai": 0.5, "engagement": 0.3}


def role(evidence: Sequence[tuple[str, str, float]]) -> tuple[str, float]:
    """The role that evidence (kind, role, confidence) speaks for, and how far it is believed."""
    best, most = "unknown", 0.0
    for candidate in get_args(BuyingRole):
        doubt = 1.0
        for kind, weight in BELIEVED.items():
            told = [confidence for of_kind, role, confidence in evidence if (of_kind, role) == (kind, candidate)]
            doubt *= 1 - weight * max(told, default=0.0)
        belief = round(1 - doubt, 9)
        if belief > most:
            best, most = candidate, belief
    return (best if most > 0.3 else "unknown"), most


def completeness(members: Sequence[tuple[str, float]], template: RoleTemplate) -> float:
    """How much of the required weight is covered by members (role, confidence), each role by its surest."""
    required = [one for one in template.roles if one.required]
    covered = sum(
        one.weight * max((confidence for role, confidence in members if role == one.role), default=0.0)
        for one in required
    )
    return 100 * covered / sum(one.weight for one in required)
