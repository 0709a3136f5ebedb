"""What a tenant allows us to read of its mailboxes, and that what it no longer allows is gone."""

import json
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb

from control import consent
from tests.conftest import Clarity, Tenant
from warehouse import database, lease
from warehouse.errors import MisuseError

TESTS = "system:tests"
TABLES = {
    "raw.o365__messages": "record_id",
    "raw.fathom__meetings": "record_id",
    "quality.quarantine": "record_id",
    "canonical.activities": "external_id",
    "scores.buying_group_members": "coalesce(discovered_email, person_id)",
    "canonical.fathom_meetings": "title || coalesce(transcript_json::text, '') || coalesce(summary_text, '')",
}


@pytest.fixture
def admin(platform: Path) -> Iterator[psycopg.Connection]:
    with database.connect(database.owner_conninfo(), autocommit=True) as owner:
        for table in ("o365__messages", "fathom__meetings"):
            owner.execute("select control.make_raw_table(%s)", [table])
    with database.connect(database.admin_conninfo(), autocommit=True) as connection:
        yield connection


def supply(admin: psycopg.Connection, tenant: Tenant) -> None:
    """What mail, calendar and recordings would have left behind, for three domains."""

    def raw(table: str, number: int, record_id: str, payload: dict[str, object], deleted: bool = False) -> None:
        # nobody else than the tenant's own login brings rows into raw
        with database.run_session(tenant.id) as connection:
            connection.execute(
                f"insert into raw.{table} (tenant_id, record_id, payload, payload_hash, is_deleted, sync_id, seq)"
                " values (%s, %s, %s, '', %s, 's', %s)".encode(),
                [tenant.id, record_id, Jsonb(payload), deleted, number],
            )

    raw("o365__messages", 1, "a", {"domain": "acme.com"})
    raw("o365__messages", 2, "A", {"domain": "ACME.com"})
    raw("o365__messages", 3, "b", {"domain": "beta.io"})
    raw("o365__messages", 4, "unknown", {})
    raw("o365__messages", 5, "sub", {"domain": "mail.acme.com"})
    raw("o365__messages", 6, "a", {}, deleted=True)
    raw("o365__messages", 7, "b", {}, deleted=True)
    raw("fathom__meetings", 1, "plain", {"title": "x"})
    raw("fathom__meetings", 2, "spoken", {"title": "x", "transcript": ["canary"]})
    for connector, record in (
        ("o365", {"domain": "acme.com"}),
        ("o365", {"domain": "beta.io"}),
        ("fathom", {"default_summary": "canary"}),
        ("files", {"domain": "beta.io"}),
    ):
        admin.execute(
            "insert into quality.quarantine (id, tenant_id, connector, stream, record_id, reason, record)"
            " values (%s, %s, %s, 'x', %s, 'x', %s)",
            [str(uuid.uuid4()), tenant.id, connector, f"{connector} {next(iter(record.values()))}", Jsonb(record)],
        )
    account, group = f"acc {tenant.id}", f"group {tenant.id}"
    admin.execute("insert into canonical.accounts (id, tenant_id, name) values (%s, %s, 'A')", [account, tenant.id])
    admin.execute(
        "insert into canonical.people (id, tenant_id, account_id, email) values (%s, %s, %s, 'pat@beta.io')",
        [f"pat {tenant.id}", tenant.id, account],
    )
    for source, domain in (("o365", "acme.com"), ("o365", "beta.io"), ("o365", None), ("salesforce", "beta.io")):
        admin.execute(
            "insert into canonical.activities (id, tenant_id, person_id, type, occurred_at, source, external_id,"
            " properties) values (%s, %s, %s, 'email_sent', '2026-03-01', %s, %s, %s)",
            [
                *(str(uuid.uuid4()), tenant.id, f"pat {tenant.id}", source, f"{source}:{domain}"),
                Jsonb({"domain": domain} if domain else {}),
            ],
        )
    admin.execute(
        "insert into scores.buying_groups (id, tenant_id, account_id) values (%s, %s, %s)", [group, tenant.id, account]
    )
    for source, email, person in (
        ("o365", "Ann@ACME.com", None),
        ("o365", "bob@beta.io", None),
        ("o365", "pat@beta.io", f"pat {tenant.id}"),
        ("delivrai", "cy@beta.io", None),
    ):
        admin.execute(
            "insert into scores.buying_group_members (id, tenant_id, buying_group_id, person_id, is_discovered,"
            " discovery_source, discovered_email) values (%s, %s, %s, %s, true, %s, %s)",
            [str(uuid.uuid4()), tenant.id, group, person, source, email],
        )
    admin.execute(
        "insert into canonical.fathom_meetings (id, tenant_id, fathom_meeting_id, title, transcript_json, summary_text)"
        " values (%s, %s, 'm', 'Kick-off', '\"canary\"', 'canary')",
        [str(uuid.uuid4()), tenant.id],
    )


