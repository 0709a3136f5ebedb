"""Which tenants there are: one query, quick to fail, with the last known answer behind it.

Airflow asks at every parse. A database that is down must not make tenants' DAGs vanish, so the last good answer is
kept in CLARITY_HOME and used until the database answers again. It also says what Airflow was last told, of either kind
of DAG, and so when it is time for another parse (cli/parsing.py).
"""

import json
import logging
import os
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import LiteralString

import psycopg

from warehouse import database
from warehouse.errors import ClarityError, MisuseError
from warehouse.home import home

log = logging.getLogger(__name__)

TIMEOUT_SECONDS = 2

# Connectors in the order in which they came: a new one takes no other's place among the tasks of a run.
QUERY: LiteralString = """\
select t.id, t.slug, t.name, coalesce(t.settings ->> 'timezone', 'UTC'), t.paused_at is not null,
    to_char(t.created_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS+00:00'),
    coalesce(c.types, '{}')
from control.tenants as t
left join (
    select tenant_id, array_agg(type order by created_at, type) as types from control.connectors group by tenant_id
) as c on c.tenant_id = t.id
where t.slug = coalesce(%(slug)s, t.slug)
order by t.slug
"""


@dataclass(frozen=True)
class TenantEntry:
    id: str
    slug: str
    name: str
    timezone: str
    paused: bool
    created_at: str
    connectors: tuple[str, ...] = ()


def tenants(kind: str, slug: str | None = None) -> list[TenantEntry]:
    """For a parse of the DAGs of this kind: all tenants by slug, or the one named; the last known ones, with a warning
    in the log, when the database does not answer."""
    try:
        entries = _ask(slug)
    except (psycopg.Error, ClarityError) as error:
        known = last_parsed(kind)
        if known is None:
            raise
        log.warning("the registry does not answer, going on with the %d tenants known last: %s", len(known), error)
        return [entry for entry in known if slug in (None, entry.slug)]
    if slug is None:
        _remember(kind, entries)
    return entries


def last_parsed(kind: str) -> list[TenantEntry] | None:
    """All tenants as the last parse of these DAGs found them that had an answer; None before the first."""
    try:
        known = json.loads(_file(kind).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    return [TenantEntry(**{**entry, "connectors": tuple(entry.get("connectors", ()))}) for entry in known]


def everybody() -> list[TenantEntry]:
    """All tenants by slug, asked of the database itself."""
    return _ask()


def tenant(slug: str) -> TenantEntry:
    """The tenant with this slug, asked of the database itself."""
    # nobody is called what PostgreSQL can't even be asked for
    for entry in _ask(slug) if slug.isprintable() else ():
        return entry
    # the others' names are not for whoever mistyped: it may be a member of one
    raise MisuseError(f"there is no tenant {slug[:60]!r}: `clarity tenant list` shows those there are")


def _ask(slug: str | None = None) -> list[TenantEntry]:
    # whoever asks for one tenant asks again in a moment; whoever asks for all has come for that alone
    opened = database.connect if slug is None else database.session
    with opened(
        database.registry_conninfo(),
        application="registry",
        patience=TIMEOUT_SECONDS,
        statement_timeout=TIMEOUT_SECONDS,
    ) as connection:
        rows = connection.execute(QUERY, {"slug": slug}).fetchall()
    return [
        TenantEntry(key, known_as, name, timezone, paused, created_at, tuple(types))
        for key, known_as, name, timezone, paused, created_at, types in rows
    ]


def _file(kind: str) -> Path:
    return home() / f"registry-{kind}.json"


def _remember(kind: str, entries: list[TenantEntry]) -> None:
    content = json.dumps([asdict(entry) for entry in entries])
    file = _file(kind)
    if file.exists() and file.read_text(encoding="utf-8") == content:
        return
    # written aside and moved into place: many task processes read it while the dag-processor writes
    handle, name = tempfile.mkstemp(dir=home(), prefix="registry.")
    with os.fdopen(handle, "w", encoding="utf-8") as draft:
        draft.write(content)
    Path(name).replace(file)
