"""Which tenants there are: one query, quick to fail, with the last known answer behind it.

Airflow asks at every parse. A database that is down must not make tenants' DAGs vanish, so the last good answer is
kept in CLARITY_HOME and used until the database answers again.
"""

import json
import logging
import os
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

import psycopg

from warehouse import database
from warehouse.errors import ClarityError, MisuseError
from warehouse.home import home

log = logging.getLogger(__name__)

TIMEOUT_SECONDS = 2


@dataclass(frozen=True)
class TenantEntry:
    id: str
    slug: str
    name: str
    timezone: str
    paused: bool
    created_at: str


def tenants() -> list[TenantEntry]:
    """All tenants by slug; the last known ones, with a warning in the log, when the database does not answer."""
    try:
        entries = _ask()
    except (psycopg.Error, ClarityError) as error:
        known = _last_good()
        if known is None:
            raise
        log.warning("the registry does not answer, going on with the %d tenants known last: %s", len(known), error)
        return known
    _remember(entries)
    return entries


def tenant(slug: str) -> TenantEntry:
    """The tenant with this slug, asked of the database itself."""
    entries = _ask()
    for entry in entries:
        if entry.slug == slug:
            return entry
    # the others' names are not for whoever mistyped: it may be a member of one
    raise MisuseError(f"there is no tenant {slug[:60]!r}: `clarity tenant list` shows those there are")


def _ask() -> list[TenantEntry]:
    with database.connect(
        database.registry_conninfo(),
        application="registry",
        patience=TIMEOUT_SECONDS,
        statement_timeout=TIMEOUT_SECONDS,
    ) as connection:
        rows = connection.execute(
            "select id, slug, name, coalesce(settings ->> 'timezone', 'UTC'), paused_at is not null,"
            " to_char(created_at at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS+00:00')"
            " from control.tenants order by slug"
        ).fetchall()
    return [TenantEntry(*row) for row in rows]


def _file() -> Path:
    return home() / "registry.json"


def _last_good() -> list[TenantEntry] | None:
    try:
        return [TenantEntry(**entry) for entry in json.loads(_file().read_text(encoding="utf-8"))]
    except FileNotFoundError:
        return None


def _remember(entries: list[TenantEntry]) -> None:
    content = json.dumps([asdict(entry) for entry in entries])
    if _file().exists() and _file().read_text(encoding="utf-8") == content:
        return
    # written aside and moved into place: many task processes read it while the dag-processor writes
    handle, name = tempfile.mkstemp(dir=home(), prefix="registry.")
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(content)
    Path(name).replace(_file())
