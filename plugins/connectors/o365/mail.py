"""A message as Graph tells it, made into a record for each allowed counterpart."""

import base64
import binascii
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from connectors.contract import Record, Rejected
from connectors.o365.counterparts import Allowlist, Counterpart, once_each

RECEIVED, SENT, COPIED = "Mail received", "Mail sent", "Mail copied"
# A conversation index begins with the same 22 bytes in every mailbox, then comes a piece per answer.
THREAD_HEADER = 22
_PLAIN_BASE64 = str.maketrans("-_", "+/")


def records(message: Mapping[str, Any], user: str, allowed: Allowlist, since: datetime) -> Iterator[Record | Rejected]:
    """Nothing for what is no mail yet, too old, or with nobody who may be named."""
    if message.get("isDraft") or "eventMessage" in str(message.get("@odata.type", "")):
        # an invitation is the calendar's to tell
        return
    found = list(_who(message, allowed))
    if not found:
        return
    try:
        message_id = str(message["id"])
        at = moment(message.get("sentDateTime") or message["receivedDateTime"])
        changed = moment(message["lastModifiedDateTime"]) if message.get("lastModifiedDateTime") else None
    except (KeyError, TypeError, ValueError):
        # what is kept of it to try again must not say more than a record would
        yield Rejected(f"message {message.get('id')}", "has no id or no time that can be read", {}, None)
        return
    if at < since:
        return
    for kind, counterpart in found:
        yield Record(
            record_id(message_id, counterpart.digest),
            {
                "id": record_id(message_id, counterpart.digest),
                "message": message_id,
                "mailbox": user,
                "kind": kind,
                "at": at.isoformat(),
                "internetMessageId": message.get("internetMessageId"),
                "thread": _thread(message),
                "domain": counterpart.domain,
                "address": counterpart.address,
                "name": counterpart.name,
                "part": counterpart.part,
            },
            changed,
        )


def record_id(thing: str, part: str) -> str:
    return f"{thing}/{part}"


def moment(text: Any) -> datetime:
    """Graph writes seven places of a second, Python reads six."""
    whole, _, rest = str(text).rstrip("Z").partition(".")
    found = datetime.fromisoformat(whole if not rest else f"{whole}.{rest[:6]:0<6}")
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)


def _who(message: Mapping[str, Any], allowed: Allowlist) -> Iterator[tuple[str, Counterpart]]:
    """Whoever wrote to us, whom we wrote to, and to whom somebody else's mail to us was copied."""
    sender = message.get("from")
    named = [*allowed.counterparts([sender], "from")]
    for field, part in (("toRecipients", "to"), ("ccRecipients", "cc"), ("bccRecipients", "bcc")):
        recipients = message.get(field)
        named += allowed.counterparts(recipients if isinstance(recipients, list) else [], part)
    others = SENT if allowed.is_own(sender) else COPIED
    for counterpart in once_each(named):
        yield (RECEIVED if counterpart.part == "from" else others), counterpart


def _thread(message: Mapping[str, Any]) -> str | None:
    """What the mails of a conversation have in common, the same in every mailbox where Graph tells the index."""
    index = message.get("conversationIndex")
    try:
        # either alphabet of base64 is met
        plain = index.translate(_PLAIN_BASE64) if isinstance(index, str) else ""
        header = base64.b64decode(plain, validate=True)[:THREAD_HEADER]
    except (binascii.Error, ValueError):
        header = b""
    if len(header) == THREAD_HEADER:
        return header.hex()
    return str(message["conversationId"]) if message.get("conversationId") else None
