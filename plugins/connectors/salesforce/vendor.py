"""Salesforce's manners, as data for the HTTP core."""

import csv
import re
from collections.abc import Mapping
from io import StringIO
from typing import NamedTuple

import orjson

from connectors.contract import Fatal, Reauthorise, Retry, WaitUntil
from connectors.http import Advice, Answer, Refused, Sign, Vendor, words_of


def _explained(answer: Answer) -> tuple[str, str]:
    """Errors are an array of {message, errorCode}; those of a login {error, error_description}."""
    told = words_of(answer)
    if isinstance(told, str):
        return "", told
    first = told[0] if isinstance(told, list) and told else told
    if not isinstance(first, dict):
        return "", ""
    code = first.get("errorCode") or first.get("error") or ""
    return str(code), str(first.get("message") or first.get("error_description") or "")


class BulkPage(NamedTuple):
    """A part of a bulk result: texts, as CSV has nothing else. The last part has no locator."""

    header: list[str]
    rows: list[list[str]]
    locator: str | None


def _bulk_page(answer: Answer) -> BulkPage:
    """Only the header says how many rows there are: CSV that was cut off at the end of a line looks whole."""
    lines = list(csv.reader(StringIO(answer.body.decode(), newline=""), strict=True))
    header, rows = lines[0] if lines else [], lines[1:]
    announced = answer.headers.get("Sforce-NumberOfRecords", str(len(rows)))
    if len(rows) != int(announced) or any(len(row) != len(header) for row in rows):
        raise ValueError("rows are missing")
    locator = answer.headers.get("Sforce-Locator", "")
    # The end is told by the word, not by silence.
    return BulkPage(header, rows, None if locator in ("", "null") else locator)


def _read_csv(answer: Answer) -> BulkPage:
    try:
        return _bulk_page(answer)
    except csv.Error as broken:
        raise ValueError("a line is not whole") from broken


def _usage(headers: Mapping[str, str]) -> tuple[int, int] | None:
    found = re.search(r"(?<!app-)api-usage=(\d+)/(\d+)", headers.get("Sforce-Limit-Info", ""))
    return (int(found[1]), int(found[2])) if found else None


_LOG_IN_AGAIN = Advice(
    Reauthorise,
    "Log in to Salesforce for this connector again: the token is expired or revoked, or the user may not use the"
    " connected app (Setup, Connected Apps, OAuth policies).",
)
_CORRECT_THE_CLIENT = Advice(
    Fatal, "Correct client_id and client_secret: both stand in Salesforce under Manage Consumer Details of the app."
)
_ENABLE_THE_API = Advice(
    Reauthorise, "Give the user the permission API Enabled; editions below Enterprise need the API bought."
)

SALESFORCE = Vendor(
    name="Salesforce",
    # A quota, not a prohibition, though it comes as one.
    throttled=(Sign(429), Sign(403, word="REQUEST_LIMIT_EXCEEDED")),
    expired=(Sign(401),),
    # Salesforce names no time; a gateway in front of it may.
    wait="Retry-After",
    usage=_usage,
    explain=_explained,
    readers={"json": lambda answer: orjson.loads(answer.body) if answer.body else None, "csv": _read_csv},
    advice={
        "invalid_grant": _LOG_IN_AGAIN,
        "invalid_app_access": _LOG_IN_AGAIN,
        "inactive_user": _LOG_IN_AGAIN,
        "app_not_found": _CORRECT_THE_CLIENT,
        "invalid_client": _CORRECT_THE_CLIENT,
        "invalid_client_id": _CORRECT_THE_CLIENT,
        "invalid_client_credentials": _CORRECT_THE_CLIENT,
        "unsupported_grant_type": Advice(
            Fatal, "Switch the flow on in the connected app, and use the address of My Domain as login_url."
        ),
        "rate_limit_exceeded": Advice(WaitUntil, "The user has logged in too often within the hour."),
        "API_DISABLED_FOR_ORG": _ENABLE_THE_API,
        "API_CURRENTLY_DISABLED": _ENABLE_THE_API,
        "INVALID_TYPE": Advice(
            Refused, "Give the user Read on this object (profile or permission set), or leave its stream out."
        ),
        "INVALID_FIELD": Advice(Retry, "The fields changed while they were read; the next attempt asks for them anew."),
        "QUERY_TIMEOUT": Advice(Refused, "The query took longer than the two minutes that Salesforce grants it."),
    },
    # A query job that is made twice costs a job, an update job that was never filled not even that; the other two only
    # read and only say once more what state a job is to be in.
    repeatable=(
        r"^(POST|PATCH|DELETE) \S*/jobs/query(/|$)|^POST \S*/composite/sobjects/|^POST \S*/jobs/ingest/?$"
        r"|^PATCH \S*/jobs/ingest/\w+$"
    ),
    # Sessions also end because an administrator or another login of the same user ends them.
    fresh_logins=8,
)
