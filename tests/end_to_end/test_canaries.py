"""A secret put into each place where one can be put, then a full run in Airflow: it is found in none of its traces."""

import base64
import json
import logging
import re
import secrets
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo
from typer.testing import CliRunner

from cli import airflow_env, supervisor
from cli import platform as platform_commands
from cli.airflow_api import Airflow
from cli.main import app
from control import connectors, registry, sealing
from sandbox import companies
from steps import pipeline
from tests.chaos.conftest import silent
from tests.chaos.test_kills import ending, wait_until
from tests.conftest import parsed_already, temporary_home
from tests.control import vault
from tests.end_to_end.conftest import TODAY
from warehouse import database, keys, server
from warehouse.home import secret

TESTS = "system:tests"
AT_REST_IN_HOME = ("secrets.json", "passwords.json")
LONGER_THAN_CHANCE = 12


@dataclass
class Platform:
    """Two homes: that of the database server, which an operator hands out by URL, and that of the platform itself."""

    homes: tuple[Path, ...]
    superuser: str = field(default="", repr=False)
    canaries: dict[str, str] = field(default_factory=dict)
    heard: dict[str, str] = field(default_factory=dict)

    def canary(self, place: str) -> str:
        return self.canaries.setdefault(place, f"canary{secrets.token_hex(20)}")

    def hear(self, what: str, text: str) -> None:
        self.heard[f"{len(self.heard)} {what}"] = text


@pytest.fixture
def platform(monkeypatch: pytest.MonkeyPatch) -> Iterator[Platform]:
    with temporary_home() as of_server, vault.installed():
        made = Platform((of_server,))
        fill_secrets(made, of_server, "server")
        address = server.start()
        made.superuser = database.admin_conninfo("postgres")
        password = made.canary("database URL")
        with psycopg.connect(made.superuser, autocommit=True) as superuser:
            # as an operator would: hashed on their side
            verifier = superuser.pgconn.encrypt_password(password.encode(), b"operator", b"scram-sha-256").decode()
            superuser.execute(
                sql.SQL("create role operator login createrole createdb password {}").format(sql.Literal(verifier))
            )
        url = database.url(
            make_conninfo(host=address.host, port=address.port, user="operator", password=password, dbname="clarity")
        )
        with temporary_home() as folder:
            made.homes = (of_server, folder)
            fill_secrets(made, folder, "platform")
            parsed_already(folder)
            monkeypatch.setenv(database.URL_VARIABLE, url)
            monkeypatch.setenv(keys.KEYS_VARIABLE, f"new:{made.canary('new key')},old:{made.canary('old key')}")
            monkeypatch.setenv(keys.SINGLE_KEY_VARIABLE, made.canary("single key"))
            yield made
            supervisor._clear_leftovers(silent)
            monkeypatch.delenv(database.URL_VARIABLE)


def fill_secrets(platform: Platform, home: Path, whose: str) -> None:
    """Known values for everything that would be invented, before it is."""
    names = ["postgres_password", "encryption_key", "airflow_admin_password"]
    names += [f"airflow_{purpose}_key" for purpose in ("fernet", "sessions", "jwt")]
    file = home / "secrets.json"
    file.touch(mode=0o600)
    file.write_text(json.dumps({name: platform.canary(f"{whose}: {name}") for name in names}))


# ── what is done with them ───────────────────────────────────────────────────────────────────────────────────────────


def clarity(platform: Platform, *words: str, typed: str = "") -> str:
    """Run a command here, keep all that it says and all that goes wrong in it."""
    done = CliRunner().invoke(app, list(words), input=typed)
    platform.hear(" ".join(words[:4]), done.output)
    if done.exception is not None:
        platform.hear(f"refused: {' '.join(words[:4])}", "".join(traceback.format_exception(done.exception)))
    return done.stdout


def provoke(platform: Platform, what: str, action: Callable[[], object]) -> None:
    with pytest.raises(Exception) as refused:  # noqa: PT011 - whatever it is, it is searched
        action()
    platform.hear(f"provoked: {what}", "".join(traceback.format_exception(refused.value)) + repr(refused.value))


