"""The project's macros as SQL, without dbt: what they use of its own words is little."""

from functools import cache
from typing import Any

from jinja2 import Template

from warehouse.home import project_root


def macro(name: str, *arguments: str) -> str:
    """The SQL that a macro writes for these arguments."""
    return str(getattr(_macros().make_module({"return": str}), name)(*arguments)).strip()


def data(name: str) -> Any:
    """What a macro returns, where it writes nothing."""
    returned: list[Any] = []
    getattr(_macros().make_module({"return": returned.append}), name)()
    return returned[0]


@cache
def _macros() -> Template:
    folder = project_root() / "dbt" / "macros"
    files = ("payload", "domains", "signals", "records")
    source = "\n".join((folder / f"{file}.sql").read_text(encoding="utf-8") for file in files)
    return Template(source, extensions=["jinja2.ext.do"])
