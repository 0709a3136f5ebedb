"""Credentials at rest: AES-256-GCM, bound to the tenant and the connector that they belong to.

An envelope reads `v1.<key id>.<nonce><ciphertext>`, base64. Tenant and connector are the associated data, so an
envelope copied into another row does not open.
"""

import base64
import binascii
import json
import os
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from warehouse.errors import ClarityError
from warehouse.keys import keyring

VERSION = "v1"
NONCE_BYTES = 12


def seal(content: dict[str, Any], *, tenant_id: str, connector_id: str) -> str:
    key = keyring()[0]
    nonce = os.urandom(NONCE_BYTES)
    sealed = AESGCM(key.value).encrypt(nonce, json.dumps(content).encode(), _bound_to(tenant_id, connector_id))
    return f"{VERSION}.{key.id}.{base64.urlsafe_b64encode(nonce + sealed).decode()}"


def unseal(envelope: str, *, tenant_id: str, connector_id: str) -> dict[str, Any]:
    parts = envelope.split(".")
    if len(parts) != 3 or parts[0] != VERSION:
        raise ClarityError("the stored credentials are not in a form that this version reads; add the connector again")
    _, key_id, body = parts
    keys = [key for key in keyring() if key.id == key_id]
    if not keys:
        raise ClarityError(
            f"the stored credentials were sealed with key {key_id!r}, which is not in CLARITY_ENCRYPTION_KEYS any more:"
            " put it back, or add the connector again"
        )
    try:
        raw = base64.urlsafe_b64decode(body)
        content = AESGCM(keys[0].value).decrypt(
            raw[:NONCE_BYTES], raw[NONCE_BYTES:], _bound_to(tenant_id, connector_id)
        )
    except (InvalidTag, binascii.Error, ValueError):
        raise ClarityError(
            "the stored credentials do not open: they were changed, cut short or copied from another connector."
            " Add the connector again"
        ) from None
    opened: dict[str, Any] = json.loads(content)
    return opened


def _bound_to(tenant_id: str, connector_id: str) -> bytes:
    return json.dumps([tenant_id, connector_id]).encode()
