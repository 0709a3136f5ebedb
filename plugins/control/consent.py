"""What a tenant allows us to read of its mailboxes, calendars and recordings; what it no longer allows is purged.

Nothing is read before somebody has accepted the data processing agreement, and of mail and calendar nothing but what
was exchanged with an allowed domain. An empty list allows nothing. A domain stands for itself, not for those below it.

What the connectors behind this consent have to keep to, so that a purge finds everything:

    o365      a record names its counterpart's domain in payload.domain, an activity in properties.domain;
              of what names none, it can't be shown that it is allowed: it goes with the first purge
    fathom    a record that holds something of a transcript has the key `transcript` or `default_summary`, or lies in
              raw.fathom__transcripts
"""

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

from control import access, audit, connectors
from warehouse import database, landing, lease
from warehouse.errors import MisuseError

MAIL, RECORDINGS = "o365", "fathom"
MAXIMUM_DOMAINS = 5_000
MAXIMUM_USER = 200
SHOWN = 80
LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
# these are letters of their own in today's domain names; Python's older rules would make another name of them
MEANT_DIFFERENTLY = set("ßς\u200c\u200d")

# a deleted message names nobody any more: it is judged by what its record said before
PURGE_RAW_MAIL = """
    delete from {table} as version
    where tenant_id = %(tenant)s and case
        when payload ->> 'domain' is not null then lower(payload ->> 'domain') <> all(%(allowed)s)
        else not exists (
            select from {table} as other
            where other.tenant_id = version.tenant_id and other.record_id = version.record_id
                and lower(other.payload ->> 'domain') = any(%(allowed)s)
        )
    end"""
PURGE_MAIL = {
    "quality.quarantine": """
        delete from {table} where tenant_id = %(tenant)s and connector = 'o365'
        and (lower(record ->> 'domain') = any(%(allowed)s)) is not true""",
    "quality.failures": """
        delete from {table} where tenant_id = %(tenant)s and failed_row ->> 'source' = 'o365'
        and (lower(failed_row -> 'properties' ->> 'domain') = any(%(allowed)s)) is not true""",
    "canonical.activities": """
        delete from {table} where tenant_id = %(tenant)s and source = 'o365'
        and (lower(properties ->> 'domain') = any(%(allowed)s)) is not true""",
    "scores.buying_group_members": """
        delete from {table} where tenant_id = %(tenant)s and discovery_source = 'o365' and person_id is null
        and (split_part(lower(discovered_email), '@', 2) = any(%(allowed)s)) is not true""",
    # whom the CRM knows by now stays a member, but not as somebody found in a mailbox
    "scores.buying_group_members (emptied)": """
        update {table} set is_discovered = false, discovery_source = null, discovered_email = null
        where tenant_id = %(tenant)s and discovery_source = 'o365'
        and (split_part(lower(discovered_email), '@', 2) = any(%(allowed)s)) is not true""",
}
PURGE_RAW_RECORDINGS = """
    delete from {table} where tenant_id = %(tenant)s
    and (payload ?| array['transcript', 'default_summary'] or %(table)s = 'raw.fathom__transcripts')"""
PURGE_RECORDINGS = {
    "quality.quarantine (recordings)": """
        delete from {table} where tenant_id = %(tenant)s and connector = 'fathom'
        and (stream = 'transcripts' or record ?| array['transcript', 'default_summary'])""",
    # that somebody spoke is told by the transcript alone
    "quality.failures (speakers)": """
        delete from {table} where tenant_id = %(tenant)s and failed_row ->> 'source' = 'fathom'
        and failed_row ->> 'stream' = 'fathom__transcripts'""",
    "canonical.activities (speakers)": """
        delete from {table} where tenant_id = %(tenant)s and source = 'fathom'
        and external_id like 'fathom:%%:speaker:%%'""",
    "canonical.fathom_meetings (emptied)": """
        update {table} set transcript_json = null, summary_text = null, sentiment_score = null
        where tenant_id = %(tenant)s
        and (transcript_json is not null or summary_text is not null or sentiment_score is not null)""",
}

Report = Callable[[str], None]
Purged = dict[str, int]


@dataclass(frozen=True)
class Consent:
    accepted_at: datetime | None = None
    accepted_by: str | None = None
    domains: tuple[str, ...] = ()
    own_domain: str | None = None


