"""What a run tells of itself: to whom it may concern, and at no cost to anybody else."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from uuid import UUID

import pytest
import structlog

from steps import lineage, observe, pipeline
from tests.conftest import Tenant
from tests.steps.customer import Customer
from warehouse.errors import ClarityError


@pytest.fixture(autouse=True)
def nobody_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in (*os.environ,):
        if variable.startswith(("OPENLINEAGE", "AIRFLOW__METRICS")):
            monkeypatch.delenv(variable)


@pytest.fixture
def packets(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], dict[str, str]]]:
    """A metrics' server: what it has been told since it was asked last."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(0.2)
        monkeypatch.setenv("AIRFLOW__METRICS__STATSD_ON", "True")
        monkeypatch.setenv("AIRFLOW__METRICS__STATSD_HOST", "127.0.0.1")
        monkeypatch.setenv("AIRFLOW__METRICS__STATSD_PORT", str(server.getsockname()[1]))

        def received() -> dict[str, str]:
            lines: dict[str, str] = {}
            try:
                while True:
                    packet = server.recv(65_536)
                    assert len(packet) <= observe.PACKET
                    lines |= dict(line.split(":", 1) for line in packet.decode().splitlines())
            except TimeoutError:
                return lines

        yield received


@pytest.fixture
def events(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[], list[dict[str, Any]]]:
    """A file of lineage: what has been written into it so far, each event well formed."""
    file = tmp_path / "lineage.jsonl"
    monkeypatch.setenv("OPENLINEAGE__TRANSPORT__TYPE", "file")
    monkeypatch.setenv("OPENLINEAGE__TRANSPORT__LOG_FILE_PATH", str(file))

    def written() -> list[dict[str, Any]]:
        told = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
        for event in told:
            _is_well_formed(event)
        return told

    return written


def _is_well_formed(event: dict[str, Any]) -> None:
    """As the specification wants a RunEvent: what is required, of the types it names, facets that say who made them."""
    assert event["eventType"] in ("START", "RUNNING", "COMPLETE", "ABORT", "FAIL", "OTHER")
    assert datetime.fromisoformat(event["eventTime"]).tzinfo is not None
    assert event["schemaURL"].endswith("/2-0-2/OpenLineage.json#/$defs/RunEvent")
    assert event["producer"].startswith("urn:")
    UUID(event["run"]["runId"])
    assert event["job"]["namespace"]
    assert event["job"]["name"]
    datasets = [*event["inputs"], *event["outputs"]]
    assert all(dataset["namespace"] and dataset["name"] for dataset in datasets)
    facets = [*event["run"]["facets"].values(), *event["job"]["facets"].values()]
    facets += [facet for dataset in event["outputs"] for facet in dataset.get("outputFacets", {}).values()]
    assert facets
    for facet in facets:
        assert facet["_producer"] == event["producer"]
        assert facet["_schemaURL"].startswith("https://openlineage.io/spec/facets/")
    parent = event["run"]["facets"]["parent"]
    UUID(parent["run"]["runId"])
    assert parent["job"].keys() == {"namespace", "name"}
    if error := event["run"]["facets"].get("errorMessage"):
        assert error["message"]
        assert error["programmingLanguage"]


# ── lineage ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_stage_is_told_from_its_beginning_to_its_end(
    tenant: Tenant, tmp_path: Path, events: Callable[[], list[dict[str, Any]]]
) -> None:
    customer = Customer(tenant, tmp_path)
    customer.write("accounts", "id,name", "1,Acme")
    pipeline.extract(tenant.slug, "files", "pipeline__x/run-1", report=lambda _line: None)
    start, complete = events()
    assert [start["eventType"], complete["eventType"]] == ["START", "COMPLETE"]
    assert start["run"]["runId"] == complete["run"]["runId"]
    assert start["job"]["name"] == f"{tenant.slug}.extract.files"
    assert {dataset["name"] for dataset in complete["inputs"]} >= {"accounts", "people"}
    assert {"clarity.raw.files__accounts", "clarity.raw.files__people"} <= {
        dataset["name"] for dataset in complete["outputs"]
    }
    assert complete["outputs"][0]["namespace"].startswith("postgres://127.0.0.1:")
    pipeline.conclude(tenant.slug, "pipeline__x/run-1")


def test_each_model_tells_what_it_reads_and_how_many_rows_it_wrote(
    tenant: Tenant, tmp_path: Path, events: Callable[[], list[dict[str, Any]]]
) -> None:
    customer = Customer(tenant, tmp_path)
    customer.write("accounts", "id,name,domain", "1,Acme,acme.example")
    customer.write("people", "id,email,account_id", "2,ann@acme.example,1")
    customer.sync()
    pipeline.models(tenant.slug, ["canonical"])
    told = {event["job"]["name"]: event for event in events() if event["eventType"] == "COMPLETE"}
    people = told[f"{tenant.slug}.transform.people"]
    assert [dataset["name"] for dataset in people["outputs"]] == ["clarity.canonical.people"]
    assert people["outputs"][0]["outputFacets"]["outputStatistics"]["rowCount"] == 1
    read = {dataset["name"] for dataset in people["inputs"]}
    assert "clarity.canonical.accounts" in read
    assert "clarity.canonical.people" not in read
    # all of one run belong together, the stage that they are in among them
    assert len({event["run"]["facets"]["parent"]["run"]["runId"] for event in told.values()}) == 1
    assert f"{tenant.slug}.transform" in told


