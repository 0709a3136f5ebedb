"""Who may come in, and by which door: applications, keys, refresh tokens and the sessions they open."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from html import unescape
from re import DOTALL, search

import jwt

from sandbox.salesforce.tables import new_id

JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"


class LoginRefused(Exception):
    """As OAuth says it: {error, error_description}."""

    def __init__(self, error: str, description: str) -> None:
        super().__init__(description)
        self.error, self.description = error, description


@dataclass
class Identity:
    """`rotates`: a refresh token works once, and its exchange ends the sessions before.

    As at the vendor, one that comes a second time gives the alarm: the present token and every session die with it.
    """

    seed: int
    client_id: str = "sandbox-client"
    client_secret: str = "sandbox-secret"
    username: str = "integration@seller.example"
    password: str = "sandbox-password"
    security_token: str = "sandbox-token"
    refresh_token: str | None = "sandbox-refresh"
    rotates: bool = False
    public_key: str | None = None
    organization_id: str = new_id("00D", 1)
    user_id: str = new_id("005", 1)
    sessions: set[str] = field(default_factory=set)
    logins: int = 0
    _spent: set[str] = field(default_factory=set)

    def exchange(self, form: Mapping[str, str]) -> dict[str, str]:
        """The token endpoint: what was proven, turned into a session."""
        match form.get("grant_type"):
            case "client_credentials":
                self._check_application(form)
            case "password":
                self._check_application(form)
                self._check_password(form.get("username"), form.get("password"))
            case "refresh_token":
                self._check_application(form, secret=bool(form.get("client_secret")))
                return self._refresh(form.get("refresh_token"))
            case grant if grant == JWT_BEARER:
                self._check_assertion(form.get("assertion", ""))
            case _:
                raise LoginRefused("unsupported_grant_type", "grant type not supported")
        return {"access_token": self.open_session()}

    def soap_login(self, envelope: str) -> str:
        found = {
            name: search(rf"<\w+:{name}>(.*?)</\w+:{name}>", envelope, DOTALL) for name in ("username", "password")
        }
        username, password = (unescape(match[1]) if match else None for match in found.values())
        self._check_password(username, password)
        return self.open_session()

    def open_session(self) -> str:
        self.logins += 1
        session = f"{self.organization_id[:15]}!AQ{self._secret('session')}"
        self.sessions.add(session)
        return session

    def expire_sessions(self) -> None:
        self.sessions.clear()

    def _refresh(self, token: str | None) -> dict[str, str]:
        if token in self._spent:
            self.refresh_token = None
            self.expire_sessions()
        if token is None or token != self.refresh_token:
            raise LoginRefused("invalid_grant", "expired access/refresh token")
        if not self.rotates:
            return {"access_token": self.open_session()}
        self._spent.add(token)
        self.expire_sessions()
        session = self.open_session()
        self.refresh_token = f"5Aep{self._secret('refresh')}"
        return {"access_token": session, "refresh_token": self.refresh_token}

    def _check_application(self, form: Mapping[str, str], *, secret: bool = True) -> None:
        if form.get("client_id") != self.client_id:
            raise LoginRefused("invalid_client_id", "client identifier invalid")
        if secret and form.get("client_secret") != self.client_secret:
            raise LoginRefused("invalid_client", "invalid client credentials")

    def _check_password(self, username: str | None, password: str | None) -> None:
        if username != self.username or password not in (self.password, self.password + self.security_token):
            raise LoginRefused("invalid_grant", "authentication failure")

    def _check_assertion(self, assertion: str) -> None:
        """Signed by the registered key, not expired, by the known application, for the known user."""
        if self.public_key is None:
            raise LoginRefused("invalid_client", "no certificate is registered for this application")
        try:
            claims = jwt.decode(assertion, self.public_key, algorithms=["RS256"], options={"verify_aud": False})
        except jwt.ExpiredSignatureError:
            raise LoginRefused("invalid_grant", "expired authorization code") from None
        except jwt.InvalidTokenError:
            raise LoginRefused("invalid_grant", "invalid assertion") from None
        if claims.get("iss") != self.client_id:
            raise LoginRefused("invalid_client_id", "client identifier invalid")
        if "exp" not in claims or not claims.get("aud"):
            raise LoginRefused("invalid_grant", "audience is invalid")
        if claims.get("sub") != self.username:
            raise LoginRefused("invalid_grant", "user hasn't approved this consumer")

    def _secret(self, kind: str) -> str:
        return blake2b(f"{self.seed}/{kind}/{self.logins}".encode(), digest_size=24).hexdigest()
