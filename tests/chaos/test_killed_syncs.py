"""`clarity sync`, or its PostgreSQL, killed with -9 while it reads a vendor, and resumed: raw ends as if nothing had.

CHAOS_KILLS says how often (3 in `make test`, 50 in `make chaos`), CHAOS_SEED repeats a sequence.
"""

import hashlib
import random
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest

from connectors import catalogue
from control import consent, tenants
from sandbox import fathom, graph
from sandbox.fathom.studio import invitee
from sandbox.graph.world import Party
from steps import extract, provision
from tests.chaos.conftest import KILLS, SEED
from tests.chaos.org import Org, served
from tests.connectors.contract_suite.fathom import key
from tests.connectors.contract_suite.o365 import config as way_in
from warehouse import database, server

ACTOR = "system:tests"
# A tenant that has read everything reads little: after so many rounds a new one starts from nothing.
ROUNDS_OF_A_TENANT = 4
# In `make test` the core is killed three times under Salesforce; what is each vendor's own is killed once.
OF_EACH = KILLS if KILLS > 3 else 1
# Small pages, so that there is much to be killed between.
PAGES = {"bulk_above": 0, "bulk_page_size": 25}


class BusyOrg(Org):
    """One in which things happen."""

    connector = "salesforce"

    @property
    def config(self) -> dict[str, Any]:
        return {**self.login, **PAGES}

    def live(self, dice: random.Random) -> None:
        """A day goes by, with what makes reading hard: one stamp on many records, deletions, restorations, lateness."""
        self.post("advance", days=1)
        tasks = self._ids("Task", deleted=False)
        self.mutate("bulk_edit", "Task", dice.sample(tasks, 150), Priority=dice.choice(["High", "Low"]))
        for task in dice.sample(tasks, 2):
            self.mutate("delete", "Task", task)
        self.mutate("undelete", "Task", dice.choice(self._ids("Task", deleted=True)))
        self.mutate("late_stamp", "Contact", dice.choice(self._ids("Contact", deleted=False)), Title="Late riser")
        self.post("advance", seconds=60)

    def _ids(self, entity: str, *, deleted: bool) -> list[str]:
        return [id_ for id_, record in self.get(f"truth/{entity}").items() if record["IsDeleted"] is deleted]


class BusyWorkspace(Org):
    """A Customer.io in which things happen."""

    connector = "customerio"

    @property
    def config(self) -> dict[str, Any]:
        quick = {"calls_per_second": 10_000, "backoff_seconds": 0.01, "page_size": 10}
        return {"base_url": self.url, "api_key": "sandbox-app-key", **quick}

    def live(self, dice: random.Random) -> None:
        """A day goes by: late opens, people who come, change and go, lines of the log that come late."""
        self.post("advance", days=1)
        people = self.get("people")
        for message in dice.sample(self.get("messages")[-40:], 10):
            self.mutate("happen", message, dice.choice(["opened", "clicked"]), by_machine=dice.random() < 0.5)
        self.mutate("delete_person", people.pop(dice.randrange(len(people))))
        self.mutate("set_attribute", dice.choice(people), "title", dice.choice(["CEO", "CTO", "Buyer"]))
        newcomer = self.mutate("add_person", f"new{dice.randrange(10**6)}@customer.example")
        self.mutate("send", newcomer, ago=7 * 24 * 3600)
        self.mutate("act", newcomer, "event", "demo_requested", ago=3600)
        self.post("advance", seconds=60)


@dataclass(frozen=True)
class BusyStudio:
    """A Fathom in which things happen. Nothing kills this process, so it may stand in it."""

    served: fathom.Served
    connector = "fathom"
    domains = ()

    @property
    def config(self) -> dict[str, Any]:
        quick = {"calls_per_minute": 6_000_000, "backoff_seconds": 0.01, "timeout_seconds": 20}
        return {**key(self.served), **quick, "history_days": 410}

    def calls(self, after: int = 0) -> int:
        return len(self.served.log.calls) - after

    def live(self, dice: random.Random) -> None:
        """A day goes by: new meetings, late words of the last ones, somebody who was not invited, another title."""
        studio = self.served.studio
        for number in range(12):
            studio.record(invitee(f"Guest {number}", f"guest{number}@customer.example"), uninvited=["Ada Byron"])
        studio.edit(next(studio.shown()).id, title=dice.choice(["Kick-off", "Review"]))
        studio.advance(days=1)


@dataclass(frozen=True)
class BusyDirectory:
    """A Microsoft 365 in which things happen."""

    served: graph.Served
    connector = "o365"
    domains = ("customer.example",)

    @property
    def config(self) -> dict[str, Any]:
        return way_in(self.served, backoff_seconds=0.01, timeout_seconds=20, page_size=5, history_days=1_000)

    def calls(self, after: int = 0) -> int:
        return len(self.served.log.calls) - after

    def live(self, dice: random.Random) -> None:
        """A day goes by: mails that come, move and go, meetings that are called off, a folder that loses its place."""
        directory = self.served.directory
        directory.advance(days=1)
        ann, bob = Party("Ann", "ann@customer.example"), Party("Bob", "bob@customer.example")
        mails = [directory.receive(dice.choice((ann, bob))) for _ in range(20)]
        directory.send((ann, bob))
        directory.move(mails[0], "archive")
        directory.delete_message(mails[1])
        meetings = [directory.meet((ann, bob), directory.now + timedelta(days=day)) for day in (1, 2)]
        directory.delete_event(meetings[0])
        directory.lose_places(dice.randrange(len(directory.mailboxes)), dice.choice(("inbox", "sentitems", "")))


