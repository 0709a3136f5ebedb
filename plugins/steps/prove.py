"""`clarity prove`: a page for a security officer about one tenant. Every line on it was found out just now."""

import html
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, LiteralString

import psycopg
from psycopg import sql

from control import access, audit, bi_users, registry
from control.registry import TenantEntry
from warehouse import database, isolation, keys, roles
from warehouse.isolation import Walk

RECENT = 15

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1c2733; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
h1 { margin-bottom: 0 } h2 { margin-top: 2.2rem; border-bottom: 1px solid #d5dce4; font-size: 1.15rem }
p.about { color: #5a6b7b; margin: .3rem 0 .8rem } p.about + p.empty { margin-top: 0 }
table { border-collapse: collapse; width: 100% } td, th { text-align: left; padding: .3rem .8rem .3rem 0;
vertical-align: top; border-bottom: 1px solid #eef1f4 } th { color: #5a6b7b; font-weight: 600 }
.good { background: #e8f6ec; color: #14532d } .bad { background: #fdecea; color: #7f1d1d }
.verdict { padding: .8rem 1rem; border-radius: 6px; font-weight: 600 } code { font-size: .92em }
"""


def run(slug: str, *, actor: str) -> tuple[str, bool]:
    """The page as HTML, and whether all that it looked at is as it should be."""
    tenant = registry.tenant(slug)
    access.require(tenant.id, actor, "tenant.prove")
    walk = _walk(tenant, actor)
    with database.control_session(tenant.id) as connection:
        faults = [
            f"row {seq}: {fault}"
            for seq, fault in connection.execute("select * from control.audit_faults(%s)", [tenant.id]).fetchall()
        ]
        body = "".join(_sections(connection, tenant, walk, faults))
        audit.record(
            connection,
            tenant_id=tenant.id,
            actor=actor,
            action="tenant.prove",
            resource="tenant",
            resource_id=tenant.id,
            after={"tried": walk.tried, "findings": len(walk.findings), "audit_faults": len(faults)},
        )
    made_at = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    page = (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{_text(tenant.name)}: isolation and access</title>"
        f"<style>{STYLE}</style><h1>{_text(tenant.name)}</h1>"
        f"<p class=about>Isolation and access of tenant <code>{_text(slug)}</code>, computed {made_at}"
        f" by {_text(actor)}.</p>{body}</html>\n"
    )
    return page, not walk.findings and not faults


def _walk(tenant: TenantEntry, actor: str) -> Walk:
    """The isolation walk with every kind of login that this tenant has; the BI login is made for it and removed."""
    bi = bi_users.add(tenant.id, actor=actor)
    try:
        logins = {"run": database.run_login(tenant.id), "control": database.control_login(tenant.id), "BI": bi}
        others = [entry.id for entry in registry.everybody() if entry.id != tenant.id]
        # with no other tenant there is nobody to see, but rows for one must be refused all the same
        return isolation.walk(logins, tenant.id, others[0] if others else "another-tenant")
    finally:
        bi_users.revoke(tenant.id, bi.name, actor=actor)


def _sections(connection: psycopg.Connection, tenant: TenantEntry, walk: Walk, faults: Sequence[str]) -> Iterator[str]:
    parameters = {"groups": list(roles.GROUPS), "schemas": list(roles.SCHEMAS), "recent": RECENT}

    def rows(query: LiteralString) -> list[tuple[Any, ...]]:
        return connection.execute(query, parameters).fetchall()

    yield _verdict(
        not walk.findings,
        f"{walk.tried} attempts to see, add, change or remove another tenant's rows: none succeeded.",
        f"{len(walk.findings)} findings in {walk.tried} attempts.",
    )
    yield _section(
        "The isolation walk",
        "Every relation in the database was looked at (row-level security enabled and forced, a policy that goes by the"
        " login alone, foreign keys that carry the tenant, views, functions, roles) and then tried: each kind of"
        " this tenant's logins, each relation, select, insert, update and delete. All attempts were rolled back.",
        ("finding",),
        [(finding,) for finding in walk.findings],
        "nothing was found",
    )
    with database.registrar_session() as registrar:
        logins = registrar.execute(
            "select l.kind, l.login::text, l.member_id, l.created_at, r.rolconnlimit, r.rolsuper or r.rolbypassrls"
            " from control.logins as l join pg_roles as r on r.rolname = l.login where l.tenant_id = %s order by 1, 4",
            [tenant.id],
        ).fetchall()
    yield _section(
        "Logins",
        "A login belongs to this tenant and can't become another. Passwords of run and control logins are derived from"
        " the platform's key; those of BI logins are shown once and kept nowhere.",
        ("for", "login", "member", "since", "connections at most", "past the policies"),
        [(*login[:5], "yes" if login[5] else "no") for login in logins],
        "none",
    )
    yield _section(
        "Roles and grants",
        "What the logins may do, by the group that they inherit from, in relations per schema.",
        ("group", "schema", "read", "add", "change", "remove"),
        rows(_GRANTS),
        "no grants",
    )
    yield _section(
        "Keys",
        "Credentials are sealed with AES-256-GCM, bound to tenant and connector. The newest key seals what is written.",
        ("key", "newest", "connectors sealed with it", "oldest of these since"),
        _key_rows(rows(_SEALED)),
        "no key is in use",
    )
    yield _section(
        "Connectors",
        "What we are connected to, with the last access.",
        ("type", "status", "last sync", "reads", "rows held"),
        _connector_rows(connection, rows("select type, status, last_sync_at from control.connectors order by type")),
        "none",
    )
    yield _section(
        "Microsoft 365: consent",
        "Without an accepted agreement nothing is read; without a domain in the list nothing is kept.",
        ("accepted", "by", "domains allowed", "own domain"),
        rows(
            "select dpa_accepted_at, dpa_accepted_by_user_id,"
            " (select string_agg(d, ', ') from jsonb_array_elements_text(allowed_domains) as d), tenant_o365_domain"
            " from control.o365_config"
        ),
        "no agreement was ever accepted",
    )
    yield _section(
        "Members",
        "Who may act for this tenant, and as what.",
        ("user", "role", "since"),
        rows("select user_id, role, created_at from control.members order by role, user_id"),
        "nobody but the platform's operators",
    )
    yield _section(
        "Last accesses",
        "The end of the audit trail.",
        ("when", "who", "what", "resource"),
        rows("select created_at, user_id, action, resource from control.audit_log order by seq desc limit %(recent)s"),
        "none",
    )
    yield _verdict(not faults, "The audit trail is whole.", f"The audit trail is not whole: {'; '.join(faults)}")
    yield _section(
        "Retention",
        "What is held, and since when. Raw versions are kept until the person is erased or the tenant is deleted.",
        ("what", "rows", "oldest"),
        rows(_HELD),
        "nothing",
    )


_GRANTS = """
select
    g.name, n.nspname::text,
    count(*) filter (where has_table_privilege(g.name, c.oid, 'select')),
    count(*) filter (where has_table_privilege(g.name, c.oid, 'insert')),
    count(*) filter (where has_any_column_privilege(g.name, c.oid, 'update')),
    count(*) filter (where has_table_privilege(g.name, c.oid, 'delete'))
from unnest(%(groups)s::text[]) as g (name)
cross join pg_class as c
join pg_namespace as n on n.oid = c.relnamespace
where c.relkind in ('r', 'p', 'v') and n.nspname = any(%(schemas)s)
group by 1, 2
having count(*) filter (where has_any_column_privilege(g.name, c.oid, 'select')) > 0
order by 1, 2
"""

_SEALED = """
select split_part(sealed, '.', 2), count(*), min(updated_at)
from (
    select config ->> 'sealed' as sealed, updated_at from control.connectors where config ? 'sealed'
    union all
    select sealed, updated_at from control.alert_channels
) as envelopes
group by 1
"""

_HELD = """
select 'people', count(*), min(created_at) from canonical.people
union all select 'accounts', count(*), min(created_at) from canonical.accounts
union all select 'activities', count(*), min(occurred_at) from canonical.activities
union all select 'published scores', count(*), min(scored_at) from scores.engagements
union all select 'score history', count(*), min(published_at) from scores.score_history
union all select 'quarantined records', count(*), min(created_at) from quality.quarantine
"""


def _key_rows(sealed: Iterable[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    ring = [key.id for key in keys.keyring()]
    return [
        (key_id, "newest" if key_id == ring[0] else "older" if key_id in ring else "RETIRED", count, since)
        for key_id, count, since in sealed
    ]


def _connector_rows(connection: psycopg.Connection, connectors: Iterable[tuple[Any, ...]]) -> Iterator[tuple[Any, ...]]:
    for connector, status, last_sync in connectors:
        tables = connection.execute(
            "select relname::text from pg_class where relnamespace = 'raw'::regnamespace and relkind = 'r'"
            " and starts_with(relname, %s) order by 1",
            [f"{connector}__"],
        ).fetchall()
        held = 0
        for (table,) in tables:
            row = connection.execute(sql.SQL("select count(*) from {}").format(sql.Identifier("raw", table))).fetchone()
            held += int(row[0]) if row else 0
        streams = ", ".join(table.removeprefix(f"{connector}__") for (table,) in tables)
        yield connector, status, last_sync, streams, held


def _verdict(good: bool, yes: str, no: str) -> str:
    return f"<p class='verdict {'good' if good else 'bad'}'>{_text(yes if good else no)}</p>"


def _section(title: str, about: str, columns: Sequence[str], rows: Iterable[Sequence[Any]], empty: str) -> str:
    cells = "".join("<tr>" + "".join(f"<td>{_text(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    heads = "".join(f"<th>{_text(column)}</th>" for column in columns)
    table = f"<table><tr>{heads}</tr>{cells}</table>" if cells else f"<p class=empty>{_text(empty)}</p>"
    return f"<h2>{_text(title)}</h2><p class=about>{_text(about)}</p>{table}"


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, datetime):
        value = value.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")
    return html.escape(str(value))
