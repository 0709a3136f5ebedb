"""The Delivr.ai of the sandbox behaves as the vendor's does, also where that costs whoever reads it money."""

import httpx
import pytest

from sandbox.delivrai import Index, create_app
from sandbox.delivrai.world import hem_of
from sandbox.salesforce.faults import Faults
from tests.sandbox.caller import InThisProcess

TOPIC = "automation"
HOUR = 3_600_000


@pytest.fixture
def index() -> Index:
    return Index(seed=11, accounts=4, activities_per_year=3_000)


@pytest.fixture
def faults() -> Faults:
    return Faults()


@pytest.fixture
def http(index: Index, faults: Faults) -> httpx.Client:
    way = InThisProcess(create_app(index, faults))
    keys = {"X-Api-Key": index.api_key, "X-Api-Secret": index.api_secret}
    return httpx.Client(base_url="http://delivrai.example/api", headers=keys, transport=way)


def test_the_key_without_its_secret_opens_nothing(http: httpx.Client) -> None:
    assert http.get("/v1/whoami").json()["response"]["organization"]["name"] == "Seller"
    del http.headers["X-Api-Secret"]
    assert http.get("/v1/whoami").status_code == 401


def test_a_price_is_exact_for_intent_a_ceiling_for_events_and_free(index: Index, http: httpx.Client) -> None:
    people = http.post("/v1/intent/people", json={"topic_id": TOPIC, "dry_run": True}).json()
    assert people["records_fidelity"] == "exact"
    assert people["records_to_charge"] == len(index.researchers("people", TOPIC, high_only=False))
    upto = int(index.now.timestamp() * 1000)
    asked: dict[str, str | int] = {"project_id": "x", "start_ms": upto - 24 * HOUR, "end_ms": upto, "dry_run": "true"}
    assert http.get("/v3/events/resolution_full_profile", params=asked).json()["records_fidelity"] == "upper_bound"
    assert not index.billed


def test_the_total_stands_on_the_first_page_alone_and_the_last_names_no_next(index: Index, http: httpx.Client) -> None:
    index.research(TOPIC, "a@x.example", "b@x.example", "c@x.example")
    total = len(index.researchers("people", TOPIC, high_only=False))
    asked = {"topic_id": TOPIC, "page_size": total - 1}
    first = http.post("/v1/intent/people", json=asked).json()["response"]
    last = http.post("/v1/intent/people", json={**asked, "cursor": first["next_cursor"]}).json()["response"]
    assert (first["count"], "count" in last, "next_cursor" in last) == (total, False, False)
    assert index.billed["intent_people"] == total
    elsewhere = {**asked, "topic_id": "compliance", "cursor": first["next_cursor"]}
    assert http.post("/v1/intent/people", json=elsewhere).status_code == 400


def test_an_address_is_shown_to_whoever_asks_for_it_alone(index: Index, http: httpx.Client) -> None:
    index.research(TOPIC, "Ada@Customer.example")
    rows = [
        http.post("/v1/intent/people", json={"topic_id": TOPIC, **more}).json()["response"]["results"][0]
        for more in ({}, {"resolve": True})
    ]
    assert rows[0]["hem"] == rows[1]["hem"] == hem_of("ada@customer.example")
    assert ["seen_email" in row for row in rows] == [False, True]


def test_whom_nobody_knows_is_a_404_and_costs_nothing(index: Index, http: httpx.Client) -> None:
    assert http.get("/v1/lookup", params={"hem": hem_of("nobody@nowhere.example")}).status_code == 404
    assert not index.billed
    hem, known = next(iter(index.people.items()))
    assert http.get("/v1/lookup", params={"hem": hem}).json()["current_business_email"] == known.email
    batch = http.post("/v1/contact/query", json={"emails": [known.email, "nobody@nowhere.example"]}).json()
    assert (len(batch["records"]), batch["count"]) == (1, 1)
    assert index.billed["contact_record"] == 2


def test_a_window_of_events_is_25_hours_at_most(index: Index, http: httpx.Client) -> None:
    upto = int(index.now.timestamp() * 1000)
    for hours, status in ((25, 200), (26, 400)):
        asked: dict[str, str | int] = {"project_id": "x", "start_ms": upto - hours * HOUR, "end_ms": upto}
        assert http.get("/v3/events/resolution_full_profile", params=asked).status_code == status


def test_busy_says_when_to_come_again_and_every_answer_how_often(http: httpx.Client, faults: Faults) -> None:
    faults.next("503")
    busy = http.get("/v1/whoami")
    assert (busy.status_code, busy.json()["error"], busy.headers["Retry-After"]) == (503, "busy", "0")
    assert http.get("/v1/whoami").headers["X-RateLimit-Limit"] == "25"


def test_its_data_is_made_anew_at_midnight(index: Index, http: httpx.Client) -> None:
    def as_of() -> str:
        return str(http.post("/v1/intent/companies", json={"topic_id": TOPIC}).json()["as_of"])

    before = as_of()
    index.advance(seconds=3600)
    assert as_of() == before
    index.advance(days=1)
    assert as_of() > before


def test_somebody_beside_those_whom_the_seller_knows_researches_what_is_researched_there(index: Index) -> None:
    sellers = {hem_of(person.email) for person in index.company.people if person.email}
    topics = ("automation", "compliance", "planning-software", "supplier-comparison")
    told = {one.key for topic in topics for one in index.researchers("people", topic, high_only=False)}
    assert told - sellers
    assert told & sellers
