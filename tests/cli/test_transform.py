"""`clarity transform` and `clarity db env`: what each model wrote, a rehearsal, and what plain dbt needs."""

import subprocess

import pytest

from tests.conftest import Clarity, Tenant
from warehouse import database


def test_it_tells_each_model_as_it_finishes_and_ends_with_what_each_wrote(tenant: Tenant, clarity: Clarity) -> None:
    said = clarity("transform", tenant.slug)
    assert said.code == 0, said.err
    told = [line.split() for line in said.out.splitlines()]
    assert any(words[:2] == ["·", "accounts:"] for words in told)
    header = told.index(["model", "status", "rows", "written", "seconds"])
    rows = {words[0]: words[1:3] for words in told[header + 1 :]}
    # the account of opportunities that have none
    assert rows["accounts"] == ["success", "1"]
    assert {"activities", "rollup_person_signals_daily", "mart_revenue__scores"} <= set(rows)


def test_a_selection_is_dbts_own(tenant: Tenant, clarity: Clarity) -> None:
    told = clarity("--json", "transform", tenant.slug, "--select", "+mart_revenue__scores", "--select", "rollups")
    written = {row["model"] for row in told.answer}
    assert {"accounts", "people", "rollup_opportunity_facts", "mart_revenue__scores"} <= written
    assert "mart_revenue__tier_distribution" not in written


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (["--select", "mart_of_nobody"], 2, "--select mart_of_nobody means no model"),
        (["--select", "colour:blue"], 2, "can't be understood: 'colour' is not a valid method name"),
        (["--select", "int_scores__described"], 2, "int_scores__described: always up to date"),
        (["--drop"], 2, "--drop goes with --dev alone"),
        (["--dev", "--drop", "--select", "marts"], 2, "--drop goes with --dev alone"),
        pytest.param(
            ["--dev"], 2, "no model differs from what is deployed: name some with --select", marks=pytest.mark.long
        ),
    ],
)
def test_what_can_not_be_is_refused_with_what_to_do(
    tenant: Tenant, clarity: Clarity, words: list[str], code: int, sentence: str
) -> None:
    said = clarity("transform", tenant.slug, *words)
    assert (said.code, sentence in said.err) == (code, True), said.err


def test_only_members_transform_and_only_operators_rehearse(tenant: Tenant, clarity: Clarity) -> None:
    assert "run.start needs the role manager" in clarity("--actor", "eve", "transform", tenant.slug).err
    assert "platform's operators" in clarity("--actor", "eve", "transform", tenant.slug, "--dev").err
    assert "platform's operators" in clarity("--actor", "eve", "db", "env", "--tenant", tenant.slug).err


@pytest.mark.long
def test_a_rehearsal_is_told_model_by_model_and_dropped(tenant: Tenant, clarity: Clarity) -> None:
    said = clarity("transform", tenant.slug, "--dev", "--select", "accounts")
    assert said.code == 0, said.err
    told = [line.split() for line in said.out.splitlines()]
    header = told.index(["model", "equal", "changed", "only", "live", "only", "here"])
    # nothing was run yet, so what the model makes is not live
    assert told[header + 1] == ["accounts", "0", "0", "0", "1"]
    assert "Live is as it was." in said.out
    assert clarity("--json", "transform", tenant.slug, "--dev", "--drop").answer == {"dropped": True}
    assert clarity("--json", "transform", tenant.slug, "--dev", "--drop").answer == {"dropped": False}


def test_what_plain_dbt_needs_is_printed_for_a_shell(tenant: Tenant, clarity: Clarity) -> None:
    said = clarity("db", "env", "--tenant", tenant.slug)
    shell = subprocess.run(
        ["sh", "-c", said.out + '\necho "$CLARITY_DBT_USER $DBT_DEFER"'], capture_output=True, text=True, timeout=10
    )
    assert shell.stdout == f"{database.run_login(tenant.id).name} true\n"
    assert database.run_login(tenant.id).password in said.out
