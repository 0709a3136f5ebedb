"""Who is told of what, how often, and what becomes of a message that nobody takes."""

import hashlib
import hmac
import json
import logging
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from control import alert_channels, incidents, registry
from control.registry import TenantEntry
from steps import alerts
from tests.alerts.receivers import Hook, Mailbox, http_receiver, mail_server
from tests.conftest import Tenant
from warehouse import database
from warehouse.errors import ClarityError, MisuseError

ACTOR = "system:tests"
AIRFLOW = "https://airflow.example"
SECRET = "a secret that only both sides know"
VARIABLES = (
    alerts.SLACK_URL, alerts.WEBHOOK_URL, alerts.WEBHOOK_SECRET, alerts.SMTP_URL, alerts.EMAIL_FROM, alerts.EMAIL_TO,
    alerts.ALLOW_PRIVATE,
)  # fmt: skip


@pytest.fixture(autouse=True)
def _nobody_listens_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in VARIABLES:
        monkeypatch.delenv(variable, raising=False)


@pytest.fixture
def hook() -> Iterator[Hook]:
    with http_receiver() as receiver:
        yield receiver


@pytest.fixture
def slack(hook: Hook, monkeypatch: pytest.MonkeyPatch) -> Hook:
    monkeypatch.setenv(alerts.SLACK_URL, f"{hook.url}/services/T000/secret-part")
    return hook


@pytest.fixture
def entry(tenant: Tenant) -> TenantEntry:
    return registry.tenant(tenant.slug)


def happens(tenant: TenantEntry, run_id: str = "pipeline__acme/scheduled 1", stage: str = "extract salesforce") -> None:
    with database.run_session(tenant.id) as connection:
        incidents.seen(
            connection,
            tenant_id=tenant.id,
            stage=stage,
            cause="failed",
            severity="degradation",
            reason="Salesforce <refused> the login",
            remedy="`clarity connector test acme salesforce` says more.",
            run_id=run_id,
        )


def ends(tenant: TenantEntry, stage: str = "extract salesforce") -> None:
    with database.run_session(tenant.id) as connection:
        incidents.over(connection, tenant_id=tenant.id, stage=stage, causes=["failed"])


def test_slack_is_told_whose_what_why_and_what_to_do_with_a_link(slack: Hook, entry: TenantEntry) -> None:
    happens(entry)
    assert alerts.tell(entry, airflow=AIRFLOW) == 1
    (heard,) = slack.heard
    assert heard.path == "/services/T000/secret-part"
    text = json.loads(heard.body)["text"]
    assert text.startswith(f"*{entry.name}: extract salesforce: degradation*\nSalesforce &lt;refused&gt; the login\n")
    assert "What to do: `clarity connector test acme salesforce` says more." in text
    assert text.endswith(f"{AIRFLOW}/dags/pipeline__acme/runs/scheduled%201")


