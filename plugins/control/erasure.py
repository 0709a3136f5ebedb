"""One person taken out of a tenant, and kept out.

What is erased goes from everywhere: raw and all that was made of it. What stays is a list of digests, keyed with the
platform's key, by which a later sync recognises them without anybody being named. One test, `Screen`, decides for both:
an erasure removes from raw exactly what the next sync would leave out.
"""

import hmac
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

import psycopg
from psycopg import sql

from control import access, audit, tables
from control.registry import TenantEntry
from warehouse import database, keys, lease, private
from warehouse.errors import ClarityError, MisuseError
from warehouse.keys import Key

Report = Callable[[str], None]

# what a source's records call the person that they are about
PERSON_FIELDS = ("person_id", "WhoId", "ContactId", "LeadId", "cio_id")
# text that may tell of anybody and belongs to a row that stays
CLEARED = {
    "canonical.accounts": ("source_data",),
    "canonical.opportunities": ("source_data",),
    "control.connectors": ("last_sync_error",),
    "control.sync_logs": ("error_message", "error_details"),
    "control.model_runs": ("message",),
}
LIST = "control.erasures"
SEARCHED = ("canonical", "rollups", "scores", "marts", "quality")
# what vendors have sent and no extract has landed yet
INBOX = "control.webhook_inbox"
# about whom vendors were asked, by digest
LOOKUPS = "control.lookups"
BATCH = 2_000

_EMAIL = re.compile(r"[^\s@\"\\<>,;:()\[\]]+@[\w.-]+\.[\w-]+")
# an address inside a text, once as most people have it and once with all the characters that one may have
_NARROW = re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+")
_WIDE = re.compile(r"[\w.!#$%&'*+/=?^`{|}~-]+@[\w-]+(?:\.[\w-]+)+")
_CELLS = re.compile(r"[,;\t|\"]")


@dataclass(frozen=True)
class Erased:
    """What went, by table; what was cleared in rows that stay; where the address still stands, and whose that is."""

    removed: Mapping[str, int]
    cleared: Mapping[str, int]
    left: Sequence[str]


@dataclass(frozen=True)
class Screen:
    """Recognises what is about erased people in the records of one connector."""

    tenant_id: str
    connector: str
    keys: Sequence[Key]
    digests: frozenset[bytes] = field(repr=False)

    def hides(self, stream: str, record_id: str | None, payload: Any) -> bool:
        """Whether this record is one of theirs, is about them, or mentions their address anywhere."""
        return any(
            _digest(key, self.tenant_id, text) in self.digests
            for text in _told(stream, self.connector, record_id, payload)
            for key in self.keys
        )


def screen(connection: psycopg.Connection, tenant_id: str, connector: str) -> Screen | None:
    """What the records of this connector must pass; None if this tenant has erased nobody."""
    rows = connection.execute("select digest from control.erasures where tenant_id = %s", [tenant_id]).fetchall()
    if not rows:
        return None
    digests = frozenset(bytes(row[0]) for row in rows)
    keyring = keys.keyring()
    made_with = {digest.partition(b".")[0].decode(errors="replace") for digest in digests}
    if retired := made_with - {key.id for key in keyring}:
        raise ClarityError(
            f"the people whom this tenant has erased are known by key {sorted(retired)[0]!r}, which is not in"
            f" {keys.KEYS_VARIABLE} any more: put it back, last in the list, or a sync would bring them back"
        )
    return Screen(tenant_id, connector, keyring, digests)


def erase(tenant: TenantEntry, email: str, *, actor: str, report: Report = lambda _line: None) -> Erased:
    """Take the person with this address out of everything that the tenant has, in one transaction."""
    access.require(tenant.id, actor, "tenant.erase")
    email = email.strip().lower()
    if not _EMAIL.fullmatch(email) or len(email) > 320 or not email.isprintable():
        raise MisuseError("that is no e-mail address; write one like ann@example.com")
    with (
        lease.hold(tenant.id, lease.local_holder(), stage="erase", report=report) as held,
        database.control_session(tenant.id) as connection,
    ):
        connection.execute("select control.hold_lease(%s)", [held.fence])
        # rehearsals of dbt hold copies; they go first, so that none is left when this is killed in between
        private.drop(*private.of_tenant(tenant.id))
        return _Erasure(connection, tenant, email).run(actor)


