"""Where the files are: a folder of this machine, or object storage by its URL."""

import json
import os
import re
import stat
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from io import SEEK_CUR, SEEK_END, BufferedReader, RawIOBase
from pathlib import Path
from typing import Any, Protocol

from connectors.contract import ConnectorError, Fatal, Reauthorise, Retry
from connectors.files.config import FilesConfig

BUFFER = 1 << 20

# A file may be written again within one tick of its clock, and look as before.
SECONDS_UNTIL_ITS_TIME_TELLS = 10


class Opened(Protocol):
    """A file as it stood at one moment."""

    @property
    def fingerprint(self) -> Mapping[str, Any]:
        """What tells cheaply whether a file has changed: the same one, the same content. Empty if nothing does."""
        ...

    def content(self) -> BufferedReader:
        """Its bytes from the first on, without any that were added since it was opened. May be had more than once."""
        ...

    def was_altered(self) -> bool:
        """Whether somebody has written into it since it was opened."""
        ...


class Place(Protocol):
    """Its methods block; of what goes wrong they raise FileNotFoundError or a ConnectorError."""

    def names(self) -> Sequence[str]: ...

    def is_readable(self, name: str) -> bool: ...

    def opened(self, name: str) -> AbstractContextManager[Opened]: ...


def place_of(config: FilesConfig) -> Place:
    return Storage(config) if "://" in config.folder else Folder(Path(config.folder))


class Folder:
    """A folder of this machine, or one that is mounted."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def names(self) -> Sequence[str]:
        try:
            return sorted(path.name for path in self.path.iterdir())
        except (FileNotFoundError, NotADirectoryError):
            raise Fatal(f"There is no folder {self.path}. Make it, or correct the connector's folder.") from None
        except OSError as error:
            raise Fatal(f"{self.path} cannot be read: {error.strerror}. Correct the folder's permissions.") from error

    def is_readable(self, name: str) -> bool:
        return os.access(self.path / name, os.R_OK)

    @contextmanager
    def opened(self, name: str) -> Iterator[Opened]:
        path = self.path / name
        # Opening a pipe would wait for somebody to write into it.
        if not stat.S_ISREG(path.stat().st_mode):
            raise Fatal(f"{path} is no ordinary file. Put a file there, or take it away.")
        with path.open("rb", buffering=0) as file:
            yield _OpenFile(file.fileno())


class _OpenFile:
    """Bound to the file itself: a new one that is moved into its place changes nothing here."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._status = os.fstat(descriptor)
        self._is_settled = abs(time.time() - self._status.st_mtime) > SECONDS_UNTIL_ITS_TIME_TELLS

    @property
    def fingerprint(self) -> Mapping[str, Any]:
        return {"size": self.size, "mtime_ns": self._status.st_mtime_ns} if self._is_settled else {}

    @property
    def size(self) -> int:
        return self._status.st_size

    def content(self) -> BufferedReader:
        return BufferedReader(_Window(self._descriptor, self._status.st_size), BUFFER)

    def was_altered(self) -> bool:
        now = os.fstat(self._descriptor)
        return (now.st_size, now.st_mtime_ns) != (self._status.st_size, self._status.st_mtime_ns)


class _Window(RawIOBase):
    """The first bytes of an open file, with a position of its own."""

    def __init__(self, descriptor: int, size: int) -> None:
        self._descriptor, self._size, self._at = descriptor, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = 0) -> int:
        self._at = max(0, offset + {SEEK_CUR: self._at, SEEK_END: self._size}.get(whence, 0))
        return self._at

    def readinto(self, buffer: Any) -> int:
        read = os.preadv(self._descriptor, [memoryview(buffer)[: max(0, self._size - self._at)]], self._at)
        self._at += read
        return read


@dataclass(frozen=True)
class Driver:
    """`package` is what has to be installed for fsspec to reach such a place, `secrets` are those that it takes."""

    package: str
    secrets: tuple[str, ...] = ()


_AZURE = Driver("adlfs", ("account_key", "sas_token", "connection_string", "client_secret"))
_GOOGLE = Driver("gcsfs", ("token",))
DRIVERS = {
    "s3": Driver("s3fs", ("secret", "token")),
    "gs": _GOOGLE,
    "gcs": _GOOGLE,
    "abfs": _AZURE,
    "abfss": _AZURE,
    "az": _AZURE,
    "sftp": Driver("paramiko", ("password",)),
    "smb": Driver("smbprotocol", ("password",)),
    "ftp": Driver("fsspec", ("password",)),
    "memory": Driver("fsspec"),
}

# what drivers call the state of a file's content; any one of them will do
_STATES = ("etag", "md5hash", "generation", "lastmodified", "last_modified", "mtime", "updated", "modify", "created")

