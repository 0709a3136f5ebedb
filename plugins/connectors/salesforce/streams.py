"""What is read from Salesforce. A deleted record is delivered once more with IsDeleted, as queryAll shows it."""

from datetime import timedelta

from connectors.contract import Stream

OBJECTS = {
    "accounts": "Account",
    "contacts": "Contact",
    "leads": "Lead",
    "opportunities": "Opportunity",
    "opportunity_contact_roles": "OpportunityContactRole",
    "opportunity_history": "OpportunityHistory",
    "tasks": "Task",
    "events": "Event",
    "users": "User",
    "campaigns": "Campaign",
    "campaign_members": "CampaignMember",
}

# Stamps are given when a transaction begins and seen when it ends, and a transaction may take ten minutes.
OVERLAP = timedelta(minutes=10)

STREAMS = tuple(
    Stream(name, primary_key="Id", cursor="SystemModstamp", overlap=OVERLAP, deletes="flag") for name in OBJECTS
)

SECRETS = ("client_secret", "refresh_token", "private_key")
