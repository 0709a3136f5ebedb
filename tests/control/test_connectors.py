"""Connectors and their secrets: given without being seen, sealed, shown as ***, renewed by one process at a time."""

import json
import multiprocessing
import os
import pty
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg
import pytest
from typer.testing import CliRunner

from cli.main import app
from control import connectors
from steps import extract, provision
from tests.conftest import Tenant
from tests.control import vault
from warehouse import database, lease
from warehouse.errors import ClarityError, MisuseError

CONFIG = {"base_url": "https://vault.example", "client_secret": "canary-1", "refresh_token": "canary-2"}
TESTS = "system:tests"


@pytest.fixture(autouse=True)
def with_vault() -> Iterator[None]:
    with vault.installed():
        yield


@pytest.fixture
def admin(platform: Path) -> Iterator[psycopg.Connection]:
    with database.connect(database.admin_conninfo(), autocommit=True) as connection:
        yield connection


@pytest.fixture
def config_file(tmp_path: Path) -> Path:
    file = tmp_path / "vault.json"
    file.write_text(json.dumps({"base_url": "https://vault.example"}))
    return file


def clarity(*words: str, typed: str = "") -> tuple[str, Exception | None]:
    """What a command prints in this process, where the vault is known, and how it is refused."""
    done = CliRunner().invoke(app, list(words), input=typed)
    refused = done.exception if isinstance(done.exception, Exception) else None
    return done.stdout, refused


def config_of(tenant: Tenant, connector: str = "vault") -> dict[str, Any]:
    with database.run_session(tenant.id) as connection:
        return connectors.open_connector(connection, tenant.id, connector).config


# ── secrets on their way in and out ──────────────────────────────────────────────────────────────────────────────────


