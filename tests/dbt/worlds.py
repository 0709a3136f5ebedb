"""Tenants whose sources stand beside them: a Salesforce that is served, a folder of files, a Customer.io, or several.

`World` remembers every state that its sources showed to a sync, so that `truth` can say what must have become of it.
"""

import csv
import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import psycopg
from psycopg.rows import dict_row

from control import consent
from sandbox import companies, customerio, graph
from sandbox.companies import Company
from sandbox.customerio import Workspace
from sandbox.salesforce import Org
from sandbox.salesforce.server import Served, serve
from steps import pipeline, provision, transform
from tests.conftest import Tenant
from tests.connectors.contract_suite.customerio import events, flat
from tests.dbt import mailboxes, truth
from tests.dbt.truth import Rules, Truth, Version
from warehouse import database, lease

ACTOR = "system:tests"
OBJECTS = {
    "accounts": "Account",
    "contacts": "Contact",
    "leads": "Lead",
    "opportunities": "Opportunity",
    "opportunity_contact_roles": "OpportunityContactRole",
    "opportunity_history": "OpportunityHistory",
    "tasks": "Task",
    "events": "Event",
    "campaign_members": "CampaignMember",
}
FILES = ("accounts", "people", "opportunities", "activities")
BEFORE_SCORING = ("canonical", "rollups")
EVERYTHING = (*BEFORE_SCORING, "marts")


