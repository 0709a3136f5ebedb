"""A vendor that signs as Customer.io does and tells of accounts, in the place of a tenant's files."""

import hmac
import sys
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import orjson

from connectors.contract import Record, Rejected
from connectors.files import streams
from connectors.files.client import Client
from connectors.webhooks import customerio

SECRET = "what-both-know"


def event(number: int, name: str = "") -> bytes:
    return orjson.dumps({"event_id": f"event-{number}", "account": str(number), "name": name or f"Account {number}"})


def headers(body: bytes, *, secret: str = SECRET, at: float | None = None) -> dict[str, str]:
    sent_at = str(int(time.time() if at is None else at))
    signature = hmac.digest(secret.encode(), f"v0:{sent_at}:".encode() + body, "sha256").hex()
    return {"x-cio-timestamp": sent_at, "x-cio-signature": signature}


def heard(_client: Client, told: Any) -> Iterable[tuple[str, Record | Rejected]]:
    if "account" not in told:
        return
    if told["account"] == "":
        yield "accounts", Rejected("a webhook", "it has no id", told)
        return
    happened = datetime(2026, 11, 1, tzinfo=UTC)
    yield "accounts", Record(told["account"], {"id": told["account"], "name": told["name"]}, happened)


if __name__ == "__main__":
    from cli.main import app

    # as the vendor's own folder would declare it
    streams.WEBHOOKS = customerio  # type: ignore[attr-defined]
    app(sys.argv[1:])
