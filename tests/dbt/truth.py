"""What canonical must hold, worked out from what the sources hold: plain Python that shares nothing with the models.

Every record is given as its versions in the order of landing. All is keyed by external ids, for those are what the
sources know; of our own ids only the rule is here: the first member's.
"""

import hashlib
import re
import uuid
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

CRM = "salesforce"
PLACEHOLDER = "_none"
# Those that the tests use; the seeds know more.
PERSONAL_DOMAINS = frozenset({"gmail.com", "gmx.de", "outlook.com"})
SHARED_MAILBOXES = frozenset({"info", "sales", "office", "kontakt"})
MACHINE_AGENTS = ("googleimageproxy", "proofpoint")
ROLES = {
    "Decision Maker": "economic_buyer",
    "Evaluator": "technical_evaluator",
    "Economic Buyer": "economic_buyer",
    "Influencer": "coach",
}
SALESFORCE_SIGNALS = {
    "Email": ("email_sent", "email"),
    "Email reply": ("email_thread", "email"),
    "Call": ("call", "phone"),
    "Task": ("unknown", None),
    "Event": ("meeting_attend", "meetings"),
    "Responded": ("form_fill", "web"),
}
CUSTOMERIO_SIGNALS = {
    "sent_email": ("email_sent", "email"),
    "opened_email": ("email_open", "email"),
    "clicked_email": ("email_click", "email"),
    "bounced_email": ("bounce", "email"),
    "unsubscribed_email": ("unsubscribe", "email"),
    "page": ("page_view", "web"),
    "form_submitted": ("form_fill", "web"),
    "demo_requested": ("demo_request", "direct"),
    "asset_downloaded": ("content_download", "web"),
}
MICROSOFT_SIGNALS = {
    "Mail received": ("email_thread", "email"),
    "Mail sent": ("email_sent", "email"),
    "Mail copied": ("email_sent", "email"),
    "Meeting": ("meeting_attend", "meetings"),
}
LONGEST_CHAIN = 20
# of an account, or of the company that a lead tells of
FIRMOGRAPHICS = ("industry", "employee_count", "annual_revenue")

Row = dict[str, Any]
Rows = dict[Any, Row]


@dataclass(frozen=True, slots=True)
class Version:
    """One state of a record as its source gave it out. `landed` says when, in whatever can be compared."""

    stream: str
    id: str
    payload: Mapping[str, Any]
    stamp: datetime | None
    landed: Any
    is_deleted: bool = False

    @property
    def source(self) -> str:
        return self.stream.partition("__")[0]


@dataclass(frozen=True, slots=True)
class Rules:
    """What a tenant says about reading its records.

    `mapped` fills columns anew, by connector and entity; nothing is kept without what is `required`.
    """

    personal: frozenset[str] = PERSONAL_DOMAINS
    agents: tuple[str, ...] = MACHINE_AGENTS
    mapped: Mapping[tuple[str, str], Callable[[Mapping[str, Any]], Row]] = field(default_factory=dict)
    required: Mapping[tuple[str, str], tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Truth:
    """Rows by external id, without those that belong to no source."""

    accounts: Rows
    people: Rows
    opportunities: Rows
    waiting: Rows
    activities: Rows
    contacts: Rows
    stages: Rows
    signals: Rows


# ── what a version says ──────────────────────────────────────────────────────────────────────────────────────────────


def text(value: Any) -> str | None:
    return str(value).strip(" ") or None if value is not None else None


def number(value: Any) -> Decimal | None:
    try:
        found = Decimal(str(value))
    except InvalidOperation:
        return None
    return found if found.is_finite() else None


def integer(value: Any) -> int | None:
    found = number(value)
    return None if found is None else int(found)


def moment(value: Any) -> datetime | None:
    """A time without a zone is UTC."""
    if not isinstance(value, str) or not re.match(r"\s*\d{4}-\d\d-\d\d", value):
        return None
    try:
        found = datetime.fromisoformat(value.strip())
    except ValueError:
        return None
    return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)


