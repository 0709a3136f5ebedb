"""What was refused: listed, and tried again."""

from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from connectors.contract import Fatal, Page, Record, Rejected, State, Stream
from control import access, erasure, members, quarantine, registry
from steps import replay
from steps.replay import Replayed
from tests.conftest import Clarity, Tenant
from tests.steps.conftest import Play
from tests.steps.conftest import play as play
from tests.steps.customer import Customer
from warehouse import database, landing, lease
from warehouse.errors import ClarityError, MisuseError

TESTS = "system:tests"
MONDAY, TUESDAY, WEDNESDAY = (datetime(2026, 3, day, tzinfo=UTC) for day in (2, 3, 4))

Replay = Callable[[Stream, Any, str | None], Record | Rejected]


@pytest.fixture
def customer(tenant: Tenant, tmp_path: Path) -> Customer:
    return Customer(tenant, tmp_path)


def fixed(_stream: Stream, raw: Any, _record_id: str | None) -> Record | Rejected:
    """What a connector does that can read now what it could not read then: `id,name`, else it still can't."""
    record_id, comma, name = str(raw).partition(",")
    return Record(record_id, {"name": name}) if comma else Rejected("again", "still has no comma", raw)


def refused(*lines: str) -> list[Rejected]:
    return [Rejected(f"line {line}", "could not be read", line, line.partition(",")[0]) for line in lines]


class Shelf:
    """A stream whose syncs bring what the test says."""

    def __init__(self, customer: Customer, play: Play) -> None:
        self.customer, self._play = customer, play

    def sync(self, *records: Record, rejected: Sequence[Rejected] = (), stream: str = "accounts") -> None:
        async def script(_state: State | None) -> AsyncIterator[Page]:
            yield Page(records, {"kept": True}, rejected)

        self._play(with_={"replay": fixed}, **{stream: script})
        self.customer.sync()

    def replay(self, how: Replay = fixed, *, connector: str | None = None, stream: str | None = None) -> list[Replayed]:
        self._play(with_={"replay": how})
        return replay.run(self.customer.tenant.slug, connector=connector, stream=stream, actor=TESTS)

    def open(self) -> list[tuple[Any, ...]]:
        return self.customer.rows(
            "select record_id, reason from quality.quarantine where replayed_at is null order by record_id, reason"
        )


@pytest.fixture
def shelf(customer: Customer, play: Play) -> Shelf:
    return Shelf(customer, play)


def of_accounts(landed: int = 0, changed: int = 0, superseded: int = 0, refused: int = 0) -> list[Replayed]:
    return [Replayed("files", "accounts", landed, changed, superseded, refused=refused)]


def test_what_can_be_read_now_lands_and_leaves_the_quarantine(shelf: Shelf) -> None:
    shelf.sync(Record("1", {"name": "good"}), rejected=refused("2,mended", "3"))
    assert shelf.replay() == of_accounts(landed=1, changed=1, refused=1)
    assert shelf.customer.latest() == {"1": "good", "2": "mended"}
    assert shelf.open() == [("3", "still has no comma")]


def test_a_replay_is_a_sync_of_its_own_and_moves_no_state(shelf: Shelf) -> None:
    shelf.sync(rejected=refused("2,mended", "3"))
    shelf.replay()
    logs = shelf.customer.rows(
        "select sync_type, status, records_created, records_updated, records_failed, completed_at is not null,"
        " starts_with(id, 'replay:') from control.sync_logs order by started_at"
    )
    assert logs[1] == ("incremental", "completed", 1, 0, 1, True, True)
    assert shelf.customer.state() == {"kept": True}


def test_replaying_twice_lands_once(shelf: Shelf) -> None:
    shelf.sync(rejected=refused("2,mended"))
    shelf.replay()
    assert shelf.replay() == []
    assert shelf.customer.raw("accounts") == 1


