"""Microsoft 365: every trap that cost others rows, or would have cost somebody their privacy, handled by its name."""

import asyncio
import logging
from ast import literal_eval
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from connectors.contract import Consent, Fatal, Page, Reauthorise, Record, ResetState, State
from connectors.http import Clock
from connectors.o365.client import NOT_ACCEPTED, Client
from connectors.o365.counterparts import Allowlist
from connectors.o365.streams import STREAMS
from sandbox.graph import Directory, Faults, Served, serve
from sandbox.graph.directory import CANARY, recipient
from sandbox.graph.world import Party, seller
from tests.connectors.contract_suite.o365 import QUICK, config, part

ADA, BEN = Party("Ada", "ada@acme.example"), Party("Ben", "ben@other.example")
ACME = frozenset({"acme.example"})
MESSAGES, EVENTS = STREAMS


class Reader:
    """A connector that reads the sandbox at the sandbox's own time, round after round."""

    def __init__(self, served: Served, domains: frozenset[str] = ACME, **more: Any) -> None:
        self.served, self.directory = served, served.directory
        self.states: dict[str, State | None] = {"messages": None, "events": None}
        self.consent = Consent(accepted=True, domains=domains)
        self.settings = {**config(served), **QUICK, "page_size": 2, **more}

    def client(self) -> Client:
        return Client(self.settings, None, self.consent, clock=Clock(now=lambda: self.directory.now))

    def pages(self, stream: Any) -> list[Page]:
        async def read() -> list[Page]:
            return [page async for page in self.client().pages(stream, self.states[stream.name])]

        pages = asyncio.run(read())
        self.states[stream.name] = pages[-1].state
        return pages

    def records(self, stream: Any = MESSAGES) -> list[Record]:
        return [record for page in self.pages(stream) for record in page.records]

    def told(self, stream: Any = EVENTS) -> list[tuple[str, bool]]:
        """Whose and whether gone, by the thing that each record is about."""
        return [(record.id.partition("/")[0], record.is_deleted) for record in self.records(stream)]

    def notes(self, stream: Any = MESSAGES) -> list[str]:
        return [note for page in self.pages(stream) for note in page.notes]

    def asked(self, what: str = "delta") -> list[Any]:
        return self.served.log.of(what)


@pytest.fixture
def served() -> Iterator[Served]:
    with serve(Directory(seed=1, accounts=2, is_empty=True), Faults(seed=1, slow_seconds=0.01)) as served:
        yield served


@pytest.fixture
def reader(served: Served) -> Reader:
    return Reader(served)


@pytest.fixture
def directory(served: Served) -> Directory:
    return served.directory


# ── privacy ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_before_the_agreement_nobody_is_even_asked(served: Served, reader: Reader, directory: Directory) -> None:
    directory.receive(ADA)
    reader.consent = Consent(accepted=False, domains=ACME)
    health = asyncio.run(reader.client().check())
    assert (health.ok, health.is_blocked, health.message) == (False, True, NOT_ACCEPTED)
    assert reader.records() == reader.records(EVENTS) == []
    assert served.log.calls == []


def test_an_empty_list_of_domains_reads_nothing(served: Served, directory: Directory) -> None:
    directory.receive(ADA)
    reader = Reader(served, frozenset())
    assert reader.records() == []
    assert served.log.calls == []
    assert "no domain is allowed" in reader.notes()[0]


def test_of_a_mail_only_allowed_counterparts_are_told(reader: Reader, directory: Directory) -> None:
    directory.send((ADA, BEN, Party("Sub", "sub@mail.acme.example")))
    (record,) = reader.records()
    assert record.payload["address"] == ADA.address
    assert "other.example" not in str(reader.states) + str(record)


def test_the_tenant_s_own_domain_is_no_counterpart_even_if_it_is_listed(served: Served, directory: Directory) -> None:
    directory.receive(seller(1))
    directory.meet((seller(2), ADA), directory.now)
    reader = Reader(served, ACME | {"seller.example"})
    assert reader.records() == []
    assert [record.payload["address"] for record in reader.records(EVENTS)] == [ADA.address]