@dataclass(frozen=True)
class Reader:
    """A tenant that reads the vendor."""

    id: str
    slug: str
    connector: str

    def sync(self) -> float:
        """What `clarity sync` does, in this process; how many seconds it took."""
        began = time.monotonic()
        extract.run(self.slug, self.connector, str(uuid.uuid4()))
        return time.monotonic() - began

    def start(self) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, "-m", "cli.main", "sync", self.slug, "--connector", self.connector],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def content(self) -> dict[str, tuple[int, str]]:
        """Versions of each stream and a hash of them, in their order; nothing of when and by which sync they came."""
        with database.run_session(self.id) as connection:
            found = {}
            for stream in (declared.name for declared in catalogue.streams(self.connector)):
                versions = connection.execute(
                    "select record_id, payload::text, payload_hash, is_deleted, source_updated_at"
                    f" from raw.{self.connector}__{stream}"
                    " order by record_id, source_updated_at nulls first, seq".encode()
                ).fetchall()
                found[stream] = len(versions), hashlib.sha256(repr(versions).encode()).hexdigest()
        return found


Busy = BusyOrg | BusyWorkspace | BusyStudio | BusyDirectory


@pytest.fixture(scope="module")
def org() -> Iterator[BusyOrg]:
    with served(accounts=4, tasks=300) as url:
        yield BusyOrg(url)


@pytest.fixture(scope="module")
def workspace() -> Iterator[BusyWorkspace]:
    with served("customerio", accounts=4) as url:
        yield BusyWorkspace(url)


@pytest.fixture(scope="module")
def studio() -> Iterator[BusyStudio]:
    with fathom.serve(fathom.Studio(SEED, accounts=4, activities_per_year=800)) as stands:
        yield BusyStudio(stands)


@pytest.fixture(scope="module")
def directory() -> Iterator[BusyDirectory]:
    with graph.serve(graph.Directory(SEED, is_empty=True)) as stands:
        busy = BusyDirectory(stands)
        for _ in range(3):
            busy.live(random.Random(SEED))
        yield busy


@contextmanager
def readers(org: Busy, number: int) -> Iterator[list[Reader]]:
    made = []
    for _ in range(number):
        slug = f"t_{uuid.uuid4().hex[:12]}"
        made.append(Reader(provision.create_tenant(f"Reader {slug}", slug, actor=ACTOR), slug, org.connector))
        provision.add_connector(made[-1].id, org.connector, org.config, actor=ACTOR)
        if isinstance(org, BusyStudio | BusyDirectory):
            consent.accept_dpa(made[-1].id, "Ada Example", actor=ACTOR)
            consent.allow_domains(made[-1].id, org.domains, actor=ACTOR)
    try:
        yield made
    finally:
        for reader in made:
            tenants.delete(reader.id, actor=ACTOR)


@pytest.mark.timeout(900 + 60 * KILLS)
def test_syncs_that_were_killed_and_resumed_end_with_what_one_undisturbed_sync_ends_with(
    platform: Path, org: BusyOrg
) -> None:
    killed_and_resumed(org, KILLS)


@pytest.mark.timeout(900 + 60 * KILLS)
def test_so_do_syncs_of_customer_io(platform: Path, workspace: BusyWorkspace) -> None:
    killed_and_resumed(workspace, OF_EACH)


@pytest.mark.timeout(900 + 60 * KILLS)
def test_so_do_syncs_of_fathom(platform: Path, studio: BusyStudio) -> None:
    killed_and_resumed(studio, OF_EACH)


@pytest.mark.timeout(900 + 60 * KILLS)
def test_so_do_syncs_of_microsoft_365(platform: Path, directory: BusyDirectory) -> None:
    killed_and_resumed(directory, OF_EACH)


def killed_and_resumed(org: Busy, wanted: int) -> None:
    print(f"\nchaos: {wanted} kills of syncs of {org.connector}, CHAOS_SEED={SEED}")
    dice = random.Random(SEED)
    kills = 0
    while kills < wanted:
        with readers(org, 2) as (spared, wounded):
            for _ in range(ROUNDS_OF_A_TENANT):
                seconds = spared.sync()
                victim = "PostgreSQL" if kills % 3 == 1 else "the sync"
                kills += wounded_by(org, wounded, dice.uniform(0, seconds), victim)
                wounded.sync()
                assert wounded.content() == spared.content()
                assert left_running(wounded) == 0
                if kills >= wanted:
                    return
                org.live(dice)


def wounded_by(org: Busy, reader: Reader, moment: float, victim: str) -> int:
    """Start `clarity sync` and kill the victim so many seconds after its first call; how many kills hit one that still
    ran."""
    before, process = org.calls(), reader.start()
    while process.poll() is None and not org.calls(after=before):
        time.sleep(0.02)
    try:
        told, _ = process.communicate(timeout=moment)
    except subprocess.TimeoutExpired:
        if victim == "PostgreSQL":
            lose_the_server(process)
        else:
            for child in psutil.Process(process.pid).children(recursive=True):
                child.kill()
            process.kill()
            process.communicate()
        print(f"chaos: {victim} killed {moment:.2f} s after the first call, {org.calls(after=before)} made", flush=True)
        return 1
    assert process.returncode == 0, told
    return 0


def lose_the_server(process: "subprocess.Popen[str]") -> None:
    """Pages that it has said to be committed may not be on the disk yet."""
    pid = server.state().pid
    assert pid is not None
    psutil.Process(pid).kill()
    told, _ = process.communicate(timeout=60)
    database.ensure_up()
    # a sync that had just ended had nothing more to ask of it
    assert process.returncode in (0, 1), told
    assert "Traceback" not in told


def left_running(reader: Reader) -> int:
    with database.run_session(reader.id) as connection:
        ((count,),) = connection.execute("select count(*) from control.sync_logs where status = 'running'").fetchall()
    return int(count)
