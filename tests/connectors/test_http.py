"""The HTTP core against a vendor that misbehaves in every way: nobody sleeps, and each failure becomes one sentence."""

import asyncio
import logging
import traceback
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, TypeVar

import httpx
import pytest

from connectors.contract import ConnectorError, Fatal, Reauthorise, Retry, WaitUntil
from connectors.http import (
    LONGEST_BACKOFF,
    Advice,
    Answer,
    Budget,
    Clock,
    Grant,
    Http,
    Identity,
    Patience,
    Refused,
    RepeatGuard,
    Sign,
    Vendor,
)

Done = TypeVar("Done")
Reply = httpx.Response | Exception
NOON = datetime(2026, 3, 10, 12, tzinfo=UTC)
PLAIN = Vendor("Acme")
OK = {"fine": True}


@dataclass
class Stage:
    """A vendor that gives the next of its replies to each call, the last one for ever, and a clock that never waits."""

    replies: list[Reply]
    calls: list[httpx.Request] = field(default_factory=list)
    sleeps: list[float] = field(default_factory=list)
    logins: int = 0
    now: datetime = NOON

    def reply(self, request: httpx.Request) -> httpx.Response:
        self.calls.append(request)
        reply = self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]
        if isinstance(reply, Exception):
            raise reply
        return reply

    async def sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)
        self.now += timedelta(seconds=seconds)
        await asyncio.sleep(0)

    async def log_in(self, http: Http) -> Grant:
        self.logins += 1
        token = f"token-{self.logins}"
        http.hide(token)
        await asyncio.sleep(0)
        return Grant({"Authorization": f"Bearer {token}"}, "https://acme.example")

    @property
    def clock(self) -> Clock:
        return Clock(lambda: self.now, self.sleep)

    def run(self, work: Callable[[Http], Awaitable[Done]], vendor: Vendor = PLAIN, **more: Any) -> Done:
        identity = Identity(self.log_in, more.pop("secrets", ()))
        of_day, per_run = more.pop("shares", (0.8, 0.25))

        async def working() -> Done:
            http = Http(
                vendor,
                identity,
                Budget(vendor.name, of_day, per_run, self.clock),
                clock=self.clock,
                dice=Random(1),
                transport=more.pop("transport", None) or httpx.MockTransport(self.reply),
                **more,
            )
            try:
                return await work(http)
            finally:
                await http.aclose()

        return asyncio.run(working())

    def get(self, vendor: Vendor = PLAIN, path: str = "/things", **more: Any) -> Answer:
        return self.run(lambda http: http.send("GET", path), vendor, **more)


def says(status: int, body: Any = None, headers: Mapping[str, str] | None = None) -> httpx.Response:
    return httpx.Response(status, json=OK if body is None else body, headers=headers)


def text(status: int, body: str, kind: str = "text/html") -> httpx.Response:
    return httpx.Response(status, text=body, headers={"Content-Type": kind})


# ── throttles and waits ──────────────────────────────────────────────────────────────────────────────────────────────

BY_403 = replace(PLAIN, throttled=(Sign(429), Sign(403, word="REQUEST_LIMIT_EXCEEDED")))
BY_NAME = replace(PLAIN, throttled=(Sign(403, word="RateLimitError"),))
BY_HEADER = replace(PLAIN, throttled=(Sign(403, header="X-Rate-Limit-Problem"),))


@pytest.mark.parametrize(
    ("vendor", "refusal"),
    [
        pytest.param(PLAIN, says(429), id="by its status"),
        pytest.param(
            BY_403, says(403, [{"errorCode": "REQUEST_LIMIT_EXCEEDED"}]), id="as a quota in the body of a 403"
        ),
        pytest.param(BY_NAME, says(403, {"Errors": [{"Name": "RateLimitError"}]}), id="by a name in the body"),
        pytest.param(BY_HEADER, says(403, headers={"X-Rate-Limit-Problem": "minute"}), id="by a header"),
    ],
)
def test_a_throttle_is_recognised(vendor: Vendor, refusal: httpx.Response) -> None:
    stage = Stage([refusal, says(200)])
    assert stage.get(vendor).told == OK
    assert len(stage.calls) == 2


@pytest.mark.parametrize("vendor", [PLAIN, BY_403, BY_NAME, BY_HEADER])
def test_a_403_without_the_sign_of_a_throttle_is_a_refusal(vendor: Vendor) -> None:
    stage = Stage([says(403, {"why": "forbidden"})])
    with pytest.raises(Refused, match="forbidden"):
        stage.get(vendor)
    assert len(stage.calls) == 1


