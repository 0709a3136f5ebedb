"""The run lease: of two runs of a tenant, one works and the other waits.

One row per tenant names the holder and carries a fence number. Whoever takes the lease raises the fence; every write
transaction of a run says `select control.hold_lease(fence)`, which fails once somebody else has raised it and otherwise
keeps anybody from raising it until the transaction ends. So a run that was thought dead, and is not, can't write.

A holder is a name for the whole run (`airflow:<run id>`, `cli:<host>:<pid>`): its tasks enter one after the other, and
between two of them the lease stays with the run for a while.
"""

import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import psutil
import psycopg

from warehouse import database
from warehouse.errors import ClarityError, NotNow

log = logging.getLogger(__name__)

HEARTBEAT = 10.0
EXPIRES_AFTER = 45.0
# how long a run keeps the lease between two of its tasks, while the scheduler starts the next
BETWEEN_TASKS = 90.0
DEFAULT_PATIENCE = 15 * 60.0
LOOK_AGAIN_AFTER = timedelta(seconds=30)


class LeaseLost(ClarityError):
    """Another run has the tenant now. What this one had not committed is rolled back; nothing is half done."""


@dataclass
class Held:
    tenant_id: str
    holder: str
    fence: int
    _lost: threading.Event = field(default_factory=threading.Event, repr=False)

    def check(self) -> None:
        """Raise if the lease is known to be lost. The database checks at each write; this saves the work before."""
        if self._lost.is_set():
            raise LeaseLost(f"another run has taken over from {self.holder}; this one stops, nothing is lost")


def local_holder() -> str:
    """The name of a run that lives and dies with this process."""
    me = psutil.Process()
    return f"cli:{socket.gethostname()}:{me.pid}:{int(me.create_time())}"


@contextmanager
def hold(
    tenant_id: str,
    holder: str,
    *,
    stage: str,
    exclusive: bool = True,
    keep: bool = False,
    patience: float = DEFAULT_PATIENCE,
    report: Callable[[str], None] = lambda _line: None,
) -> Iterator[Held]:
    """Hold the tenant's lease for the body.

    `exclusive` raises the fence even within the same run, so that an earlier attempt of this task, should it still be
    alive, can't write; tasks of one run that work side by side (extracts) say False. `keep` leaves the lease with the
    run afterwards, for its next task; `release` gives it back.
    """
    connection = database.connect(
        database.conninfo(database.run_login(tenant_id)), autocommit=True, application=f"lease {stage}"
    )
    with connection:
        connection.execute("set lock_timeout = '5s'")
        held = _acquire(connection, tenant_id, holder, stage, exclusive, patience, report)
        stop = threading.Event()
        heart = threading.Thread(target=_beat, args=(connection, held, stop), name=f"lease {stage}", daemon=True)
        heart.start()
        try:
            yield held
        finally:
            stop.set()
            heart.join()
            _leave(connection, held, keep)


def release(tenant_id: str, holder: str) -> None:
    """Give back what a run kept between its tasks; nothing happens if it no longer has it."""
    with database.run_session(tenant_id, autocommit=True) as connection:
        connection.execute(
            "update control.run_leases set holder = null, stage = null, expires_at = null"
            " where tenant_id = %s and holder = %s",
            [tenant_id, holder],
        )


def current(connection: psycopg.Connection, tenant_id: str) -> tuple[str, str, float] | None:
    """Who has the tenant: holder, stage, seconds until the lease expires; None when it is free."""
    row = connection.execute(
        "select holder, stage, extract(epoch from expires_at - clock_timestamp())::float8 from control.run_leases"
        " where tenant_id = %s and holder is not null and expires_at > clock_timestamp()",
        [tenant_id],
    ).fetchone()
    return (str(row[0]), str(row[1]), float(row[2])) if row else None


