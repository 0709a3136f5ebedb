"""The platform's key is replaced while everything runs, and a rotation may be killed at any moment."""

import multiprocessing
import os
import random
import secrets
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess

import psycopg
import pytest

from cli.connectors import _retirable
from control import alert_channels, connectors, rotation
from steps import provision
from tests.conftest import temporary_home
from warehouse import database, keys, lease, migrate
from warehouse.errors import ClarityError

KILLS = 20
TESTS = "system:tests"
# One process imports all that a rotation needs, and each that is killed is a fork of it.
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["tests.control.test_rotation"])


@dataclass
class Platform:
    """A platform of its own, whose key can be replaced without anybody else noticing. Keys by id, oldest first."""

    patch: pytest.MonkeyPatch
    per_tenant: int
    values: dict[str, str] = field(default_factory=dict)
    tenants: list[str] = field(default_factory=list)

    @property
    def connectors(self) -> int:
        return len(self.tenants) * self.per_tenant

    def use(self, *ids: str) -> None:
        for key_id in ids:
            self.values.setdefault(key_id, secrets.token_hex(32))
        self.patch.setenv(keys.KEYS_VARIABLE, ",".join(f"{key_id}:{self.values[key_id]}" for key_id in ids))


@pytest.fixture(scope="module")
def platform() -> Iterator[Platform]:
    with made(tenants=4, per_tenant=10) as platform:
        yield platform


@contextmanager
def made(tenants: int, per_tenant: int) -> Iterator[Platform]:
    with temporary_home(), pytest.MonkeyPatch.context() as patch:
        platform = Platform(patch, per_tenant)
        platform.use("k0")
        migrate.migrate(lambda _line: None)
        platform.tenants = [
            provision.create_tenant(f"Tenant {number}", f"rotated_{number}", actor=TESTS) for number in range(tenants)
        ]
        for tenant_id in platform.tenants:
            with database.control_session(tenant_id) as connection:
                for number in range(per_tenant):
                    connectors.add(
                        connection,
                        tenant_id=tenant_id,
                        connector_type=f"type_{number}",
                        config=content(tenant_id, number),
                        actor=TESTS,
                    )
        yield platform


def content(tenant_id: str, number: int) -> dict[str, str]:
    return {"token": f"{tenant_id} {number}"}


def key_use(platform: Platform) -> dict[str, int]:
    with database.connect(database.admin_conninfo()) as admin:
        return dict(
            admin.execute(
                "select split_part(config ->> 'sealed', '.', 2), count(*)::int from control.connectors group by 1"
            ).fetchall()
        )


def everything_opens(platform: Platform) -> bool:
    for tenant_id in platform.tenants:
        with database.run_session(tenant_id) as run:
            for number in range(platform.per_tenant):
                opened = connectors.open_connector(run, tenant_id, f"type_{number}").config
                if opened["token"] != content(tenant_id, number)["token"]:
                    return False
    return True


class Meanwhile:
    """What a busy platform does during a rotation: syncs open their connectors, vendors rotate tokens."""

    def __init__(self, platform: Platform) -> None:
        self.platform, self.stop = platform, threading.Event()
        self.opened, self.failures = 0, list[str]()
        self.rotated: dict[tuple[str, str], str] = {}
        self.threads = [threading.Thread(target=self._go_on, args=(work,)) for work in (self._open, self._renew)]

    def __enter__(self) -> "Meanwhile":
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        for thread in self.threads:
            thread.join()

    def _go_on(self, work: object) -> None:
        assert callable(work)
        chosen = random.Random(7)
        while not self.stop.is_set():
            tenant_id, type_ = (
                chosen.choice(self.platform.tenants),
                f"type_{chosen.randrange(self.platform.per_tenant)}",
            )
            try:
                with database.run_session(tenant_id) as run:
                    work(run, tenant_id, type_)
            except ClarityError as error:
                self.failures.append(f"{tenant_id} {type_}: {error}")
            time.sleep(0.05)

    def _open(self, run: psycopg.Connection, tenant_id: str, type_: str) -> None:
        connectors.open_connector(run, tenant_id, type_)
        self.opened += 1

    def _renew(self, run: psycopg.Connection, tenant_id: str, type_: str) -> None:
        token = secrets.token_hex(8)
        connectors.store_rotated(run, tenant_id, type_, {"refreshed": token})
        self.rotated[tenant_id, type_] = token


@pytest.mark.long
def test_a_thousand_connectors_survive_a_rotation_that_is_killed_twenty_times() -> None:
    with made(tenants=20, per_tenant=50) as platform:
        platform.use("k1", "k0")
        assert key_use(platform) == {"k0": 1000}
        random_lines = random.Random(20)
        halfway = 0
        with Meanwhile(platform) as meanwhile:
            for _ in range(KILLS):
                killed, lines = rotating()
                lines.recv()
                # in the middle of some tenant's connectors, not between two tenants
                time.sleep(random_lines.random() * 0.15)
                killed.kill()
                killed.join()
                halfway += 0 < key_use(platform).get("k0", 0) < 1000
            finished, lines = rotating()
            finished.join(200)
        assert finished.exitcode == 0
        assert halfway >= 5
        assert meanwhile.failures == []
        assert meanwhile.opened > 50
        assert meanwhile.rotated
        # the old key can go: connectors, tokens that changed meanwhile, and logins do without it
        platform.use("k1")
        assert key_use(platform) == {"k1": 1000}
        assert everything_opens(platform)
        for (tenant_id, type_), token in meanwhile.rotated.items():
            with database.run_session(tenant_id) as run:
                assert connectors.open_connector(run, tenant_id, type_).config["refreshed"] == token


