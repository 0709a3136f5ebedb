"""CLARITY_HOME and its secrets: nobody else reads them, everybody gets the same ones, trouble is said in one line."""

import fcntl
import os
import pwd
import shutil
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from warehouse import database, keys
from warehouse import home as home_module
from warehouse.errors import ClarityError, MisuseError
from warehouse.home import home, locked, project_root, secret, setting, write_private

for_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as several OS users")


@pytest.fixture(autouse=True)
def clarity_home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="clarity-home-"))
    folder.chmod(0o755)
    monkeypatch.setenv("CLARITY_HOME", str(folder / "home"))
    yield folder / "home"
    shutil.rmtree(folder)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def said_as(user: str, action: Callable[[], object]) -> str:
    """What the action returns or complains of when that OS user does it."""
    reader, writer = os.pipe()
    account = pwd.getpwnam(user)
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setgid(account.pw_gid)
            os.setuid(account.pw_uid)
            said = str(action())
        except (ClarityError, OSError) as error:
            said = f"{type(error).__name__}: {error}"
        os.write(writer, said.encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as stream:
        said = stream.read()
    os.waitpid(child, 0)
    return said


def test_the_home_is_made_for_nobody_else_to_read(clarity_home: Path) -> None:
    assert home() == clarity_home
    assert mode(clarity_home) == 0o700


def test_the_home_lies_in_the_project_unless_told_otherwise(
    monkeypatch: pytest.MonkeyPatch, clarity_home: Path
) -> None:
    monkeypatch.delenv("CLARITY_HOME")
    monkeypatch.setattr(home_module, "project_root", lambda: clarity_home)
    assert home() == clarity_home / ".clarity"


def test_the_project_root_is_where_the_rooms_are() -> None:
    assert (project_root() / "plugins" / "warehouse" / "home.py").is_file()


def test_a_home_inside_a_repository_is_never_committed(clarity_home: Path) -> None:
    home()
    assert (clarity_home / ".gitignore").read_text().strip() == "*"


def test_a_folder_that_others_use_already_keeps_its_permissions(clarity_home: Path) -> None:
    clarity_home.mkdir(mode=0o755)
    (clarity_home / "theirs").touch()
    assert not home_module.is_ours(home())
    assert mode(clarity_home) == 0o755


def test_a_home_that_is_a_file_is_refused_in_one_line(clarity_home: Path) -> None:
    clarity_home.touch()
    with pytest.raises(ClarityError, match=r"can't be used: .*Set CLARITY_HOME") as refusal:
        home()
    assert "\n" not in str(refusal.value)


def test_a_secret_is_long_and_stays_the_same() -> None:
    assert len(secret("postgres_password")) >= 40
    assert secret("postgres_password") == secret("postgres_password")
    assert secret("postgres_password") != secret("platform_key")


def test_processes_that_ask_at_the_same_time_get_the_same_secret(clarity_home: Path) -> None:
    script = "from warehouse.home import secret; print(secret('first'), secret('second'))"
    asking = [subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) for _ in range(8)]
    told = {process.communicate()[0] for process in asking}
    assert told == {f"{secret('first')} {secret('second')}\n"}
    assert sorted(path.name for path in clarity_home.iterdir()) == [".gitignore", "secrets.json", "secrets.lock"]


def test_processes_that_come_to_an_empty_home_at_the_same_time_all_find_it_theirs() -> None:
    script = "from warehouse.home import home, is_ours; print(is_ours(home()))"
    coming = [subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) for _ in range(8)]
    assert {process.communicate()[0] for process in coming} == {"True\n"}


def test_the_draft_of_another_process_does_not_make_a_home_somebody_elses(clarity_home: Path) -> None:
    clarity_home.mkdir()
    (clarity_home / "..gitignore.12ab34cd").touch()
    assert home_module.is_ours(home())


def test_the_secrets_are_readable_by_their_owner_alone(clarity_home: Path) -> None:
    secret("postgres_password")
    assert mode(clarity_home / "secrets.json") == 0o600


@pytest.mark.parametrize("too_open", [0o640, 0o604])
def test_secrets_that_others_may_read_are_refused(clarity_home: Path, too_open: int) -> None:
    secret("postgres_password")
    (clarity_home / "secrets.json").chmod(too_open)
    with pytest.raises(ClarityError, match="chmod 600"):
        secret("postgres_password")


def test_damaged_secrets_are_refused_and_left_as_they_are(clarity_home: Path) -> None:
    write_private(home() / "secrets.json", '{"postgres_password": "abc')
    with pytest.raises(ClarityError, match="restore it from a backup"):
        secret("postgres_password")
    assert (clarity_home / "secrets.json").read_text().startswith('{"postgres_password": "abc')


