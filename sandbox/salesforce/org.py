"""One Salesforce org in memory: its records, its clock, and everything that people do to records behind an API's back.

The clock stands still unless it is told to advance; every change moves it by a second, so that two changes have two
stamps. Two orgs of the same seed that live through the same calls hold the same bytes.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from random import Random
from typing import Any

from sandbox.companies import Company
from sandbox.salesforce import world
from sandbox.salesforce.identity import Identity
from sandbox.salesforce.refusals import Refusal, no_such_type
from sandbox.salesforce.schema import ENTITIES, MERGEABLE, Field
from sandbox.salesforce.soql import Row
from sandbox.salesforce.tables import DAY, Table, new_id, seconds
from sandbox.view import View

RECYCLE_BIN = 15 * DAY
REMEMBERS_DELETIONS = 30 * DAY
CLOSED_STAGES = ("Closed Won", "Closed Lost")


@dataclass(frozen=True, slots=True)
class Deletion:
    """When a record was deleted, and by whose deletion: an account takes its contacts along."""

    at: int
    because_of: str


Kept = tuple[dict[str, dict[str, Row]], dict[str, Deletion]]


@dataclass(eq=False)
class Org(View):
    budget: int = field(default=100_000, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.identity = Identity(self.seed)
        self.tables = {name: Table(entity, lambda: self.seconds) for name, entity in ENTITIES.items()}
        self.hidden_objects: set[str] = set()
        self.refused_rows: dict[str, tuple[str, int | None]] = {}
        self.purged: dict[str, dict[str, int]] = {name: {} for name in ENTITIES}
        self._deleted: dict[str, Deletion] = {}
        self._ids: dict[str, str] = {}
        self._numbers = dict.fromkeys(ENTITIES, 0)
        self._not_before = 0
        self._tell_organization()
        self._tell()

    # Time ------------------------------------------------------------------------------------------------------------

    def advance(self, days: int = 0, seconds: int = 0) -> None:
        """The company goes on selling, the recycle bin is emptied, and with a new day comes a new budget."""
        with self.lock:
            self._not_before = self.seconds + 1
            super().advance(days, seconds)
            self._empty_the_bin()

    def _tell(self, before: Company | None = None) -> None:
        self.used = self.bulk_jobs_used = 0
        told_before = {told.key: told for told in world.things(before)} if before else {}
        for told in world.things(self.company):
            known = told_before.get(told.key)
            if known is None:
                self._insert_told(told, self._not_before)
            elif known.values != told.values and self._is_live(told.entity, self._ids[told.key]):
                changed = {name: value for name, value in told.values.items() if known.values.get(name) != value}
                self._write(told.entity, self._ids[told.key], changed, max(told.changed, self._not_before))
        for told in world.doings(self.company, before.world.today if before else self.company.world.since):
            self._insert_told(told, self._not_before)

    def _empty_the_bin(self) -> None:
        for name, table in self.tables.items():
            for id in [id for id in table.rows if id in self._deleted]:
                if self._deleted[id].at + RECYCLE_BIN <= self.seconds:
                    self.purge(name, id)

    # What raw must hold ----------------------------------------------------------------------------------------------

    def truth(self, entity: str, *, compounds: bool = False) -> dict[str, dict[str, Any]]:
        """Every record that can still be read, deleted ones with their flag, as REST would show it, by id.

        Compound fields are left out unless asked for: Bulk cannot read them, so what is read must not depend on them.
        Records that have left the recycle bin stand in `purged` alone.
        """
        with self.lock:
            return self.table(entity).records(compounds=compounds)

    def ids(self, entity: str, *, deleted: bool = False) -> list[str]:
        """The ids of the live records, oldest first; with `deleted` those in the recycle bin."""
        with self.lock:
            return sorted(id for id in self.tables[entity].rows if (id in self._deleted) == deleted)

    def deletions(self, entity: str) -> Iterator[tuple[str, int]]:
        """What getDeleted knows: ids and moments, also of records that have left the recycle bin."""
        for id, deletion in self._deleted.items():
            if id in self.tables[entity].rows or id in self.purged[entity]:
                yield id, deletion.at

    def table(self, entity: str) -> Table:
        """The table of an object by its name in any case; refused as Salesforce refuses an object it does not show."""
        name = next((name for name in self.tables if name.lower() == entity.lower()), None)
        if name is None or name in self.hidden_objects:
            raise no_such_type(entity)
        return self.tables[name]

    def entity_of(self, id: str) -> str | None:
        return next((name for name, entity in ENTITIES.items() if id.startswith(entity.key_prefix)), None)

    # What people do --------------------------------------------------------------------------------------------------

    def create(self, entity: str, *, at: int | None = None, **values: Any) -> str:
        with self.lock:
            moment = self.tick() if at is None else at
            id = self._next_id(entity)
            self.tables[entity].insert(self._derived(entity, values) | self._stamps(id, moment))
            self._remember_stage(entity, id, values, moment)
            return id

    def edit(self, entity: str, id: str, *, by_system: bool = False, **values: Any) -> None:
        """`by_system`: as a trigger or a roll-up does it, without moving LastModifiedDate."""
        with self.lock:
            self._change(entity, id, values, self.tick(), by_system=by_system)

    def bulk_edit(self, entity: str, ids: Iterable[str], **values: Any) -> None:
        """All in one transaction: as many records as you like with one SystemModstamp."""
        with self.lock:
            moment = self.tick()
            for id in ids:
                self._change(entity, id, values, moment)

    def delete(self, entity: str, id: str) -> None:
        with self.lock:
            self._delete(entity, id, Deletion(self.tick(), id))

    def undelete(self, entity: str, id: str) -> None:
        """Out of the recycle bin, with everything that had gone there because of it."""
        with self.lock:
            if id not in self.tables[entity].rows or id not in self._deleted:
                raise ValueError(f"{id} is not in the recycle bin")
            moment = self.tick()
            for other in [key for key, deletion in self._deleted.items() if deletion.because_of == id]:
                name = self.entity_of(other)
                if name and other in self.tables[name].rows:
                    del self._deleted[other]
                    self._write(name, other, {"IsDeleted": False} | self._no_master(name), moment)

    def purge(self, entity: str, id: str) -> None:
        """Out of the recycle bin for good: only getDeleted still knows of it."""
        with self.lock:
            self.tables[entity].remove(id)
            self.purged[entity][id] = self._deleted[id].at

    def merge(self, entity: str, master: str, *losers: str) -> None:
        """The losers go to the bin and tell their master; whatever referred to them refers to the master."""
        if entity not in MERGEABLE:
            raise ValueError(f"{entity} cannot be merged")
        with self.lock:
            if not all(self._is_live(entity, id) for id in (master, *losers)) or master in losers:
                raise ValueError("a merge needs a live master and other live records")
            moment = self.tick()
            for loser in losers:
                self._reparent(entity, loser, master, moment)
                self._deleted[loser] = Deletion(moment, loser)
                self._write(entity, loser, {"IsDeleted": True, "MasterRecordId": master}, moment)
            self._write(entity, master, {}, moment)

    def convert_lead(self, lead: str, *, account: str | None = None, opportunity: bool = True) -> dict[str, str]:
        """A lead becomes a contact, of an account that may be new, with a deal if wished. The new ids by object."""
        with self.lock:
            names = ("Company", "OwnerId", "LastName", "FirstName", "Name", "Email", "Title")
            row = {name: self.tables["Lead"].get(lead, name) for name in names}
            account = account or self.create("Account", Name=row["Company"], OwnerId=row["OwnerId"], Type="Prospect")
            person = {name: value for name, value in row.items() if name != "Company"}
            made = {"Account": account, "Contact": self.create("Contact", AccountId=account, **person)}
            if opportunity:
                made["Opportunity"] = self.create(
                    "Opportunity",
                    AccountId=account,
                    Name=f"{row['Company']}-",
                    StageName="Prospecting",
                    CloseDate=str(self.now.date() + timedelta(days=90)),
                    OwnerId=row["OwnerId"],
                )
            converted = {f"Converted{name}Id": id for name, id in made.items()}
            closed = {"IsConverted": True, "ConvertedDate": str(self.now.date()), "Status": "Closed - Converted"}
            self._write("Lead", lead, converted | closed, self.tick())
            return made

    def late_stamp(self, entity: str, id: str | None = None, *, seconds: int = 300, **values: Any) -> str:
        """A long transaction commits: a record appears, or changes, with a stamp of some time ago."""
        with self.lock:
            moment = self.seconds - seconds
            if id is None:
                return self.create(entity, at=moment, **values)
            self._change(entity, id, values, moment)
            return id

    def fill(self, entity: str, count: int, *, at: int | None = None) -> list[str]:
        """Many more tasks or events, quickly: one stamp if `at` is given, else spread backwards from now."""
        with self.lock:
            who, what = self.ids("Contact"), self.ids("Account")
            owner = self.ids("User")[0]
            table, present = self.tables[entity], self.seconds
            made = []
            for number in range(count):
                moment = present - (count - number) * 60 if at is None else at
                made.append(self._next_id(entity))
                values = {
                    "Subject": f"Call {number % 500}",
                    "Status": "Completed",
                    "Priority": "Normal",
                    "WhoId": who[number % len(who)],
                    "WhatId": what[number % len(what)],
                    "AccountId": what[number % len(what)],
                    "OwnerId": owner,
                    "IsClosed": True,
                }
                table.insert(values | self._stamps(made[-1], moment))
            return made

    def hide_field(self, entity: str, name: str) -> None:
        """Field-level security: the field is gone from describe and unknown in queries, without a word."""
        with self.lock:
            self._field(entity, name)
            self.tables[entity].hidden.add(name)

    def show_field(self, entity: str, name: str) -> None:
        with self.lock:
            self.tables[entity].hidden.discard(name)

    def lock_field(self, entity: str, name: str) -> None:
        """Field-level security again: to be read, not to be written."""
        with self.lock:
            self._field(entity, name)
            self.tables[entity].locked.add(name)

    def hide_object(self, entity: str) -> None:
        with self.lock:
            self.hidden_objects.add(self.table(entity).entity.name)

    def add_field(self, entity: str, name: str, type: str = "string", *, default: Any = None, **more: Any) -> None:
        """A custom field, and no stamp moves. With `days_since="CreatedDate"` it is a formula."""
        with self.lock:
            if not name.endswith("__c") or name in self.tables[entity].fields:
                raise ValueError(f"{name!r} cannot be added: a new custom field ends with __c")
            writable = not more.get("days_since")
            sized = {"length": 255 if type == "string" else 0, **more}
            item = Field(name, type, writable=writable, **sized)
            self.tables[entity].add_field(item, default)

    def remove_field(self, entity: str, name: str) -> None:
        with self.lock:
            if not self._field(entity, name).is_custom:
                raise ValueError(f"{name!r} cannot be removed: it is not a custom field")
            self.tables[entity].remove_field(name)

    def expire_sessions(self) -> None:
        with self.lock:
            self.identity.expire_sessions()

    def refuse_row(self, id: str, code: str, *, times: int | None = None) -> None:
        """Writes to this record fail with this code, so many times or always: a validation rule, a lock."""
        with self.lock:
            self.refused_rows[id] = (code, times)

    def refuse_share(self, entity: str, share: float, code: str, *, times: int | None = None) -> list[str]:
        """As `refuse_row` for about this share of the live records, always the same ones. Their ids."""
        chosen = [id for id in self.ids(entity) if Random(f"{self.seed}/{id}/{code}").random() < share]
        for id in chosen:
            self.refuse_row(id, code, times=times)
        return chosen

    def spend(self, calls: int) -> None:
        """Other integrations of the org have used up so many calls of the day's budget."""
        with self.lock:
            self.used += calls

    def kept(self) -> Kept:
        """All records as they stand, to be restored if a transaction fails."""
        return {name: dict(table.rows) for name, table in self.tables.items()}, dict(self._deleted)

    def restore(self, kept: Kept) -> None:
        rows, self._deleted = kept
        for name, table in self.tables.items():
            table.restore(rows[name])

    def is_deleted(self, id: str) -> bool:
        return id in self._deleted

    # -----------------------------------------------------------------------------------------------------------------

    def _write(self, entity: str, id: str, values: Mapping[str, Any], moment: int, *, by_system: bool = False) -> None:
        table = self.tables[entity]
        stamps: dict[str, Any] = {"SystemModstamp": moment}
        if "LastModifiedDate" in table.fields and not by_system:
            stamps |= {"LastModifiedDate": moment, "LastModifiedById": self.identity.user_id}
        table.change(id, {**values, **stamps})

    def _change(self, entity: str, id: str, values: Mapping[str, Any], moment: int, *, by_system: bool = False) -> None:
        self._write(entity, id, self._derived(entity, values, id), moment, by_system=by_system)
        self._remember_stage(entity, id, values, moment)

    def _remember_stage(self, entity: str, id: str, values: Mapping[str, Any], moment: int) -> None:
        """Every stage that a deal reaches leaves a line of history."""
        if entity == "Opportunity" and "StageName" in values:
            table = self.tables[entity]
            now = {name: table.get(id, name) for name in ("StageName", "Amount", "Probability", "CloseDate")}
            line = self._stamps(self._next_id("OpportunityHistory"), moment)
            self.tables["OpportunityHistory"].insert({"OpportunityId": id} | now | line)

    def _derived(self, entity: str, values: Mapping[str, Any], id: str | None = None) -> dict[str, Any]:
        """What Salesforce sets by itself when other fields are set."""
        table = self.tables[entity]
        more = dict(values)
        if values.keys() & {"FirstName", "LastName"} and "Name" not in values:
            names = (values.get(part, table.get(id, part) if id else None) for part in ("FirstName", "LastName"))
            more["Name"] = " ".join(name for name in names if name)
        if entity == "Task" and "Status" in values:
            more["IsClosed"] = values["Status"] == "Completed"
        for name, value in values.items():
            item = self._field(entity, name)
            if item.type == "datetime" and isinstance(value, str):
                more[name] = seconds(value)
        stage = values.get("StageName")
        if entity == "Opportunity" and stage in world.PROBABILITY:
            probability, forecast = world.PROBABILITY[stage]
            more |= {
                "Probability": probability,
                "ForecastCategoryName": forecast,
                "IsClosed": stage in CLOSED_STAGES,
                "IsWon": stage == "Closed Won",
                "LastStageChangeDate": self.seconds,
            }
        return more

    def _delete(self, entity: str, id: str, deletion: Deletion) -> None:
        if not self._is_live(entity, id):
            raise ValueError(f"{id} is not a live {entity}")
        self._deleted[id] = deletion
        self._write(entity, id, {"IsDeleted": True}, deletion.at)
        for child, _, rows in self._children(entity, id, followers_only=True):
            for follower in rows:
                if self._is_live(child, follower):
                    self._delete(child, follower, deletion)

    def _reparent(self, entity: str, loser: str, master: str, moment: int) -> None:
        for child, name, rows in self._children(entity, loser):
            for follower in rows:
                self._write(child, follower, {name: master}, moment, by_system=True)

    def _children(self, entity: str, id: str, *, followers_only: bool = False) -> Iterator[tuple[str, str, list[str]]]:
        for name, table in self.tables.items():
            for item in table.fields.values():
                if entity in item.refers_to and item.name != "MasterRecordId" and (item.follows or not followers_only):
                    read = table.reader(item)
                    yield name, item.name, [key for key, row in table.rows.items() if read(row) == id]

    def _insert_told(self, told: world.Told, not_before: int = 0) -> None:
        id = self._ids[told.key] = self._next_id(told.entity)
        values = dict(told.values)
        for name, key in told.refers.items():
            values[name] = self._present(self._ids.get(key))
        created, changed = (max(moment, not_before) for moment in (told.created, told.changed))
        self.tables[told.entity].insert(values | self._stamps(id, changed, created))

    def _present(self, id: str | None) -> str | None:
        """The record that stands for this one now: the master, if it was merged away."""
        entity = self.entity_of(id) if id else None
        if not id or entity not in MERGEABLE or id not in self.tables[entity].rows:
            return id
        return self._present(self.tables[entity].get(id, "MasterRecordId")) or id

    def _stamps(self, id: str, changed: int, created: int | None = None) -> dict[str, Any]:
        return {
            "Id": id,
            "CreatedDate": changed if created is None else created,
            "CreatedById": self.identity.user_id,
            "LastModifiedDate": changed,
            "LastModifiedById": self.identity.user_id,
            "SystemModstamp": changed,
        }

    def _tell_organization(self) -> None:
        stamps = self._stamps(self.identity.organization_id, self.seconds)
        self.tables["Organization"].insert({"Name": "Seller Example", "IsSandbox": True} | stamps)

    def _next_id(self, entity: str) -> str:
        self._numbers[entity] += 1
        return new_id(ENTITIES[entity].key_prefix, self._numbers[entity])

    def _is_live(self, entity: str, id: str) -> bool:
        return id in self.tables[entity].rows and id not in self._deleted

    def _no_master(self, entity: str) -> dict[str, None]:
        return {"MasterRecordId": None} if entity in MERGEABLE else {}

    def _field(self, entity: str, name: str) -> Field:
        found = self.tables[entity].fields.get(name)
        if found is None:
            raise Refusal("INVALID_FIELD", f"No such column '{name}' on sobject of type {entity}", fields=(name,))
        return found