def test_secrets_come_from_the_environment_a_file_or_the_keyboard_and_are_shown_as_stars(
    tenant: Tenant, config_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VAULT_SECRET", "canary-1")
    (tmp_path / "token").write_text("canary-2\n")
    add = ("--json", "connector", "add", tenant.slug, "vault", "--config", str(config_file))
    out, refused = clarity(
        *add, "--secret", "client_secret=env:VAULT_SECRET", "--secret", f"refresh_token=file:{tmp_path / 'token'}"
    )
    assert refused is None
    assert "canary" not in out
    assert config_of(tenant) == CONFIG
    shown, _ = clarity("--json", "connector", "show", tenant.slug, "vault")
    assert json.loads(shown)["config"] == {**CONFIG, "client_secret": "***", "refresh_token": "***"}
    people, _ = clarity("connector", "show", tenant.slug, "vault")
    assert "client_secret: ***" in people
    assert "canary" not in people
    clarity(*add, "--secret", "client_secret", typed="canary-3\n")
    assert config_of(tenant) == {**CONFIG, "client_secret": "canary-3"}


def test_a_secret_that_is_asked_for_at_a_terminal_is_not_echoed() -> None:
    master, slave = pty.openpty()
    asking = subprocess.Popen(
        [sys.executable, "-c", "from cli.connectors import _ask; print(len(_ask('client_secret: ')))"],
        stdin=slave,
        stdout=subprocess.PIPE,
        stderr=slave,
        text=True,
        start_new_session=True,
    )
    os.close(slave)
    screen = b""
    while b"client_secret:" not in screen:
        screen += os.read(master, 100)
    # the prompt is printed after echo is off; what is typed before that would be lost with the queue
    os.write(master, b"canary-7\n")
    out, _ = asking.communicate(timeout=20)
    os.set_blocking(master, False)
    screen += os.read(master, 1000)
    os.close(master)
    assert out.strip() == "8"
    assert b"canary" not in screen


@pytest.mark.parametrize(
    ("secret", "sentence"),
    [
        ("client_secret=canary", "a secret never stands on the command line"),
        ("client_secret=", "a secret never stands on the command line"),
        ("=canary", "a secret never stands on the command line"),
        ("canary", "names a field that is no secret of a vault connector"),
        ("base_url=env:CANARY", "names a field that is no secret of a vault connector"),
        ("client_secret=env:NOWHERE", "the environment has no variable NOWHERE"),
        ("client_secret=file:/nowhere", "can't be read: No such file"),
        ("client_secret=file:/", "can't be read: Is a directory"),
        ("client_secret=file:/dev/null", "/dev/null is empty"),
        ("client_secret", "nothing was entered"),
    ],
)
def test_a_secret_that_cannot_be_had_is_refused_without_being_repeated(
    tenant: Tenant, config_file: Path, secret: str, sentence: str
) -> None:
    out, refused = clarity(
        "connector", "add", tenant.slug, "vault", "--config", str(config_file), "--secret", secret, typed="\n"
    )
    assert isinstance(refused, MisuseError)
    assert sentence in str(refused)
    assert "canary" not in str(refused) + out
    assert connectors.overview(tenant.id, actor=TESTS) == []


def test_configuring_anew_keeps_the_secrets_that_are_not_given_again(tenant: Tenant) -> None:
    provision.add_connector(tenant.id, "vault", CONFIG, actor=TESTS)
    with database.run_session(tenant.id) as run:
        connectors.store_rotated(run, tenant.id, "vault", {"refresh_token": "canary-9"})
    provision.add_connector(tenant.id, "vault", {"base_url": "https://other.example"}, actor=TESTS)
    assert config_of(tenant) == {**CONFIG, "base_url": "https://other.example", "refresh_token": "canary-9"}


def test_what_the_connector_itself_refuses_is_not_stored(tenant: Tenant) -> None:
    with pytest.raises(MisuseError, match="vault: refresh_token: Field required"):
        provision.add_connector(tenant.id, "vault", {"base_url": "x", "client_secret": "canary"}, actor=TESTS)
    with pytest.raises(MisuseError, match="vault: client_secret"):
        provision.add_connector(tenant.id, "vault", {**CONFIG, "client_secret": 5}, actor=TESTS)
    assert connectors.overview(tenant.id, actor=TESTS) == []


def test_credentials_that_do_not_open_can_be_given_again(tenant: Tenant, admin: psycopg.Connection) -> None:
    provision.add_connector(tenant.id, "vault", CONFIG, actor=TESTS)
    admin.execute(
        "update control.connectors set config = jsonb_build_object('sealed', 'v1.retired.AAAA') where tenant_id = %s",
        [tenant.id],
    )
    with pytest.raises(ClarityError, match="sealed with key 'retired'"):
        config_of(tenant)
    provision.add_connector(tenant.id, "vault", CONFIG, actor=TESTS)
    assert config_of(tenant) == CONFIG


def test_an_envelope_copied_from_another_tenants_row_does_not_open(
    tenant: Tenant, other_tenant: Tenant, admin: psycopg.Connection
) -> None:
    for each in (tenant, other_tenant):
        provision.add_connector(each.id, "vault", {**CONFIG, "client_secret": each.slug}, actor=TESTS)
    admin.execute(
        "update control.connectors as mine set config = theirs.config from control.connectors as theirs"
        " where mine.tenant_id = %s and theirs.tenant_id = %s",
        [tenant.id, other_tenant.id],
    )
    with pytest.raises(ClarityError, match="copied from another connector"):
        config_of(tenant)
    assert config_of(other_tenant)["client_secret"] == other_tenant.slug


def test_two_who_add_the_same_connector_at_once_leave_one_that_opens(tenant: Tenant) -> None:
    def add(number: int) -> str:
        return provision.add_connector(tenant.id, "vault", {**CONFIG, "client_secret": f"s{number}"}, actor=TESTS)

    with ThreadPoolExecutor(6) as pool:
        assert len(set(pool.map(add, range(6)))) == 1
    assert config_of(tenant)["client_secret"] in {f"s{number}" for number in range(6)}
    assert len(connectors.overview(tenant.id, actor=TESTS)) == 1


def test_only_an_admin_touches_connectors(tenant: Tenant, admin: psycopg.Connection, config_file: Path) -> None:
    provision.add_connector(tenant.id, "vault", CONFIG, actor=TESTS)
    for user, role in (("mia", "manager"), ("vic", "viewer")):
        admin.execute(
            "insert into control.members (id, tenant_id, user_id, role) values (gen_random_uuid(), %s, %s, %s)",
            [tenant.id, user, role],
        )
    for actor in ("mia", "vic", "stranger"):
        for words in (
            ("add", tenant.slug, "vault", "--config", str(config_file)),
            ("test", tenant.slug, "vault"),
            ("remove", tenant.slug, "vault", "--yes"),
            ("accept-dpa", tenant.slug, "--user", "x"),
            ("withdraw-dpa", tenant.slug),
            ("allow-domains", tenant.slug, "acme.com"),
            ("rotate-keys",),
        ):
            _, refused = clarity("--actor", actor, "connector", *words)
            assert isinstance(refused, ClarityError), words
    assert clarity("--actor", "vic", "connector", "show", tenant.slug, "vault")[1] is None
    assert isinstance(clarity("--actor", "stranger", "connector", "list", tenant.slug)[1], ClarityError)
    assert config_of(tenant) == CONFIG


def test_a_secret_that_a_vendors_library_repeats_is_taken_out_of_logs_and_tables(
    tenant: Tenant, admin: psycopg.Connection, caplog: pytest.LogCaptureFixture
) -> None:
    with database.connect(database.owner_conninfo(), autocommit=True) as owner:
        for stream in vault.STREAMS:
            owner.execute("select control.make_raw_table(%s)", [f"vault__{stream.name}"])
    provision.add_connector(tenant.id, "vault", CONFIG, actor=TESTS)
    with pytest.raises(ClarityError, match=r"refusals: RuntimeError: 404 for https://vault.example\?key=\*\*\*"):
        extract.run(tenant.slug, "vault", "test")
    assert "RuntimeError: 404" in caplog.text
    told = admin.execute(
        "select to_jsonb(l)::text || to_jsonb(c)::text from control.sync_logs as l"
        " join control.connectors as c on c.id = l.connector_id where l.tenant_id = %s",
        [tenant.id],
    ).fetchall()
    assert "404 for" in str(told)
    assert "canary" not in caplog.text + str(told)


# ── removal ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def supply(tenant: Tenant, folder: Path, ids: range) -> None:
    (folder / "accounts.csv").write_text("id,name\n" + "".join(f"{number},N{number}\n" for number in ids))
    provision.add_connector(tenant.id, "files", {"folder": str(folder)}, actor=TESTS)
    extract.run(tenant.slug, "files", "test")


def landed(tenant: Tenant) -> list[tuple[Any, ...]]:
    with database.run_session(tenant.id) as run:
        return run.execute("select record_id, seq from raw.files__accounts order by seq").fetchall()


@pytest.mark.parametrize("purge", [False, True])
def test_a_removed_connector_that_comes_back_goes_on_counting(tenant: Tenant, tmp_path: Path, purge: bool) -> None:
    supply(tenant, tmp_path, range(3))
    with database.run_session(tenant.id) as run:
        # a reader that has read everything
        run.execute(
            "insert into control.watermarks values (%s, 'accounts', 'files__accounts', 3, 3)",
            [tenant.id],
        )
    assert landed(tenant) == [("0", 1), ("1", 2), ("2", 3)]
    removed = connectors.remove(tenant.id, "files", actor=TESTS, purge=purge)
    assert removed.get("raw.files__accounts") == (3 if purge else None)
    assert len(landed(tenant)) == (0 if purge else 3)
    with pytest.raises(MisuseError, match="this tenant has no files connector"):
        config_of(tenant, "files")
    supply(tenant, tmp_path, range(4))
    new = [row for row in landed(tenant) if row[1] > 3]
    assert new == ([("0", 4), ("1", 5), ("2", 6), ("3", 7)] if purge else [("3", 4)])


def test_removing_wants_a_yes_and_says_what_goes(tenant: Tenant) -> None:
    provision.add_connector(tenant.id, "vault", CONFIG, actor=TESTS)
    _, refused = clarity("connector", "remove", tenant.slug, "vault")
    assert isinstance(refused, MisuseError)
    assert "say --yes if that is meant" in str(refused)
    assert config_of(tenant) == CONFIG
    out, _ = clarity("--json", "connector", "remove", tenant.slug, "vault", "--yes")
    assert json.loads(out)["removed"]["control.connectors"] == 1
    _, refused = clarity("connector", "remove", tenant.slug, "vault", "--yes")
    assert isinstance(refused, MisuseError)


def test_a_connector_is_not_removed_under_a_run(tenant: Tenant) -> None:
    provision.add_connector(tenant.id, "vault", CONFIG, actor=TESTS)
    ended = threading.Event()

    def remove() -> None:
        connectors.remove(tenant.id, "vault", actor=TESTS)
        ended.set()

    with lease.hold(tenant.id, "airflow:test", stage="extract"):
        thread = threading.Thread(target=remove)
        thread.start()
        assert not ended.wait(1)
        assert config_of(tenant) == CONFIG
    thread.join(20)
    assert ended.is_set()


# ── tokens that a vendor rotates ─────────────────────────────────────────────────────────────────────────────────────


def vendor(folder: Path, config: Mapping[str, Any]) -> dict[str, str]:
    """Like Xero: a refresh token works once. Whoever comes with a used one has lost access for good."""
    used = folder / config["refresh_token"]
    used.touch(exist_ok=False)
    time.sleep(0.3)
    return {"refresh_token": f"{config['refresh_token']}+"}


def renew_in_a_process(tenant_id: str, folder: Path, stale: str, barrier: Any, answers: Any) -> None:
    with database.run_session(tenant_id) as run:
        barrier.wait(60)
        config = connectors.renew(
            run, tenant_id, "vault", stale={"refresh_token": stale}, ask_vendor=lambda config: vendor(folder, config)
        )
    answers.put(config["refresh_token"])


def test_of_four_processes_with_an_expired_token_one_asks_the_vendor(tenant: Tenant, tmp_path: Path) -> None:
    provision.add_connector(tenant.id, "vault", CONFIG, actor=TESTS)
    context = multiprocessing.get_context("spawn")
    barrier, answers = context.Barrier(4), context.Queue()
    processes = [
        context.Process(target=renew_in_a_process, args=(tenant.id, tmp_path, "canary-2", barrier, answers))
        for _ in range(4)
    ]
    for process in processes:
        process.start()
    assert [answers.get(timeout=60) for _ in processes] == ["canary-2+"] * 4
    for process in processes:
        process.join(20)
    assert [file.name for file in tmp_path.iterdir()] == ["canary-2"]
    assert config_of(tenant) == {**CONFIG, "refresh_token": "canary-2+"}


def test_tokens_stored_side_by_side_are_all_kept_and_the_newest_wins(tenant: Tenant) -> None:
    provision.add_connector(tenant.id, "vault", CONFIG, actor=TESTS)

    def store(key: str) -> None:
        with database.run_session(tenant.id) as run:
            for number in range(10):
                connectors.store_rotated(run, tenant.id, "vault", {key: f"{key}-{number}"})

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(store, ("client_secret", "refresh_token")))
    assert config_of(tenant) == {**CONFIG, "client_secret": "client_secret-9", "refresh_token": "refresh_token-9"}