def domain(value: Any) -> str | None:
    """The registered domain of an address. Those that the tests use have an ending of one part."""
    host = re.sub(r"^[a-z]+://", "", (text(value) or "").lower())
    labels = re.split(r"[/:?#\s]", host)[0].strip(".").encode("idna").decode().split(".")
    return ".".join(labels[-2:]) if len(labels) > 1 else None


def _firmographics(payload: Mapping[str, Any], industry: str, employees: str, revenue: str) -> Row:
    return {
        "industry": text(payload.get(industry)),
        "employee_count": integer(payload.get(employees)),
        "annual_revenue": number(payload.get(revenue)),
    }


def _of_account(payload: Mapping[str, Any]) -> Row:
    return {
        "name": text(payload.get("Name")),
        "domain": domain(payload.get("Website")),
        **_firmographics(payload, "Industry", "NumberOfEmployees", "AnnualRevenue"),
        "continues_as": text(payload.get("MasterRecordId")),
    }


def _of_contact(payload: Mapping[str, Any]) -> Row:
    return {
        "account_ref": text(payload.get("AccountId")),
        "email": (text(payload.get("Email")) or "").lower() or None,
        "first_name": text(payload.get("FirstName")),
        "last_name": text(payload.get("LastName")),
        "title": text(payload.get("Title")),
        "phone": text(payload.get("Phone")),
        "is_lead": False,
        **dict.fromkeys(FIRMOGRAPHICS),
        "continues_as": text(payload.get("MasterRecordId")),
    }


def _of_lead(payload: Mapping[str, Any]) -> Row:
    converted = text(payload.get("ConvertedContactId")) if payload.get("IsConverted") else None
    return {
        **_of_contact(payload),
        **_firmographics(payload, "Industry", "NumberOfEmployees", "AnnualRevenue"),
        "account_ref": text(payload.get("ConvertedAccountId")) if payload.get("IsConverted") else None,
        "is_lead": True,
        "continues_as": text(payload.get("MasterRecordId")) or converted,
    }


def _of_opportunity(payload: Mapping[str, Any]) -> Row:
    return {
        "account_ref": text(payload.get("AccountId")),
        "name": text(payload.get("Name")),
        "stage": text(payload.get("StageName")),
        "amount": number(payload.get("Amount")),
        "close_date": moment(payload.get("CloseDate")),
    }


def _of_task(payload: Mapping[str, Any]) -> Row:
    """A plan is no activity."""
    if not (payload.get("IsClosed") or payload.get("Status") == "Completed"):
        return {"source_type": None, "occurred_at": None, "is_gone": True}
    kind = payload.get("TaskSubtype") or "Task"
    if kind == "Email" and re.match(r"(re|aw):|\[in\]", payload.get("Subject") or "", re.IGNORECASE):
        kind = "Email reply"
    return {
        "person_ref": text(payload.get("WhoId")),
        "account_ref": text(payload.get("AccountId")),
        "source_type": kind,
        "occurred_at": moment(payload.get("ActivityDate")) or moment(payload.get("CreatedDate")),
    }


def _of_event(payload: Mapping[str, Any]) -> Row:
    """Whoever meets at a moment meets once, however often it is noted."""
    start = moment(payload.get("StartDateTime"))
    return {
        "person_ref": text(payload.get("WhoId")),
        "account_ref": text(payload.get("AccountId")),
        "source_type": "Event",
        "occurred_at": start or moment(payload.get("ActivityDate")),
        "occasion": f"meeting {int(start.timestamp())}" if start else None,
        "is_gone": bool(re.match(r"cancell?ed:", payload.get("Subject") or "", re.IGNORECASE)),
    }


def _of_member(payload: Mapping[str, Any]) -> Row:
    """To be on a list is no activity."""
    if not payload.get("HasResponded"):
        return {"source_type": None, "occurred_at": None, "is_gone": True}
    return {
        "person_ref": text(payload.get("ContactId")) or text(payload.get("LeadId")),
        "account_ref": None,
        "source_type": text(payload.get("Status")),
        "occurred_at": moment(payload.get("FirstRespondedDate")) or moment(payload.get("CreatedDate")),
    }