class _Erasure:
    def __init__(self, connection: psycopg.Connection, tenant: TenantEntry, email: str) -> None:
        self.connection, self.tenant_id, self.email = connection, tenant.id, email
        self.removed: dict[str, int] = {}
        self.cleared: dict[str, int] = {}
        self.screens: dict[str, Screen] = {}
        self.streams = [
            (connector, stream)
            for connector, _, stream in (name.partition("__") for name in tables.landed_for(connection, "people"))
        ]
        self.people, self.records = self._whose_address_it_is()
        children_first = [table for table in reversed(tables.of_tenants(connection)) if table != LIST]
        # deleting activities touches days, so those come last
        self.tables = sorted(children_first, key=lambda table: table in tables.FILLED_BY_TRIGGERS)

    def run(self, actor: str) -> Erased:
        self._remember()
        for table in self.tables:
            if table.startswith("raw."):
                self._erase_raw(table)
            elif table == "quality.quarantine":
                self._erase_quarantine()
            elif table.partition(".")[0] in SEARCHED or table in CLEARED or table in (INBOX, LOOKUPS):
                self._erase_from(table)
        left = list(self._left())
        audit.record(
            self.connection,
            tenant_id=self.tenant_id,
            actor=actor,
            action="tenant.erase",
            resource="person",
            resource_id=self._digest(_about_email(self.email)).partition(b".")[2].hex(),
            after={"removed": self.removed, "cleared": self.cleared},
        )
        return Erased(self.removed, self.cleared, left)

    def _whose_address_it_is(self) -> tuple[list[str], list[tuple[str, str]]]:
        """The people who have the address or once had it, and their records at the sources: connector and id."""
        had = [
            (connector, str(record_id))
            for connector, stream in self.streams
            for (record_id,) in self._rows(
                sql.SQL("select distinct source_id from {} where tenant_id = %s and email = %s").format(
                    sql.Identifier("staging", f"stg_{connector}__{stream}")
                ),
                [self.tenant_id, self.email],
            )
        ]
        people: list[tuple[str, str | None, str | None]] = self.connection.execute(
            "with theirs as ("
            " select id from canonical.people where tenant_id = %(tenant)s and lower(btrim(email)) = %(email)s"
            " union"
            " select i.id from canonical.identities as i"
            " join unnest(%(sources)s::text[], %(ids)s::text[]) as had (source, source_id) using (source, source_id)"
            " where i.tenant_id = %(tenant)s and i.entity = 'person')"
            " select theirs.id, i.source, i.source_id from theirs left join canonical.identities as i"
            " on i.tenant_id = %(tenant)s and i.entity = 'person' and i.id = theirs.id",
            {
                "tenant": self.tenant_id,
                "email": self.email,
                "sources": [connector for connector, _ in had],
                "ids": [record_id for _, record_id in had],
            },
        ).fetchall()
        records = {(source, record_id) for _, source, record_id in people if source and record_id}
        return sorted({person for person, *_ in people}), sorted(records.union(had))

    def _remember(self) -> None:
        told = [("email", "", _about_email(self.email))]
        for connector, record_id in self.records:
            told += [("record", connector, _about_person(connector, record_id))]
            told += [
                ("record", connector, _about_record(connector, stream, record_id))
                for source, stream in self.streams
                if source == connector
            ]
        self.connection.cursor().executemany(
            "insert into control.erasures (tenant_id, kind, connector, digest) values (%s, %s, %s, %s)"
            " on conflict do nothing",
            [(self.tenant_id, kind, connector, self._digest(text)) for kind, connector, text in told],
        )

    def _erase_raw(self, table: str) -> None:
        """Every version of a record of which any version is theirs."""
        connector, _, stream = table.removeprefix("raw.").partition("__")
        gate = self._screen(connector)
        ids = [record_id for source, record_id in self.records if source == connector]
        about = sql.SQL(" or ").join(
            sql.SQL("payload ->> {} = any(%(ids)s)").format(sql.Literal(name)) for name in PERSON_FIELDS
        )
        doomed = {
            record_id
            for record_id, payload in self._rows(
                # a substring is quick to look for and finds too much: the screen decides
                sql.SQL(
                    "select record_id, payload from {} where tenant_id = %(tenant)s and (record_id = any(%(ids)s)"
                    " or {} or position(%(email)s in lower(payload::text)) > 0)"
                ).format(tables.identifier(table), about),
                {"tenant": self.tenant_id, "ids": ids, "email": self.email},
            )
            if gate.hides(stream, record_id, payload)
        }
        self._delete(table, sql.SQL("record_id = any(%s)"), [list(doomed)])

    def _erase_quarantine(self) -> None:
        rows = self._rows(
            sql.SQL("select id, connector, stream, record_id, record from quality.quarantine where tenant_id = %s"),
            [self.tenant_id],
        )
        doomed = [
            id_
            for id_, connector, stream, record_id, record in rows
            if self._screen(connector).hides(stream, record_id, record)
        ]
        self._delete("quality.quarantine", sql.SQL("id = any(%s)"), [doomed])

    def _erase_from(self, table: str) -> None:
        """Rows of theirs go; in rows that stay, text that mentions them is cleared."""
        columns = set(tables.columns(self.connection, table))
        for condition, parameters in self._theirs(table, columns):
            self._delete(table, condition, parameters)
        mentioning = [
            where
            for where, row in self._rows(
                sql.SQL(
                    "select t.ctid::text, to_jsonb(t) from {} as t"
                    " where tenant_id = %s and position(%s in lower(t::text)) > 0"
                ).format(tables.identifier(table)),
                [self.tenant_id, self.email],
            )
            if self._mentions(row)
        ]
        if table in CLEARED:
            self._clear(table, mentioning)
        else:
            self._delete(table, sql.SQL("ctid = any(%s::tid[])"), [mentioning])
        if "score_breakdown" in columns:
            self._unname(table)

    def _theirs(self, table: str, columns: set[str]) -> Iterator[tuple[sql.SQL, list[Any]]]:
        """Conditions on a table's rows, by what its columns are called, so that a table added later is covered."""
        if table == "canonical.people":
            yield sql.SQL("id = any(%s)"), [self.people]
        if table == "canonical.identities":
            yield sql.SQL("entity = 'person' and id = any(%s)"), [self.people]
        if table == LOOKUPS:
            yield sql.SQL("digest = %s"), [sha256(self.email.encode()).hexdigest()]
        if "person_id" in columns:
            yield sql.SQL("person_id = any(%s)"), [self.people]
        if "person_ref" in columns:
            for connector, record_id in self.records:
                yield sql.SQL("source = %s and person_ref = %s"), [connector, record_id]
        if {"entity_type", "entity_id"} <= columns:
            yield sql.SQL("entity_type = 'person' and entity_id = any(%s)"), [self.people]
        if {"key", "failed_row"} <= columns:
            yield (
                sql.SQL("key = any(%s) or key = any(%s)"),
                [self.people, [f"{connector}:{record_id}" for connector, record_id in self.records]],
            )

    def _clear(self, table: str, rows: list[str]) -> None:
        # what the platform itself worked out about an opportunity names nobody, and the rollups need it
        kept = sql.SQL(
            "case when source_data ? '_facts' then jsonb_build_object('_facts', source_data -> '_facts') end"
        )
        assignments = sql.SQL(", ").join(
            sql.SQL("{} = {}").format(sql.Identifier(column), kept if column == "source_data" else sql.SQL("null"))
            for column in CLEARED[table]
        )
        self._count(
            self.cleared,
            table,
            sql.SQL("update {} set {} where tenant_id = %s and ctid = any(%s::tid[])").format(
                tables.identifier(table), assignments
            ),
            [self.tenant_id, rows],
        )

    def _unname(self, table: str) -> None:
        """The scores of their company stay and no longer say who it was."""
        for person in self.people:
            self._count(
                self.cleared,
                table,
                sql.SQL(
                    "update {} set score_breakdown = replace(score_breakdown::text, %s, 'null')::jsonb"
                    " where tenant_id = %s and position(%s in score_breakdown::text) > 0"
                ).format(tables.identifier(table)),
                [f'"{person}"', self.tenant_id, f'"{person}"'],
            )

    def _left(self) -> Iterator[str]:
        """Where the address still stands: the platform's own users, and what the tenant's people wrote themselves."""
        for table in self.tables:
            found = [
                row
                for (row,) in self._rows(
                    sql.SQL(
                        "select to_jsonb(t) from {} as t where tenant_id = %s and position(%s in lower(t::text)) > 0"
                    ).format(tables.identifier(table)),
                    [self.tenant_id, self.email],
                )
                if self._mentions(row)
            ]
            if found:
                yield f"{table}: {len(found)}"

    def _mentions(self, content: Any) -> bool:
        return any(self.email in _addresses(text) for text in _texts(content))

    def _digest(self, text: str) -> bytes:
        return _digest(keys.keyring()[0], self.tenant_id, text)

    def _screen(self, connector: str) -> Screen:
        if connector not in self.screens:
            found = screen(self.connection, self.tenant_id, connector)
            assert found is not None, "the address itself is on the list"
            self.screens[connector] = found
        return self.screens[connector]

    def _delete(self, table: str, condition: sql.SQL, parameters: list[Any]) -> None:
        query = sql.SQL("delete from {} where tenant_id = %s and ({})").format(tables.identifier(table), condition)
        self._count(self.removed, table, query, [self.tenant_id, *parameters])

    def _count(self, counts: dict[str, int], table: str, query: sql.Composed, parameters: list[Any]) -> None:
        if rows := self.connection.execute(query, parameters).rowcount:
            counts[table] = counts.get(table, 0) + rows

    def _rows(self, query: sql.SQL | sql.Composed, parameters: Any) -> Iterator[tuple[Any, ...]]:
        with self.connection.cursor(name="erasing") as cursor:
            cursor.itersize = BATCH
            yield from cursor.execute(query, parameters)