def left(admin: psycopg.Connection, tenant: Tenant) -> dict[str, list[str]]:
    return {
        table: [
            row[0].replace(tenant.id, "").strip()
            for row in admin.execute(
                f"select {shown} from {table} where tenant_id = %s order by 1".encode(), [tenant.id]
            )
        ]
        for table, shown in TABLES.items()
    }


ALL = {
    "raw.o365__messages": ["a", "a", "A", "b", "b", "sub", "unknown"],
    "raw.fathom__meetings": ["plain", "spoken"],
    "quality.quarantine": ["fathom canary", "files beta.io", "o365 acme.com", "o365 beta.io"],
    "canonical.activities": ["o365:None", "o365:acme.com", "o365:beta.io", "salesforce:beta.io"],
    "scores.buying_group_members": ["Ann@ACME.com", "bob@beta.io", "cy@beta.io", "pat@beta.io"],
    "canonical.fathom_meetings": ['Kick-off"canary"canary'],
}
ACME_ALONE = {
    **ALL,
    "raw.o365__messages": ["a", "a", "A"],
    "quality.quarantine": ["fathom canary", "files beta.io", "o365 acme.com"],
    "canonical.activities": ["o365:acme.com", "salesforce:beta.io"],
    "scores.buying_group_members": ["Ann@ACME.com", "cy@beta.io", "pat"],
}
NO_MAIL = {
    **ALL,
    "raw.o365__messages": [],
    "quality.quarantine": ["fathom canary", "files beta.io"],
    "canonical.activities": ["salesforce:beta.io"],
    "scores.buying_group_members": ["cy@beta.io", "pat"],
}
NOTHING = {
    **NO_MAIL,
    "raw.fathom__meetings": ["plain"],
    "quality.quarantine": ["files beta.io"],
    "canonical.fathom_meetings": ["Kick-off"],
}


def by_words(rows: dict[str, list[str]]) -> dict[str, list[str]]:
    return {table: sorted(values) for table, values in rows.items()}


def present(tenant: Tenant) -> consent.Consent:
    with database.run_session(tenant.id) as run:
        return consent.of(run, tenant.id)


def last_entry(admin: psycopg.Connection, tenant: Tenant) -> tuple[str, dict[str, dict[str, object]]]:
    row = admin.execute(
        "select action, changes from control.audit_log where tenant_id = %s order by seq desc limit 1", [tenant.id]
    ).fetchone()
    assert row is not None
    return row[0], row[1]


def test_nothing_is_allowed_until_somebody_says_so(tenant: Tenant) -> None:
    assert present(tenant) == consent.Consent()


def test_the_first_acceptance_stands_until_it_is_withdrawn(tenant: Tenant, admin: psycopg.Connection) -> None:
    assert consent.accept_dpa(tenant.id, "Ann Example", actor=TESTS)
    first = present(tenant)
    assert first.accepted_by == "Ann Example"
    assert not consent.accept_dpa(tenant.id, "Bob", actor=TESTS)
    assert present(tenant) == first
    assert last_entry(admin, tenant) == (
        "connector.accept_dpa",
        {"before": None, "after": {"accepted_by": "Ann Example"}},
    )
    assert consent.withdraw_dpa(tenant.id, actor=TESTS) is not None
    assert present(tenant).accepted_at is None
    assert consent.withdraw_dpa(tenant.id, actor=TESTS) is None
    assert consent.accept_dpa(tenant.id, "Bob", actor=TESTS)


