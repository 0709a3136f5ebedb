"""The log, the doors for other processes, and the sandbox as a program."""

import subprocess
import sys

import httpx

from sandbox.salesforce import Org
from tests.borders import PROJECT
from tests.sandbox.caller import CREDENTIALS, Caller


def test_the_log_tells_what_was_asked_and_told(caller: Caller) -> None:
    caller.log.clear()
    caller.records("SELECT Id FROM Account")
    caller.query("SELECT Fooo FROM Account")
    good, wrong = caller.log.calls
    assert (good.method, good.path, good.status, good.rows_given) == ("GET", "/services/data/v63.0/queryAll", 200, 4)
    assert "SELECT+Id+FROM+Account" in good.query
    assert (wrong.status, wrong.error, wrong.rows_given) == (400, "INVALID_FIELD", 0)


def test_the_log_holds_no_secret(caller: Caller) -> None:
    caller.token(grant_type="refresh_token", refresh_token="sandbox-refresh", **CREDENTIALS)
    caller.get("limits?access_token=do-not-tell")
    told = str(caller.log.as_json())
    assert "refresh_token" in told, "the kind of login"
    for secret in ("sandbox-secret", "sandbox-refresh", "do-not-tell", *caller.org.identity.sessions):
        assert secret not in told


def test_another_process_moves_the_clock_changes_records_and_reads_the_truth(caller: Caller) -> None:
    http, account = caller.http, caller.org.ids("Account")[0]
    http.post("/_sandbox/advance", json={"days": 2})
    assert caller.org.now.day == 12
    order = {"do": "edit", "with": ["Account", account], "values": {"Name": "From afar"}}
    assert http.post("/_sandbox/mutate", json=order).status_code == 200
    assert http.get("/_sandbox/truth/Account").json()[account]["Name"] == "From afar"
    assert http.post("/_sandbox/mutate", json={"do": "explode"}).status_code == 400
    wrong = http.post("/_sandbox/mutate", json={"do": "delete", "with": ["Account", "nobody"]})
    assert wrong.status_code == 400
    http.post("/_sandbox/faults", json={"next": "500", "containing": "limits"})
    assert caller.get("limits").status_code == 500
    assert http.get("/_sandbox/faults").json()["done"] == {"500": 1}
    http.post("/_sandbox/settings", json={"budget": 3})
    assert caller.org.budget == 3
    assert http.get("/_sandbox/log").json()[-1]["path"].endswith("/limits")
    last = http.get("/_sandbox/calls").json()[-1]
    assert (last["method"], last["path"], last["status"]) == ("GET", "/services/data/v63.0/limits", 500)


def test_the_answers_bear_the_time_of_the_org(caller: Caller) -> None:
    assert caller.get("limits").headers["Date"] == "Tue, 10 Mar 2026 00:00:00 GMT"


def test_the_sandbox_explains_itself() -> None:
    command = [sys.executable, "-m", "sandbox", "salesforce", "--help"]
    told = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True).stdout
    for word in ("--port", "--seed", "--accounts", "/_sandbox/mutate", "sandbox-secret"):
        assert word in told


def test_the_sandbox_stands_as_a_program_with_the_same_records_as_here() -> None:
    command = [sys.executable, "-m", "sandbox", "salesforce", "--port", "0", "--seed", "7", "--accounts", "2"]
    with subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, text=True) as program:
        try:
            assert program.stdout
            url = program.stdout.readline().split()[-1]
            with httpx.Client(base_url=url, trust_env=False) as http:
                caller = Caller(Org(seed=7, accounts=2), http)
                assert http.get("/_sandbox/truth/Contact").json() == caller.org.truth("Contact")
                assert len(caller.records("SELECT Id FROM Account")) == 2
        finally:
            program.terminate()