def test_what_is_refused_again_after_it_was_settled_is_open_again(shelf: Shelf) -> None:
    shelf.sync(rejected=refused("2,mended"))
    shelf.replay()
    assert shelf.open() == []
    shelf.sync(rejected=refused("2,mended"))
    assert shelf.open() == [("2", "could not be read")]
    assert shelf.replay() == of_accounts(landed=1)
    assert shelf.open() == []


def test_a_newer_version_that_has_landed_since_is_not_overwritten(shelf: Shelf) -> None:
    shelf.sync(rejected=refused("2,old"))
    shelf.sync(Record("2", {"name": "new"}))
    assert shelf.replay() == of_accounts(superseded=1)
    assert shelf.customer.latest() == {"2": "new"}
    assert shelf.open() == []


def test_a_version_from_before_it_was_refused_is_overwritten(shelf: Shelf) -> None:
    shelf.sync(Record("2", {"name": "old"}))
    shelf.sync(rejected=refused("2,new"))
    assert shelf.replay() == of_accounts(landed=1, changed=1)
    assert shelf.customer.latest() == {"2": "new"}


def test_several_refused_versions_of_a_record_land_in_their_order(shelf: Shelf) -> None:
    shelf.sync(rejected=refused("2,first"))
    shelf.sync(rejected=refused("2,second"))
    assert shelf.replay() == of_accounts(landed=2, changed=2)
    assert shelf.customer.latest() == {"2": "second"}


def test_an_older_entry_does_not_overwrite_a_later_one_that_was_replayed_before(shelf: Shelf) -> None:
    shelf.sync(rejected=refused("2,first"))
    shelf.sync(rejected=refused("2,second"))

    def only_the_second(stream: Stream, raw: Any, record_id: str | None) -> Record | Rejected:
        return fixed(stream, raw, record_id) if "second" in raw else Rejected("", "not yet", raw, record_id)

    assert shelf.replay(only_the_second) == of_accounts(landed=1, changed=1, refused=1)
    assert shelf.replay() == of_accounts(superseded=1)
    assert shelf.customer.latest() == {"2": "second"}


def test_a_record_with_a_stamp_finds_its_place_among_the_versions(shelf: Shelf) -> None:
    def stamped(_stream: Stream, raw: Any, _record_id: str | None) -> Record:
        return Record("2", {"name": raw}, TUESDAY)

    shelf.sync(Record("2", {"name": "monday"}, MONDAY), rejected=refused("tuesday"))
    shelf.sync(Record("2", {"name": "wednesday"}, WEDNESDAY))
    assert shelf.replay(stamped) == of_accounts(landed=1, changed=1)
    assert shelf.customer.latest() == {"2": "wednesday"}
    assert shelf.customer.raw("accounts") == 3


def test_a_version_with_the_same_stamp_that_came_later_stays_the_latest(shelf: Shelf) -> None:
    def stamped(_stream: Stream, raw: Any, _record_id: str | None) -> Record:
        return Record("2", {"name": raw}, TUESDAY)

    shelf.sync(rejected=refused("tuesday"))
    shelf.sync(Record("2", {"name": "mended"}, TUESDAY))
    assert shelf.replay(stamped) == of_accounts(superseded=1)
    assert shelf.customer.latest() == {"2": "mended"}


def test_a_mistake_in_a_connector_leaves_its_entry_open_and_the_others_go_on(shelf: Shelf) -> None:
    def mistaken(stream: Stream, raw: Any, record_id: str | None) -> Record | Rejected:
        if raw == "3":
            raise KeyError("Id")
        return fixed(stream, raw, record_id)

    shelf.sync(rejected=refused("2,mended", "3"))
    assert shelf.replay(mistaken) == of_accounts(landed=1, changed=1, refused=1)
    assert shelf.open() == [("3", "KeyError: 'Id'")]


