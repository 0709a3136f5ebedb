"""Sessions that stay open a while for whoever in this process asks next, with the same login.

To log in costs both sides 4 ms of processor, and a server process that has not met a table first reads what it is and
who may see which of its rows: 5 ms for a handful of them, 60 for what the largest model reads. An idle pipeline asks
thirty times.

Whoever is lent a session finds it as good as new. It comes back without settings, temporary tables and transaction; one
that somebody left with an error is closed.
"""

import atexit
import os
import select
import threading
import time
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg

# A login of a tenant's has two at once in a task, and beside it there are the registry's and the control plane's.
AT_MOST = 4
# A router on the way to a hosted server forgets a connection on which nothing is said.
SECONDS = 60.0
AS_GOOD_AS_NEW = "reset all; discard temp"


@dataclass(eq=False)
class Kept:
    whose: Hashable
    login: str
    connection: psycopg.Connection
    since: float

    def is_good(self) -> bool:
        if self.connection.closed or time.monotonic() - self.since > SECONDS:
            return False
        ear = select.poll()
        ear.register(self.connection, select.POLLIN)
        # it was asked nothing, so all that is to be heard is that the server has gone
        return not ear.poll(0)


_kept: list[Kept] = []
_lock = threading.Lock()
_of_the_parent: list[Kept] = []


@contextmanager
def lent(
    whose: Hashable, connect: Callable[[], psycopg.Connection], *, application: str, autocommit: bool = False
) -> Iterator[psycopg.Connection]:
    """A session as `connect` makes it; a kept one is lent to those alone who ask with the same `whose`.

    Like any connection of psycopg's it commits at the end, and rolls back if there was an error.
    """
    connection = _taken(whose) or connect()
    try:
        connection.autocommit = True
        if connection.info.parameter_status("application_name") != application:
            connection.execute("select set_config('application_name', %s, false)", [application])
        connection.autocommit = autocommit
        yield connection
        if connection.closed:
            return
        connection.commit()
        connection.isolation_level = connection.read_only = connection.deferrable = None
        connection.autocommit = True
        connection.execute(AS_GOOD_AS_NEW, prepare=False)
    except BaseException:
        connection.close()
        raise
    with _lock:
        _kept.append(Kept(whose, connection.info.user, connection, time.monotonic()))
        too_many = [_kept.pop(0) for _ in _kept[AT_MOST:]]
    for kept in too_many:
        kept.connection.close()


def end_those_of(login: str) -> None:
    """Before the login goes: one of the same name that is made later would be lent them, and find itself nobody."""
    _end(lambda kept: kept.login == login)


@atexit.register
def end_all() -> None:
    """So that the server hears of it."""
    _end(lambda _kept: True)


def _end(which: Callable[[Kept], bool]) -> None:
    with _lock:
        going = [kept for kept in _kept if which(kept)]
        _kept[:] = [kept for kept in _kept if kept not in going]
    for kept in going:
        kept.connection.close()


def _taken(whose: Hashable) -> psycopg.Connection | None:
    while True:
        with _lock:
            found = next((kept for kept in reversed(_kept) if kept.whose == whose), None)
            if found is None:
                return None
            _kept.remove(found)
        if found.is_good():
            return found.connection
        found.connection.close()


def _leave_to_the_parent() -> None:
    """After a fork the parent goes on with its sessions. Closing the copies here would say goodbye on its behalf."""
    _of_the_parent.extend(_kept)
    _kept.clear()
    with open(os.devnull, "wb") as nowhere:
        for kept in _of_the_parent:
            if not kept.connection.closed:
                os.dup2(nowhere.fileno(), kept.connection.fileno())
    _lock.release()


# nobody else may hold the lock in the moment of the fork: in the child nobody would give it back
os.register_at_fork(before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_leave_to_the_parent)
