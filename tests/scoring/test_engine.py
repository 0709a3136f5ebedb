"""What callers of the engine rely on beyond the numbers."""

from __future__ import annotations

import json
import math
from datetime import date
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest

from scoring.configs import Configs, FitConfig, Range
from scoring.engine import COLUMNS, Inputs, score, score_all
from tests.scoring.world import Account, Person, Signal, World

AS_OF = date(2026, 3, 10)
SMALL = World(
    accounts=(Account("a", "Software", 200, 5_000_000.0),),
    people=(Person("p", "a", "CEO"), Person("q", None)),
    signals=(Signal("p", "demo_request", AS_OF, 2), Signal("q", "page_view", AS_OF, 3)),
)


def test_nothing_in_gives_an_empty_table_with_all_columns() -> None:
    table = score_all(World().inputs(), Configs(), AS_OF)
    assert tuple(table.columns) == COLUMNS
    assert table.empty


def test_rows_come_by_type_and_id() -> None:
    table = score_all(SMALL.inputs(), Configs(), AS_OF)
    assert list(zip(table["entity_type"], table["entity_id"], strict=True)) == [
        ("account", "a"),
        ("person", "p"),
        ("person", "q"),
    ]


def test_an_unknown_fit_is_none_and_never_nan() -> None:
    row = score_all(SMALL.inputs(), Configs(), AS_OF).iloc[2]
    assert row["fit_score"] is None
    assert row["fit_high"] is None


def test_numbers_may_come_as_decimals_days_as_nanoseconds_and_ids_as_categories() -> None:
    plain = SMALL.inputs()
    typed = Inputs(
        accounts=plain.accounts.assign(annual_revenue=pd.Series([Decimal("5000000.00")], dtype=object)).astype(
            {"account_id": "str"}
        ),
        people=plain.people.astype({"person_id": "str"}),
        signals=plain.signals.astype(
            {"day": "datetime64[ns]", "count": "int32", "person_id": "category", "signal": "category"}
        ),
    )
    pd.testing.assert_frame_equal(score_all(typed, Configs(), AS_OF), score_all(plain, Configs(), AS_OF))


def test_days_may_come_as_dates() -> None:
    plain = SMALL.inputs()
    dated = Inputs(plain.accounts, plain.people, plain.signals.assign(day=[one.day for one in SMALL.signals]))
    pd.testing.assert_frame_equal(score_all(dated, Configs(), AS_OF), score_all(plain, Configs(), AS_OF))


def test_signals_without_person_name_day_or_count_count_for_nobody() -> None:
    inputs = SMALL.inputs()
    holes = pd.DataFrame(
        {
            "person_id": [None, "p", "p", "p"],
            "signal": ["demo_request", None, "demo_request", "demo_request"],
            "day": pd.Series([AS_OF, AS_OF, None, AS_OF], dtype="datetime64[s]"),
            "count": [1, 1, 1, None],
        }
    )
    more = Inputs(inputs.accounts, inputs.people, pd.concat([inputs.signals, holes]))
    pd.testing.assert_frame_equal(score_all(more, Configs(), AS_OF), score_all(inputs, Configs(), AS_OF))


def test_reasons_asked_for_some_rows_are_those_of_all_rows() -> None:
    everything = score_all(SMALL.inputs(), Configs(), AS_OF)
    scored = score(SMALL.inputs(), Configs(), AS_OF)
    pd.testing.assert_frame_equal(scored.table, everything.drop(columns="score_breakdown"))
    assert scored.breakdowns(np.array([0, 2])).tolist() == everything["score_breakdown"].iloc[[0, 2]].tolist()


def test_no_number_however_wild_makes_a_score_that_is_none() -> None:
    wild = [math.nan, math.inf, -math.inf, 1e308, -1e308, 5e-324, 0.0, "many", None, Decimal("NaN")]
    everyone = range(len(wild))
    inputs = Inputs(
        accounts=pd.DataFrame(
            {"account_id": [f"a{n}" for n in everyone], "industry": [math.nan, *["x"] * (len(wild) - 1)]}
        ).assign(employee_count=pd.Series(wild, dtype=object), annual_revenue=pd.Series(wild[::-1], dtype=object)),
        people=pd.DataFrame(
            {"person_id": [f"p{n}" for n in everyone], "account_id": [f"a{n}" for n in everyone], "title": math.nan}
        ),
        signals=pd.DataFrame({"person_id": [f"p{n}" for n in everyone], "signal": "demo_request", "day": AS_OF}).assign(
            count=pd.Series(wild, dtype=object)
        ),
        opportunities=pd.DataFrame(
            {"opportunity_id": [f"o{n}" for n in everyone], "account_id": "a0", "is_closed": False}
        ).assign(days_in_stage=pd.Series(wild, dtype=object)),
    )
    tiny = Configs(fit=FitConfig(employees=Range(min=5e-324, max=1e308), revenue=Range(min=1e308)))
    for configs in (Configs(), tiny):
        table = score_all(inputs, configs, AS_OF)
        for column in ("engagement_score", "combined_score"):
            assert table[column].between(0, 100).all()
        assert all(fit is None or 0 <= fit <= 100 for fit in table["fit_score"])
        for text in table["score_breakdown"]:
            json.loads(text, parse_constant=pytest.fail)


def test_the_same_person_twice_is_refused_by_name() -> None:
    inputs = SMALL.inputs()
    with pytest.raises(ValueError, match=r"person_id must be there and unique; twice: \['p'\]"):
        score_all(Inputs(inputs.accounts, inputs.people.iloc[[0, 0]], inputs.signals), Configs(), AS_OF)


def test_only_the_five_most_engaged_people_of_an_account_are_named() -> None:
    crowd = World(
        accounts=(Account("a"),),
        people=tuple(Person(f"p{number}", "a") for number in range(9)),
        signals=tuple(Signal(f"p{number}", "demo_request", AS_OF) for number in range(9)),
    )
    configs = Configs(engagement=Configs().engagement.model_copy(update={"account_rollup": "weighted_average"}))
    text = score_all(crowd.inputs(), configs, AS_OF).iloc[0]["score_breakdown"]
    assert text.count('"person_id"') == 5
    assert '{"part":"others","points":12.59860841894,"people":4}' in text


def test_what_a_tenant_wrote_is_quoted() -> None:
    odd = World(
        accounts=(Account('a "1"', 'Soft"ware\\'),), people=(Person('p "1"', 'a "1"'),),
        signals=(Signal('p "1"', 'sig"nal\n', AS_OF),),
    )  # fmt: skip
    for text in score_all(odd.inputs(), Configs(), AS_OF)["score_breakdown"]:
        assert json.loads(text)["because"]
