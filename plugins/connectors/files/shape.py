"""From a row's values to a record: the id, the dates, and why not."""

from dataclasses import dataclass, field
from datetime import UTC
from typing import Any

from connectors.contract import Record, Rejected
from connectors.files.dates import Order, moment_of
from connectors.files.streams import STAMP

# what landing takes; refused here, the line is known
LONGEST_ID = 255

Values = dict[str, Any]


class Refused(Exception):
    """Why a row is no record. `record_id` if that much is known of it."""

    def __init__(self, reason: str, record_id: str | None = None) -> None:
        super().__init__(reason)
        self.record_id = record_id


@dataclass(slots=True)
class Batch:
    """Some outcomes in the order of the file. `numbers` are where the records stand, `size` about how many characters.

    `unfinished` is what the file ends within: it may be whole the next time.
    """

    numbers: list[int] = field(default_factory=list)
    records: list[Record] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)
    unfinished: list[Rejected] = field(default_factory=list)
    size: int = 0

    def refuse(self, refusal: Rejected, *, unfinished: bool = False) -> None:
        (self.unfinished if unfinished else self.rejected).append(refusal)


@dataclass(frozen=True, slots=True)
class Shape:
    """How the rows of one stream become records: the key, and the columns that hold dates, with the way they do."""

    key: str
    dates: tuple[tuple[str, Order], ...]

    def record(self, values: Values) -> Record:
        """Takes the values over. Raises Refused, and then they are as they were."""
        written = values.get(self.key)
        if written is None:
            raise Refused(f"has no {self.key}")
        if not isinstance(written, str):
            raise Refused(f"has an {self.key} that is no text")
        record_id = written.strip()
        if not record_id:
            raise Refused(f"has no {self.key}")
        if len(record_id) > LONGEST_ID:
            raise Refused(f"has an {self.key} of more than {LONGEST_ID} characters", record_id[:LONGEST_ID])
        stamp, rewritten = None, None
        for column, order in self.dates:
            written = values.get(column)
            if not isinstance(written, str):
                continue
            try:
                moment, iso = moment_of(written, order)
            except ValueError as unknown:
                raise Refused(f"{column} {unknown}", record_id) from None
            if iso is not written:
                rewritten = {**(rewritten or {}), column: iso}
            if column == STAMP:
                stamp = moment
                if moment is None and not written.isspace():
                    raise Refused(f"{STAMP} is no ISO 8601 time: {written[:50]}", record_id)
        if rewritten:
            values.update(rewritten)
        if stamp is not None and stamp.tzinfo is None:
            stamp = stamp.replace(tzinfo=UTC)
        return Record(record_id, values, stamp)
