"""Credentials at rest: AES-256-GCM, bound to the tenant and the connector that they belong to.

An envelope reads `v1.<key id>.<nonce, ciphertext and tag in base64>`. Tenant and connector are the associated data, so
an envelope copied into another row does not open.
"""

import base64
import binascii
import json
import os
from collections.abc import Mapping
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from warehouse.errors import ClarityError
from warehouse.keys import keyring

VERSION = "v1"
NONCE_BYTES = 12
TAG_BYTES = 16


class Unopenable(ClarityError):
    """The envelope does not open, here and now; the message says why and what to do."""


def seal(content: Mapping[str, Any], *, tenant_id: str, connector_id: str) -> str:
    key = keyring()[0]
    nonce = os.urandom(NONCE_BYTES)
    sealed = AESGCM(key.value).encrypt(nonce, json.dumps(content).encode(), _bound_to(tenant_id, connector_id))
    return f"{VERSION}.{key.id}.{base64.urlsafe_b64encode(nonce + sealed).decode()}"


def unseal(envelope: str | None, *, tenant_id: str, connector_id: str) -> dict[str, Any]:
    """What was sealed for this tenant and this connector; Unopenable for everything else."""
    parts = (envelope or "").split(".")
    if len(parts) != 3 or parts[0] != VERSION:
        raise Unopenable("the stored credentials are not in a form that this version reads; add the connector again")
    _, key_id, body = parts
    key = next((key for key in keyring() if key.id == key_id), None)
    if key is None:
        raise Unopenable(
            f"the stored credentials were sealed with key {key_id[:32]!r}, which is not in CLARITY_ENCRYPTION_KEYS:"
            " put it back, or add the connector again"
        )
    try:
        raw = _decoded(body)
        content = AESGCM(key.value).decrypt(raw[:NONCE_BYTES], raw[NONCE_BYTES:], _bound_to(tenant_id, connector_id))
    except (InvalidTag, ValueError):
        raise Unopenable(
            "the stored credentials do not open: they were changed, cut short or copied from another connector."
            " Add the connector again"
        ) from None
    opened: dict[str, Any] = json.loads(content)
    return opened


def key_id(envelope: str | None) -> str:
    """The key that the envelope says it was sealed with; empty for what is no envelope."""
    parts = (envelope or "").split(".")
    return parts[1] if len(parts) == 3 else ""


def _decoded(body: str) -> bytes:
    raw = base64.b64decode(body.encode("ascii"), altchars=b"-_", validate=True)
    # base64 has bits that mean nothing; an envelope in which one of them is flipped is not the one that was sealed
    if base64.urlsafe_b64encode(raw).decode() != body or len(raw) < NONCE_BYTES + TAG_BYTES:
        raise binascii.Error("not what base64 makes of any bytes")
    return raw


def _bound_to(tenant_id: str, connector_id: str) -> bytes:
    return json.dumps([tenant_id, connector_id]).encode()
