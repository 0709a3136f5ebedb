"""The peer of `make bench-fleet`: the same models at the same idle tenants, one Cosmos task each.

Runs with the Python of an environment that has Cosmos, and prints its bill as JSON. The lease is held for it from here.
"""

import argparse
import json
import signal
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks import fleet
from benchmarks.measure import PROJECT, say
from cli import airflow_env, processes, supervisor
from cli.airflow_api import Airflow
from control import registry
from steps import deploy, plan, project, rules
from tests.conftest import temporary_home
from warehouse import database, lease
from warehouse.home import home


def measure(tenants: int) -> fleet.Bill:
    today = datetime.now(UTC).date()
    with temporary_home(), tempfile.TemporaryDirectory(prefix="clarity-bench-") as sources, ExitStack() as leases:
        say("starting a platform for Cosmos")
        deploy.run(lambda _line: None)
        idle = fleet.settle(tenants, Path(sources), today)
        tenants_told = {slug: _told(slug, leases) for slug in idle.slugs}
        told = {"project": str(plan.project_folder()), "manifest": str(_manifest()), "tenants": tenants_told}
        note = home() / "fleet.json"
        note.write_text(json.dumps(told))
        _start(note)
        airflow = Airflow()
        dags = [f"by_model__{slug}" for slug in idle.slugs]
        fleet.wait(lambda: airflow.has_dag(dags[-1]), f"Airflow knows {dags[-1]}")
        fleet.run_all(airflow, dags[:1], today)
        return fleet.run_all(airflow, dags, today)


def _told(slug: str, leases: ExitStack) -> dict[str, Any]:
    """What dbt has to be told of a tenant: the login by environment, the rest as variables."""
    tenant_id = registry.tenant(slug).id
    held = leases.enter_context(lease.hold(tenant_id, "bench", stage="transform"))
    login = database.conninfo_in_force(database.run_login(tenant_id))
    with database.run_session(tenant_id) as connection:
        variables = {"tenant_id": tenant_id, "run_id": "by-model", "fence": held.fence}
        variables |= rules.variables(connection, tenant_id)
    return {"environment": project.environment(login), "vars": variables}


def _manifest() -> Path:
    """In the form that Cosmos reads."""
    folder = home() / "dbt" / "cosmos"
    with project.session(database.owner_conninfo()):
        project.invoke(folder, ["parse", "--target", "deploy", "--no-partial-parse", "--write-json"])
    return folder / "target" / "manifest.json"


def _start(note: Path) -> None:
    """Airflow as the supervisor starts it, but with these DAGs."""
    airflow_env.prepare()
    environment = airflow_env.environment() | {
        "AIRFLOW__CORE__DAGS_FOLDER": str(PROJECT / "benchmarks" / "fleet_dags"),
        "CLARITY_BENCH_FLEET": str(note),
    }
    airflow = [sys.executable, "-m", "airflow"]
    subprocess.run([*airflow, "db", "migrate"], env=environment, check=True, capture_output=True)
    for name, arguments in supervisor.COMPONENTS.items():
        with open(supervisor.log_file(name), "ab") as log:
            process = subprocess.Popen(
                [*airflow, *arguments], env=environment, stdout=log, stderr=log, start_new_session=True
            )
        processes.started(name, process.pid)
    fleet.wait(supervisor.is_healthy, "Airflow is healthy")


def main() -> int:
    parser = argparse.ArgumentParser(prog="make bench-fleet", description=__doc__)
    parser.add_argument("tenants", type=int)
    # also who is ended leaves nothing behind
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended"))
    bill = measure(parser.parse_args().tenants)
    print(json.dumps(asdict(bill)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
