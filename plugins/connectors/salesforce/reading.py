"""Where a stream's reading stands, and the queries that go on from there.

A reading has a fixed upper end, by Salesforce's clock: what changes meanwhile is the next reading's. By REST it goes
through (stamp, Id) in their order, each page a query of its own that starts behind the last key. So ten thousand
records of one stamp are no obstacle, and no cursor of Salesforce's has to stay open: a user has ten, and they end with
the session. By Bulk it goes through the result of one job, which Salesforce keeps for a week.
"""

from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any, Self

from connectors.contract import State, understood
from connectors.salesforce.fields import Fields

VERSION = 1

Key = tuple[datetime, str]


@dataclass(frozen=True, slots=True)
class Reading:
    """One way from the lower end (None: from the first record) to the upper one."""

    upto: datetime
    since: datetime | None = None
    whole: bool = False
    after: Key | None = None
    job: str | None = None
    locator: str | None = None
    live: int = 0  # records so far that are not deleted

    def where(self, stamp: str) -> str:
        upper = f"{stamp} <= {literal(self.upto)}"
        if self.after is not None:
            last, last_id = literal(self.after[0]), self.after[1]
            return f"(({stamp} = {last} AND Id > '{last_id}') OR {stamp} > {last}) AND {upper}"
        return upper if self.since is None else f"{stamp} >= {literal(self.since)} AND {upper}"

    def from_its_start(self) -> "Reading":
        return Reading(self.upto, self.since, self.whole)

    def count_query(self, fields: Fields) -> str:
        return select("COUNT()", fields.entity, self.where(fields.stamp))

    def query(self, fields: Fields) -> str:
        return select(", ".join(fields.names), fields.entity, self.where(fields.stamp))

    def page_query(self, fields: Fields, size: int) -> str:
        return f"{self.query(fields)} ORDER BY {fields.stamp}, Id LIMIT {size}"


@dataclass(frozen=True, slots=True)
class Progress:
    """What is known of a stream between two pages: up to when it is read, its fields, what is under way."""

    read_upto: datetime | None = None
    whole_at: datetime | None = None
    fields: tuple[str, ...] = ()
    reading: Reading | None = None

    @classmethod
    def of(cls, state: State | None) -> Self:
        if not state:
            return cls()
        with understood(state, None, 1):
            if "version" not in state:
                # Before versions there was one stamp. Without the fields of that time, everything is read once.
                return cls(read_upto=_moment(state["cursor"]))
            return cls(
                read_upto=_optional(state["read_upto"]),
                whole_at=_optional(state["whole_at"]),
                fields=tuple(state["fields"]),
                reading=_reading(state["reading"]),
            )

    def state(self) -> dict[str, Any]:
        reading = None
        if self.reading is not None:
            reading = asdict(self.reading)
            reading |= {"upto": _text(self.reading.upto), "since": _text(self.reading.since)}
            if self.reading.after is not None:
                reading["after"] = [_text(self.reading.after[0]), self.reading.after[1]]
        return {
            "version": VERSION,
            "read_upto": _text(self.read_upto),
            "whole_at": _text(self.whole_at),
            "fields": list(self.fields),
            "reading": reading,
        }

    def through(self, reading: Reading) -> "Progress":
        whole_at = reading.upto if reading.whole else self.whole_at
        return replace(self, read_upto=reading.upto, whole_at=whole_at, reading=None)


def select(what: str, entity: str, where: str) -> str:
    return " ".join(["SELECT", what, "FROM", entity, "WHERE", where])


def literal(moment: datetime) -> str:
    """A datetime as SOQL writes it."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03}Z"


def _text(moment: datetime | None) -> str | None:
    return None if moment is None else literal(moment)


def _moment(text: Any) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _optional(text: Any) -> datetime | None:
    return None if text is None else _moment(text)


def _reading(kept: Any) -> Reading | None:
    if kept is None:
        return None
    after = kept["after"]
    return Reading(
        upto=_moment(kept["upto"]),
        since=_optional(kept["since"]),
        whole=bool(kept["whole"]),
        after=None if after is None else (_moment(after[0]), str(after[1])),
        job=kept["job"],
        locator=kept["locator"],
        live=int(kept["live"]),
    )
