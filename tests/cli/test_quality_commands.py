"""What was expected and what is wrong, as people ask for it at the command line."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cli import main
from control import incidents
from steps import alerts
from tests.alerts.receivers import http_receiver
from tests.conftest import Tenant
from warehouse import database
from warehouse.errors import ClarityError, MisuseError


def ask(*words: str) -> str:
    done = CliRunner().invoke(main.app, list(words))
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.stdout


def answer(*words: str) -> Any:
    return json.loads(ask("--json", *words))


@pytest.fixture
def judged(tenant: Tenant) -> str:
    """A tenant whose last run was held back by one expectation of two."""
    with database.run_session(tenant.id) as connection:
        for name, verdict in (("canonical.people.count", "pass"), ("canonical.people.title_null_share", "breach")):
            connection.execute(
                "insert into quality.expectation_results (tenant_id, run_id, suite, expectation, observed, upper_bound,"
                " verdict, since, sentence, remedy) values (%s, 'last night', 'canonical', %s, 0.5, 0.25, %s,"
                " case when %s = 'breach' then now() end, 'share of people without title', 'look at the mapping')",
                [tenant.id, name, verdict, verdict],
            )
        incidents.seen(
            connection, tenant_id=tenant.id, stage="quality", cause="breach", severity="failure",
            reason="nothing published", remedy="Look at the mapping.", run_id="last night",
        )  # fmt: skip
    return tenant.slug


def test_what_is_not_met_comes_first_with_what_to_do(judged: str) -> None:
    told = answer("quality", judged)
    assert [(one["expectation"], one["verdict"]) for one in told] == [
        ("canonical.people.title_null_share", "breach"),
        ("canonical.people.count", "pass"),
    ]
    text = ask("quality", judged)
    assert "share of people without title; breach since" in text
    assert "look at the mapping" in text
    assert answer("quality", judged, "--run", "another") == []


def test_nothing_that_waits_can_not_be_published_and_a_breach_is_not_accepted_without_a_reason(judged: str) -> None:
    with pytest.raises(ClarityError, match="nothing waits to be published"):
        ask("publish", judged)
    with pytest.raises(MisuseError, match="--accept-breach takes a reason"):
        ask("publish", judged, "--accept-breach", "  ")


def test_incidents_are_listed_with_what_to_do(judged: str) -> None:
    (incident,) = answer("incidents", judged)
    assert (incident["stage"], incident["severity"], incident["remedy"]) == (
        "quality", "failure", "Look at the mapping.",
    )  # fmt: skip
    assert "Look at the mapping." in ask("incidents", judged)


def test_a_channel_is_set_tried_shown_and_removed(
    tenant: Tenant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(alerts.ALLOW_PRIVATE, "yes")
    file = tmp_path / "slack.json"
    with http_receiver() as hook:
        file.write_text(json.dumps({"url": f"{hook.url}/secret-part"}))
        ask("alerts", "set", tenant.slug, "slack", "--config", str(file))
        assert answer("alerts", "test", tenant.slug) == [{"channel": "tenant:slack", "outcome": "taken"}]
        assert [heard.path for heard in hook.heard] == ["/secret-part"]
        assert "secret-part" not in ask("alerts", "show", tenant.slug)
        hook.answer = 404
        with pytest.raises(ClarityError, match="not every channel took the message: tenant:slack"):
            ask("alerts", "test", tenant.slug)
    ask("alerts", "remove", tenant.slug, "slack")
    assert answer("alerts", "show", tenant.slug) == []
    with pytest.raises(MisuseError, match="has no slack channel"):
        ask("alerts", "remove", tenant.slug, "slack")
