"""Private schemas: where models are tried on one tenant's rows before they are deployed.

The owner makes the schema and all that is in it, as it does everywhere; the tenant's run login may use it and nobody
else may. So nothing has to be excepted from the rules: a tenant's login still makes nothing and owns nothing.
"""

import re

import psycopg
from psycopg import sql

from warehouse import database

LONGEST_USER = 16


def name_for(user: str, slug: str) -> str:
    """The schema of this user and tenant. No user has an underscore in it, so no two pairs share a name."""
    return f"dev_{re.sub(r'[^a-z0-9]', '', user.lower())[:LONGEST_USER] or 'nobody'}_{slug}"


def make(schema: str, tenant_id: str) -> None:
    """Make it anew and empty."""
    with database.session(database.owner_conninfo(), application="private schema") as owner:
        _drop(owner, schema)
        owner.execute(sql.SQL("create schema {}").format(sql.Identifier(schema)))
        owner.execute(
            sql.SQL("grant usage on schema {} to {}").format(
                sql.Identifier(schema), sql.Identifier(database.run_login(tenant_id).name)
            )
        )


def of_tenant(tenant_id: str) -> list[str]:
    """The private schemas in which this tenant's rows may be."""
    with database.session(database.owner_conninfo(), application="private schema") as owner:
        return [
            str(schema)
            for (schema,) in owner.execute(
                "select n.nspname from pg_namespace as n, aclexplode(n.nspacl) as granted"
                " join pg_roles as r on r.oid = granted.grantee"
                r" where n.nspname like 'dev\_%%' and granted.privilege_type = 'USAGE' and r.rolname = %s order by 1",
                [database.run_login(tenant_id).name],
            ).fetchall()
        ]


def drop(*schemas: str) -> None:
    with database.session(database.owner_conninfo(), application="private schema") as owner:
        for schema in schemas:
            _drop(owner, schema)


def _drop(owner: psycopg.Connection, schema: str) -> None:
    owner.execute("set local client_min_messages = warning")
    owner.execute(sql.SQL("drop schema if exists {} cascade").format(sql.Identifier(schema)))
