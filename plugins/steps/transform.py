"""Transform: dbt, in this process, for one tenant at a time, with that tenant's own login.

`deploy` makes what dbt owns (views, empty tables, policies, comments) as the owner and leaves a parsed manifest behind;
`run` writes one tenant's rows and makes nothing. Parsing costs seconds, reading the manifest back a fraction of one.
"""

import hashlib
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from itertools import takewhile
from pathlib import Path
from typing import Any

import orjson
import psycopg
from dbt.artifacts.schemas.results import NodeStatus
from dbt.cli.main import dbtRunner, dbtRunnerResult
from dbt.contracts.graph.manifest import Manifest
from dbt.contracts.graph.nodes import ModelNode
from dbt.parser.manifest import extended_mashumaro_encoder, extended_mashumuro_decoder
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from control import registry
from steps import rules
from warehouse import database
from warehouse.errors import ClarityError, MisuseError
from warehouse.home import home, project_root

Report = Callable[[str], None]

# What keys, foreign keys and NOT NULL of the database hold anyway: looking for it again in every run would cost what
# exists, not what changed. `dbt test` by hand runs them all.
HELD_BY_THE_DATABASE = ("unique", "unique_together", "not_null", "relationships")
SHOWN_FAILURES = 100
DEPLOY_LOCK_TIMEOUT = "2s"
DEPLOY_ATTEMPTS = 10

_one_at_a_time = threading.Lock()


@dataclass(frozen=True)
class ModelResult:
    model: str
    status: str
    rows: int
    seconds: float
    message: str


@dataclass(frozen=True)
class FailedTest:
    model: str
    test: str
    failures: int
    query: str


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
    folder = home() / "dbt" / slug
    variables = variables_of(tenant.id, run_id, fence)
    with _dbt(database.conninfo_in_force(database.run_login(tenant.id))):
        outcome = _invoke(
            folder,
            [
                *("build", "--target", "run", "--select", *select),
                *("--exclude", "config.materialized:view", *(f"test_name:{name}" for name in HELD_BY_THE_DATABASE)),
                *("--exclude-resource-type", "unit_test", "--vars", orjson.dumps(variables).decode()),
            ],
            manifest=_manifest(),
            on_result=on_result,
        )
    log = folder / "dbt.log"
    if outcome.exception:
        raise ClarityError(f"{slug}: dbt did not start: {_reason(str(outcome.exception))} ({log})")
    models, failed_tests = _read(outcome)
    with database.run_session(tenant.id, application="transform") as connection:
        _record(connection, tenant.id, run_id, fence, models, failed_tests)
        waiting = _waiting(connection) if any(result.model == "opportunities" for result in models) else 0
    complaints = [f"{result.model}: {result.message}" for result in models if result.status == NodeStatus.Error]
    complaints += [
        f"{test.model} fails {test.test} with {test.failures} rows, see quality.failures" for test in failed_tests
    ]
    if complaints:
        raise ClarityError(f"{slug}: transform failed. {'; '.join(complaints)} ({log})")
    return {
        "rows": {result.model: result.rows for result in models},
        "opportunities_waiting": waiting,
        "seconds": round(time.monotonic() - started, 2),
    }


def variables_of(tenant_id: str, run_id: str, fence: int) -> dict[str, Any]:
    """What dbt must know of a run: whose it is, and by which mappings and rules it reads."""
    with database.run_session(tenant_id, application="transform") as connection:
        in_force = rules.variables(connection, tenant_id)
    # models carry a digest of their own in the manifest, macros and seeds don't
    return {"tenant_id": tenant_id, "run_id": run_id, "fence": fence, "code": _digest("macros", "seeds"), **in_force}


def deploy(report: Report) -> None:
    """Make what dbt owns, as the owner, and prepare the manifest. Running it again changes nothing."""
    report("preparing dbt")
    folder = home() / "dbt" / "deploy"
    with _dbt(database.owner_conninfo(), PGOPTIONS=f"-c lock_timeout={DEPLOY_LOCK_TIMEOUT}"):
        parsed = _invoke(folder, ["parse", "--target", "deploy"])
        if not isinstance(parsed.result, Manifest):
            raise ClarityError(f"the dbt project can't be parsed: {_reason(str(parsed.exception))}")
        _save(parsed.result)
        for attempt in range(1, DEPLOY_ATTEMPTS + 1):
            outcome = _invoke(
                folder,
                ["build", "--target", "deploy", "--resource-type", "model", "--resource-type", "seed"],
                manifest=_manifest(),
            )
            if outcome.exception:
                raise ClarityError(f"dbt did not start: {_reason(str(outcome.exception))} ({folder / 'dbt.log'})")
            failed = [result for result in _read(outcome)[0] if result.status == NodeStatus.Error]
            # runs hold their tables for moments only; waiting in the queue for one would stop all the others behind us
            if not any("lock timeout" in result.message for result in failed) or attempt == DEPLOY_ATTEMPTS:
                break
            report("a run is in the way of the deploy; trying again")
            time.sleep(attempt)
    if failed:
        reasons = "; ".join(f"{result.model}: {result.message}" for result in failed)
        raise ClarityError(f"dbt could not deploy. {reasons} ({folder / 'dbt.log'})")
    report(f"dbt: {sum(isinstance(node, ModelNode) for node in parsed.result.nodes.values())} models are in place")


