"""Transform: what dbt worked out (steps/plan.py), carried out for one tenant, with that tenant's own login."""

import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack
from dataclasses import dataclass
from graphlib import TopologicalSorter
from queue import SimpleQueue
from typing import Any

import psycopg
from psycopg import sql

from control import registry
from steps import observe, plan, rules
from steps.plan import DataTest, Model, Plan
from warehouse import database
from warehouse.errors import ClarityError

CONNECTIONS = 2
SHOWN_FAILURES = 100
SUCCESS = "success"

Task = Model | DataTest


@dataclass(frozen=True)
class ModelResult:
    model: str
    status: str
    rows: int
    seconds: float
    message: str = ""


@dataclass(frozen=True)
class FailedTest:
    """`failures` rows that should not be so, or a test that could not be made and `message` why."""

    test: DataTest
    failures: int
    message: str = ""


OnResult = Callable[[ModelResult], None]
"""Is told of each model as it finishes."""


def run(
    slug: str,
    run_id: str,
    fence: int,
    select: Sequence[str] = ("canonical", "rollups"),
    on_result: OnResult | None = None,
) -> dict[str, Any]:
    """Bring the selected models of this tenant up to date. Returns rows written by model, and what waits.

    The caller holds the tenant's lease under `fence`. A model is one transaction: whatever fails or is killed leaves
    the models before it whole, and the next run goes on from there. ClarityError names the model that failed and why.
    """
    started = time.monotonic()
    tenant = registry.tenant(slug)
    chosen = _plan_of(tenant.id).part(select)
    about_run = {"clarity.tenant_id": tenant.id, "clarity.run_id": run_id, "clarity.fence": str(fence)}
    with ExitStack() as open_ones:
        connections: SimpleQueue[psycopg.Connection] = SimpleQueue()
        for _ in range(min(CONNECTIONS, len(chosen.models))):
            connection = open_ones.enter_context(
                database.run_session(tenant.id, autocommit=True, application="transform")
            )
            for name, value in about_run.items():
                connection.execute("select set_config(%s, %s, false)", [name, value])
            connections.put(connection)
        models, failed_tests = _carry_out(chosen, connections, on_result)
    with database.run_session(tenant.id, application="transform") as connection:
        _record(connection, tenant.id, run_id, fence, models, failed_tests)
        waiting = _waiting(connection) if any(result.model == "opportunities" for result in models) else 0
    observe.models(slug, run_id, models, {model.name: model.write for model in chosen.models}.__getitem__)
    complaints = [f"{result.model}: {result.message}" for result in models if result.status == "error"]
    complaints += [
        f"{failed.test.name} could not be asked of {failed.test.model}: {failed.message}"
        if failed.message
        else f"{failed.test.model} fails {failed.test.name} with {failed.failures} rows, see quality.failures"
        for failed in failed_tests
    ]
    if complaints:
        raise ClarityError(f"{slug}: transform failed. {'; '.join(complaints)}")
    return {
        "rows": {result.model: result.rows for result in models},
        "opportunities_waiting": waiting,
        "seconds": round(time.monotonic() - started, 2),
    }


def tables(slug: str, select: Sequence[str]) -> list[str]:
    """The models that a run of this tenant with this selection writes. MisuseError if there are none."""
    return _plan_of(registry.tenant(slug).id).names(select)


def _plan_of(tenant_id: str) -> Plan:
    with database.run_session(tenant_id, application="transform") as connection:
        plan.keep_up(connection)
        in_force = rules.variables(connection, tenant_id)
    return plan.of(in_force, database.conninfo_in_force(database.run_login(tenant_id)))


def _carry_out(
    chosen: Plan, connections: "SimpleQueue[psycopg.Connection]", on_result: OnResult | None
) -> tuple[list[ModelResult], list[FailedTest]]:
    """Each model and test after all that it needs, as many side by side as there are connections; upon what failed
    nothing is built. Returns what became of the models, and the tests that failed."""
    every: list[Task] = [*chosen.models, *chosen.tests]
    tasks = {task.id: task for task in every}
    order = TopologicalSorter({task.id: tasks.keys() & set(task.needs) for task in every})
    order.prepare()
    models: list[ModelResult] = []
    failed_tests: list[FailedTest] = []
    stopped: set[str] = set()

    def note(task: Task, result: ModelResult | FailedTest | None) -> None:
        if isinstance(result, FailedTest):
            failed_tests.append(result)
        elif result is not None:
            models.append(result)
            if on_result:
                on_result(result)
        if isinstance(result, FailedTest) or (result and result.status != SUCCESS):
            stopped.add(task.id)

    with ThreadPoolExecutor(CONNECTIONS, "transform") as hands:
        at_work: dict[Future[ModelResult | FailedTest | None], Task] = {}
        while order.is_active():
            for task in map(tasks.__getitem__, order.get_ready()):
                if stopped.isdisjoint(task.needs):
                    at_work[hands.submit(_carry_out_one, task, connections)] = task
                    continue
                # a test that nobody asks stops nobody: what it would have passed needs the same models
                note(task, ModelResult(task.name, "skipped", 0, 0.0) if isinstance(task, Model) else None)
                order.done(task.id)
            for done in wait(at_work, return_when=FIRST_COMPLETED).done:
                task = at_work.pop(done)
                note(task, done.result())
                order.done(task.id)
    return models, failed_tests


