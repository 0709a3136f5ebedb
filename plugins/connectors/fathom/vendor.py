"""Fathom's manners, as data for the HTTP core."""

from connectors.contract import Reauthorise
from connectors.http import Advice, Answer, Sign, Vendor, words_of


def _explained(answer: Answer) -> tuple[str, str]:
    """Its description promises no form of an error at all, so the status is the code and any word is quoted."""
    code, told = str(answer.status), words_of(answer)
    if not isinstance(told, dict):
        return code, str(told)
    words = (told.get(name) for name in ("error", "message", "detail", "title"))
    return code, next((str(word) for word in words if word), "")


FATHOM = Vendor(
    name="Fathom",
    throttled=(Sign(429),),
    # Seconds that are left of the minute; Retry-After is not promised.
    wait="RateLimit-Reset",
    expired=(),
    explain=_explained,
    advice={
        "401": Advice(
            Reauthorise,
            "Make an API key in Fathom (Settings, API Access) with a user who sees the team's meetings and configure"
            " the connector with it, or log the app in again.",
        ),
    },
    concurrency=2,
)
