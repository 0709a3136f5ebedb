"""Staging's views over raw tables that may hold anything, and the default mappings that say the same."""

import csv
import hashlib
import json
import uuid
from collections.abc import Iterable, Iterator
from typing import Any

import psycopg
import pytest

from connectors import catalogue
from control import mappings
from control.expressions import compile_sql
from scoring.configs import DEFAULT_SIGNALS
from tests.conftest import Tenant
from tests.dbt.rendering import data, macro
from warehouse import database
from warehouse.home import project_root

CONNECTORS = sorted({connector for connector, _ in catalogue.all_streams()})
UNIONS = {
    "accounts": ("files__accounts", "salesforce__accounts"),
    "people": ("files__people", "salesforce__contacts", "salesforce__leads", "customerio__people"),
    "opportunities": ("files__opportunities", "salesforce__opportunities"),
    "activities": (
        "files__activities", "salesforce__tasks", "salesforce__events", "salesforce__campaign_members",
        "customerio__messages", "customerio__activities", "fathom__recordings", "fathom__participants",
        "fathom__speakers", "o365__messages", "o365__events", "delivrai__people_intent", "delivrai__company_intent",
        "delivrai__visits",
    ),
    "contact_roles": ("files__contact_roles", "salesforce__opportunity_contact_roles"),
    "stage_changes": ("files__stage_changes", "salesforce__opportunity_history"),
}  # fmt: skip
# by which the one mapping of Salesforce's activities tells tasks, events and members of campaigns apart
PREFIXES = {"salesforce__tasks": "00T", "salesforce__events": "00U", "salesforce__campaign_members": "00v"}
READ_FROM = {
    "files__contact_roles": "files__opportunities",
    "files__stage_changes": "files__opportunities",
    "fathom__recordings": "fathom__meetings",
    "fathom__speakers": "fathom__transcripts",
}
# those that do not make a row of every record
CHOOSY = ("files__stage_changes", "fathom__speakers")

# the connectors that tell of each kind of thing
TELLS = [
    (connector, entity)
    for entity in mappings.COLUMNS
    for connector in CONNECTORS
    if any(view.startswith(f"{connector}__") for view in UNIONS[entity])
]

BEGINNING = [
    ("tenant_id", "text"), ("source", "text"), ("stream", "text"), ("source_id", "text"), ("seq", "bigint"),
    ("source_updated_at", "timestamp with time zone"), ("landed_at", "timestamp with time zone"),
    ("is_deleted", "boolean"),
]  # fmt: skip

# what fields may hold: what they should, and what nobody should send
HOSTILE: list[Any] = [
    None, "", " ", "Acme", " Acme ", "\tAcme\u00a0", "null", "ÀÉ ß İ", "'; drop table raw.x; --", "{{ 1 }}", "%s", "\\",
    "a" * 11_000, 0, 12, 12.5, -1, 1e6, 1e300, 99999999999, "120", "1,000", "NaN", "1e400", "9" * 60, "0x1f",
    True, False, "true", "yes", [], ["Acme"], [["a@b.co"]], {}, {"name": "Acme"}, "[", "{", '{"a": 1}',
    "2026-03-01", "2026-03-01T10:00:00.000+0000", "2026-03-01 BC", "2026-02-30", "now", "infinity", "03/01/2026",
    "ann@acme.com", " Ann@Acme.COM ", "n/a", "ann@b@c.com", "https://www.Acme.co.uk:443/x", "bücher.de", "co.uk",
    "10.0.0.1", "http://u@acme.com/", "[\"u@acme.com/\"]",
    "Email", "ListEmail", "Call", "Completed", "RE: offer", "[In] offer", "Canceled: offer", "p1;p2", "\U0001f600",
    "Spoke",
]  # fmt: skip


@pytest.fixture
def connection(tenant: Tenant) -> Iterator[psycopg.Connection[Any]]:
    with database.run_session(tenant.id) as opened:
        opened.execute("set timezone = 'UTC'")
        yield opened