@pytest.mark.parametrize(
    ("wait", "value", "seconds"),
    [
        ("Retry-After", "7", 7),
        ("Retry-After", "Tue, 10 Mar 2026 12:00:30 GMT", 30),
        ("Retry-After", "Tue, 10 Mar 2026 11:00:00 GMT", 0),
        ("RateLimit-Reset", "12", 12),
        ("X-RateLimit-Reset", str(int(NOON.timestamp()) + 9), 9),
        ("X-RateLimit-Reset", "4", 4),
    ],
)
def test_the_wait_is_the_one_that_the_vendors_header_names(wait: Any, value: str, seconds: float) -> None:
    stage = Stage([says(429, headers={wait: value}), says(200)])
    stage.get(replace(PLAIN, wait=wait))
    assert stage.sleeps == [seconds]


@pytest.mark.parametrize("headers", [{}, {"Retry-After": "soon"}])
def test_without_a_usable_header_the_wait_grows_and_is_not_the_same_for_everyone(headers: dict[str, str]) -> None:
    stage = Stage([says(429, headers=headers), says(429, headers=headers), says(429, headers=headers), says(200)])
    stage.get()
    assert all(0 <= slept <= 0.5 * 2**attempt for attempt, slept in enumerate(stage.sleeps))
    assert len(set(stage.sleeps)) == 3


def test_no_backoff_is_longer_than_the_longest() -> None:
    stage = Stage([says(503)])
    with pytest.raises(Retry):
        stage.get(patience=Patience(attempts=20))
    assert max(stage.sleeps) <= LONGEST_BACKOFF.total_seconds()


def test_a_long_wait_is_left_to_the_caller_with_its_time() -> None:
    stage = Stage([says(429, headers={"Retry-After": "3600"})])
    with pytest.raises(WaitUntil, match="13:00") as raised:
        stage.get()
    assert raised.value.until == NOON + timedelta(hours=1)
    assert stage.sleeps == []


def test_a_throttle_that_does_not_end_becomes_a_time_to_come_back() -> None:
    stage = Stage([says(429)])
    with pytest.raises(WaitUntil):
        stage.get(patience=Patience(attempts=3))
    assert len(stage.calls) == 3


# ── what may be repeated ─────────────────────────────────────────────────────────────────────────────────────────────


def named(replies: list[Reply]) -> list[str]:
    return [f"{number} {reply!r}"[:40] for number, reply in enumerate(replies)]


TROUBLES: list[Reply] = [
    says(500),
    says(502),
    text(503, "<html>down for maintenance</html>"),
    httpx.ReadTimeout("slow"),
    httpx.ReadError("cut"),
    httpx.RemoteProtocolError("peer closed connection without sending complete message body"),
    text(200, '{"records": [{"Id": "1"', "application/json"),
    text(200, "<html>a proxy's page</html>", "application/json"),
]


@pytest.mark.parametrize("trouble", TROUBLES, ids=named(TROUBLES))
def test_a_reading_is_repeated_whatever_went_wrong_on_the_way(trouble: Reply) -> None:
    stage = Stage([trouble, trouble, says(200)])
    assert stage.get().told == OK
    assert len(stage.calls) == 3


@pytest.mark.parametrize("trouble", TROUBLES, ids=named(TROUBLES))
def test_what_might_have_been_carried_out_is_not_sent_twice(trouble: Reply) -> None:
    stage = Stage([trouble])
    with pytest.raises(Retry, match="not known"):
        stage.run(lambda http: http.send("PATCH", "/things", content=b"{}"))
    assert len(stage.calls) == 1


@pytest.mark.parametrize("trouble", [says(429), httpx.ConnectError("refused"), httpx.ConnectTimeout("silent")])
def test_what_certainly_was_not_carried_out_is_sent_again(trouble: Reply) -> None:
    stage = Stage([trouble, says(200)])
    stage.run(lambda http: http.send("PATCH", "/things", content=b"{}"))
    assert [request.content for request in stage.calls] == [b"{}", b"{}"]


def test_a_vendor_may_name_calls_that_are_safe_to_repeat() -> None:
    stage = Stage([says(500), says(200)])
    vendor = replace(PLAIN, repeatable=r"^POST /jobs/query$")
    assert stage.run(lambda http: http.send("POST", "/jobs/query?x=1"), vendor).told == OK


def test_a_vendor_that_stays_unwell_is_named_with_what_it_said() -> None:
    stage = Stage([text(503, "<html><h1>Down for maintenance</h1></html>")])
    with pytest.raises(Retry, match=r"Acme is not well \(503\): Down for maintenance, 8 times in a row"):
        stage.get()


