"""Who may come in, and how those are refused who may not."""

from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key

from sandbox.salesforce import Org
from tests.sandbox.caller import CREDENTIALS, Caller

JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"


@pytest.fixture(scope="module")
def key() -> RSAPrivateKey:
    return generate_private_key(public_exponent=65537, key_size=2048)


def assertion(key: RSAPrivateKey, **other: Any) -> str:
    claims = {
        "iss": "sandbox-client",
        "sub": "integration@seller.example",
        "aud": "https://login.salesforce.com",
        "exp": datetime.now(UTC) + timedelta(minutes=3),
    }
    return jwt.encode(claims | other, key, algorithm="RS256")


def register(org: Org, key: RSAPrivateKey) -> None:
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    org.identity.public_key = public.decode()


@pytest.mark.parametrize(
    ("form", "error"),
    [
        ({"grant_type": "client_credentials", **CREDENTIALS, "client_secret": "guessed"}, "invalid_client"),
        ({"grant_type": "client_credentials", "client_id": "stranger"}, "invalid_client_id"),
        ({"grant_type": "password", **CREDENTIALS, "username": "x", "password": "y"}, "invalid_grant"),
        ({"grant_type": "refresh_token", **CREDENTIALS, "refresh_token": "old"}, "invalid_grant"),
        ({"grant_type": JWT_BEARER, "assertion": "nothing"}, "invalid_client"),
        ({"grant_type": "magic", **CREDENTIALS}, "unsupported_grant_type"),
    ],
)
def test_a_login_is_refused_in_the_form_of_oauth(caller: Caller, form: dict[str, str], error: str) -> None:
    answer = caller.token(**form)
    assert answer.status_code == 400
    assert answer.json()["error"] == error
    assert answer.json()["error_description"]


def test_a_signed_assertion_is_believed_only_if_the_registered_key_signed_it(
    caller: Caller, key: RSAPrivateKey
) -> None:
    stranger = generate_private_key(public_exponent=65537, key_size=2048)
    register(caller.org, key)

    def told(text: str) -> dict[str, Any]:
        answer: dict[str, Any] = caller.token(grant_type=JWT_BEARER, assertion=text).json()
        return answer

    assert told(assertion(key))["access_token"] in caller.org.identity.sessions
    assert told(assertion(stranger))["error"] == "invalid_grant"
    assert told(assertion(key, exp=datetime.now(UTC) - timedelta(minutes=1)))["error"] == "invalid_grant"
    assert told(assertion(key, sub="somebody@else.example"))["error"] == "invalid_grant"
    assert told(assertion(key, iss="stranger"))["error"] == "invalid_client_id"


def test_a_refresh_token_that_does_not_rotate_works_again_and_again(caller: Caller) -> None:
    for _ in range(2):
        answer = caller.token(grant_type="refresh_token", refresh_token="sandbox-refresh", **CREDENTIALS)
        assert answer.json()["access_token"] in caller.org.identity.sessions
        assert "refresh_token" not in answer.json()


def test_a_rotating_refresh_token_works_once_and_its_exchange_ends_the_sessions_before(caller: Caller) -> None:
    identity = caller.org.identity
    identity.rotates = True
    before = caller.login()
    first = caller.token(grant_type="refresh_token", refresh_token="sandbox-refresh", **CREDENTIALS).json()
    assert identity.sessions == {first["access_token"]}
    assert before not in identity.sessions
    second = caller.token(grant_type="refresh_token", refresh_token=first["refresh_token"], **CREDENTIALS).json()
    assert second["refresh_token"] not in ("sandbox-refresh", first["refresh_token"])


def test_a_spent_refresh_token_takes_its_successor_down_with_it(caller: Caller) -> None:
    caller.org.identity.rotates = True
    first = caller.token(grant_type="refresh_token", refresh_token="sandbox-refresh", **CREDENTIALS).json()
    for token in ("sandbox-refresh", first["refresh_token"]):
        answer = caller.token(grant_type="refresh_token", refresh_token=token, **CREDENTIALS)
        assert answer.json()["error"] == "invalid_grant"
    assert not caller.org.identity.sessions


def test_an_expired_session_is_refused_until_the_next_login(caller: Caller) -> None:
    caller.org.expire_sessions()
    assert caller.refusal(caller.get("limits")) == "401 INVALID_SESSION_ID"
    caller.login()
    assert caller.get("limits").status_code == 200


def test_logins_cost_nothing_of_the_budget_and_a_spent_budget_is_no_lack_of_permission(caller: Caller) -> None:
    caller.login()
    assert caller.get("limits").headers["Sforce-Limit-Info"] == "api-usage=1/100000"
    caller.org.spend(99_999)
    refused = caller.get("limits")
    assert caller.refusal(refused) == "403 REQUEST_LIMIT_EXCEEDED"
    assert refused.headers["Sforce-Limit-Info"] == "api-usage=100000/100000"
    caller.org.advance(days=1)
    assert caller.get("limits").json()["DailyApiRequests"] == {"Max": 100_000, "Remaining": 99_999}


def test_what_does_not_exist_is_told_as_an_array(caller: Caller) -> None:
    assert caller.refusal(caller.get("sobjects/Nothing/describe")) == "404 NOT_FOUND"
    assert caller.refusal(caller.http.get("/services/data/v1.0/limits")) == "404 NOT_FOUND"
    assert caller.refusal(caller.http.get("/services/elsewhere")) == "404 NOT_FOUND"
