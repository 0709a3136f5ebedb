"""The one way to a vendor over HTTP: logins, budgets, waits and retries are here once, whatever the vendor.

A vendor's manners are data (`Vendor`): what marks a refusal for now, which header says how long, what uses up the day.
`Http.send` answers with a whole, readable answer or raises one of the contract's errors with a sentence in it; it never
repeats by itself what might have been carried out already. Times and chances come in (`Clock`, `Random`).

Nothing secret gets out: bodies, headers and queries are not logged, and what a vendor says is quoted without the
secrets that are known here.
"""

import asyncio
import logging
import re
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Hashable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import cache
from math import inf
from random import Random
from typing import Any, Generic, Literal, TypeVar

import httpx
import orjson

from connectors.contract import ConnectorError, Fatal, Reauthorise, Retry, WaitUntil

log = logging.getLogger(__name__)

LONGEST_QUOTATION = 300
# Shorter ones would be found in every word.
SHORTEST_SECRET = 4
LONGEST_BACKOFF = timedelta(seconds=30)
# A vendor that wants us to wait longer than this is not waited for inside a request: the caller decides.
LONGEST_WAIT_INSIDE = timedelta(seconds=60)
# Other processes wait while one renews a token that they share.
LOGIN_ATTEMPTS, LOGIN_SECONDS = 3, 15.0
# Somebody who ends our sessions faster than a request gets through will not stop by our asking on.
MOST_SESSIONS = 50
UNTIL_A_BUDGET_RECOVERS = timedelta(hours=1)

WaitHeader = Literal["Retry-After", "RateLimit-Reset", "X-RateLimit-Reset"]


# ── what a vendor is like ────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes
    told: Any = None  # the body as its content type is read; None where nothing reads it

    @property
    def date(self) -> datetime | None:
        """The vendor's clock when it answered."""
        with suppress(TypeError, ValueError):
            return parsedate_to_datetime(self.headers.get("Date", ""))
        return None


@dataclass(frozen=True, slots=True)
class Sign:
    """What marks a kind of answer: its status and, where that says too little, a word of the body or a header."""

    status: int
    word: str = ""
    header: str = ""

    def marks(self, answer: Answer) -> bool:
        return (
            answer.status == self.status
            and self.word.encode() in answer.body
            and (not self.header or self.header in answer.headers)
        )


@dataclass(frozen=True, slots=True)
class Advice:
    """What an error code of the vendor asks of people, and of the caller by its class."""

    error: type[ConnectorError]
    what_to_do: str


def _json(answer: Answer) -> Any:
    return orjson.loads(answer.body) if answer.body else None


def words_of(refusal: Answer) -> Any:
    """What a refusal's body says: as it is read from JSON, else a text."""
    try:
        return orjson.loads(refusal.body)
    except orjson.JSONDecodeError:
        return refusal.body[:2_000].decode("utf-8", "replace")


def _tells_nothing(answer: Answer) -> tuple[str, str]:
    return "", answer.body.decode("utf-8", "replace")


@dataclass(frozen=True, slots=True)
class Vendor:
    name: str
    throttled: Sequence[Sign] = (Sign(429),)
    expired: Sequence[Sign] = (Sign(401),)
    unwell: Collection[int] = frozenset({408, 500, 502, 503, 504})
    wait: WaitHeader | None = "Retry-After"
    # (used, allowed) of the day, read from an answer's headers.
    usage: Callable[[Mapping[str, str]], tuple[int, int] | None] | None = None
    # (code, message) of a refusal.
    explain: Callable[[Answer], tuple[str, str]] = _tells_nothing
    advice: Mapping[str, Advice] = field(default_factory=dict)
    # How a body is read, by a word of its content type. A ValueError means that it broke off on the way.
    readers: Mapping[str, Callable[[Answer], Any]] = field(default_factory=lambda: {"json": _json})
    # Matches "METHOD /path" of what may be sent twice though its method does not promise it.
    repeatable: str = r"(?!)"
    concurrency: int = 8
    # How many logins in a row may give a token that is refused before a person has to look.
    fresh_logins: int = 1


