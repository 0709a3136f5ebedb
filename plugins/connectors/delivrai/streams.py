"""What is read from Delivr.ai. It tells of a moment: whoever researches no longer is not taken back, only not told."""

from connectors.contract import Stream

STREAMS = (
    # A statement of a day: the topic, who researches it, and the day that the data is of.
    Stream("people_intent", primary_key="id"),
    Stream("company_intent", primary_key="id"),
    # Who somebody is about whom it was asked, by the digest of the address.
    Stream("contacts", primary_key="hem"),
    # Who came to the tenant's website.
    Stream("visits", primary_key="id"),
)

SECRETS = ("api_key", "api_secret")

# Contacts are bought for those whom the tenant knows, each but once in a while.
ASKS_ABOUT_PEOPLE = True