def land(connection: psycopg.Connection[Any], tenant: Tenant, stream: str, payloads: Iterable[dict[str, Any]]) -> int:
    """One record per payload. Returns how many there are."""
    rows = [
        (tenant.id, str(seq), json.dumps(payload), hashlib.sha256(str(seq).encode()).digest(), "test", seq)
        for seq, payload in enumerate(payloads, start=1)
    ]
    connection.cursor().executemany(
        f"insert into raw.{stream} (tenant_id, record_id, payload, payload_hash, sync_id, seq)"
        " values (%s, %s, %s, %s, %s, %s)".encode(),
        rows,
    )
    return len(rows)


def hostile_payloads(fields: Iterable[str]) -> Iterator[dict[str, Any]]:
    """Each field with each value, beside others that are as odd, and none at all."""
    names = sorted(fields)
    for place, name in enumerate(names):
        for turn, value in enumerate(HOSTILE):
            others = {other: HOSTILE[(turn + 7 * step) % len(HOSTILE)] for step, other in enumerate(names, start=place)}
            yield others | {name: value}
    yield {}


def fields_of(view: str, connection: psycopg.Connection[Any]) -> set[str]:
    """The fields of the payload that a view reads, by its own definition."""
    row = connection.execute("select pg_get_viewdef(%s::regclass)", [f"staging.stg_{view}"]).fetchone()
    assert row
    pieces = str(row[0]).replace("->>", "->").split("payload -> '")[1:]
    return {piece.split("'", 1)[0] for piece in pieces}


def columns_of(view: str, connection: psycopg.Connection[Any]) -> list[tuple[str, str]]:
    return [
        (str(name), str(kind))
        for name, kind in connection.execute(
            "select attname, format_type(atttypid, null) from pg_attribute"
            " where attrelid = %s::regclass and attnum > 0 order by attnum",
            [f"staging.stg_{view}"],
        ).fetchall()
    ]


@pytest.mark.parametrize("entity", UNIONS)
def test_views_of_one_union_have_the_same_columns_in_the_same_order(
    connection: psycopg.Connection[Any], entity: str
) -> None:
    first, *others = (columns_of(view, connection) for view in UNIONS[entity])
    assert first[: len(BEGINNING)] == BEGINNING
    assert first[-1] == ("source_data", "jsonb")
    assert [other for other in others if other != first] == []


def test_every_declared_stream_has_a_view(connection: psycopg.Connection[Any]) -> None:
    views = {
        str(name)
        for (name,) in connection.execute(
            "select relname from pg_class where relnamespace = 'staging'::regnamespace and relname like 'stg\\_%'"
        ).fetchall()
    }
    streams = {f"stg_{connector}__{stream.name}" for connector, stream in catalogue.all_streams()}
    assert streams <= views
    assert {f"stg_{view}" for entity in UNIONS for view in UNIONS[entity]} <= views


@pytest.mark.parametrize("view", [view for views in UNIONS.values() for view in views])
def test_no_payload_stops_a_view(connection: psycopg.Connection[Any], tenant: Tenant, view: str) -> None:
    fields = fields_of(view, connection)
    assert fields
    landed = land(connection, tenant, READ_FROM.get(view, view), hostile_payloads(fields))
    rows = connection.execute(f"select * from staging.stg_{view}".encode()).fetchall()
    assert len(rows) >= (1 if view in CHOOSY else landed)
    assert {row[0] for row in rows} == {tenant.id}


