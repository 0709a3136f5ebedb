"""CLARITY_HOME: the one folder that holds all state, and the secrets in it."""

import fcntl
import json
import os
import pwd
import secrets
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from warehouse.errors import ClarityError, MisuseError

Report = Callable[[str], None]
"""Takes one line about progress, for whoever is waiting."""


def nobody(_: str) -> None:
    """The report of those who don't watch."""


def project_root() -> Path:
    return Path(__file__).resolve().parents[2]


def home() -> Path:
    """CLARITY_HOME, by default `.clarity` in the project. Made on first use, for nobody else to read."""
    folder = Path(os.environ.get("CLARITY_HOME") or project_root() / ".clarity").expanduser().absolute()
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _claim_if_empty(folder)
    except PermissionError as error:
        raise ClarityError(f"{folder} can't be used: {_whose(folder)}. {_elsewhere}") from error
    except OSError as error:
        raise ClarityError(f"{folder} can't be used: {error.strerror}. {_elsewhere}") from error
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        raise ClarityError(f"{folder} can't be used: {_whose(folder)}. {_elsewhere}")
    return folder


def is_ours(folder: Path) -> bool:
    """Whether this home was empty when the platform moved in, so that its permissions are the platform's to set."""
    return (folder / _CLAIM).is_file()


def setting(name: str) -> str | None:
    """What the environment says, else the file that NAME_FILE names: where containers find their secrets.

    None without either; empty is as good as not said, for a file it is a mistake.
    """
    value, place = os.environ.get(name), os.environ.get(f"{name}_FILE")
    if not place:
        return value or None
    if value:
        raise MisuseError(f"{name} and {name}_FILE are both set: leave one out")
    try:
        content = Path(place).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise MisuseError(f"{name}_FILE names {place}, which can't be read: {reason}") from None
    if not content:
        raise MisuseError(f"{name}_FILE names {place}, which is empty: put the value into it, alone")
    return content


def secret(name: str) -> str:
    """The random secret of that name: made when first asked for, the same for everyone ever after."""
    file = home() / "secrets.json"
    known = _read_secrets(file)
    if name not in known:
        with locked(file.with_suffix(".lock")):
            known = _read_secrets(file)
            known.setdefault(name, secrets.token_urlsafe(32))
            write_private(file, json.dumps(known, indent=2))
    return known[name]


def write_private(file: Path, text: str) -> None:
    """Replaces the file in one step, readable by the owner of its folder alone."""
    draft = file.with_name(f".{file.name}.{secrets.token_hex(4)}")
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as stream:
            _hand_to_owner_of_folder(descriptor, file.parent)
            stream.write(text + "\n")
            stream.flush()
            os.fsync(descriptor)
        draft.replace(file)
        sync_folder(file.parent)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise ClarityError(f"{file} can't be written: {error.strerror}. Free the disk or its permissions") from error


@contextmanager
def locked(file: Path, report: Report | None = None) -> Iterator[None]:
    """One process at a time; whoever has to wait for long is told so. A killed holder holds nothing."""
    descriptor = _open_lock(file)
    try:
        say, patience_ends = report or nobody, time.monotonic() + 2
        while not try_lock(descriptor):
            if time.monotonic() > patience_ends:
                say(f"waiting for another process that holds {file.name}")
                patience_ends = float("inf")
            time.sleep(0.02)
        yield
    finally:
        os.close(descriptor)


def try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def sync_folder(folder: Path) -> None:
    """A rename is on the disk once its folder is."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def name_of(user_id: int) -> str:
    """The OS user's name, as far as it has one."""
    try:
        return pwd.getpwuid(user_id).pw_name
    except KeyError:
        return f"user id {user_id}"


_CLAIM = ".gitignore"
_elsewhere = "Set CLARITY_HOME to a folder of your own"


def _claim_if_empty(folder: Path) -> None:
    """Keeps secrets out of a repository around the home, and marks the folder as the platform's own.

    Another process may be about to do the same: its draft does not count as somebody's file.
    """
    if not is_ours(folder) and all(path.name.startswith(f".{_CLAIM}.") for path in folder.iterdir()):
        write_private(folder / _CLAIM, "*")


def _whose(folder: Path) -> str:
    owned = next(path for path in (folder, *folder.parents) if os.path.lexists(path))
    owner = owned.stat().st_uid
    return f"{owned} is not writeable" if owner == os.geteuid() else f"{owned} belongs to {name_of(owner)}"


def _open_lock(file: Path) -> int:
    """Never through a link that the owner of the folder may have planted for root to follow."""
    try:
        try:
            descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            return os.open(file, os.O_RDWR | os.O_NOFOLLOW)
        _hand_to_owner_of_folder(descriptor, file.parent)
        return descriptor
    except OSError as error:
        raise ClarityError(f"{file} can't be opened: {error.strerror}. Free the disk or its permissions") from error


def _hand_to_owner_of_folder(descriptor: int, folder: Path) -> None:
    """What root writes into an ordinary user's home must not lock that user out."""
    if os.geteuid() == 0:
        owner = folder.stat()
        os.fchown(descriptor, owner.st_uid, owner.st_gid)


def _read_secrets(file: Path) -> dict[str, str]:
    try:
        with file.open() as stream:
            if os.fstat(stream.fileno()).st_mode & (stat.S_IRWXG | stat.S_IRWXO):
                raise ClarityError(f"{file} is open to other users: run `chmod 600 {file}`, then change what it held")
            known: dict[str, str] = json.load(stream)
            return known
    except FileNotFoundError:
        return {}
    except PermissionError as error:
        raise ClarityError(f"{file} can't be read: {_whose(file)}. {_elsewhere}") from error
    except json.JSONDecodeError as error:
        raise ClarityError(f"{file} is damaged ({error}): restore it from a backup") from error