def _of_file_account(payload: Mapping[str, Any]) -> Row:
    return {
        "name": text(payload.get("name")),
        "domain": domain(payload.get("domain")) or domain(payload.get("website")),
        **_firmographics(payload, *FIRMOGRAPHICS),
        "continues_as": text(payload.get("merged_into")),
    }


def _of_file_person(payload: Mapping[str, Any]) -> Row:
    plain = {name: text(payload.get(name)) for name in ("first_name", "last_name", "title", "phone")}
    email = (text(payload.get("email")) or "").lower() or None
    return {
        **plain,
        **_firmographics(payload, *FIRMOGRAPHICS),
        "account_ref": text(payload.get("account_id")),
        "email": email,
        "is_lead": str(payload.get("is_lead")).lower() == "true",
        "continues_as": text(payload.get("merged_into")),
    }


def _of_file_opportunity(payload: Mapping[str, Any]) -> Row:
    return {
        "account_ref": text(payload.get("account_id")),
        "name": text(payload.get("name")),
        "stage": text(payload.get("stage")),
        "amount": number(payload.get("amount")),
        "close_date": moment(payload.get("close_date")),
    }


def _of_file_activity(payload: Mapping[str, Any]) -> Row:
    return {
        "person_ref": text(payload.get("person_id")),
        "account_ref": text(payload.get("account_id")),
        "source_type": text(payload.get("type")),
        "channel": (text(payload.get("channel")) or "").lower() or None,
        "occurred_at": moment(payload.get("occurred_at")),
        "is_bot": str(payload.get("is_bot")).lower() == "true",
        "user_agent": text(payload.get("user_agent")),
        "occasion": text(payload.get("occasion")),
    }


def _of_profile(payload: Mapping[str, Any]) -> Row:
    plain = {name: text(payload.get(name)) for name in ("first_name", "last_name", "title", "phone")}
    return {
        **plain,
        **dict.fromkeys(FIRMOGRAPHICS),
        "account_ref": None,
        "email": (text(payload.get("email")) or "").lower() or None,
        "is_lead": False,
        "continues_as": None,
    }


def _of_message_event(payload: Mapping[str, Any]) -> Row:
    """What nobody is known to have done, a machine did."""
    return {
        "person_ref": text(payload.get("cio_id")),
        "account_ref": None,
        "source_type": text(payload.get("type")),
        "occurred_at": moment(payload.get("occurred_at")),
        "is_bot": payload.get("is_human") is False,
    }


def _of_log(payload: Mapping[str, Any]) -> Row:
    kind = text(payload.get("type"))
    return {
        "person_ref": text(payload.get("cio_id")),
        "account_ref": None,
        "source_type": text(payload.get("name")) if kind == "event" else kind,
        "occurred_at": moment(payload.get("occurred_at")),
    }


def _of_mail(payload: Mapping[str, Any]) -> Row:
    """Who it is, their address says; of a thread the first answer counts, of a mail in several mailboxes one."""
    received = payload.get("kind") == "Mail received"
    thing = text(payload.get("thread" if received else "internetMessageId"))
    return {
        **_counterpart(payload),
        "occasion": f"{'thread' if received else 'mail'} {thing}" if thing else None,
    }


def _of_meeting(payload: Mapping[str, Any]) -> Row:
    start = moment(payload.get("at"))
    declined = "declined" in (payload.get("response"), payload.get("ourResponse"))
    return {
        **_counterpart(payload),
        "occasion": f"meeting {int(start.timestamp())}" if start else None,
        "is_gone": bool(payload.get("isCancelled")) or declined,
    }


def _counterpart(payload: Mapping[str, Any]) -> Row:
    address = (text(payload.get("address")) or "").lower()
    return {
        "person_ref": f"email:{address}" if usable_email(address) else None,
        "account_ref": f"domain:{domain(address.partition('@')[2])}" if address else None,
        "source_type": text(payload.get("kind")),
        "occurred_at": moment(payload.get("at")),
    }


