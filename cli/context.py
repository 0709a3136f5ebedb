"""What every command knows: who acts, and whether a person or a program reads the answer."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from control.access import is_system
from control.audit import system_actor
from warehouse.errors import MisuseError

LONGEST_ACTOR = 200

console = Console(highlight=False)


@dataclass(frozen=True)
class Context:
    as_json: bool
    actor: str

    @classmethod
    def of(cls, *, as_json: bool, actor: str | None) -> "Context":
        if actor is not None and (is_system(actor) or not actor.isprintable() or not 0 < len(actor) <= LONGEST_ACTOR):
            raise MisuseError("--actor names a member of the tenant; leave it out to act as yourself on this machine")
        return cls(as_json, actor or system_actor())

    @classmethod
    def current(cls, context: typer.Context) -> "Context":
        found = context.find_object(cls)
        assert found is not None
        return found

    def report(self, line: str) -> None:
        """Progress, for people alone."""
        if not self.as_json:
            console.print(f"[dim]·[/dim] {escape(line)}", soft_wrap=True)

    def say(self, sentence: str, **facts: Any) -> None:
        """The answer: a sentence for people, its facts for programs."""
        if self.as_json:
            print(json.dumps(facts, default=str))
        else:
            console.print(escape(sentence), soft_wrap=True)

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[Any]], empty: str) -> None:
        if self.as_json:
            print(json.dumps([dict(zip(columns, row, strict=True)) for row in rows], default=str))
        elif not rows:
            console.print(empty)
        else:
            # where it is narrow, a name goes on in the next line: nobody could guess its end
            table = Table(*(Column(name, overflow="fold") for name in columns), box=None, header_style="bold")
            for row in rows:
                table.add_row(*("" if cell is None else escape(str(cell)) for cell in row))
            console.print(table)
