"""What Customer.io's webhooks tell lands once, and a later reading of its list knows it again."""

import hmac
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest

from sandbox.customerio import Served, Workspace, serve
from steps import extract, provision, webhooks
from tests.conftest import Tenant
from tests.connectors.contract_suite.customerio import QUICK, key
from warehouse import database

SYSTEM, SIGNING = "system:tests", "what-both-know"


@pytest.fixture
def served() -> Iterator[Served]:
    with serve(Workspace(seed=7, accounts=1, activities_per_year=3)) as served:
        yield served


def signed(body: bytes) -> dict[str, str]:
    sent_at = str(int(time.time()))
    signature = hmac.digest(SIGNING.encode(), f"v0:{sent_at}:".encode() + body, "sha256").hex()
    return {"x-cio-timestamp": sent_at, "x-cio-signature": signature}


def event(workspace: Workspace, message: str, metric: str) -> bytes:
    shown = workspace.message(message)
    return orjson.dumps(
        {
            "event_id": f"e/{message}/{metric}",
            "object_type": "email",
            "metric": metric,
            "timestamp": shown["metrics"][metric],
            "data": {
                "delivery_id": message,
                "identifiers": shown["customer_identifiers"],
                "recipient": shown["recipient"],
            },
        }
    )


def landed(tenant: Tenant, record: str) -> list[tuple[Any, ...]]:
    with database.run_session(tenant.id) as connection:
        return connection.execute(
            "select payload ->> 'type', (payload ->> 'is_human')::boolean, source_updated_at"
            " from raw.customerio__messages where record_id = %s order by source_updated_at, seq",
            [record],
        ).fetchall()


def test_an_open_is_landed_once_whether_the_webhook_or_the_list_tells_it_first(
    platform: Path, tenant: Tenant, served: Served
) -> None:
    workspace = served.workspace
    provision.add_connector(tenant.id, "customerio", {**key(served), **QUICK}, actor=SYSTEM)
    endpoint = webhooks.endpoint(tenant.slug, "customerio", secret=SIGNING, actor=SYSTEM)
    message = workspace.send(workspace.people()[0])
    workspace.happen(message, "opened", by_machine=True)
    opened_at = datetime.fromtimestamp(workspace.seconds, UTC)
    # the person looks an hour after the machine
    workspace.advance(seconds=3600)
    workspace.happen(message, "opened")
    body = event(workspace, message, "opened")
    with webhooks.session() as connection:
        answers = [
            webhooks.accept(connection, "customerio", endpoint.key, signed(body), body).sentence for _ in range(2)
        ]
    assert answers == ["accepted", "known already"]
    summary = extract.run(tenant.slug, "customerio", str(uuid.uuid4()))
    assert summary["webhooks"]["messages"]["created"] == 1
    told = landed(tenant, f"{message}:opened")
    # what the list knows beyond the webhook is the later version of the same record
    assert [(kind, is_human) for kind, is_human, _ in told] == [("opened_email", True), ("opened_email", True)]
    assert [stamp for _, _, stamp in told] == [opened_at, workspace.now]
    extract.run(tenant.slug, "customerio", str(uuid.uuid4()))
    assert landed(tenant, f"{message}:opened") == told
