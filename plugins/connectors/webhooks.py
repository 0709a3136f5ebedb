"""How vendors sign what they send us: who it is from, and that it is not an old message sent again.

A scheme takes the endpoint's secret, the headers, the body as it came and the time, and returns the event's id, by
which a second delivery is known. It raises Unsigned for everything that the vendor has not signed just now. Pure: no
clock, no network, no database.
"""

import base64
import binascii
import hmac
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

# Longer ago, and whoever has overheard a message could send it once more.
TOLERANCE = timedelta(minutes=5)
# it is part of a key of a table
LONGEST_EVENT_ID = 255

Scheme = Callable[[str, Mapping[str, str], bytes, datetime], str]
"""Headers by their names in small letters."""


class Unsigned(Exception):
    """Why this message is not taken for the vendor's."""


def svix(secret: str, headers: Mapping[str, str], body: bytes, now: datetime) -> str:
    """Svix and all who follow it, Clerk and Fathom among them: HMAC over `id.time.body`, one of several signatures."""
    name = "svix" if "svix-id" in headers else "webhook"
    event_id, sent_at, signatures = (_header(headers, f"{name}-{part}") for part in ("id", "timestamp", "signature"))
    _refuse_old(sent_at, now)
    signed = f"{event_id}.{sent_at}.".encode() + body
    expected = base64.b64encode(hmac.digest(_svix_key(secret), signed, "sha256")).decode()
    # while a secret is being replaced, a message is signed with both
    given = [
        signature for version, _, signature in (one.partition(",") for one in signatures.split()) if version == "v1"
    ]
    if not any(_same(expected, signature) for signature in given):
        raise Unsigned("the signature is not that of this endpoint's secret")
    return _event_id(event_id)


def customerio(secret: str, headers: Mapping[str, str], body: bytes, now: datetime) -> str:
    """Customer.io: HMAC over `v0:time:body` in hexadecimal; the event's id stands in the body."""
    sent_at, signature = _header(headers, "x-cio-timestamp"), _header(headers, "x-cio-signature")
    _refuse_old(sent_at, now)
    expected = hmac.digest(secret.encode(), f"v0:{sent_at}:".encode() + body, "sha256").hex()
    if not _same(expected, signature):
        raise Unsigned("the signature is not that of this endpoint's secret")
    return _event_id(_field(body, "event_id"))


def _header(headers: Mapping[str, str], name: str) -> str:
    if not (value := headers.get(name, "").strip()):
        raise Unsigned(f"the header {name} is missing")
    return value


def _refuse_old(sent_at: str, now: datetime) -> None:
    try:
        sent = datetime.fromtimestamp(int(sent_at), UTC)
    except (ValueError, OverflowError, OSError):
        raise Unsigned("the time that it was sent at is none") from None
    if abs(now - sent) > TOLERANCE:
        raise Unsigned("it was sent more than five minutes ago, or one of the two clocks is wrong")


def _svix_key(secret: str) -> bytes:
    try:
        return base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except binascii.Error:
        raise Unsigned("the endpoint's secret is not one of this kind; it begins with whsec_") from None


def _same(expected: str, given: str) -> bool:
    return hmac.compare_digest(expected.encode(), given.encode())


def _event_id(event_id: str) -> str:
    if not event_id or len(event_id) > LONGEST_EVENT_ID or not event_id.isprintable():
        raise Unsigned(f"an event's id has 1 to {LONGEST_EVENT_ID} printable characters")
    return event_id


def _field(body: bytes, name: str) -> str:
    try:
        told: Any = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise Unsigned("the body is not JSON") from None
    return str(told[name]) if isinstance(told, dict) and name in told else ""
