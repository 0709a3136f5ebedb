"""A folder with accounts.csv, rewritten with every change as a system that exports does."""

import csv
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from connectors.contract import Fatal, State
from connectors.files import client
from tests.connectors.contract_suite.driver import Capability, Trouble, Truth

CANNOT: Mapping[Capability, str] = {
    "delete": "A row that a file no longer holds is not taken for deleted: a cut export would empty the warehouse.",
    "resume": "A file that was read in part is read again from its first line: it may have been rewritten meanwhile.",
    "trouble": "A file has no wire: it neither throttles nor expires nor forgets; only the file itself can be wrong.",
}
CANNOT_IF_WHOLE: Mapping[Capability, str] = {"resume": CANNOT["resume"], "trouble": CANNOT["trouble"]}


class Files:
    connector, stream, named = "files", "accounts", "name"

    def __init__(self, folder: Path, *, whole: bool) -> None:
        self.file, self.whole = folder / "accounts.csv", whole
        self.columns = ["id", "name", "updated_at"]
        self.rows: dict[str, dict[str, str]] = {}
        self.gone: dict[str, dict[str, str]] = {}
        self.clock = datetime(2026, 3, 10, 12, tzinfo=UTC)
        self._write()

    def config(self) -> dict[str, Any]:
        return {"folder": str(self.file.parent), "whole": [self.stream] if self.whole else []}

    def page_size(self) -> int:
        return client.ROWS_PER_PAGE

    def add(self, count: int, *, one_stamp: bool = False) -> list[str]:
        known = len(self.rows) + len(self.gone)
        ids = [str(known + number) for number in range(1, count + 1)]
        together = self._tick()
        for record_id in ids:
            stamp = together if one_stamp else self._tick()
            self.rows[record_id] = {"id": record_id, "name": f"Account {record_id}", "updated_at": stamp}
        self._write()
        return ids

    def add_late(self) -> str:
        (record_id,) = self.add(1)
        self.rows[record_id]["updated_at"] = (self.clock - timedelta(minutes=5)).isoformat()
        self._write()
        return record_id

    def change(self, record_id: str, value: str) -> None:
        self.rows[record_id] |= {"name": value, "updated_at": self._tick()}
        self._write()

    def delete(self, record_id: str) -> None:
        self.gone[record_id] = self.rows.pop(record_id)
        self._write()

    def restore(self, record_id: str) -> None:
        self.rows[record_id] = self.gone.pop(record_id)
        self._write()

    def add_field(self, name: str, record_id: str, value: str) -> None:
        self.columns.append(name)
        self.rows[record_id] |= {name: value, "updated_at": self._tick()}
        self._write()

    def remove_field(self, name: str) -> None:
        self.columns.remove(name)
        for row in self.rows.values():
            row.pop(name, None)
        self._write()

    def truth(self) -> dict[str, Truth]:
        return {
            record_id: Truth({column: row.get(column) or None for column in self.columns}, record_id in self.gone)
            for record_id, row in {**self.rows, **self.gone}.items()
        }

    def states_of_older_versions(self) -> Sequence[State]:
        return [
            {"size": 17, "mtime_ns": 1, "sha256": "of another file"},
            {"line": 2},
            {"size": None, "mtime_ns": None},
            {},
        ]

    def troubles(self) -> Sequence[Trouble]:
        return [
            Trouble(Fatal, self._holding("name\nwithout an id\n"), "has no column 'id'"),
            Trouble(Fatal, self._holding(""), "is empty"),
        ]

    @contextmanager
    def _holding(self, text: str) -> Iterator[None]:
        self.file.write_text(text, encoding="utf-8")
        yield
        self._write()

    def _tick(self) -> str:
        self.clock += timedelta(seconds=1)
        return self.clock.isoformat()

    def _write(self) -> None:
        with self.file.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, self.columns, restval="", lineterminator="\n")
            writer.writeheader()
            writer.writerows(self.rows.values())


@contextmanager
def files(folder: Path, patch: pytest.MonkeyPatch) -> Iterator[Files]:
    patch.setattr(client, "ROWS_PER_PAGE", 3)
    yield Files(folder, whole=False)


@contextmanager
def whole_files(folder: Path, patch: pytest.MonkeyPatch) -> Iterator[Files]:
    patch.setattr(client, "ROWS_PER_PAGE", 3)
    yield Files(folder, whole=True)
