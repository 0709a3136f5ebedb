"""Starting servers that none of us wrote, each in a process of its own, and dividing requests among them."""

import os
import re
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import httpx
import psutil

PROJECT = Path(__file__).resolve().parents[2]
# `make test-contracts` puts them there.
INSTALLED = PROJECT / "build" / "contracts"
PYTHON = INSTALLED / "venv" / "bin" / "python"
NODE = INSTALLED / "venv" / "bin" / "node"
NODE_MODULES = INSTALLED / "node_modules"

PATIENCE = 60


def contracts() -> Path | None:
    """The folder with the vendors' contracts, which are not ours to copy."""
    folder = os.environ.get("CLARITY_CONTRACTS")
    return Path(folder) if folder else None


@contextmanager
def prism(contract: Path, log: Path) -> Iterator[str]:
    """A prism mock of this contract: refuses what breaks it, answers with its examples, and has a strict gate in front.

    The gate, which comes with the contracts, refuses query parameters that the contract does not know.
    """
    folder = contracts()
    assert folder is not None
    mock: list[str | Path] = [
        NODE,
        NODE_MODULES / "@stoplight/prism-cli/dist/index.js",
        "mock",
        "-h",
        "127.0.0.1",
        "-p",
    ]
    gate = [NODE, folder / "strict.js", contract]
    with _served(mock, log.with_suffix(".prism"), [contract]) as url:
        with _served(gate, log.with_suffix(".gate"), [url], {"NODE_MODULES": str(NODE_MODULES)}) as strict_url:
            yield strict_url


@contextmanager
def mockforce(python: Path, log: Path) -> Iterator[str]:
    with _served([python, Path(__file__).with_name("mockforce.py")], log) as url:
        yield url


@contextmanager
def divided(
    doors: Mapping[str, str], otherwise: str, prefer: Mapping[str, str] | None = None
) -> Iterator[tuple[str, list[str]]]:
    """One address for several servers, and what was asked of those behind `doors`, patterns of paths.

    `prefer` says by patterns of paths which of the contract's answers prism is to give, like code=401.
    """
    asked: list[str] = []

    class Door(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def pass_on(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            path = self.path.partition("?")[0]
            place = next((url for pattern, url in doors.items() if re.fullmatch(pattern, path)), None)
            if place:
                asked.append(f"{self.command} {path}")
            headers = {
                name: value for name, value in self.headers.items() if name.lower() not in ("host", "connection")
            }
            for pattern, wish in (prefer or {}).items():
                if re.fullmatch(pattern, path):
                    headers["Prefer"] = wish
            told = httpx.request(
                self.command, (place or otherwise) + self.path, headers=headers, content=body, timeout=30
            )
            self.send_response(told.status_code)
            for name, value in told.headers.items():
                if name not in (
                    "content-length",
                    "content-encoding",
                    "transfer-encoding",
                    "connection",
                    "date",
                    "server",
                ):
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(told.content)))
            self.end_headers()
            self.wfile.write(told.content)

        do_GET = do_POST = do_PATCH = do_PUT = do_DELETE = pass_on  # noqa: N815 - the standard library's names

        def log_message(self, format: str, *args: object) -> None:
            """Nobody reads it."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Door) as server:
        server.daemon_threads = True
        thread = Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", asked
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def _served(
    command: Sequence[str | Path],
    log: Path,
    after_port: Sequence[str | Path] = (),
    more: Mapping[str, str] | None = None,
) -> Iterator[str]:
    """Run `command PORT after_port...` until the body ends; its address as soon as it listens."""
    port = _free_port()
    words = [str(word) for word in (*command, port, *after_port)]
    with log.open("w", encoding="utf-8") as output:
        process = subprocess.Popen(words, stdout=output, stderr=subprocess.STDOUT, env={**os.environ, **(more or {})})
    try:
        _wait_for(port, process, log)
        yield f"http://127.0.0.1:{port}"
    finally:
        _end(process)


def _end(process: "subprocess.Popen[bytes]") -> None:
    """The process and what it has started."""
    if process.poll() is None:
        for child in psutil.Process(process.pid).children(recursive=True):
            child.kill()
        process.kill()
    process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_for(port: int, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while process.poll() is None and time.monotonic() < deadline:
        try:
            httpx.get(f"http://127.0.0.1:{port}/", timeout=5)
        except httpx.TransportError:
            time.sleep(0.1)
        else:
            return
    raise AssertionError(f"{process.args!r} does not listen:\n{log.read_text(encoding='utf-8', errors='replace')}")
