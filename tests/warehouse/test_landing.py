"""Landing against a real server: which versions raw holds after which pages."""

import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest

from connectors.contract import Record, Rejected
from control import connectors
from tests.conftest import Tenant
from warehouse import database, landing, lease
from warehouse.landing import Landed

MONDAY, TUESDAY, WEDNESDAY = (datetime(2026, 3, day, tzinfo=UTC) for day in (2, 3, 4))


class Raw:
    """One stream of one tenant, and the sync that fills it."""

    def __init__(self, tenant_id: str, connection: psycopg.Connection, fence: int, connector_id: str) -> None:
        self.tenant_id, self.connection, self.fence, self.connector_id = tenant_id, connection, fence, connector_id
        self.sync_id = str(uuid.uuid4())
        connection.execute(
            "insert into control.sync_logs (id, tenant_id, connector_id, sync_type) values (%s, %s, %s, 'full')",
            [self.sync_id, tenant_id, connector_id],
        )

    def land(
        self,
        *records: Record,
        rejected: tuple[Rejected, ...] = (),
        state: dict[str, Any] | None = None,
        fence: int | None = None,
    ) -> Landed:
        return landing.land(
            self.connection,
            tenant_id=self.tenant_id,
            connector_id=self.connector_id,
            connector="files",
            stream="accounts",
            records=records,
            rejected=rejected,
            state=state,
            sync_id=self.sync_id,
            fence=self.fence if fence is None else fence,
        )

    def versions(self, record_id: str = "1") -> list[Any]:
        """What the record was called, version by version in the order that readers see."""
        return [
            "(deleted)" if is_deleted else payload["name"]
            for payload, is_deleted in self._rows(
                "select payload, is_deleted from raw.files__accounts where record_id = %s"
                " order by source_updated_at nulls first, seq",
                record_id,
            )
        ]

    def seqs(self) -> list[int]:
        return [seq for (seq,) in self._rows("select seq from raw.files__accounts order by seq")]

    def quarantine(self) -> list[tuple[Any, ...]]:
        return self._rows("select position, reason, record, record_id from quality.quarantine order by position")

    def logged(self) -> tuple[Any, ...]:
        (row,) = self._rows(
            "select records_created, records_updated, records_deleted, records_failed from control.sync_logs"
            " where id = %s",
            self.sync_id,
        )
        return row

    def _rows(self, query: str, *parameters: object) -> list[tuple[Any, ...]]:
        return self.connection.execute(query.encode(), parameters).fetchall()


@pytest.fixture
def raw(tenant: Tenant) -> Iterator[Raw]:
    with database.control_session(tenant.id) as control:
        connector_id = connectors.add(
            control, tenant_id=tenant.id, connector_type="files", config={"folder": "/nowhere"}, actor="system:tests"
        )
    with (
        lease.hold(tenant.id, lease.local_holder(), stage="extract") as held,
        database.run_session(tenant.id, autocommit=True) as connection,
    ):
        yield Raw(tenant.id, connection, held.fence, connector_id)


def named(name: str, at: datetime | None = None, record_id: str = "1", *, deleted: bool = False) -> Record:
    return Record(record_id, {"name": name}, at, deleted)


def test_a_page_read_twice_lands_once(raw: Raw) -> None:
    page = named("A"), named("B", record_id="2")
    assert raw.land(*page) == Landed(created=2)
    assert raw.land(*page) == Landed(unchanged=2)
    assert raw.seqs() == [1, 2]


def test_a_b_a_over_three_pages_is_three_versions(raw: Raw) -> None:
    landed = [raw.land(named(name)) for name in "ABA"]
    assert landed == [Landed(created=1), Landed(updated=1), Landed(updated=1)]
    assert raw.versions() == ["A", "B", "A"]


def test_a_b_a_within_one_page_is_three_versions(raw: Raw) -> None:
    assert raw.land(named("A"), named("B"), named("A")) == Landed(created=1, updated=2)
    assert raw.versions() == ["A", "B", "A"]


def test_equal_neighbours_within_a_page_are_one_version(raw: Raw) -> None:
    assert raw.land(named("A"), named("A"), named("B"), named("B")) == Landed(created=1, updated=1, unchanged=2)
    assert raw.versions() == ["A", "B"]


def test_the_order_of_keys_in_a_payload_is_no_change(raw: Raw) -> None:
    raw.land(Record("1", {"name": "A", "city": "Bonn"}))
    assert raw.land(Record("1", {"city": "Bonn", "name": "A"})) == Landed(unchanged=1)


def test_an_old_page_that_arrives_late_is_kept_in_its_place(raw: Raw) -> None:
    raw.land(named("new", WEDNESDAY))
    assert raw.land(named("old", MONDAY)) == Landed(updated=1)
    assert raw.versions() == ["old", "new"]


def test_an_old_page_that_arrives_again_and_again_lands_once(raw: Raw) -> None:
    raw.land(named("old", MONDAY), named("new", WEDNESDAY))
    for _ in range(3):
        assert raw.land(named("old", MONDAY)) == Landed(unchanged=1)
    assert raw.versions() == ["old", "new"]


def test_a_newer_stamp_on_an_equal_payload_is_no_change(raw: Raw) -> None:
    raw.land(named("A", MONDAY))
    assert raw.land(named("A", TUESDAY)) == Landed(unchanged=1)


def test_a_stamp_that_becomes_known_later_is_no_change(raw: Raw) -> None:
    raw.land(named("A"))
    assert raw.land(named("A", MONDAY)) == Landed(unchanged=1)


def test_a_shuffled_page_is_ordered_by_its_stamps(raw: Raw) -> None:
    raw.land(named("third", WEDNESDAY), named("first", MONDAY), named("second", TUESDAY))
    assert raw.versions() == ["first", "second", "third"]