def test_what_landing_refused_by_itself_is_replayed_like_the_rest(shelf: Shelf) -> None:
    def again(_stream: Stream, raw: Any, record_id: str | None) -> Record:
        return Record(str(record_id)[:200], raw)

    shelf.sync(Record("x" * 300, {"name": "long"}), Record("2", {"name": "a\0b"}))
    assert len(shelf.open()) == 2
    assert shelf.replay(again) == of_accounts(landed=2, changed=2)
    assert shelf.customer.latest() == {"x" * 200: "long", "2": "a\\u0000b"}
    assert shelf.open() == []


@pytest.mark.parametrize(
    ("odd", "reason"),
    [
        (Record("a\0b", {}), "the id holds a character that no database stores"),
        (Record("3", {"name": ["a\0b"]}), "a text holds a NUL character, which no database stores"),
        (Record("3", {"name": object()}), "cannot be written as JSON: Type is not JSON serializable: object"),
    ],
)
def test_a_record_that_no_database_stores_stays_and_leaves_the_others_alone(
    shelf: Shelf, odd: Record, reason: str
) -> None:
    def binary(stream: Stream, raw: Any, record_id: str | None) -> Record | Rejected:
        return odd if raw == "3,odd" else fixed(stream, raw, record_id)

    shelf.sync(rejected=refused("2,mended", "3,odd"))
    assert shelf.replay(binary) == of_accounts(landed=1, changed=1, refused=1)
    assert shelf.customer.latest() == {"2": "mended"}
    assert shelf.open() == [("3", reason)]


def test_an_erased_person_is_not_brought_back(shelf: Shelf) -> None:
    def person(_stream: Stream, raw: Any, _record_id: str | None) -> Record:
        return Record(str(raw), {"name": raw, "email": "ann@acme.example"})

    shelf.sync(Record("1", {"email": "ann@acme.example"}), rejected=refused("2"), stream="people")
    erasure.erase(registry.tenant(shelf.customer.tenant.slug), "ann@acme.example", actor=TESTS)
    assert shelf.open() == [("2", "could not be read")]
    assert shelf.replay(person) == [Replayed("files", "people", erased=1)]
    assert shelf.customer.raw("people") == 0
    assert shelf.open() == []
    assert shelf.customer.rows("select record_id, record from quality.quarantine") == [(None, None)]


def test_one_stream_or_connector_alone_is_replayed_when_named(shelf: Shelf) -> None:
    shelf.sync(rejected=refused("2,a"))
    shelf.sync(rejected=refused("2,b"), stream="people")
    assert shelf.replay(stream="people") == [Replayed("files", "people", landed=1, changed=1)]
    assert len(shelf.open()) == 1
    assert shelf.replay(connector="files") == of_accounts(landed=1, changed=1)


def test_a_stream_that_is_not_read_any_more_keeps_its_entries_and_says_why(shelf: Shelf, play: Play) -> None:
    shelf.sync(rejected=refused("2,a"))
    play(with_={"reads": ["people"], "replay": fixed})
    (told,) = replay.run(shelf.customer.tenant.slug, actor=TESTS)
    assert told.refused == 1
    assert "leave this stream out" in told.note
    assert len(shelf.open()) == 1


