"""The extract step with the files connector, and with connectors that misbehave, against a real server."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import date
from pathlib import Path

import pytest

from connectors.contract import Fatal, Page, ResetState, State
from sandbox.companies import advance, generate, write_csv
from steps import extract
from tests.conftest import Tenant
from tests.steps.conftest import Play
from tests.steps.customer import Customer, page
from warehouse import database, lease
from warehouse.errors import ClarityError, MisuseError

STREAMS = ("accounts", "people", "opportunities", "activities")


def test_all_that_the_sandbox_writes_arrives_in_raw(customer: Customer) -> None:
    company = generate(7, 8, date(2026, 3, 10))
    write_csv(customer.folder, company)
    summary = customer.sync()
    for stream in STREAMS:
        wanted = len(getattr(company, stream))
        assert customer.raw(stream) == wanted
        assert summary["streams"][stream] == {
            "created": wanted,
            "updated": 0,
            "unchanged": 0,
            "deleted": 0,
            "failed": 0,
        }
    activity = company.activities[-1]
    ((payload,),) = customer.rows(f"select payload from raw.files__activities where record_id = '{activity.id}'")
    assert payload["occurred_at"] == activity.occurred_at
    assert json.loads(payload["properties"]) == json.loads(activity.properties)


def test_a_second_sync_of_the_same_files_lands_nothing(customer: Customer) -> None:
    write_csv(customer.folder, generate(7, 3, date(2026, 3, 10)))
    customer.sync()
    before = [customer.raw(stream) for stream in STREAMS]
    customer.sync()
    customer.sync(full=True)
    assert [customer.raw(stream) for stream in STREAMS] == before
    assert customer.last_sync("records_created, records_updated") == (0, 0)


def test_incremental_syncs_end_where_one_full_sync_ends(
    customer: Customer, other_tenant: Tenant, tmp_path: Path
) -> None:
    company = generate(7, 3, date(2026, 3, 10))
    for days in (0, 20, 40):
        write_csv(customer.folder, advance(company, days))
        customer.sync()
    at_once = Customer(other_tenant, tmp_path)
    at_once.sync()
    latest = (
        "select distinct on (record_id) record_id, payload from raw.files__opportunities"
        " order by record_id, source_updated_at desc nulls last, seq desc"
    )
    assert customer.rows(latest) == at_once.rows(latest)


def test_the_sync_log_and_the_connector_tell_what_happened(customer: Customer) -> None:
    customer.write("accounts", "id,name", "1,A", "2", "3,C")
    customer.sync()
    assert customer.last_sync("sync_type, status, records_created, records_failed, error_message") == (
        "full",
        "completed",
        2,
        1,
        None,
    )
    assert customer.last_sync(
        "completed_at is not null, cursor = (select last_sync_cursor from control.connectors)"
    ) == (
        True,
        True,
    )
    assert customer.connector("status, last_sync_error, last_sync_at is not null") == ("connected", None, True)
    customer.write("accounts", "id,name", "1,A2", "3,C")
    customer.sync()
    assert customer.last_sync("sync_type, records_created, records_updated") == ("incremental", 0, 1)


def test_a_file_that_is_missing_is_said_and_no_failure(customer: Customer) -> None:
    customer.write("accounts", "id,name", "1,A")
    notes = customer.sync()["notes"]
    assert sorted(note.partition(" ")[0] for note in notes) == ["activities.csv", "opportunities.csv", "people.csv"]
    ((logged,),) = [customer.last_sync("error_details -> 'notes'")]
    assert sorted(logged) == sorted(notes)


def test_a_file_that_disappears_deletes_nothing(customer: Customer) -> None:
    customer.write("accounts", "id,name", "1,A")
    customer.write("people", "id", "1")
    customer.sync()
    (customer.folder / "people.csv").unlink()
    notes = customer.sync()["notes"]
    assert any("people.csv has disappeared" in note for note in notes)
    assert customer.raw("people") == 1


def test_a_stream_that_fails_does_not_hold_up_the_others_and_is_named(customer: Customer) -> None:
    customer.write("accounts", "id,name", "1,A")
    customer.write("people", "e-mail", "a@b.example")
    with pytest.raises(ClarityError, match=r"people: .* has no column 'id'; it has e-mail"):
        customer.sync()
    assert customer.raw("accounts") == 1
    status, created, message = customer.last_sync("status, records_created, error_message")
    assert (status, created) == ("failed", 1)
    assert "has no column 'id'" in message
    status, error = customer.connector("status, last_sync_error")
    assert (status, error) == ("error", message)


def test_a_connector_that_recovers_shows_no_old_error(customer: Customer) -> None:
    customer.write("accounts", "name", "A")
    with pytest.raises(ClarityError):
        customer.sync()
    customer.write("accounts", "id,name", "1,A")
    customer.sync()
    assert customer.connector("status, last_sync_error") == ("connected", None)


def test_an_empty_folder_is_a_failure_that_says_what_to_do(customer: Customer) -> None:
    with pytest.raises(ClarityError, match="Put at least one there"):
        customer.sync()
    assert customer.last_sync("status") == ("failed",)


def test_a_sync_that_was_killed_no_longer_says_that_it_runs(customer: Customer) -> None:
    customer.write("accounts", "id,name", "1,A")
    customer.sync()
    with database.run_session(customer.tenant.id) as connection:
        connection.execute("update control.sync_logs set status = 'running', completed_at = null")
    customer.sync()
    rows = customer.rows("select status, error_message is null from control.sync_logs order by started_at")
    assert rows == [("failed", False), ("completed", True)]


def test_a_run_that_lost_its_lease_writes_nothing(customer: Customer) -> None:
    customer.write("accounts", "id,name", "1,A")
    with (
        lease.hold(customer.tenant.id, "test:winner", stage="extract") as held,
        pytest.raises(lease.LeaseLost),
    ):
        extract.run(customer.tenant.slug, "files", "loser", held.fence - 1)
    assert customer.raw("accounts") == 0
    assert customer.rows("select 1 from control.sync_logs") == []


def test_the_connectors_of_a_tenant_are_its_own(customer: Customer, other_tenant: Tenant) -> None:
    assert extract.connectors_of(customer.tenant.slug) == ["files"]
    assert extract.connectors_of(other_tenant.slug) == []
    with pytest.raises(MisuseError, match="no files connector"):
        extract.run(other_tenant.slug, "files", "run")


def test_a_check_reads_nothing_and_says_what_is_wrong(customer: Customer) -> None:
    health = extract.check(customer.tenant.slug, "files")
    assert not health.ok
    assert "Put at least one there" in health.message
    customer.write("accounts", "id,name", "1,A")
    assert extract.check(customer.tenant.slug, "files").ok
    assert customer.raw("accounts") == 0


def test_a_check_of_a_wrong_configuration_says_so(tenant: Tenant) -> None:
    Customer(tenant, Path("exports"))
    health = extract.check(tenant.slug, "files")
    assert (health.ok, health.message.partition(":")[0]) == (False, "files")
    assert "must be an absolute path" in health.message


def test_a_sync_cut_short_goes_on_from_its_last_page(customer: Customer, play: Play) -> None:
    seen = []

    async def breaks_after_two_pages(state: State | None) -> AsyncIterator[Page]:
        seen.append(state)
        first = state["page"] + 1 if state else 1
        for number in range(first, first + 2):
            yield page(number)
        raise Fatal("the line was cut")

    play(accounts=breaks_after_two_pages)
    for _ in range(2):
        with pytest.raises(ClarityError, match="accounts: the line was cut"):
            customer.sync()
    assert seen == [None, {"page": 2}]
    assert customer.raw("accounts") == 4


def test_a_state_that_the_vendor_forgot_is_reset_and_said(customer: Customer, play: Play) -> None:
    async def forgets(state: State | None) -> AsyncIterator[Page]:
        if state:
            raise ResetState("the token is too old")
        yield page(1)

    play(accounts=forgets)
    customer.sync()
    assert "accounts is read again from the start: the token is too old" in customer.sync()["notes"]
    assert customer.raw("accounts") == 1


def test_a_mistake_in_a_connector_fails_its_stream_alone(customer: Customer, play: Play) -> None:
    async def mistaken(_state: State | None) -> AsyncIterator[Page]:
        yield page(1)
        raise KeyError("Id")

    async def sound(_state: State | None) -> AsyncIterator[Page]:
        await asyncio.sleep(0.05)
        yield page(1)

    play(accounts=mistaken, people=sound)
    with pytest.raises(ClarityError, match="accounts: KeyError: 'Id'"):
        customer.sync()
    assert (customer.raw("accounts"), customer.raw("people")) == (1, 1)


def test_streams_wait_for_their_vendor_side_by_side(customer: Customer, play: Play) -> None:
    meeting = asyncio.Barrier(2)

    async def waits_for_the_other(_state: State | None) -> AsyncIterator[Page]:
        async with asyncio.timeout(10):
            await meeting.wait()
        yield page(1)

    play(accounts=waits_for_the_other, people=waits_for_the_other)
    customer.sync()
    assert (customer.raw("accounts"), customer.raw("people")) == (1, 1)
