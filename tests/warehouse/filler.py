"""A row for every table and tenant, made from the catalogue: what does not exist can't be seen by anybody."""

import psycopg
from psycopg import sql

VALUES = {
    "text": "'filler'",
    "name": "'filler'",
    "jsonb": "'{}'::jsonb",
    "bytea": "''::bytea",
    "boolean": "false",
    "date": "current_date",
    "date[]": "array[current_date]",
    "timestamp with time zone": "now()",
    "text[]": "'{}'",
    "bigint": "1",
    "integer": "1",
    "numeric": "1",
    "double precision": "1",
}


def fill(admin: psycopg.Connection, tenant_ids: list[str]) -> None:
    """One row per tenant in every table of ours that has a tenant_id. Only the tenants in it are real."""
    # triggers are off as well, foreign keys among them; that is the administrator's privilege
    admin.execute("set session_replication_role = replica")
    tables = admin.execute(
        "select n.nspname::text, c.relname::text from pg_class as c join pg_namespace as n on n.oid = c.relnamespace"
        " join pg_attribute as a on a.attrelid = c.oid and a.attname = 'tenant_id'"
        " where c.relkind in ('r', 'p') and n.nspname !~ '^(pg_|information_schema)'"
    ).fetchall()
    for schema, table in tables:
        columns = admin.execute(
            "select a.attname::text, format_type(a.atttypid, a.atttypmod), a.attnotnull,"
            " exists (select from pg_index as i where i.indrelid = a.attrelid and i.indisunique"
            " and a.attnum = any (i.indkey::int[])),"
            # a column that allows certain words only gets the first of them
            " (select substring(pg_get_constraintdef(k.oid) from '''(.*?)''')"
            " from pg_constraint as k where k.conrelid = a.attrelid and k.contype = 'c' and k.conkey = array[a.attnum])"
            " from pg_attribute as a where a.attrelid = format('%%I.%%I', %s::text, %s::text)::regclass"
            " and a.attnum > 0 and not a.attisdropped and a.attname <> 'tenant_id'",
            [schema, table],
        ).fetchall()
        wanted = [(name, type_, keyed, word) for name, type_, not_null, keyed, word in columns if not_null or keyed]
        for tenant_id in tenant_ids:
            values = [
                sql.Literal(word)
                if word
                else sql.Literal(f"filler-{tenant_id}")
                if keyed and type_ in ("text", "name")
                else sql.SQL(VALUES[type_])
                for _name, type_, keyed, word in wanted
            ]
            admin.execute(
                sql.SQL("insert into {} ({}) values ({}) on conflict do nothing").format(
                    sql.Identifier(schema, table),
                    sql.SQL(", ").join(map(sql.Identifier, ["tenant_id", *(name for name, *_ in wanted)])),
                    sql.SQL(", ").join([sql.Literal(tenant_id), *values]),
                )
            )
    admin.execute("set session_replication_role = origin")
