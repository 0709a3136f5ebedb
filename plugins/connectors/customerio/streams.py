"""What is read from Customer.io. People who were deleted are told by their profile_delete activities alone."""

from datetime import timedelta

from connectors import webhooks
from connectors.contract import Stream

# A delivery is found by when it was made, so an open or a click that comes later is found only by reading it again.
LATE_OPENS = timedelta(days=14)
# Activities are shown some time after they happened, and those of one moment in any order.
LATE_ACTIVITIES = timedelta(days=1)

STREAMS = (
    Stream("people", primary_key="cio_id", cursor="timestamp", overlap=LATE_ACTIVITIES, deletes="flag"),
    Stream("messages", primary_key="id", cursor="created", overlap=LATE_OPENS),
    Stream("activities", primary_key="id", cursor="timestamp", overlap=LATE_ACTIVITIES),
    Stream("campaigns", primary_key="id"),
    Stream("newsletters", primary_key="id"),
    Stream("segments", primary_key="id"),
)

SECRETS = ("api_key",)

# Reporting webhooks tell of e-mails within seconds; what they tell is read again by the list of messages.
WEBHOOKS = webhooks.customerio
