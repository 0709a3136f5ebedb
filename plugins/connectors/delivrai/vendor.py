"""Delivr.ai's manners, as data for the HTTP core."""

import re

from connectors.contract import Fatal, Reauthorise
from connectors.http import Advice, Answer, Refused, Sign, Vendor, words_of


def _explained(answer: Answer) -> tuple[str, str]:
    """{"error", "message"}, where `error` is a code of some statuses and a sentence of the others."""
    code, told = str(answer.status), words_of(answer)
    if not isinstance(told, dict):
        return code, str(told)
    error, message = told.get("error") or "", told.get("message") or ""
    if answer.status == 409 and isinstance(error, str) and re.fullmatch(r"[a-z_]+", error):
        return error, str(message)
    return code, str(message or error)


DELIVRAI = Vendor(
    name="Delivr.ai",
    throttled=(Sign(429),),
    # Promised with a 503 that says busy; a 429 brings it or not.
    wait="Retry-After",
    # A pair of keys does not expire: one that is refused was revoked or never right.
    expired=(),
    explain=_explained,
    advice={
        "401": Advice(
            Reauthorise,
            "Make an API client in Delivr.ai and configure the connector with its api_key and its api_secret, which is"
            " shown once; one without the other opens nothing.",
        ),
        "402": Advice(Fatal, "The organisation's credit at Delivr.ai is used up: add to it there."),
        "403": Advice(Refused, "The key does not reach it: look at the projects of the organisation."),
    },
    # They ask, though by POST. What is asked twice may be billed twice, and is cheaper than a stream that stops.
    repeatable=r"^POST \S*/(contact/query|intent/\w+)$",
    concurrency=4,
)
