"""The login of an application: client credentials. There is no refresh token, one just asks again."""

from collections.abc import Mapping
from urllib.parse import urlencode

from connectors.contract import Fatal
from connectors.http import Grant, Http
from connectors.o365.config import O365Config


class Login:
    def __init__(self, config: O365Config) -> None:
        self._config = config

    async def __call__(self, http: Http) -> Grant:
        config = self._config
        answer = await http.ask(
            "POST",
            f"{config.login_url}/{config.directory_id}/oauth2/v2.0/token",
            headers={"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"},
            content=urlencode(
                {
                    "grant_type": "client_credentials",
                    "client_id": config.client_id,
                    "client_secret": config.client_secret,
                    "scope": config.scope,
                }
            ).encode(),
        )
        token = answer.told.get("access_token") if isinstance(answer.told, Mapping) else None
        if not token:
            raise Fatal(f"{config.login_url} does not answer like a Microsoft login. Correct login_url.")
        http.hide(str(token), config.client_secret)
        return Grant({"Authorization": f"Bearer {token}"}, config.base_url)