def test_a_wait_for_an_answer_that_only_drips_has_an_end() -> None:
    async def drip(_request: httpx.Request) -> httpx.Response:
        await asyncio.sleep(60)
        return says(200)

    stage = Stage([])
    with pytest.raises(Retry, match="did not answer in time"):
        stage.get(transport=httpx.MockTransport(drip), patience=Patience(total=0.01, attempts=2))


def test_an_address_that_is_none_is_the_configurations_fault() -> None:
    class Lost(Stage):
        async def log_in(self, _http: Http) -> Grant:
            return Grant({}, "acme.example")

    with pytest.raises(Fatal, match="is no address"):
        Lost([httpx.UnsupportedProtocol("no scheme")]).get()


def test_an_error_code_with_advice_becomes_its_class_and_tells_what_to_do() -> None:
    def explain(answer: Answer) -> tuple[str, str]:
        return "NO_API", answer.body.decode()

    advice = {"NO_API": Advice(Reauthorise, "Switch the API on.")}
    with pytest.raises(Reauthorise, match=r"NO_API: .*disabled.* Switch the API on\."):
        Stage([text(403, "disabled")]).get(replace(PLAIN, explain=explain, advice=advice))


# ── sessions ─────────────────────────────────────────────────────────────────────────────────────────────────────────


class Sessions(Stage):
    """Answers only to the tokens that are `valid`."""

    valid: str = "token-2"

    def reply(self, request: httpx.Request) -> httpx.Response:
        self.calls.append(request)
        return says(200) if request.headers["Authorization"] == f"Bearer {self.valid}" else says(401)


def test_many_streams_that_meet_an_expired_session_at_once_cause_one_login() -> None:
    stage = Sessions([])

    async def eleven(http: Http) -> list[Answer]:
        return await asyncio.gather(*(http.send("GET", f"/streams/{number}") for number in range(11)))

    answers = stage.run(eleven)
    assert [answer.told for answer in answers] == [OK] * 11
    assert stage.logins == 2


def test_a_second_refusal_after_a_fresh_login_needs_a_person() -> None:
    stage = Sessions([])
    stage.valid = "none"
    with pytest.raises(Reauthorise, match="refuses the session that it has just given"):
        stage.get()
    assert stage.logins == 2


def test_a_vendor_whose_sessions_end_for_other_reasons_gets_more_logins() -> None:
    stage = Sessions([])
    stage.valid = "token-4"
    assert stage.get(replace(PLAIN, fresh_logins=3)).told == OK


def test_a_check_and_the_sync_after_it_log_in_once() -> None:
    stage = Stage([says(200)])
    identity, budget = Identity(stage.log_in), Budget("Acme", 1, 1, stage.clock)

    async def once() -> None:
        http = Http(PLAIN, identity, budget, transport=httpx.MockTransport(stage.reply))
        await http.send("GET", "/things")
        await http.aclose()

    asyncio.run(once())
    asyncio.run(once())
    assert stage.logins == 1


def test_a_login_is_given_up_before_those_who_wait_for_its_token_give_up() -> None:
    class Hanging(Stage):
        async def log_in(self, http: Http) -> Grant:
            await http.ask("POST", "https://acme.example/token", headers={}, content=b"")
            raise AssertionError("nothing answers")

    stage = Hanging([httpx.ReadTimeout("silence")])
    with pytest.raises(Retry, match="3 times in a row"):
        stage.get()
    assert len(stage.calls) == 3


def test_no_more_calls_are_under_way_than_the_vendor_bears() -> None:
    under_way, most = 0, 0

    async def reply(_request: httpx.Request) -> httpx.Response:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0.001)
        under_way -= 1
        return says(200)

    async def many(http: Http) -> None:
        await asyncio.gather(*(http.send("GET", "/things") for _ in range(30)))

    Stage([]).run(many, replace(PLAIN, concurrency=3), transport=httpx.MockTransport(reply))
    assert most == 3


def test_a_token_that_is_refused_at_once_costs_one_call_and_not_one_of_every_stream() -> None:
    stage = Sessions([])
    stage.valid = "none"

    async def eleven(http: Http) -> list[Answer | BaseException]:
        sending = (http.send("GET", f"/streams/{number}") for number in range(11))
        return await asyncio.gather(*sending, return_exceptions=True)

    assert all(isinstance(outcome, Reauthorise) for outcome in stage.run(eleven))
    assert stage.logins == len(stage.calls) == 2


