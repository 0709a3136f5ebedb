"""What is known about a tenant, as the engine wants it: in portions of whole accounts, so that memory stays flat.

For the length of a run there stay in memory the ids of people, what was published of each, and 18 bytes per person,
signal and day. All that is wide (frames, reasons, members) exists for one portion at a time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, LiteralString

import numpy as np
import numpy.typing as npt
import orjson
import pandas as pd
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.compute as pc  # type: ignore[import-untyped]

from scoring.engine import Inputs
from steps.bulk import Reader

PORTION = 50_000  # people; half as many or twice as many are as quick

Ints = npt.NDArray[np.int64]

# Deleted things are not scored, nor is the account that stands for none.
_ACCOUNTS: LiteralString = """
select id, industry, employee_count::float8 as employee_count, annual_revenue::float8 as annual_revenue,
    (select jsonb_object_agg(field, source_data -> field)::text from unnest({custom}::text[]) as field) as custom
from canonical.accounts
where tenant_id = {tenant} and deleted_at is null and external_id is distinct from '_none'
"""
_PEOPLE: LiteralString = """
select p.id, p.account_id, p.title, p.email, p.industry, p.employee_count::float8 as employee_count,
    p.annual_revenue::float8 as annual_revenue
from canonical.people as p
where p.tenant_id = {tenant} and p.deleted_at is null
"""
_SIGNALS: LiteralString = """
select s.person_id, s.signal, s.day, s.count
from rollups.rollup_person_signals_daily as s
where s.tenant_id = {tenant} and s.day between {first}::date and {as_of}::date
"""
_OPPORTUNITIES: LiteralString = """
select f.opportunity_id, f.account_id, f.is_closed,
    (f.days_in_stage_before + greatest({as_of}::date - f.stage_entered_on, 0))::float8 as days_in_stage,
    o.source_data ->> {solution_field}::text as solution_tag
from rollups.rollup_opportunity_facts as f
join canonical.opportunities as o on o.tenant_id = f.tenant_id and o.id = f.opportunity_id
where f.tenant_id = {tenant} and not f.is_deleted
"""
_CONTACTS: LiteralString = """
select c.opportunity_id, c.person_id, c.role
from rollups.rollup_opportunity_contacts as c
where c.tenant_id = {tenant}
"""
_PUBLISHED: LiteralString = """
select e.entity_type, e.entity_id, e.fit_score::float8 as fit_score, e.engagement_score::float8 as engagement_score,
    e.combined_score::float8 as combined_score, e.tier, e.fit_high, e.engagement_high, e.score_version,
    e.told_fit_score::float8 as told_fit_score, e.told_engagement_score::float8 as told_engagement_score,
    e.told_combined_score::float8 as told_combined_score, e.told_tier
from scores.engagements as e
where e.tenant_id = {tenant}
"""
# Of members whom nobody confirmed: who they are, as publication knows them, and what is said of them.
_MEMBERS: LiteralString = """
select g.account_id, g.solution_tag, coalesce(m.person_id, lower(m.discovered_email)) as who, m.role,
    m.role_confidence::float8 as role_confidence, m.role_source
