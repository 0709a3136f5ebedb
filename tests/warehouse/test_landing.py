"""Landing against a real server: which versions raw holds after which pages."""

import tracemalloc
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from connectors.contract import Asked, Record, Rejected
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
        asked: Asked | None = None,
    ) -> Landed:
        return landing.land(
            self.connection,
            landing.prepare(records, rejected),
            tenant_id=self.tenant_id,
            connector_id=self.connector_id,
            connector="files",
            stream="accounts",
            state=state,
            sync_id=self.sync_id,
            fence=self.fence if fence is None else fence,
            asked=asked,
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

    def asked(self) -> dict[str, datetime]:
        return dict(self._rows("select digest, good_until from control.lookups"))

    def _rows(self, query: str, *parameters: object) -> list[tuple[Any, ...]]:
        return self.connection.execute(query.encode(), parameters).fetchall()


@pytest.fixture
def raw(tenant: Tenant) -> Iterator[Raw]:
    with _raw_of(tenant) as ours:
        yield ours


@contextmanager
def _raw_of(tenant: Tenant) -> Iterator[Raw]:
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
    assert raw.land(named(awkward, record_id="a\tb\\")) == Landed(created=1)
    assert raw.versions("a\tb\\") == [awkward]


@pytest.mark.parametrize("record_id", ["a\tb\\", 'say "hi"', "{1,2}", "NULL", "ü 🐘", "\u2028", " ", "%s"])
def test_an_id_of_any_letters_is_known_again(raw: Raw, record_id: str) -> None:
    assert raw.land(named("A", record_id=record_id)) == Landed(created=1)
    assert raw.land(named("A", record_id=record_id)) == Landed(unchanged=1)


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


def test_about_whom_a_vendor_was_asked_is_kept_with_the_answer_or_not_at_all(raw: Raw) -> None:
    with pytest.raises(lease.LeaseLost):
        raw.land(named("A"), fence=raw.fence + 1, asked=Asked(["a"], MONDAY))
    assert raw.asked() == {}
    raw.land(named("A"), asked=Asked(["a", "b", "a"], MONDAY))
    raw.land(asked=Asked(["b"], TUESDAY))
    assert raw.asked() == {"a": MONDAY, "b": TUESDAY}


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


# ── whatever comes, in whatever order ────────────────────────────────────────────────────────────────────────────────


class Model:
    """What raw must hold of one record after any pages, found the slow way: one version after the other.

    Versions are (stamp or the beginning of time, seq, name, is deleted).
    """

    def __init__(self) -> None:
        self.versions: list[tuple[datetime, int, str, bool]] = []

    def land(self, brought: Sequence[tuple[int, Record]]) -> list[int]:
        """Take what one page brings, each with its place among all that ever came. Returns the places that are news."""
        news = []
        for place, record in sorted(brought, key=lambda each: (each[1].source_updated_at or BEFORE_ALL, each[0])):
            stamp, name = record.source_updated_at or BEFORE_ALL, record.payload["name"]
            before = [version for version in sorted(self.versions) if version[:2] < (stamp, place)]
            if not before or before[-1][2:] != (name, record.is_deleted):
                self.versions.append((stamp, place, name, record.is_deleted))
                news.append(place)
        return news

    def names(self) -> list[str]:
        return ["(deleted)" if is_deleted else name for _, _, name, is_deleted in sorted(self.versions)]


BEFORE_ALL = datetime.min.replace(tzinfo=UTC)

any_record = st.builds(
    Record,
    id=st.sampled_from("123"),
    payload=st.fixed_dictionaries({"name": st.sampled_from("AB")}),
    source_updated_at=st.sampled_from([None, MONDAY, TUESDAY, WEDNESDAY]),
    is_deleted=st.sampled_from([False, False, False, True]),
)
any_pages = st.lists(st.lists(any_record, max_size=6), min_size=1, max_size=5)
each_example_has_ids_of_its_own = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def _with_fresh_ids(pages: Sequence[Sequence[Record]]) -> list[list[Record]]:
    example = uuid.uuid4().hex
    return [
        [Record(f"{example}-{each.id}", each.payload, each.source_updated_at, each.is_deleted) for each in page]
        for page in pages
    ]


@each_example_has_ids_of_its_own
@given(any_pages)
def test_raw_holds_what_the_slow_way_finds_after_any_pages(raw: Raw, pages: list[list[Record]]) -> None:
    models: dict[str, Model] = {}
    place = 0
    for page in _with_fresh_ids(pages):
        places = {place + position: record for position, record in enumerate(page)}
        place += len(page)
        news: set[int] = set()
        known = {record_id for record_id, model in models.items() if model.versions}
        for record_id in {record.id for record in page}:
            model = models.setdefault(record_id, Model())
            news |= set(model.land([(at, each) for at, each in places.items() if each.id == record_id]))
        first = {
            min(at for at in news if places[at].id == record_id) for record_id in {places[at].id for at in news} - known
        }
        landed = raw.land(*page)
        deleted = {at for at in news if places[at].is_deleted}
        assert landed == Landed(
            created=len(first - deleted),
            updated=len(news - first - deleted),
            unchanged=len(page) - len(news),
            deleted=len(deleted),
        )
    assert {record_id: raw.versions(record_id) for record_id in models} == {
        record_id: model.names() for record_id, model in models.items()
    }
    seqs = raw.seqs()
    assert seqs == list(range(1, len(seqs) + 1))


@each_example_has_ids_of_its_own
@given(any_pages)
def test_the_last_page_read_again_changes_nothing(raw: Raw, pages: list[list[Record]]) -> None:
    *earlier, last = _with_fresh_ids(pages)
    # two versions of one record with one stamp can't be told from a change there and back
    last = list({(record.id, record.source_updated_at): record for record in last}.values())
    for page in [*earlier, last]:
        raw.land(*page)
    assert raw.land(*last) == Landed(unchanged=len(last))


# ── sizes ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_ten_thousand_records_with_one_timestamp_land_once_each(raw: Raw) -> None:
    pages = [
        [named("A", MONDAY, str(number)) for number in range(start, start + 2000)] for start in range(0, 10_000, 2000)
    ]
    for page in pages:
        assert raw.land(*page) == Landed(created=2000)
    for page in pages:
        assert raw.land(*page) == Landed(unchanged=2000)


def test_ten_thousand_versions_of_one_record_in_one_page_all_land(raw: Raw) -> None:
    page = [named(str(number), MONDAY + timedelta(seconds=number)) for number in range(10_000)]
    assert raw.land(*page) == Landed(created=1, updated=9999)
    assert raw.land(*page) == Landed(unchanged=10_000)
    assert raw.versions() == [str(number) for number in range(10_000)]


def test_a_page_of_fifty_thousand_lands_like_any_other(raw: Raw) -> None:
    page = [named("A", record_id=str(number)) for number in range(50_000)]
    assert raw.land(*page) == Landed(created=50_000)
    page[7] = named("B", record_id="7")
    assert raw.land(*page) == Landed(updated=1, unchanged=49_999)


def test_memory_stays_flat_however_long_the_stream(raw: Raw) -> None:
    def peak_over(pages: int, first: int) -> int:
        tracemalloc.reset_peak()
        for page in range(first, first + pages):
            raw.land(*(Record(f"{page}-{number}", {"text": "x" * 500}) for number in range(500)), state={"page": page})
        return tracemalloc.get_traced_memory()[1]

    tracemalloc.start()
    try:
        peak_over(2, first=0)
        assert peak_over(20, first=22) < 1.2 * peak_over(3, first=2)
    finally:
        tracemalloc.stop()


# what ANALYZE leaves behind when it comes between the end of many small tenants and the next one's first rows
NEARLY_EMPTY = """
select pg_restore_relation_stats(
        'schemaname', 'raw', 'relname', 'files__accounts', 'relpages', 1000, 'reltuples', 2::real),
    pg_clear_attribute_stats('raw', 'files__accounts', 'tenant_id', false),
    pg_clear_attribute_stats('raw', 'files__accounts', 'record_id', false),
    pg_restore_attribute_stats(
        'schemaname', 'raw', 'relname', 'files__accounts', 'attname', 'tenant_id', 'inherited', false,
        'null_frac', 0::real, 'avg_width', 37, 'n_distinct', -0.5::real),
    pg_restore_attribute_stats(
        'schemaname', 'raw', 'relname', 'files__accounts', 'attname', 'record_id', 'inherited', false,
        'null_frac', 0::real, 'avg_width', 4, 'n_distinct', 2::real)
"""


@pytest.mark.parametrize("believed", ["of another tenant alone", "nearly empty"])
def test_records_are_looked_up_by_key_even_if_the_statistics_are_older_than_the_tenant(
    raw: Raw, other_tenant: Tenant, believed: str
) -> None:
    """The planner then takes the tenant for empty, and any other index for as good: a scan for each record."""
    page = [named("A", record_id=str(number)) for number in range(1000)]
    with database.connect(database.admin_conninfo(), autocommit=True) as admin, _raw_of(other_tenant) as other:
        admin.execute("alter table raw.files__accounts set (autovacuum_enabled = false)")
        try:
            other.land(*page)
            admin.execute("analyze raw.files__accounts")
            if believed == "nearly empty":
                admin.execute(NEARLY_EMPTY)
            raw.land(*page)
            before = _rows_read(raw, admin)
            assert raw.land(*page) == Landed(unchanged=1000)
            assert _rows_read(raw, admin) - before < 3 * len(page)
        finally:
            admin.execute("alter table raw.files__accounts reset (autovacuum_enabled)")


def _rows_read(raw: Raw, admin: psycopg.Connection) -> int:
    raw.connection.execute("select pg_stat_force_next_flush()")
    ((count,),) = admin.execute(
        "select sum(seq_tup_read) + sum(entries) from pg_stat_user_tables join lateral ("
        " select sum(idx_tup_read) as entries from pg_stat_user_indexes"
        " where pg_stat_user_indexes.relid = pg_stat_user_tables.relid) as indexes on true"
        " where relid = 'raw.files__accounts'::regclass"
    ).fetchall()
    return int(count)


# ── when it goes wrong half-way ──────────────────────────────────────────────────────────────────────────────────────


@contextmanager
def _at_row(number: int, table: str, happens: str) -> Iterator[None]:
    """`happens` is PL/pgSQL that runs when the statement under way comes to this row of the table."""
    with database.connect(database.admin_conninfo(), autocommit=True) as admin:
        admin.execute(
            f"create function public.accident() returns trigger language plpgsql as $$ begin"
            f" if new.seq = {number} then {happens}; end if; return new; end $$".encode()
            if table.startswith("raw.")
            else "create function public.accident() returns trigger language plpgsql as"
            f" $$ begin {happens}; return new; end $$".encode()
        )
        admin.execute(
            f"create trigger accident before insert or update on {table} for each row"
            " execute function public.accident()".encode()
        )
        try:
            yield
        finally:
            admin.execute("drop function public.accident() cascade")


@pytest.mark.parametrize("table", ["raw.files__accounts", "quality.quarantine", "control.sync_logs"])
@pytest.mark.parametrize(
    "happens",
    [
        pytest.param("raise exception 'No space left on device' using errcode = 'disk_full'", id="the disk is full"),
        pytest.param("perform pg_cancel_backend(pg_backend_pid()), pg_sleep(1)", id="somebody cancels the statement"),
        pytest.param("perform pg_terminate_backend(pg_backend_pid()), pg_sleep(1)", id="the connection is cut"),
    ],
)
def test_nothing_is_half_landed_when(raw: Raw, table: str, happens: str) -> None:
    page = [named("A", record_id=str(number)) for number in range(500)]
    refused = (Rejected("line 9", "has no id", ","),)
    with _at_row(300, table, happens), pytest.raises(psycopg.OperationalError):
        raw.land(*page, rejected=refused, state={"page": 1})
    with database.run_session(raw.tenant_id, autocommit=True) as connection:
        raw.connection = connection
        assert raw.seqs() == []
        assert raw.quarantine() == []
        assert raw.logged() == (0, 0, 0, 0)
        assert landing.state_of(connection, raw.tenant_id, "files", "accounts") is None
        assert raw.land(*page, rejected=refused, state={"page": 1}) == Landed(created=500, failed=1)


def test_a_record_that_breaks_while_its_page_is_on_the_way_takes_the_page_back(raw: Raw) -> None:
    class Broken:
        id, payload, source_updated_at = "2", {"name": "B"}, None

        @property
        def is_deleted(self) -> bool:
            raise RuntimeError("the reader's own mistake")

    with pytest.raises(RuntimeError, match="mistake"):
        raw.land(named("A"), Broken(), named("C", record_id="3"), state={"page": 1})  # type: ignore[arg-type]
    assert raw.seqs() == []
    assert raw.land(named("A")) == Landed(created=1)


# ── moments ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("moment", "stored"),
    [
        (datetime(2026, 3, 2, 9, 30, 15, 123456, UTC), "2026-03-02 09:30:15.123456+00"),
        (datetime(2026, 3, 2, 9, 30, tzinfo=timezone(timedelta(hours=5, minutes=30))), "2026-03-02 04:00:00+00"),
        (datetime(2026, 3, 2, 9, 30), "2026-03-02 09:30:00+00"),  # noqa: DTZ001 - what becomes of it is the question
        (datetime(1969, 12, 31, 23, 59, 59, 999999, UTC), "1969-12-31 23:59:59.999999+00"),
        (datetime(9999, 12, 31, 23, tzinfo=timezone(-timedelta(hours=12))), "10000-01-01 11:00:00+00"),
        (datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=14))), "0001-12-31 10:00:00+00 BC"),
    ],
)
def test_every_moment_that_python_knows_is_stored_and_known_again(raw: Raw, moment: datetime, stored: str) -> None:
    assert raw.land(named("A", moment)) == Landed(created=1)
    assert raw.land(named("A", moment), named("B", moment)) == Landed(updated=1, unchanged=1)
    found = raw.connection.execute("select distinct source_updated_at::text from raw.files__accounts").fetchall()
    assert found == [(stored,)]


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
