"""What Airflow imports when each of its processes starts.

Who forks tasks, and nobody else, loads the big libraries that they need: the LocalExecutor's workers are forks of the
scheduler, Celery's of `airflow celery worker`, and each task is a fork of a worker, so it finds them in memory: what a
task imports costs it 0.1 s instead of 2.5 s.
Our own rooms are not among them: they load in milliseconds, and an edited step counts from the next task on.
"""

import gc
import os
import sys
from copy import deepcopy
from pathlib import Path
from typing import Any

from airflow.config_templates.airflow_local_settings import DEFAULT_LOGGING_CONFIG
from airflow.utils.log.file_task_handler import FileTaskHandler

# Airflow would copy every public name into its settings.
__all__ = ["task_instance_mutation_hook"]

EXTRACT = "extract"
# Those that have a pool. A task whose pool is not there would never be scheduled.
VENDORS = {streams.parent.name for streams in Path(__file__).parent.glob("connectors/*/streams.py")}


class TaskLogsOnThisMachine(FileTaskHandler):
    """Reads task logs from disk only.

    While a task runs, Airflow asks the log server of its worker too. Those servers listen on all interfaces and have no
    setting for that; where every process shares the disk nobody needs them.
    """

    def _read_from_logs_server(self, *_task_and_path: Any) -> tuple[list[str], list[Any]]:
        return [], []


LOGGING_ON_ONE_MACHINE = deepcopy(DEFAULT_LOGGING_CONFIG)
LOGGING_ON_ONE_MACHINE["handlers"]["task"]["class"] = "airflow_local_settings.TaskLogsOnThisMachine"


def task_instance_mutation_hook(task_instance: Any, dag_run: Any = None) -> None:  # noqa: ARG001 - Airflow names them
    """Let each extract take a slot of its vendor's pool: a vendor that is slow holds up its own extracts only.

    To Airflow the extracts of a tenant are one mapped task, and a task has one pool.
    """
    if task_instance.task_id == EXTRACT and task_instance.map_index >= 0:
        connectors = task_instance.task.expand_input.value["connector"]
        connector = connectors[task_instance.map_index] if task_instance.map_index < len(connectors) else None
        if connector in VENDORS:
            task_instance.pool = connector


def forks_tasks(arguments: list[str], executor: str | None) -> bool:
    if executor == "CeleryExecutor":
        return arguments[1:3] == ["celery", "worker"]
    return arguments[1:2] == ["scheduler"]


if forks_tasks(sys.argv, os.environ.get("AIRFLOW__CORE__EXECUTOR")):
    import adbc_driver_postgresql.dbapi  # type: ignore[import-untyped]  # noqa: F401
    import cryptography.hazmat.primitives.ciphers.aead  # noqa: F401
    import httpx  # noqa: F401
    import numpy  # noqa: F401
    import orjson  # noqa: F401
    import pandas  # noqa: F401
    import psycopg  # noqa: F401
    import pydantic  # noqa: F401

# What Airflow loads is much, and it stays. By default Python looks through it, in search of what nobody uses any more,
# with every 700 objects that are new: an eighth of what it takes the API server to start.
gc.set_threshold(50_000, 20, 20)

# A parse is over before there is anything to collect, and looking for it is a tenth of it.
if sys.argv[1:2] == ["dag-processor"]:
    os.register_at_fork(after_in_child=gc.disable)
