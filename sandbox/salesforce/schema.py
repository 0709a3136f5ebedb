"""The objects of the org and their fields, as data, and how `describe` tells of them."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Field:
    """`parts` make a compound field; `follows` says that the record is deleted with the one it refers to.

    `days_since` makes a formula: the days since that other field, by the org's clock.
    """

    name: str
    type: str = "string"
    length: int = 0
    writable: bool = True
    nillable: bool = True
    picklist: tuple[str, ...] = ()
    refers_to: tuple[str, ...] = ()
    follows: bool = False
    part_of: str = ""
    parts: tuple[tuple[str, str], ...] = ()
    external_id: bool = False
    days_since: str = ""

    @property
    def is_compound(self) -> bool:
        return self.type in ("address", "location")

    @property
    def is_stored(self) -> bool:
        return not self.is_compound and not self.days_since

    @property
    def is_custom(self) -> bool:
        return self.name.endswith(("__c", "__s"))

    def describe(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "label": self.name.removesuffix("__c").replace("_", " "),
            "type": self.type,
            "soapType": SOAP_TYPES.get(self.type, "xsd:string"),
            "length": self.length,
            "byteLength": self.length * 3,
            "precision": 18 if self.type in ("double", "currency", "percent") else 0,
            "scale": 2 if self.type in ("double", "currency", "percent") else 0,
            "digits": 8 if self.type == "int" else 0,
            "nillable": self.nillable,
            "defaultedOnCreate": not self.nillable and not self.writable,
            "createable": self.writable,
            "updateable": self.writable,
            "calculated": bool(self.days_since),
            "custom": self.is_custom,
            "externalId": self.external_id,
            "idLookup": self.external_id or self.type == "id",
            "unique": self.external_id,
            "filterable": not self.is_compound,
            "sortable": not self.is_compound,
            "groupable": self.type in ("string", "picklist", "reference", "boolean", "id"),
            "aggregatable": not self.is_compound,
            "compoundFieldName": self.part_of or None,
            "picklistValues": [
                {"active": True, "defaultValue": False, "label": value, "value": value} for value in self.picklist
            ],
            "restrictedPicklist": bool(self.picklist),
            "referenceTo": list(self.refers_to),
            "relationshipName": self.name.removesuffix("Id") if self.refers_to else None,
            "cascadeDelete": self.follows,
            "deprecatedAndHidden": False,
        }


SOAP_TYPES = {
    "id": "tns:ID",
    "reference": "tns:ID",
    "boolean": "xsd:boolean",
    "int": "xsd:int",
    "double": "xsd:double",
    "currency": "xsd:double",
    "percent": "xsd:double",
    "date": "xsd:date",
    "datetime": "xsd:dateTime",
    "address": "urn:address",
    "location": "urn:location",
}


@dataclass(frozen=True, slots=True)
class Entity:
    """One object as it stands in a new org. An org changes its own list of fields."""

    name: str
    key_prefix: str
    fields: tuple[Field, ...]

    def describe_shortly(self, version: str) -> dict[str, Any]:
        here = f"/services/data/v{version}/sobjects/{self.name}"
        writable = self.name not in READ_ONLY
        return {
            "name": self.name,
            "label": self.name,
            "labelPlural": f"{self.name}s",
            "keyPrefix": self.key_prefix,
            "custom": False,
            "queryable": True,
            "retrieveable": True,
            "replicateable": True,
            "createable": writable,
            "updateable": writable,
            "deletable": writable and self.name != "User",
            "undeletable": writable and self.name != "User",
            "mergeable": self.name in MERGEABLE,
            "urls": {"sobject": here, "describe": f"{here}/describe", "rowTemplate": f"{here}/{{ID}}"},
        }


MERGEABLE = ("Account", "Contact", "Lead")
READ_ONLY = ("OpportunityHistory", "Organization")

INDUSTRIES = (
    "Software", "Financial Services", "Retail", "Education", "Energy", "Manufacturing", "Logistics", "Healthcare"
)  # fmt: skip
STAGE_NAMES = (
    "Prospecting", "Qualification", "Proposal", "Negotiation", "Closed Won", "Closed Lost"
)  # fmt: skip


def _read_only(name: str, type: str, **more: Any) -> Field:
    return Field(name, type, writable=False, **more)


def _lookup(name: str, *refers_to: str, **more: Any) -> Field:
    return Field(name, "reference", 18, refers_to=refers_to, **more)


def _text(*names: str, length: int = 255, **more: Any) -> tuple[Field, ...]:
    return tuple(Field(name, "string", length, **more) for name in names)


def _choice(name: str, *values: str) -> Field:
    return Field(name, "picklist", 255, picklist=values)


def _address(prefix: str) -> tuple[Field, ...]:
    """Five columns, and the compound one that shows them together and that Bulk refuses."""
    name = f"{prefix}Address"
    parts = {"street": "Street", "city": "City", "state": "State", "postalCode": "PostalCode", "country": "Country"}
    return (
        Field(f"{prefix}Street", "textarea", 255, part_of=name),
        *(Field(f"{prefix}{part}", "string", 80, part_of=name) for part in tuple(parts.values())[1:]),
        _read_only(name, "address", parts=tuple((key, f"{prefix}{part}") for key, part in parts.items())),
    )


def _system(deletable: bool = True) -> tuple[Field, ...]:
    return (
        _read_only("Id", "id", length=18, nillable=False),
        *([_read_only("IsDeleted", "boolean", nillable=False)] if deletable else []),
        _read_only("CreatedDate", "datetime", nillable=False),
        _read_only("CreatedById", "reference", length=18, refers_to=("User",)),
    )


def _changes() -> tuple[Field, ...]:
    return (
        _read_only("LastModifiedDate", "datetime", nillable=False),
        _read_only("LastModifiedById", "reference", length=18, refers_to=("User",)),
        _read_only("SystemModstamp", "datetime", nillable=False),
    )


_OWNER = _lookup("OwnerId", "User")
_NAME = (
    Field("LastName", "string", 80, nillable=False, part_of="Name"),
    Field("FirstName", "string", 40, part_of="Name"),
    _read_only("Name", "string", length=121),
)
_SCORE = (
    Field("GTM_Score__c", "double"),
    _choice("GTM_Segment__c", "A", "B", "C", "D"),
    Field("GTM_Scored_At__c", "datetime"),
)

ENTITIES = {
    entity.name: entity
    for entity in (
        Entity(
            "Organization",
            "00D",
            (*_system(deletable=False), *_text("Name"), Field("IsSandbox", "boolean"), *_changes()),
        ),
        Entity(
            "User",
            "005",
            (
                *_system(deletable=False),
                *_text("Username", length=80, nillable=False),
                *_NAME,
                *_text("Email", "Title", "Department", length=128),
                Field("IsActive", "boolean", nillable=False),
                _lookup("ManagerId", "User"),
                *_changes(),
            ),
        ),
        Entity(
            "Account",
            "001",
            (
                *_system(),
                _read_only("MasterRecordId", "reference", length=18, refers_to=("Account",)),
                *_text("Name", nillable=False),
                _choice("Type", "Prospect", "Customer", "Partner"),
                _lookup("ParentId", "Account"),
                *_address("Billing"),
                *_text("Phone", length=40),
                Field("Website", "url", 255),
                _choice("Industry", *INDUSTRIES),
                Field("AnnualRevenue", "currency"),
                Field("NumberOfEmployees", "int"),
                Field("Description", "textarea", 32000),
                _OWNER,
                Field("Domain__c", "string", 120, external_id=True),
                Field("Office__Latitude__s", "double", part_of="Office__c"),
                Field("Office__Longitude__s", "double", part_of="Office__c"),
                _read_only(
                    "Office__c",
                    "location",
                    parts=(("latitude", "Office__Latitude__s"), ("longitude", "Office__Longitude__s")),
                ),
                *_SCORE,
                *_changes(),
            ),
        ),
        Entity(
            "Contact",
            "003",
            (
                *_system(),
                _read_only("MasterRecordId", "reference", length=18, refers_to=("Contact",)),
                _lookup("AccountId", "Account", follows=True),
                *_NAME,
                *_address("Mailing"),
                *_text("Phone", length=40),
                Field("Email", "email", 80),
                Field("Title", "string", 128),
                _choice("LeadSource", "Web", "Event", "Referral", "Partner"),
                Field("HasOptedOutOfEmail", "boolean", nillable=False),
                Field("EmailBouncedDate", "datetime"),
                _OWNER,
                *_SCORE,
                *_changes(),
            ),
        ),
        Entity(
            "Lead",
            "00Q",
            (
                *_system(),
                _read_only("MasterRecordId", "reference", length=18, refers_to=("Lead",)),
                *_NAME,
                *_text("Company", nillable=False),
                *_address(""),
                *_text("Phone", length=40),
                Field("Email", "email", 80),
                Field("Title", "string", 128),
                _choice("Status", "Open", "Working", "Closed - Converted", "Closed - Not Converted"),
                _choice("LeadSource", "Web", "Event", "Referral", "Partner"),
                _OWNER,
                _read_only("IsConverted", "boolean", nillable=False),
                _read_only("ConvertedDate", "date"),
                _read_only("ConvertedAccountId", "reference", length=18, refers_to=("Account",)),
                _read_only("ConvertedContactId", "reference", length=18, refers_to=("Contact",)),
                _read_only("ConvertedOpportunityId", "reference", length=18, refers_to=("Opportunity",)),
                *_SCORE,
                *_changes(),
            ),
        ),
        Entity(
            "Opportunity",
            "006",
            (
                *_system(),
                _lookup("AccountId", "Account", follows=True),
                *_text("Name", length=120, nillable=False),
                _choice("StageName", *STAGE_NAMES),
                Field("Amount", "currency"),
                Field("Probability", "percent"),
                Field("CloseDate", "date", nillable=False),
                _choice("Type", "New Business", "Existing Business"),
                _read_only("IsClosed", "boolean", nillable=False),
                _read_only("IsWon", "boolean", nillable=False),
                _choice("ForecastCategoryName", "Pipeline", "Best Case", "Commit", "Omitted", "Closed"),
                _lookup("CampaignId", "Campaign"),
                _OWNER,
                _read_only("LastStageChangeDate", "datetime"),
                *_changes(),
            ),
        ),
        Entity(
            "OpportunityContactRole",
            "00K",
            (
                *_system(),
                _lookup("OpportunityId", "Opportunity", follows=True, nillable=False),
                _lookup("ContactId", "Contact", follows=True, nillable=False),
                _choice("Role", "Decision Maker", "Evaluator", "Economic Buyer", "Influencer"),
                Field("IsPrimary", "boolean", nillable=False),
                *_changes(),
            ),
        ),
        Entity(
            # A history is written once: it has no LastModifiedDate.
            "OpportunityHistory",
            "008",
            (
                *_system(),
                _read_only("OpportunityId", "reference", length=18, refers_to=("Opportunity",), follows=True),
                _read_only("StageName", "picklist", length=255, picklist=STAGE_NAMES),
                _read_only("Amount", "currency"),
                _read_only("Probability", "percent"),
                _read_only("CloseDate", "date"),
                _read_only("SystemModstamp", "datetime", nillable=False),
            ),
        ),
        Entity(
            "Campaign",
            "701",
            (
                *_system(),
                *_text("Name", length=80, nillable=False),
                _choice("Type", "Email", "Webinar", "Conference", "Advertisement"),
                _choice("Status", "Planned", "In Progress", "Completed"),
                Field("StartDate", "date"),
                Field("IsActive", "boolean", nillable=False),
                _OWNER,
                *_changes(),
            ),
        ),
        Entity(
            "CampaignMember",
            "00v",
            (
                *_system(),
                _lookup("CampaignId", "Campaign", follows=True, nillable=False),
                _lookup("LeadId", "Lead", follows=True),
                _lookup("ContactId", "Contact", follows=True),
                _choice("Status", "Sent", "Responded"),
                _read_only("HasResponded", "boolean", nillable=False),
                _read_only("FirstRespondedDate", "date"),
                *_changes(),
            ),
        ),
        Entity(
            "Task",
            "00T",
            (
                *_system(),
                _lookup("WhoId", "Contact", "Lead"),
                _lookup("WhatId", "Account", "Opportunity", "Campaign"),
                _read_only("AccountId", "reference", length=18, refers_to=("Account",)),
                *_text("Subject"),
                Field("ActivityDate", "date"),
                _choice("Status", "Not Started", "In Progress", "Completed"),
                _choice("Priority", "High", "Normal", "Low"),
                _choice("TaskSubtype", "Task", "Email", "Call"),
                _read_only("IsClosed", "boolean", nillable=False),
                _read_only("IsArchived", "boolean", nillable=False),
                Field("Description", "textarea", 32000),
                _OWNER,
                *_changes(),
            ),
        ),
        Entity(
            "Event",
            "00U",
            (
                *_system(),
                _lookup("WhoId", "Contact", "Lead"),
                _lookup("WhatId", "Account", "Opportunity", "Campaign"),
                _read_only("AccountId", "reference", length=18, refers_to=("Account",)),
                *_text("Subject", "Location"),
                Field("ActivityDate", "date"),
                Field("StartDateTime", "datetime"),
                Field("EndDateTime", "datetime"),
                Field("DurationInMinutes", "int"),
                _read_only("IsArchived", "boolean", nillable=False),
                Field("Description", "textarea", 32000),
                _OWNER,
                *_changes(),
            ),
        ),
    )
}
