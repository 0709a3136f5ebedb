"""A platform whose tasks are carried out by two workers. `make test-celery` installs what it takes."""

import os
import secrets
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import NamedTuple

import pytest

from cli import airflow_env, supervisor
from cli import platform as platform_commands
from cli.airflow_api import Airflow
from sandbox import companies
from sandbox.demo_tenants import DEMO_TENANTS, DemoTenant
from steps import provision
from tests.celery.machines import PYTHON, PYTHONPATH, Redis, Worker, free_port, new_home
from tests.chaos.conftest import silent
from tests.chaos.test_kills import ending, post_mortem, wait_until
from tests.conftest import deployed_home, temporary_home
from tests.end_to_end.conftest import TODAY
from warehouse import database, server
from warehouse.home import secret

LOG_PORT = "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT"
ACTOR = "system:tests"
# the demo's worlds, smaller: three runs at once on two cores
ACCOUNTS = 12


@dataclass(frozen=True)
class Company:
    """A tenant of the demo. Its folder stands for the share or the object storage that all machines see."""

    id: str
    slug: str
    folder: Path

    @property
    def dag_id(self) -> str:
        return f"pipeline__{self.slug}"

    def advance(self) -> None:
        companies.write_csv(self.folder, companies.advance(companies.read_world(self.folder), 1))


class Attempt(NamedTuple):
    dag_id: str
    task_id: str
    map_index: int
    number: int
    state: str | None
    queue: str
    start: datetime | None
    end: datetime | None


@dataclass
class House:
    """Airflow and PostgreSQL on one machine, Redis, and two workers on two more. Each of the demo's tenants is there
    twice: `companies` are carried out by workers, their `twins` are not."""

    companies: list[Company]
    twins: list[Company]
    redis: Redis
    reader: Worker
    reckoner: Worker
    airflow: Airflow = field(init=False)

    def start(self) -> None:
        """Airflow runs tasks itself."""
        platform_commands.start(silent)
        self.airflow = Airflow()

    def start_anew_with_workers(self) -> None:
        self.airflow.close()
        supervisor.down(silent)
        server.start()
        for worker in (self.reader, self.reckoner):
            worker.start()
        subprocess.run(
            [PYTHON, "-m", "cli.main", "up"],
            env=os.environ | {"CLARITY_EXECUTOR": "celery", "PYTHONPATH": PYTHONPATH},
            stdout=subprocess.DEVNULL, cwd="/", check=True,
        )  # fmt: skip
        for worker in (self.reader, self.reckoner):
            worker.await_ready()
        self.airflow = Airflow()

    def run(self, companies: list[Company], day: date) -> dict[str, str]:
        """Start the pipelines of all of them. Returns the runs by DAG."""
        return {each.dag_id: self.airflow.trigger(each.dag_id, {"as_of": day.isoformat()}) for each in companies}

    def assert_success(self, runs: dict[str, str]) -> None:
        """They end, and end well, however long it takes."""
        for dag_id, run_id in runs.items():
            state = ending(self.airflow, dag_id, run_id)
            assert state == "success", f"{post_mortem(self.airflow, dag_id, run_id)}\n{self.reckoner.last_words()}"

    def attempts(self, runs: dict[str, str]) -> list[Attempt]:
        """All attempts at tasks of these runs, the given up ones too, as Airflow noted them."""
        columns = "dag_id, task_id, map_index, try_number, state, queue, start_date, end_date"
        with database.connect(database.airflow_url(driver="postgresql")) as airflow:
            rows = airflow.execute(
                f"select {columns} from task_instance where run_id = any(%(runs)s) union"
                f" select {columns} from task_instance_history where run_id = any(%(runs)s) order by 1, 2, 3, 4",
                {"runs": list(runs.values())},
            ).fetchall()
        return [Attempt(*row) for row in rows]


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """The machines, with nothing running on them yet but PostgreSQL and Redis."""
    if not PYTHON.exists() or shutil.which("redis-server") is None:
        pytest.exit("tests/celery want Redis and an environment of their own: `make test-celery`", 2)
    with temporary_home(like=deployed_home()), pytest.MonkeyPatch.context() as patch:
        redis = Redis(new_home("redis"), free_port())
        redis.start()
        postgres = server.start()
        served, another = free_port(), free_port()
        known_to_all = {
            "CLARITY_AIRFLOW_SECRET": secrets.token_hex(32),
            "CLARITY_AIRFLOW_URL": f"http://127.0.0.1:{airflow_env.port()}",
            "CLARITY_BROKER_URL": redis.url,
            # the pages ask each worker on the same port; here two share a machine, so only one of them can be asked
            LOG_PORT: str(served),
        }
        for name, value in known_to_all.items():
            patch.setenv(name, value)
        told = {
            **known_to_all,
            # no user and no password: what a worker may do follows from its keys
            "CLARITY_DATABASE_URL": f"postgresql://{postgres.host}:{postgres.port}/clarity",
            "CLARITY_ENCRYPTION_KEYS": f"home:{secret('encryption_key')}",
        }
        reader = Worker(new_home("reader"), "extract", 2, told)
        reckoner = Worker(new_home("reckoner"), "transform,score", 2, {**told, LOG_PORT: str(another)})
        sources = tmp_path_factory.mktemp("sources")
        house = House(
            [_company(sources, demo) for demo in DEMO_TENANTS],
            [_company(sources, demo) for demo in DEMO_TENANTS],
            redis,
            reader,
            reckoner,
        )
        try:
            yield house
        finally:
            house.airflow.close()
            supervisor.down(silent)
            for worker in (reader, reckoner):
                worker.kill()
                shutil.rmtree(worker.home)
            redis.kill()
            shutil.rmtree(redis.folder)


@pytest.fixture(scope="module")
def on_workers(house: House) -> House:
    """The twins were run by the LocalExecutor; since then Airflow has workers."""
    house.start()
    wait_until(lambda: all(house.airflow.has_dag(each.dag_id, tag="source:files") for each in house.twins), 60)
    house.assert_success(house.run(house.twins, TODAY))
    house.start_anew_with_workers()
    return house


def _company(sources: Path, demo: DemoTenant) -> Company:
    slug = f"{demo.slug}_{uuid.uuid4().hex[:8]}"
    folder = sources / slug
    companies.write_csv(folder, companies.generate(demo.seed, ACCOUNTS, TODAY, market=demo.market))
    tenant_id = provision.create_tenant(demo.name, slug, actor=ACTOR, timezone=demo.timezone)
    provision.add_connector(tenant_id, "files", {"folder": str(folder)}, actor=ACTOR)
    provision.set_scoring_config(tenant_id, "fit", demo.ideal_customer.fit_config(), actor=ACTOR)
    return Company(tenant_id, slug, folder)
