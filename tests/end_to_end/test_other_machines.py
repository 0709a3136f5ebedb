"""A machine that did not deploy makes dbt's plans itself, if its code is what was deployed, and else refuses."""

import shutil
from collections.abc import Iterator
from itertools import chain
from operator import itemgetter
from pathlib import Path
from typing import Any

import orjson
import psycopg
import pytest

from steps import deploy, pipeline, plan
from tests.conftest import Tenant
from tests.end_to_end.conftest import TODAY, Supplied
from warehouse import database, server
from warehouse.errors import ClarityError, NotNow
from warehouse.home import secret

OTHER_CODE = "deployed 0123456789abcdef"


@pytest.fixture
def other_machine(platform: Path, tmp_path: Path) -> Iterator[Path]:
    """One that was told where the database is and which key opens it; of another machine's disk it has nothing."""
    address, key = server.address(), secret("encryption_key")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CLARITY_HOME", str(tmp_path / "another"))
        patch.setenv("CLARITY_DATABASE_URL", f"postgresql://{address.host}:{address.port}/clarity")
        patch.setenv("CLARITY_ENCRYPTION_KEYS", f"home:{key}")
        # parsing is tested where it is done; it takes as long as all the rest
        (plan.folder() / "deploy").mkdir()
        for parsed in (platform / "dbt" / "deploy").glob("parsed-*"):
            shutil.copy(parsed, plan.folder() / "deploy")
        yield plan.folder()


@pytest.fixture
def deployed_by_others(platform: Path) -> Iterator[None]:
    """Newer code was deployed than this machine has."""
    with database.connect(database.owner_conninfo()) as owner:
        before = plan.mark(owner)
    _mark(OTHER_CODE)
    yield
    _mark(f"deployed {before}")


def _mark(text: str) -> None:
    with database.connect(database.owner_conninfo(), autocommit=True) as owner:
        owner.execute(f"comment on schema control is '{text}'".encode())


def test_a_run_on_another_machine_makes_the_same_plans_there(
    platform: Path, tenant: Tenant, supplied: Supplied, other_machine: Path
) -> None:
    supplied(tenant, 7)
    pipeline.run(tenant.slug, as_of=TODAY)
    made = _plans(other_machine)
    assert made
    assert made.items() <= _plans(platform / "dbt").items()
    with database.run_session(tenant.id) as connection:
        assert connection.execute("select count(*) > 0 from scores.engagements").fetchone() == (True,)


def test_a_machine_whose_code_is_not_what_was_deployed_makes_nothing(
    other_machine: Path, deployed_by_others: None
) -> None:
    with pytest.raises(NotNow, match="not the code of this machine: start it with the code that was deployed"):
        plan.of({}, database.registry_conninfo())
    assert list(other_machine.glob("plan-*")) == []


def test_a_machine_that_followed_notices_the_next_deployment(
    tenant: Tenant, other_machine: Path, deployed_by_others: None
) -> None:
    (other_machine / "deployed.json").write_bytes(orjson.dumps(_followed("the one before")))
    with database.run_session(tenant.id) as connection, pytest.raises(NotNow):
        plan.keep_up(connection)
    (other_machine / "deployed.json").write_bytes(orjson.dumps(_followed(OTHER_CODE.removeprefix("deployed "))))
    with database.run_session(tenant.id) as connection:
        plan.keep_up(connection)


def test_a_machine_that_deployed_asks_the_database_nothing(platform: Path) -> None:
    with psycopg.connect(database.registry_conninfo()) as closed:
        closed.close()
        plan.keep_up(closed)


def _plans(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """By file, in one order: dbt tells what it worked out as it comes."""
    return {
        file.name: sorted(chain(*orjson.loads(file.read_bytes()).values()), key=itemgetter("id"))
        for file in folder.glob("plan-*")
    }


def _followed(mark: str) -> plan.Deployment:
    here = plan.as_it_is()
    return plan.Deployment(here.fingerprint, here.code, here.form, mark)


def test_a_database_that_nobody_deployed_to_is_told_so(other_machine: Path, deployed_by_others: None) -> None:
    _mark("")
    with pytest.raises(ClarityError, match="nothing has been deployed to this database: run `clarity migrate`"):
        deploy.follow()
