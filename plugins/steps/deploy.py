"""What `clarity migrate` does: the database's schema, a landing table per declared stream, dbt's empty relations."""

import hashlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from connectors import catalogue
from steps import plan, project
from warehouse import database, migrate
from warehouse.errors import ClarityError, NotNow
from warehouse.home import home, locked, nobody, project_root

Report = Callable[[str], None]

# Machines are given new code one after the other.
LOOK_AGAIN_AFTER = timedelta(seconds=30)


def run(report: Report) -> None:
    """Bring the database to where this code expects it."""
    raw_tables = [f"{connector}__{stream.name}" for connector, stream in catalogue.all_streams()]
    migrate.migrate(report, raw_tables, deploy=project.deploy)
    with database.connect(database.owner_conninfo(), autocommit=True) as owner:
        # a comment goes with the database through dump and restore, unlike a file of ours
        owner.execute(f"comment on schema control is 'deployed {fingerprint()}'".encode())


def vendors() -> tuple[str, ...]:
    """The types of connectors there are: each has a pool of its own in Airflow."""
    return catalogue.names()


def ensure(report: Report) -> None:
    """The same, unless it was done already for exactly this code and this machine has its manifest."""
    if _deployed() == fingerprint() and plan.is_deployed():
        report("the database is up to date")
    else:
        run(report)


def follow(report: Report = nobody) -> None:
    """Have on this machine what runs go by, where another one deployed: made again from the project, which is the same.

    Where it is not, nothing is made: plans of other models would write what nobody deployed.
    """
    with database.connect(database.registry_conninfo()) as registry:
        mark = plan.mark(registry)
    if mark is None:
        raise ClarityError("nothing has been deployed to this database: run `clarity migrate`")
    if mark != fingerprint():
        raise NotNow(
            "what was deployed to this database is not the code of this machine: start it with the code that was"
            " deployed, or run `clarity migrate` to deploy this",
            datetime.now(UTC) + LOOK_AGAIN_AFTER,
        )
    with locked(home() / "follow.lock", report):
        if not plan.is_followed(mark):
            report("making dbt's plans")
            project.follow(mark)


def fingerprint() -> str:
    """What was deployed, as one word: it changes with the migrations, the dbt project and the declared streams."""
    digest = hashlib.sha256()
    for file in _sources():
        digest.update(str(file.relative_to(project_root())).encode())
        digest.update(file.read_bytes())
    for connector, stream in catalogue.all_streams():
        digest.update(f"{connector}__{stream.name}".encode())
    return digest.hexdigest()[:16]


def _sources() -> Iterator[Path]:
    root = project_root()
    yield from sorted((root / "plugins" / "warehouse" / "migrations").rglob("*.sql"))
    yield from sorted(
        file
        for pattern in ("*.sql", "*.yml", "*.csv")
        for file in (root / "dbt").rglob(pattern)
        if not {"target", "logs"} & set(file.relative_to(root).parts)
    )


def _deployed() -> str | None:
    try:
        with database.connect(database.owner_conninfo(), newest_key_only=True) as owner:
            return plan.mark(owner)
    except ClarityError:
        # a database that does not know the owner, or knows it by an older key, has had no deployment by this platform
        return None