def of(connection: psycopg.Connection, tenant_id: str) -> Consent:
    """What the tenant allows at present; nothing if nobody has said anything."""
    row = connection.execute(
        "select dpa_accepted_at, dpa_accepted_by_user_id, coalesce(allowed_domains, '[]'), tenant_o365_domain"
        " from control.o365_config where tenant_id = %s",
        [tenant_id],
    ).fetchone()
    return Consent(row[0], row[1], tuple(row[2]), row[3]) if row else Consent()


def accept_dpa(tenant_id: str, user: str, *, actor: str) -> bool:
    """Note that this person has accepted the agreement. False if it was accepted before: that stays as it is."""
    access.require(tenant_id, actor, "connector.accept_dpa")
    if not user.strip() or len(user) > MAXIMUM_USER or not user.isprintable():
        raise MisuseError(f"--user names the person who accepts, in 1 to {MAXIMUM_USER} printable characters")
    with database.control_session(tenant_id) as connection:
        if _locked(connection, tenant_id).accepted_at:
            return False
        connection.execute(
            "update control.o365_config set dpa_accepted_at = now(), dpa_accepted_by_user_id = %s where tenant_id = %s",
            [user, tenant_id],
        )
        _read_from_the_start(connection, tenant_id)
        _record(connection, tenant_id, actor, "connector.accept_dpa", None, {"accepted_by": user})
    return True


def withdraw_dpa(tenant_id: str, *, actor: str, report: Report = lambda _line: None) -> Purged | None:
    """Close the door and purge everything behind it. Returns the rows purged by table; None if nobody had accepted.

    The allowed domains stay listed, for the day on which somebody accepts again. Waits for a run of the tenant to end.
    """
    access.require(tenant_id, actor, "connector.withdraw_dpa")
    with (
        lease.hold(tenant_id, lease.local_holder(), stage="withdraw consent", report=report) as held,
        database.control_session(tenant_id) as connection,
        landing.fenced(connection, held.fence),
    ):
        before = _locked(connection, tenant_id)
        if before.accepted_at is None:
            return None
        connection.execute(
            "update control.o365_config set dpa_accepted_at = null, dpa_accepted_by_user_id = null"
            " where tenant_id = %s",
            [tenant_id],
        )
        purged = {**_purge_mail(connection, tenant_id, ()), **_purge_recordings(connection, tenant_id)}
        _read_from_the_start(connection, tenant_id)
        _record(
            connection,
            tenant_id,
            actor,
            "connector.withdraw_dpa",
            {"accepted_by": before.accepted_by, "accepted_at": str(before.accepted_at)},
            {"purged": purged},
        )
    return purged


def allow_domains(
    tenant_id: str, domains: Iterable[str], *, actor: str, report: Report = lambda _line: None
) -> tuple[tuple[str, ...], Purged]:
    """Put these domains in the place of those allowed so far and purge what is allowed no longer.

    Returns the list as it is kept, and the rows purged by table. Waits for a run of the tenant to end.
    """
    access.require(tenant_id, actor, "connector.allow_domains")
    allowed = tuple(sorted({domain(text) for text in domains}))
    if len(allowed) > MAXIMUM_DOMAINS:
        raise MisuseError(f"{len(allowed)} domains are too many; the list holds {MAXIMUM_DOMAINS}")
    with (
        lease.hold(tenant_id, lease.local_holder(), stage="allow domains", report=report) as held,
        database.control_session(tenant_id) as connection,
        landing.fenced(connection, held.fence),
    ):
        before = _locked(connection, tenant_id)
        if before.own_domain and before.own_domain.lower() in allowed:
            raise MisuseError(f"{before.own_domain} is the tenant's own domain: mail among colleagues is never read")
        if before.domains == allowed:
            return allowed, {}
        connection.execute(
            "update control.o365_config set allowed_domains = %s where tenant_id = %s",
            [Jsonb(list(allowed)), tenant_id],
        )
        shrinks, grows = set(before.domains) - set(allowed), set(allowed) - set(before.domains)
        purged = _purge_mail(connection, tenant_id, allowed) if shrinks else {}
        if grows:
            _read_from_the_start(connection, tenant_id)
        _record(
            connection,
            tenant_id,
            actor,
            "connector.allow_domains",
            {"domains": list(before.domains)},
            {"domains": list(allowed), "purged": purged},
        )
    return allowed, purged


