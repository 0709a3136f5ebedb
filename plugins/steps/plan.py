"""Plans: what a tenant's run says to the database, as dbt worked it out.

dbt takes a tenth of a second of processor for each model, whatever the model does, and it would take it again for each
tenant in each run, to arrive at the same statements. So they are written down once (dbt/macros/plan.sql), per project
and per mappings and rules, which most tenants share; a run carries them out, and does not even import dbt.
"""

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import orjson

from warehouse.home import home, project_root

LAYERS = ("canonical", "rollups", "marts")


@dataclass(frozen=True)
class Model:
    """One transaction. The last statement of `write` counts the rows."""

    id: str
    name: str
    needs: Sequence[str]
    layer: str
    before: Sequence[str]
    write: Sequence[str]
    after: Sequence[str]


@dataclass(frozen=True)
class DataTest:
    """A question that is answered by how many rows fail, and whether that is worth a warning or an error."""

    id: str
    name: str
    needs: Sequence[str]
    model: str
    ask: str
    failing: str
    severity: Literal["warn", "error"]


@dataclass(frozen=True)
class Plan:
    models: Sequence[Model]
    tests: Sequence[DataTest]

    def part(self, select: Sequence[str]) -> "Plan":
        """Of these models and layers, with the tests that ask about nothing else."""
        names = set(self.names(select))
        models = [model for model in self.models if model.name in names]
        ids = {model.id for model in models}
        return Plan(models, [test for test in self.tests if ids.issuperset(test.needs)])

    def names(self, select: Sequence[str]) -> list[str]:
        """The models that a selection means: layers and names; whatever else dbt understands, dbt is asked."""
        known = {*LAYERS, *(model.name for model in self.models)}
        if known.issuperset(select):
            return [model.name for model in self.models if {model.name, model.layer} & set(select)]
        from steps import project  # takes a second

        return project.selected(select)


def of(variables: Mapping[str, Any], conninfo: str) -> Plan:
    """The plan under these mappings and rules; it is worked out if nobody needed it before."""
    rules = hashlib.sha256(orjson.dumps(variables, option=orjson.OPT_SORT_KEYS)).hexdigest()
    file = _folder() / f"{fingerprint()}-{rules[:16]}.json"
    try:
        content = orjson.loads(file.read_bytes())
    except FileNotFoundError:
        from steps import project  # takes a second

        made = project.work_out(variables, conninfo)
        _keep(file, made)
        return made
    return Plan([Model(**each) for each in content["models"]], [DataTest(**each) for each in content["tests"]])


def forget_outdated() -> None:
    for file in _folder().glob("*.json"):
        if not file.name.startswith(fingerprint()):
            file.unlink(missing_ok=True)


def project_folder() -> Path:
    return project_root() / "dbt"


def fingerprint() -> str:
    """Of the dbt project, of dbt, and of how plans are kept: what was made from others must not be used."""
    code = digest("models", "macros", "seeds", "tests", "dbt_project.yml")
    return hashlib.sha256(f"{version('dbt-core')} {code}".encode() + Path(__file__).read_bytes()).hexdigest()[:16]


def digest(*parts: str) -> str:
    """Of folders and files of the project."""
    read = hashlib.sha256()
    for part in parts:
        for file in sorted([project_folder() / part, *(project_folder() / part).rglob("*")]):
            if file.is_file():
                read.update(f"{file.relative_to(project_folder())}\0".encode() + file.read_bytes())
    return read.hexdigest()[:16]


def _folder() -> Path:
    folder = home() / "dbt" / "plans"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _keep(file: Path, made: Plan) -> None:
    draft = file.with_suffix(f".{os.getpid()}.draft")
    draft.write_bytes(orjson.dumps(made))
    draft.replace(file)
