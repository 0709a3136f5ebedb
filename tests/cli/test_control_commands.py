"""Configurations, mappings, templates, writeback, members: typed as people type them, right and wrong."""

import json
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from cli import main
from cli.bi_users import bi_app
from cli.configs import config_app
from cli.mappings import mapping_app
from cli.members import member_app
from cli.templates import template_app
from cli.writeback_configs import writeback_config_app
from steps import provision
from tests.conftest import Tenant
from warehouse.errors import ClarityError

GROUPS = {
    "config": config_app,
    "mapping": mapping_app,
    "template": template_app,
    "writeback-config": writeback_config_app,
    "member": member_app,
    "bi-user": bi_app,
}
app = typer.Typer()
app.callback()(main.options)
for name, group in GROUPS.items():
    app.add_typer(group, name=name)


@pytest.fixture
def acme(tenant: Tenant, tmp_path: Path) -> str:
    provision.add_connector(tenant.id, "files", {"folder": str(tmp_path)}, actor="system:tests")
    return tenant.slug


def ask(*words: str) -> str:
    done = CliRunner().invoke(app, list(words))
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.stdout


def answer(*words: str) -> Any:
    return json.loads(ask("--json", *words))


def test_what_is_shown_can_be_set_again_and_rolled_back(acme: str, tmp_path: Path) -> None:
    file = tmp_path / "content.json"

    file.write_text(ask("config", "show", acme, "fit"))
    assert answer("config", "set", acme, "fit", str(file)) == {"type": "fit", "version": 1}
    file.write_text('{"industries": ["Software"]}')
    assert answer("config", "set", acme, "fit", str(file))["version"] == 2
    assert answer("config", "rollback", acme, "fit", "1")["version"] == 3
    assert [row["in force"] for row in answer("config", "versions", acme, "fit")] == ["", "", "yes"]
    assert answer("config", "show", acme)["score_version"] == 3

    mapping = (acme, "files", "people")
    file.write_text(ask("mapping", "show", *mapping))
    assert answer("mapping", "set", *mapping, str(file))["version"] == 2
    assert answer("mapping", "show", *mapping)["is_default"] is False
    assert answer("mapping", "reset", *mapping) == {"version": 3, "changed": True}
    assert ask("mapping", "reset", *mapping) == "The mapping of files people was like that already.\n"
    assert answer("mapping", "rollback", *mapping, "2")["version"] == 4
    assert len(answer("mapping", "versions", *mapping)) == 4

    file.write_text(ask("template", "show", acme))
    assert answer("template", "set", acme, str(file)) == {"version": 1, "changed": False}
    file.write_text(json.dumps({"name": "Mine", "roles": [{"role": "coach", "required": True, "weight": 1}]}))
    assert ask("template", "set", acme, str(file)) == "The template Mine is at version 1.\n"
    assert not answer("template", "rollback", acme, "Mine", "1")["changed"]
    assert len(answer("template", "versions", acme, "Mine")) == 1

    writeback = (acme, "files", "accounts")
    file.write_text(json.dumps({"field_map": [{"canonicalField": "tier", "targetField": "Tier"}]}))
    assert answer("writeback-config", "set", *writeback, str(file))["version"] == 1
    assert answer("writeback-config", "show", acme)["writeback_configs"][0]["policies"] == {"Tier": "ask"}
    assert not answer("writeback-config", "rollback", *writeback, "1")["changed"]
    assert len(answer("writeback-config", "versions", *writeback)) == 1
    assert answer("writeback-config", "disable", *writeback) == {"enabled": False, "changed": False}


def test_members_act_under_their_own_name(acme: str) -> None:
    assert answer("member", "add", acme, "ann", "--role", "admin")["changed"]
    assert answer("--actor", "ann", "member", "add", acme, "bob", "--role", "viewer")["changed"]
    assert [(row["user"], row["role"]) for row in answer("--actor", "bob", "member", "list", acme)] == [
        ("ann", "admin"),
        ("bob", "viewer"),
    ]
    login = answer("--actor", "ann", "bi-user", "add", acme, "--member", "bob")["login"]
    assert answer("--actor", "bob", "bi-user", "list", acme) == [{"login": login}]
    assert answer("--actor", "ann", "member", "remove", acme, "bob") == {"removed": "bob"}
    assert answer("bi-user", "list", acme) == []
    with pytest.raises(ClarityError, match="bob is no member of this tenant"):
        ask("--actor", "bob", "bi-user", "list", acme)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["config", "show", "{slug}", "speed"], "there is no configuration 'speed'"),
        (["config", "versions", "{slug}", "speed"], "there is no configuration 'speed'"),
        (["config", "rollback", "{slug}", "fit", "9"], "there is no version 9; there are 1 to 1"),
        (["mapping", "show", "{slug}", "fax", "accounts"], "this tenant has no connector 'fax'"),
        (["mapping", "set", "{slug}", "files", "accounts", "{empty}"], "mappings: Field required"),
        (["mapping", "rollback", "{slug}", "files", "accounts", "1"], "nothing was changed yet"),
        (["template", "set", "{slug}", "{empty}"], "name: Field required; roles: Field required"),
        (["template", "rollback", "{slug}", "Nope", "1"], "there is no template 'Nope'"),
        (["writeback-config", "set", "{slug}", "files", "accounts", "{empty}"], "field_map: Field required"),
        (["writeback-config", "enable", "{slug}", "files", "accounts"], "can't be written to"),
        (["writeback-config", "disable", "{slug}", "files", "accounts"], "nothing says what to write"),
        (["member", "add", "{slug}", "ann", "--role", "king"], "there is no role 'king'"),
        (["member", "remove", "{slug}", "nobody"], "'nobody' is no member"),
        (["bi-user", "add", "{slug}", "--member", "nobody"], "'nobody' is no member"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_a_command_misused_says_in_a_line_what_to_do(
    acme: str, tmp_path: Path, words: list[str], sentence: str
) -> None:
    (tmp_path / "empty").write_text("{}")
    with pytest.raises(ClarityError) as refusal:
        ask(*(word.format(slug=acme, empty=tmp_path / "empty") for word in words))
    assert sentence in str(refusal.value)
    assert refusal.value.exit_code == 2
    assert "\n" not in str(refusal.value)