from scores.buying_group_members as m
join scores.buying_groups as g on g.tenant_id = m.tenant_id and g.id = m.buying_group_id
where m.tenant_id = {tenant} and not m.is_confirmed
"""
QUERIES = (_ACCOUNTS, _PEOPLE, _OPPORTUNITIES, _CONTACTS, _SIGNALS, _PUBLISHED, _MEMBERS)
# What a run of the same day and the same rules adds to each query.
_OF_UNSCORED: dict[str, LiteralString] = {
    "accounts": " and id in (select u.id from scores.unscored as u where u.tenant_id = {tenant})",
    "people": (
        " and coalesce(p.account_id, p.id) in (select u.id from scores.unscored as u where u.tenant_id = {tenant})"
    ),
    "signals": (
        " and s.person_id in (select p.id from canonical.people as p join scores.unscored as u"
        " on u.tenant_id = p.tenant_id and u.id = coalesce(p.account_id, p.id) where p.tenant_id = {tenant})"
    ),
    "opportunities": " and f.account_id in (select u.id from scores.unscored as u where u.tenant_id = {tenant})",
    "published": (
        " and e.entity_id in (select u.id from scores.unscored as u where u.tenant_id = {tenant}"
        " union all select p.id from canonical.people as p join scores.unscored as u"
        " on u.tenant_id = p.tenant_id and u.id = p.account_id where p.tenant_id = {tenant}"
        " union all select f.opportunity_id from rollups.rollup_opportunity_facts as f join scores.unscored as u"
        " on u.tenant_id = f.tenant_id and u.id = f.account_id where f.tenant_id = {tenant})"
    ),
    "members": " and g.account_id in (select u.id from scores.unscored as u where u.tenant_id = {tenant})",
    "contacts": (
        " and c.opportunity_id in (select f.opportunity_id from rollups.rollup_opportunity_facts as f"
        " join scores.unscored as u on u.tenant_id = f.tenant_id and u.id = f.account_id where f.tenant_id = {tenant})"
    ),
}
VALUES = ("fit_score", "engagement_score", "combined_score", "tier", "fit_high", "engagement_high", "score_version")
# what history last said of each
TOLD = ("told_fit_score", "told_engagement_score", "told_combined_score", "told_tier")


@dataclass(frozen=True)
class Portion:
    """Some accounts with all that belongs to them, and some people without an account.

    The engine's inputs, whose people have an email, opportunities a solution_tag and contacts a role as well.
    `published` has a row for each row that the engine makes of them, in its order: the score in force, empty where
    there is none. `members` are those of buying groups in force: account_id, solution_tag, who, role, role_confidence,
    role_source.
    """

    inputs: Inputs
    published: pd.DataFrame
    members: pd.DataFrame


class Known:
    """All that is to be scored of one tenant as of a day, portion by portion."""

    def __init__(
        self,
        reader: Reader,
        tenant_id: str,
        as_of: date,
        *,
        custom: Sequence[str] = (),
        solution_field: str | None = None,
        window: int,
        only_unscored: bool = False,
        portion: int = PORTION,
    ) -> None:
        def read(what: str, query: LiteralString, **more: Any) -> pa.Table:
            return reader.table(query + (_OF_UNSCORED[what] if only_unscored else ""), **parameters, **more)

        first = as_of - timedelta(days=window)
        parameters: dict[str, Any] = {"tenant": tenant_id, "as_of": as_of.isoformat()}
        accounts = read("accounts", _ACCOUNTS, custom=list(custom))
        people = read("people", _PEOPLE)
        opportunities = read("opportunities", _OPPORTUNITIES, solution_field=solution_field)
        contacts = read("contacts", _CONTACTS)

        # what is scored together: an account with its people, somebody without one, a deal without one
        of_account = np.arange(accounts.num_rows)
        of_person = _places(people["account_id"], accounts["id"])
        leads = np.flatnonzero(of_person < 0)
        of_person[leads] = accounts.num_rows + np.arange(len(leads))
        of_opportunity = _places(opportunities["account_id"], accounts["id"])
        orphans = np.flatnonzero(of_opportunity < 0)
        of_opportunity[orphans] = accounts.num_rows + len(leads) + np.arange(len(orphans))
        of_contact = np.append(of_opportunity, -1)[_places(contacts["opportunity_id"], opportunities["opportunity_id"])]
        who = np.append(of_person, -1)[_places(contacts["person_id"], people["id"])]
        units = accounts.num_rows + len(leads) + len(orphans)
        number = _numbers(units, of_person, of_contact, who, portion)

        self.portions = int(number.max(initial=-1)) + 1
        self._accounts = _Cut.of(accounts, "id", number[of_account], self.portions)
        self._people = _Cut.of(people, "id", number[of_person], self.portions)
        self._opportunities = _Cut.of(opportunities, "opportunity_id", number[of_opportunity], self.portions)
        self._contacts = _Cut.of(contacts, "person_id", np.append(number, -1)[of_contact], self.portions)
        signals = _SIGNALS + (_OF_UNSCORED["signals"] if only_unscored else "")
        batches = reader.batches(signals, first=first.isoformat(), **parameters)
        self._daily = _Daily(batches, self._people.rows["id"], first)
        members = read("members", _MEMBERS)
        of_member = np.append(number, -1)[_places(members["account_id"], accounts["id"])]
        self._members = _Cut.of(members, "who", of_member, self.portions)
        in_force = read("published", _PUBLISHED)
        self._subjects = (
            ("account", self._accounts, "id"),
            ("opportunity", self._opportunities, "opportunity_id"),
            ("person", self._people, "id"),
        )
        self._in_force = [_in_force(in_force, kind, cut.rows[key]) for kind, cut, key in self._subjects]

    def __iter__(self) -> Iterator[Portion]:
        for number in range(self.portions):
            accounts, opportunities = self._accounts.frame(number), self._opportunities.frame(number)
            people = self._people.frame(number)
            published = pd.concat(
                [
                    _frame(table, cut.rows_of(number)).assign(entity_type=kind)
                    for (kind, cut, _), table in zip(self._subjects, self._in_force, strict=True)
                ],
                ignore_index=True,
            )
            people = people.rename(columns={"id": "person_id"})
            accounts = accounts.rename(columns={"id": "account_id"})
            accounts["custom"] = [orjson.loads(fields) if fields else None for fields in accounts["custom"]]
            yield Portion(
                Inputs(
                    accounts=accounts,
                    people=people,
                    signals=self._daily.of(self._people.rows_of(number), people["person_id"]),
                    opportunities=opportunities,
                    opportunity_contacts=self._contacts.frame(number),
                    previous=published[published["is_known"]],
                ),
                published,
                self._members.frame(number),
            )


def _places(column: pa.ChunkedArray, ids: pa.ChunkedArray) -> Ints:
    """Where each value stands among the ids; -1 where it does not."""
    found = pc.index_in(column, value_set=_whole(ids))
    return np.asarray(pc.fill_null(found, -1).to_numpy(), dtype=np.int64)


def _whole(column: pa.ChunkedArray) -> pa.Array:
    whole = column.combine_chunks()
    return whole if isinstance(whole, pa.Array) else pa.concat_arrays(whole.chunks)


def _numbers(units: int, of_person: Ints, one: Ints, other: Ints, portion: int) -> Ints:
    """The portion of each unit. Units that a contact ties together are in one, whatever its size.

    Somebody of one company may be a contact in the deal of another, which then is scored on what they do.
    """
    tied = np.flatnonzero((one >= 0) & (other >= 0) & (one != other))
    one, other = one[tied], other[tied]
    leader = np.arange(units)
    while True:
        least = np.minimum(leader[one], leader[other])
        before = leader.copy()
        np.minimum.at(leader, one, least)
        np.minimum.at(leader, other, least)
        leader = leader[leader]
        if (leader == before).all():
            break
    size = np.bincount(leader[of_person], minlength=units) + np.bincount(leader, minlength=units)
    return np.asarray((np.cumsum(size) - size) // portion, dtype=np.int64)[leader]


@dataclass(frozen=True)
class _Cut:
    """A table ordered by portion and id, and where each portion begins."""

    rows: pa.Table
    bounds: Ints

    @classmethod
    def of(cls, table: pa.Table, key: str, number: Ints, portions: int) -> _Cut:
        keys = pa.table({"number": number, "id": table[key]})
        order = pc.sort_indices(keys, sort_keys=[("number", "ascending"), ("id", "ascending")])
        bounds = np.searchsorted(number[order.to_numpy()], np.arange(portions + 1))
        return cls(table.take(order), bounds)

    def rows_of(self, number: int) -> slice:
        return slice(int(self.bounds[number]), int(self.bounds[number + 1]))

    def frame(self, number: int) -> pd.DataFrame:
        return _frame(self.rows, self.rows_of(number))


def _frame(table: pa.Table, rows: slice) -> pd.DataFrame:
    """Plain numbers and objects: the engine knows nothing of Arrow."""
    cut = table.slice(rows.start, rows.stop - rows.start)
    return pd.DataFrame(
        {
            name: column.to_numpy() if pa.types.is_floating(column.type) else _objects(column)
            for name, column in zip(cut.column_names, cut.columns, strict=True)
        }
    )


def _objects(column: pa.ChunkedArray) -> pd.Series:
    is_text = pa.types.is_string(column.type)
    return pd.Series(column.to_numpy() if is_text else column.to_pylist(), dtype=object)


class _Daily:
    """Daily counts as codes, ordered by person, signal and day, as the engine likes them."""

    def __init__(self, batches: Iterator[pa.RecordBatch], ids: pa.ChunkedArray, first: date) -> None:
        names: dict[str, int] = {}
        people = _whole(ids)
        found = [_coded(batch, people, names, first) for batch in batches]
        key = np.concatenate([codes for codes, _ in found] or [np.zeros(0, dtype=np.int64)])
        count = np.concatenate([counts for _, counts in found] or [np.zeros(0, dtype=np.int32)])
        self.names = sorted(names)
        rank = np.argsort(np.argsort(list(names)))
        rest, day = np.divmod(key, _DAYS)
        person, signal = np.divmod(rest, _NAMES)
        key = (person * _NAMES + (rank[signal] if len(rank) else signal)) * _DAYS + day
        order = np.argsort(key)
        key, self._count = key[order], count[order]
        rest, day = np.divmod(key, _DAYS)
        self._person, signal = np.divmod(rest, _NAMES)
        self._signal, self._day = signal.astype(np.int16), np.datetime64(first, "D") + day
        self._person = self._person.astype(np.int32)

    def of(self, people: slice, ids: pd.Series) -> pd.DataFrame:
        begin, end = np.searchsorted(self._person, [people.start, people.stop])
        rows = slice(int(begin), int(end))
        return pd.DataFrame(
            {
                "person_id": pd.Categorical.from_codes(self._person[rows] - people.start, pd.Index(ids, dtype=object)),
                "signal": pd.Categorical.from_codes(self._signal[rows], pd.Index(self.names, dtype=object)),
                "day": self._day[rows].astype("datetime64[s]"),
                "count": self._count[rows],
            }
        )


# Person, name and day since the first in one number: a window is 50 years at the most.
_NAMES, _DAYS = 1 << 15, 1 << 15


def _coded(
    batch: pa.RecordBatch, people: pa.Array, names: dict[str, int], first: date
) -> tuple[Ints, npt.NDArray[np.int32]]:
    """Who did what when as one number, and how often, of those among the people."""
    person = np.asarray(
        pc.fill_null(pc.index_in(batch["person_id"], value_set=people), -1).to_numpy(zero_copy_only=False)
    )
    known = np.flatnonzero(person >= 0)
    signal = batch["signal"].dictionary_encode()
    code = np.array([names.setdefault(name, len(names)) for name in signal.dictionary.to_pylist()], dtype=np.int64)
    of_name = code[signal.indices.to_numpy()][known]
    day = batch["day"].cast(pa.int32()).to_numpy()[known].astype(np.int64) - np.datetime64(first, "D").astype(np.int64)
    return (person[known].astype(np.int64) * _NAMES + of_name) * _DAYS + day, batch["count"].to_numpy()[known]


def _in_force(table: pa.Table, kind: str, ids: pa.ChunkedArray) -> pa.Table:
    """A row for each id: the score in force, nulls where there is none."""
    own = table.filter(pc.equal(table["entity_type"], kind))
    places = _places(ids, own["entity_id"])
    found = own.select([*VALUES, *TOLD]).take(pa.array(places, mask=places < 0))
    return found.append_column("entity_id", ids).append_column("is_known", pa.array(places >= 0))
