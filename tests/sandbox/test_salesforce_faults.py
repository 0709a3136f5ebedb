"""Faults are done on the wire, not told of: every one is met here by a real client over a real connection."""

import threading
import time
from collections.abc import Iterator

import httpx
import orjson
import pytest

from sandbox.salesforce import Faults, Org, Served, serve
from sandbox.salesforce.faults import KINDS
from tests.sandbox.caller import DATA, Caller

QUERY = "SELECT Id, Name FROM Account ORDER BY Id"


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with serve(Org(seed=1, accounts=6)) as server:
        yield server


@pytest.fixture
def client(served: Served) -> Iterator[Caller]:
    served.faults.clear()
    served.log.clear()
    with httpx.Client(base_url=served.url, timeout=5, trust_env=False) as http:
        yield Caller(served.org, http)


def names(answer: httpx.Response) -> list[str]:
    return [record["Name"] for record in answer.json()["records"]]


@pytest.mark.parametrize(
    ("kind", "status", "code"),
    [
        ("429", 429, "TOO_MANY_REQUESTS"),
        ("500", 500, "UNKNOWN_EXCEPTION"),
        ("quota", 403, "REQUEST_LIMIT_EXCEEDED"),
        ("expired", 401, "INVALID_SESSION_ID"),
    ],
)
def test_a_refusal_is_told_as_salesforce_tells_it(
    served: Served, client: Caller, kind: str, status: int, code: str
) -> None:
    served.faults.next(kind)
    answer = client.query(QUERY)
    assert client.refusal(answer) == f"{status} {code}"
    assert answer.headers["Sforce-Limit-Info"].startswith("api-usage=")
    assert "Retry-After" not in answer.headers
    assert served.log.calls[-1].fault == kind


def test_the_vendor_may_name_a_time_to_wait(served: Served, client: Caller) -> None:
    served.faults.next("429")
    served.faults.retry_after = 7
    try:
        assert client.query(QUERY).headers["Retry-After"] == "7"
    finally:
        served.faults.retry_after = None


def test_a_503_is_a_page_for_people(served: Served, client: Caller) -> None:
    served.faults.next("503")
    answer = client.query(QUERY)
    assert answer.status_code == 503
    assert answer.headers["Content-Type"].startswith("text/html")


def test_an_expired_session_is_really_gone(served: Served, client: Caller) -> None:
    served.faults.next("expired")
    client.query(QUERY)
    assert client.query(QUERY).status_code == 401
    client.login()
    assert client.query(QUERY).status_code == 200


def test_a_time_out_says_nothing_and_the_server_goes_on_serving_others(served: Served, client: Caller) -> None:
    served.faults.next("timeout")
    started = time.monotonic()
    with pytest.raises(httpx.ReadTimeout):
        client.http.get(f"{DATA}/limits", timeout=0.2)
    assert time.monotonic() - started < 2
    assert client.query(QUERY).status_code == 200


def test_what_was_asked_before_a_time_out_has_happened(served: Served, client: Caller) -> None:
    account = served.org.ids("Account")[0]
    served.faults.next("timeout", containing="PATCH")
    with pytest.raises(httpx.ReadTimeout):
        client.http.patch(f"{DATA}/sobjects/Account/{account}", json={"Name": "Written"}, timeout=0.2)
    assert served.org.truth("Account")[account]["Name"] == "Written"
    assert served.log.writes[-1].after == {"Name": "Written"}


def test_a_time_out_that_nobody_waits_out_ends_at_the_gateway(served: Served, client: Caller) -> None:
    served.faults.next("timeout")
    served.faults.hang_seconds = 0.1
    try:
        assert client.get("limits").status_code == 504
    finally:
        served.faults.hang_seconds = 30


def test_a_cut_connection_ends_in_the_middle_of_the_body(served: Served, client: Caller) -> None:
    served.faults.next("cut")
    with pytest.raises(httpx.RemoteProtocolError, match="without sending complete message body"):
        client.query(QUERY)
    assert client.query(QUERY).status_code == 200


