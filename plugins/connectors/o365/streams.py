"""What is read from Microsoft 365: a record for each counterpart of a mail or a meeting.

A mail that is removed from a folder has been sent all the same, so removals of mail are not told. A meeting that is
called off before it takes place comes once more, as deleted.
"""

from connectors.contract import Stream

STREAMS = (
    Stream("messages", primary_key="id", deletes="never"),
    Stream("events", primary_key="id", deletes="flag"),
)

SECRETS = ("client_secret",)

BEHIND_CONSENT = True
