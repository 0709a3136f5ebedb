from datetime import timedelta

from scoring.configs import read_configs
from scoring.engine import score_all
from scoring.story import told
from tests.scoring.strategies import AS_OF
from tests.scoring.world import Account, Opportunity, Person, Signal, World

ACME = World(
    accounts=(Account("a", None, 1500, 5_000_000.0),),
    people=(Person("p", "a", "CFO"), Person("q", "a"), Person("nobody")),
    signals=(
        Signal("p", "demo_request", AS_OF, 3),
        Signal("p", "unsubscribe", AS_OF - timedelta(days=30)),
        Signal("q", "webinar", AS_OF),
    ),
    opportunities=(Opportunity("o", "a", days_in_stage=20),),
)
TABLE = score_all(ACME.inputs(), read_configs({"fit": {"industries": ["Software"]}}), AS_OF)


def lines(entity_id: str) -> list[str]:
    row = TABLE[TABLE["entity_id"] == entity_id].iloc[0].to_dict()
    return told(row, "Acme", {"p": "Ann Lee"})


def test_an_account_is_told_so_that_its_salesperson_understands() -> None:
    assert lines("a") == [
        "Acme: cool, 56.2 of 100",
        "",
        "Cool because fit is high at 75.0 (revenue 5m in the ideal range, 1500 employees above 1000) while engagement"
        " is low at 37.4 (1 of 2 people active).",
        "To become hot, engagement must reach 60 (now 37.4), through more activity of its people.",
        "",
        "Fit 75.0 (62% of the profile is known)",
        "       ?  industry unknown",
        "   +25.0  1500 employees above 1000",
        "   +50.0  revenue 5m in the ideal range",
        "",
        "Engagement 37.4",
        "   +34.8  Ann Lee",
        "    +2.6  q",
    ]


def test_a_person_is_told_by_what_they_did() -> None:
    assert lines("p")[-3:] == [
        "Engagement 58.0",
        "   +63.2  3 demo requests, last on 2026-03-10",
        "    -5.2  1 unsubscribe, last on 2026-02-08",
    ]
    assert lines("q")[-1] == "    +6.4  1 x webinar, last on 2026-03-10"


def test_who_did_nothing_and_fits_nothing_is_told_too() -> None:
    *_, last_unknown, _, engagement = lines("nobody")
    assert last_unknown == "       ?  revenue unknown"
    assert engagement == "Engagement 0.0 (nothing yet)"
    assert lines("nobody")[5] == "Fit unknown (nothing of the profile is known)"


def test_the_pace_of_an_opportunity_is_told() -> None:
    assert lines("o")[-1] == "    +5.0  its pace, quicker than expected"