@pytest.mark.parametrize(("connector", "entity"), TELLS)
def test_the_default_mapping_says_what_the_view_does(
    connection: psycopg.Connection[Any], tenant: Tenant, connector: str, entity: str
) -> None:
    default = mappings._default(connector, entity)
    assert default
    entries = {entry["targetField"]: mappings.Entry.model_validate(entry) for entry in default["mappings"]}
    for view in (view for view in UNIONS[entity] if view.startswith(f"{connector}__")):
        payloads = hostile_payloads(fields_of(view, connection))
        land(
            connection,
            tenant,
            READ_FROM.get(view, view),
            ({**payload, "Id": PREFIXES.get(view, "") + "A"} for payload in payloads),
        )
        for column, kind in data("mappable_columns")[entity].items():
            entry = entries.get("type" if column == "source_type" else column)
            mapped = macro("typed", kind, compile_sql(entry.tree, "source_data") if entry else "null::text")
            differing = connection.execute(
                f"select source_data, {column} as staged, {mapped} as mapped from staging.stg_{view}"
                f" where {column} is distinct from {mapped} limit 3".encode()
            ).fetchall()
            assert differing == [], f"{view}.{column}"


@pytest.mark.parametrize(("connector", "entity"), TELLS)
def test_a_default_mapping_fills_what_nothing_can_be_kept_without(connector: str, entity: str) -> None:
    default = mappings._default(connector, entity)
    assert default
    required = {entry["targetField"] for entry in default["mappings"] if entry["required"]}
    assert required == set(mappings.NEEDED[entity])


def test_a_window_of_versions_is_read_by_the_index(connection: psycopg.Connection[Any], tenant: Tenant) -> None:
    """The views must let a condition through to the table, or each run would read everything that ever landed."""
    for view in (view for views in UNIONS.values() for view in views):
        connection.execute("set local enable_seqscan = off; set local enable_bitmapscan = off")
        plan = connection.execute(
            f"explain select * from staging.stg_{view} where seq > 5 and seq <= 9".encode()
        ).fetchall()
        conditions = [str(line) for (line,) in plan if "Index Cond" in str(line)]
        assert any("seq > 5" in condition for condition in conditions), view


def test_a_record_is_read_by_its_id(connection: psycopg.Connection[Any], tenant: Tenant) -> None:
    for view in (view for views in UNIONS.values() for view in views if view not in CHOOSY):
        connection.execute("set local enable_seqscan = off; set local enable_bitmapscan = off")
        plan = connection.execute(
            f"explain select * from staging.stg_{view} where source_id = %s".encode(), [str(uuid.uuid4())]
        ).fetchall()
        # which index an empty table would use is the planner's whim; what any can serve is the plain column
        conditions = [str(line) for (line,) in plan if "Index Cond" in str(line) or "Filter" in str(line)]
        assert any("record_id =" in condition for condition in conditions), view


def seed(name: str) -> list[dict[str, str]]:
    with (project_root() / "dbt" / "seeds" / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_domains_of_the_seed_are_written_as_the_views_write_them(connection: psycopg.Connection[Any]) -> None:
    domains = [row["domain"] for row in seed("personal_domains")]
    rows = connection.execute(
        f"select given, {macro('domain_in', 'given')} from unnest(%s::text[]) as listed (given)".encode(), [domains]
    ).fetchall()
    assert [given for given, domain in rows if given != domain] == []
    assert {"gmail.com", "yahoo.co.uk", "qq.com"} <= set(domains)


def test_what_seeds_are_looked_up_by_is_lower_case() -> None:
    for name, column in (
        ("shared_mailboxes", "local_part"),
        ("contact_roles", "source_role"),
        ("machine_agents", "pattern"),
    ):
        words = [row[column] for row in seed(name)]
        assert words == [word.lower().strip() for word in words], name
        assert len(set(words)) == len(words), name


def test_every_kind_of_activity_is_a_signal_in_the_channel_of_the_engine() -> None:
    for row in seed("activity_types"):
        known = DEFAULT_SIGNALS.get(row["signal"])
        assert known or row["signal"] in ("call", "unknown"), row
        assert known is None or row["channel"] == (known.channel or ""), row


def test_what_salesforce_views_call_an_activity_is_in_the_seed() -> None:
    told = {row["source_type"] for row in seed("activity_types") if row["source"] == "salesforce"}
    assert {"Email", "Email reply", "ListEmail", "Call", "Task", "Event", "Responded", "Attended"} <= told
