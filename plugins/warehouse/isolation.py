"""The isolation walk: every relation, foreign key, view, function and role in the database, looked at and tried.

It reads the catalogue rather than a list of ours, so a table that somebody adds next year without a policy is found.
What it finds wrong is a sentence each; finding nothing is the proof. Everything that it tries is rolled back.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import psycopg
from psycopg import sql

from warehouse import database, roles
from warehouse.database import OWNER, RECEIVER, REGISTRAR, REGISTRY, Login
from warehouse.home import project_root

TENANT_TEST = "(tenant_id = ( SELECT control.session_tenant() AS session_tenant))"
TENANT_GROUPS = roles.GROUPS
# what dbt knows of the world, the same for all: whoever may read staging reads it, and a deploy alone writes it
SHARED = {f"staging.{file.stem}" for file in (project_root() / "dbt" / "seeds").glob("*.csv")}
# the only relations without a tenant; no tenant's login has rights on them, but for reading what is shared
WITHOUT_TENANT = {"control.alembic_version", "control.clerk_events", *SHARED}
# functions that run with their owner's rights: a tenant's login may call or cause to run them, or the receiver's may
DEFINER_FUNCTIONS = {
    "control.session_tenant()",
    "control.audit_chain()",
    "control.audit_faults(text)",
    "control.analyze_if_grown(regclass)",
    "control.webhook_endpoint(text)",
    "control.accept_webhook(text,text,text)",
    "control.hold_tenant()",
    "control.remove_raw()",
}
# policies that are not about session_tenant(), and the roles that they may name
PLATFORM_ROLES = {OWNER, REGISTRY, REGISTRAR, RECEIVER, roles.AUDITOR}
ACTIONS = ("select", "insert", "update", "delete")


@dataclass(frozen=True)
class Relation:
    name: str
    kind: str
    tenant_column: str | None

    @property
    def identifier(self) -> sql.Identifier:
        schema, _, table = self.name.partition(".")
        return sql.Identifier(schema, table)


@dataclass(frozen=True)
class Walk:
    tried: int
    findings: tuple[str, ...]


def walk(logins: dict[str, Login], own_tenant: str, other_tenant: str) -> Walk:
    """Look at everything, then try everything: each of `logins` (all of `own_tenant`) on each relation.

    `other_tenant` should have rows: what does not exist can't be seen either.
    """
    with database.connect(database.admin_conninfo(), application="isolation walk") as admin:
        relations = _relations(admin)
        findings = [*_structure(admin, relations), *_foreign_keys(admin), *_functions(admin), *_roles(admin)]
        admin.rollback()
    tried = 0
    for kind, login in logins.items():
        with database.connect(database.conninfo(login), application="isolation walk") as connection:
            for relation in relations:
                for action in ACTIONS:
                    tried += 1
                    gain = _gain(connection, relation, action, own_tenant, other_tenant)
                    connection.rollback()
                    if gain:
                        findings.append(f"{kind} login, {action} on {relation.name}: {gain}")
    return Walk(tried, tuple(findings))


def _relations(admin: psycopg.Connection) -> list[Relation]:
    rows = admin.execute(
        """
        select
            format('%%s.%%s', n.nspname, c.relname), c.relkind::text,
            case
                when n.nspname = 'control' and c.relname = 'tenants' then 'id'
                else (
                    select a.attname::text from pg_attribute as a
                    where a.attrelid = c.oid and a.attname = 'tenant_id' and not a.attisdropped
                )
            end
        from pg_class as c
        join pg_namespace as n on n.oid = c.relnamespace
        where c.relkind in ('r', 'p', 'v', 'm', 'f')
            and n.nspname not in ('pg_catalog', 'information_schema') and n.nspname !~ '^pg_(toast|temp)'
        order by 1
        """,
        [],
    ).fetchall()
    return [Relation(*row) for row in rows]


def _structure(admin: psycopg.Connection, relations: list[Relation]) -> Iterator[str]:
    for relation in relations:
        if relation.kind in ("m", "f"):
            yield f"{relation.name} is a materialised view or foreign table: policies can't protect it"
        elif relation.kind == "v":
            invoker = admin.execute(
                "select 'security_invoker=true' = any(reloptions) from pg_class where oid = %s::regclass",
                [relation.name],
            ).fetchone()
            if invoker != (True,):
                yield f"view {relation.name} reads with its owner's rights: it needs security_invoker"
        elif relation.tenant_column is None:
            if relation.name not in WITHOUT_TENANT:
                yield f"{relation.name} has no tenant_id"
        else:
            yield from _table(admin, relation)


def _table(admin: psycopg.Connection, relation: Relation) -> Iterator[str]:
    state = admin.execute(
        "select relrowsecurity, relforcerowsecurity, pg_get_userbyid(relowner) from pg_class where oid = %s::regclass",
        [relation.name],
    ).fetchone()
    assert state is not None
    enabled, forced, owner = state
    if not enabled:
        yield f"{relation.name} has no row-level security"
    if not forced:
        yield f"{relation.name} does not FORCE row-level security: its owner sees all tenants"
    if owner not in (OWNER, roles.AUDITOR):
        yield f"{relation.name} is owned by {owner}"
    expected = TENANT_TEST.replace("tenant_id", relation.tenant_column or "")
    policies = admin.execute(
        "select p.polname::text, p.polpermissive, pg_get_expr(p.polqual, p.polrelid),"
        " pg_get_expr(p.polwithcheck, p.polrelid),"
        " array(select pg_get_userbyid(r)::text from unnest(p.polroles) as r) from pg_policy as p"
        " where p.polrelid = %s::regclass",
        [relation.name],
    ).fetchall()
    for name, permissive, using, check, grantees in policies:
        if set(grantees) <= PLATFORM_ROLES:
            continue
        if not permissive:
            continue
        if not set(grantees) <= set(TENANT_GROUPS):
            yield f"policy {name} on {relation.name} is for {', '.join(grantees)}"
        if using != expected or check not in (None, expected):
            yield f"policy {name} on {relation.name} does not go by the session's tenant alone: {using} / {check}"
    readers = admin.execute(
        "select g from unnest(%s::text[]) as g where has_table_privilege(g, %s, 'select')",
        [list(TENANT_GROUPS), relation.name],
    ).fetchall()
    covered = {grantee for _, permissive, _, _, grantees in policies if permissive for grantee in grantees}
    for (reader,) in readers:
        if reader not in covered:
            yield f"{reader} may read {relation.name}, but no policy says which rows are its own"


def _foreign_keys(admin: psycopg.Connection) -> Iterator[str]:
    """PostgreSQL checks foreign keys past the policies: one without the tenant in it can point across tenants."""
    rows = admin.execute(
        """
        select k.conname::text, k.conrelid::regclass::text, k.confrelid::regclass::text
        from pg_constraint as k
        where k.contype = 'f'
            and exists (select from pg_attribute where attrelid = k.conrelid and attname = 'tenant_id')
            and exists (select from pg_attribute where attrelid = k.confrelid and attname = 'tenant_id')
            and not exists (
                select from unnest(k.conkey, k.confkey) as pair (here, there)
                join pg_attribute as h on h.attrelid = k.conrelid and h.attnum = pair.here and h.attname = 'tenant_id'
                join pg_attribute as t on t.attrelid = k.confrelid and t.attnum = pair.there and t.attname = 'tenant_id'
            )
        """
    ).fetchall()
    for name, here, there in rows:
        yield f"foreign key {name} from {here} to {there} does not carry the tenant"
    missing = admin.execute(
        """
        select c.oid::regclass::text
        from pg_class as c
        join pg_attribute as a on a.attrelid = c.oid and a.attname = 'tenant_id'
        join pg_namespace as n on n.oid = c.relnamespace
        where c.relkind in ('r', 'p') and n.nspname in ('control', 'canonical', 'scores', 'quality')
            and c.oid <> all (array['control.audit_log'::regclass, 'control.audit_heads'::regclass])
            and not exists (
                select from pg_constraint as k
                where k.conrelid = c.oid and k.contype = 'f' and k.confrelid = 'control.tenants'::regclass
            )
        """
    ).fetchall()
    for (name,) in missing:
        yield f"{name} does not go with its tenant: no foreign key to control.tenants"
    # raw has triggers for it: one that holds the tenant while rows come in, one that takes them along
    untied = admin.execute(
        """
        select c.oid::regclass::text
        from pg_class as c
        where c.relkind in ('r', 'p') and c.relnamespace = 'raw'::regnamespace
            and not exists (
                select from pg_trigger as t
                where t.tgrelid = c.oid and t.tgfoid = 'control.hold_tenant()'::regprocedure and t.tgenabled = 'O'
                    and pg_get_triggerdef(t.oid) like '% BEFORE INSERT ON % FOR EACH STATEMENT EXECUTE %'
            )
            or c.oid = 'control.tenants'::regclass
            and not exists (
                select from pg_trigger as t
                where t.tgrelid = c.oid and t.tgfoid = 'control.remove_raw()'::regprocedure and t.tgenabled = 'O'
                    and pg_get_triggerdef(t.oid) like '% AFTER DELETE ON % FOR EACH ROW EXECUTE %'
            )
        """
    ).fetchall()
    for (name,) in untied:
        yield f"{name} has lost the trigger that ties raw rows to their tenant"
    references = admin.execute(
        """
        select c.oid::regclass::text, a.attname::text
        from pg_class as c
        join pg_namespace as n on n.oid = c.relnamespace
        join pg_attribute as a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
        where c.relkind in ('r', 'p') and n.nspname in ('control', 'canonical', 'scores')
            and a.attname in ('account_id', 'opportunity_id', 'activity_id', 'buying_group_id', 'connector_id',
                'person_id')
            and c.oid <> 'canonical.touched_person_days'::regclass
            -- candidates live from one task to the next; what is published of them has the keys
            and c.relpersistence = 'p'
            and not exists (
                select from pg_constraint as k
                where k.conrelid = c.oid and k.contype = 'f' and a.attnum = any (k.conkey) and cardinality(k.conkey) = 2
            )
        """
    ).fetchall()
    for table, column in references:
        yield f"{table}.{column} is not held by a foreign key with the tenant in it"


def _functions(admin: psycopg.Connection) -> Iterator[str]:
    rows = admin.execute(
        """
        select
            p.oid::regprocedure::text, p.prosecdef, coalesce(array_to_string(p.proconfig, ','), ''),
            has_function_privilege('public', p.oid, 'execute')
        from pg_proc as p
        join pg_namespace as n on n.oid = p.pronamespace
        where n.nspname not in ('pg_catalog', 'information_schema') and n.nspname !~ '^pg_(toast|temp)'
            and not exists (select from pg_depend as d where d.objid = p.oid and d.deptype = 'e')
        """
    ).fetchall()
    for name, definer, config, public in rows:
        if definer and name not in DEFINER_FUNCTIONS:
            yield f"function {name} runs with its owner's rights and is not one of the few that may"
        if definer and "search_path=pg_catalog, pg_temp" not in config:
            yield f"function {name} runs with its owner's rights and does not pin its search_path"
        if public:
            yield f"function {name} can be called by everybody"


def _roles(admin: psycopg.Connection) -> Iterator[str]:
    rows = admin.execute(
        """
        select r.rolname::text, r.rolsuper, r.rolbypassrls, r.rolcreaterole, r.rolcreatedb, r.rolreplication
        from pg_roles as r
        where r.rolname = any(%s) or exists (
            select from pg_auth_members as m where m.member = r.oid and m.roleid = any(
                select oid from pg_roles where rolname = any(%s)))
        """,
        [[*TENANT_GROUPS, *PLATFORM_ROLES], list(TENANT_GROUPS)],
    ).fetchall()
    # whoever makes roles is their member without inheriting from them, and is nobody's login but the operator's
    administrator = admin.info.user
    for name, superuser, bypass, create_role, create_db, replication in rows:
        if name == administrator:
            continue
        if superuser or bypass or create_db or replication or (create_role and name != REGISTRAR):
            yield f"role {name} has an attribute that lets it past the policies"
    members = admin.execute(
        """
        select pg_get_userbyid(m.member)::text, pg_get_userbyid(m.roleid)::text
        from pg_auth_members as m
        join pg_roles as member on member.oid = m.member
        where m.set_option and not member.rolsuper
            and (pg_get_userbyid(m.roleid)::text = any(%s) or pg_get_userbyid(m.member) ~ '^[rcb]_')
        """,
        [[*TENANT_GROUPS, roles.AUDITOR]],
    ).fetchall()
    for member, role in members:
        if member != administrator:
            yield f"{member} can become {role}"
    outside = admin.execute(
        "select n.nspname::text from pg_namespace as n where n.nspname = any(%s)"
        " and has_schema_privilege(%s, n.oid, 'usage') and n.nspname <> 'marts'",
        [[*roles.SCHEMAS, "public"], roles.BI],
    ).fetchall()
    for (schema,) in outside:
        yield f"{roles.BI} may use schema {schema}"
    creators = admin.execute(
        "select g, n.nspname::text from unnest(%s::text[]) as g, pg_namespace as n"
        " where n.nspname = any(%s) and has_schema_privilege(g, n.oid, 'create')",
        [[*TENANT_GROUPS, REGISTRY, REGISTRAR, RECEIVER], [*roles.SCHEMAS, "public"]],
    ).fetchall()
    for role, schema in creators:
        yield f"{role} may create in schema {schema}"


def _gain(
    connection: psycopg.Connection, relation: Relation, action: str, own_tenant: str, other_tenant: str
) -> str | None:
    """What the login of one tenant gets of another's by this action; None is the only right answer."""
    table = relation.identifier
    column = sql.Identifier(relation.tenant_column or "tenant_id")
    if relation.tenant_column is None:
        # no tenant, so no rows of anybody's: nothing at all may be possible, but for reading what is the same for all
        if relation.name in SHARED and action == "select":
            return None
        statement: sql.Composed = {
            "select": sql.SQL("select count(*) from {}"),
            "insert": sql.SQL("insert into {} default values"),
            "update": sql.SQL("with t as (select 1) delete from {} where false"),
            "delete": sql.SQL("delete from {}"),
        }[action].format(table)
        return "it is allowed" if _attempt(connection, statement, []) is not None else None
    if action == "select":
        seen = _attempt(
            connection, sql.SQL("select from {} where {} is distinct from %s").format(table, column), [own_tenant]
        )
        return f"sees {seen} rows that are not its own" if seen else None
    if action == "insert":
        # policies are checked before any other constraint: reaching one of those means that the policy let it pass
        statement = sql.SQL("insert into {} ({}) values (%s)").format(table, column)
        return (
            "puts in a row for another tenant" if _attempt(connection, statement, [other_tenant]) is not None else None
        )
    if action == "update":
        changed = _attempt(
            connection,
            sql.SQL("update {} set {} = {} where {} is distinct from %s").format(table, column, column, column),
            [own_tenant],
        )
        if changed:
            return f"changes {changed} rows that are not its own"
        connection.rollback()
        moved = _attempt(connection, sql.SQL("update {} set {} = %s").format(table, column), [other_tenant])
        return f"moves {moved} rows to another tenant" if moved else None
    removed = _attempt(
        connection, sql.SQL("delete from {} where {} is distinct from %s").format(table, column), [own_tenant]
    )
    return f"removes {removed} rows that are not its own" if removed else None


def _attempt(connection: psycopg.Connection, statement: sql.Composed, parameters: list[str]) -> int | None:
    """Rows that the statement reached; None where the database refused for want of a right."""
    try:
        return connection.execute(statement, parameters).rowcount
    except psycopg.errors.InsufficientPrivilege:
        return None
    except psycopg.errors.ObjectNotInPrerequisiteState:
        # a view that can't be written to: no right was needed to find that out, and nothing was gained
        return None
    except psycopg.errors.IntegrityError:
        return 1
