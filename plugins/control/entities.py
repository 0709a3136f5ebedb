"""Finding what people mean when they name an account, a person or an opportunity: ours by any name it goes by."""

from dataclasses import dataclass
from typing import LiteralString

import psycopg

from control.content import shown
from warehouse.errors import MisuseError

# An id of the source stands behind its name: files:42, of the CRM bare.
_FIND: dict[str, LiteralString] = {
    "account": (
        "select id, name from canonical.accounts where tenant_id = %(tenant)s and deleted_at is null"
        " and external_id is distinct from '_none'"
        " and (id = %(named)s or %(named)s in (external_id, substr(external_id, strpos(external_id, ':') + 1))"
        " or lower(domain) = lower(%(named)s))"
    ),
    "person": (
        "select id, coalesce(nullif(concat_ws(' ', first_name, last_name), ''), email, external_id)"
        " from canonical.people where tenant_id = %(tenant)s and deleted_at is null"
        " and (id = %(named)s or %(named)s in (external_id, substr(external_id, strpos(external_id, ':') + 1))"
        " or lower(email) = lower(%(named)s))"
    ),
    "opportunity": (
        "select id, name from canonical.opportunities where tenant_id = %(tenant)s and deleted_at is null"
        " and (id = %(named)s or %(named)s in (external_id, substr(external_id, strpos(external_id, ':') + 1)))"
    ),
}
_WORDS = {
    "account": "our id, the source's id or the domain",
    "person": "our id, the source's id or the e-mail address",
    "opportunity": "our id or the source's id",
}


@dataclass(frozen=True)
class Entity:
    kind: str
    id: str
    name: str


def find(connection: psycopg.Connection, tenant_id: str, kind: str, named: str) -> Entity:
    """The one that is meant. MisuseError if there is none, or more than one."""
    if kind not in _FIND:
        raise MisuseError(f"there is no kind of thing {shown(kind)}; there are {', '.join(_FIND)}")
    rows = connection.execute(_FIND[kind], {"tenant": tenant_id, "named": named}).fetchall()
    if not rows:
        raise MisuseError(f"there is no {kind} {shown(named)} here: write {_WORDS[kind]}")
    if len(rows) > 1:
        raise MisuseError(
            f"more than one {kind} is called {shown(named)}: write our id, {', '.join(r[0] for r in rows)}"
        )
    return Entity(kind, *rows[0])


def names_of_people(connection: psycopg.Connection, tenant_id: str, ids: list[str]) -> dict[str, str]:
    """How people are called, by id."""
    rows = connection.execute(
        "select id, concat_ws(', ', coalesce(nullif(concat_ws(' ', first_name, last_name), ''), email, external_id),"
        " title) from canonical.people where tenant_id = %s and id = any(%s)",
        [tenant_id, ids],
    ).fetchall()
    return dict(rows)
