"""The platform's own commands, as an operator types them."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli.main import app
from connectors.files import streams
from connectors.webhooks import customerio
from control import webhooks
from tests.conftest import Tenant
from tests.steps.customer import Customer
from warehouse import database
from warehouse.errors import ClarityError, MisuseError


def typed(*words: str, stdin: str = "") -> str:
    result = CliRunner().invoke(app, list(words), input=stdin, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_provision_without_a_key_says_what_is_missing(platform: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CLERK_SECRET_KEY", raising=False)
    assert "Nothing was done. Clerk's secret key is not given" in typed("provision").replace("\n", " ")
    assert json.loads(typed("--json", "provision"))["provisioned"] == "off"


def test_maintenance_says_what_goes_and_what_would_go(tenant: Tenant) -> None:
    with database.control_session(tenant.id) as connection:
        connection.execute(
            "insert into quality.failures (id, tenant_id, run_id, model, test, reason, created_at)"
            " values ('old', %s, 'run', 'people', 'unique', 'twice', now() - interval '1 year')",
            [tenant.id],
        )
    assert "Nothing has had its time." in typed("maintenance", "--tenant", tenant.slug)
    typed("tenant", "settings", tenant.slug, "--set", "retentionDays=60")
    would_go = json.loads(typed("--json", "maintenance", "--tenant", tenant.slug, "--dry-run"))
    assert (would_go["removed"], would_go["dry_run"]) == ({"quality.failures": 1}, True)
    assert "quality.failures" in typed("maintenance", "--tenant", tenant.slug)
    assert json.loads(typed("--json", "maintenance", "--tenant", tenant.slug))["removed"] == {}


def test_a_connector_is_given_an_address_and_its_vendors_secret(
    tenant: Tenant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "WEBHOOKS", customerio, raising=False)
    Customer(tenant, tmp_path)
    made = json.loads(typed("--json", "connector", "webhook", tenant.slug, "files"))
    assert (made["path"].startswith("/webhooks/files/"), made["is_signed"]) == (True, False)
    output = typed("connector", "webhook", tenant.slug, "files", "--secret", "signing", stdin="from-the-vendor\n")
    assert made["path"] in output
    assert "from-the-vendor" not in output
    with database.connect(database.receiver_conninfo(), autocommit=True) as connection:
        key = made["path"].rpartition("/")[2]
        assert webhooks.secret_behind(connection, "files", key) == "from-the-vendor"
    with pytest.raises(MisuseError, match="of a webhook there is one secret"):
        typed("connector", "webhook", tenant.slug, "files", "--secret", "password")
    with pytest.raises(MisuseError, match="never stands on the command line"):
        typed("connector", "webhook", tenant.slug, "files", "--secret", "signing=from-the-vendor")


@pytest.mark.parametrize("command", ["provision", "maintenance", "webhooks"])
def test_they_are_for_operators_alone(platform: Path, command: str) -> None:
    with pytest.raises(ClarityError, match="is for the platform's operators"):
        typed("--actor", "ann", command)
