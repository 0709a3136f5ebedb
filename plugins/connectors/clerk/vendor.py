"""What Clerk's Backend API is like: its refusals, and what they ask of people."""

import orjson

from connectors.contract import Reauthorise
from connectors.http import Advice, Answer, Vendor


def _explained(answer: Answer) -> tuple[str, str]:
    try:
        told = orjson.loads(answer.body)
        first = told["errors"][0]
        return str(first.get("code", "")), str(first.get("long_message") or first.get("message", ""))
    except (orjson.JSONDecodeError, TypeError, KeyError, IndexError, AttributeError):
        return "", answer.body.decode("utf-8", "replace")


_ANOTHER_KEY = Advice(
    Reauthorise,
    "Put the instance's secret key, which begins with sk_, into CLERK_SECRET_KEY: Clerk's dashboard shows it under API"
    " keys.",
)

CLERK = Vendor(
    name="Clerk",
    # a key does not expire: one that is refused is the wrong one
    expired=(),
    wait="Retry-After",
    explain=_explained,
    advice={
        "clerk_key_invalid": _ANOTHER_KEY,
        "secret_key_invalid": _ANOTHER_KEY,
        "authentication_invalid": _ANOTHER_KEY,
        "authorization_invalid": _ANOTHER_KEY,
    },
    concurrency=4,
)
