"""Every table that holds rows of tenants, as the catalogue knows them: one that is added later is found too."""

from graphlib import TopologicalSorter

import psycopg
from psycopg import sql

from warehouse.roles import SCHEMAS

# logins are made anew with their tenant, a lease is this moment's, and the heads of the trail go with the trail
MADE_ANEW = ("control.logins", "control.run_leases", "control.audit_heads")
# triggers on other tables fill these
FILLED_BY_TRIGGERS = (
    "canonical.touched_entities",
    "canonical.moved_entities",
    "canonical.touched_attributes",
    "canonical.touched_person_days",
    "canonical.touched_days",
    "scores.unscored",
)


def of_tenants(connection: psycopg.Connection) -> list[str]:
    """Each after the tables that it refers to, and what triggers fill last of all. Without what is MADE_ANEW."""
    rows = connection.execute(
        """
        select
            format('%%s.%%s', n.nspname, c.relname),
            array(
                select format('%%s.%%s', fn.nspname, f.relname)
                from pg_constraint as k
                join pg_class as f on f.oid = k.confrelid
                join pg_namespace as fn on fn.oid = f.relnamespace
                where k.conrelid = c.oid and k.contype = 'f' and k.confrelid <> c.oid
            )
        from pg_class as c
        join pg_namespace as n on n.oid = c.relnamespace
        join pg_attribute as a on a.attrelid = c.oid and a.attname = 'tenant_id' and not a.attisdropped
        where c.relkind in ('r', 'p') and n.nspname = any(%s)
        order by 1
        """,
        [list(SCHEMAS)],
    ).fetchall()
    references = {str(name): set(parents) for name, parents in rows if name not in MADE_ANEW}
    graph = {name: parents & references.keys() for name, parents in references.items()}
    order = [name for name in TopologicalSorter(graph).static_order() if name not in FILLED_BY_TRIGGERS]
    return [*order, *FILLED_BY_TRIGGERS]


def columns(connection: psycopg.Connection, table: str) -> list[str]:
    """Those that hold values of their own, in their order."""
    rows = connection.execute(
        "select attname::text from pg_attribute where attrelid = %s::regclass and attnum > 0 and not attisdropped"
        " and attgenerated = '' order by attnum",
        [table],
    ).fetchall()
    return [str(row[0]) for row in rows]


def identifier(name: str) -> sql.Identifier:
    schema, _, table = name.partition(".")
    return sql.Identifier(schema, table)


def landed_for(connection: psycopg.Connection, entity: str) -> list[str]:
    """The landing tables whose records become people, activities, ...: what that model reads, as the database knows."""
    rows = connection.execute(
        """
        with recursive beneath as (
            select to_regclass('staging.int_' || %s || '__unioned')::oid as relation
            union
            select d.refobjid
            from beneath
            join pg_rewrite as r on r.ev_class = beneath.relation
            join pg_depend as d on d.objid = r.oid and d.classid = 'pg_rewrite'::regclass
            where d.refclassid = 'pg_class'::regclass
        )
        select c.relname::text
        from beneath
        join pg_class as c on c.oid = beneath.relation
        where c.relnamespace = 'raw'::regnamespace
        order by 1
        """,
        [entity],
    ).fetchall()
    return [name for (name,) in rows]