def test_two_who_accept_at_once_leave_one_row(tenant: Tenant, admin: psycopg.Connection) -> None:
    threads = [
        threading.Thread(target=consent.accept_dpa, args=(tenant.id, f"user {number}"), kwargs={"actor": TESTS})
        for number in range(5)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    rows = admin.execute("select dpa_accepted_at from control.o365_config where tenant_id = %s", [tenant.id]).fetchall()
    assert len(rows) == 1
    assert rows[0][0] is not None


def test_a_longer_list_removes_nothing(tenant: Tenant, admin: psycopg.Connection) -> None:
    consent.allow_domains(tenant.id, ["acme.com"], actor=TESTS)
    supply(admin, tenant)
    allowed, purged = consent.allow_domains(tenant.id, ["acme.com", "beta.io"], actor=TESTS)
    assert (allowed, purged) == (("acme.com", "beta.io"), {})
    assert by_words(left(admin, tenant)) == by_words(ALL)


def test_a_shorter_list_removes_what_it_leaves_out_and_of_nobody_else(
    tenant: Tenant, other_tenant: Tenant, admin: psycopg.Connection
) -> None:
    for each in (tenant, other_tenant):
        consent.allow_domains(each.id, ["acme.com", "beta.io"], actor=TESTS)
        supply(admin, each)
    _, purged = consent.allow_domains(tenant.id, ["acme.com"], actor=TESTS)
    assert by_words(left(admin, tenant)) == by_words(ACME_ALONE)
    assert by_words(left(admin, other_tenant)) == by_words(ALL)
    counts = {
        "raw.o365__events": 0,
        "raw.o365__messages": 4,
        "quality.quarantine": 1,
        "quality.failures": 0,
        "canonical.activities": 2,
        "scores.buying_group_members": 1,
        "scores.buying_group_members (emptied)": 1,
    }
    assert purged == counts
    action, changes = last_entry(admin, tenant)
    assert action == "connector.allow_domains"
    assert changes["before"] == {"domains": ["acme.com", "beta.io"]}
    assert changes["after"] == {"domains": ["acme.com"], "purged": counts}


def test_an_empty_list_allows_nothing(tenant: Tenant, admin: psycopg.Connection) -> None:
    consent.allow_domains(tenant.id, ["acme.com", "beta.io"], actor=TESTS)
    supply(admin, tenant)
    consent.allow_domains(tenant.id, [], actor=TESTS)
    assert by_words(left(admin, tenant)) == by_words(NO_MAIL)


def test_withdrawing_removes_mail_and_what_people_said(tenant: Tenant, admin: psycopg.Connection) -> None:
    consent.accept_dpa(tenant.id, "ann", actor=TESTS)
    consent.allow_domains(tenant.id, ["acme.com", "beta.io"], actor=TESTS)
    supply(admin, tenant)
    purged = consent.withdraw_dpa(tenant.id, actor=TESTS)
    assert by_words(left(admin, tenant)) == by_words(NOTHING)
    assert purged is not None
    assert purged["raw.o365__messages"] == 7
    assert purged["raw.fathom__meetings"] == 1
    assert present(tenant).domains == ("acme.com", "beta.io")


def test_days_that_lost_activities_are_counted_again(tenant: Tenant, admin: psycopg.Connection) -> None:
    consent.allow_domains(tenant.id, ["acme.com", "beta.io"], actor=TESTS)
    supply(admin, tenant)
    admin.execute("delete from canonical.touched_person_days where tenant_id = %s", [tenant.id])
    consent.allow_domains(tenant.id, ["acme.com"], actor=TESTS)
    touched = admin.execute(
        "select person_id, unnest(days)::text from canonical.touched_person_days where tenant_id = %s", [tenant.id]
    ).fetchall()
    assert touched == [(f"pat {tenant.id}", "2026-03-01")]


def test_what_is_allowed_again_is_read_again(tenant: Tenant, admin: psycopg.Connection) -> None:
    admin.execute(
        "insert into control.connectors (id, tenant_id, type, name) values (%s, %s, 'o365', 'o365')",
        [f"o {tenant.id}", tenant.id],
    )
    admin.execute(
        "insert into control.stream_states (tenant_id, connector_id, connector, stream, state, last_seq)"
        " values (%s, %s, 'o365', 'messages', '{\"delta\": 5}', 70)",
        [tenant.id, f"o {tenant.id}"],
    )
    consent.allow_domains(tenant.id, ["acme.com"], actor=TESTS)
    query = "select state, last_seq from control.stream_states where tenant_id = %s"
    assert admin.execute(query.encode(), [tenant.id]).fetchone() == (None, 70)
    tied = admin.execute("select connector_id from control.o365_config where tenant_id = %s", [tenant.id]).fetchone()
    assert tied == (f"o {tenant.id}",)


def test_a_purge_waits_for_a_run_and_is_whole_or_not_at_all(
    tenant: Tenant, admin: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    consent.accept_dpa(tenant.id, "ann", actor=TESTS)
    consent.allow_domains(tenant.id, ["acme.com"], actor=TESTS)
    supply(admin, tenant)
    withdrawal = threading.Thread(target=consent.withdraw_dpa, args=(tenant.id,), kwargs={"actor": TESTS})
    with lease.hold(tenant.id, "airflow:test", stage="extract"):
        withdrawal.start()
        withdrawal.join(1)
        assert by_words(left(admin, tenant)) == by_words(ALL)
    withdrawal.join(20)
    assert by_words(left(admin, tenant)) == by_words(NOTHING)
    consent.accept_dpa(tenant.id, "ann", actor=TESTS)
    before = present(tenant)
    monkeypatch.setitem(consent.PURGE_RECORDINGS, "canonical.activities", "delete from {table} where no_such_column")
    with pytest.raises(psycopg.Error):
        consent.withdraw_dpa(tenant.id, actor=TESTS)
    assert present(tenant) == before
    assert last_entry(admin, tenant)[0] == "connector.accept_dpa"


@pytest.mark.parametrize(
    ("text", "domain"),
    [
        ("acme.com", "acme.com"),
        ("ACME.Com.", "acme.com"),
        (" a-b.co.uk ", "a-b.co.uk"),
        ("München.DE", "xn--mnchen-3ya.de"),
        ("xn--mnchen-3ya.de", "xn--mnchen-3ya.de"),
        ("例え.テスト", "xn--r8jz45g.xn--zckzah"),
    ],
)
def test_a_domain_is_kept_as_the_dns_spells_it(text: str, domain: str) -> None:
    assert consent.domain(text) == domain


@pytest.mark.parametrize(
    "text",
    [
        *("", ".", "acme", "@acme.com", "ann@acme.com", "*.acme.com", "https://acme.com", "acme.com/x", "a b.com"),
        *("-a.com", "a-.com", "acme..com", "10.0.0.1", "a\0.com", "a_b.com", "😀", "%", "'; drop table x --.com"),
        *("a" * 64 + ".com", "a." * 126 + "com", "x" * 10_000, "straße.de"),
    ],
)
def test_what_is_no_domain_is_refused_and_changes_nothing(text: str) -> None:
    with pytest.raises(MisuseError, match=r"is not a domain|write this domain as the DNS does") as refused:
        consent.domain(text)
    assert len(str(refused.value)) < 250


def test_the_tenants_own_domain_is_refused(tenant: Tenant, admin: psycopg.Connection) -> None:
    consent.accept_dpa(tenant.id, "ann", actor=TESTS)
    admin.execute("update control.o365_config set tenant_o365_domain = 'Ours.com' where tenant_id = %s", [tenant.id])
    with pytest.raises(MisuseError, match=r"Ours\.com is the tenant's own domain"):
        consent.allow_domains(tenant.id, ["acme.com", "ours.com"], actor=TESTS)
    assert present(tenant).domains == ()


def test_the_commands_say_what_they_did(tenant: Tenant, clarity: Clarity) -> None:
    def answer(*words: str) -> Any:
        return clarity("--json", "connector", *words).answer

    assert answer("accept-dpa", tenant.slug, "--user", "ann") == {"accepted": True, "changed": True}
    assert answer("allow-domains", tenant.slug, "B.io", "a.com", "b.io")["domains"] == ["a.com", "b.io"]
    refused = clarity("connector", "allow-domains", tenant.slug)
    assert (refused.code, refused.out) == (2, "")
    assert "name all domains that are allowed, or say --none" in refused.err
    assert answer("allow-domains", tenant.slug, "--none")["domains"] == []
    assert answer("withdraw-dpa", tenant.slug)["changed"]
    assert answer("withdraw-dpa", tenant.slug) == {"changed": False}
    nameless = clarity("connector", "accept-dpa", tenant.slug, "--user", " ")
    assert nameless.code == 2
    assert "names the person who accepts" in nameless.err
    assert json.dumps(present(tenant).domains) == "[]"
