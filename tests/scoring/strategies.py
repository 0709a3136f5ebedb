"""Random configurations, tenants and histories."""

from __future__ import annotations

import random
from datetime import date, timedelta
from typing import Any

from hypothesis import strategies as st

from scoring.configs import DEFAULT_SIGNALS, Configs, read_configs
from tests.scoring.world import Account, CompanySignal, Contact, Opportunity, Person, Previous, Signal, World

AS_OF = date(2026, 3, 10)
GOOD = sorted(name for name, kind in DEFAULT_SIGNALS.items() if kind.quality > 0)

_INDUSTRIES = [None, "", "Software", "SOFTWARE ", "Mining", "Gesundheit"]
_TITLES = [None, "", "CEO", "VP Sales", "Director", "Assistant to the Director", "Manager", "Engineer"]
_STATES = [None, True, False]


def _range(highest: float) -> st.SearchStrategy[dict[str, float]]:
    bounds = st.lists(st.floats(0, highest), min_size=2, max_size=2).map(sorted)
    ends = st.sampled_from([("min", "max"), ("min",), ("max",), ()])
    return st.builds(lambda pair, kept: {end: pair[end == "max"] for end in kept}, bounds, ends)


_weights = st.sampled_from([0.0, 1.0, 20.0, 25.0, 30.0]) | st.floats(0.01, 1000)

_signal_settings = st.fixed_dictionaries(
    {},
    optional={
        "quality": st.floats(-1, 1),
        "weight": st.floats(0, 10),
        "daily_cap": st.integers(0, 20),
        "half_life_days": st.none() | st.floats(0.1, 400),
        "channel": st.sampled_from(["email", "web", "ads", "other"]),
    },
)


def _field(criterion: Any) -> str:
    return str(criterion["field"])


_fit_configs = st.fixed_dictionaries(
    {},
    optional={
        "weights": st.fixed_dictionaries(
            {}, optional=dict.fromkeys(["industry", "size", "revenue", "custom"], _weights)
        ),
        "industries": st.lists(st.sampled_from(["software", "Health", " mining"]), max_size=3),
        "employees": _range(10_000),
        "revenue": _range(1e10),
        "custom": st.lists(
            st.fixed_dictionaries(
                {
                    "field": st.sampled_from(["region", "plan"]),
                    "values": st.lists(st.sampled_from(["emea", "Pro"]), max_size=2),
                    "weight": _weights,
                }
            ),
            max_size=2,
            unique_by=_field,
        ),
        "missing": st.sampled_from(["exclude", "zero"]),
    },
)

_engagement_configs = st.fixed_dictionaries(
    {},
    optional={
        "half_life_days": st.floats(0.1, 400),
        "saturation": st.floats(0.01, 100),
        "unknown": _signal_settings,
        "signals": st.dictionaries(
            st.sampled_from([*sorted(DEFAULT_SIGNALS), "webinar"]), _signal_settings, max_size=4
        ),
        "channel_caps": st.dictionaries(st.sampled_from(["email", "web", "direct", "other"]), st.floats(0, 10)),
        "account_rollup": st.sampled_from(["champion", "weighted_average", "max_breadth"]),
        "opportunity_rollup": st.sampled_from(["champion", "weighted_average", "max_breadth"]),
        "velocity": st.fixed_dictionaries({"expected_days": st.floats(1, 365), "weight": st.floats(0, 1)}),
    },
)

_combined_configs = st.fixed_dictionaries(
    {},
    optional={
        "fit_weight": st.floats(0, 1),
        "engagement_weight": st.floats(0.01, 1),
        "tier_mode": st.sampled_from(["matrix", "threshold"]),
        "fit_threshold": st.integers(30, 70),
        "engagement_threshold": st.integers(30, 70),
        "hysteresis": st.integers(0, 30),
        "minimum_coverage": st.floats(0, 1),
        "bands": st.lists(st.integers(1, 100), min_size=3, max_size=3, unique=True).map(
            lambda cuts: dict(zip(("cool", "warm", "hot"), sorted(cuts), strict=True))
        ),
    },
)


