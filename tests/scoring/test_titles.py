import pytest

from scoring.titles import title_weight


@pytest.mark.parametrize(
    ("title", "weight"),
    [
        ("CEO", 1.5),
        ("Chief Information Security Officer", 1.5),
        ("Founder & CTO", 1.5),
        ("co-founder", 1.5),
        ("President", 1.5),
        ("SVP, Sales", 1.5),
        ("Vice-President of Marketing", 1.5),
        ("Managing Director", 1.5),
        ("Director of Engineering", 1.3),
        ("Assistant Director", 1.3),
        ("Product Manager", 1.1),
        ("Assistant to the Director", 1.0),
        ("Executive Assistant to the CEO", 1.0),
        ("Intern, Office of the President", 1.0),
        ("Directory Services Engineer", 1.0),
        ("Software Engineer", 1.0),
        ("", 1.0),
    ],
)
def test_a_title_weighs_what_its_rank_does(title: str, weight: float) -> None:
    assert title_weight(title) == weight