def test_a_replay_killed_between_landing_and_settling_is_finished_by_the_next(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf.sync(rejected=refused("2,first"))
    shelf.sync(rejected=refused("2,second", "3,other"))

    def kill(*_arguments: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(quarantine, "BATCH", 1)
        patch.setattr(quarantine, "settle", kill)
        with pytest.raises(KeyboardInterrupt):
            shelf.replay()
    assert shelf.customer.latest() == {"2": "first"}
    shelf.replay()
    assert shelf.customer.latest() == {"2": "second", "3": "other"}
    assert shelf.open() == []
    shelf.sync()
    assert shelf.customer.rows("select count(*) from control.sync_logs where status = 'running'") == [(0,)]


def test_a_replay_that_lost_its_lease_changes_nothing(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    shelf.sync(rejected=refused("2,a"))
    really_screen = erasure.screen

    def lose_it(*arguments: Any) -> erasure.Screen | None:
        with database.run_session(shelf.customer.tenant.id) as connection:
            connection.execute("update control.run_leases set fence = fence + 1")
        return really_screen(*arguments)

    monkeypatch.setattr(erasure, "screen", lose_it)
    with pytest.raises(lease.LeaseLost):
        shelf.replay()
    assert (shelf.customer.raw("accounts"), len(shelf.open())) == (0, 1)


def test_a_large_quarantine_is_replayed_in_batches(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quarantine, "BATCH", 40)
    pages: list[int] = []
    really_land = landing.land

    def land(*arguments: Any, **named: Any) -> landing.Landed:
        pages.append(len(arguments[1].records))
        return really_land(*arguments, **named)

    shelf.sync(rejected=refused(*(f"{number},a" for number in range(100))))
    monkeypatch.setattr(landing, "land", land)
    assert shelf.replay() == of_accounts(landed=100, changed=100)
    assert pages == [40, 40, 20]


def test_a_wrong_configuration_is_said_in_a_sentence(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    shelf.sync(rejected=refused("2,a"))

    def wrong(*_arguments: Any) -> Any:
        raise Fatal("files: folder must be an absolute path")

    monkeypatch.setattr("connectors.catalogue.connect", wrong)
    with pytest.raises(ClarityError, match="absolute path"):
        replay.run(shelf.customer.tenant.slug, actor=TESTS)


# ── who, and how it looks ────────────────────────────────────────────────────────────────────────────────────────────


def test_a_viewer_looks_and_a_manager_replays_which_is_audited(shelf: Shelf) -> None:
    tenant = shelf.customer.tenant
    for user, role in (("vic", "viewer"), ("mia", "manager")):
        members.add(tenant.id, user, role, actor=TESTS)
    shelf.sync(rejected=refused("2,a"))
    found, count = quarantine.entries(tenant.id, connector=None, stream=None, limit=9, actor="vic")
    assert ([entry.position for entry in found], count) == (["line 2,a"], 1)
    with pytest.raises(ClarityError, match="needs the role manager"):
        replay.run(tenant.slug, actor="vic")
    with pytest.raises(ClarityError, match="is no member"):
        quarantine.entries(tenant.id, connector=None, stream=None, limit=9, actor="eve")
    replay.run(tenant.slug, actor="mia")
    trail = shelf.customer.rows("select user_id, action from control.audit_log order by seq desc limit 1")
    assert trail == [("mia", "quarantine.replay")]
    assert access.PERMISSIONS["quarantine.replay"] == "manager"


def test_names_that_are_not_there_are_misuse_that_names_those_there_are(shelf: Shelf) -> None:
    slug = shelf.customer.tenant.slug
    with pytest.raises(MisuseError, match="has no fax connector; it has files"):
        replay.refuse_unknown(slug, "fax", None, actor=TESTS)
    with pytest.raises(MisuseError, match="no stream 'planets'; there are accounts"):
        replay.refuse_unknown(slug, "files", "planets", actor=TESTS)


def test_another_tenants_quarantine_is_not_shown(shelf: Shelf, other_tenant: Tenant) -> None:
    shelf.sync(rejected=refused("2,a"))
    assert quarantine.entries(other_tenant.id, connector=None, stream=None, limit=9, actor=TESTS) == ([], 0)


def test_the_command_lists_and_replays(shelf: Shelf, clarity: Clarity) -> None:
    slug = shelf.customer.tenant.slug
    shelf.sync(rejected=[*refused("2,a", "3"), Rejected("line \x1b[2J", "is odd", "\x1b[2Jboo")])
    shown = clarity("quarantine", slug).out
    assert "could not be read" in shown
    assert "\x1b[2J" not in shown
    (one,) = clarity("--json", "quarantine", slug, "--limit", "1").answer
    assert {"id", "created_at", "connector", "stream", "position", "record_id", "reason", "record"} == one.keys()
    (told,) = clarity("--json", "quarantine", slug, "--replay").answer
    assert (told["landed"], told["refused"]) == (1, 2)
    assert len(clarity("--json", "quarantine", slug).answer) == 2