_REFUSED = re.compile(r"credential|forbidden|denied|unauthori[sz]ed|authenti|signature|\b40[13]\b", re.IGNORECASE)


class Storage:
    """Object storage and file servers, through fsspec."""

    def __init__(self, config: FilesConfig) -> None:
        self.url = config.folder
        self._config = config

    def names(self) -> Sequence[str]:
        try:
            with self._asked() as (files, root):
                entries = files.ls(root, detail=False)
        except FileNotFoundError:
            raise Fatal(
                f"There is nothing at {self.url}. Put files there, or correct the connector's folder."
            ) from None
        return sorted(str(entry).rstrip("/").rpartition("/")[2] for entry in entries)

    def is_readable(self, name: str) -> bool:  # noqa: ARG002
        """Nobody knows before the file is read."""
        return True

    @contextmanager
    def opened(self, name: str) -> Iterator[Opened]:
        with tempfile.NamedTemporaryFile(prefix="clarity-") as copy:
            yield _Fetched(self, name, self.fingerprint(name), copy)

    def fingerprint(self, name: str) -> Mapping[str, Any]:
        with self._asked() as (files, root):
            found: Mapping[str, Any] = files.info(f"{root}/{name}")
        if found.get("type") != "file":
            raise Fatal(f"{self.url}/{name} is no file. Put a file there, or take it away.")
        states = {key.lower(): str(value) for key, value in found.items() if key.lower() in _STATES and value}
        return {"size": found.get("size"), **states} if states else {}

    def fetch(self, name: str, into: str) -> None:
        with self._asked() as (files, root):
            files.get_file(f"{root}/{name}", into)

    @contextmanager
    def _asked(self) -> Iterator[tuple[Any, str]]:
        """Drivers raise what their vendor's library raises: many classes, which share little but words."""
        files, root = self._connected
        # Drivers remember what they were told before.
        files.invalidate_cache()
        try:
            yield files, root
        except (ConnectorError, FileNotFoundError):
            raise
        except Exception as error:  # noqa: BLE001
            said = self._said(error)
            if isinstance(error, TypeError):
                raise Fatal(f"{self.url}: the storage options are not right: {said}.") from None
            if isinstance(error, PermissionError) or _REFUSED.search(f"{type(error).__name__} {said}"):
                raise Reauthorise(
                    f"{self.url} refuses us: {said}. Check the credentials, and that they may list and read this place."
                ) from None
            raise Retry(f"{self.url} could not be read: {said}. If it stays so, correct the connector.") from None

    @cached_property
    def _connected(self) -> tuple[Any, str]:
        scheme = self.url.partition("://")[0].lower()
        driver = DRIVERS.get(scheme)
        if driver is None:
            raise Fatal(f"Files are not read from {scheme}://, but from {', '.join(DRIVERS)} and from paths.")
        try:
            secrets = {
                name: _opened_up(value) for name, value in self._config.secrets.items() if name in driver.secrets
            }
            url_to_fs = import_module("fsspec.core").url_to_fs
            files, root = url_to_fs(self.url, skip_instance_cache=True, **{**self._config.storage, **secrets})
        except ImportError:
            raise Fatal(
                f"{scheme}:// needs the package {driver.package}. Install it beside the platform:"
                f" pip install {driver.package}"
            ) from None
        except (TypeError, ValueError) as error:
            raise Fatal(f"{self.url}: the storage options are not right: {self._said(error)}.") from None
        return files, str(root).rstrip("/")

    def _said(self, error: Exception) -> str:
        said = str(error) or type(error).__name__
        for secret in self._config.secrets.values():
            said = said.replace(secret, "***")
        return said.partition("\n")[0].rstrip(".")[:500]


def _opened_up(secret: str) -> Any:
    """A service account of Google is a JSON object, and its driver wants it opened."""
    return json.loads(secret) if secret.lstrip().startswith("{") else secret


class _Fetched:
    """A copy that nobody else writes into, made when it is first asked for: what is read twice must not change."""

    def __init__(self, storage: Storage, name: str, fingerprint: Mapping[str, Any], copy: Any) -> None:
        self._storage, self._name, self._fingerprint, self._copy = storage, name, fingerprint, copy
        self._file: _OpenFile | None = None

    @property
    def fingerprint(self) -> Mapping[str, Any]:
        return self._fingerprint

    def content(self) -> BufferedReader:
        if self._file is None:
            self._storage.fetch(self._name, self._copy.name)
            self._file = _OpenFile(self._copy.fileno())
            size = self._fingerprint.get("size")
            if size not in (None, self._file.size) or self._fingerprint != self._storage.fingerprint(self._name):
                raise Retry(f"{self._storage.url}/{self._name} was replaced while it was read.")
        return self._file.content()

    def was_altered(self) -> bool:
        return False
