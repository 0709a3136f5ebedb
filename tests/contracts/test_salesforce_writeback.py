"""Writing scores back as a third party's contract has it: sObject Collections and Bulk 2.0 ingest, mocked by prism.

prism refuses whatever breaks the contract. Logins, descriptions and the look before each call come from our sandbox.
"""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from connectors.salesforce import writer
from connectors.salesforce.client import Client
from sandbox.salesforce import Org, serve
from tests.conftest import Tenant
from tests.contracts import foreign
from tests.writeback.crm import Crm
from warehouse import database

RECORDS = 30
API = "/services/data/v63.0"
PRISM_HAS = r"/services/data/v63\.0/(jobs/.*|composite/sobjects|limits)"
JOB = f"{API}/jobs/ingest"


@pytest.fixture(scope="module")
def writing_prism(contract: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The contract with other examples: its own answer for one record, and their jobs never end."""
    described = yaml.safe_load(contract.read_text(encoding="utf-8"))
    paths = described["paths"]
    for example in examples(paths[f"{API}/composite/sobjects"]["patch"], "application/json"):
        example["value"] = [{"id": "abc123", "success": True, "errors": []}] * RECORDS
    for example in examples(paths[f"{JOB}/{{jobId}}"]["get"], "application/json"):
        example["value"] |= {"state": "JobComplete", "numberRecordsProcessed": RECORDS, "numberRecordsFailed": 0}
    for example in examples(paths[f"{JOB}/{{jobId}}/failedResults"]["get"], "text/csv"):
        example["value"] = '"sf__Id","sf__Error","Id"\n'
    folder = tmp_path_factory.mktemp("writing")
    (folder / "contract.yaml").write_text(yaml.safe_dump(described), encoding="utf-8")
    with foreign.prism(folder / "contract.yaml", folder / "log") as url:
        yield url


def examples(operation: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    return list(operation["responses"]["200"]["content"][kind]["examples"].values())


@pytest.fixture
def crm(tenant: Tenant) -> Iterator[Crm]:
    with (
        serve(Org(seed=7, accounts=1, activities_per_year=1)) as served,
        database.connect(database.admin_conninfo(), autocommit=True) as admin,
    ):
        made = Crm(tenant, served, admin)
        made.connect()
        made.add_fields("Account")
        made.accounts(RECORDS)
        yield made


def run_at(crm: Crm, prism: str) -> tuple[dict[str, Any], list[str]]:
    with foreign.divided({PRISM_HAS: prism}, crm.served.url) as (url, asked):
        crm.connect(instance_url=url, timeout_seconds=20)
        crm.switch_on()
        return crm.run(), asked


def test_collections_are_written_as_the_contract_has_them(writing_prism: str, crm: Crm) -> None:
    told, asked = run_at(crm, writing_prism)
    assert told["records"] == {"written": RECORDS}
    assert asked == [f"PATCH {API}/composite/sobjects"]
    # all of them went there
    assert crm.writes == []


def test_a_job_is_made_filled_started_and_asked_after_as_the_contract_has_it(
    writing_prism: str, crm: Crm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "BULK_ABOVE", 10)
    told, asked = run_at(crm, writing_prism)
    assert told["records"] == {"written": RECORDS}
    assert asked == [
        f"POST {JOB}",
        f"PUT {JOB}/abc123/batches",
        f"PATCH {JOB}/abc123",
        f"GET {JOB}/abc123",
    ]


def test_refused_rows_of_a_job_are_asked_for_as_the_contract_has_it(writing_prism: str, crm: Crm) -> None:
    identity = crm.org.identity
    config = {
        "login_url": crm.served.url,
        "client_id": identity.client_id,
        "client_secret": identity.client_secret,
        "instance_url": writing_prism,
    }

    async def asked() -> Any:
        async with Client(config).api() as api:
            return await api.refused_rows("abc123")

    assert asyncio.run(asked()).header == ["sf__Id", "sf__Error", "Id"]


def test_the_mock_refuses_what_breaks_the_contract(writing_prism: str) -> None:
    """Otherwise its consent would prove nothing."""
    authorised = {"Authorization": "Bearer x"}
    assert httpx.post(f"{writing_prism}{JOB}", headers=authorised, json={"operation": "read"}).status_code == 400
    state = {"state": "Whatever"}
    assert httpx.patch(f"{writing_prism}{JOB}/abc123", headers=authorised, json=state).status_code == 400
    without_records = httpx.patch(f"{writing_prism}{API}/composite/sobjects", headers=authorised, json={})
    assert without_records.status_code == 400


def test_an_answer_for_other_records_than_were_sent_is_not_believed(
    writing_prism: str, crm: Crm, monkeypatch: pytest.MonkeyPatch
) -> None:
    from steps import patience

    monkeypatch.setattr(patience, "FIRST_WAIT", 0.0)
    crm.accounts(1)
    with foreign.divided({PRISM_HAS: writing_prism}, crm.served.url) as (url, _):
        crm.connect(instance_url=url, timeout_seconds=20)
        crm.switch_on()
        told = crm.lost()
    # what became of them is for the next run to see
    assert told["records"] == {"sending": RECORDS + 1}
    assert f"Salesforce answered for {RECORDS} of {RECORDS + 1} records" in told["sentence"]
