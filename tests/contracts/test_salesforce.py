"""The Salesforce connector against servers that none of us wrote, reached by the addresses in its configuration alone.

prism, a mock of a third party's contract, has Bulk, collections and limits and refuses whatever breaks the contract;
simple-mockforce has login, query and records. The other direction, a client that none of us wrote against our sandbox,
is tests/sandbox/test_salesforce_bare.py.
"""

import asyncio
import json
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest
import yaml

from connectors.contract import Reauthorise
from connectors.salesforce.api import Api
from connectors.salesforce.client import Client
from sandbox.salesforce import Org, Served, serve
from steps import extract, patience, provision
from tests.conftest import Tenant
from tests.connectors.contract_suite.customer import killed_after_page
from tests.connectors.contract_suite.salesforce import login
from tests.contracts import foreign
from warehouse import database
from warehouse.errors import ClarityError

Told = TypeVar("Told")

# What prism has; logins and descriptions come from elsewhere.
PRISM_HAS = r"/services/data/v63\.0/(jobs/.*|composite/sobjects|limits)"
QUICK = {"backoff_seconds": 0.01, "attempts": 2, "timeout_seconds": 20}


# ── prism: the contract of Bulk, collections and limits ──────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    """Our sandbox, where prism has no door: to log in, and to describe."""
    with serve(Org(seed=7, accounts=2)) as served:
        yield served


