"""What the gate before publication expected of a tenant's runs, and what it found: for people and for pages."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import psycopg
from psycopg.rows import class_row

from control import access
from warehouse import database
from warehouse.home import home

_COLUMNS = (
    "run_id, suite, expectation, observed, lower_bound, upper_bound, verdict, since, sentence, remedy, accepted_by,"
    " accepted_because, checked_at"
)
_RUNS = """
select
    run_id, max(checked_at) as checked_at, count(*) as checked,
    count(*) filter (where verdict = 'breach') as breaches,
    count(*) filter (where verdict = 'warning') as warnings,
    count(*) filter (where verdict = 'accepted') as accepted
from quality.expectation_results
where tenant_id = %(tenant)s
group by run_id
having count(*) filter (where verdict = 'breach') > 0 or not %(only_breaches)s
order by max(checked_at) desc, run_id asc
limit %(limit)s
"""


@dataclass(frozen=True)
class Told:
    """One expectation in one run."""

    run_id: str
    suite: str
    expectation: str
    observed: float
    lower_bound: float | None
    upper_bound: float | None
    verdict: str
    since: datetime | None
    sentence: str
    remedy: str
    accepted_by: str | None
    accepted_because: str | None
    checked_at: datetime


@dataclass(frozen=True)
class Run:
    run_id: str
    checked_at: datetime
    checked: int
    breaches: int
    warnings: int
    accepted: int

    @property
    def told(self) -> str:
        if self.breaches:
            return f"held back: {self.breaches} of {self.checked} expectations not met"
        others = [f"{self.warnings} warnings"] * (self.warnings > 0) + [f"{self.accepted} accepted"] * (
            self.accepted > 0
        )
        return ", ".join([f"passed, {self.checked} expectations", *others])


def pages() -> Path:
    """Where the pages are that were made on this machine; on any other `clarity quality TENANT --pages` makes them."""
    return home() / "quality"


def pages_of(slug: str) -> Path:
    """Where the pages of a tenant's runs are."""
    return pages() / slug


def forget_pages(slug: str) -> None:
    """A tenant that is gone leaves none to whoever bears its name next."""
    if pages_of(slug).is_dir():
        shutil.rmtree(pages_of(slug))


def latest(tenant_id: str, *, actor: str, run_id: str | None = None) -> Sequence[Told]:
    """Each expectation when it was last looked at, those not met first; or all of one run."""
    access.require(tenant_id, actor, "quality.show")
    with database.control_session(tenant_id) as connection:
        if run_id is not None:
            return of_run(connection, tenant_id, run_id)
        return _asked(
            connection,
            f"select * from (select distinct on (expectation) {_COLUMNS} from quality.expectation_results"  # noqa: S608
            " where tenant_id = %(tenant)s order by expectation asc, checked_at desc) as last_looked_at"
            " order by since is null, expectation",
            tenant_id,
        )


def of_run(connection: psycopg.Connection, tenant_id: str, run_id: str) -> Sequence[Told]:
    return _asked(
        connection,
        f"select {_COLUMNS} from quality.expectation_results"  # noqa: S608 - our own columns
        " where tenant_id = %(tenant)s and run_id = %(run)s order by since is null, expectation",
        tenant_id,
        run_id,
    )


def runs(connection: psycopg.Connection, tenant_id: str, *, limit: int, only_breaches: bool = False) -> Sequence[Run]:
    """The runs that the gate has judged, newest first."""
    with connection.cursor(row_factory=class_row(Run)) as cursor:
        return cursor.execute(_RUNS, {"tenant": tenant_id, "limit": limit, "only_breaches": only_breaches}).fetchall()


def _asked(connection: psycopg.Connection, query: str, tenant_id: str, run_id: str = "") -> Sequence[Told]:
    with connection.cursor(row_factory=class_row(Told)) as cursor:
        return cursor.execute(query.encode(), {"tenant": tenant_id, "run": run_id}).fetchall()
