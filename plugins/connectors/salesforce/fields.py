"""What describe shows of an object, and what of it is read."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from connectors.contract import Fatal
from connectors.salesforce.pages import STAMPS

# Bulk refuses the first two, whose parts are fields of their own; the third is the content of files.
SKIPPED_TYPES = frozenset({"address", "location", "base64"})

# What the platform makes no sense of a record without.
CORE: Mapping[str, tuple[str, ...]] = {
    "Account": ("Name", "Website", "Industry", "AnnualRevenue", "NumberOfEmployees", "OwnerId", "MasterRecordId"),
    "Contact": ("Email", "FirstName", "LastName", "Title", "AccountId", "MasterRecordId"),
    "Lead": (
        *("Email", "FirstName", "LastName", "Title", "Company", "Status", "IsConverted", "MasterRecordId"),
        *("ConvertedAccountId", "ConvertedContactId", "ConvertedOpportunityId"),
    ),
    "Opportunity": ("AccountId", "Name", "StageName", "Amount", "CloseDate", "IsClosed", "IsWon"),
    "OpportunityContactRole": ("OpportunityId", "ContactId", "Role"),
    "OpportunityHistory": ("OpportunityId", "StageName"),
    "Task": ("WhoId", "WhatId", "Subject", "Status", "ActivityDate"),
    "Event": ("WhoId", "WhatId", "Subject", "StartDateTime", "EndDateTime"),
    "User": ("Name", "Email"),
    "Campaign": ("Name", "Type", "Status"),
    "CampaignMember": ("CampaignId", "LeadId", "ContactId", "Status"),
}


@dataclass(frozen=True, slots=True)
class Fields:
    entity: str
    types: Mapping[str, str]
    stamp: str
    tells_deletions: bool

    @property
    def names(self) -> list[str]:
        return list(self.types)

    def gained_since(self, known: Collection[str]) -> list[str]:
        return sorted(set(self.types) - set(known))

    def notes(self, known: Collection[str]) -> list[str]:
        """What people should hear: the fields that went away since last time, and those that must not be hidden."""
        found = []
        if lost := sorted(set(known) - set(self.types)):
            found.append(
                f"{self.entity} no longer shows {', '.join(lost)}: removed, or hidden from the user by field-level"
                " security. What was read of it stays; new versions of records come without it"
            )
        if hidden := [name for name in CORE.get(self.entity, ()) if name not in self.types]:
            found.append(
                f"{self.entity} does not show {', '.join(hidden)}, which scoring builds on. Give the user read access"
                " to these fields (Setup, Object Manager, Fields, Set Field-Level Security, or a permission set)"
            )
        return found


def fields_of(entity: str, described: Mapping[str, Any]) -> Fields:
    types = {
        str(field["name"]): str(field["type"])
        for field in described.get("fields", ())
        if field["type"] not in SKIPPED_TYPES and not field.get("deprecatedAndHidden")
    }
    stamp = next((name for name in STAMPS if name in types), None)
    if "Id" not in types or stamp is None:
        raise Fatal(
            f"{entity} shows no Id or none of {', '.join(STAMPS)}, so changes cannot be told. Give the user Read on"
            f" {entity} and its fields."
        )
    return Fields(entity, types, stamp, bool(described.get("replicateable")))
