"""The platform's keys: what seals credentials and what the platform's own passwords are derived from.

CLARITY_ENCRYPTION_KEYS holds `id:key` pairs, comma-separated, newest first; CONNECTOR_ENCRYPTION_KEY is accepted for a
single one, under the id `env`. Either may lie in a file, which CLARITY_ENCRYPTION_KEYS_FILE or
CONNECTOR_ENCRYPTION_KEY_FILE then names. Without any, a random key is made once and kept in CLARITY_HOME, under the id
`home`: right for one machine, not for several.

A key is replaced without downtime in four steps, each on all machines before the next:

    1.  CLARITY_ENCRYPTION_KEYS=old:...,new:...    every process can open what the new key seals; nothing uses it yet
    2.  CLARITY_ENCRYPTION_KEYS=new:...,old:...    restart: what is sealed from here on is sealed with the new key
    3.  clarity connector rotate-keys              everything else is sealed anew
    4.  CLARITY_ENCRYPTION_KEYS=new:...            the old key is retired

One machine alone can begin with the second.
"""

import base64
import hashlib
import hmac
import re
from dataclasses import dataclass, field

from warehouse.errors import MisuseError
from warehouse.home import secret, setting

KEYS_VARIABLE = "CLARITY_ENCRYPTION_KEYS"
SINGLE_KEY_VARIABLE = "CONNECTOR_ENCRYPTION_KEY"
MINIMUM_LENGTH = 32
# it stands in envelopes between dots, and in reports
KEY_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,31}")


@dataclass(frozen=True)
class Key:
    id: str
    value: bytes = field(repr=False)


def keyring() -> list[Key]:
    """All keys in force, the one to use for new things first."""
    several = setting(KEYS_VARIABLE)
    if several:
        return _distinct([_parse(pair) for pair in several.split(",")])
    single = setting(SINGLE_KEY_VARIABLE)
    if single:
        return [_key("env", single, SINGLE_KEY_VARIABLE)]
    return [_key("home", secret("encryption_key"), "the key in CLARITY_HOME")]


def derive(label: str, key: Key | None = None) -> str:
    """A password that follows from the key, by default the newest, and the label, and from nothing stored."""
    value = (key or keyring()[0]).value
    return base64.urlsafe_b64encode(hmac.digest(value, label.encode(), "sha256")).decode().rstrip("=")


def _parse(pair: str) -> Key:
    key_id, colon, value = pair.strip().partition(":")
    # what stands here is never repeated: a key may have slipped into the place of its id
    if not colon or not KEY_ID.fullmatch(key_id):
        raise MisuseError(
            f"{KEYS_VARIABLE} must read ID:KEY,ID:KEY with the newest first; an ID is 1 to 32 letters, digits, _ or -"
        )
    return _key(key_id, value, KEYS_VARIABLE)


def _key(key_id: str, value: str, origin: str) -> Key:
    if len(value) < MINIMUM_LENGTH:
        raise MisuseError(
            f"{origin}: a key needs {MINIMUM_LENGTH} characters or more; make one with `openssl rand -hex 32`"
        )
    return Key(key_id, hashlib.sha256(value.encode()).digest())


def _distinct(keys: list[Key]) -> list[Key]:
    if len({key.id for key in keys}) < len(keys):
        raise MisuseError(f"{KEYS_VARIABLE} names an ID twice; give each key an ID of its own")
    if len({key.value for key in keys}) < len(keys):
        raise MisuseError(f"{KEYS_VARIABLE} holds one key under two IDs; make a new one with `openssl rand -hex 32`")
    return keys