def _carry_out_one(task: Task, connections: "SimpleQueue[psycopg.Connection]") -> ModelResult | FailedTest | None:
    connection = connections.get()
    try:
        return _build(connection, task) if isinstance(task, Model) else _ask(connection, task)
    finally:
        connections.put(connection)


def _build(connection: psycopg.Connection, model: Model) -> ModelResult:
    started = time.monotonic()
    rows, message = 0, ""
    try:
        if _has_work(connection, model):
            with connection.transaction():
                _say(connection, model.before)
                rows = _say(connection, model.write)
                _say(connection, model.after)
    except psycopg.Error as error:
        message = _reason(error)
    return ModelResult(model.name, "error" if message else SUCCESS, rows, time.monotonic() - started, message)


def _has_work(connection: psycopg.Connection, model: Model) -> bool:
    if not model.only_if:
        return True
    answer = connection.execute(f"select {model.only_if}".encode()).fetchone()
    return bool(answer and answer[0])


def _ask(connection: psycopg.Connection, test: DataTest) -> FailedTest | None:
    try:
        answer = connection.execute(test.ask.encode()).fetchone()
    except psycopg.Error as error:
        return FailedTest(test, 0, _reason(error))
    failures, _, is_error = answer or (0, False, False)
    return FailedTest(test, failures) if is_error and test.severity == "error" else None


def _say(connection: psycopg.Connection, statements: Sequence[str]) -> int:
    """Returns how many rows the last statement wrote."""
    if not statements:
        return 0
    cursor = connection.execute(";\n".join(statements).encode())
    while cursor.nextset():
        pass
    return max(cursor.rowcount, 0)


def _reason(error: psycopg.Error) -> str:
    # the rest of what the server says names the rows
    return error.diag.message_primary or str(error).strip().splitlines()[0]


def _waiting(connection: psycopg.Connection) -> int:
    # as in the models: after a first load no statistics say yet that loops would be endless
    connection.execute("set local enable_nestloop = off")
    row = connection.execute("select count(*) from staging.int_opportunities__waiting").fetchone()
    return int(row[0]) if row else 0


def _record(
    connection: psycopg.Connection,
    tenant_id: str,
    run_id: str,
    fence: int,
    models: Iterable[ModelResult],
    failed_tests: Iterable[FailedTest],
) -> None:
    try:
        connection.execute("select control.hold_lease(%s)", [fence])
    except psycopg.errors.ObjectNotInPrerequisiteState as lost:
        raise ClarityError(f"{lost.diag.message_primary}; what this one had finished stands") from None
    connection.cursor().executemany(
        "insert into control.model_runs (tenant_id, run_id, model, status, rows_affected, seconds, message)"
        " values (%s, %s, %s, %s, %s, %s, %s)",
        [
            (tenant_id, run_id, result.model, result.status, result.rows, result.seconds, result.message)
            for result in models
        ],
    )
    for failed in failed_tests:
        # asked again, of the same rows: nobody else writes them while the lease is ours
        query = sql.SQL(failed.test.failing.replace("%", "%%"))
        connection.execute(
            sql.SQL(
                "insert into quality.failures (id, tenant_id, run_id, model, test, key, reason, failed_row)"
                " select gen_random_uuid()::text, %(tenant)s, %(run)s, %(model)s, %(test)s,"
                " coalesce(f.failed ->> 'id', f.failed ->> 'entity_id'), %(reason)s, f.failed"
                " from (select to_jsonb(failing) as failed from ({query}) as failing limit {limit}) as f"
            ).format(query=query, limit=sql.Literal(SHOWN_FAILURES)),
            {
                "tenant": tenant_id,
                "run": run_id,
                "model": failed.test.model,
                "test": failed.test.name,
                "reason": f"{failed.test.name}: {failed.failures} rows",
            },
        )
