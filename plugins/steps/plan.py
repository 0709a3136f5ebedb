"""Plans: what a tenant's run says to the database, as dbt worked it out.

dbt takes a tenth of a second of processor for each model, whatever the model does, and it would take it again for each
tenant in each run, to arrive at the same statements. So they are written down once (dbt/macros/plan.sql), per project
and per mappings and rules, which most tenants share; a run carries them out, and does not even import dbt.
"""

import hashlib
import os
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import orjson
import psycopg

from warehouse.errors import ClarityError
from warehouse.home import home, project_root

LAYERS = ("canonical", "rollups", "marts")


@dataclass(frozen=True)
class Model:
    """One transaction, unless the answer to `only_if` is no. The last statement of `write` counts the rows."""

    id: str
    name: str
    needs: Sequence[str]
    layer: str
    only_if: str
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
    # what the database said of itself when this machine followed another one's deployment
    mark: str | None = field(default=None, compare=False)


def of(variables: Mapping[str, Any], conninfo: str) -> Plan:
    """The plan under these mappings and rules; it is worked out if nobody needed it before."""
    if there := kept(variables):
        return there
    from steps import project  # takes a second

    made = project.work_out(variables, conninfo)
    keep(_file(variables), orjson.dumps(made))
    return made


def kept(variables: Mapping[str, Any]) -> Plan | None:
    """The plan under these mappings and rules, if it is worked out already."""
    try:
        content = orjson.loads(_file(variables).read_bytes())
    except FileNotFoundError:
        return None
    return Plan([Model(**each) for each in content["models"]], [DataTest(**each) for each in content["tests"]])


def deployed() -> Deployment:
    """What this machine goes by. A machine that has nothing yet makes it: workers share no disk with who deployed."""
    if there := _kept():
        return there
    from steps import deploy  # takes a second

    deploy.follow()
    if there := _kept():
        return there
    raise ClarityError("what was deployed can't be kept on this machine: free its disk")


def keep_up(connection: psycopg.Connection) -> None:
    """Have a machine that followed a deployment follow the next one too; the machine that deploys is asked nothing."""
    there = _kept()
    if there and there.mark and there.mark != mark(connection):
        from steps import deploy  # takes a second

        deploy.follow()


def mark(connection: psycopg.Connection) -> str | None:
    """What was deployed to this database, as `clarity migrate` wrote it on the schema."""
    row = connection.execute("select obj_description(to_regnamespace('control'), 'pg_namespace')").fetchone()
    return str(row[0]).removeprefix("deployed ") if row and row[0] else None


def is_deployed() -> bool:
    """Whether what this machine goes by is the project as it is now."""
    return _kept() == as_it_is()


def is_followed(mark: str) -> bool:
    """The same, and for what the database says of itself; of what was deployed from here that is known."""
    there = _kept()
    return there is not None and there == as_it_is() and there.mark in (None, mark)


def switch_to(new: Deployment) -> None:
    """From here on runs go by this deployment. What the one before left stays, for runs that have just begun."""
    before = _kept()
    kept = {new.fingerprint, before.fingerprint if before else new.fingerprint}
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


def _file(variables: Mapping[str, Any]) -> Path:
    rules = hashlib.sha256(orjson.dumps(variables, option=orjson.OPT_SORT_KEYS)).hexdigest()
    return folder() / f"plan-{deployed().fingerprint}-{rules[:16]}.json"


def _kept() -> Deployment | None:
    """What this machine has, in the form that this code understands."""
    try:
        there = Deployment(**orjson.loads((folder() / "deployed.json").read_bytes()))
    except (FileNotFoundError, TypeError):
        return None
    return there if there.form == _form() else None


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