def note_own_domain(connection: psycopg.Connection, tenant_id: str, name: str) -> None:
    """Of which domain the tenant's own people are: mail among colleagues is never read."""
    own = domain(name)
    if own in _locked(connection, tenant_id).domains:
        raise MisuseError(f"{own} is an allowed domain: take it from the list first, `clarity connector allow-domains`")
    connection.execute(
        "update control.o365_config set tenant_o365_domain = %s where tenant_id = %s and"
        " tenant_o365_domain is distinct from %s",
        [own, tenant_id, own],
    )


def domain(text: str) -> str:
    """The domain in lower case, as the domain name system spells it: `München.DE` is `xn--mnchen-3ya.de`."""
    lowered = text.strip().rstrip(".").lower()
    if MEANT_DIFFERENTLY & set(lowered):
        raise MisuseError(f"{text[:SHOWN]!r}: write this domain as the DNS does, beginning with xn--")
    try:
        name = lowered.encode("idna").decode()
    except UnicodeError:
        name = ""
    labels = name.split(".")
    if len(labels) < 2 or len(name) > 253 or not all(map(LABEL.fullmatch, labels)) or labels[-1].isdigit():
        raise MisuseError(f"{text[:SHOWN]!r} is not a domain; write one like acme.com, without @, * or https://")
    return name


def _locked(connection: psycopg.Connection, tenant_id: str) -> Consent:
    """The tenant's one row, made if need be, tied to the connector, kept from changing until the transaction ends."""
    if connection.execute("select from control.o365_config where tenant_id = %s for update", [tenant_id]).rowcount == 0:
        # named after the tenant, so that two who come first make one row
        connection.execute(
            "insert into control.o365_config (id, tenant_id) values (%s, %s) on conflict do nothing",
            [tenant_id, tenant_id],
        )
    connection.execute(
        "update control.o365_config set connector_id ="
        " (select id from control.connectors where tenant_id = %(tenant)s and type = %(type)s)"
        " where tenant_id = %(tenant)s",
        {"tenant": tenant_id, "type": MAIL},
    )
    return of(connection, tenant_id)


def _purge_mail(connection: psycopg.Connection, tenant_id: str, allowed: Collection[str]) -> Purged:
    """Remove what was exchanged with any other domain. Returns the rows removed or emptied by table."""
    statements = {f"raw.{table}": PURGE_RAW_MAIL for table in connectors.raw_tables(connection, MAIL)}
    return _execute(connection, {**statements, **PURGE_MAIL}, {"tenant": tenant_id, "allowed": list(allowed)})


def _purge_recordings(connection: psycopg.Connection, tenant_id: str) -> Purged:
    """Remove what people said. That a meeting took place, and with whom, needs no consent and stays."""
    statements = {f"raw.{table}": PURGE_RAW_RECORDINGS for table in connectors.raw_tables(connection, RECORDINGS)}
    return _execute(connection, {**statements, **PURGE_RECORDINGS}, {"tenant": tenant_id})


def _execute(connection: psycopg.Connection, statements: Mapping[str, str], parameters: Mapping[str, Any]) -> Purged:
    purged = {}
    for name, statement in statements.items():
        table = name.partition(" ")[0]
        query = sql.SQL(statement).format(table=sql.Identifier(*table.split(".")))
        purged[name] = connection.execute(query, {**parameters, "table": table}).rowcount
    return purged


def _read_from_the_start(connection: psycopg.Connection, tenant_id: str) -> None:
    """What was passed over while it was not allowed lies behind the place up to which has been read."""
    connection.execute(
        "update control.stream_states set state = null where tenant_id = %s and connector = any(%s)",
        [tenant_id, [MAIL, RECORDINGS]],
    )


def _record(
    connection: psycopg.Connection, tenant_id: str, actor: str, action: str, before: Any, after: dict[str, Any]
) -> None:
    audit.record(
        connection, tenant_id=tenant_id, actor=actor, action=action, resource="consent", before=before, after=after
    )
