"""Microsoft Graph's manners, as data for the HTTP core."""

from connectors.contract import Fatal, Reauthorise
from connectors.http import Advice, Answer, Refused, Sign, Vendor, words_of

# Graph has lost the place that a link stands for; which code it says so with depends on where it was lost.
LOST_THE_PLACE = frozenset(
    {"syncstatenotfound", "resyncrequired", "syncstateinvalid", "errorinvalidsyncstatedata", "gone"}
)
# A mailbox that is none: without a licence, moved elsewhere, on premises, or closed to us by an access policy.
NO_MAILBOX = frozenset(
    {
        "mailboxnotenabledforrestapi",
        "mailboxnotsupportedforrestapi",
        "erroraccessdenied",
        "errorinvaliduser",
        "erroritemnotfound",
        "errorfoldernotfound",
        "request_resourcenotfound",
        "resourcenotfound",
    }
)


def _explained(answer: Answer) -> tuple[str, str]:
    """Graph says {error: {code, message}}, its login {error, error_description}."""
    told = words_of(answer)
    if isinstance(told, str):
        return "", told
    error = told.get("error") if isinstance(told, dict) else None
    if isinstance(error, dict):
        return str(error.get("code") or ""), str(error.get("message") or "")
    if isinstance(error, str):
        # behind the first line stand ids of the request and the time, of use to Microsoft alone
        return error, str(told.get("error_description") or "").partition("\r\n")[0].partition(" Trace ID")[0]
    return "", ""


_CORRECT_THE_APPLICATION = Advice(
    Fatal,
    "Correct client_id, client_secret and directory_id: they stand in the Entra admin centre under the app"
    " registration; a secret is shown once, and it expires.",
)
_GRANT_THE_PERMISSIONS = Advice(
    Reauthorise,
    "Grant the application Mail.ReadBasic.All, Calendars.ReadBasic.All and User.ReadBasic.All with admin consent.",
)

GRAPH = Vendor(
    name="Microsoft 365",
    throttled=(Sign(429),),
    expired=(Sign(401),),
    wait="Retry-After",
    explain=_explained,
    advice={
        "invalid_client": _CORRECT_THE_APPLICATION,
        "unauthorized_client": _CORRECT_THE_APPLICATION,
        "invalid_request": _CORRECT_THE_APPLICATION,
        "Authorization_RequestDenied": _GRANT_THE_PERMISSIONS,
        # of one mailbox; the reader passes it over and says so
        "ErrorAccessDenied": Advice(Refused, "An application access policy may close this mailbox."),
    },
    concurrency=8,
    # policies of the directory may end a token before its hour is over, and every stream finds that out by itself
    fresh_logins=8,
)


def lost_its_place(refused: Refused) -> bool:
    return refused.status == 410 or refused.code.lower() in LOST_THE_PLACE


def is_no_mailbox(refused: Refused) -> bool:
    return refused.status in (403, 404) and refused.code.lower() in NO_MAILBOX