def test_nobody_calls_with_a_token_that_was_refused_while_they_waited_for_their_turn() -> None:
    """One who did could end the session that somebody else has just begun."""
    stage = Sessions([])
    stage.valid = "token-5"

    async def eleven(http: Http) -> list[Answer]:
        return await asyncio.gather(*(http.send("GET", f"/streams/{number}") for number in range(11)))

    answers = stage.run(eleven, replace(PLAIN, fresh_logins=8))
    assert [answer.told for answer in answers] == [OK] * 11
    assert stage.logins == 5
    assert len(stage.calls) == 4 + 11


# ── budgets ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def usage(headers: Mapping[str, str]) -> tuple[int, int] | None:
    return (int(headers["X-Used"]), int(headers["X-Allowed"])) if "X-Used" in headers else None


METERED = replace(PLAIN, usage=usage)


@dataclass
class Metered(Stage):
    used: int = 0
    allowed: int = 100

    def reply(self, request: httpx.Request) -> httpx.Response:
        self.calls.append(request)
        self.used += 1
        return says(200, headers={"X-Used": str(self.used), "X-Allowed": str(self.allowed)})


async def until_refused(http: Http) -> WaitUntil:
    async def stream(name: str) -> None:
        while True:
            await http.send("GET", f"/{name}")

    outcomes = await asyncio.gather(*(stream(name) for name in "abc"), return_exceptions=True)
    waits = [outcome for outcome in outcomes if isinstance(outcome, WaitUntil)]
    assert len(waits) == 3
    return waits[0]


def test_all_streams_together_stop_before_the_share_of_the_day_is_passed() -> None:
    stage = Metered([], used=70)
    wait = stage.run(until_refused, METERED, shares=(0.8, 1))
    assert 78 <= stage.used <= 80
    assert "we stop at 80%" in str(wait)
    assert wait.until > NOON


def test_all_streams_together_stop_at_the_share_of_a_run() -> None:
    stage = Metered([])
    wait = stage.run(until_refused, METERED, shares=(0.8, 0.25))
    assert len(stage.calls) == 25
    assert "its share of 25%" in str(wait)


def test_a_call_without_an_answer_counts_as_used() -> None:
    budget = Budget("Acme", 0.5, 1, Clock())
    budget.take()
    budget.settle((48, 100))
    for _ in range(2):
        budget.take()
        budget.settle(None)
    with pytest.raises(WaitUntil, match="50 of the 100 calls"):
        budget.take()


def test_an_answer_that_was_overtaken_does_not_lower_the_count() -> None:
    budget = Budget("Acme", 0.5, 1, Clock())
    for _ in range(2):
        budget.take()
    for used in (50, 41):
        budget.settle((used, 100))
    with pytest.raises(WaitUntil):
        budget.take()


def test_a_quota_that_the_vendor_says_is_used_up_is_not_waited_for_inside_a_call() -> None:
    stage = Stage([says(429, headers={"X-Used": "100", "X-Allowed": "100"})])
    with pytest.raises(WaitUntil, match="used up"):
        stage.get(METERED)
    assert stage.sleeps == []


# ── cursors and secrets ──────────────────────────────────────────────────────────────────────────────────────────────


def test_a_cursor_that_comes_again_ends_the_reading_instead_of_going_round_for_ever() -> None:
    guard = RepeatGuard("Reading things")
    for cursor in ("a", "b", None, ("stamp", "id")):
        guard.follow(cursor)
    with pytest.raises(Fatal, match="Reading things came to a place"):
        guard.follow("b")


CANARIES = ("canary-password-81", "token-1", "token-2")


REPLIES: list[Reply] = [
    says(200),
    says(400, {"error": f"bad {CANARIES[0]} and {CANARIES[1]}"}),
    says(401, {"error": f"expired {CANARIES[1]} {CANARIES[2]}"}),
    says(429, {"error": CANARIES[1]}),
    says(500, {"error": f"{'x' * 290}{CANARIES[0]}"}),
    text(200, f"{{{CANARIES[0]}", "application/json"),
    httpx.ReadError(f"cut at {CANARIES[0]}"),
    httpx.ConnectError(f"refused {CANARIES[1]}"),
]


@pytest.mark.parametrize("reply", REPLIES, ids=named(REPLIES))
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_no_secret_is_in_a_log_line_an_exception_or_an_address(
    reply: Reply, method: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    stage = Stage([reply])
    told = ""
    try:
        stage.run(lambda http: http.send(method, "/things", content=CANARIES[0].encode()), secrets=[CANARIES[0]])
    except ConnectorError as error:
        told = str(error) + "".join(traceback.format_exception(error))
    traces = told + caplog.text + "".join(str(request.url) for request in stage.calls)
    assert stage.calls
    # The beginning of a secret is as little for the public as the whole of it.
    assert not [canary for canary in (*CANARIES, "canary-pass") if canary in traces]
