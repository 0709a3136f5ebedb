"""The command line, typed as people type it: right, and wrong."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from cli.main import app, main
from tests.conftest import Tenant

CLARITY = [sys.executable, "-m", "cli.main"]


def clarity(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*CLARITY, *words], capture_output=True, text=True, env={**os.environ, **environment}, timeout=120
    )


def answer(*words: str) -> Any:
    done = clarity("--json", *words)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_tenants_first_hour(platform: Path, tmp_path: Path) -> None:
    config = tmp_path / "files.json"
    config.write_text(json.dumps({"folder": str(tmp_path)}))
    (tmp_path / "accounts.csv").write_text("id,name,industry,employee_count\n1,Größe & Co,Software,120\n")
    slug = f"acme_{os.getpid()}"
    assert answer("tenant", "create", "Acme Ltd", "--slug", slug)["slug"] == slug
    answer("connector", "add", slug, "files", "--config", str(config))
    assert answer("connector", "test", slug, "files")["ok"]
    assert answer("run", slug, "--as-of", "2026-03-10")["scored"]
    assert [row["status"] for row in answer("connector", "list", slug)] == ["connected"]
    assert answer("config", "show", slug)["score_version"] == 1
    login = answer("bi-user", "add", slug)["login"]
    assert answer("bi-user", "list", slug) == [{"login": login}]
    assert answer("bi-user", "revoke", slug, login)["revoked"] == login
    answer("tenant", "pause", slug)
    paused = clarity("run", slug)
    assert (paused.returncode, paused.stdout) == (1, "")
    assert f"clarity tenant resume {slug}" in paused.stderr
    answer("tenant", "resume", slug)
    assert slug in {row["slug"] for row in answer("tenant", "list")}
    answer("tenant", "delete", slug, "--yes")
    assert slug not in {row["slug"] for row in answer("tenant", "list")}


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (["run", "nobody"], 2, "there is no tenant 'nobody'"),
        (["sync", "nobody"], 2, "there is no tenant 'nobody'"),
        (["sync", "{slug}"], 2, "has no connector yet: `clarity connector add"),
        (["sync", "{slug}", "--full", "--accept-fewer"], 2, "name it with --stream"),
        (["--actor", "eve", "sync", "{slug}"], 1, "run.start needs the role manager"),
        (["quarantine", "nobody"], 2, "there is no tenant 'nobody'"),
        (["quarantine", "{slug}", "--connector", "fax"], 2, "has no fax connector; it has none"),
        (["quarantine", "{slug}", "--limit", "0"], 2, "--limit"),
        (["--actor", "eve", "quarantine", "{slug}"], 1, "quarantine.list needs the role viewer"),
        (["run", "{slug}", "--as-of", "tomorrow"], 2, "'tomorrow' is not a day; write it like 2026-03-10"),
        (["tenant", "create", "X", "--slug", "No Good"], 2, "can't be a slug"),
        (["tenant", "create", "X", "--slug", "{slug}"], 2, "a tenant with this slug already"),
        (["tenant", "create", "\U0001f600" * 300, "--slug", "smile"], 2, "1 to 200 printable characters"),
        (["tenant", "create", "X", "--slug", "mars", "--timezone", "Mars/Olympus"], 2, "is not a time zone"),
        (["tenant", "delete", "{slug}"], 2, "say --yes if that is meant"),
        (["connector", "add", "{slug}", "files", "--config", "/no/such/file"], 2, "can't be read"),
        (["connector", "add", "{slug}", "files", "--config", "{bad}"], 2, "is not JSON"),
        (["connector", "add", "{slug}", "files", "--config", "{empty}"], 2, "files: folder"),
        (["connector", "add", "{slug}", "fax", "--config", "{empty}"], 2, "There is no connector 'fax'"),
        (["connector", "test", "{slug}", "files"], 2, "has no files connector"),
        (["config", "set", "{slug}", "fit", "{bad}"], 2, "is not JSON"),
        (["config", "set", "{slug}", "fit", "{odd}"], 2, "fit.weights"),
        (["bi-user", "revoke", "{slug}", "nobody"], 2, "has no BI login"),
        (["connector", "add", "{slug}", "files", "--config", "{empty}", "--secret", "a=b"], 2, "env:"),
        (["connector", "remove", "{slug}", "files"], 2, "--yes"),
        (["connector", "allow-domains", "{slug}"], 2, "--none"),
        (["connector", "accept-dpa", "{slug}", "--user", " "], 2, "--user"),
        (["config", "versions", "{slug}", "speed"], 2, "speed"),
        (["config", "rollback", "{slug}", "fit", "99"], 2, "99"),
        (["mapping", "show", "{slug}", "files", "planets"], 2, "has no connector 'files'"),
        (["template", "set", "{slug}", "{empty}"], 2, "roles"),
        (["member", "add", "{slug}", "ann", "--role", "king"], 2, "king"),
        (["member", "remove", "{slug}", "nobody"], 2, "nobody"),
        (["tenant", "settings", "{slug}", "--set", "colour=blue"], 2, "colour"),
        (["tenant", "settings", "{slug}", "--set", "timezone"], 2, "timezone"),
        (["tenant", "settings", "{slug}", "--set", "timezone=Mars"], 2, "timezone must be an IANA"),
        (["tenant", "import", "{bad}"], 2, "is no export"),
        (["tenant", "erase", "{slug}", "--email", "x", "--yes"], 2, "no e-mail address"),
        (["tenant", "show", "a" * 10_000], 2, "there is no tenant 'aaa"),
        (["tenant", "show", "\U0001f600"], 2, "there is no tenant"),
        (["tenant", "show", "a\x00b"], 2, "there is no tenant"),
        (["config", "set", "{slug}", "fit", "{nul}"], 2, "NUL character"),
        (["--actor", "eve", "tenant", "show", "{slug}"], 1, "needs the role viewer"),
        (["--actor", "eve", "tenant", "import", "{bad}"], 1, "platform's operators"),
        (["tenant", "import", "/no/such/file"], 2, "/no/such/file"),
        (["tenant", "erase", "{slug}", "--email", "nobody@nowhere.example"], 2, "--yes"),
        (["audit", "nobody"], 2, "there is no tenant 'nobody'"),
        (["prove", "nobody"], 2, "there is no tenant 'nobody'"),
        (["--actor", "system:root", "tenant", "list"], 2, "--actor names a member"),
        (["--actor", "\x1b[2J", "tenant", "list"], 2, "--actor names a member"),
        (["--actor", "eve", "run", "{slug}"], 1, "eve is no member of this tenant; run.start needs the role manager"),
        (["--actor", "eve", "db", "url", "--role", "owner"], 1, "is for the platform's operators"),
        (["--actor", "eve", "config", "set", "{slug}", "fit", "{empty}"], 1, "config.set needs the role manager"),
        (["--actor", "eve", "tenant", "delete", "{slug}", "--yes"], 1, "tenant.delete needs the role admin"),
        (["db", "url"], 2, "say either --role owner"),
        (["db", "url", "--role", "king"], 2, "there is no role 'king'"),
        (["nonsense"], 2, "No such command"),
        ([], 2, ""),
    ],
    ids=lambda value: " ".join(value)[:50] if isinstance(value, list) else None,
)
def test_a_command_misused_says_in_a_line_what_to_do(
    tenant: Tenant,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    code: int,
    sentence: str,
) -> None:
    files = {
        "bad": "{",
        "empty": "{}",
        "odd": '{"weights": {"industry": "much"}}',
        "nul": '{"industries": ["a\\u0000b"]}',
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    places = {name: str(tmp_path / name) for name in files}
    # in this process: starting one for each takes a second of importing
    monkeypatch.setattr(sys, "argv", ["clarity", *(word.format(slug=tenant.slug, **places) for word in words)])
    with pytest.raises(SystemExit) as ended:
        main()
    printed = capsys.readouterr()
    assert ended.value.code == code, printed.err
    assert sentence in " ".join(printed.err.split())
    assert "Traceback" not in printed.err + printed.out


def test_a_database_that_is_not_there_is_named_without_its_password(tmp_path: Path) -> None:
    done = clarity(
        "tenant",
        "list",
        CLARITY_HOME=str(tmp_path),
        CLARITY_DATABASE_URL="postgresql://admin:canary@127.0.0.1:1/clarity",  # pragma: allowlist secret
    )
    assert done.returncode == 1
    assert "127.0.0.1:1" in done.stderr
    assert "CLARITY_DATABASE_URL" in done.stderr
    assert "canary" not in done.stderr + done.stdout
    assert "Traceback" not in done.stderr


def test_a_database_url_that_is_none_is_refused_without_being_repeated(tmp_path: Path) -> None:
    done = clarity("tenant", "list", CLARITY_HOME=str(tmp_path), CLARITY_DATABASE_URL="canary://x:canary@[")
    assert done.returncode == 2
    assert "is not a PostgreSQL URL" in done.stderr
    assert "canary" not in done.stderr


@pytest.mark.long
def test_migrating_twice_at_once_is_safe(platform: Path) -> None:
    both = [
        subprocess.Popen([*CLARITY, "migrate"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    ends = [process.communicate(timeout=200) for process in both]
    assert [process.returncode for process in both] == [0, 0], ends
    assert "another migration is running; waiting for it" in ends[0][0] + ends[1][0]


def test_every_command_explains_itself() -> None:
    commands = dict(below((), typer.main.get_command(app)))
    assert {("run",), ("tenant", "create"), ("writeback-config", "enable")} <= commands.keys()
    for words, command in commands.items():
        done = CliRunner().invoke(app, [*words, "--help"])
        assert done.exit_code == 0, words
        assert "Usage" in done.output, words
        assert command.help, words


def below(words: tuple[str, ...], command: Any) -> Iterator[tuple[tuple[str, ...], Any]]:
    """A command and those that it consists of, each with the words that call it."""
    yield words, command
    for word, part in getattr(command, "commands", {}).items():
        yield from below((*words, word), part)