def configs() -> st.SearchStrategy[Configs]:
    stored: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
        {"fit": _fit_configs, "engagement": _engagement_configs, "combined": _combined_configs}
    )
    return stored.map(read_configs)


def signals(people: list[str], names: list[str] | None = None) -> st.SearchStrategy[list[Signal]]:
    """What some people did lately."""

    def history(size: int, seed: int) -> list[Signal]:
        chance = random.Random(seed)
        known = names or sorted(DEFAULT_SIGNALS)
        return [
            Signal(
                chance.choice(people),
                chance.choice(known),
                AS_OF - timedelta(days=chance.randint(0, 60)),
                chance.randint(1, 9),
            )
            for _ in range(size)
        ]

    return st.builds(history, st.integers(0, 20), st.integers(0, 2**32))


def worlds() -> st.SearchStrategy[World]:
    """Hypothesis chooses the sizes, and a seed that fills them: drawing each field apart takes longer than scoring."""
    return st.builds(
        _world,
        accounts=st.integers(0, 4),
        people=st.integers(0, 9),
        opportunities=st.integers(0, 4),
        signals=st.integers(0, 40),
        company_signals=st.integers(0, 6),
        seed=st.integers(0, 2**32),
    )


def _world(accounts: int, people: int, opportunities: int, signals: int, company_signals: int, seed: int) -> World:
    chance = random.Random(seed)
    pick = chance.choice
    account_ids = [f"a{number}" for number in range(accounts)]
    person_ids = [f"p{number}" for number in range(people)]
    opportunity_ids = [f"o{number}" for number in range(opportunities)]
    some_account = [None, "gone", *account_ids]
    some_person = ["stranger", *person_ids]

    def maybe(*values: Any) -> Any:
        return pick([None, *values])

    def company() -> tuple[str | None, float | None, float | None]:
        employees = maybe(chance.randint(-5, 5000), 50.0, 1000.0, 1e9)
        return pick(_INDUSTRIES), employees, maybe(chance.uniform(-1e6, 1e12), chance.uniform(0, 2e8), 0.0, 1e6, 1e8)

    def custom() -> Any:
        known = {"region": maybe("EMEA", "apac", ["EMEA", "apac"]), "plan": maybe("pro", "free")}
        return known if chance.random() < 0.8 else maybe({})

    def signal() -> Signal:
        # Real histories repeat a person, a signal and a day, and correct themselves.
        age = pick([0, 0, 364, 365, chance.randint(-3, 800), chance.randint(0, 60)])
        name = pick([*sorted(DEFAULT_SIGNALS), "webinar", 'Ünknown "x"'])
        return Signal(
            pick(some_person), name, AS_OF - timedelta(days=age), chance.randint(-4, 9), chance.random() < 0.1
        )

    def company_signal() -> CompanySignal:
        name = pick(["intent_signal", "page_view", "unsubscribe"])
        day = AS_OF - timedelta(days=chance.randint(0, 60))
        return CompanySignal(pick(["gone", *account_ids]), name, day, chance.randint(-1, 9))

    entities = [("account", one) for one in account_ids] + [("person", one) for one in person_ids]
    entities += [("opportunity", one) for one in opportunity_ids]
    return World(
        accounts=tuple(Account(one, *company(), custom()) for one in account_ids),
        people=tuple(Person(one, pick(some_account), pick(_TITLES), *company()) for one in person_ids),
        signals=tuple(signal() for _ in range(signals)),
        opportunities=tuple(
            Opportunity(one, pick(some_account), chance.random() < 0.3, maybe(chance.uniform(-5, 500), 0.0, 30.0))
            for one in opportunity_ids
        ),
        opportunity_contacts=tuple(
            Contact(pick(["gone", *opportunity_ids]), pick(some_person)) for _ in range(chance.randint(0, 8))
        ),
        company_signals=tuple(company_signal() for _ in range(company_signals)),
        previous=tuple(Previous(*entity, pick(_STATES), pick(_STATES)) for entity in entities if chance.random() < 0.5),
    )
