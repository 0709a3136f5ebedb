"""The receipts of a writeback: what is to be sent, what may have been, and what became of it.

Everything is said in one transaction each, under the run's fence. Whoever was killed leaves receipts that are
`planned`, of which nothing was sent, or `sending`, of which one has to look at the record to know.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, LiteralString

import psycopg
from psycopg.types.json import Jsonb

from connectors.contract import Receipt
from control import writebacks
from warehouse import landing

# The models are asked once: over many records that takes seconds.
CHANGES: LiteralString = """
create temporary table writeback_changes on commit drop as
select * from staging.int_writeback__changes
where tenant_id = %(tenant)s and connector_id = %(connector)s
"""

PLAN: LiteralString = """
insert into scores.writeback_receipts (
    tenant_id, connector_id, run_id, stream, entity_type, entity_id, record_id, shown, wanted, seen_version
)
select tenant_id, connector_id, %(run)s, stream, entity_type, entity_id, record_id, shown, wanted, version
from pg_temp.writeback_changes
where wanted is not null
"""

# What we find changed by somebody else is noted once for each value that they set.
OVERRIDES: LiteralString = """
insert into scores.writeback_overrides as known (
    tenant_id, connector_id, record_id, field, stream, entity_type, entity_id, ours, theirs, changed_by, policy, run_id
)
select
    c.tenant_id, c.connector_id, c.record_id, o.field, c.stream, c.entity_type, c.entity_id, nullif(o.ours, 'null'),
    nullif(o.theirs, 'null'), c.changed_by, o.policy, %(run)s
from pg_temp.writeback_changes as c
cross join lateral jsonb_to_recordset(c.overridden) as o (field text, ours jsonb, theirs jsonb, policy text)
on conflict (tenant_id, connector_id, record_id, field) do update set
    ours = excluded.ours, theirs = excluded.theirs, changed_by = excluded.changed_by, policy = excluded.policy,
    run_id = excluded.run_id, noticed_at = now(), released_at = null
where (known.ours, known.theirs, known.policy) is distinct from (excluded.ours, excluded.theirs, excluded.policy)
"""

# Where somebody has set what we want, that is what we left there: they are not asked when we want something else.
ADOPTED: LiteralString = """
insert into scores.writeback_records as known (
    tenant_id, connector_id, record_id, stream, entity_type, entity_id, sent
)
select tenant_id, connector_id, record_id, stream, entity_type, entity_id, adopted
from pg_temp.writeback_changes
where adopted is not null
on conflict (tenant_id, connector_id, record_id) do update set sent = known.sent || excluded.sent
"""

# What was written is what the record was left showing; of an undone run it waits until somebody releases it.
WRITTEN: LiteralString = """
with written as (
    update scores.writeback_receipts as r set outcome = 'written', settled_at = now(), error_code = null, error = null
    where (r.tenant_id, r.connector_id, r.stream) = (%(tenant)s, %(connector)s, %(stream)s)
        and r.outcome = 'sending' and r.record_id = any(%(ids)s)
    returning r.*
),
undone as (
    update scores.writeback_receipts as r set undone_at = now()
    from written as w where w.undoes = r.id and r.tenant_id = w.tenant_id
    returning r.id, r.run_id
)
insert into scores.writeback_records as known (
    tenant_id, connector_id, record_id, stream, entity_type, entity_id, sent, seen_version, sent_at, held
)
select
    w.tenant_id, w.connector_id, w.record_id, w.stream, w.entity_type, w.entity_id, w.wanted, w.seen_version, now(),
    coalesce((
        select jsonb_object_agg(field, undone.run_id) from jsonb_object_keys(w.wanted) as field, undone
        where undone.id = w.undoes
    ), '{}')
from written as w
on conflict (tenant_id, connector_id, record_id) do update set
    sent = known.sent || excluded.sent, seen_version = excluded.seen_version, sent_at = excluded.sent_at,
    gone_version = null, held = known.held || excluded.held
