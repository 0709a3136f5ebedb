"""Airflow's whole configuration, as environment variables. What Airflow writes into its airflow.cfg decides nothing.

Passwords and keys reach Airflow's processes through their environment only, never through a command line.
"""

import base64
import hashlib
import hmac
import importlib.util
import json
import os
import socket
import sys
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import urlsplit

from warehouse import database
from warehouse.errors import MisuseError
from warehouse.home import home, project_root, secret, setting, write_private

HOST = "127.0.0.1"
EVERYWHERE = "0.0.0.0"  # noqa: S104 - what a container listens to is for its network to say
PREFERRED_PORT = 8080

# Where Airflow's processes don't share a machine: where they find its API server, and where people do if that differs.
URL_VARIABLE, PUBLIC_URL_VARIABLE = "CLARITY_AIRFLOW_URL", "CLARITY_PUBLIC_URL"
# The image says so of itself: in a container nobody starts a process but the container's own.
CONTAINER_VARIABLE = "CLARITY_IN_CONTAINER"
# What Airflow's own keys and its administrator's password follow from where its processes share no CLARITY_HOME.
SECRET_VARIABLE = "CLARITY_AIRFLOW_SECRET"  # noqa: S105 - its name
MINIMUM_LENGTH = 32
ADMIN = "admin"

# Discovery of a new tenant takes one parse of its DAGs, then one look of the scheduler. The supervisor asks for that
# parse (cli/parsing.py), so Airflow parses by itself for good measure only: the DAGs of 500 tenants take seconds of a
# processor. In a container nobody asks.
SECONDS_BETWEEN_PARSES = 20
SECONDS_BETWEEN_PARSES_THAT_NOBODY_ASKED_FOR = 300

# How many extracts of one vendor run at the same time, as in `salesforce=4,files=8`.
POOLS_VARIABLE = "CLARITY_POOLS"

# Who runs tasks: this machine, or workers on other machines (cli/worker.py), and through which Redis they hear of them.
EXECUTOR_VARIABLE, BROKER_VARIABLE = "CLARITY_EXECUTOR", "CLARITY_BROKER_URL"
EXECUTORS = {"local": "LocalExecutor", "celery": "CeleryExecutor"}
BROKER_SCHEMES = ("redis", "rediss")
# how many tasks run at once: with workers, on all of them together
PARALLELISM_VARIABLE = "CLARITY_PARALLELISM"
PARALLELISM_OF_WORKERS = 16

BROKER_EXAMPLE = "redis://:PASSWORD@HOST:6379/0"
# a message that was taken and never begun comes back; before its task has waited for too long
VISIBILITY_TIMEOUT = 90

# Tasks by what they need: the way to the vendors, PostgreSQL, memory and processor. The second also takes the tasks of
# other people's DAGs, who need not know of queues.
QUEUES = ("extract", "transform", "score")
DEFAULT_QUEUE = "transform"

# They tell of every loop, every parse and every request. Tasks keep INFO: their logs are what people read.
QUIET_LOGGERS = (
    "airflow.api_fastapi", "airflow.dag_processing", "airflow.executors", "airflow.jobs", "airflow.logging_config",
    "airflow.models.dag", "airflow.sdk.api.client", "airflow.serialization", "airflow.settings", "airflow.utils",
    "alembic", "http.access", "httpx", "supervisor",
)  # fmt: skip

NO_TELEMETRY = {
    "DO_NOT_TRACK": "1",
    "DBT_SEND_ANONYMOUS_USAGE_STATS": "False",
    "GX_ANALYTICS_ENABLED": "False",
    "SCARF_ANALYTICS": "False",
    "AIRFLOW__COSMOS__ENABLE_TELEMETRY": "False",
}


def airflow_home() -> Path:
    return home() / "airflow"


def admin_password() -> str:
    return _secret("airflow_admin_password")


def is_in_container() -> bool:
    """Whether each of Airflow's processes has a container of its own, which somebody else starts and stops."""
    return setting(CONTAINER_VARIABLE) == "yes"


def web_address() -> str:
    """Where the platform's own processes find Airflow's API server."""
    return setting(URL_VARIABLE) or f"http://{HOST}:{port()}"


