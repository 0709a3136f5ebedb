"""The three logins for machines: client credentials, JWT bearer, refresh token."""

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

import jwt

from connectors.contract import Fatal, Renew, Retry
from connectors.http import Answer, Grant, Http
from connectors.salesforce.config import SalesforceConfig, read

JWT_LIVES = timedelta(minutes=3)
# Each time somebody else had renewed the token first; nobody is so often slower.
TURNS = 5


class Login:
    """Knows the present configuration: a refresh token that Salesforce rotates is another one afterwards."""

    def __init__(self, config: SalesforceConfig, renew: Renew | None) -> None:
        self.config = config
        self._renew = renew

    async def __call__(self, http: Http) -> Grant:
        if self.config.auth == "refresh_token" and self._renew is not None:
            return await self._by_turns(http, self._renew)
        answer = await _token(http, self.config)
        if rotated := answer.get("refresh_token"):
            self.config = self.config.model_copy(update={"refresh_token": rotated})
        return self._granted(http, answer)

    async def _by_turns(self, http: Http, renew: Renew) -> Grant:
        """Any login may rotate the token, so each takes its turn, and the new one is kept before it is used."""
        loop = asyncio.get_running_loop()
        for _ in range(TURNS):
            answers: list[Mapping[str, Any]] = []

            def ask_vendor(present: Mapping[str, Any], answers: list[Mapping[str, Any]] = answers) -> dict[str, str]:
                present_config = read(present)
                http.hide(*present_config.secrets)
                asked = asyncio.run_coroutine_threadsafe(_token(http, present_config), loop)
                answers.append(asked.result())
                rotated = answers[-1].get("refresh_token")
                return {"refresh_token": str(rotated)} if rotated else {}

            stale = {"refresh_token": str(self.config.refresh_token)}
            self.config = read(await asyncio.to_thread(renew, stale=stale, ask_vendor=ask_vendor))
            if answers:
                return self._granted(http, answers[-1])
        raise Retry("Other processes keep renewing the Salesforce token. Run the sync again when they are through.")

    def _granted(self, http: Http, answer: Mapping[str, Any]) -> Grant:
        token, place = answer.get("access_token"), self.config.instance_url or answer.get("instance_url")
        if not token or not place:
            raise Fatal("Salesforce's login answers without access_token or instance_url. Correct login_url.")
        http.hide(str(token), *self.config.secrets)
        return Grant({"Authorization": f"Bearer {token}"}, str(place).rstrip("/"))


async def _token(http: Http, config: SalesforceConfig) -> Mapping[str, Any]:
    answer: Answer = await http.ask(
        "POST",
        f"{config.login_url}/services/oauth2/token",
        headers={"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"},
        content=urlencode(_request(http, config)).encode(),
    )
    if not isinstance(answer.told, Mapping):
        raise Fatal(f"{config.login_url} does not answer like a Salesforce login. Correct login_url.")
    return answer.told


def _request(http: Http, config: SalesforceConfig) -> dict[str, str]:
    match config.auth:
        case "client_credentials":
            return {
                "grant_type": "client_credentials",
                "client_id": config.client_id,
                "client_secret": str(config.client_secret),
            }
        case "refresh_token":
            secret = {"client_secret": config.client_secret} if config.client_secret else {}
            return {
                "grant_type": "refresh_token",
                "client_id": config.client_id,
                "refresh_token": str(config.refresh_token),
                **secret,
            }
        case "jwt":
            return {"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer", "assertion": _assertion(http, config)}


def _assertion(http: Http, config: SalesforceConfig) -> str:
    claims = {
        "iss": config.client_id,
        "sub": config.username,
        "aud": config.audience or config.login_url,
        "exp": int((http.clock.now() + JWT_LIVES).timestamp()),
    }
    try:
        assertion = jwt.encode(claims, str(config.private_key), algorithm="RS256")
    except (jwt.PyJWTError, ValueError, TypeError):
        raise Fatal(
            "The private_key is no RSA key in PEM form. Use the key whose certificate the connected app was given."
        ) from None
    http.hide(assertion)
    return assertion