def test_a_link_planted_as_lock_is_not_followed(clarity_home: Path) -> None:
    target = home().parent / "someone-elses"
    target.write_text("untouched")
    (clarity_home / "secrets.lock").symlink_to(target)
    with pytest.raises(ClarityError, match="can't be opened"):
        secret("postgres_password")
    assert target.read_text() == "untouched"


def test_a_lock_is_free_once_its_holder_is_killed_and_whoever_waits_is_told() -> None:
    lock = home() / "some.lock"
    script = "import time; from warehouse.home import home, locked\nwith locked(home() / 'some.lock'): {}"
    hold = "print('held', flush=True); time.sleep(60)"
    holder = subprocess.Popen([sys.executable, "-c", script.format(hold)], stdout=subprocess.PIPE)
    assert holder.stdout is not None
    holder.stdout.readline()
    said: list[str] = []

    def kill_on_hearing(line: str) -> None:
        said.append(line)
        holder.kill()

    began = time.monotonic()
    with locked(lock, kill_on_hearing):
        assert time.monotonic() - began >= 2
    holder.communicate()
    assert said == ["waiting for another process that holds some.lock"]


def test_a_lock_is_free_after_an_error_within() -> None:
    lock = home() / "some.lock"
    with pytest.raises(ZeroDivisionError), locked(lock):
        _ = 1 / 0
    with lock.open() as stream:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)


@for_root
def test_a_home_of_another_user_is_refused_by_name(clarity_home: Path) -> None:
    home()
    assert said_as("nobody", home) == (
        f"ClarityError: {clarity_home} can't be used: {clarity_home} belongs to root. "
        "Set CLARITY_HOME to a folder of your own"
    )


@for_root
def test_a_home_that_can_not_be_made_names_the_folder_in_the_way(clarity_home: Path) -> None:
    assert f"{clarity_home.parent} belongs to root" in said_as("nobody", home)


@for_root
def test_what_root_writes_into_a_users_home_can_be_read_by_that_user(clarity_home: Path) -> None:
    clarity_home.mkdir()
    os.chown(clarity_home, pwd.getpwnam("nobody").pw_uid, -1)
    made_by_root = secret("postgres_password")
    assert said_as("nobody", lambda: secret("postgres_password")) == made_by_root
    assert said_as("nobody", lambda: len(secret("another"))) == str(len(made_by_root))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_home_that_is_not_writeable_is_refused(clarity_home: Path) -> None:
    home().chmod(0o500)
    with pytest.raises(ClarityError, match="is not writeable"):
        home()
    clarity_home.chmod(0o700)


@pytest.fixture
def secret_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path / "database_url"
    monkeypatch.delenv("CLARITY_DATABASE_URL", raising=False)
    monkeypatch.setenv("CLARITY_DATABASE_URL_FILE", str(file))
    return file


def test_a_setting_may_lie_in_a_file_that_the_environment_names(secret_file: Path) -> None:
    secret_file.write_text("postgresql://somebody:hidden@elsewhere/gtm\n", encoding="utf-8")
    assert setting("CLARITY_DATABASE_URL") == "postgresql://somebody:hidden@elsewhere/gtm"
    assert not database.is_embedded()
    assert "host=elsewhere" in database.owner_conninfo()


def test_a_setting_that_nobody_gave_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLARITY_DATABASE_URL", "")
    assert setting("CLARITY_DATABASE_URL") is None
    assert database.is_embedded()


def test_a_secret_file_that_is_not_there_is_named(secret_file: Path) -> None:
    with pytest.raises(MisuseError, match=rf"^CLARITY_DATABASE_URL_FILE names {secret_file}, which can't be read: No "):
        database.is_embedded()


def test_an_empty_secret_file_is_refused_where_an_empty_variable_is_none(secret_file: Path) -> None:
    secret_file.write_text("\n", encoding="utf-8")
    with pytest.raises(MisuseError, match="which is empty: put the value into it, alone"):
        setting("CLARITY_DATABASE_URL")


def test_a_setting_said_twice_is_refused_without_repeating_it(
    secret_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret_file.write_text("one", encoding="utf-8")
    monkeypatch.setenv("CLARITY_DATABASE_URL", "postgresql://u:hidden@elsewhere/gtm")
    with pytest.raises(MisuseError, match="_URL and CLARITY_DATABASE_URL_FILE are both set: leave one out"):
        setting("CLARITY_DATABASE_URL")


def test_the_platforms_keys_may_lie_in_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "keys"
    file.write_text(f"new:{'n' * 40},old:{'o' * 40}\n", encoding="utf-8")
    monkeypatch.setenv("CLARITY_ENCRYPTION_KEYS_FILE", str(file))
    assert [key.id for key in keys.keyring()] == ["new", "old"]
