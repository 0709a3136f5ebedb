"""Airflow's whole configuration, as environment variables. What Airflow writes into its airflow.cfg decides nothing.

Passwords and keys reach Airflow's processes through their environment only, never through a command line.
"""

import base64
import hashlib
import json
import os
import socket
import sys
from collections.abc import Iterable
from pathlib import Path

from warehouse import database
from warehouse.errors import MisuseError
from warehouse.home import home, project_root, secret, write_private

HOST = "127.0.0.1"
PREFERRED_PORT = 8080
ADMIN = "admin"

# Discovery of a new tenant takes one parse of tenant_pipelines.py, then one look of the scheduler.
SECONDS_BETWEEN_PARSES = 20

# How many extracts of one vendor run at the same time, as in `salesforce=4,files=8`.
POOLS_VARIABLE = "CLARITY_POOLS"

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
    return secret("airflow_admin_password")


def web_address() -> str:
    return f"http://{HOST}:{port()}"


def port() -> int:
    """The port of Airflow's API server and web pages, the same at every start."""
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
    around_proxy = ",".join(filter(None, [HOST, "localhost", os.environ.get("NO_PROXY") or os.environ.get("no_proxy")]))
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
            "executor": "LocalExecutor",
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
            "host": HOST,
            "port": port(),
            "base_url": web_address(),
            "workers": 1,
            "secret_key": _key("sessions").hex(),
            "expose_config": False,
            "expose_stacktrace": False,
            "instance_name": "GTM Clarity",
        },
        "api_auth": {"jwt_secret": _key("jwt").hex()},
        "dag_processor": {
            "min_file_process_interval": SECONDS_BETWEEN_PARSES,
            "refresh_interval": SECONDS_BETWEEN_PARSES,
            "parsing_processes": 1,
            "print_stats_interval": 0,
            # the DAGs of a tenant that is gone go with the next parse, not a minute later
            "stale_dag_threshold": SECONDS_BETWEEN_PARSES - 5,
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
            # Task logs are files on this machine: nobody serves them over a socket, and nobody asks for that.
            "logging_config_class": "airflow_local_settings.LOGGING_ON_ONE_MACHINE",
            "file_task_handler_new_folder_permissions": "0o700",
            "file_task_handler_new_file_permissions": "0o600",
        },
    }
    return {
        "AIRFLOW_HOME": str(folder),
        **{
            f"AIRFLOW__{section.upper()}__{option.upper()}": str(value)
            for section, chosen in options.items()
            for option, value in chosen.items()
        },
        **NO_TELEMETRY,
    }


def parallelism() -> int:
    """How many tasks run at the same time."""
    return min(16, max(4, 2 * (os.cpu_count() or 2)))


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
    return hashlib.sha512(secret(f"airflow_{purpose}_key").encode()).digest()


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