@pytest.fixture(scope="module")
def prism(contract: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with foreign.prism(contract, tmp_path_factory.mktemp("prism") / "log") as url:
        yield url


@pytest.fixture(scope="module")
def finishing_prism(contract: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The same contract with other examples: its own leave every job open and every result without an end."""
    described = yaml.safe_load(contract.read_text(encoding="utf-8"))
    job = described["paths"]["/services/data/v63.0/jobs/query/{jobId}"]["get"]["responses"]["200"]
    result = described["paths"]["/services/data/v63.0/jobs/query/{jobId}/results"]["get"]["responses"]["200"]
    for example in job["content"]["application/json"]["examples"].values():
        example["value"]["state"] = "JobComplete"
    for example in result["content"]["text/csv"]["examples"].values():
        example["value"] = USERS
    result["headers"]["Sforce-Locator"]["schema"] = {"type": "string", "enum": ["null"]}
    result["headers"]["Sforce-NumberOfRecords"]["schema"] = {"type": "integer", "enum": [2]}
    folder = tmp_path_factory.mktemp("finishing")
    (folder / "contract.yaml").write_text(yaml.safe_dump(described), encoding="utf-8")
    with foreign.prism(folder / "contract.yaml", folder / "log") as url:
        yield url


USERS = (
    '"Id","Name","IsActive","SystemModstamp"\n'
    '"005000000000001AAA","Ada ""the first"" Example","true","2026-03-09T10:00:00.000Z"\n'
    '"005000000000002AAA","Line\nBreak","false","2026-03-09T11:00:00.000Z"\n'
)


def asked_of(url: str, served: Served, ask: Callable[[Api], Awaitable[Told]]) -> Told:
    """What the connector's API says when it stands at this address."""

    async def asking() -> Told:
        async with Client({**login(served), **QUICK, "instance_url": url}).api() as api:
            return await ask(api)

    return asyncio.run(asking())


def test_limits_are_read_as_the_contract_has_them(prism: str, served: Served) -> None:
    assert isinstance(asked_of(prism, served, lambda api: api.limits()), dict)


def test_a_query_job_is_made_asked_after_read_and_deleted_as_the_contract_has_it(prism: str, served: Served) -> None:
    async def whole_life(api: Api) -> tuple[dict[str, Any], dict[str, Any], Any]:
        made = await api.create_query_job("SELECT Id, Name FROM Account")
        seen = await api.query_job("Account", made["id"])
        page = await api.query_job_page(made["id"], None, 10)
        await api.delete_query_job(made["id"])
        return made, seen, page

    made, seen, page = asked_of(prism, served, whole_life)
    assert (made["id"], made["state"], seen["state"]) == ("abc123", "Open", "Open")
    assert page.locator


def test_later_pages_of_a_job_are_asked_for_as_the_contract_has_it(prism: str, served: Served) -> None:
    page = asked_of(prism, served, lambda api: api.query_job_page("abc123", "MTAwMDA", 250_000))
    assert page.locator


def test_collections_are_updated_as_the_contract_has_it(prism: str, served: Served) -> None:
    records = [
        {"attributes": {"type": "Account"}, "id": f"001{number:012}AAA", "Name": "New", "Score__c": 82.5}
        for number in range(200)
    ]
    (result,) = asked_of(prism, served, lambda api: api.update(records))
    assert (result["id"], result["success"]) == ("abc123", True)


def test_more_than_a_collection_holds_is_not_even_sent(served: Served) -> None:
    records = [{"attributes": {"type": "Account"}, "id": str(number)} for number in range(201)]
    with pytest.raises(ValueError, match="at most 200"):
        asked_of("http://127.0.0.1:9", served, lambda api: api.update(records))


def test_the_mock_refuses_what_breaks_the_contract(prism: str, served: Served) -> None:
    """Otherwise its consent would prove nothing."""
    authorised = {"Authorization": "Bearer x"}
    job = f"{prism}/services/data/v63.0/jobs/query"
    assert httpx.get(f"{job}/1/results?maxrecords=10", headers=authorised).status_code == 400
    assert httpx.get(f"{job}/1/results?maxRecords=many", headers=authorised).status_code == 400
    assert httpx.post(job, headers=authorised, json={"operation": "read", "query": "SELECT Id"}).status_code == 400
    assert httpx.get(f"{prism}/services/data/v63.0/limit", headers=authorised).status_code == 404
    assert httpx.get(f"{prism}/services/data/v63.0/limits").status_code == 401
    too_many = {"records": [{"attributes": {"type": "Account"}, "id": str(number)} for number in range(201)]}
    refused = httpx.patch(f"{prism}/services/data/v63.0/composite/sobjects", headers=authorised, json=too_many)
    assert refused.status_code == 400


def test_a_session_that_is_refused_time_and_again_asks_for_a_person(prism: str, served: Served) -> None:
    with foreign.divided({PRISM_HAS: prism}, served.url, prefer={PRISM_HAS: "code=401"}) as (url, asked):
        with pytest.raises(Reauthorise, match="Log in again"):
            asked_of(url, served, lambda api: api.limits())
    assert 1 < len(asked) < 10


def users_of(tenant: Tenant) -> dict[str, dict[str, Any]]:
    with database.run_session(tenant.id) as connection:
        return dict(connection.execute("select record_id, payload from raw.salesforce__users").fetchall())


def sync_users(tenant: Tenant, served: Served, url: str, **more: Any) -> None:
    config = {**login(served), **QUICK, "instance_url": url, "streams": ["users"], "bulk_above": 0, **more}
    provision.add_connector(tenant.id, "salesforce", config, actor="system:tests")
    extract.run(tenant.slug, "salesforce", str(uuid.uuid4()))


def test_a_sync_lands_what_the_contract_s_bulk_gives(finishing_prism: str, served: Served, tenant: Tenant) -> None:
    with foreign.divided({PRISM_HAS: finishing_prism}, served.url) as (url, asked):
        sync_users(tenant, served, url)
    assert users_of(tenant) == {
        "005000000000001AAA": {
            "Id": "005000000000001AAA",
            "Name": 'Ada "the first" Example',
            "IsActive": True,
            "SystemModstamp": "2026-03-09T10:00:00.000+0000",
        },
        "005000000000002AAA": {
            "Id": "005000000000002AAA",
            "Name": "Line\nBreak",
            "IsActive": False,
            "SystemModstamp": "2026-03-09T11:00:00.000+0000",
        },
    }
    job = "/services/data/v63.0/jobs/query"
    assert asked == [f"POST {job}", f"GET {job}/abc123", f"GET {job}/abc123/results", f"DELETE {job}/abc123"]


def test_a_job_that_never_ends_is_given_up_with_a_sentence(
    prism: str, served: Served, tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "FIRST_WAIT", 0.01)
    with foreign.divided({PRISM_HAS: prism}, served.url) as (url, _):
        with pytest.raises(ClarityError, match=r"bulk job for User is not done after 0\.001 minutes"):
            sync_users(tenant, served, url, bulk_minutes=0.001)
    assert users_of(tenant) == {}


def test_a_job_that_is_gone_is_made_anew_a_few_times(
    finishing_prism: str, served: Served, tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "FIRST_WAIT", 0.01)
    gone = {r".*/jobs/query/\w+": "code=404"}
    with foreign.divided({PRISM_HAS: finishing_prism}, served.url, prefer=gone) as (url, asked):
        with pytest.raises(ClarityError, match="loses the bulk jobs for User again and again"):
            sync_users(tenant, served, url)
    assert 1 < asked.count("POST /services/data/v63.0/jobs/query") < 30


def test_a_result_that_names_the_same_next_page_for_ever_comes_to_an_end(
    finishing_prism: str, prism: str, served: Served, tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The contract's own example of a result: every page names the same next one."""
    monkeypatch.setattr(patience, "FIRST_WAIT", 0.01)
    doors = {r".*/jobs/query/\w+/results": prism, PRISM_HAS: finishing_prism}
    with foreign.divided(doors, served.url) as (url, asked):
        with pytest.raises(ClarityError, match="users: "):
            sync_users(tenant, served, url)
    assert len([line for line in asked if line.endswith("/results")]) < 30


# ── simple-mockforce: login, query, paging ───────────────────────────────────────────────────────────────────────────


class Mockforce:
    def __init__(self, url: str) -> None:
        self.url = url
        self._http = httpx.Client(base_url=f"{url}/services/data/v63.0/sobjects", timeout=30)

    def create(self, entity: str, **values: Any) -> str:
        # Two of its stamps within one millisecond would be one to whoever asks in SOQL, which has no finer ones.
        time.sleep(0.002)
        return str(self._http.post(f"/{entity}", json=values).raise_for_status().json()["id"])

    def edit(self, entity: str, record_id: str, **values: Any) -> None:
        self._http.patch(f"/{entity}/{record_id}", json=values).raise_for_status()

    def delete(self, entity: str, record_id: str) -> None:
        self._http.delete(f"/{entity}/{record_id}").raise_for_status()

    @staticmethod
    def settle() -> None:
        """Its clock is told by the second, and the second that runs is not read."""
        time.sleep(1.05)


def clarity(*words: str) -> Any:
    done = subprocess.run(
        [sys.executable, "-m", "cli.main", "--json", *words],
        capture_output=True,
        text=True,
        env=os.environ,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


def latest(tenant: Tenant, stream: str) -> dict[str, dict[str, Any]]:
    with database.run_session(tenant.id) as connection:
        return dict(
            connection.execute(
                f"select distinct on (record_id) record_id, payload from raw.salesforce__{stream}"
                " order by record_id, source_updated_at desc nulls last, seq desc".encode()
            ).fetchall()
        )


def test_connector_test_and_sync_work_against_a_salesforce_that_others_wrote(
    mockforce: str, tenant: Tenant, tmp_path: Path
) -> None:
    org = Mockforce(mockforce)
    accounts = [org.create("Account", Name=f"Account {number}", Industry="Software") for number in range(450)]
    contacts = [org.create("Contact", LastName=f"Person {number}", AccountId=accounts[number]) for number in range(3)]
    org.settle()
    config = {
        "login_url": mockforce,
        "instance_url": mockforce,
        **dict.fromkeys(("client_id", "client_secret"), "whatever"),
        "streams": ["accounts", "contacts"],
        "page_size": 200,
        "lag_seconds": 0,
    }
    (tmp_path / "salesforce.json").write_text(json.dumps(config), encoding="utf-8")
    clarity("connector", "add", tenant.slug, "salesforce", "--config", str(tmp_path / "salesforce.json"))
    assert clarity("connector", "test", tenant.slug, "salesforce")["ok"]
    with killed_after_page("accounts", 1):
        extract.run(tenant.slug, "salesforce", str(uuid.uuid4()))
    assert len(latest(tenant, "accounts")) == 200
    (told,) = clarity("sync", tenant.slug, "--connector", "salesforce")["syncs"]
    assert told["streams"]["accounts"]["created"] == 250
    assert {record_id: record["Name"] for record_id, record in latest(tenant, "accounts").items()} == {
        record_id: f"Account {number}" for number, record_id in enumerate(accounts)
    }
    assert set(latest(tenant, "contacts")) == set(contacts)

    org.edit("Account", accounts[7], Name="Renamed")
    org.delete("Contact", contacts[0])
    org.settle()
    (told,) = clarity("sync", tenant.slug, "--connector", "salesforce")["syncs"]
    assert told["streams"]["accounts"]["updated"] == 1
    assert told["streams"]["contacts"]["deleted"] == 1
    assert latest(tenant, "accounts")[accounts[7]]["Name"] == "Renamed"
    assert latest(tenant, "contacts")[contacts[0]]["IsDeleted"] is True


def test_the_same_commands_work_against_our_sandbox(served: Served, tenant: Tenant, tmp_path: Path) -> None:
    (tmp_path / "salesforce.json").write_text(json.dumps({**login(served), "page_size": 200}), encoding="utf-8")
    clarity("connector", "add", tenant.slug, "salesforce", "--config", str(tmp_path / "salesforce.json"))
    assert clarity("connector", "test", tenant.slug, "salesforce")["ok"]
    served.org.advance(seconds=60)
    (told,) = clarity("sync", tenant.slug, "--connector", "salesforce")["syncs"]
    assert told["failures"] == {}
    assert latest(tenant, "tasks") == served.org.truth("Task")
