import pytest

from scoring.titles import Title, read_title, title_weight
from tests.scoring.read_titles import LEVELS, accuracy, confusion, half, labelled


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


@pytest.mark.parametrize(
    ("title", "level", "department"),
    [
        ("Geschäftsführerin", "c_level", "executive"),
        ("Leiter Einkauf", "director", "procurement"),
        ("Einkaufsleiterin", "director", "procurement"),
        ("Teamleiter Vertrieb", "manager", "sales"),
        ("Assistenz der Geschäftsführung", "entry", None),
        ("Geschäftsführungsassistentin", "entry", None),
        ("Directrice des ressources humaines", "director", "hr"),
        ("DRH", "director", "hr"),
        ("Président-directeur général", "c_level", "executive"),
        ("Responsable achats", "manager", "procurement"),
        ("Assistante de direction", "entry", None),
        ("Directora de Recursos Humanos", "director", "hr"),
        ("Consejera Delegada", "c_level", "executive"),
        ("Jefa de Compras (México)", "manager", "procurement"),
        ("Becario de marketing", "entry", "marketing"),
        ("Head of IT Security", "director", "it"),
        ("Advisor to the CEO", "specialist", None),
        ("Company Secretary", "specialist", None),
    ],
)
def test_titles_are_read_in_four_languages(title: str, level: str, department: str | None) -> None:
    found = read_title(title)
    assert (found.level, found.department) == (level, department)


def test_a_title_may_hold_several_departments_and_roles() -> None:
    assert read_title("VP Sales & Marketing") == Title("vp", ("sales", "marketing"), (("economic_buyer", 0.9),))
    founder = read_title("Founder & CTO")
    assert founder.departments == ("executive", "it")
    assert [role for role, _ in founder.roles] == ["economic_buyer", "technical_evaluator"]
    assert founder.role == "economic_buyer"


def test_there_are_enough_real_titles() -> None:
    rows = labelled("titles.csv") + labelled("titles_later.csv")
    assert len({row["title"] for row in rows}) == len(rows) == 488
    assert {row["level"] for row in rows} == set(LEVELS)
    assert len(half(1)) == 161


@pytest.mark.parametrize("later", [False, True], ids=["the unseen half", "the later titles"])
def test_titles_that_no_rule_was_written_for_are_read(later: bool) -> None:
    rows = labelled("titles_later.csv") if later else half(1)
    found = accuracy(rows)
    assert found["level"] >= 0.93, confusion(rows, "level", LEVELS)
    assert found["department"] >= 0.85
    assert found["role"] >= 0.85