def tables(select: Sequence[str]) -> list[str]:
    """The models that a run with this selection writes. MisuseError if there are none."""
    manifest = _manifest()
    with _dbt(database.owner_conninfo()):
        chosen = _models(home() / "dbt" / "select", manifest, select)
    written = [node.name for node in chosen if node.config.materialized == "incremental"]
    if not written:
        raise MisuseError(f"{', '.join(node.name for node in chosen)}: always up to date, a run has no part in it")
    return written


def document() -> Path:
    """Everything that is known of the deployed models, with their lineage, as one HTML file. Returns where it is."""
    folder = home() / "dbt" / "docs"
    with _dbt(database.owner_conninfo()):
        outcome = _invoke(
            folder, ["docs", "generate", "--static", "--write-json", "--target", "deploy"], manifest=_manifest()
        )
    made = folder / "target" / "static_index.html"
    if not outcome.success or not made.is_file():
        raise ClarityError(
            f"the documentation can't be built: {_reason(str(outcome.exception))} ({folder / 'dbt.log'})"
        )
    return made.replace(folder / "index.html")


def is_prepared() -> bool:
    """Whether this machine has the manifest of the dbt project as it is now."""
    return _manifest_file().is_file()


def _project() -> Path:
    return project_root() / "dbt"


@contextmanager
def _dbt(conninfo: str, **more: str) -> Iterator[None]:
    """The environment that the profile reads. dbt looks at it at each connection, so two tenants can't share it."""
    if not _one_at_a_time.acquire(blocking=False):
        raise ClarityError("dbt is already at work in this process: give each tenant's run a process of its own")
    before = dict(os.environ)
    try:
        os.environ.update(_environment(conninfo), **more)
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
        _one_at_a_time.release()


def _environment(conninfo: str) -> dict[str, str]:
    parameters = {name: str(value) for name, value in conninfo_to_dict(conninfo).items()}
    return {
        "CLARITY_DBT_HOST": parameters.get("host", "localhost"),
        "CLARITY_DBT_PORT": parameters.get("port", "5432"),
        "CLARITY_DBT_USER": parameters["user"],
        "DBT_ENV_SECRET_CLARITY_PASSWORD": parameters["password"],
        "CLARITY_DBT_DBNAME": parameters["dbname"],
        **{f"PG{name.upper()}": value for name, value in parameters.items() if name.startswith("ssl")},
        "DO_NOT_TRACK": "1",
    }


def _invoke(
    folder: Path, command: Sequence[str], manifest: Manifest | None = None, on_result: OnResult | None = None
) -> dbtRunnerResult:
    """dbt with paths of its own: a shared target would make each tenant's run parse the project anew."""
    words = list(takewhile(lambda word: not word.startswith("-"), command))
    options = command[len(words) :]
    return dbtRunner(manifest=manifest, callbacks=[_listener(on_result)] if on_result else []).invoke(
        [
            *words,
            *("--project-dir", str(_project()), "--profiles-dir", str(_project())),
            *("--target-path", str(folder / "target"), "--log-path", str(folder)),
            *("--quiet", "--log-level", "none", "--log-level-file", "info", "--no-use-colors-file"),
            *("--no-write-json", "--no-print", "--no-send-anonymous-usage-stats", "--no-version-check"),
            # last, so that a command may want it otherwise
            *options,
        ]
    )


def _listener(on_result: OnResult) -> Callable[[Any], None]:
    def listen(event: Any) -> None:
        if event.info.name == "NodeFinished" and event.data.node_info.resource_type == "model":
            node, result = event.data.node_info, event.data.run_result
            rows = int(dict(result.adapter_response).get("rows_affected") or 0)
            on_result(
                ModelResult(
                    node.node_name, node.node_status, max(rows, 0), result.execution_time, _reason(result.message)
                )
            )

    return listen