READ: Mapping[str, Callable[[Mapping[str, Any]], Row]] = {
    "salesforce__accounts": _of_account,
    "salesforce__contacts": _of_contact,
    "salesforce__leads": _of_lead,
    "salesforce__opportunities": _of_opportunity,
    "salesforce__tasks": _of_task,
    "salesforce__events": _of_event,
    "salesforce__campaign_members": _of_member,
    "o365__messages": _of_mail,
    "o365__events": _of_meeting,
    "files__accounts": _of_file_account,
    "files__people": _of_file_person,
    "files__opportunities": _of_file_opportunity,
    "files__activities": _of_file_activity,
    "customerio__people": _of_profile,
    "customerio__messages": _of_message_event,
    "customerio__activities": _of_log,
}
STREAMS = {
    "accounts": ("salesforce__accounts", "files__accounts"),
    "people": ("salesforce__contacts", "salesforce__leads", "files__people", "customerio__people"),
    "opportunities": ("salesforce__opportunities", "files__opportunities"),
    "activities": (
        *("salesforce__tasks", "salesforce__events", "salesforce__campaign_members"),
        *("o365__messages", "o365__events"),
        "files__activities",
        *("customerio__messages", "customerio__activities"),
    ),
}
NEEDED = {
    "accounts": ("name",),
    "people": (),
    "opportunities": ("name",),
    "activities": ("source_type", "occurred_at"),
}
EPOCH = datetime.min.replace(tzinfo=UTC)


# ── which version counts ─────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Record:
    """One record as it is now: what its latest usable version says, and whether its latest version of all deletes it.

    `landed` is when its first usable version did.
    """

    source: str
    id: str
    says: Row
    payload: Mapping[str, Any]
    stamp: datetime
    landed: Any
    is_deleted: bool

    @property
    def key(self) -> tuple[str, str]:
        return self.source, self.id

    @property
    def external_id(self) -> str:
        return external_id(self.source, self.id)


def external_id(source: str, id: str) -> str:
    return id if source == CRM else f"{source}:{id}"


def in_order(versions: Iterable[Version]) -> list[Version]:
    """By the source's stamp, those without one first; within it in the order of landing."""
    return sorted(versions, key=lambda version: version.stamp or EPOCH)


def records_of(entity: str, versions: Iterable[Version], rules: Rules) -> dict[tuple[str, str], Record]:
    by_record: dict[tuple[str, str], list[Version]] = defaultdict(list)
    for version in versions:
        if version.stream in STREAMS[entity]:
            by_record[version.source, version.id].append(version)
    found = {}
    for (source, id), landed in by_record.items():
        usable = [(version, said) for version in in_order(landed) if (said := _said(entity, version, rules))]
        if usable:
            version, said = usable[-1]
            found[source, id] = Record(
                source,
                id,
                said,
                version.payload,
                version.stamp or EPOCH,
                min(version.landed for version, _ in usable),
                _is_gone(in_order(landed)[-1]),
            )
    return found


def _is_gone(version: Version) -> bool:
    return version.is_deleted or bool(READ[version.stream](version.payload).get("is_gone"))


def _said(entity: str, version: Version, rules: Rules) -> Row | None:
    """What a version says, None if too little to be kept. A bare notice of deletion says nothing."""
    said = READ[version.stream](version.payload)
    if mapped := rules.mapped.get((version.source, entity)):
        said |= mapped(version.payload)
    if version.is_deleted and set(version.payload) <= {"Id", "IsDeleted", "SystemModstamp", "id", "cio_id"}:
        return None
    needed = (*NEEDED[entity], *rules.required.get((version.source, entity), ()))
    return said if all(said[column] is not None for column in needed) else None


# ── who is who ───────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Thing:
    """Records that are one thing, the one whose word counts first."""

    members: Sequence[Record]
    best: Record

    @property
    def first(self) -> Record:
        return min(self.members, key=_arrival)

    @property
    def is_deleted(self) -> bool:
        """A converted lead stays in Salesforce for ever; it does not keep alive the contact that it became."""
        return self.best.is_deleted


def _arrival(record: Record) -> Any:
    """Those that landed together have an order as well."""
    return record.landed, record.source, record.id


