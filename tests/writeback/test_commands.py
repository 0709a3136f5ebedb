"""`clarity writeback`, `undo`, `held`, `release`, `drift`: what people read, and what programs get."""

import json

import pytest
import typer
from typer.testing import CliRunner

from cli import main, writeback
from cli.writeback_configs import writeback_config_app
from control import settings
from tests.writeback.crm import ACTOR, FIELD_MAP, SCORE, Crm
from warehouse.errors import ClarityError, MisuseError

app = typer.Typer()
app.callback()(main.options)
writeback.register(app)
app.add_typer(writeback_config_app, name="writeback-config")


def said(*words: str) -> str:
    done = CliRunner().invoke(app, list(words))
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.stdout


def test_from_the_fields_to_a_writing_and_back(crm: Crm, tmp_path: object) -> None:
    slug, ids = crm.tenant.slug, crm.accounts(3)
    file = f"{tmp_path}/accounts.json"
    with open(file, "w", encoding="utf-8") as written:
        json.dump({"field_map": FIELD_MAP, "policies": {}}, written)
    said("writeback-config", "set", slug, "salesforce", "accounts", file)
    assert "is on" in said("writeback-config", "enable", slug, "salesforce", "accounts")
    told = said("writeback", slug, "--dry-run")
    assert f"accounts {ids[2]} Company 2" in told
    assert f"{SCORE}: None -> 2.0" in told.replace("2 \n", "2.0\n")
    assert "3 records would be written" in told
    assert "features.writeback is off" in told
    assert "Nothing is written: features.writeback is off" in said("writeback", slug)
    settings.change(crm.tenant.id, actor=ACTOR, assignments=["features.writeback=true"])
    done = json.loads(said("--json", "writeback", slug))
    assert done["records"] == {"written": 3}
    assert "Nothing to write" in said("writeback", slug)
    (run,) = json.loads(said("--json", "undo", slug))
    assert (run["run_id"], run["written"], run["undone"]) == (done["run_id"], 3, 0)
    crm.org.edit("Account", ids[0], **{SCORE: 50.0})
    told = said("undo", slug, run["run_id"])
    assert f"left as it is: {ids[0]} {SCORE}" in told
    assert "3 records show again what they showed before" in told
    crm.sync()
    assert {each["record_id"] for each in json.loads(said("--json", "held", slug))} == set(ids)
    assert json.loads(said("--json", "release", slug, ids[1]))["released"] == [ids[1]]
    assert json.loads(said("--json", "writeback", slug))["records"] == {"written": 1}
    assert [each["theirs"] for each in json.loads(said("--json", "drift", slug))] == [50.0]


def test_a_refused_record_is_shown_and_the_command_fails(crm: Crm) -> None:
    (record_id,) = crm.accounts(1)
    crm.switch_on()
    crm.org.refuse_row(record_id, "FIELD_CUSTOM_VALIDATION_EXCEPTION")
    with pytest.raises(ClarityError, match="1 records were not written"):
        said("writeback", crm.tenant.slug)
    shown = CliRunner().invoke(app, ["writeback", crm.tenant.slug]).stdout
    assert f"rejected: accounts {record_id} Company 0: FIELD_CUSTOM_VALIDATION_EXCEPTION" in shown


def test_what_to_release_must_be_said(crm: Crm) -> None:
    with pytest.raises(MisuseError, match="name the records to release, or say --all"):
        said("release", crm.tenant.slug)