def _models(folder: Path, manifest: Manifest, select: Sequence[str], *more: str) -> list[ModelNode]:
    """The models that a selection means, in dbt's own words. MisuseError if it means none."""
    listed = _invoke(
        folder,
        [*("ls", "--resource-type", "model", "--output", "name", "--select", *select), *more],
        manifest=manifest,
    )
    if listed.exception:
        raise MisuseError(f"--select {' '.join(select)} can't be understood: {_reason(str(listed.exception))}")
    names = set(listed.result) if isinstance(listed.result, list) else set()
    if not names:
        raise MisuseError(f"--select {' '.join(select)} means no model; `ls dbt/models/*` shows what there is")
    return [node for node in manifest.nodes.values() if isinstance(node, ModelNode) and node.name in names]


def _read(outcome: dbtRunnerResult) -> tuple[list[ModelResult], list[FailedTest]]:
    models: list[ModelResult] = []
    failed_tests: list[FailedTest] = []
    for result in getattr(outcome.result, "results", ()):
        node = result.node
        if node.resource_type in ("model", "seed"):
            models.append(
                ModelResult(
                    node.name,
                    str(result.status),
                    max(int(result.adapter_response.get("rows_affected") or 0), 0),
                    result.execution_time,
                    _reason(result.message or ""),
                )
            )
        elif result.status == NodeStatus.Error:
            models.append(ModelResult(node.name, str(result.status), 0, result.execution_time, _reason(result.message)))
        elif result.status == NodeStatus.Fail:
            tested = (node.attached_node or node.depends_on.nodes[0]).rsplit(".", 1)[-1]
            failed_tests.append(FailedTest(tested, node.name, result.failures or 0, node.compiled_code))
    return models, failed_tests


def _waiting(connection: psycopg.Connection) -> int:
    # as in the models: after a first load no statistics say yet that loops would be endless
    connection.execute("set local enable_nestloop = off")
    row = connection.execute("select count(*) from staging.int_opportunities__waiting").fetchone()
    return int(row[0]) if row else 0


def _reason(message: str) -> str:
    """The line that says what is wrong, out of a message that also says where dbt was."""
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    where = ("Database Error in", "Compilation Error", "Parsing Error", "Runtime Error")
    telling = [line for line in lines if not line.startswith(where)]
    return (telling or lines or ["no reason given"])[0]


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
    for test in failed_tests:
        # the query is the test that dbt has just run, with the same login
        query = sql.SQL(test.query.replace("%", "%%"))
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
                "model": test.model,
                "test": test.test,
                "reason": f"{test.test}: {test.failures} rows",
            },
        )


def _manifest_file() -> Path:
    return home() / "dbt" / f"manifest-{_fingerprint()}.msgpack"


def _fingerprint() -> str:
    """Of the project's files and of dbt itself: a manifest made from other ones must not be used."""
    code = _digest("models", "macros", "seeds", "tests", "dbt_project.yml")
    return hashlib.sha256(f"{version('dbt-core')} {code}".encode()).hexdigest()[:16]


def _digest(*parts: str) -> str:
    """Of folders and files of the project, in whatever order the disk has them."""
    digest = hashlib.sha256()
    for part in parts:
        for file in sorted([_project() / part, *(_project() / part).rglob("*")]):
            if file.is_file():
                digest.update(f"{file.relative_to(_project())}\0".encode() + file.read_bytes())
    return digest.hexdigest()[:16]


def _save(manifest: Manifest) -> None:
    file = _manifest_file()
    file.parent.mkdir(parents=True, exist_ok=True)
    draft = file.with_suffix(f".{os.getpid()}.draft")
    draft.write_bytes(manifest.to_msgpack(extended_mashumaro_encoder))
    draft.replace(file)
    for outdated in file.parent.glob("manifest-*.msgpack"):
        if outdated != file:
            outdated.unlink(missing_ok=True)


def _manifest() -> Manifest:
    """A copy for one invocation: dbt keeps what it compiled in it, for that tenant."""
    try:
        prepared = _bytes(_manifest_file())
    except FileNotFoundError:
        raise ClarityError("dbt has not been deployed as it is now: run `clarity migrate`") from None
    manifest: Manifest = Manifest.from_msgpack(prepared, decoder=extended_mashumuro_decoder)
    return manifest


@cache
def _bytes(file: Path) -> bytes:
    return file.read_bytes()
