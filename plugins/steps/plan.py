"""Plans: what a tenant's run says to the database, as dbt worked it out.

dbt takes a tenth of a second of processor for each model, whatever the model does, and it would take it again for each
tenant in each run, to arrive at the same statements. So they are written down once (dbt/macros/plan.sql), per project
and per mappings and rules, which most tenants share; a run carries them out, and does not even import dbt.
"""

import hashlib
import os
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import orjson

from warehouse.errors import ClarityError
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


@dataclass(frozen=True)
class Deployment:
    """What runs go by: the project as it was deployed, whatever has been edited since."""

    fingerprint: str
    # of the macros and seeds: models carry a digest of their own in the manifest
    code: str
    form: str


def of(variables: Mapping[str, Any], conninfo: str) -> Plan:
    """The plan under these mappings and rules; it is worked out if nobody needed it before."""
    rules = hashlib.sha256(orjson.dumps(variables, option=orjson.OPT_SORT_KEYS)).hexdigest()
    file = folder() / f"plan-{deployed().fingerprint}-{rules[:16]}.json"
    try:
        content = orjson.loads(file.read_bytes())
    except FileNotFoundError:
        from steps import project  # takes a second

        made = project.work_out(variables, conninfo)
        keep(file, orjson.dumps(made))
        return made
    return Plan([Model(**each) for each in content["models"]], [DataTest(**each) for each in content["tests"]])


def deployed() -> Deployment:
    try:
        there = Deployment(**orjson.loads((folder() / "deployed.json").read_bytes()))
    except (FileNotFoundError, TypeError):
        there = None
    if there is None or there.form != _form():
        raise ClarityError("dbt has not been deployed to this machine by this code: run `clarity migrate`")
    return there


def is_deployed() -> bool:
    """Whether what was deployed from this machine is the project as it is now."""
    try:
        return deployed() == as_it_is()
    except ClarityError:
        return False


def switch_to(new: Deployment) -> None:
    """From here on runs go by this deployment. What the one before left stays, for runs that have just begun."""
    try:
        kept = {new.fingerprint, deployed().fingerprint}
    except ClarityError:
        kept = {new.fingerprint}
    keep(folder() / "deployed.json", orjson.dumps(new))
    for file in (*folder().glob("plan-*"), *folder().glob("manifest-*")):
        if file.stem.split("-")[1] not in kept:
            file.unlink(missing_ok=True)


def project_folder() -> Path:
    return project_root() / "dbt"


def as_it_is() -> Deployment:
    """The project in the working tree, as it would be deployed."""
    code = _digest("models", "macros", "seeds", "tests", "dbt_project.yml")
    whole = hashlib.sha256(f"{version('dbt-core')} {code} {_form()}".encode()).hexdigest()
    return Deployment(whole[:16], _digest("macros", "seeds"), _form())


def folder() -> Path:
    there = home() / "dbt"
    there.mkdir(parents=True, exist_ok=True)
    return there


def keep(file: Path, content: bytes) -> None:
    """Whoever reads it sees all of it or nothing."""
    draft = file.with_name(f"draft-{os.getpid()}-{threading.get_ident()}")
    draft.write_bytes(content)
    draft.replace(file)


def _form() -> str:
    """Of how plans are kept, which is what this file says."""
    return hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:16]


def _digest(*parts: str) -> str:
    """Of folders and files of the project."""
    read = hashlib.sha256()
    for part in parts:
        for file in sorted([project_folder() / part, *(project_folder() / part).rglob("*")]):
            if file.is_file():
                read.update(f"{file.relative_to(project_folder())}\0".encode() + file.read_bytes())
    return read.hexdigest()[:16]