def test_a_version_without_a_stamp_stands_before_those_with_one(raw: Raw) -> None:
    raw.land(named("stamped", MONDAY))
    for _ in range(2):
        raw.land(named("bare"))
    assert raw.versions() == ["bare", "stamped"]


def test_a_record_is_created_once_even_if_its_page_brings_the_newer_version_first(raw: Raw) -> None:
    assert raw.land(named("A", TUESDAY), named("A", MONDAY)) == Landed(created=1, unchanged=1)


def test_a_record_deleted_and_restored_is_three_versions(raw: Raw) -> None:
    raw.land(named("A", MONDAY))
    assert raw.land(named("A", TUESDAY, deleted=True)) == Landed(deleted=1)
    assert raw.land(named("A", WEDNESDAY)) == Landed(updated=1)
    assert raw.versions() == ["A", "(deleted)", "A"]


def test_numbers_go_on_without_gap_over_pages_and_within(raw: Raw) -> None:
    raw.land(named("A"), named("A"), named("B", record_id="2"))
    raw.land(named("C"), named("C", record_id="3"))
    assert raw.seqs() == [1, 2, 3, 4]


def test_an_empty_page_moves_the_state_and_nothing_else(raw: Raw) -> None:
    raw.land(named("A"), state={"page": 1})
    assert raw.land(state={"page": 2}) == Landed()
    assert raw.versions() == ["A"]
    assert landing.state_of(raw.connection, raw.tenant_id, "files", "accounts") == {"page": 2}


def test_a_stream_that_was_never_read_has_no_state(raw: Raw) -> None:
    assert landing.state_of(raw.connection, raw.tenant_id, "files", "accounts") is None


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        ({"name": "a\0b"}, "a text holds a NUL character, which no database stores"),
        ({"a\0b": "name"}, "a text holds a NUL character, which no database stores"),
        ({"name": "\ud800"}, "cannot be written as JSON: str is not valid UTF-8: surrogates not allowed"),
        ({"name": {1, 2}}, "cannot be written as JSON: Type is not JSON serializable: set"),
    ],
)
def test_a_record_that_the_database_cannot_store_is_quarantined_alone(
    raw: Raw, payload: dict[str, Any], reason: str
) -> None:
    assert raw.land(named("A"), Record("2", payload), named("C", record_id="3")) == Landed(created=2, failed=1)
    ((position, found, record, record_id),) = raw.quarantine()
    assert (position, found, record_id) == ("record 2", reason, "2")
    assert record


def test_a_backslash_followed_by_u0000_is_text_like_any_other(raw: Raw) -> None:
    assert raw.land(named(r"C:\u0000")) == Landed(created=1)
    assert raw.versions() == [r"C:\u0000"]


@pytest.mark.parametrize("record_id", ["", "x" * 3000, "a\0b", "\ud800"])
def test_an_id_that_no_index_holds_costs_its_record_only(raw: Raw, record_id: str) -> None:
    assert raw.land(named("A"), named("B", record_id=record_id)) == Landed(created=1, failed=1)


def test_text_that_copy_could_take_for_syntax_arrives_as_it_is(raw: Raw) -> None:
    awkward = 'tab\t newline\n \\N \\. "quoted" back\\slash ü 🐘'
    raw.land(named(awkward, record_id="a\tb\\"))
    assert raw.versions("a\tb\\") == [awkward]


def test_what_is_refused_twice_is_quarantined_once_and_counted_twice(raw: Raw) -> None:
    refused = (Rejected("line 3", "has 2 fields where the header has 3", "x\0,y"),)
    assert raw.land(rejected=refused) == Landed(failed=1)
    assert raw.land(rejected=refused) == Landed(failed=1)
    assert raw.quarantine() == [("line 3", "has 2 fields where the header has 3", "x\\u0000,y", None)]
    assert raw.logged() == (0, 0, 0, 2)


def test_the_sync_log_counts_with_each_page(raw: Raw) -> None:
    raw.land(named("A"), named("B", record_id="2"))
    raw.land(named("A2"), named("B", record_id="2", deleted=True), rejected=(Rejected("line 9", "has no id", ","),))
    assert raw.logged() == (2, 1, 1, 1)


def test_a_run_that_lost_its_lease_lands_nothing(raw: Raw) -> None:
    with pytest.raises(lease.LeaseLost):
        raw.land(named("A"), state={"page": 1}, fence=raw.fence - 1)
    assert raw.seqs() == []
    assert landing.state_of(raw.connection, raw.tenant_id, "files", "accounts") is None


def test_a_page_that_fails_leaves_neither_versions_nor_state(raw: Raw) -> None:
    with pytest.raises(psycopg.Error):
        raw.land(named("A"), state={"cursor": "no database stores \0"})
    assert raw.seqs() == []
    assert raw.land(named("A")) == Landed(created=1)


def test_landing_inside_a_transaction_is_refused_because_it_would_not_be_committed(raw: Raw) -> None:
    with raw.connection.transaction(), pytest.raises(RuntimeError, match="savepoint"):
        raw.land(named("A"))


def test_two_tenants_with_the_same_ids_do_not_meet(raw: Raw, other_tenant: Tenant) -> None:
    raw.land(named("ours"))
    with database.run_session(other_tenant.id) as other:
        assert other.execute("select count(*) from raw.files__accounts").fetchall() == [(0,)]


def test_rows_of_another_tenant_cannot_be_landed(raw: Raw, other_tenant: Tenant) -> None:
    raw.tenant_id, ours = other_tenant.id, raw.tenant_id
    with pytest.raises(psycopg.Error):
        raw.land(named("forged"))
    raw.tenant_id = ours
    assert raw.seqs() == []
