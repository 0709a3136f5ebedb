"""The three logins, tokens that rotate, what a check says, and that no secret is told anybody."""

import asyncio
import logging
import traceback
from collections.abc import Callable, Mapping
from threading import Lock
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key

from connectors import catalogue
from connectors.contract import ConnectorError, Fatal, Health, Reauthorise, Retry, WaitUntil
from connectors.salesforce.client import Client
from connectors.salesforce.streams import OBJECTS, SECRETS
from sandbox.salesforce import Faults, Log, Org, create_app, serve

SITE = "https://org.example"
CLIENT_CREDENTIALS: dict[str, Any] = {"client_id": "sandbox-client", "client_secret": "sandbox-secret"}
REFRESH: dict[str, Any] = {"auth": "refresh_token", "refresh_token": "sandbox-refresh", **CLIENT_CREDENTIALS}


@pytest.fixture
def org() -> Org:
    return Org(seed=3, accounts=2)


@pytest.fixture(scope="module")
def key_pair() -> tuple[str, str]:
    key = generate_private_key(65537, 2048)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return private.decode(), public.decode()


class Answering(httpx.AsyncBaseTransport):
    """The org without a server, and all addresses that it was asked at."""

    def __init__(self, org: Org, answers: Mapping[str, httpx.Response | Exception] | None = None) -> None:
        self.log = Log()
        self.org = httpx.ASGITransport(create_app(org, Faults(), self.log))
        self.answers = dict(answers or {})
        self.addresses: list[str] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.addresses.append(str(request.url))
        for containing, answer in self.answers.items():
            if containing in str(request.url):
                if isinstance(answer, Exception):
                    raise answer
                return answer
        return await self.org.handle_async_request(request)


class Watched(Client):
    """The connector, and which addresses it asked."""

    def __init__(self, config: Mapping[str, Any], renew: Any, transport: Answering) -> None:
        super().__init__(config, renew, transport=transport)
        self.addresses = transport.addresses


def client_of(
    org: Org, answers: Mapping[str, httpx.Response | Exception] | None = None, renew: Any = None, **config: Any
) -> Watched:
    settings = {"login_url": SITE, "backoff_seconds": 0, "attempts": 2, **(config or CLIENT_CREDENTIALS)}
    return Watched(settings, renew, Answering(org, answers))


def check(org: Org, answers: Mapping[str, httpx.Response | Exception] | None = None, **config: Any) -> Health:
    return asyncio.run(client_of(org, answers, **config).check())


def read(client: Client, stream: str = "accounts") -> list[str]:
    declared = next(one for one in client.streams if one.name == stream)

    async def ids() -> list[str]:
        return [record.id async for page in client.pages(declared, None) for record in page.records]

    return asyncio.run(ids())


def says(status: int, body: Any) -> httpx.Response:
    return httpx.Response(status, json=body)


# ── each way in ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_client_credentials_open_the_door(org: Org) -> None:
    assert read(client_of(org)) == org.ids("Account")


def test_a_signed_assertion_opens_the_door(org: Org, key_pair: tuple[str, str]) -> None:
    private, org.identity.public_key = key_pair
    config: dict[str, Any] = {
        "auth": "jwt",
        "client_id": "sandbox-client",
        "username": org.identity.username,
        "private_key": private,
    }
    assert read(client_of(org, **config)) == org.ids("Account")


def test_a_refresh_token_opens_the_door(org: Org) -> None:
    assert read(client_of(org, **REFRESH)) == org.ids("Account")


def test_the_instance_of_the_login_is_asked_unless_the_configuration_names_another(org: Org) -> None:
    elsewhere = says(200, {"access_token": org.identity.open_session(), "instance_url": "https://eu7.example"})
    asked = client_of(org, {"oauth2": elsewhere})
    read(asked)
    named = client_of(org, {"oauth2": elsewhere}, **CLIENT_CREDENTIALS, instance_url="https://proxy.example/crm/")
    asyncio.run(named.check())
    assert {address.partition("/services")[0] for address in asked.addresses} == {SITE, "https://eu7.example"}
    assert named.addresses[-1].startswith("https://proxy.example/crm/services/data/v63.0/sobjects")


def test_the_version_of_the_api_is_a_setting(org: Org) -> None:
    client = client_of(org, **CLIENT_CREDENTIALS, api_version="60.0")
    read(client)
    assert all("/v60.0/" in address for address in client.addresses if "/data/" in address)


def test_any_server_is_reached_by_changing_the_address_only(org: Org) -> None:
    with serve(org) as served:
        connector = catalogue.connect("salesforce", {"login_url": served.url, **CLIENT_CREDENTIALS})
        assert asyncio.run(connector.check()).ok


# ── tokens that rotate ───────────────────────────────────────────────────────────────────────────────────────────────