@dataclass
class Files:
    """A company that exports files to a folder, and what people changed in them: columns by stream and id.

    A row edited that the company does not have is a new one; whatever is `absent` is left out of its file.
    """

    folder: Path
    company: Company
    edits: dict[tuple[str, str], dict[str, str]] = field(default_factory=dict)
    absent: set[tuple[str, str]] = field(default_factory=set)

    def edit(self, stream: str, record: str, /, **values: str) -> None:
        self.edits.setdefault((stream, record), {}).update(values)

    def advance(self, days: int) -> None:
        self.company = companies.advance(self.company, days)

    def write(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        for name in FILES:
            rows = {row.id: asdict(row) for row in getattr(self.company, name)}
            for (of, id), values in self.edits.items():
                if of == name:
                    rows[id] = {"id": id} | rows.get(id, {}) | values
            kept = [row for id, row in rows.items() if (name, id) not in self.absent]
            with (self.folder / f"{name}.csv").open("w", encoding="utf-8", newline="") as file:
                writer = csv.DictWriter(file, list({column: None for row in kept for column in row}), restval="")
                writer.writeheader()
                writer.writerows(kept)


@dataclass
class World:
    """One tenant, its sources and its own login. `landed` are all versions that a sync could see, in their order."""

    id: str
    slug: str
    served: Served | None = None
    files: Files | None = None
    marketing: customerio.Served | None = None
    microsoft: graph.Served | None = None
    # those whose mail may be read
    domains: tuple[str, ...] = ()
    rules: Rules = field(default_factory=Rules)
    landed: list[Version] = field(default_factory=list)
    _last: dict[tuple[str, str], Version] = field(default_factory=dict)

    @property
    def org(self) -> Org:
        assert self.served is not None
        return self.served.org

    def connect(self) -> "World":
        if self.served is not None:
            identity = self.served.org.identity
            config = {
                "login_url": self.served.url,
                "client_id": identity.client_id,
                "client_secret": identity.client_secret,
                "backoff_seconds": 0.01,
            }
            provision.add_connector(self.id, "salesforce", config, actor=ACTOR)
        if self.files is not None:
            config = {"folder": str(self.files.folder), "whole": ["accounts", "people", "opportunities"]}
            provision.add_connector(self.id, "files", config, actor=ACTOR)
        if self.marketing is not None:
            config = {
                "base_url": self.marketing.url,
                "api_key": self.marketing.workspace.api_key,
                "calls_per_second": 10_000,
                "backoff_seconds": 0.01,
                "reread_days": 30,
            }
            provision.add_connector(self.id, "customerio", config, actor=ACTOR)
        if self.microsoft is not None:
            provision.add_connector(self.id, "o365", mailboxes.config(self.microsoft), actor=ACTOR)
            consent.accept_dpa(self.id, "Ada Example", actor=ACTOR)
            consent.allow_domains(self.id, self.domains, actor=ACTOR)
        return self

    def sync(self) -> None:
        if self.files is not None:
            self.files.write()
        for summary in pipeline.sync(self.slug):
            assert not summary["failure"], summary["failure"]
        self._remember()

    def transform(self, select: tuple[str, ...] = BEFORE_SCORING) -> dict[str, Any]:
        return transformed(self.id, self.slug, select)

    def publish(self, as_of: date) -> None:
        """Scores of that day, and the marts over them."""
        run_id = lease.local_holder()
        pipeline.score(self.slug, run_id, as_of)
        pipeline.publish(self.slug, run_id)
        pipeline.conclude(self.slug, run_id)

    def rows(self, query: str) -> list[dict[str, Any]]:
        return rows_of(self.id, query)

    def expected(self) -> Truth:
        return truth.expected(self.id, self.landed, self.rules)

    def held(self) -> Truth:
        return truth.found(self.rows)

    def differences(self) -> list[str]:
        """How canonical and the daily counts differ from the truth, row by row."""
        return truth.differences_between(self.expected(), self.held())

    def _remember(self) -> None:
        for stream, shown in self._shown():
            gone = {id for of, id in self._last if of == stream} - shown.keys()
            latest = self.rows(f"select record_id, max(landed_at) as landed_at from raw.{stream} group by 1")
            arrived = {row["record_id"]: row["landed_at"] for row in latest}
            for version in [*shown.values(), *(self._gone(stream, id) for id in gone)]:
                if self._last.get((stream, version.id)) != version:
                    assert version.id in arrived, f"{stream} {version.id} was there to be read and did not land"
                    self._last[stream, version.id] = version
                    self.landed.append(replace(version, landed=arrived[version.id]))

    def _shown(self) -> Iterator[tuple[str, dict[str, Version]]]:
        """What the sources hold now, by stream and id."""
        if self.served is not None:
            for name, entity in OBJECTS.items():
                stream = f"salesforce__{name}"
                yield stream, {id: _of_salesforce(stream, id, row) for id, row in self.org.truth(entity).items()}
        if self.microsoft is not None:
            yield from mailboxes.shown(self.microsoft.directory, self.domains)
        if self.files is not None:
            for name in FILES:
                yield (
                    f"files__{name}",
                    {row["id"]: _of_files(f"files__{name}", row) for row in _read(self.files.folder / f"{name}.csv")},
                )

        if self.marketing is not None:
            yield from _of_customerio(self.marketing.workspace)

    def _gone(self, stream: str, id: str) -> Version:
        """A record that its source no longer shows is deleted, where the source is known to show everything."""
        last = self._last[stream, id]
        if stream == "customerio__people" and not last.is_deleted:
            return Version(stream, id, {"cio_id": id}, last.stamp, None, is_deleted=True)
        # a mail that is removed has been sent all the same, and a meeting that is over took place
        if last.is_deleted or stream in (
            "files__activities",
            "customerio__activities",
            "o365__messages",
            "o365__events",
        ):
            return last
        return Version(stream, id, last.payload, last.stamp, None, is_deleted=True)


def _of_salesforce(stream: str, id: str, row: Mapping[str, Any]) -> Version:
    return Version(stream, id, row, datetime.fromisoformat(row["SystemModstamp"]), None, bool(row["IsDeleted"]))


def _of_customerio(workspace: Workspace) -> Iterator[tuple[str, dict[str, Version]]]:
    """People as they are told at this moment, messages as they stand, and what the log still shows."""
    now = workspace.now
    people = {who: flat(workspace.person(who)) for who in workspace.people()}
    yield (
        "customerio__people",
        {who: Version("customerio__people", who, payload, now, None) for who, payload in people.items()},
    )
    messages: dict[str, Version] = {}
    for _, message in workspace.messages():
        shown = workspace.message(message)
        stamp = datetime.fromtimestamp(int(shown["deduplicate_id"].rpartition(":")[2]), UTC)
        for id, payload in events(shown):
            messages[id] = Version("customerio__messages", id, payload, stamp, None)
    yield "customerio__messages", messages
    log: dict[str, Version] = {}
    for kind in ("event", "page"):
        for at, id in workspace.entries(kind, of_deleted=False):
            happened = datetime.fromtimestamp(at, UTC)
            told = workspace.entry(id)
            more = {"cio_id": told["customer_identifiers"]["cio_id"], "occurred_at": happened.isoformat()}
            log[id] = Version("customerio__activities", id, told | more, happened, None)
    yield "customerio__activities", log


def _of_files(stream: str, row: Mapping[str, str]) -> Version:
    stamp = row.get("updated_at")
    moment = datetime.fromisoformat(stamp).replace(tzinfo=UTC) if stamp else None
    return Version(stream, row["id"], {name: value or None for name, value in row.items()}, moment, None)


def _read(file: Path) -> list[dict[str, str]]:
    with file.open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


def transformed(tenant_id: str, slug: str, select: tuple[str, ...] = BEFORE_SCORING) -> dict[str, Any]:
    with lease.hold(tenant_id, "test", stage="transform") as held:
        return transform.run(slug, f"run-{held.fence}", held.fence, select=select)


def rows_of(tenant_id: str, query: str) -> list[dict[str, Any]]:
    with database.run_session(tenant_id) as connection, connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(query.encode()).fetchall()


# ── a rebuild from raw ───────────────────────────────────────────────────────────────────────────────────────────────

# When something was written or became known is another story after a rebuild; what it says is not.
OF_THE_WRITING = ("created_at", "updated_at", "landed_at", "known_since")
# A diary of the runs themselves.
OF_THE_RUNS = "marts.mart_operations__model_runs"
THINGS = ("activities", "opportunities", "people", "accounts", "identities")


def content(tenant_id: str) -> dict[str, list[str]]:
    """Every row that transform writes for this tenant, as text without the times of the writing."""
    with database.connect(database.admin_conninfo()) as admin:
        return {
            table: [row for (row,) in admin.execute(_reading_of(admin, table).encode(), {"tenant": tenant_id})]
            for table in _written(admin)
            if table != OF_THE_RUNS
        }


def _written(admin: psycopg.Connection) -> list[str]:
    """Children before parents, and what triggers note about them after both."""
    listed = admin.execute(
        "select schemaname, tablename from pg_tables where schemaname in ('rollups', 'marts')"
        " or schemaname = 'canonical' and (tablename = any(%(things)s) or tablename ~ '^(touched|moved)_')"
        " order by array_position(%(things)s, tablename::text), 1, 2",
        {"things": list(THINGS)},
    ).fetchall()
    return [f"{schema}.{name}" for schema, name in listed]


def _reading_of(admin: psycopg.Connection, table: str) -> str:
    """Of a table that only grows, the sums or the newest state of each key count, not the way there."""
    columns = [
        name
        for (name,) in admin.execute(
            "select attname from pg_attribute where attrelid = %s::regclass and attnum > 0 and not attisdropped",
            [table],
        )
    ]
    rows = f"select * from {table} where tenant_id = %(tenant)s"
    if "known_since" in columns and "count" in columns:
        key = ", ".join(name for name in columns if name not in ("count", *OF_THE_WRITING))
        rows = f"select {key}, sum(count) as count from ({rows}) as deltas group by {key} having sum(count) <> 0"
    elif "known_since" in columns:
        key = next(name for name in columns if name.endswith("_id") and name != "tenant_id")
        thing = {"account_id": "accounts", "person_id": "people", "opportunity_id": "opportunities"}[key]
        rows = (
            f"select distinct on ({key}) * from ({rows}) as states where {key} in (select id from canonical.{thing})"
            f" order by {key}, known_since desc"
        )
    without = " - ".join(f"'{name}'" for name in OF_THE_WRITING)
    return f"select (to_jsonb(content) - {without})::text from ({rows}) as content order by 1"


def forget(tenant_id: str) -> None:
    """All that transform has made for this tenant; raw stays."""
    with database.connect(database.admin_conninfo()) as admin:
        for table in [*_written(admin), "control.watermarks"]:
            admin.execute(f"delete from {table} where tenant_id = %s".encode(), [tenant_id])


def differences_from_a_rebuild(tenant_id: str, transform: Callable[[], Any], at_most: int = 8) -> list[str]:
    """Rows of this tenant that another transform, from nothing but raw, makes otherwise. It stays with the new ones."""
    before = content(tenant_id)
    forget(tenant_id)
    transform()
    after = content(tenant_id)
    lines = []
    for table in before:
        if _hash(before[table]) != _hash(after[table]):
            grown, rebuilt = Counter(before[table]), Counter(after[table])
            lines += [f"{table} incrementally only: {row}" for row in list((grown - rebuilt).elements())[:at_most]]
            lines += [f"{table} rebuilt only: {row}" for row in list((rebuilt - grown).elements())[:at_most]]
    return lines


def _hash(rows: list[str]) -> str:
    return hashlib.sha256("\n".join(rows).encode()).hexdigest()


@contextmanager
def world(
    tenant: Tenant,
    folder: Path,
    *,
    org: Org | None = None,
    company: Company | None = None,
    workspace: Workspace | None = None,
    directory: graph.Directory | None = None,
) -> Iterator[World]:
    """A tenant with these sources, connected and not yet synced; every company's mail may be read."""
    files = Files(folder / tenant.slug, company) if company is not None else None
    if files is not None:
        files.write()
    domains = mailboxes.domains(directory) if directory is not None else ()
    with (
        serve(org) if org is not None else nullcontext() as served,
        customerio.serve(workspace) if workspace is not None else nullcontext() as marketing,
        graph.serve(directory) if directory is not None else nullcontext() as microsoft,
    ):
        yield World(tenant.id, tenant.slug, served, files, marketing, microsoft, domains).connect()