def test_a_stage_that_fails_says_why(events: Callable[[], list[dict[str, Any]]], platform: object) -> None:
    with pytest.raises(ClarityError), observe.stage("acme", "run", "score"):
        raise ClarityError("the disk is full\nand more that is nobody's business")
    start, failed = events()
    assert (start["eventType"], failed["eventType"]) == ("START", "FAIL")
    assert failed["run"]["facets"]["errorMessage"]["message"] == "the disk is full"


def test_events_go_over_http_with_the_key_and_a_server_that_is_gone_stops_nobody(
    monkeypatch: pytest.MonkeyPatch, platform: object, caplog: pytest.LogCaptureFixture
) -> None:
    taken: list[tuple[str, str, Any]] = []

    class Marquez(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            taken.append((self.path, self.headers["Authorization"], json.loads(body)))
            self.send_response(201)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Quiet."""

    server = HTTPServer(("127.0.0.1", 0), Marquez)
    Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("OPENLINEAGE_URL", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("OPENLINEAGE_API_KEY", "a-key-to-keep")
    with observe.stage("acme", "run", "publish"):
        """Something is published."""
    server.shutdown()
    server.server_close()
    assert [(path, key, event["eventType"]) for path, key, event in taken] == [
        ("/api/v1/lineage", "Bearer a-key-to-keep", "START"),
        ("/api/v1/lineage", "Bearer a-key-to-keep", "COMPLETE"),
    ]
    with observe.stage("acme", "run", "publish"):
        """The server has gone meanwhile."""
    assert "lineage events were not taken: URLError" in caplog.text
    assert "a-key-to-keep" not in caplog.text


def test_nobody_who_listens_to_nothing_pays_for_it() -> None:
    code = (
        "import sys; from steps import observe\n"
        "with observe.stage('acme', 'run', 'score'): pass\n"
        "print([name for name in ('urllib.request', 'structlog', 'httpx', 'airflow') if name in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("settings", "is_on"),
    [
        ({}, False),
        ({"OPENLINEAGE_URL": "http://lineage.example"}, True),
        ({"OPENLINEAGE_URL": "http://lineage.example", "OPENLINEAGE_DISABLED": "true"}, False),
        ({"OPENLINEAGE_URL": "file:///etc/passwd"}, False),
        ({"OPENLINEAGE__TRANSPORT__TYPE": "file"}, False),
    ],
)
def test_lineage_is_off_unless_it_is_said_where_to(
    settings: dict[str, str], is_on: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    assert lineage.is_on() is is_on


# ── metrics ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_sync_and_its_models_are_counted(
    tenant: Tenant, tmp_path: Path, packets: Callable[[], dict[str, str]]
) -> None:
    customer = Customer(tenant, tmp_path)
    customer.write("accounts", "id,name", "1,Acme", "2,Globex", ",nobody")
    pipeline.extract(tenant.slug, "files", "run-1", report=lambda _line: None)
    told = packets()
    assert told[f"clarity.rows_landed.{tenant.slug}.files.accounts"] == "2|c"
    assert told[f"clarity.rows_refused.{tenant.slug}.files.accounts"] == "1|c"
    assert told[f"clarity.stage.{tenant.slug}.extract.files"].endswith("|ms")
    pipeline.conclude(tenant.slug, "run-1")
    pipeline.models(tenant.slug, ["accounts"])
    told = packets()
    assert told[f"clarity.model_rows.{tenant.slug}.accounts"].endswith("|c")
    assert told[f"clarity.model.{tenant.slug}.accounts"].endswith("|ms")
    observe.published(tenant.slug, {"moved": 7})
    assert packets() == {f"clarity.scores_moved.{tenant.slug}": "7|c"}
    with pytest.raises(ClarityError), observe.stage(tenant.slug, "run", "score"):
        raise ClarityError("no")
    assert packets() == {f"clarity.stage_failed.{tenant.slug}.score": "1|c"}


def test_freshness_is_told_of_every_tenant_that_runs(
    tenant: Tenant, other_tenant: Tenant, tmp_path: Path, packets: Callable[[], dict[str, str]]
) -> None:
    customer = Customer(tenant, tmp_path)
    customer.write("accounts", "id,name", "1,Acme")
    customer.sync()
    packets()
    assert observe.freshness()["metrics"] == "on"
    value, kind = packets()[f"clarity.data_age.{tenant.slug}.files"].split("|")
    assert kind == "g"
    assert 0 <= int(value) < 60


def test_without_a_server_freshness_says_so() -> None:
    assert observe.freshness() == {
        "metrics": "off",
        "because": "AIRFLOW__METRICS__STATSD_ON is not true: there is nobody to tell",
    }


# ── logs ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_line_in_airflows_log_says_whose_it_is(platform: object) -> None:
    with observe.stage("acme", "pipeline__acme/manual", "score"):
        # what Airflow merges into every line
        assert structlog.contextvars.get_contextvars() == {
            "tenant": "acme",
            "run": "pipeline__acme/manual",
            "stage": "score",
        }
    assert structlog.contextvars.get_contextvars() == {}


def test_a_moment_is_told_in_utc() -> None:
    job = lineage.Job("acme.score", "TASK", "run", "acme")
    assert job.event("START", datetime(2026, 11, 1, tzinfo=UTC))["eventTime"] == "2026-11-01T00:00:00+00:00"
