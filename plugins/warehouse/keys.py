"""The platform's keys: what seals credentials and what the platform's own passwords are derived from.

CLARITY_ENCRYPTION_KEYS holds `id:key` pairs, comma-separated, newest first; CONNECTOR_ENCRYPTION_KEY is accepted for a
single one. Without either, a random key is made once and kept in CLARITY_HOME: right for one machine, not for several.
"""

import base64
import hashlib
import hmac
import os
from dataclasses import dataclass, field

from warehouse.errors import MisuseError
from warehouse.home import secret

KEYS_VARIABLE = "CLARITY_ENCRYPTION_KEYS"
SINGLE_KEY_VARIABLE = "CONNECTOR_ENCRYPTION_KEY"
MINIMUM_LENGTH = 32


@dataclass(frozen=True)
class Key:
    id: str
    value: bytes = field(repr=False)


def keyring() -> list[Key]:
    """All keys in force, the one to use for new things first."""
    several = os.environ.get(KEYS_VARIABLE)
    if several:
        return [_parse(pair) for pair in several.split(",")]
    single = os.environ.get(SINGLE_KEY_VARIABLE)
    if single:
        return [_key("env", single, SINGLE_KEY_VARIABLE)]
    return [_key("home", secret("encryption_key"), "the key in CLARITY_HOME")]


def derive(label: str) -> str:
    """A password that follows from the platform's key and the label, and from nothing stored."""
    return base64.urlsafe_b64encode(hmac.digest(keyring()[0].value, label.encode(), "sha256")).decode().rstrip("=")


def _parse(pair: str) -> Key:
    key_id, colon, value = pair.strip().partition(":")
    if not colon or not key_id:
        raise MisuseError(f"{KEYS_VARIABLE} must read ID:KEY,ID:KEY ... with the newest first")
    return _key(key_id, value, KEYS_VARIABLE)


def _key(key_id: str, value: str, origin: str) -> Key:
    if len(value) < MINIMUM_LENGTH:
        raise MisuseError(
            f"{origin}: a key needs {MINIMUM_LENGTH} characters or more; make one with `openssl rand -hex 32`"
        )
    return Key(key_id, hashlib.sha256(value.encode()).digest())