def test_a_webhook_can_check_who_speaks(hook: Hook, entry: TenantEntry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(alerts.WEBHOOK_URL, hook.url)
    monkeypatch.setenv(alerts.WEBHOOK_SECRET, SECRET)
    happens(entry)
    alerts.tell(entry, airflow=AIRFLOW)
    (heard,) = hook.heard
    at, _, signature = heard.headers["X-Clarity-Signature"].partition(",")
    expected = hmac.new(SECRET.encode(), at.removeprefix("t=").encode() + b"." + heard.body, hashlib.sha256)
    assert signature == f"v1={expected.hexdigest()}"
    content = json.loads(heard.body)
    assert content["kind"] == "degradation"
    assert content["slug"] == entry.slug
    assert content["id"] == heard.headers["X-Clarity-Message"]


def test_a_webhook_without_a_secret_is_refused_because_nothing_could_be_signed(
    hook: Hook, entry: TenantEntry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(alerts.WEBHOOK_URL, hook.url)
    with pytest.raises(MisuseError, match="nothing can be signed"):
        alerts.tell(entry)


def test_mail_goes_to_everybody_who_is_named(entry: TenantEntry, monkeypatch: pytest.MonkeyPatch) -> None:
    with mail_server() as box:
        _post_office(box, monkeypatch)
        happens(entry)
        assert alerts.tell(entry, airflow=AIRFLOW) == 1
    assert box.recipients == ["ann@example.org", "bob@example.org"]
    (letter,) = box.letters
    assert letter["Subject"] == f"{entry.name}: extract salesforce: degradation"
    assert "What to do:" in str(letter.get_payload())


def _post_office(box: Mailbox, monkeypatch: pytest.MonkeyPatch, login: str = "") -> None:
    monkeypatch.setenv(alerts.SMTP_URL, f"smtp://{login}127.0.0.1:{box.port}")
    monkeypatch.setenv(alerts.EMAIL_TO, "ann@example.org, bob@example.org")


def test_no_password_goes_to_a_mail_server_in_the_clear(
    entry: TenantEntry, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with mail_server() as box:
        _post_office(box, monkeypatch, login="me:hidden-password@")
        happens(entry)
        assert alerts.tell(entry) == 0
    assert box.letters == []
    assert "a password is not sent in the clear" in caplog.text
    assert "hidden-password" not in caplog.text


def test_nobody_is_told_where_no_channel_is_set_up(entry: TenantEntry) -> None:
    happens(entry)
    assert alerts.tell(entry) == 0


def test_one_incident_is_one_message_however_many_tasks_and_runs_see_it(slack: Hook, entry: TenantEntry) -> None:
    both = threading.Barrier(4)

    def task(number: int) -> None:
        both.wait(10)
        happens(entry, run_id=f"run/{number % 2}")
        alerts.tell(entry)

    threads = [threading.Thread(target=task, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    happens(entry, run_id="run/later")
    alerts.tell(entry)
    assert len(slack.heard) == 1
    (incident,) = incidents.recent(entry.id, actor=ACTOR)
    assert incident.times >= 2


def test_its_end_is_told_once_to_whoever_knew_of_its_beginning(slack: Hook, entry: TenantEntry) -> None:
    happens(entry)
    alerts.tell(entry)
    ends(entry)
    alerts.tell(entry)
    alerts.tell(entry)
    begun, over = (json.loads(heard.body)["text"] for heard in slack.heard)
    assert "recovery" not in begun
    assert f"{entry.name}: extract salesforce: recovery" in over
    assert "It is over" in over


def test_what_a_retry_has_mended_before_the_run_ended_is_told_to_nobody(slack: Hook, entry: TenantEntry) -> None:
    happens(entry)
    ends(entry)
    assert alerts.tell(entry) == 0
    assert slack.heard == []


def test_what_begins_again_is_told_again(slack: Hook, entry: TenantEntry) -> None:
    for _ in range(2):
        happens(entry)
        alerts.tell(entry)
        ends(entry)
        alerts.tell(entry)
    assert len(slack.heard) == 4


@pytest.mark.parametrize("answer", [500, 302])
def test_a_receiver_that_does_not_take_it_is_told_by_the_next_run(
    slack: Hook, entry: TenantEntry, answer: int, caplog: pytest.LogCaptureFixture
) -> None:
    happens(entry)
    happens(entry, stage="score")
    slack.answer = answer
    alerts.settle(entry.slug, "run", "it failed")
    # it is not asked a second time in the same breath, and a redirect is not followed
    assert [heard.path for heard in slack.heard] == ["/services/T000/secret-part"]
    assert f"platform:slack does not take messages, the next run tries again: it answered {answer}" in caplog.text
    assert "secret-part" not in caplog.text
    slack.answer = 200
    alerts.settle(entry.slug, "next", "it failed again")
    assert len({json.loads(heard.body)["text"] for heard in slack.heard[1:]}) == 3


def test_a_receiver_that_is_gone_fails_no_run(
    entry: TenantEntry, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with http_receiver() as gone:
        monkeypatch.setenv(alerts.SLACK_URL, f"{gone.url}/services/secret-part")
    happens(entry)
    alerts.settle(entry.slug, "run", "it failed")
    assert "it can't be reached" in caplog.text
    assert "secret-part" not in caplog.text


def test_a_run_of_which_no_stage_could_say_why_it_is_red_is_told_all_the_same(slack: Hook, entry: TenantEntry) -> None:
    alerts.settle(entry.slug, "pipeline__acme/killed", "failed: score", airflow=AIRFLOW)
    (heard,) = slack.heard
    assert "the run ended red, and no stage had the time to say why: failed: score" in json.loads(heard.body)["text"]
    # the next good run is its end
    alerts.settle(entry.slug, "pipeline__acme/good", "", airflow=AIRFLOW)
    assert "recovery" in json.loads(slack.heard[1].body)["text"]


def test_a_red_run_of_which_a_stage_has_said_why_makes_no_second_message(slack: Hook, entry: TenantEntry) -> None:
    happens(entry, run_id="pipeline__acme/red")
    for _task_and_run in range(2):
        alerts.settle(entry.slug, "pipeline__acme/red", "failed: extract salesforce", airflow=AIRFLOW)
    assert len(slack.heard) == 1


def test_what_is_wrong_with_a_connector_is_over_when_it_is_removed(slack: Hook, entry: TenantEntry) -> None:
    happens(entry)
    alerts.settle(entry.slug, "good", "")
    (incident,) = incidents.recent(entry.id, actor=ACTOR)
    assert incident.recovered_at is not None


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ClarityError("the disk is full: free some"), "the disk is full: free some"),
        (ValueError("row 7 holds ann@example.org"), "ValueError, see the log of the run"),
    ],
)
def test_a_stage_that_fails_is_an_incident_until_it_succeeds(entry: TenantEntry, error: Exception, reason: str) -> None:
    with pytest.raises(type(error)):
        with incidents.watched(entry.id, "run", "score", "Clear the task score."):
            raise error
    (incident,) = incidents.recent(entry.id, actor=ACTOR)
    assert (incident.stage, incident.reason, incident.severity) == ("score", reason, "failure")
    with incidents.watched(entry.id, "run", "score", "Clear the task score."):
        """This time it works."""
    (incident,) = incidents.recent(entry.id, actor=ACTOR)
    assert incident.recovered_at is not None


def test_a_tenant_can_name_channels_of_its_own_which_nobody_reads(
    hook: Hook, entry: TenantEntry, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(alerts.ALLOW_PRIVATE, "yes")
    alert_channels.put(entry.id, "webhook", {"url": f"{hook.url}/own", "secret": SECRET}, actor=ACTOR)
    happens(entry)
    assert alerts.tell(entry) == 1
    assert [heard.path for heard in hook.heard] == ["/own"]
    assert [shown.kind for shown in alert_channels.show(entry.id, actor=ACTOR)] == ["webhook"]
    with database.control_session(entry.id) as connection:
        ((sealed, trail),) = connection.execute(
            "select (select sealed from control.alert_channels),"
            " (select changes from control.audit_log where action = 'alerts.set')"
        ).fetchall()
    assert hook.url not in sealed + str(trail)
    assert SECRET not in str(trail) + caplog.text
    # bound to its tenant and kind, it opens nowhere else
    with pytest.raises(ClarityError, match="do not open"):
        alert_channels.unseal(entry.id, "slack", sealed)
    alert_channels.remove(entry.id, "webhook", actor=ACTOR)
    assert alert_channels.show(entry.id, actor=ACTOR) == []


@pytest.mark.parametrize(
    "url", ["https://127.0.0.1/", "https://localhost/", "https://10.0.0.7/", "http://example.org/"]
)
def test_a_tenants_channel_reaches_nothing_that_only_we_can_reach(entry: TenantEntry, url: str) -> None:
    alert_channels.put(entry.id, "slack", {"url": url}, actor=ACTOR)
    ((name, why),) = alerts.try_out(entry)
    assert name == "tenant:slack"
    assert why in ("the address is inside a private network", "the address must begin with https://")


@pytest.mark.parametrize(
    ("kind", "config", "refusal"),
    [
        ("pigeon", {}, "there is no channel 'pigeon'"),
        ("slack", {"url": "ftp://x"}, "slack: url"),
        ("webhook", {"url": "https://example.org", "secret": "short"}, "webhook: secret"),
        ("email", {"to": []}, "email: to"),
        ("email", {"to": ["a@b.c"], "cc": []}, "email: cc"),
    ],
)
def test_a_channel_that_could_not_work_is_refused(
    entry: TenantEntry, kind: str, config: dict[str, Any], refusal: str
) -> None:
    with pytest.raises(MisuseError, match=refusal):
        alert_channels.put(entry.id, kind, config, actor=ACTOR)


def test_channels_are_sealed_anew_with_the_newest_key(entry: TenantEntry, monkeypatch: pytest.MonkeyPatch) -> None:
    alert_channels.put(entry.id, "email", {"to": ["ann@example.org"]}, actor=ACTOR)
    with database.control_session(entry.id) as connection:
        (before,) = alert_channels.envelopes(connection, entry.id).values()
        assert alert_channels.reseal(connection, entry.id, "another key") == (1, [])
        (after,) = alert_channels.envelopes(connection, entry.id).values()
    assert before != after
    assert alert_channels.unseal(entry.id, "email", after) == {"to": ["ann@example.org"]}


def test_a_database_that_is_away_fails_no_run(entry: TenantEntry, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.MonkeyPatch.context() as away, caplog.at_level(logging.WARNING):
        away.setenv("CLARITY_DATABASE_URL", "postgresql://nobody:nothing@127.0.0.1:1/clarity")
        alerts.settle(entry.slug, "run", "it failed")
    assert "nobody was told of this run's end, the next run tells" in caplog.text