def head_of(record: Record, records: Mapping[tuple[str, str], Record]) -> Record:
    """The end of what a record was merged into or converted to, as far as it has landed."""
    for _ in range(LONGEST_CHAIN):
        following = records.get((record.source, record.says["continues_as"] or ""))
        if following is None:
            break
        record = following
    return record


def things_of(
    records: Mapping[tuple[str, str], Record], key_of: Callable[[Record], Any]
) -> tuple[list[Thing], dict[tuple[str, str], Thing]]:
    """Records whose heads have the same key are one thing. Also each record's thing."""
    heads: dict[Any, dict[tuple[str, str], Record]] = defaultdict(dict)
    members: dict[Any, list[Record]] = defaultdict(list)
    for record in records.values():
        head = head_of(record, records)
        key = key_of(head)
        heads[key][head.key] = head
        members[key].append(record)
    things = [Thing(members[key], min(heads[key].values(), key=_rank)) for key in members]
    return things, {member.key: thing for thing in things for member in thing.members}


def _rank(head: Record) -> Any:
    """Whose word counts first: a record that is there, the CRM's, a contact's, the one that was said last."""
    is_lead = bool(head.says.get("is_lead"))
    return head.is_deleted, head.source != CRM, is_lead, EPOCH - head.stamp, head.source, head.id


def usable_email(email: str | None) -> str | None:
    local, at, host = (email or "").partition("@")
    return email if local and at and host and local not in SHARED_MAILBOXES else None


def _person_key(head: Record) -> Any:
    email = usable_email(head.says["email"])
    return ("email", email) if email else head.key


def entity_id(tenant_id: str, entity: str, record: Record) -> str:
    made = "\x1f".join((tenant_id, entity, record.source, record.id))
    return str(uuid.UUID(hashlib.md5(made.encode(), usedforsecurity=False).hexdigest()))


# ── everything ───────────────────────────────────────────────────────────────────────────────────────────────────────


def expected(tenant_id: str, versions: Sequence[Version], rules: Rules | None = None) -> Truth:
    """What canonical and the daily counts are after everything has been transformed."""
    return _Reading(tenant_id, versions, rules or Rules()).truth()