class Vault:
    """What the platform keeps: the configuration, under a lock that one process holds at a time."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.config = dict(config)
        self.lock = Lock()
        self.asked = 0

    def renew(
        self, *, stale: Mapping[str, str], ask_vendor: Callable[[Mapping[str, Any]], Mapping[str, str]]
    ) -> Mapping[str, Any]:
        with self.lock:
            if any(self.config[key] != value for key, value in stale.items()):
                return dict(self.config)
            self.asked += 1
            self.config.update(ask_vendor(dict(self.config)))
            return dict(self.config)


def test_a_rotated_refresh_token_is_kept_before_it_is_used(org: Org) -> None:
    org.identity.rotates = True
    vault = Vault({"login_url": SITE, **REFRESH})
    for _ in range(3):
        assert read(client_of(org, None, vault.renew, **vault.config)) == org.ids("Account")
    assert vault.config["refresh_token"] == org.identity.refresh_token
    assert org.identity.refresh_token != "sandbox-refresh"
    assert vault.asked == 3


def test_a_token_that_is_not_rotated_stays_as_it_is(org: Org) -> None:
    vault = Vault({"login_url": SITE, **REFRESH})
    read(client_of(org, None, vault.renew, **vault.config))
    assert vault.config["refresh_token"] == "sandbox-refresh"


def test_whoever_comes_with_the_stale_token_of_yesterday_finds_the_new_one(org: Org) -> None:
    """The vendor takes a spent token for theft and ends every session: it must never be sent."""
    org.identity.rotates = True
    vault = Vault({"login_url": SITE, **REFRESH})
    late = client_of(org, None, vault.renew, **vault.config)
    assert read(client_of(org, None, vault.renew, **vault.config))
    assert read(late) == org.ids("Account")
    assert org.identity.refresh_token is not None


def test_a_session_that_ends_while_streams_read_is_renewed_once_with_a_rotating_token(org: Org) -> None:
    org.identity.rotates = True
    vault = Vault({"login_url": SITE, **REFRESH})
    client = client_of(org, None, vault.renew, **vault.config)

    async def check_then_read() -> None:
        await client.check()
        org.expire_sessions()
        await asyncio.gather(*(anext(client.pages(stream, None)) for stream in client.streams))

    asyncio.run(check_then_read())
    assert vault.asked == 2


def test_processes_that_keep_being_quicker_do_not_keep_us_for_ever(org: Org) -> None:
    tokens = iter(range(1_000))

    def never_ours(**_: Any) -> Mapping[str, Any]:
        return {"login_url": SITE, **REFRESH, "refresh_token": f"of somebody else {next(tokens)}"}

    with pytest.raises(Retry, match="Other processes keep renewing"):
        read(client_of(org, None, never_ours, **REFRESH))


# ── what a check says, and what each refusal asks of people ──────────────────────────────────────────────────────────


def test_a_check_costs_a_login_and_one_call(org: Org) -> None:
    client = client_of(org)
    health = asyncio.run(client.check())
    assert health == Health(
        True, f"The login to {SITE} works and sees all 11 objects, 1 of 100000 calls of the day used."
    )
    assert [address.removeprefix(SITE) for address in client.addresses] == [
        "/services/oauth2/token",
        "/services/data/v63.0/sobjects",
    ]


NO_API = says(403, [{"errorCode": "API_DISABLED_FOR_ORG", "message": "The API is not enabled for this org."}])
EXPIRED = says(400, {"error": "invalid_grant", "error_description": "expired access/refresh token"})
TOO_OFTEN = says(403, {"error": "rate_limit_exceeded", "error_description": "login rate exceeded"})
A_WEB_SITE = httpx.Response(200, text="<html>Welcome</html>", headers={"Content-Type": "text/html"})


@pytest.mark.parametrize(
    ("answers", "config", "sentence"),
    [
        pytest.param({}, {"client_secret": "wrong"}, "Correct client_id and client_secret", id="a wrong secret"),
        pytest.param({}, {"client_id": "wrong"}, "Correct client_id and client_secret", id="a wrong client"),
        pytest.param({"oauth2": EXPIRED}, REFRESH, "Log in to Salesforce for this connector again", id="expired"),
        pytest.param({"sobjects": NO_API}, {}, "permission API Enabled", id="no API"),
        pytest.param({"oauth2": TOO_OFTEN}, {}, "logged in too often", id="too many logins"),
        pytest.param({"oauth2": A_WEB_SITE}, {}, "Correct login_url", id="not a login"),
        pytest.param({"oauth2": httpx.ConnectError("no route")}, {}, "cannot be reached: no route", id="nobody there"),
        pytest.param(
            {}, {"auth": "jwt", "username": "u", "private_key": "none"}, "no RSA key", id="a key that is none"
        ),
    ],
)
def test_a_check_says_what_is_wrong_and_what_to_do(
    org: Org, answers: Mapping[str, httpx.Response | Exception], config: Mapping[str, Any], sentence: str
) -> None:
    health = check(org, answers, **{**CLIENT_CREDENTIALS, **config})
    assert not health.ok
    assert sentence in health.message


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (NO_API, Reauthorise),
        (EXPIRED, Reauthorise),
        (TOO_OFTEN, WaitUntil),
        (says(400, {"error": "invalid_client"}), Fatal),
    ],
    ids=["no API", "expired", "too many logins", "a wrong client"],
)
def test_a_refused_login_is_an_error_of_the_class_that_says_what_to_do(
    org: Org, answer: httpx.Response, error: type[ConnectorError]
) -> None:
    with pytest.raises(error):
        read(client_of(org, {"oauth2": answer}))


def test_a_check_names_the_objects_that_the_user_may_not_read(org: Org) -> None:
    org.hide_object("Campaign")
    health = check(org)
    assert health.ok
    assert "may not read Campaign" in health.message
    for entity in OBJECTS.values():
        if entity != "Campaign":
            org.hide_object(entity)
    assert not check(org).ok


def test_streams_can_be_left_out(org: Org) -> None:
    org.hide_object("Campaign")
    client = client_of(org, **CLIENT_CREDENTIALS, streams=["accounts", "leads"])
    assert [stream.name for stream in client.streams] == ["accounts", "leads"]
    assert "sees all 2 objects" in asyncio.run(client.check()).message


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        ({}, "the login client_credentials needs client_id, client_secret"),
        ({"auth": "jwt", "client_id": "x"}, "the login jwt needs username, private_key"),
        ({"auth": "password"}, "auth: "),
        ({**CLIENT_CREDENTIALS, "login_url": "login.salesforce.com"}, "login_url: must be an address with https"),
        ({**CLIENT_CREDENTIALS, "api_version": "v63"}, "api_version"),
        ({**CLIENT_CREDENTIALS, "streams": ["accounts", "opps"]}, "knows no opps"),
        ({**CLIENT_CREDENTIALS, "shares": 1}, "shares: Extra inputs"),
        ({**CLIENT_CREDENTIALS, "share_of_day": 80}, "share_of_day"),
    ],
)
def test_a_wrong_configuration_is_refused_before_anybody_is_asked(config: Mapping[str, Any], sentence: str) -> None:
    with pytest.raises(Fatal, match="salesforce: ") as refused:
        Client(config)
    assert sentence in str(refused.value)


# ── nobody is told a secret ──────────────────────────────────────────────────────────────────────────────────────────


ECHO = "your sandbox-secret, sandbox-refresh and {token} are wrong"


@pytest.mark.parametrize("auth", [CLIENT_CREDENTIALS, REFRESH], ids=["client credentials", "refresh token"])
@pytest.mark.parametrize("where", ["nowhere", "oauth2", "describe", "queryAll"])
@pytest.mark.parametrize("status", [400, 403, 404, 500])
def test_no_secret_is_in_a_log_line_an_exception_or_an_address(
    org: Org, auth: Mapping[str, Any], where: str, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    token = org.identity.open_session()
    # A login that fails has given no token yet.
    echo = ECHO.format(token="the token" if where == "oauth2" else token)
    answers: dict[str, httpx.Response | Exception] = {
        "oauth2": says(200, {"access_token": token, "instance_url": SITE, "scope": echo}),
        where: says(status, [{"errorCode": "ODD", "message": echo}]),
    }
    client, told = client_of(org, answers, **auth), ""
    try:
        read(client)
    except ConnectorError as error:
        told = str(error) + "".join(traceback.format_exception(error))
    assert bool(told) is (where != "nowhere")
    traces = told + caplog.text + " ".join(client.addresses) + repr(client.config) + asyncio.run(client.check()).message
    secrets = {token, *(str(auth[key]) for key in SECRETS if key in auth)}
    assert not [secret for secret in secrets if secret in traces]


def test_an_assertion_is_as_secret_as_the_key_it_was_made_with(org: Org, key_pair: tuple[str, str]) -> None:
    private, org.identity.public_key = key_pair
    config: dict[str, Any] = {
        "auth": "jwt",
        "client_id": "sandbox-client",
        "username": "someone@example.com",
        "private_key": private,
    }
    seen: list[str] = []

    class Echo(Answering):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            seen.append(request.content.decode().partition("assertion=")[2])
            return says(400, {"error": "invalid_grant", "error_description": f"{seen[-1]} is not for us"})

    client = Client({"login_url": SITE, **config}, transport=Echo(org))
    message = asyncio.run(client.check()).message
    assert len(seen[0]) > 100
    assert seen[0][:40] not in message
    assert "*** is not for us" in message
