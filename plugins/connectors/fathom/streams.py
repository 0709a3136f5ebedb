"""What is read from Fathom. No list of its tells what changed or went away, so recent days are read again each time."""

from datetime import timedelta

from connectors import webhooks
from connectors.contract import Stream

# Transcripts and summaries are made after the meeting, and invitees are matched with speakers later still.
LATE_SUMMARIES = timedelta(days=7)

STREAMS = tuple(
    Stream(name, primary_key=key, cursor="created_at", overlap=LATE_SUMMARIES)
    for name, key in (("meetings", "recording_id"), ("participants", "id"), ("transcripts", "recording_id"))
)

SECRETS = ("api_key", "access_token")

# What was said is read only for a tenant that has allowed it.
BEHIND_CONSENT = True

# A new meeting is told when it has been recorded.
WEBHOOKS = webhooks.svix
