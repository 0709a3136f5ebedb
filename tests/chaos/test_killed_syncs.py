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
from pathlib import Path
from typing import Any

import psutil
import pytest

from connectors import catalogue
from control import tenants
from steps import extract, provision
from tests.chaos.conftest import KILLS, SEED
from tests.chaos.org import Org, served
from warehouse import database, server

ACTOR = "system:tests"
# A tenant that has read everything reads little: after so many rounds a new one starts from nothing.
ROUNDS_OF_A_TENANT = 4
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


Busy = BusyOrg | BusyWorkspace


@pytest.fixture(scope="module")
def org() -> Iterator[BusyOrg]:
    with served(accounts=4, tasks=300) as url:
        yield BusyOrg(url)


@pytest.fixture(scope="module")
def workspace() -> Iterator[BusyWorkspace]:
    with served("customerio", accounts=4) as url:
        yield BusyWorkspace(url)


@contextmanager
def readers(org: Busy, number: int) -> Iterator[list[Reader]]:
    made = []
    for _ in range(number):
        slug = f"t_{uuid.uuid4().hex[:12]}"
        made.append(Reader(provision.create_tenant(f"Reader {slug}", slug, actor=ACTOR), slug, org.connector))
        provision.add_connector(made[-1].id, org.connector, org.config, actor=ACTOR)
    try:
        yield made
    finally:
        for reader in made:
            tenants.delete(reader.id, actor=ACTOR)


@pytest.mark.timeout(60 + 60 * KILLS)
def test_syncs_that_were_killed_and_resumed_end_with_what_one_undisturbed_sync_ends_with(
    platform: Path, org: BusyOrg
) -> None:
    killed_and_resumed(org, KILLS)


@pytest.mark.timeout(60 + 60 * KILLS)
def test_so_do_syncs_of_customer_io(platform: Path, workspace: BusyWorkspace) -> None:
    # every other vendor's kills are as many by far, and it is the same core that is killed
    killed_and_resumed(workspace, max(1, KILLS // 3))


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


def wounded_by(org: Org, reader: Reader, moment: float, victim: str) -> int:
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