def test_no_subject_preview_or_body_is_asked_for_or_gets_anywhere(
    served: Served, reader: Reader, directory: Directory, caplog: pytest.LogCaptureFixture
) -> None:
    directory.receive(ADA)
    directory.meet((ADA,), directory.now + timedelta(days=1))
    with caplog.at_level(logging.DEBUG):
        pages = [*reader.pages(MESSAGES), *reader.pages(EVENTS)]
    assert sum(len(page.records) for page in pages) == 2
    assert CANARY not in f"{pages}{caplog.text}"
    selects = [call.query for call in served.log.calls if "messages" in call.path]
    assert selects
    assert not any(word in query for query in selects for word in ("subject", "body", "Preview"))


def test_a_page_that_breaks_off_quotes_no_subject(
    served: Served, reader: Reader, directory: Directory, caplog: pytest.LogCaptureFixture
) -> None:
    directory.meet((ADA,), directory.now)
    served.faults.next("truncated", containing="calendarView", times=10)
    with caplog.at_level(logging.DEBUG), pytest.raises(Exception, match="breaks off") as failure:
        reader.pages(EVENTS)
    assert CANARY not in f"{failure.value}{caplog.text}"


def test_an_address_is_the_same_however_it_is_written() -> None:
    allowed = Allowlist(["xn--mnchen-3ya.example"], ["own.example"])
    for written in ("Ann@München.example", "ANN@XN--MNCHEN-3YA.EXAMPLE", " ann@münchen.example. "):
        (who,) = allowed.counterparts([{"emailAddress": {"address": written, "name": written}}], "to")
        assert (who.address, who.domain, who.name) == ("ann@xn--mnchen-3ya.example", "xn--mnchen-3ya.example", None)
    odd: list[Any] = [None, 7, {}, {"emailAddress": None}, {"emailAddress": {"address": "@xn--mnchen-3ya.example"}}]
    assert list(allowed.counterparts(odd, "to")) == []


# ── mail ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_each_folder_has_its_own_changes_so_sent_mail_is_not_missed(reader: Reader, directory: Directory) -> None:
    received, sent = directory.receive(ADA), directory.send((ADA,))
    told = {record.payload["message"]: record.payload["kind"] for record in reader.records()}
    assert told == {received: "Mail received", sent: "Mail sent"}


def test_a_folder_of_more_than_a_filter_lets_through_is_read_whole(reader: Reader, directory: Directory) -> None:
    directory.filtered_at_most = 3
    for _ in range(7):
        directory.receive(ADA)
    directory.receive(ADA, at=directory.now - timedelta(days=500))
    assert len(reader.records()) == 7


def test_a_removed_mail_does_not_unhappen_and_a_moved_one_is_no_other(reader: Reader, directory: Directory) -> None:
    reader.settings["folders"] = ["inbox", "archive"]
    moved, removed = directory.receive(ADA), directory.receive(ADA)
    first = reader.records()
    directory.move(moved, "archive")
    directory.delete_message(removed)
    again = reader.records()
    assert [record.id for record in again] == [first[0].id]
    assert again[0].payload == first[0].payload
    assert not any(record.is_deleted for record in again)


def test_drafts_and_invitations_are_no_mails(reader: Reader, directory: Directory) -> None:
    directory.edit_message(directory.receive(ADA), isDraft=True)
    directory.edit_message(directory.receive(ADA), **{"@odata.type": "#microsoft.graph.eventMessageRequest"})
    plain = directory.receive(ADA)
    assert [record.payload["message"] for record in reader.records()] == [plain]


def test_a_thread_is_the_same_in_every_mailbox(reader: Reader, directory: Directory) -> None:
    for number in (0, 1):
        directory.receive(ADA, to=number, thread="question")
    threads = {record.payload["thread"] for record in reader.records()}
    conversations = {item["conversationId"] for _, item in directory.messages()}
    assert (len(threads), len(conversations)) == (1, 2)


def test_a_mail_without_a_time_is_refused_without_a_word_of_it(reader: Reader, directory: Directory) -> None:
    directory.edit_message(directory.receive(ADA), sentDateTime="soon")
    (rejected,) = [refusal for page in reader.pages(MESSAGES) for refusal in page.rejected]
    assert rejected.raw == {}


# ── places ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_links_are_followed_as_they_came(served: Served, reader: Reader, directory: Directory) -> None:
    for _ in range(5):
        directory.receive(ADA)
    assert len(reader.records()) == 5
    assert reader.records() == []
    assert {call.status for call in served.log.calls} == {200}


