"""The whole of the platform's two databases as files, and back into another server.

    clarity.dump      the platform's own, as of one moment
    airflow.dump      Airflow's: runs, states, what people set in it
    bi_logins.json    of BI logins what lets their passwords go on: hashes, no passwords

Reading past the policies takes a superuser or a role with BYPASSRLS: they bind the tables' owner too. Anybody else's
pg_dump is refused, it never leaves rows out in silence. Loading takes nobody special: the owner loads, before the
policies are in force, and `clarity migrate` gives everybody what is theirs.

The platform's keys are in none of the files. Without them what comes out is sealed, and no login's password follows.
"""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from warehouse import database, roles, server
from warehouse.database import Login
from warehouse.errors import ClarityError, MisuseError
from warehouse.home import Report, write_private

CLARITY, AIRFLOW, BI_LOGINS = "clarity.dump", "airflow.dump", "bi_logins.json"


def dump(folder: Path, report: Report) -> None:
    """Write both databases into a new folder, for nobody else to read."""
    database.ensure_up()
    with database.connect(database.admin_conninfo(), application="clarity dump") as admin:
        _require_reading_past_policies(admin)
        verifiers = _verifiers_of_bi_logins(admin)
    try:
        folder.mkdir(mode=0o700, parents=True)
    except FileExistsError:
        raise MisuseError(f"{folder} is there already: name a new folder") from None
    for file, name in ((CLARITY, database.database_name()), (AIRFLOW, database.airflow_database_name())):
        report(f"reading {name}")
        _run("pg_dump", database.admin_conninfo(name), "--format=custom", f"--file={folder / file}")
        (folder / file).chmod(0o600)
    write_private(folder / BI_LOGINS, json.dumps(verifiers))


def load(folder: Path, report: Report) -> None:
    """Load what `dump` wrote into a server that holds no platform yet. `clarity migrate` has to come after."""
    missing = [name for name in (CLARITY, AIRFLOW, BI_LOGINS) if not (folder / name).is_file()]
    if missing:
        raise MisuseError(f"{folder} holds no dump: {', '.join(missing)} is missing")
    database.ensure_up()
    with roles.alone(report) as keeper:
        roles.ensure_databases(keeper)
        with database.connect(database.owner_conninfo()) as owner:
            if owner.execute("select to_regclass('control.tenants')").fetchone() != (None,):
                raise MisuseError(
                    f"{database.database_name()} holds a platform already: name another database in"
                    f" {database.URL_VARIABLE}"
                )
        airflow = database.conninfo(database.platform_login(database.AIRFLOW), database.airflow_database_name())
        for file, conninfo in ((CLARITY, database.owner_conninfo()), (AIRFLOW, airflow)):
            report(f"loading {file}")
            # whoever connects owns it; all of it or nothing
            whole = ("--no-owner", "--exit-on-error", "--single-transaction", str(folder / file))
            _run("pg_restore", conninfo, *whole)
            with database.connect(conninfo, autocommit=True) as connection:
                connection.execute("analyze")


def renew_bi_logins(folder: Path) -> list[str]:
    """Give BI logins back to whom they belonged, with the passwords that they had. Returns whose hash is not known."""
    verifiers: dict[str, str] = json.loads((folder / BI_LOGINS).read_text(encoding="utf-8"))
    unknown = []
    with database.registrar_session() as registrar:
        rows = registrar.execute("select login from control.logins where kind = 'bi' order by login").fetchall()
        for (name,) in rows:
            if name not in verifiers:
                unknown.append(str(name))
                continue
            # the password is replaced at once: nobody hears of this one
            roles.create_login(registrar, Login(name, os.urandom(32).hex()), roles.BI)
            registrar.execute(
                sql.SQL("alter role {} password {}").format(sql.Identifier(name), sql.Literal(verifiers[name]))
            )
    return unknown


def _require_reading_past_policies(admin: psycopg.Connection) -> None:
    may = admin.execute("select rolsuper or rolbypassrls from pg_roles where rolname = current_user").fetchone()
    if may != (True,):
        raise ClarityError(
            f"{admin.info.user} is bound by the tenants' policies, so it can't read everything: dump as a superuser or"
            " a role with BYPASSRLS, or tenant by tenant with `clarity tenant export`"
        )


def _verifiers_of_bi_logins(admin: psycopg.Connection) -> dict[str, str]:
    """Only a superuser may see them."""
    if admin.execute("select rolsuper from pg_roles where rolname = current_user").fetchone() != (True,):
        return {}
    rows = admin.execute(
        "select rolname::text, rolpassword from pg_authid join control.logins on login = rolname"
        " where kind = 'bi' and rolpassword like 'SCRAM-SHA-256$%'"
    ).fetchall()
    return dict(rows)


def _run(program: str, conninfo: str, *arguments: str) -> None:
    """One of PostgreSQL's own programs, at this address; the password goes through its environment."""
    _, folder = server.programs()
    parameters: dict[str, Any] = conninfo_to_dict(conninfo)
    password = parameters.pop("password", None)
    ended = subprocess.run(
        [str(folder / program), f"--dbname={make_conninfo(**parameters)}", "--no-password", *arguments],
        env={"PATH": "/usr/bin:/bin", "LC_ALL": "C", **({"PGPASSWORD": str(password)} if password else {})},
        capture_output=True,
        text=True,
        check=False,
    )
    if ended.returncode:
        raise ClarityError(f"{program} failed: {' '.join(ended.stderr.split())[-1000:]}")