class _Reading:
    def __init__(self, tenant_id: str, versions: Sequence[Version], rules: Rules) -> None:
        self.tenant_id, self.versions, self.rules = tenant_id, versions, rules
        accounts = records_of("accounts", versions, rules)
        crm_of_domain: dict[str, Record] = {}
        for record in sorted(accounts.values(), key=_arrival):
            if record.source == CRM and head_of(record, accounts) is record and self._company(record):
                crm_of_domain.setdefault(record.says["domain"], record)

        def company_key(head: Record) -> Any:
            if head.source != CRM and self._company(head):
                crm = crm_of_domain.get(head.says["domain"])
                return crm.key if crm else ("domain", head.says["domain"])
            return head.key

        self.accounts, self.account_of = things_of(accounts, company_key)
        people = records_of("people", versions, rules)
        self.people, self.person_of = things_of(people, _person_key)
        self.of_email = {
            email: self.person_of[record.key]
            for record in people.values()
            if (email := usable_email(head_of(record, people).says["email"]))
        }
        # a company keeps the domains of those that were merged into it
        self.of_domain: dict[str, Thing] = {}
        for record in sorted(accounts.values(), key=_arrival):
            if self._company(record):
                self.of_domain.setdefault(record.says["domain"], self.account_of[record.key])

    def _company(self, record: Record) -> bool:
        """Whether its domain says which company it is."""
        return record.says["domain"] is not None and record.says["domain"] not in self.rules.personal

    def truth(self) -> Truth:
        opportunities, waiting = self._opportunities()
        activities = self._activities()
        return Truth(
            accounts={thing.best.external_id: self._account(thing) for thing in self.accounts},
            people={thing.best.external_id: self._person(thing) for thing in self.people},
            opportunities=opportunities,
            waiting=waiting,
            activities=activities,
            contacts=self._contacts(opportunities),
            stages=self._stages(opportunities),
            signals=self._signals(activities),
        )

    def _account(self, thing: Thing) -> Row:
        columns = ("name", "domain", *FIRMOGRAPHICS)
        return self._row("account", thing) | {column: thing.best.says[column] for column in columns}

    def _person(self, thing: Thing) -> Row:
        columns = ("email", "first_name", "last_name", "title", "phone", "is_lead", *FIRMOGRAPHICS)
        account = self._account_of_person(thing)
        return (
            self._row("person", thing)
            | {column: thing.best.says[column] for column in columns}
            | {"account": account.best.external_id if account else None}
        )

    def _account_of_person(self, thing: Thing) -> Thing | None:
        ref = thing.best.says["account_ref"]
        if ref is not None:
            return self.account_of.get((thing.best.source, ref))
        host = domain((thing.best.says["email"] or "").partition("@")[2])
        return self.of_domain.get(host or "")

    def _row(self, entity: str, thing: Thing) -> Row:
        return {
            "id": entity_id(self.tenant_id, entity, thing.first),
            "source": thing.best.source,
            "is_deleted": thing.is_deleted,
            "source_data": dict(thing.best.payload),
        }

    def _opportunities(self) -> tuple[Rows, Rows]:
        rows: Rows = {}
        waiting: Rows = {}
        for record in records_of("opportunities", self.versions, self.rules).values():
            ref = record.says["account_ref"]
            account = self.account_of.get((record.source, ref or ""))
            if ref is not None and account is None:
                waiting[record.external_id] = {}
                continue
            columns = ("name", "stage", "amount", "close_date")
            rows[record.external_id] = {
                "id": entity_id(self.tenant_id, "opportunity", record),
                "source": record.source,
                "account": account.best.external_id if account else PLACEHOLDER,
                "is_deleted": record.is_deleted,
                **{column: record.says[column] for column in columns},
            }
        return rows, waiting

    def _activities(self) -> Rows:
        rows = {}
        for record in records_of("activities", self.versions, self.rules).values():
            said = record.says
            person = self.person_of.get((record.source, said["person_ref"] or "")) or self.of_email.get(
                (said["person_ref"] or "").removeprefix("email:")
            )
            if person is None:
                named = said["account_ref"] or ""
                account = self.account_of.get((record.source, named)) or self.of_domain.get(
                    named.removeprefix("domain:")
                )
            else:
                account = self._account_of_person(person)
            signal, channel = signal_of(record.source, said["source_type"])
            agent = (said.get("user_agent") or "").lower()
            rows[record.external_id] = {
                "id": entity_id(self.tenant_id, "activity", record),
                "source": record.source,
                "person": person.best.external_id if person else None,
                "account": account.best.external_id if account else None,
                "type": signal,
                "channel": said.get("channel") or channel,
                "source_type": said["source_type"],
                "occurred_at": said["occurred_at"],
                "occasion": said.get("occasion"),
                "is_bot": said.get("is_bot", False) or any(part.lower() in agent for part in self.rules.agents),
                "is_deleted": record.is_deleted,
            }
        return rows

    def _contacts(self, opportunities: Rows) -> Rows:
        """Who is named by an opportunity, as far as both are there: as the primary contact, or with the first role."""
        named: dict[tuple[str, str], list[tuple[bool, str]]] = defaultdict(list)
        for source, by, who, role, is_primary in self._named():
            person = self.person_of.get((source, who))
            deal = opportunities.get(external_id(source, by))
            if person and not person.is_deleted and deal and not deal["is_deleted"]:
                named[external_id(source, by), person.best.external_id].append((not is_primary, role))
        return {
            key: {"role": role, "is_primary": not is_other}
            for key, roles in named.items()
            for is_other, role in [min(roles, key=lambda each: (each[0], each[1] == "unknown", each[1]))]
        }

    def _named(self) -> Iterator[tuple[str, str, str, str, bool]]:
        """Source, opportunity, person, role, and whether they are the primary contact, of each role that is there."""
        for version in self._latest("salesforce__opportunity_contact_roles", lambda version: version.id):
            if not version.is_deleted:
                payload = version.payload
                role = ROLES.get(payload["Role"] or "", "unknown")
                yield CRM, payload["OpportunityId"], payload["ContactId"], role, bool(payload["IsPrimary"])
        for version in self._latest("files__opportunities", lambda version: version.id):
            if not version.is_deleted:
                for who in filter(None, re.split(r"[;,\s]+", version.payload.get("contact_ids") or "")):
                    yield version.source, version.id, who, "unknown", False

    def _latest(self, stream: str, key: Callable[[Version], Any]) -> Iterator[Version]:
        """Of the versions with one key the latest. One without a key is none."""
        latest = {key(version): version for version in in_order(self.versions) if version.stream == stream}
        yield from (version for of, version in latest.items() if of is not None)

    def _stages(self, opportunities: Rows) -> Rows:
        """Every stage that a deal is known to have entered, and when it left it: a deletion does not undo that."""
        entered: dict[str, list[tuple[datetime, str]]] = defaultdict(list)
        for version in self._latest("salesforce__opportunity_history", _noted_change):
            at, stage = moment(version.payload["CreatedDate"]), version.payload["StageName"]
            entered[version.payload["OpportunityId"]] += [(at, stage)] if at else []
        for version in self._latest("files__opportunities", _told_change):
            at, stage = moment(version.payload["stage_changed_at"]), version.payload["stage"]
            entered[external_id(version.source, version.id)] += [(at, stage)] if at else []
        rows: Rows = {}
        for deal in entered.keys() & opportunities.keys():
            stays: list[tuple[datetime, str]] = []
            for at, stage in sorted(entered[deal]):
                if not stays or stays[-1][1] != stage:
                    stays.append((at, stage))
            for (at, stage), (left_at, _) in zip(stays, [*stays[1:], (None, "")], strict=True):
                rows[deal, at] = {"left_at": left_at, "stage": stage}
        return rows

    def _signals(self, activities: Rows) -> Rows:
        """How often a person did something on a day. A thread or a meeting is once, on its first day."""
        counts: Counter[tuple[str, str, date]] = Counter()
        occasions: dict[tuple[str, str, str], date] = {}
        for row in activities.values():
            if row["person"] is None or row["is_deleted"] or row["is_bot"]:
                continue
            day = row["occurred_at"].date()
            if row["occasion"] is None:
                counts[row["person"], row["type"], day] += 1
            else:
                key = (row["person"], row["type"], row["occasion"])
                occasions[key] = min(occasions.get(key, day), day)
        for (person, signal, _), day in occasions.items():
            counts[person, signal, day] += 1
        return {key: {"count": count} for key, count in counts.items()}