def test_a_lost_place_is_read_again_in_that_folder_alone(served: Served, reader: Reader, directory: Directory) -> None:
    received, _ = directory.receive(ADA), directory.send((ADA,))
    reader.records()
    served.log.clear()
    directory.lose_places(0, "inbox")
    pages = reader.pages(MESSAGES)
    assert [record.payload["message"] for page in pages for record in page.records] == [received]
    (note,) = [note for page in pages for note in page.notes]
    assert "inbox" in note
    assert [call.status for call in reader.asked()].count(410) == 1
    first_pages = [call.path for call in reader.asked() if "token" not in call.query]
    assert len(first_pages) == 1


def test_a_place_that_is_lost_amid_a_round_is_read_again_as_well(served: Served, reader: Reader) -> None:
    for _ in range(5):
        reader.directory.receive(ADA)
    served.faults.next("lost", containing="skiptoken")
    assert len({record.id for record in reader.records()}) == 5


def test_a_mailbox_that_is_not_open_is_named_and_the_others_are_read(reader: Reader, directory: Directory) -> None:
    directory.receive(ADA, to=1)
    directory.mailboxes[0].is_open = False
    pages = reader.pages(MESSAGES)
    assert sum(len(page.records) for page in pages) == 1
    notes = [note for page in pages for note in page.notes]
    assert len(notes) == 2
    assert all(directory.mailboxes[0].id in note for note in notes)


def test_no_open_mailbox_at_all_is_a_missing_permission(reader: Reader, directory: Directory) -> None:
    for mailbox in directory.mailboxes:
        mailbox.is_open = False
    with pytest.raises(Reauthorise, match="Grant it Mail"):
        reader.pages(MESSAGES)


def test_no_more_than_four_are_in_a_mailbox_at_a_time(served: Served, directory: Directory) -> None:
    directory.latency = 0.02
    for _ in range(2):
        directory.receive(ADA)
        directory.meet((ADA,), directory.now)
    client = Reader(served, mailboxes=["rep0@seller.example"]).client()

    async def read_many() -> None:
        async with client.api() as api:
            user = directory.mailboxes[0].id
            await asyncio.gather(*(api.messages(user, "inbox", None) for _ in range(12)))

    asyncio.run(read_many())
    assert {call.status for call in served.log.calls} == {200}


def test_the_token_goes_nowhere_but_to_graph(served: Served, reader: Reader) -> None:
    place = {"link": "https://evil.example/v1.0/users/x/messages/delta?$deltatoken=1"}
    user = reader.directory.mailboxes[0].id
    reader.states["messages"] = {"version": 1, "places": {f"{user}/inbox": place}}
    with pytest.raises(Fatal, match="is not the place of base_url"):
        reader.pages(MESSAGES)


def test_behind_a_proxy_a_link_of_graph_s_own_goes_the_configured_way(served: Served, reader: Reader) -> None:
    reader.directory.receive(ADA)
    reader.records()
    state = reader.states["messages"]
    assert state
    told = str(state["places"]).replace(served.url, "https://graph.microsoft.com")
    reader.states["messages"] = {"version": 1, "places": literal_eval(told)}
    reader.directory.receive(ADA)
    assert len(reader.records()) == 1


def test_state_that_is_not_understood_is_read_from_the_start(reader: Reader) -> None:
    reader.states["messages"] = {"version": 2}
    with pytest.raises(ResetState):
        reader.pages(MESSAGES)


# ── calendars ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_what_is_created_outside_the_window_is_no_cancellation(reader: Reader, directory: Directory) -> None:
    inside = directory.meet((ADA,), directory.now + timedelta(days=3))
    assert reader.told() == [(inside, False)]
    directory.meet((ADA,), directory.now + timedelta(days=300))
    assert reader.told() == []


def test_a_meeting_to_come_that_is_deleted_is_called_off_and_one_that_was_stays(
    reader: Reader, directory: Directory
) -> None:
    past, soon = directory.meet((ADA,), directory.now - timedelta(days=3)), directory.now + timedelta(days=3)
    to_come = directory.meet((ADA,), soon)
    assert sorted(reader.told()) == sorted([(past, False), (to_come, False)])
    directory.delete_event(past)
    directory.delete_event(to_come)
    assert reader.told() == [(to_come, True)]


def test_a_meeting_that_moves_out_of_the_window_moves(reader: Reader, directory: Directory) -> None:
    event = directory.meet((ADA,), directory.now + timedelta(days=3))
    reader.told()
    later = (directory.now + timedelta(days=200)).strftime("%Y-%m-%dT10:00:00.0000000")
    moved = {"dateTime": later, "timeZone": "UTC"}
    directory.edit_event(event, start=moved, end=moved)
    (record,) = reader.records(EVENTS)
    assert (record.is_deleted, record.payload["at"][:10]) == (False, later[:10])
    assert CANARY not in str(record)