def make_tenant(platform: Platform, folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    clarity(platform, "--json", "tenant", "create", "Guarded", "--slug", "guarded")
    companies.write_csv(folder / "world", companies.generate(7, 8, TODAY))
    for name, content in (
        ("files", {"folder": str(folder / "world")}),
        ("vault", {"base_url": "https://vault.example"}),
        ("wrong", {"base_url": 5, "refresh_token": [platform.canary("misplaced secret")]}),
        ("stray", {"base_url": "x", "password": platform.canary("unknown field")}),
    ):
        (folder / f"{name}.json").write_text(json.dumps(content))
    monkeypatch.setenv("VAULT_SECRET", platform.canary("vault: from the environment"))
    (folder / "token").write_text(platform.canary("vault: from a file"))
    add = ("--json", "connector", "add", "guarded")
    clarity(platform, *add, "files", "--config", str(folder / "files.json"))
    vault_json = str(folder / "vault.json")
    given = ("--secret", "client_secret=env:VAULT_SECRET", "--secret", f"refresh_token=file:{folder / 'token'}")
    clarity(platform, *add, "vault", "--config", vault_json, *given)
    typed = platform.canary("vault: typed")
    clarity(platform, *add, "vault", "--config", vault_json, "--secret", "client_secret", typed=f"{typed}\n")
    on_the_line = f"client_secret={platform.canary('on the command line')}"
    clarity(platform, *add, "vault", "--config", vault_json, "--secret", on_the_line)
    clarity(platform, *add, "vault", "--config", vault_json, "--secret", platform.canary("as the name of a field"))
    for wrong in ("wrong", "stray"):
        clarity(platform, *add, "vault", "--config", str(folder / f"{wrong}.json"))
    return registry.tenant("guarded").id


def go_wrong(platform: Platform, tenant_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every way in which a secret is at hand while something fails."""
    with database.run_session(tenant_id) as run:
        rotated = platform.canary("rotated token")
        connectors.store_rotated(run, tenant_id, "vault", {"refresh_token": rotated})
        opened = connectors.open_connector(run, tenant_id, "vault")
    platform.hear("an open connector", f"{opened!r} {opened}")
    platform.hear("keys and logins", f"{keys.keyring()!r} {database.run_login(tenant_id)!r}")
    envelope = sealing.seal({"token": platform.canary("copied")}, tenant_id="t", connector_id="c")
    provoke(platform, "copied", lambda: sealing.unseal(envelope, tenant_id=tenant_id, connector_id="c"))
    provoke(platform, "cut short", lambda: sealing.unseal(envelope[:50], tenant_id="t", connector_id="c"))
    provoke(platform, "a vendor that breaks down", lambda: pipeline.run("guarded", as_of=TODAY))
    wrong = database.Login(database.run_login(tenant_id).name, platform.canary("wrong password"))
    provoke(platform, "wrong password", lambda: database.connect(database.conninfo(wrong)))
    for variable, value in (
        (database.URL_VARIABLE, f"postgresql://u:{platform.canary('URL of nobody')}@127.0.0.1:1/gtm"),
        (database.URL_VARIABLE, f"postgresql//u:{platform.canary('URL that is none')}@["),
        (keys.KEYS_VARIABLE, platform.canary("key without id")),
        (keys.KEYS_VARIABLE, f"{platform.canary('key for id')}:new"),
        (keys.KEYS_VARIABLE, f"a:{platform.canary('short key')[:20]}"),
        (keys.KEYS_VARIABLE, f"other:{platform.canary('other key')}"),
    ):
        with monkeypatch.context() as patch:
            patch.setenv(variable, value)
            provoke(platform, variable, lambda: connectors.show(tenant_id, "vault", is_secret=bool, actor=TESTS))


def derived(platform: Platform, tenant_id: str) -> None:
    """What nobody chose, but what opens doors all the same."""
    for name, login in {
        "run login": database.run_login(tenant_id),
        "control login": database.control_login(tenant_id),
        **{name: database.platform_login(name) for name in (database.OWNER, database.REGISTRAR, database.AIRFLOW)},
    }.items():
        platform.canaries[f"password: {name}"] = login.password
    settings = airflow_env.settings()
    for name in ("CORE__FERNET_KEY", "API__SECRET_KEY", "API_AUTH__JWT_SECRET"):
        platform.canaries[f"Airflow: {name}"] = settings[f"AIRFLOW__{name}"]


# ── where they are looked for ────────────────────────────────────────────────────────────────────────────────────────


def found(platform: Platform, where: str, text: bytes) -> list[str]:
    return [
        f"{place} in {where}" for place, forms in spellings(platform).items() if any(form in text for form in forms)
    ]


def spellings(platform: Platform) -> dict[str, list[bytes]]:
    """A secret as it is, and as it would stand in an address, in JSON, in base64."""
    return {
        place: [
            *{value.encode(), quote(value, safe="").encode(), json.dumps(value)[1:-1].encode()},
            base64.b64encode(value.encode())[:-4],
        ]
        for place, value in platform.canaries.items()
        if len(value) > LONGER_THAN_CHANCE
    }


def files(platform: Platform) -> Iterator[Path]:
    for home in platform.homes:
        data = {file.parent for file in home.rglob("PG_VERSION")}
        for file in home.rglob("*"):
            if file.is_file() and file.name not in AT_REST_IN_HOME and not data & set(file.parents):
                yield file


def rows_of_both_databases(platform: Platform) -> Iterator[tuple[str, bytes]]:
    for name in (database.database_name(), database.airflow_database_name()):
        with psycopg.connect(make_conninfo(platform.superuser, dbname=name)) as superuser:
            for (table,) in superuser.execute(
                "select oid::regclass::text from pg_class where relkind in ('r', 'm') and relpersistence = 'p'"
                " and relnamespace::regnamespace::text not in ('pg_catalog', 'information_schema')"
            ).fetchall():
                for row in superuser.execute(f"select t::text, to_jsonb(t)::text from {table} as t".encode()):
                    yield f"{name} {table}", "\n".join(row).encode()
            for (query,) in superuser.execute("select query from pg_stat_activity where query is not null"):
                yield "pg_stat_activity", query.encode()


@pytest.mark.long
def test_no_secret_is_found_anywhere_after_a_full_run(
    platform: Platform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    platform_commands.start(lambda line: platform.hear("up", line))
    tenant_id = make_tenant(platform, tmp_path, monkeypatch)
    bi = json.loads(clarity(platform, "--json", "bi-user", "add", "guarded"))
    # shown this once, on purpose
    platform.heard = {what: text for what, text in platform.heard.items() if bi["login"] not in text}
    platform.canaries["BI password"] = re.sub(r".*://[^:]+:([^@]+)@.*", r"\1", bi["url"])
    derived(platform, tenant_id)
    go_wrong(platform, tenant_id, monkeypatch)

    airflow = Airflow()
    wait_until(lambda: airflow.has_dag("pipeline__guarded", tag="source:vault"), 60)
    # Airflow's own processes know no vault: its extract fails there, the rest of the run goes on
    run_id = airflow.trigger("pipeline__guarded", {"as_of": TODAY.isoformat()})
    assert ending(airflow, "pipeline__guarded", run_id) == "failed"
    states = {task.name: task.state for task in airflow.tasks("pipeline__guarded", run_id)}
    assert "success" in states.values()

    why = clarity(platform, "why-red", "guarded")
    assert "extract vault: " in why

    for words in (
        ("status",),
        ("why-red", f"pipeline__guarded/{run_id}"),
        ("tenant", "list"),
        ("connector", "list", "guarded"),
        ("connector", "show", "guarded", "vault"),
        ("connector", "show", "guarded", "files"),
        ("connector", "test", "guarded", "vault"),
        ("connector", "rotate-keys"),
        ("config", "show", "guarded"),
        ("bi-user", "list", "guarded"),
        ("run", "guarded", "--as-of", TODAY.isoformat()),
        ("connector", "remove", "guarded", "files"),
        ("nonsense",),
    ):
        clarity(platform, *words)
        clarity(platform, "--json", *words)
    platform.hear("log", caplog.text)

    assert len(spellings(platform)) >= 20
    leaks = [leak for what, text in platform.heard.items() for leak in found(platform, what, text.encode())]
    searched = {str(file): file.read_bytes() for file in files(platform)}
    tables = dict[str, bytes]()
    for table, row in rows_of_both_databases(platform):
        tables[table] = tables.get(table, b"") + row
    leaks += [leak for where, text in {**searched, **tables}.items() for leak in found(platform, where, text)]
    assert leaks == []
    # the search would have found something: it was where traces are, and it knows a secret when it sees one
    for place in ("dbt.log", "airflow/logs/dag_id=pipeline__guarded", "scheduler"):
        assert any(place in file for file in searched), place
    # (a pipeline's tasks render no templates, so Airflow has nothing to keep of them in its table of rendered fields)
    for table in ("control.audit_log", "control.sync_logs", "xcom", "task_instance"):
        assert any(table in name and b"guarded" in text for name, text in tables.items()), table
    assert found(platform, "itself", b"..." + secret("airflow_admin_password").encode())