def rotating() -> tuple[BaseProcess, "Connection[str, str]"]:
    """A rotation in a process of its own, and where its lines are read."""
    lines, told = PROCESSES.Pipe(duplex=False)
    process = PROCESSES.Process(target=rotate, args=(dict(os.environ), told))
    process.start()
    told.close()
    return process, lines


def rotate(environment: Mapping[str, str], told: "Connection[str, str]") -> None:
    os.environ.update(environment)
    rotation.rotate_keys(actor=TESTS, report=told.send)


def test_a_new_key_in_front_locks_nobody_out_before_and_after_the_rotation(platform: Platform) -> None:
    present = next(iter(key_use(platform)))
    first = platform.tenants[0]
    alert_channels.put(first, "email", {"to": ["ann@example.org"]}, actor=TESTS)
    platform.use("k2", present)
    for session in (database.run_session(first), database.control_session(first), database.registrar_session()):
        with session as connection:
            connection.execute("select 1")
    assert psycopg.connect(database.conninfo_in_force(database.run_login(first))).execute("select 1").fetchone() == (1,)
    with pytest.raises(ClarityError, match="run `clarity migrate`"):
        database.connect(database.conninfo(database.run_login(first)), newest_key_only=True)
    done = rotation.rotate_keys(actor=TESTS, report=lambda _line: None)
    sealed = platform.connectors + 1
    assert done == rotation.Rotation("k2", sealed, 2 * len(platform.tenants), {"k2": sealed})
    again = rotation.rotate_keys(actor=TESTS, report=lambda _line: None)
    assert (again.resealed, again.logins) == (0, 0)
    platform.use("k2")
    assert everything_opens(platform)
    with database.run_session(first) as run:
        (envelope,) = alert_channels.envelopes(run, first).values()
    assert alert_channels.unseal(first, "email", envelope) == {"to": ["ann@example.org"]}


def test_a_password_that_was_never_ours_is_tried_once(platform: Platform) -> None:
    present = next(iter(key_use(platform)))
    platform.use(present, "k9")
    stranger = database.Login(database.run_login(platform.tenants[0]).name, "not the password")
    with pytest.raises(ClarityError, match="password authentication failed"):
        database.connect(database.conninfo(stranger))
    platform.use(present)


def test_a_runs_login_changes_between_runs_and_not_within_one(platform: Platform) -> None:
    present = next(iter(key_use(platform)))
    platform.use("k3", present)
    tenant_id = platform.tenants[0]
    rotated = threading.Thread(target=rotation.rotate_keys, kwargs={"actor": TESTS, "report": lambda _line: None})
    with lease.hold(tenant_id, "airflow:test", stage="transform"):
        told_at_the_start = database.conninfo_in_force(database.run_login(tenant_id))
        rotated.start()
        rotated.join(3)
        assert rotated.is_alive()
        psycopg.connect(told_at_the_start).close()
    rotated.join(100)
    assert not rotated.is_alive()
    database.connect(database.conninfo(database.run_login(tenant_id)), newest_key_only=True).close()
    platform.use("k3")
    assert everything_opens(platform)


def test_one_connector_that_does_not_open_holds_up_none_of_the_others(platform: Platform) -> None:
    present = next(iter(key_use(platform)))
    broken = platform.tenants[1]
    with database.control_session(broken) as connection:
        previous = connection.execute(
            "update control.connectors as now set config = jsonb_build_object('sealed', 'v1.lost.AAAA')"
            " from control.connectors as before where now.id = before.id and now.type = 'type_5'"
            " returning before.config ->> 'sealed'"
        ).fetchone()
    assert previous is not None
    platform.use("k4", present)
    with pytest.raises(ClarityError, match=r"rotated_1: type_5: .* sealed with key 'lost'"):
        rotation.rotate_keys(actor=TESTS, report=lambda _line: None)
    assert key_use(platform) == {"k4": platform.connectors - 1, "lost": 1}
    with database.control_session(broken) as connection:
        connectors.add(connection, tenant_id=broken, connector_type="type_5", config=content(broken, 5), actor=TESTS)
    platform.use("k4")
    assert everything_opens(platform)


def test_the_trail_tells_how_old_each_key_is(platform: Platform) -> None:
    with database.control_session(platform.tenants[0]) as connection:
        first_used = connectors.key_first_used(connection, platform.tenants[0])
        in_use = connectors.key_use(connection, platform.tenants[0])
    assert set(in_use) <= set(first_used)
    assert sum(in_use.values()) == platform.per_tenant
    in_order = sorted(first_used, key=lambda key_id: first_used[key_id])
    assert in_order[0] == "k0"
    assert in_order == sorted(in_order)


def test_a_key_by_which_erased_people_are_recognised_is_named(platform: Platform) -> None:
    present = next(iter(key_use(platform)))
    platform.use("k5", present)
    with database.control_session(platform.tenants[2]) as connection:
        connection.execute(
            "insert into control.erasures (tenant_id, kind, digest) values (%s, 'email', %s)",
            [platform.tenants[2], f"{present}.".encode() + secrets.token_bytes(32)],
        )
    done = rotation.rotate_keys(actor=TESTS, report=lambda _line: None)
    assert done.erasure_keys == {present}
    assert f"Keep key {present}, last in the list" in _retirable(done)


def test_a_member_may_not_rotate_keys(platform: Platform) -> None:
    with pytest.raises(ClarityError, match="is for the platform's operators"):
        rotation.rotate_keys(actor="ann", report=lambda _line: None)


def test_no_key_is_in_the_database(platform: Platform) -> None:
    with database.connect(database.admin_conninfo()) as admin:
        for table in ("control.connectors", "control.audit_log", "control.logins"):
            rows = str(admin.execute(f"select to_jsonb(t)::text from {table} as t".encode()).fetchall())
            assert rows != "[]"
            assert [key_id for key_id, value in platform.values.items() if value in rows] == []