def test_whoever_is_invited_no_more_is_told_to_be_gone(reader: Reader, directory: Directory) -> None:
    eve = Party("Eve", "eve@acme.example")
    event = directory.meet((ADA, eve), directory.now + timedelta(days=3))
    assert len(reader.records(EVENTS)) == 2
    directory.edit_event(event, attendees=[recipient(ADA) | {"status": {"response": "declined"}}])
    told = {record.id: (record.is_deleted, record.payload.get("response")) for record in reader.records(EVENTS)}
    assert told == {
        f"{event}/{part(ADA.address)}": (False, "declined"),
        f"{event}/{part(eve.address)}": (True, None),
    }


def test_a_meeting_that_is_called_off_while_the_place_is_lost_is_missed_in_the_list(
    reader: Reader, directory: Directory
) -> None:
    soon = directory.now + timedelta(days=3)
    events = [directory.meet((ADA,), soon + timedelta(hours=hour)) for hour in range(5)]
    reader.told()
    directory.lose_places(0)
    directory.delete_event(events[2])
    assert sorted(reader.told()) == sorted((event, event == events[2]) for event in events)


def test_the_window_rolls_on_before_its_end_comes_near(reader: Reader, directory: Directory) -> None:
    directory.meet((ADA,), directory.now - timedelta(days=200))
    far = directory.meet((ADA,), directory.now + timedelta(days=120))
    to_be_deleted = directory.meet((ADA,), directory.now + timedelta(days=60))
    assert far not in dict(reader.told())
    directory.now += timedelta(days=50)
    directory.delete_event(to_be_deleted)
    assert sorted(reader.told()) == sorted([(far, False), (to_be_deleted, True)])
    assert reader.told() == []


def test_an_occurrence_has_the_attendees_of_its_series(reader: Reader, directory: Directory) -> None:
    ids = directory.series((ADA,), directory.now, 3)
    records = reader.records(EVENTS)
    assert [record.payload["event"] for record in records] == ids
    assert {record.payload["address"] for record in records} == {ADA.address}
    assert len({record.payload["at"] for record in records}) == 3


def test_a_customer_who_invites_is_a_counterpart(reader: Reader, directory: Directory) -> None:
    event = directory.meet((), directory.now)
    directory.edit_event(event, organizer=recipient(ADA))
    (record,) = reader.records(EVENTS)
    assert (record.payload["address"], record.payload["part"]) == (ADA.address, "organizer")


# ── configuration and login ──────────────────────────────────────────────────────────────────────────────────────────


def test_only_the_mailboxes_named_are_read_and_a_wrong_name_is_told(served: Served, directory: Directory) -> None:
    directory.receive(ADA, to=0)
    wanted = directory.receive(ADA, to=1)
    reader = Reader(served, mailboxes=["Rep1@seller.example", "nobody@seller.example"])
    pages = reader.pages(MESSAGES)
    assert [record.payload["message"] for page in pages for record in page.records] == [wanted]
    assert any("nobody@seller.example" in note for page in pages for note in page.notes)


@pytest.mark.parametrize(
    "wrong", [{"client_secret": "mistaken"}, {"directory_id": "elsewhere"}, {"client_id": "unregistered"}]
)
def test_a_login_that_is_refused_says_what_to_correct(served: Served, wrong: dict[str, Any]) -> None:
    health = asyncio.run(Reader(served, **wrong).client().check())
    assert not health.ok
    assert "Correct client_id, client_secret and directory_id" in health.message
    assert not any(value in health.message for value in wrong.values())


@pytest.mark.parametrize(
    "wrong", [{"folders": ["../../users"]}, {"streams": ["calls"]}, {"history_days": 1_500}, {"secret": 1}]
)
def test_a_configuration_that_is_wrong_is_refused(served: Served, wrong: dict[str, Any]) -> None:
    with pytest.raises(Fatal, match="o365: "):
        Client({**config(served), **wrong})


def test_the_login_gives_a_new_token_when_the_old_one_ends(served: Served, reader: Reader) -> None:
    reader.directory.receive(ADA)
    served.faults.next("expired", containing="inbox")
    assert len(reader.records()) == 1
    assert served.directory.logins >= 2