def public_address() -> str:
    """Where people find it."""
    return setting(PUBLIC_URL_VARIABLE) or web_address()


def host() -> str:
    """Where the API server is: on this machine, unless the address says otherwise."""
    return _address()[0] if setting(URL_VARIABLE) else HOST


def port() -> int:
    """The port of Airflow's API server and web pages, the same at every start."""
    if setting(URL_VARIABLE):
        return _address()[1]
    remembered = _port_file()
    return int(remembered.read_text()) if remembered.exists() else choose_port()


def choose_port() -> int:
    """Keep the remembered port if nobody else took it, else 8080, else any free one; remember it.

    To be called only while our own API server is down: it would be taken for somebody else's.
    """
    remembered = _port_file()
    wishes = [int(remembered.read_text())] if remembered.exists() else []
    chosen = next(candidate for candidate in [*wishes, PREFERRED_PORT, 0] if candidate == 0 or is_free(candidate))
    if chosen == 0:
        with socket.socket() as probe:
            probe.bind((HOST, 0))
            chosen = probe.getsockname()[1]
    write_private(remembered, str(chosen))
    return chosen


def environment() -> dict[str, str]:
    """The environment of Airflow's processes: that of this process, with everything of Airflow's decided by us."""
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    # A proxy must not stand between Airflow's own processes.
    elsewhere = os.environ.get("NO_PROXY") or os.environ.get("no_proxy")
    around_proxy = ",".join(dict.fromkeys(filter(None, [HOST, host(), "localhost", elsewhere])))
    return {
        **inherited,
        "NO_PROXY": around_proxy,
        "no_proxy": around_proxy,
        "CLARITY_HOME": str(home()),
        # Process titles must not be written over the environment: it says which platform an orphan belongs to.
        "SPT_NOENV": "1",
        **settings(),
    }


def settings() -> dict[str, str]:
    """What we decide. An AIRFLOW__ variable of the caller counts only where we decide nothing."""
    folder = airflow_home()
    options: dict[str, dict[str, object]] = {
        "core": {
            "dags_folder": project_root() / "dags",
            "plugins_folder": project_root() / "plugins",
            "load_examples": False,
            # its default, but one that is asked for with every field of every task: found here, it is found at once
            "max_templated_field_length": 4096,
            "executor": EXECUTORS[executor()],
            "parallelism": parallelism(),
            "default_timezone": "utc",
            "dags_are_paused_at_creation": False,
            # A DAG that changed is read anew for its next run. At the default a run that starts within half a minute
            # of a new connector would leave it out, and end green.
            "min_serialized_dag_update_interval": 0,
            "fernet_key": base64.urlsafe_b64encode(_key("fernet")[:32]).decode(),
            "execution_api_server_url": f"{web_address()}/execution/",
            "simple_auth_manager_users": f"{ADMIN}:admin",
            "simple_auth_manager_passwords_file": passwords_file(),
            # Forked workers share what the scheduler preloaded; other start methods would import it all again.
            **({"mp_start_method": "fork"} if sys.platform == "linux" else {}),
        },
        # The supervisor migrates before it starts them: none needs to look again.
        "database": {"sql_alchemy_conn": database.airflow_url(), "check_migrations": False},
        "api": {
            "host": EVERYWHERE if setting(URL_VARIABLE) else HOST,
            "port": port(),
            "base_url": public_address(),
            "workers": 1,
            "secret_key": _key("sessions").hex(),
            "expose_config": False,
            "expose_stacktrace": False,
            "instance_name": "GTM Clarity",
        },
        "api_auth": {"jwt_secret": _key("jwt").hex()},
        "dag_processor": {
            "min_file_process_interval": (
                SECONDS_BETWEEN_PARSES if is_in_container() else SECONDS_BETWEEN_PARSES_THAT_NOBODY_ASKED_FOR
            ),
            "refresh_interval": SECONDS_BETWEEN_PARSES,
            # the pipelines and the nights side by side
            "parsing_processes": 2,
            "print_stats_interval": 0,
            # the DAGs of a tenant that is gone go with the next parse, not a minute later
            "stale_dag_threshold": 5,
        },
        "scheduler": {
            "parsing_cleanup_interval": 10,
            # At 0.1 a run of five tasks ends a second earlier, and a scheduler that has nothing to do takes thrice as
            # much of a processor, all day long, and PostgreSQL with it.
            "scheduler_idle_sleep_time": 0.3,
            # Tasks of a killed scheduler start again within half a minute, not after five.
            "scheduler_health_check_threshold": 20,
            "orphaned_tasks_check_interval": 10,
            "task_instance_heartbeat_timeout": 60,
            # No more is queued than there are workers, so a task that waits this long waits for one that hangs or is
            # gone: it goes to another. At the default of ten minutes a run would stand still for as long.
            "task_queued_timeout": 90,
            "task_queued_timeout_check_interval": 15,
        },
        # A worker that misses the moment in which its task ends sleeps until the next heartbeat. At the default of 5 s
        # every second task kept its slot, and its state if it failed or skipped, for 5 s longer than it worked.
        "workers": {"min_heartbeat_interval": 1},
        "logging": {
            "base_log_folder": folder / "logs",
            "dag_processor_child_process_log_directory": folder / "logs" / "dag_processor",
            "colored_console_log": False,
            "uvicorn_logging_level": "WARNING",
            "namespace_levels": " ".join([*(f"{logger}=WARNING" for logger in QUIET_LOGGERS), "py.warnings=ERROR"]),
            # Task logs are files on this machine: nobody serves them over a socket, and nobody asks for that. Workers
            # on other machines serve their own (port 8793), to those who know Airflow's key.
            **({} if by_celery() else {"logging_config_class": "airflow_local_settings.LOGGING_ON_ONE_MACHINE"}),
            "file_task_handler_new_folder_permissions": "0o700",
            "file_task_handler_new_file_permissions": "0o600",
        },
    }
    for section, chosen in (_celery() if by_celery() else {}).items():
        options[section] = options.get(section, {}) | chosen
    return {
        "AIRFLOW_HOME": str(folder),
        **{
            f"AIRFLOW__{section.upper()}__{option.upper()}": str(value)
            for section, chosen in options.items()
            for option, value in chosen.items()
        },
        **NO_TELEMETRY,
    }