"""

# Until the CRM shows a later version of it, it is not proposed again.
GONE: LiteralString = """
with gone as (
    update scores.writeback_receipts as r
    set outcome = 'gone', settled_at = now(), error_code = 'ENTITY_IS_DELETED',
        error = 'the record was deleted in the CRM'
    where (r.tenant_id, r.connector_id, r.stream) = (%(tenant)s, %(connector)s, %(stream)s)
        and r.outcome in ('planned', 'sending') and r.record_id = any(%(ids)s)
    returning r.*
)
insert into scores.writeback_records as known (
    tenant_id, connector_id, record_id, stream, entity_type, entity_id, gone_version
)
select tenant_id, connector_id, record_id, stream, entity_type, entity_id, coalesce(seen_version, '') from gone
on conflict (tenant_id, connector_id, record_id) do update set gone_version = excluded.gone_version
"""


@dataclass(frozen=True, slots=True)
class Planned:
    """A receipt that is open. `shown` is what its record was last known to show."""

    id: str
    entity_type: str
    entity_id: str
    record_id: str
    shown: Mapping[str, Any]
    wanted: Mapping[str, Any]
    undoes: str | None


@dataclass(frozen=True, slots=True)
class Intent:
    """What is about to be sent, after a look at what the record shows now."""

    id: str
    shown: Mapping[str, Any]
    wanted: Mapping[str, Any]
    version: str


@dataclass(frozen=True, slots=True)
class Override:
    """A field that somebody else changed between the last sync and our look."""

    record: Planned
    field: str
    theirs: Any
    changed_by: str | None
    policy: str


@dataclass(frozen=True, slots=True)
class Receipts:
    connection: psycopg.Connection
    tenant_id: str
    connector_id: str
    run_id: str
    fence: int

    def plan(self) -> int:
        """What the models propose becomes receipts of this run. Returns how many there are."""
        with self._transaction():
            writebacks.plan_for_all(self.connection)
            self._say(CHANGES)
            self._say(ADOPTED)
            self._say(OVERRIDES)
            return self._say(PLAN)

    def plan_undo(self, run_id: str) -> int:
        """Receipts that put back what a run found, on each record that it wrote and that is not put back yet."""
        with self._transaction():
            return self._say(
                "insert into scores.writeback_receipts (tenant_id, connector_id, run_id, stream, entity_type,"
                " entity_id, record_id, shown, wanted, seen_version, undoes)"
                " select tenant_id, connector_id, %(run)s, stream, entity_type, entity_id, record_id, wanted, shown,"
                " seen_version, id from scores.writeback_receipts as r"
                " where r.tenant_id = %(tenant)s and r.connector_id = %(connector)s and r.run_id = %(undone)s"
                " and r.outcome = 'written' and r.undone_at is null",
                undone=run_id,
            )

    def drop_planned(self) -> None:
        """What an earlier run only planned is planned anew."""
        with self._transaction():
            self._say(
                "delete from scores.writeback_receipts as r"
                " where (r.tenant_id, r.connector_id) = (%(tenant)s, %(connector)s)"
                " and r.outcome = 'planned'"
            )

    def streams(self, outcome: LiteralString) -> list[str]:
        rows = self._rows(
            "select distinct r.stream from scores.writeback_receipts as r"
            " where (r.tenant_id, r.connector_id) = (%(tenant)s, %(connector)s)"
            " and r.outcome = %(outcome)s order by 1",
            outcome=outcome,
        )
        return [str(stream) for (stream,) in rows]

    def count(self, stream: str, outcome: LiteralString) -> int:
        ((count,),) = self._rows(
            "select count(*) from scores.writeback_receipts as r"
            " where (r.tenant_id, r.connector_id) = (%(tenant)s, %(connector)s)"
            " and r.outcome = %(outcome)s and r.stream = %(stream)s",
            stream=stream,
            outcome=outcome,
        )
        return int(count)

    def open(self, stream: str, outcome: LiteralString, after: str, most: int) -> list[Planned]:
        """In the order of their records, behind this one."""
        rows = self._rows(
            "select r.id, r.entity_type, r.entity_id, r.record_id, r.shown, r.wanted, r.undoes"
            " from scores.writeback_receipts as r"
            " where (r.tenant_id, r.connector_id) = (%(tenant)s, %(connector)s)"
            " and r.outcome = %(outcome)s and r.stream = %(stream)s"
            " and r.record_id > %(after)s order by r.record_id limit %(most)s",
            stream=stream,
            outcome=outcome,
            after=after,
            most=most,
        )
        return [Planned(*row) for row in rows]

    def tickets(self) -> list[str]:
        """Jobs that may still be at work on what is open."""
        rows = self._rows(
            "select distinct r.ticket from scores.writeback_receipts as r"
            " where (r.tenant_id, r.connector_id) = (%(tenant)s, %(connector)s)"
            " and r.outcome = 'sending' and r.ticket is not null order by 1"
        )
        return [str(ticket) for (ticket,) in rows]

    def intend(self, intents: Sequence[Intent]) -> None:
        """From here on these may have been sent."""
        with self._transaction():
            self._say(
                "update scores.writeback_receipts as r set outcome = 'sending', shown = i.shown, wanted = i.wanted,"
                " seen_version = i.version, sent_at = now(), ticket = null"
                " from unnest(%(ids)s::text[], %(shown)s::jsonb[], %(wanted)s::jsonb[], %(versions)s::text[])"
                " as i (id, shown, wanted, version) where r.tenant_id = %(tenant)s and r.id = i.id",
                ids=[intent.id for intent in intents],
                shown=[Jsonb(intent.shown) for intent in intents],
                wanted=[Jsonb(intent.wanted) for intent in intents],
                versions=[intent.version for intent in intents],
            )

    def note_ticket(self, stream: str, ticket: str) -> None:
        with self._transaction():
            self._say(
                "update scores.writeback_receipts as r set ticket = %(ticket)s"
                " where (r.tenant_id, r.connector_id) = (%(tenant)s, %(connector)s)"
                " and r.outcome = 'sending'"
                " and r.stream = %(stream)s",
                stream=stream,
                ticket=ticket,
            )

    def note_overrides(self, overrides: Sequence[Override]) -> None:
        with self._transaction():
            self.connection.cursor().executemany(
                "insert into scores.writeback_overrides as known (tenant_id, connector_id, record_id, field, stream,"
                " entity_type, entity_id, ours, theirs, changed_by, policy, run_id)"
                " select r.tenant_id, r.connector_id, r.record_id, %(field)s, r.stream, r.entity_type, r.entity_id,"
                " coalesce((select k.sent -> %(field)s from scores.writeback_records as k"
                " where k.tenant_id = r.tenant_id and k.connector_id = r.connector_id and k.record_id = r.record_id),"
                " r.shown -> %(field)s), %(theirs)s, %(by)s, %(policy)s, %(run)s"
                " from scores.writeback_receipts as r where r.tenant_id = %(tenant)s and r.id = %(id)s"
                " on conflict (tenant_id, connector_id, record_id, field) do update set ours = excluded.ours,"
                " theirs = excluded.theirs, changed_by = excluded.changed_by, policy = excluded.policy,"
                " run_id = excluded.run_id, noticed_at = now(), released_at = null",
                [
                    {
                        "field": each.field,
                        "theirs": Jsonb(each.theirs),
                        "by": each.changed_by,
                        "policy": each.policy,
                        "run": self.run_id,
                        "tenant": self.tenant_id,
                        "id": each.record.id,
                    }
                    for each in overrides
                ],
            )

    def written(self, stream: str, record_ids: Sequence[str]) -> None:
        with self._transaction():
            self._say(WRITTEN, stream=stream, ids=list(record_ids))

    def gone(self, stream: str, record_ids: Sequence[str]) -> None:
        with self._transaction():
            self._say(GONE, stream=stream, ids=list(record_ids))

    def settle(self, ids: Sequence[str], outcome: LiteralString, error: str | None = None) -> None:
        """Open receipts, by their own ids, end or wait so."""
        with self._transaction():
            self._say(
                "update scores.writeback_receipts as r set outcome = %(outcome)s, error = %(error)s,"
                " settled_at = case when %(outcome)s = 'planned' then null else now() end"
                " where r.tenant_id = %(tenant)s and r.id = any(%(ids)s) and r.outcome in ('planned', 'sending')",
                ids=list(ids),
                outcome=outcome,
                error=error,
            )

    def unsent(self, ids: Sequence[str], *, again: bool) -> None:
        """Of these nothing was sent. They are to be sent `again`, or the models decide anew."""
        with self._transaction():
            self._say(
                "update scores.writeback_receipts as r set"
                " outcome = case when %(again)s then 'planned' else 'unsent' end,"
                " settled_at = case when %(again)s then null else now() end"
                " where r.tenant_id = %(tenant)s and r.id = any(%(ids)s) and r.outcome = 'sending'",
                ids=list(ids),
                again=again,
            )

    def refused(self, stream: str, receipts: Iterable[Receipt], outcome: LiteralString) -> None:
        """With the vendor's word and sentence for each."""
        told = list(receipts)
        with self._transaction():
            self._say(
                "update scores.writeback_receipts as r set outcome = %(outcome)s, error_code = i.code, error = i.error,"
                " settled_at = case when %(outcome)s = 'planned' then null else now() end"
                " from unnest(%(ids)s::text[], %(codes)s::text[], %(errors)s::text[]) as i (record_id, code, error)"
                " where (r.tenant_id, r.connector_id) = (%(tenant)s, %(connector)s)"
                " and r.outcome = 'sending' and r.stream = %(stream)s and r.record_id = i.record_id",
                stream=stream,
                outcome=outcome,
                ids=[each.record_id for each in told],
                codes=[each.code for each in told],
                errors=[each.message for each in told],
            )

    def leave(self, because: str) -> int:
        """What was not sent stays for the next run. How many that are."""
        with self._transaction():
            return self._say(
                "update scores.writeback_receipts as r set outcome = 'left', error = %(error)s, settled_at = now()"
                " where (r.tenant_id, r.connector_id) = (%(tenant)s, %(connector)s)"
                " and r.run_id = %(run)s and r.outcome = 'planned'",
                error=because,
            )

    def take_back(self, stream: str) -> None:
        """The vendor would not have the call: nothing of it was carried out, unless a job has begun."""
        with self._transaction():
            self._say(
                "update scores.writeback_receipts as r set outcome = 'planned'"
                " where (r.tenant_id, r.connector_id) = (%(tenant)s, %(connector)s)"
                " and r.stream = %(stream)s and r.run_id = %(run)s and r.outcome = 'sending' and r.ticket is null",
                stream=stream,
            )

    def outcomes(self) -> Counter[str]:
        rows = self._rows(
            "select outcome, count(*) from scores.writeback_receipts as r where r.tenant_id = %(tenant)s"
            " and r.connector_id = %(connector)s and r.run_id = %(run)s group by 1"
        )
        return Counter({str(outcome): int(count) for outcome, count in rows})

    def failures(self, most: int) -> list[dict[str, Any]]:
        """Of this run: what is lost, by record and name."""
        rows = self._rows(
            "select r.stream, r.record_id, n.name, r.outcome, r.error_code, r.error"
            " from scores.writeback_receipts as r left join staging.int_writeback__records as n"
            " on n.tenant_id = r.tenant_id and n.entity_type = r.entity_type and n.entity_id = r.entity_id"
            " where r.tenant_id = %(tenant)s and r.connector_id = %(connector)s and r.run_id = %(run)s"
            " and r.outcome in ('rejected', 'busy', 'sending') order by 1, 2 limit %(most)s",
            most=most,
        )
        return [
            dict(zip(("stream", "record_id", "name", "outcome", "code", "error"), row, strict=True)) for row in rows
        ]

    def _say(self, statement: LiteralString, **more: Any) -> int:
        return self.connection.execute(statement, {**self._known, **more}).rowcount

    def _rows(self, query: LiteralString, **more: Any) -> list[tuple[Any, ...]]:
        return self.connection.execute(query, {**self._known, **more}).fetchall()

    @property
    def _known(self) -> dict[str, Any]:
        return {"tenant": self.tenant_id, "connector": self.connector_id, "run": self.run_id}

    def _transaction(self) -> AbstractContextManager[None]:
        return landing.fenced(self.connection, self.fence)
