"""Random configurations, tenants and histories."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

from hypothesis import strategies as st

from scoring.configs import DEFAULT_SIGNALS, Configs, read_configs
from tests.scoring.world import Account, CompanySignal, Contact, Opportunity, Person, Previous, Signal, World

AS_OF = date(2026, 3, 10)
GOOD = sorted(name for name, kind in DEFAULT_SIGNALS.items() if kind.quality > 0)

_industries = st.sampled_from([None, "", "Software", "SOFTWARE ", "Mining", "Gesundheit"])
_employees = st.none() | st.integers(-5, 5000) | st.sampled_from([50.0, 1000.0, 1e9])
_revenues = st.none() | st.floats(-1e6, 1e12, allow_nan=False) | st.sampled_from([0.0, 1e6, 1e8])
_customs = st.none() | st.dictionaries(
    st.sampled_from(["region", "plan"]), st.sampled_from([None, "EMEA", "pro", "free"])
)
_titles = st.sampled_from([None, "", "CEO", "VP Sales", "Director", "Assistant to the Director", "Manager", "Engineer"])
_days = st.integers(-3, 800).map(lambda age: AS_OF - timedelta(days=age))
_recent_days = st.integers(0, 60).map(lambda age: AS_OF - timedelta(days=age))
_states = st.sampled_from([None, True, False])


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


def signals(people: list[str], names: list[str] | None = None, recent: bool = False) -> st.SearchStrategy[list[Signal]]:
    """Real histories repeat a person, a signal and a day, and correct themselves."""
    return st.lists(
        st.builds(
            Signal,
            person_id=st.sampled_from(people),
            signal=st.sampled_from(names or [*sorted(DEFAULT_SIGNALS), "webinar", 'Ünknown "x"']),
            day=_recent_days if recent else _days | st.sampled_from([AS_OF, AS_OF - timedelta(days=364)]),
            count=st.integers(1, 9) if names else st.integers(-4, 9),
            is_bot=st.just(False) if names else st.sampled_from([False, False, False, True]),
        ),
        max_size=20,
    )


@st.composite
def worlds(draw: st.DrawFn) -> World:
    account_ids = [f"a{number}" for number in range(draw(st.integers(0, 4)))]
    person_ids = [f"p{number}" for number in range(draw(st.integers(0, 9)))]
    opportunity_ids = [f"o{number}" for number in range(draw(st.integers(0, 4)))]
    some_account = st.sampled_from([None, "gone", *account_ids])
    some_person = ["stranger", *person_ids]
    entities = [("account", one) for one in account_ids] + [("person", one) for one in person_ids]
    entities += [("opportunity", one) for one in opportunity_ids]
    return World(
        accounts=tuple(
            draw(st.builds(Account, st.just(one), _industries, _employees, _revenues, _customs)) for one in account_ids
        ),
        people=tuple(
            draw(st.builds(Person, st.just(one), some_account, _titles, _industries, _employees, _revenues))
            for one in person_ids
        ),
        signals=tuple(draw(signals(some_person))),
        opportunities=tuple(
            draw(st.builds(Opportunity, st.just(one), some_account, st.booleans(), st.none() | st.floats(-5, 500)))
            for one in opportunity_ids
        ),
        opportunity_contacts=tuple(
            draw(
                st.lists(
                    st.builds(Contact, st.sampled_from(["gone", *opportunity_ids]), st.sampled_from(some_person)),
                    max_size=8,
                )
            )
        ),
        company_signals=tuple(
            draw(
                st.lists(
                    st.builds(
                        CompanySignal,
                        account_id=st.sampled_from(["gone", *account_ids]),
                        signal=st.sampled_from(["intent_signal", "page_view", "unsubscribe"]),
                        day=_recent_days,
                        count=st.integers(-1, 9),
                    ),
                    max_size=6,
                )
            )
        ),
        previous=tuple(Previous(*entity, draw(_states), draw(_states)) for entity in entities if draw(st.booleans())),
    )