def _celery() -> dict[str, dict[str, object]]:
    """A task runs once at a time, and is run again when its worker or Redis is gone.

    A worker that dies takes its tasks along: Airflow misses their heartbeat within a minute and starts the next
    attempt. A message that was taken and not yet begun comes back after `visibility_timeout`. One that Redis handed to
    a worker in the moment of its death is nowhere: what has been queued for `task_queued_timeout` is sent anew. So a
    message may come twice, and Airflow's API refuses to start what is running or has ended.
    """
    return {
        "operators": {"default_queue": DEFAULT_QUEUE},
        # A task that only waits for a busy worker is sent anew as well, and loses nothing by it; after an hour of that
        # it fails, for nobody takes its queue.
        "scheduler": {"task_queued_timeout": 120, "num_stuck_in_queued_retries": 30},
        # a message is good for as long as that, and until somebody has looked
        "api_auth": {"jwt_leeway": 60},
        "celery": {
            "broker_url": broker_url(),
            # a result outlives Redis, and nobody needs two copies of it
            "result_backend": f"db+{database.airflow_url(driver='postgresql+psycopg')}",
            # one at a time: what a worker had put aside would wait for it, and be lost to the others when it dies
            "worker_prefetch_multiplier": 1,
            "task_acks_late": True,
            # While Redis is away the scheduler tries again, for an hour, before it takes a task for failed.
            "operation_timeout": 1,
            "task_publish_max_retries": 3600,
            "extra_celery_config": json.dumps(
                {
                    # what ends an attempt is the time-out above, which Airflow takes for a reason to try again
                    "task_publish_retry_policy": {"max_retries": None, "interval_start": 0.1, "interval_max": 0.2},
                    "broker_connection_max_retries": None,
                    # a task whose process died is the next attempt's, not the same one's again
                    "task_reject_on_worker_lost": False,
                    # it goes on working while Redis is away
                    "worker_cancel_long_running_tasks_on_connection_loss": False,
                }
            ),
        },
        "celery_broker_transport_options": {"visibility_timeout": VISIBILITY_TIMEOUT},
    }


