"""One process to a container: what its image starts with, and what prepares the databases before all others.

Containers share PostgreSQL and the broker, and what they are given from outside; nothing is made up here that another
of them would have to know.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from cli import airflow_env
from cli.context import Context
from control import access
from warehouse import database, keys
from warehouse.errors import ClarityError, MisuseError
from warehouse.home import setting

# Where one machine makes up what is missing, several could not agree on it.
NEEDED = {
    database.URL_VARIABLE: "where PostgreSQL is, as postgresql://USER:PASSWORD@HOST:PORT/DATABASE",
    keys.KEYS_VARIABLE: "the platform's keys, as ID:KEY",
    airflow_env.SECRET_VARIABLE: "what Airflow's processes sign and seal with, 32 characters or more",
    airflow_env.URL_VARIABLE: "where they find Airflow's API server, as http://HOST:PORT",
}
DESCRIPTION = "Extracts of this vendor that run at the same time"


def register(app: typer.Typer) -> None:
    # whatever follows the command's name is that command's own
    app.command(
        "exec",
        context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False, "help_option_names": []},
    )(execute)


def execute(
    context: typer.Context,
    command: Annotated[list[str], typer.Argument(metavar="COMMAND...", help="For example: airflow scheduler")],
) -> None:
    """Become COMMAND, with Airflow configured as here; for containers, where each process is started by itself."""
    here = Context.current(context)
    access.require_system(here.actor, "exec")
    require(NEEDED)
    airflow_env.prepare()
    environment = airflow_env.environment()
    sys.stdout.flush()
    try:
        os.execvpe(command[0], command, environment)  # noqa: S606 - without a shell is how it is meant
    except OSError as error:
        raise MisuseError(f"{command[0]} can't be started: {error.strerror}") from None


def require(needed: dict[str, str], whose: str = "this container") -> None:
    """Refuse to go on without one of these settings, and name each that is missing."""
    missing = [f"{name} or {name}_FILE ({what})" for name, what in needed.items() if setting(name) is None]
    if missing:
        raise MisuseError(f"{whose} was not given {', nor '.join(missing)}")


def prepare_airflow(report: Callable[[str], None]) -> None:
    """Airflow's own tables, and a pool for each vendor: a task whose pool is not there would never be scheduled."""
    from steps import deploy

    pools = airflow_env.pools(deploy.vendors())
    airflow_env.prepare()
    report("migrating Airflow's database")
    _airflow("db", "migrate")
    report("making the vendors' pools")
    wanted = {
        name: {"slots": slots, "description": DESCRIPTION, "include_deferred": False} for name, slots in pools.items()
    }
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "pools.json"
        file.write_text(json.dumps(wanted), encoding="utf-8")
        _airflow("pools", "import", str(file))


def _airflow(*arguments: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "airflow", *arguments],
        env=airflow_env.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if ended.returncode:
        last = "\n".join(f"    {line}" for line in ended.stdout.splitlines()[-15:])
        raise ClarityError(f"`airflow {' '.join(arguments[:2])}` failed. Its last words:\n{last}")