def _acquire(
    connection: psycopg.Connection,
    tenant_id: str,
    holder: str,
    stage: str,
    exclusive: bool,
    patience: float,
    report: Callable[[str], None],
) -> Held:
    connection.execute("insert into control.run_leases (tenant_id) values (%s) on conflict do nothing", [tenant_id])
    deadline, told = time.monotonic() + patience, False
    while True:
        owner = current(connection, tenant_id)
        dead = owner[0] if owner and _is_dead(owner[0]) else None
        fence = _try(connection, tenant_id, holder, stage, exclusive, dead)
        if fence is not None:
            return Held(tenant_id, holder, fence)
        other = f"{owner[0]} ({owner[1]})" if owner else "a run that is just ending"
        if time.monotonic() >= deadline:
            raise NotNow(
                f"another run has this tenant: {other}. Wait until it ends; if it is dead, its lease expires within"
                f" {BETWEEN_TASKS:.0f} seconds and the same command works then",
                datetime.now(UTC) + LOOK_AGAIN_AFTER,
            )
        if not told:
            report(f"waiting for another run of this tenant: {other}")
            told = True
        time.sleep(0.5)


def _is_dead(holder: str) -> bool:
    """Whether the holder is a process of this machine that is no more. Of others only the expiry tells."""
    kind, _, rest = holder.partition(":")
    host, _, process = rest.rpartition(":")[0].rpartition(":")
    if kind != "cli" or host != socket.gethostname():
        return False
    try:
        return int(psutil.Process(int(process)).create_time()) != int(holder.rpartition(":")[2])
    except psutil.NoSuchProcess:
        return True


def _try(
    connection: psycopg.Connection, tenant_id: str, holder: str, stage: str, exclusive: bool, dead: str | None
) -> int | None:
    try:
        row = connection.execute(
            "update control.run_leases set holder = %(holder)s, stage = %(stage)s,"
            " fence = case when holder = %(holder)s and expires_at > clock_timestamp() and not %(exclusive)s"
            " then fence else fence + 1 end,"
            " acquired_at = clock_timestamp(), expires_at = clock_timestamp() + make_interval(secs => %(seconds)s)"
            " where tenant_id = %(tenant)s"
            " and (holder is null or holder in (%(holder)s, %(dead)s) or expires_at < clock_timestamp())"
            " returning fence",
            {
                "holder": holder,
                "stage": stage,
                "exclusive": exclusive,
                "seconds": EXPIRES_AFTER,
                "tenant": tenant_id,
                "dead": dead,
            },
        ).fetchone()
    except psycopg.errors.LockNotAvailable:
        # the last holder's transaction is still open: its lease has expired, its work has not ended
        return None
    return int(row[0]) if row else None


def _beat(connection: psycopg.Connection, held: Held, stop: threading.Event) -> None:
    while not stop.wait(HEARTBEAT):
        try:
            if not _extend(connection, held, EXPIRES_AFTER):
                held._lost.set()
                return
        except psycopg.OperationalError:
            # without the database nothing of this run can be written either: the next write says so
            held._lost.set()
            return


def _extend(connection: psycopg.Connection, held: Held, seconds: float) -> bool:
    return (
        connection.execute(
            "update control.run_leases set expires_at = clock_timestamp() + make_interval(secs => %s)"
            " where tenant_id = %s and holder = %s and fence = %s",
            [seconds, held.tenant_id, held.holder, held.fence],
        ).rowcount
        == 1
    )


def _leave(connection: psycopg.Connection, held: Held, keep: bool) -> None:
    try:
        if keep:
            _extend(connection, held, BETWEEN_TASKS)
        else:
            _give_back(connection, held)
    except psycopg.OperationalError as error:
        # what the body raised, if anything, matters more; the lease runs out by itself
        log.warning("the lease of %s could not be given back, it expires by itself: %s", held.holder, error)


def _give_back(connection: psycopg.Connection, held: Held) -> None:
    connection.execute(
        "update control.run_leases set holder = null, stage = null, expires_at = null"
        " where tenant_id = %s and holder = %s and fence = %s",
        [held.tenant_id, held.holder, held.fence],
    )
