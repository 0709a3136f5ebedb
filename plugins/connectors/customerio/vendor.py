"""Customer.io's manners, as data for the HTTP core."""

from connectors.contract import Reauthorise
from connectors.http import Advice, Answer, Refused, Sign, Vendor, words_of


def _explained(answer: Answer) -> tuple[str, str]:
    """Errors come in three wrappings, by endpoint and not by status; none has a code of its own, so the status is it.

    {"errors": [{"detail", "status"}]}, the same with {"source": {"pointer"}}, and {"meta": {"error"}}.
    """
    code, told = str(answer.status), words_of(answer)
    if not isinstance(told, dict):
        return code, str(told)
    errors, meta = told.get("errors"), told.get("meta")
    if isinstance(errors, list) and errors and isinstance(errors[0], dict):
        source = errors[0].get("source")
        place = f" ({source['pointer']})" if isinstance(source, dict) and source.get("pointer") else ""
        return code, f"{errors[0].get('detail') or ''}{place}"
    if isinstance(meta, dict) and meta.get("error"):
        return code, str(meta["error"])
    return code, ""


CUSTOMERIO = Vendor(
    name="Customer.io",
    # Without a header that says how long.
    throttled=(Sign(429),),
    wait=None,
    # A key does not expire: one that is refused was revoked or never right.
    expired=(),
    explain=_explained,
    advice={
        "401": Advice(
            Reauthorise,
            "Make an App API key in Customer.io (Settings, API Credentials, App API Keys) and configure the connector"
            " with it; a Tracking API key opens nothing here, and a workspace of the European region needs base_url"
            " https://api-eu.customer.io.",
        ),
        "403": Advice(Refused, "The workspace's plan or the key's scope does not hold it: leave its stream out."),
    },
    # They ask, though by POST.
    repeatable=r"^POST \S*/customers(/attributes)?$",
    # With ten calls a second there is nothing to gain by more at a time.
    concurrency=4,
)