# ── what is told about a person, and its digest ──────────────────────────────────────────────────────────────────


def _told(stream: str, connector: str, record_id: str | None, payload: Any) -> Iterator[str]:
    """Everything in a record by which an erased person would be recognised."""
    ids = [] if record_id is None else [record_id]
    line = payload.get("line") if isinstance(payload, Mapping) else payload
    if isinstance(line, str):
        # a line that could not be read as a record: one of its cells may be the id
        ids += [cell.strip() for cell in _CELLS.split(line)]
    if isinstance(payload, Mapping):
        yield from (
            _about_person(connector, value) for name in PERSON_FIELDS if isinstance(value := payload.get(name), str)
        )
    yield from (_about_record(connector, stream, one) for one in ids)
    yield from (_about_email(address) for text in _texts(payload) for address in _addresses(text))


def _about_email(email: str) -> str:
    return f"email\x1f{email}"


def _about_record(connector: str, stream: str, record_id: str) -> str:
    return f"record\x1f{connector}\x1f{stream}\x1f{record_id}"


def _about_person(connector: str, record_id: str) -> str:
    return f"person\x1f{connector}\x1f{record_id}"


def _digest(key: Key, tenant_id: str, text: str) -> bytes:
    """What stands for the text on the list, with the id of the key that it was made with."""
    told = f"erasure\x1f{tenant_id}\x1f{text}".encode("utf-8", "surrogatepass")
    return key.id.encode() + b"." + hmac.digest(key.value, told, "sha256")


def _texts(content: Any) -> Iterator[str]:
    """All texts in a piece of JSON, names of fields and JSON within texts included."""
    # not by recursion: a source may nest as deep as it likes
    waiting = [content]
    while waiting:
        match waiting.pop():
            case str() as text:
                yield text
                if text.lstrip()[:1] in ("{", "["):
                    with suppress(ValueError, RecursionError):
                        waiting.append(json.loads(text))
            case Mapping() as parts:
                waiting += parts
                waiting += parts.values()
            case list() | tuple() as parts:
                waiting += parts


def _addresses(text: str) -> set[str]:
    if "@" not in text:
        return set()
    text = text.strip().lower()
    return {text, *_NARROW.findall(text), *_WIDE.findall(text)}
