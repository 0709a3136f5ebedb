"""`clarity worker`: carries out tasks on this machine, for an Airflow that runs on another one.

The two share PostgreSQL and Redis, and what this machine is told from outside. What else a task needs is made here.
"""

import os
import socket
import sys
from typing import Annotated

import typer

from cli import airflow_env, broker, containers
from cli.context import Context
from control import access, registry
from warehouse import database
from warehouse.errors import MisuseError

NEEDED = {
    **containers.NEEDED,
    # its logins follow from the platform's keys
    database.URL_VARIABLE: "where PostgreSQL is, as postgresql://HOST:PORT/DATABASE",
    airflow_env.BROKER_VARIABLE: f"where Redis is, as {airflow_env.BROKER_EXAMPLE}",
}


def register(app: typer.Typer) -> None:
    app.command()(worker)


def worker(
    context: typer.Context,
    queues: Annotated[str, typer.Option(help="Which tasks to take, separated by commas.")] = ",".join(
        airflow_env.QUEUES
    ),
    slots: Annotated[int, typer.Option(min=1, help="How many of them at the same time.")] = 4,
    serve_logs: Annotated[
        bool, typer.Option(help="Show the logs of its tasks to Airflow's pages, on port 8793 of all interfaces.")
    ] = True,
) -> None:
    """Carry out tasks on this machine, for an Airflow that runs on another one, until it is stopped.

    Stopped by SIGTERM it takes no more and ends when its tasks have. docs/celery.md says what it has to be told.
    """
    here = Context.current(context)
    access.require_system(here.actor, "worker")
    taken = _known(queues)
    containers.require(NEEDED, "this worker")
    broker.ask()
    from steps import deploy, maintenance  # takes seconds

    deploy.follow(here.report)
    # nobody else looks after this disk
    maintenance.sweep({tenant.slug for tenant in registry.everybody()})
    airflow_env.airflow_home().mkdir(mode=0o700, exist_ok=True)
    here.say(f"Takes tasks of {', '.join(taken)}, {slots} at the same time.", queues=taken, slots=slots)
    sys.stdout.flush()
    os.environ[airflow_env.EXECUTOR_VARIABLE] = "celery"
    command = [
        *(sys.executable, "-m", "airflow", "celery", "worker", "--without-mingle", "--without-gossip"),
        *("--queues", ",".join(taken), "--concurrency", str(slots)),
        # Celery tells workers apart by this name; of those on one machine each has another process
        *("--celery-hostname", f"{os.getpid()}@{socket.gethostname()}"),
        *(() if serve_logs else ("--skip-serve-logs",)),
    ]
    os.execve(sys.executable, command, airflow_env.environment())  # noqa: S606 - nothing stands between it and signals


def _known(queues: str) -> list[str]:
    wanted = list(dict.fromkeys(filter(None, (name.strip() for name in queues.split(",")))))
    unknown = [name for name in wanted if name not in airflow_env.QUEUES]
    if unknown or not wanted:
        there_are = ", ".join(airflow_env.QUEUES)
        raise MisuseError(f"--queues wants one or more of {there_are}, separated by commas; not {queues[:60]!r}")
    return wanted