def _noted_change(version: Version) -> str | None:
    """A line of Salesforce's history, if this is one and not the mere notice that it is gone."""
    return version.id if version.payload.get("StageName") else None


def _told_change(version: Version) -> tuple[str, datetime] | None:
    """What a row of a file says about stages: that the deal came to one at this moment."""
    at = moment(version.payload.get("stage_changed_at"))
    return (version.id, at) if at and text(version.payload.get("stage")) else None


CHANNELS = {
    **dict.fromkeys(("form_fill", "content_download", "page_view"), "web"),
    **dict.fromkeys(("email_sent", "email_open", "email_click", "email_thread", "unsubscribe", "bounce"), "email"),
    "demo_request": "direct",
    "event_attend": "events",
    "meeting_attend": "meetings",
    "intent_signal": "intent",
    "ad_click": "ads",
}


def signal_of(source: str, source_type: str) -> tuple[str, str | None]:
    if source == CRM and source_type in SALESFORCE_SIGNALS:
        return SALESFORCE_SIGNALS[source_type]
    if source == "customerio" and source_type in CUSTOMERIO_SIGNALS:
        return CUSTOMERIO_SIGNALS[source_type]
    if source == "o365":
        return MICROSOFT_SIGNALS[source_type]
    signal = re.sub(r"[\s-]+", "_", source_type.lower())
    return signal, CHANNELS.get(signal)


# ── how they differ ──────────────────────────────────────────────────────────────────────────────────────────────────