def test_truncated_json_has_the_right_status_and_length_and_is_no_json(served: Served, client: Caller) -> None:
    served.faults.next("truncated")
    answer = client.query(QUERY)
    assert answer.status_code == 200
    assert int(answer.headers["Content-Length"]) == len(answer.content) > 100
    with pytest.raises(orjson.JSONDecodeError):
        orjson.loads(answer.content)


def test_a_slow_answer_drips_and_is_whole(served: Served, client: Caller) -> None:
    whole = client.query(QUERY)
    served.faults.next("slow")
    started = time.monotonic()
    assert client.query(QUERY).content == whole.content
    assert time.monotonic() - started >= served.faults.slow_seconds * 0.9


def test_a_doubled_page_holds_every_record_twice_and_a_shuffled_one_holds_them_in_disorder(
    served: Served, client: Caller
) -> None:
    whole = names(client.query(QUERY))
    served.faults.next("duplicate")
    assert names(client.query(QUERY)) == whole + whole
    served.faults.next("shuffled")
    shuffled = names(client.query(QUERY))
    assert shuffled != whole
    assert sorted(shuffled) == sorted(whole)


def test_a_part_of_a_bulk_result_is_doubled_row_by_row(served: Served, client: Caller) -> None:
    served.org.edit("Account", served.org.ids("Account")[0], Description="two\nlines")
    job = client.send("POST", "jobs/query", {"operation": "query", "query": "SELECT Id, Description FROM Account"})
    place = f"jobs/query/{job.json()['id']}"
    while client.get(place).json()["state"] != "JobComplete":
        pass
    head, *lines = client.get(f"{place}/results").text.split('\n"')
    served.faults.next("duplicate", containing="/results")
    doubled = client.get(f"{place}/results")
    assert doubled.text.split('\n"')[0] == head
    assert doubled.text.count('"001') == 2 * len(lines)
    assert doubled.headers["Sforce-NumberOfRecords"] == str(2 * len(lines))


def test_a_fault_that_does_not_fit_is_no_fault(served: Served, client: Caller) -> None:
    served.faults.next("shuffled")
    assert client.get("limits").status_code == 200
    assert served.log.calls[-1].fault == ""


def test_the_share_of_faults_is_about_the_one_asked_for_whatever_the_order_of_requests() -> None:
    requests = [("GET", "/services/data/v63.0/query", f"q={number % 97}") for number in range(4000)]
    drawn = []
    for order in (requests, requests[::-1]):
        faults = Faults(seed=4)
        faults.everything(0.2)
        drawn.append(sorted(faults.draw(*request) for request in order))
    assert drawn[0] == drawn[1]
    share = sum(map(bool, drawn[0])) / 4000
    assert 0.17 < share < 0.23
    assert set(drawn[0]) == {"", *KINDS}, "every kind, and none"


def test_rates_spare_the_login(served: Served, client: Caller) -> None:
    served.faults.rates = {"500": 1.0}
    assert client.query(QUERY).status_code == 500
    assert client.login()
    served.faults.next("503", containing="oauth2")
    assert client.token(grant_type="client_credentials").status_code == 503


def test_many_clients_are_served_while_records_change(served: Served, client: Caller) -> None:
    """The lock of the org holds between the server's thread and the test's."""
    failures: list[Exception] = []

    def read() -> None:
        try:
            for _ in range(5):
                assert len(client.records(QUERY)) == 6
        except (AssertionError, httpx.HTTPError, KeyError) as error:
            failures.append(error)

    readers = [threading.Thread(target=read) for _ in range(4)]
    for reader in readers:
        reader.start()
    for number in range(50):
        served.org.bulk_edit("Account", served.org.ids("Account"), Description=str(number))
    for reader in readers:
        reader.join()
    assert not failures