@dataclass(frozen=True, slots=True)
class Patience:
    """Time-outs of one attempt, in seconds, and how often a request is tried."""

    connect: float = 10
    read: float = 120
    total: float = 180
    attempts: int = 8
    backoff: float = 0.5


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Clock:
    now: Callable[[], datetime] = _now
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep


class Refused(Fatal):
    """The vendor understood the request and said no. `code` is the vendor's word for the reason."""

    def __init__(self, message: str, status: int, code: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


# ── a share of the vendor's day ──────────────────────────────────────────────────────────────────────────────────────


class Budget:
    """How much of the day's calls we take: learned from the vendor's answers, shared by all streams of a run.

    The day's share counts what everybody uses, so that we stop before the people who work with the system are refused;
    the run's share counts our own.
    """

    def __init__(self, vendor: str, share_of_day: float, share_per_run: float, clock: Clock) -> None:
        self._vendor = vendor
        self._share_of_day = share_of_day
        self._share_per_run = share_per_run
        self._clock = clock
        self._under_way = 0
        self.used: int | None = None
        self.allowed: int | None = None
        self.calls = 0

    @property
    def is_spent(self) -> bool:
        """Whether the vendor itself has said that nothing is left."""
        return self.allowed is not None and self.used is not None and self.used >= self.allowed

    def take(self) -> None:
        """Count one call, or raise WaitUntil instead of making it."""
        if self.allowed is not None and self.used is not None:
            if self.used + self._under_way + 1 > self._share_of_day * self.allowed:
                raise self._wait(
                    f"{self.used} of the {self.allowed} calls that {self._vendor} allows in 24 hours are used, and we"
                    f" stop at {self._share_of_day:.0%}. Everything read so far is kept; the next sync goes on from"
                    " there. Find what else uses calls, buy more, or raise share_of_day"
                )
            if self.calls + 1 > self._share_per_run * self.allowed:
                raise self._wait(
                    f"this run has made {self.calls} calls, its share of {self._share_per_run:.0%} of the"
                    f" {self.allowed} that {self._vendor} allows in 24 hours. Everything read so far is kept; the next"
                    " sync goes on from there. Raise share_per_run if that takes too long"
                )
        self.calls += 1
        self._under_way += 1

    def settle(self, usage: tuple[int, int] | None) -> None:
        """What became of one call that was taken: the vendor's count, None if the answer had none."""
        self._under_way -= 1
        if usage is not None:
            # Answers overtake each other, so an older, lower count may come last.
            self.used, self.allowed = max(usage[0], self.used or 0), usage[1]
        elif self.used is not None:
            self.used += 1

    def _wait(self, reason: str) -> WaitUntil:
        until = self._clock.now() + UNTIL_A_BUDGET_RECOVERS
        return WaitUntil(f"{reason}. Not before {until:%Y-%m-%d %H:%M} UTC.", until)


# ── logins ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(slots=True)
class Grant:
    """What a login gave: the headers that prove it and the place where it counts."""

    headers: Mapping[str, str]
    base_url: str
    is_proven: bool = False
    refusal: Answer | None = None


class Identity:
    """Who we are at the vendor, and the secrets that prove it, which nobody may read.

    Outlives an event loop, so that a check and the sync after it log in once.
    """

    def __init__(self, log_in: Callable[["Http"], Awaitable[Grant]], secrets: Iterable[str] = ()) -> None:
        self.log_in = log_in
        self.grant: Grant | None = None
        self.secrets = set(secrets)
        # Tokens refused one after the other, with nothing accepted in between.
        self.refused_in_a_row = 0


# ── against endless loops ────────────────────────────────────────────────────────────────────────────────────────────


class RepeatGuard:
    """Every cursor or link of one reading passes here; one that comes again would be followed for ever."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._seen: set[Hashable] = set()

    def follow(self, cursor: Hashable) -> None:
        if cursor in self._seen:
            raise Fatal(
                f"{self._what} came to a place in the list where it had been before, and would go round for ever."
                " Nothing is lost: what was read is kept. Report it to the vendor if it happens again."
            )
        self._seen.add(cursor)


# ── the core ─────────────────────────────────────────────────────────────────────────────────────────────────────────


class _Attempt(Exception):
    """One attempt that failed and may be worth another."""

    def __init__(self, reason: str, *, reached: bool, throttled: bool = False, wait: timedelta | None = None) -> None:
        super().__init__(reason)
        self.reached = reached  # whether the vendor may have carried it out
        self.throttled = throttled
        self.wait = wait


class Http:
    """Belongs to the event loop that it is made in. Identity and budget are the caller's and may outlive it."""

    def __init__(
        self,
        vendor: Vendor,
        identity: Identity,
        budget: Budget,
        *,
        patience: Patience | None = None,
        clock: Clock | None = None,
        dice: Random | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
        pace: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self.vendor = vendor
        self.patience = patience or Patience()
        self.clock = clock or Clock()
        self._identity = identity
        self._budget = budget
        self._pace = pace  # waited for before each call
        self._dice = dice or Random()  # noqa: S311 - spreads retries, guards nothing
        self._login = asyncio.Lock()
        self._alone = asyncio.Lock()
        self._slots = asyncio.Semaphore(vendor.concurrency)
        self._client = httpx.AsyncClient(
            transport=transport,
            verify=_certificates(),
            timeout=httpx.Timeout(self.patience.read, connect=self.patience.connect),
            limits=httpx.Limits(max_connections=vendor.concurrency, max_keepalive_connections=vendor.concurrency),
            follow_redirects=False,
        )

    async def aclose(self) -> None:
        await self._client.aclose()

    async def send(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        content: bytes | None = None,
    ) -> Answer:
        """One call as who we are, at the place that the login named. `path` may bring its own query."""
        may_repeat, attempt = self._may_repeat(method, path), 1
        for _ in range(MOST_SESSIONS):
            try:
                grant, answer = await self._as_us(method, path, params, headers, content)
                if self._is_expired(answer):
                    await self._log_in_again(grant, answer)
                    continue
                self._identity.refused_in_a_row = 0
                return self._judged(answer, method, path)
            except _Attempt as failed:
                await self._wait_or_raise(failed, attempt, may_repeat, f"{method} {_without_query(path)}")
                attempt += 1
        raise Retry(f"{self.vendor.name} ended the session again and again. Nothing is lost; run the sync again.")

    async def ask(self, method: str, url: str, *, headers: Mapping[str, str], content: bytes) -> Answer:
        """One call as nobody, to a whole address: how a login is made. Not counted in the budget, safe to repeat."""
        attempts = min(LOGIN_ATTEMPTS, self.patience.attempts)
        for attempt in range(1, attempts + 1):
            try:
                answer = await self._once(method, url, None, headers, content, most=LOGIN_SECONDS)
                return self._judged(answer, method, url)
            except _Attempt as failed:
                await self._wait_or_raise(failed, attempt, True, "the login", attempts)
        raise AssertionError("the last attempt raises")

    def hide(self, *secrets: str) -> None:
        """From now on these are not repeated in any sentence either."""
        self._identity.secrets.update(secrets)

    def redacted(self, text: str) -> str:
        """`text` without any secret that is known here."""
        for secret in sorted(self._identity.secrets, key=len, reverse=True):
            if len(secret) >= SHORTEST_SECRET:
                text = text.replace(secret, "***")
        return text

    # ── logins ──

    async def _grant(self) -> Grant:
        if self._identity.grant is None:
            async with self._login:
                if self._identity.grant is None:
                    self._identity.grant = await self._identity.log_in(self)
        return self._identity.grant

    async def _log_in_again(self, refused: Grant, answer: Answer) -> None:
        """Single flight: of all who were refused with one token, the first logs in and the others find its token."""
        async with self._login:
            if self._identity.grant is not refused:
                return
            self._identity.refused_in_a_row += 1
            if self._identity.refused_in_a_row > self.vendor.fresh_logins:
                raise Reauthorise(
                    f"{self.vendor.name} refuses the session that it has just given:"
                    f" {self._quoted(answer)}. Log in again, and look at the rights and session settings of the user."
                )
            if self._identity.refused_in_a_row > 1:
                await self.clock.sleep(self._backoff(self._identity.refused_in_a_row - 1))
            self._identity.grant = await self._identity.log_in(self)

    # ── one attempt ──

    async def _as_us(
        self,
        method: str,
        path: str,
        params: Mapping[str, str] | None,
        headers: Mapping[str, str] | None,
        content: bytes | None,
    ) -> tuple[Grant, Answer]:
        """The first call with a new token goes alone, and those after it know that it is good and what is left of the
        day: else a token that is refused at once, or a budget that is used up, would cost a call of every stream.
        For the same reason nobody calls with a token that has been refused: who waited for their turn get its refusal.
        """

        async def call() -> Answer:
            async with self._slots:
                if self._pace is not None:
                    await self._pace()
                if grant.refusal is not None:
                    return grant.refusal
                self._budget.take()
                usage = None
                try:
                    sent = {**(headers or {}), **grant.headers}
                    answer = await self._once(method, grant.base_url + path, params, sent, content)
                    usage = self.vendor.usage(answer.headers) if self.vendor.usage else None
                finally:
                    self._budget.settle(usage)
            if self._is_expired(answer):
                grant.refusal = answer
            grant.is_proven = grant.refusal is None
            return answer

        grant = await self._grant()
        if not self._may_go_together(grant):
            async with self._alone:
                grant = await self._grant()
                if not self._may_go_together(grant):
                    return grant, await call()
        return grant, await call()

    def _may_go_together(self, grant: Grant) -> bool:
        return grant.is_proven and (self.vendor.usage is None or self._budget.allowed is not None)

    def _is_expired(self, answer: Answer) -> bool:
        return any(sign.marks(answer) for sign in self.vendor.expired)

    async def _once(
        self,
        method: str,
        url: str,
        params: Mapping[str, str] | None,
        headers: Mapping[str, str],
        content: bytes | None,
        most: float = inf,
    ) -> Answer:
        name = self.vendor.name
        try:
            async with asyncio.timeout(min(most, self.patience.total)):
                response = await self._client.request(method, url, params=params, headers=headers, content=content)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError) as error:
            reason = f"{name} cannot be reached: {_reason(error)}"
            raise _Attempt(self.redacted(reason), reached=False) from None
        except (httpx.TimeoutException, TimeoutError):
            raise _Attempt(f"{name} did not answer in time", reached=True) from None
        except (httpx.TransportError, httpx.DecodingError) as error:
            if isinstance(error, httpx.UnsupportedProtocol):
                raise Fatal(f"{_without_query(url)} is no address. Correct the connector's addresses.") from None
            reason = f"the connection to {name} broke: {_reason(error)}"
            raise _Attempt(self.redacted(reason), reached=True) from None
        except httpx.InvalidURL:
            raise Fatal(f"{_without_query(url)} is no address. Correct the connector's addresses.") from None
        log.debug("%s %s %s: %s", name, method, _without_query(url), response.status_code)
        return Answer(response.status_code, response.headers, response.content)

    def _judged(self, answer: Answer, method: str, path: str) -> Answer:
        """The answer, read if it is JSON; what is no answer to go on with is raised."""
        name = self.vendor.name
        if any(sign.marks(answer) for sign in self.vendor.throttled):
            reason = f"{name} asks for a pause: {self._quoted(answer)}"
            if self._budget.is_spent:
                raise WaitUntil(f"{reason}. The day's calls are used up.", self.clock.now() + UNTIL_A_BUDGET_RECOVERS)
            raise _Attempt(reason, reached=False, throttled=True, wait=self._named_wait(answer))
        code, _ = self.vendor.explain(answer) if answer.status >= 300 else ("", "")
        if advice := self.vendor.advice.get(code):
            sentence = f"{name}: {self._quoted(answer)}. {advice.what_to_do}"
            if advice.error is WaitUntil:
                raise WaitUntil(sentence, self.clock.now() + UNTIL_A_BUDGET_RECOVERS)
            if issubclass(advice.error, Refused):
                raise Refused(sentence, answer.status, code)
            raise advice.error(sentence)
        if answer.status in self.vendor.unwell:
            reason = f"{name} is not well ({answer.status}): {self._quoted(answer)}"
            raise _Attempt(reason, reached=True, wait=self._named_wait(answer))
        if answer.status >= 300:
            what = f"{method} {_without_query(path)}"
            raise Refused(f"{name} refuses {what}: {self._quoted(answer)}.", answer.status, code)
        kind = answer.headers.get("Content-Type", "")
        try:
            return next(
                (replace(answer, told=read(answer)) for word, read in self.vendor.readers.items() if word in kind),
                answer,
            )
        except ValueError:
            raise _Attempt(f"{name} sent an answer that breaks off", reached=True) from None

    # ── another attempt ──

    async def _wait_or_raise(
        self, failed: _Attempt, attempt: int, may_repeat: bool, what: str, attempts: int | None = None
    ) -> None:
        last = attempt == (attempts or self.patience.attempts)
        reason = str(failed)
        if failed.reached and not may_repeat:
            raise Retry(f"{reason}. Whether {what} was carried out is not known, so it was not sent again: look first.")
        seconds = failed.wait.total_seconds() if failed.wait is not None else self._backoff(attempt)
        if seconds > LONGEST_WAIT_INSIDE.total_seconds() or (failed.throttled and last):
            until = self.clock.now() + max(timedelta(seconds=seconds), LONGEST_WAIT_INSIDE)
            raise WaitUntil(f"{reason}. Not before {until:%Y-%m-%d %H:%M} UTC.", until)
        if last:
            raise Retry(f"{reason}, {attempt} times in a row. Nothing is lost; the next sync goes on from here.")
        log.info("%s: %s; attempt %s follows in %.1f s", what, reason, attempt + 1, seconds)
        await self.clock.sleep(seconds)

    def _backoff(self, attempt: int) -> float:
        """Full jitter: whoever was refused at the same moment does not come back at the same moment."""
        return self._dice.uniform(0, min(LONGEST_BACKOFF.total_seconds(), self.patience.backoff * 2 ** (attempt - 1)))

    def _named_wait(self, answer: Answer) -> timedelta | None:
        if self.vendor.wait is None or not (text := answer.headers.get(self.vendor.wait, "").strip()):
            return None
        try:
            number = float(text)
        except ValueError:
            with suppress(TypeError, ValueError):
                return max(timedelta(0), parsedate_to_datetime(text) - self.clock.now())
            return None
        if self.vendor.wait == "X-RateLimit-Reset" and number > 1_000_000_000:
            return max(timedelta(0), datetime.fromtimestamp(number, UTC) - self.clock.now())
        return timedelta(seconds=max(0.0, number))

    def _may_repeat(self, method: str, path: str) -> bool:
        if method in ("GET", "HEAD", "OPTIONS"):
            return True
        return re.search(self.vendor.repeatable, f"{method} {_without_query(path)}") is not None

    def _quoted(self, answer: Answer) -> str:
        code, message = self.vendor.explain(answer)
        # Of a page for browsers only the words are worth quoting.
        text = (
            " ".join(re.sub(r"<[^<>]*>", " ", f"{code}: {message}").strip(": ").split())
            or f"status {answer.status}, no reason given"
        )
        return self.redacted(text)[:LONGEST_QUOTATION].rstrip(". ")


A = TypeVar("A")


class Shared(Generic[A]):
    """A vendor's API for all who use it at a time: opened by the first of them, closed behind the last."""

    def __init__(
        self, http: Callable[[], Http], api: Callable[[Http], A], close: Callable[[A], None] = lambda _api: None
    ) -> None:
        self._make_http, self._make_api, self._close = http, api, close
        self._open: tuple[Http, A] | None = None
        self._users = 0

    @asynccontextmanager
    async def __call__(self) -> AsyncIterator[A]:
        if self._open is None:
            http = self._make_http()
            self._open = http, self._make_api(http)
        http, api = self._open
        self._users += 1
        try:
            yield api
        finally:
            self._users -= 1
            if self._users == 0:
                self._open = None
                self._close(api)
                await http.aclose()


@cache
def _certificates() -> ssl.SSLContext:
    """Whom to believe. Read once: it takes as long as ten calls."""
    return httpx.create_ssl_context()


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__


def _without_query(url: str) -> str:
    return url.partition("?")[0]
