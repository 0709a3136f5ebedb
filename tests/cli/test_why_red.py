"""`clarity why-red`: the cause, what it held up, what is still good, what to do."""

import json
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from steps import pipeline, why_red
from tests.conftest import Tenant
from tests.end_to_end.conftest import TODAY
from warehouse import database, lease
from warehouse.errors import ClarityError, MisuseError
from warehouse.home import home

OPERATOR = "system:tests"
# as much of Airflow's tables as is asked
AIRFLOW = """
create table dag_run (dag_id text, run_id text, state text, end_date timestamptz);
create table task_instance (
    dag_id text, run_id text, task_id text, map_index int, rendered_map_index text, state text, try_number int
)
"""


@pytest.fixture
def airflow(platform: Path) -> Iterator[psycopg.Connection]:
    address = database.airflow_url(driver="postgresql")
    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute(AIRFLOW)
        yield connection
        connection.execute("drop table dag_run, task_instance")


@pytest.fixture
def scored(tenant: Tenant, tmp_path: Path) -> Tenant:
    from sandbox import companies
    from steps import provision

    companies.write_csv(tmp_path, companies.generate(7, 3, TODAY))
    provision.add_connector(tenant.id, "files", {"folder": str(tmp_path)}, actor=OPERATOR)
    pipeline.run(tenant.slug, as_of=TODAY)
    return tenant


def red(airflow: psycopg.Connection, tenant: Tenant, *failed: tuple[str, int, str]) -> str:
    """A run of which these tasks failed: id, map index, name."""
    dag_id, run_id = f"pipeline__{tenant.slug}", "scheduled__2026-03-10"
    airflow.execute("insert into dag_run values (%s, %s, 'failed', now())", [dag_id, run_id])
    for task_id, map_index, name in (*failed, ("conclude", -1, "")):
        airflow.execute(
            "insert into task_instance values (%s, %s, %s, %s, %s, 'failed', 3)",
            [dag_id, run_id, task_id, map_index, name],
        )
    return f"{dag_id}/{run_id}"


def log(run: str, task: str, attempt: int, *entries: object) -> None:
    dag_id, _, run_id = run.partition("/")
    folder = home() / "airflow" / "logs" / f"dag_id={dag_id}" / f"run_id={run_id}" / task
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"attempt={attempt}.log").write_text("".join(f"{json.dumps(entry)}\n" for entry in entries))


def failing(said: str) -> dict[str, object]:
    return {"level": "error", "event": "Task failed with exception", "error_detail": [{"exc_value": said}]}


def test_the_first_in_the_order_of_the_data_is_the_cause_and_says_what_its_last_attempt_said(
    scored: Tenant, airflow: psycopg.Connection
) -> None:
    run = red(airflow, scored, ("transform", -1, ""), ("extract", 0, "files"))
    log(run, "task_id=extract/map_index=0", 9, failing("an older attempt"))
    log(run, "task_id=extract/map_index=0", 10, {"level": "info", "event": "x"}, failing("The folder is gone."))
    found = why_red.run(run, actor=OPERATOR)
    assert found.failures[0] == why_red.Failure("extract files", "The folder is gone.")
    assert found.failures[1] == why_red.Failure("transform", why_red.KILLED)
    assert found.not_refreshed[0].startswith("what files has told since 20")
    assert found.not_refreshed[1:] == [
        "canonical tables and rollups", "scores", "published scores and marts", "the CRM",
    ]  # fmt: skip
    assert "scores as of 2026-03-10" in found.still_good
    assert found.next == f"clarity connector test {scored.slug} files"


def test_a_task_of_a_worker_on_another_machine_is_not_taken_for_killed(
    scored: Tenant, airflow: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLARITY_EXECUTOR", "celery")
    run = red(airflow, scored, ("score", -1, ""))
    assert why_red.run(run, actor=OPERATOR).failures == [why_red.Failure("score", why_red.ELSEWHERE)]


def test_a_tenant_a_dag_or_a_bare_run_id_means_the_same_red_run(scored: Tenant, airflow: psycopg.Connection) -> None:
    run = red(airflow, scored, ("publish", -1, ""))
    for named in (run, scored.slug, f"pipeline__{scored.slug}", run.partition("/")[2]):
        found = why_red.run(named, actor=OPERATOR)
        assert (found.run, found.next) == (run, f"clarity run {scored.slug}")
        assert found.not_refreshed == ["published scores and marts", "the CRM"]
    with pytest.raises(MisuseError, match=f"no run of {scored.slug} is red"):
        why_red.run(f"rescore__{scored.slug}", actor=OPERATOR)


def test_a_later_run_that_succeeded_is_named(scored: Tenant, airflow: psycopg.Connection) -> None:
    run = red(airflow, scored, ("score", -1, ""))
    assert why_red.run(run, actor=OPERATOR).succeeded_since == ""
    airflow.execute("insert into dag_run values (%s, 'later', 'success', now())", [run.partition("/")[0]])
    assert why_red.run(run, actor=OPERATOR).succeeded_since == "later"


def test_without_airflows_tables_ours_tell_what_they_can(scored: Tenant, tmp_path: Path) -> None:
    (tmp_path / "accounts.csv").unlink()
    (tmp_path / "accounts.csv").mkdir()
    with pytest.raises(ClarityError):
        pipeline.extract(scored.slug, "files", f"pipeline__{scored.slug}/manual__1")
    lease.release(scored.id, f"pipeline__{scored.slug}/manual__1")
    found = why_red.run(scored.slug, actor=OPERATOR)
    assert found.run == f"pipeline__{scored.slug}/manual__1"
    assert found.failures[0].task == "extract files"
    assert "accounts" in found.failures[0].said


def test_what_is_not_red_and_what_is_not_ours_to_see_is_refused(scored: Tenant, airflow: psycopg.Connection) -> None:
    with pytest.raises(MisuseError, match=r"nothing of .* failed"):
        why_red.run(f"pipeline__{scored.slug}/scheduled__green", actor=OPERATOR)
    with pytest.raises(MisuseError, match="no red run is known of that name"):
        why_red.run("scheduled__nobody", actor=OPERATOR)
    with pytest.raises(ClarityError, match=r"eve is no member of this tenant; run\.show needs the role viewer"):
        why_red.run(red(airflow, scored, ("score", -1, "")), actor="eve")
