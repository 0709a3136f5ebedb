"""The extract step with the files connector, and with connectors that misbehave, against a real server."""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from connectors import catalogue
from connectors.contract import Fatal, Health, Page, Record, ResetState, State, Stream
from control import connectors
from sandbox.companies import advance, generate, write_csv
from steps import extract
from tests.conftest import Tenant
from warehouse import database, lease
from warehouse.errors import ClarityError, MisuseError

STREAMS = ("accounts", "people", "opportunities", "activities")


class Customer:
    """A tenant with a folder of files."""

    def __init__(self, tenant: Tenant, folder: Path) -> None:
        self.tenant, self.folder = tenant, folder
        with database.control_session(tenant.id) as control:
            connectors.add(
                control,
                tenant_id=tenant.id,
                connector_type="files",
                config={"folder": str(folder)},
                actor="system:tests",
            )

    def sync(self, *, full: bool = False) -> dict[str, Any]:
        return extract.run(self.tenant.slug, "files", str(uuid.uuid4()), full=full)

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with database.run_session(self.tenant.id) as connection:
            return connection.execute(query.encode()).fetchall()

    def raw(self, stream: str) -> int:
        ((count,),) = self.rows(f"select count(*) from raw.files__{stream}")
        return int(count)

    def last_sync(self, columns: str) -> tuple[Any, ...]:
        return self.rows(f"select {columns} from control.sync_logs order by started_at desc limit 1")[0]

    def connector(self, columns: str) -> tuple[Any, ...]:
        return self.rows(f"select {columns} from control.connectors")[0]

    def write(self, stream: str, *lines: str) -> None:
        (self.folder / f"{stream}.csv").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


@pytest.fixture
def customer(tenant: Tenant, tmp_path: Path) -> Customer:
    return Customer(tenant, tmp_path)


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


class Scripted:
    """A connector whose accounts and people do what the test wants."""

    streams = catalogue.streams("files")[:2]

    def __init__(self, **scripts: Any) -> None:
        self.scripts = scripts

    async def check(self) -> Health:
        return Health(True, "scripted")

    async def pages(self, stream: Stream, state: State | None) -> AsyncIterator[Page]:
        async for page in self.scripts.get(stream.name, nothing)(state):
            yield page


async def nothing(_state: State | None) -> AsyncIterator[Page]:
    yield Page((), None)


def page(number: int) -> Page:
    return Page([Record(str(number), {"name": f"from page {number}"})], {"page": number})


Play = Callable[..., None]


@pytest.fixture
def play(monkeypatch: pytest.MonkeyPatch) -> Play:
    def play(**scripts: Any) -> None:
        def connect(_name: str, _config: Mapping[str, Any]) -> Scripted:
            return Scripted(**scripts)

        monkeypatch.setattr(catalogue, "connect", connect)

    return play


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
    assert customer.sync()["notes"] == ["accounts is read again from the start: the token is too old"]
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