def differences_between(wanted: Truth, found: Truth) -> list[str]:
    """Nothing if they are the same; else lines that tell where they part."""
    lines: list[str] = []
    for part in fields(Truth):
        lines += differences(part.name, getattr(wanted, part.name), getattr(found, part.name))
    return lines


def differences(what: str, wanted: Mapping[Any, Row], found: Mapping[Any, Row], at_most: int = 8) -> list[str]:
    """One line for each row that is missing, too much, or other than it must be, with what differs."""
    lines = [f"{what} {key}: missing, must be {wanted[key]}" for key in wanted.keys() - found.keys()]
    lines += [f"{what} {key}: must not be there, is {found[key]}" for key in found.keys() - wanted.keys()]
    for key in wanted.keys() & found.keys():
        if differing := [name for name in wanted[key] if wanted[key][name] != found[key][name]]:
            said = ", ".join(f"{name} must be {wanted[key][name]!r}, is {found[key][name]!r}" for name in differing)
            lines.append(f"{what} {key}: {said}")
    more = [f"{what}: and {len(lines) - at_most} more"] if len(lines) > at_most else []
    return sorted(lines)[:at_most] + more


# ── what the database holds ──────────────────────────────────────────────────────────────────────────────────────────

FOUND = {
    "accounts": """
        select external_id, id, source, deleted_at is not null as is_deleted, source_data, name, domain, industry,
            employee_count, annual_revenue
        from canonical.accounts where external_id <> '_none'""",
    "people": """
        select p.external_id, p.id, p.source, p.deleted_at is not null as is_deleted, p.source_data, p.email,
            p.first_name, p.last_name, p.title, p.phone, p.is_lead, p.industry, p.employee_count, p.annual_revenue,
            a.external_id as account
        from canonical.people as p left join canonical.accounts as a on a.id = p.account_id""",
    "opportunities": """
        select o.external_id, o.id, o.source, o.deleted_at is not null as is_deleted, o.name, o.stage, o.amount,
            o.close_date, a.external_id as account
        from canonical.opportunities as o join canonical.accounts as a on a.id = o.account_id""",
    "activities": """
        select e.external_id, e.id, e.source, e.deleted_at is not null as is_deleted, e.type, e.channel, e.source_type,
            e.occurred_at, e.occasion, e.is_bot, p.external_id as person, a.external_id as account
        from canonical.activities as e
        left join canonical.people as p on p.id = e.person_id
        left join canonical.accounts as a on a.id = e.account_id""",
    "contacts": """
        select o.external_id as opportunity, p.external_id as person, r.role, r.is_primary
        from rollups.rollup_opportunity_contacts as r
        left join canonical.opportunities as o on o.id = r.opportunity_id
        left join canonical.people as p on p.id = r.person_id""",
    "stages": """
        select o.external_id as opportunity, r.entered_at, r.left_at, r.stage
        from rollups.rollup_opportunity_stages as r
        left join canonical.opportunities as o on o.id = r.opportunity_id""",
    "signals": """
        select p.external_id as person, r.signal, r.day, sum(r.count)::integer as count
        from rollups.rollup_person_signals_daily as r
        left join canonical.people as p on p.id = r.person_id
        group by 1, 2, 3 having sum(r.count) <> 0""",
    "waiting": """
        select case when source = 'salesforce' then source_id else source || ':' || source_id end as external_id
        from staging.int_opportunities__waiting""",
}
# of the columns, how many are the key
KEYS = {"contacts": 2, "stages": 2, "signals": 3}


def found(read: Callable[[str], list[Row]]) -> Truth:
    """The same, as canonical and the rollups have it. `read` gives a query's rows by the names of their columns."""
    held: dict[str, Rows] = {part: {} for part in FOUND}
    for part, query in FOUND.items():
        for row in read(query):
            columns = list(row.items())
            size = KEYS.get(part, 1)
            key = tuple(value for _, value in columns[:size]) if size > 1 else columns[0][1] or row["id"]
            assert key not in held[part], f"{part} {key} is there twice"
            held[part][key] = dict(columns[size:])
    return Truth(**held)
