"""What the invented company's sales people have typed into Salesforce, record by record.

Records are named by a key of the invented world; the org gives them ids and resolves the keys that refer to others.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from random import Random
from typing import Any

from sandbox.companies import BEGINNING, Activity, Company, Person, stage_changes
from sandbox.salesforce.tables import seconds

CITIES = (
    ("Collins Street 12", "Melbourne", "VIC", "3000", "Australia"),
    ("Rynek Główny 4", "Kraków", None, "31-042", "Poland"),
    ("Friedrichstraße 88", "Berlin", None, "10117", "Germany"),
    ("MG Road 210", "Pune", "MH", "411001", "India"),
    ("Rue Saint-Denis 5", "Montréal", "QC", "H2X 3K4", "Canada"),
)
REPS = (
    ("Aisha", "Rahman"), ("Tom", "Ó Briain"), ("Mina", "Kowalska"), ("Luis", "Ferreira"), ("Joan", "Whitlock")
)  # fmt: skip
CAMPAIGNS = {
    "spring-offer": "Email",
    "newsletter": "Email",
    "product-news": "Email",
    "win-back": "Email",
    "Spring webinar": "Webinar",
    "User day": "Conference",
    "Trade fair": "Conference",
    "Product launch": "Conference",
}
PROBABILITY = {
    "Prospecting": (10.0, "Pipeline"),
    "Qualification": (25.0, "Pipeline"),
    "Proposal": (50.0, "Best Case"),
    "Negotiation": (75.0, "Commit"),
    "Closed Won": (100.0, "Closed"),
    "Closed Lost": (0.0, "Omitted"),
}
RESPONSES = ("event_attend", "email_click", "form_fill")
ROLES = ("Decision Maker", "Evaluator", "Economic Buyer", "Influencer")
ARCHIVED_AFTER = timedelta(days=365)


@dataclass(frozen=True, slots=True)
class Told:
    """One record of the invented world. `refers` holds keys of other records by the field that shall hold their ids."""

    entity: str
    key: str
    created: int
    changed: int
    values: Mapping[str, Any]
    refers: Mapping[str, str] = field(default_factory=dict)


def things(company: Company) -> Iterator[Told]:
    """People, companies, deals and campaigns as they stand today, referred-to before referring."""
    beginning = seconds(f"{BEGINNING}T00:00:00Z")
    seed = company.world.seed
    for number, (first, last) in enumerate(REPS):
        yield Told("User", _rep(number), beginning, beginning, _rep_values(number, first, last))
    for name, kind in CAMPAIGNS.items():
        values = {"Name": name, "Type": kind, "Status": "In Progress", "IsActive": True, "StartDate": str(BEGINNING)}
        yield Told("Campaign", name, beginning, beginning, values, {"OwnerId": _rep(0)})
    owners: dict[str, str] = {}
    for account in company.accounts:
        rng = Random(f"{seed}/{account.id}/salesforce")
        owners[account.id] = _rep(rng.randrange(len(REPS)))
        street, city, state, code, country = rng.choice(CITIES)
        values = {
            "Name": account.name,
            "Type": rng.choice(("Prospect", "Prospect", "Customer")),
            "Website": f"https://www.{account.domain}" if account.domain else None,
            "Domain__c": account.domain or None,
            "Industry": account.industry or None,
            "NumberOfEmployees": int(account.employee_count) if account.employee_count else None,
            "AnnualRevenue": float(account.annual_revenue) if account.annual_revenue else None,
            "Description": f'Calls itself "{account.name}",\nfrom {city}.' if rng.random() < 0.3 else None,
            "Office__Latitude__s": round(rng.uniform(-60, 60), 4) if rng.random() < 0.3 else None,
            "BillingStreet": street,
            "BillingCity": city,
            "BillingState": state,
            "BillingPostalCode": code,
            "BillingCountry": country,
        }
        values["Office__Longitude__s"] = 144.9631 if values["Office__Latitude__s"] is not None else None
        refers = {"OwnerId": owners[account.id]}
        yield Told("Account", account.id, beginning, seconds(account.updated_at), values, refers)
    for person in company.people:
        yield from _person(seed, person, owners.get(person.account_id, _rep(0)))
    people = {person.id: person for person in company.people}
    yield from _deals(company, owners, people)
    yield from _members(company, people)


def doings(company: Company, since: date) -> Iterator[Told]:
    """Mails, calls and meetings from that day on. What happened is never changed by the world."""
    people = {person.id: person for person in company.people}
    archived = str(company.world.today - ARCHIVED_AFTER)
    first = str(since)
    for activity in company.activities:
        if activity.occurred_at < first or activity.person_id not in people:
            continue
        at = seconds(activity.occurred_at)
        refers = {"WhoId": activity.person_id, "OwnerId": _rep(at % len(REPS))}
        if not is_lead(company.world.seed, people[activity.person_id]):
            refers |= {"AccountId": activity.account_id, "WhatId": activity.account_id}
        values = {"ActivityDate": activity.occurred_at[:10], "IsArchived": activity.occurred_at[:10] < archived}
        if activity.type == "meeting_attend":
            minutes = 30 + at % 2 * 30
            values |= {
                "Subject": "Meeting",
                "Location": ("Online", "Their office")[at % 2],
                "StartDateTime": at,
                "EndDateTime": at + 60 * minutes,
                "DurationInMinutes": minutes,
            }
            yield Told("Event", activity.id, at, at, values, refers)
        elif subject := _subject(activity):
            values |= {
                "Subject": subject,
                "Status": "Completed",
                "Priority": "Normal",
                "TaskSubtype": "Email" if activity.channel == "email" else "Task",
                "IsClosed": True,
                "Description": 'They wrote: "könnten Sie, bitte,\nzurückrufen?"' if at % 7 == 0 else None,
            }
            yield Told("Task", activity.id, at, at, values, refers)


def is_lead(seed: int, person: Person) -> bool:
    """Those whose company nobody knows are leads, and some others whom nobody has looked at."""
    return not person.account_id or Random(f"{seed}/{person.id}/lead").random() < 0.12


def _person(seed: int, person: Person, owner: str) -> Iterator[Told]:
    rng = Random(f"{seed}/{person.id}/person")
    at = seconds(person.updated_at)
    values = {
        "LastName": person.last_name,
        "FirstName": person.first_name or None,
        "Name": f"{person.first_name} {person.last_name}".strip(),
        "Email": person.email or None,
        "Title": person.title or None,
        "Phone": person.phone or None,
        "LeadSource": rng.choice(("Web", "Event", "Referral", None)),
    }
    domain = person.email.partition("@")[2]
    lead = {"Company": domain.partition(".")[0] or "unknown", "Status": rng.choice(("Open", "Working"))}
    if is_lead(seed, person):
        yield Told("Lead", person.id, at, at, values | lead, {"OwnerId": owner})
        return
    refers = {"AccountId": person.account_id, "OwnerId": owner}
    address = {"MailingCity": rng.choice(CITIES)[1]}
    yield Told("Contact", person.id, at, at, values | address | {"HasOptedOutOfEmail": False}, refers)
    if rng.random() < 0.1:
        converted = {
            "Status": "Closed - Converted",
            "IsConverted": True,
            "ConvertedDate": person.updated_at[:10],
        }
        refers = {"ConvertedAccountId": person.account_id, "ConvertedContactId": person.id, "OwnerId": owner}
        yield Told("Lead", f"{person.id}/lead", at, at, values | lead | converted, refers)


def _deals(company: Company, owners: Mapping[str, str], people: Mapping[str, Person]) -> Iterator[Told]:
    steps: dict[str, list[tuple[int, str]]] = {}
    for change in stage_changes(company):
        steps.setdefault(change.opportunity_id, []).append((seconds(change.changed_at), change.stage))
    for deal in company.opportunities:
        (begun, _), *_ = way = steps[deal.id]
        amount = float(deal.amount) if deal.amount else None
        probability, forecast = PROBABILITY[deal.stage]
        values = {
            "Name": deal.name,
            "Amount": amount,
            "CloseDate": deal.close_date[:10],
            "StageName": deal.stage,
            "Probability": probability,
            "ForecastCategoryName": forecast,
            "IsClosed": deal.is_closed == "true",
            "IsWon": deal.stage == "Closed Won",
            "Type": "New Business",
            "LastStageChangeDate": seconds(deal.stage_changed_at),
        }
        refers = {"AccountId": deal.account_id, "OwnerId": owners[deal.account_id]}
        yield Told("Opportunity", deal.id, begun, seconds(deal.updated_at), values, refers)
        for at, stage in way:
            history = {
                "StageName": stage,
                "Probability": PROBABILITY[stage][0],
                "Amount": None if stage == "Prospecting" else amount,
                "CloseDate": str(_day_of(at) if stage.startswith("Closed") else _day_of(begun) + timedelta(days=90)),
            }
            yield Told("OpportunityHistory", f"{deal.id}/{stage}", at, at, history, {"OpportunityId": deal.id})
        known = [id for id in deal.contact_ids.split(";") if id and not is_lead(company.world.seed, people[id])]
        for place, id in enumerate(known):
            role = {"Role": ROLES[place % len(ROLES)], "IsPrimary": place == 0}
            refers = {"OpportunityId": deal.id, "ContactId": id}
            yield Told("OpportunityContactRole", f"{deal.id}/{id}", begun, begun, role, refers)


def _members(company: Company, people: Mapping[str, Person]) -> Iterator[Told]:
    """Whoever answered a campaign is its member from the first answer on."""
    seen: set[str] = set()
    for activity in company.activities:
        person = people.get(activity.person_id)
        if person is None or activity.type not in RESPONSES:
            continue
        at = seconds(activity.occurred_at)
        names = tuple(CAMPAIGNS)
        campaign = names[at % len(names)]
        key = f"{campaign}/{person.id}"
        if key in seen:
            continue
        seen.add(key)
        values = {"Status": "Responded", "HasResponded": True, "FirstRespondedDate": activity.occurred_at[:10]}
        who = "LeadId" if is_lead(company.world.seed, person) else "ContactId"
        yield Told("CampaignMember", key, at, at, values, {"CampaignId": campaign, who: person.id})


def _day_of(at: int) -> date:
    return datetime.fromtimestamp(at, UTC).date()


def _subject(activity: Activity) -> str | None:
    match activity.type:
        case "email_sent":
            return "Email: our offer"
        case "email_thread":
            return "Re: questions about the offer"
        case "demo_request":
            return "Call: asked for a demo"
        case "form_fill":
            return "Follow up the form"
    return None


def _rep(number: int) -> str:
    return f"USER-{number}"


def _rep_values(number: int, first: str, last: str) -> dict[str, Any]:
    mailbox = f"rep{number}@seller.example"
    name = {"FirstName": first, "LastName": last, "Name": f"{first} {last}"}
    return name | {
        "Username": mailbox,
        "Email": mailbox,
        "Title": "Account Executive",
        "Department": "Sales",
        "IsActive": True,
    }