def executor() -> str:
    chosen = setting(EXECUTOR_VARIABLE) or "local"
    if chosen not in EXECUTORS:
        raise MisuseError(f"{EXECUTOR_VARIABLE} says {chosen[:40]!r}: it wants {' or '.join(EXECUTORS)}")
    return chosen


def by_celery() -> bool:
    return executor() == "celery"


def require_celery() -> None:
    if importlib.util.find_spec("celery") is None:
        raise MisuseError(
            f"{EXECUTOR_VARIABLE}=celery wants more than is installed here: what requirements-celery.txt lists"
        )


def broker_url() -> str:
    url = setting(BROKER_VARIABLE)
    if url is None:
        raise MisuseError(f"workers hear of tasks through Redis: say where it is, {BROKER_VARIABLE}={BROKER_EXAMPLE}")
    parts = urlsplit(url)
    if parts.scheme not in BROKER_SCHEMES or not parts.hostname:
        # it is not repeated: there is a password in it
        raise MisuseError(f"{BROKER_VARIABLE} is no address of a Redis: write {BROKER_EXAMPLE}, or rediss:// for TLS")
    return url


def parallelism() -> int:
    """How many tasks run at the same time."""
    said = setting(PARALLELISM_VARIABLE)
    if said is None:
        return PARALLELISM_OF_WORKERS if by_celery() else min(16, max(4, 2 * (os.cpu_count() or 2)))
    if not said.isdecimal() or int(said) < 1:
        raise MisuseError(f"{PARALLELISM_VARIABLE} says {said[:40]!r}: it wants a number of tasks, 1 or more")
    return int(said)


def pools(vendors: Iterable[str]) -> dict[str, int]:
    """A pool per vendor. Unless the environment says otherwise it takes half of the workers: a vendor that hangs must
    leave some to the others."""
    slots = dict.fromkeys(vendors, parallelism() // 2)
    for part in filter(None, os.environ.get(POOLS_VARIABLE, "").split(",")):
        vendor, _, number = part.strip().partition("=")
        if vendor not in slots or not number.isdecimal() or int(number) < 1:
            there_are = ", ".join(slots)
            raise MisuseError(
                f"{POOLS_VARIABLE} says {part.strip()[:60]!r}: it wants VENDOR=SLOTS, separated by commas, with 1 slot"
                f" or more; vendors are {there_are}"
            )
        slots[vendor] = int(number)
    return slots


def prepare() -> None:
    """Make Airflow's folder and its password file: Airflow would invent a password and print it into a log."""
    airflow_home().mkdir(mode=0o700, parents=True, exist_ok=True)
    write_private(passwords_file(), json.dumps({ADMIN: admin_password()}))


def passwords_file() -> Path:
    return airflow_home() / "passwords.json"


def _key(purpose: str) -> bytes:
    """64 bytes, whatever the length of a secret: what Airflow signs its tokens with must not be shorter."""
    return hashlib.sha512(_secret(f"airflow_{purpose}_key").encode()).digest()


def _secret(name: str) -> str:
    """One of this home's own secrets, or what follows from the secret that all machines were given."""
    shared = setting(SECRET_VARIABLE)
    if shared is None:
        return secret(name)
    if len(shared) < MINIMUM_LENGTH:
        raise MisuseError(
            f"{SECRET_VARIABLE} needs {MINIMUM_LENGTH} characters or more; make one with `openssl rand -hex 32`"
        )
    return base64.urlsafe_b64encode(hmac.digest(shared.encode(), name.encode(), "sha256")).decode().rstrip("=")


def _address() -> tuple[str, int]:
    address = setting(URL_VARIABLE) or ""
    parts = urlsplit(address)
    if parts.scheme != "http" or not parts.hostname or parts.path.strip("/"):
        raise MisuseError(f"{URL_VARIABLE} says {address[:60]!r}: write http://HOST:PORT, as the other machines see it")
    return parts.hostname, parts.port or PREFERRED_PORT


def _port_file() -> Path:
    return home() / "airflow-port"


def is_free(candidate: int) -> bool:
    with socket.socket() as probe:
        # A port that our last API server closed a moment ago lingers in TIME_WAIT; it is free all the same.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, candidate))
        except OSError:
            return False
        return True
