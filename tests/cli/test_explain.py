"""`clarity explain` and `clarity group`: what a salesperson reads, and what is said to whoever mistypes."""

import json
from typing import Any

import psycopg
import pytest
import typer
from typer.testing import CliRunner

from benchmarks import score_world
from benchmarks.score_world import AS_OF, World
from cli import explain, main
from cli.groups import group_app
from steps import publish, score
from tests.conftest import Tenant
from warehouse import database, lease
from warehouse.errors import ClarityError

app = typer.Typer()
app.callback()(main.options)
explain.register(app)
app.add_typer(group_app, name="group")


@pytest.fixture(scope="module")
def admin(platform: object) -> Any:
    with database.connect(database.admin_conninfo(), autocommit=True) as connection:
        yield connection


@pytest.fixture
def acme(tenant: Tenant, admin: psycopg.Connection) -> str:
    """Scored, but for a person who came since."""
    score_world.fill(admin, tenant.id, World(100))
    with lease.hold(tenant.id, "tests", stage="score") as held:
        score.run(tenant.id, "run", held.fence, AS_OF)
        publish.run(tenant.id, "run", held.fence)
    admin.execute(
        "insert into canonical.people (id, tenant_id, first_name, external_id) values ('new', %s, 'Nell', 'files:n-1')",
        [tenant.id],
    )
    return tenant.slug


def ask(*words: str) -> str:
    done = CliRunner().invoke(app, list(words))
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.stdout


def test_a_score_is_explained_by_what_it_is_made_of(acme: str) -> None:
    found = json.loads(ask("--json", "explain", acme, "account", "company-3.example"))
    parts = found["score_breakdown"]["engagement"]["parts"]
    assert sum(part["points"] for part in parts) == pytest.approx(found["score_breakdown"]["engagement"]["score"])
    screen = ask("explain", acme, "account", "company-3.example")
    assert f"Company 3: {found['tier']}, {found['combined_score']:.1f} of 100" in screen
    assert found["score_breakdown"]["because"] in screen
    assert found["score_breakdown"]["to_be_hot"] in screen
    # people by name, never by id
    assert "First" in screen
    assert parts[0]["person_id"] not in screen


@pytest.mark.parametrize("named", ["p7", "PERSON7@company.example"])
def test_a_person_is_found_by_the_sources_id_and_by_address(acme: str, named: str) -> None:
    assert ask("explain", acme, "person", named).startswith("First7 Last7: ")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("nowhere", "person", "p7"), "there is no tenant 'nowhere'"),
        (("{}", "planet", "p7"), "there are account, person, opportunity"),
        (("{}", "person", "p777"), "write our id, the source's id or the e-mail address"),
        (("{}", "account", "a777"), "write our id, the source's id or the domain"),
        (("{}", "person", "n-1"), "Nell has no score yet: `clarity run {}` makes one"),
    ],
)
def test_whoever_mistypes_is_told_what_to_write(acme: str, words: tuple[str, ...], sentence: str) -> None:
    with pytest.raises(ClarityError) as refused:
        ask("explain", *(word.format(acme) for word in words))
    assert sentence.format(acme) in str(refused.value)


def test_a_group_is_shown_and_its_roles_confirmed_and_withdrawn(acme: str) -> None:
    group = json.loads(ask("--json", "group", "show", acme, "a3"))["groups"][0]
    member = group["members"][0]
    assert member["name"] in ask("group", "show", acme, group["id"])
    words = (acme, group["id"], member["id"])
    assert ask("group", "confirm", *words, "legal_procurement").endswith(
        "is legal procurement; completeness counts it from the next run on.\n"
    )
    assert "was already" in ask("group", "confirm", *words, "legal_procurement")
    assert "confirmed  " + member["name"] in ask("group", "show", acme, "a3")
    assert ask("group", "withdraw", *words) == "The next run decides by evidence again.\n"
    with pytest.raises(ClarityError, match="there is no role 'boss'; there are champion"):
        ask("group", "confirm", *words, "boss")
    with pytest.raises(ClarityError, match="there is no person 'nobody' here"):
        ask("group", "confirm", acme, "a3", "nobody", "coach")