def test_a_process_killed_before_it_uses_its_new_token_leaves_it_stored(tenant: Tenant) -> None:
    provision.add_connector(tenant.id, "vault", CONFIG, actor=TESTS)
    program = (
        "import os, signal\n"
        "from control import connectors\n"
        "from warehouse import database\n"
        f"with database.run_session({tenant.id!r}) as run:\n"
        f"    connectors.renew(run, {tenant.id!r}, 'vault', stale={{'refresh_token': 'canary-2'}},\n"
        "        ask_vendor=lambda config: {'refresh_token': 'canary-5'})\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    assert subprocess.run([sys.executable, "-c", program], timeout=60).returncode == -signal.SIGKILL
    assert config_of(tenant)["refresh_token"] == "canary-5"


def test_a_vendor_that_refuses_changes_nothing_and_frees_the_others(tenant: Tenant) -> None:
    provision.add_connector(tenant.id, "vault", CONFIG, actor=TESTS)

    def refuse(_: Mapping[str, Any]) -> dict[str, str]:
        raise ConnectionError("the vendor is down")

    with database.run_session(tenant.id) as run:
        with pytest.raises(ConnectionError):
            connectors.renew(run, tenant.id, "vault", stale={"refresh_token": "canary-2"}, ask_vendor=refuse)
        connectors.store_rotated(run, tenant.id, "vault", {"refresh_token": "canary-6"})
    assert config_of(tenant)["refresh_token"] == "canary-6"


def test_a_token_is_never_stored_inside_a_transaction_that_may_yet_fail(tenant: Tenant) -> None:
    provision.add_connector(tenant.id, "vault", CONFIG, actor=TESTS)
    with database.run_session(tenant.id) as run:
        run.execute("select 1")
        with pytest.raises(RuntimeError, match="in a transaction already"):
            connectors.store_rotated(run, tenant.id, "vault", {"refresh_token": "canary-6"})


def test_a_rotated_token_is_in_the_trail_without_its_value(tenant: Tenant, admin: psycopg.Connection) -> None:
    provision.add_connector(tenant.id, "vault", CONFIG, actor=TESTS)
    with database.run_session(tenant.id) as run:
        connectors.store_rotated(run, tenant.id, "vault", {"refresh_token": "canary-6"})
    trail = admin.execute(
        "select action, changes::text from control.audit_log where tenant_id = %s order by seq desc limit 1",
        [tenant.id],
    ).fetchone()
    assert trail is not None
    assert trail[0] == "connector.token_rotated"
    assert "refresh_token" in trail[1]
    assert "canary" not in trail[1]


def test_a_token_that_the_vendor_did_not_rotate_leaves_no_trace(tenant: Tenant, admin: psycopg.Connection) -> None:
    provision.add_connector(tenant.id, "vault", CONFIG, actor=TESTS)

    def what_is_kept() -> list[tuple[Any, ...]]:
        return admin.execute(
            "select connector.xmin::text, connector.config::text,"
            " (select count(*) from control.audit_log where tenant_id = connector.tenant_id)"
            " from control.connectors as connector where tenant_id = %s",
            [tenant.id],
        ).fetchall()

    before = what_is_kept()
    with database.run_session(tenant.id) as run:
        config = connectors.renew(
            run, tenant.id, "vault", stale={"refresh_token": "canary-2"}, ask_vendor=lambda _config: {}
        )
    assert config == CONFIG
    assert what_is_kept() == before
