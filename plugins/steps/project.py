"""The dbt project, by dbt in this process: parsed, deployed, documented, and its plans worked out.

Importing dbt takes a second and parsing the project some more. A tenant's run needs neither (steps/plan.py).
"""

import hashlib
import os
import re
import tempfile
import threading
import time
from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from itertools import takewhile
from pathlib import Path
from typing import Any

import orjson
from dbt.artifacts.schemas.results import NodeStatus
from dbt.cli.main import dbtRunner, dbtRunnerResult
from dbt.contracts.graph.manifest import Manifest
from dbt.contracts.graph.nodes import CompiledNode, ModelNode
from dbt.flags import get_flags, set_flags
from dbt.parser.manifest import extended_mashumaro_encoder, extended_mashumuro_decoder
from psycopg.conninfo import conninfo_to_dict

from steps import plan, rules
from steps.plan import DataTest, Deployment, Model, Plan
from warehouse import database
from warehouse.errors import ClarityError, MisuseError

Report = Callable[[str], None]

# What keys, foreign keys and NOT NULL of the database hold anyway: looking for it again in every run would cost what
# exists, not what changed. `dbt test` by hand runs them all.
HELD_BY_THE_DATABASE = ("unique", "unique_together", "not_null", "relationships")
# how a model, a test or a macro asks for what a tenant may have of its own (steps/rules.py)
READS_RULES = re.compile(r"""\bvar\(\s*["'](mappings|rules)["']""")
DEPLOY_LOCK_TIMEOUT = "2s"
DEPLOY_ATTEMPTS = 10

_one_at_a_time = threading.RLock()


def deploy(report: Report) -> None:
    """Make what dbt owns (views, empty tables, policies, comments), as the owner; then runs go by it. Running it again
    changes nothing."""
    report("preparing dbt")
    folder = plan.folder() / "deploy"
    new = plan.as_it_is()
    with session(database.owner_conninfo(), PGOPTIONS=f"-c lock_timeout={DEPLOY_LOCK_TIMEOUT}"):
        parsed = parse(folder)
        prepared = packed(parsed)
        for attempt in range(1, DEPLOY_ATTEMPTS + 1):
            building = ("build", "--target", "deploy", "--resource-type", "model", "--resource-type", "seed")
            outcome = invoke(folder, building, manifest=restored(prepared))
            failed = {result.node.name: reason(result.message) for result in failures(outcome, folder)}
            # runs hold their tables for moments only; waiting in the queue for one would stop all the others behind us
            if not any("lock timeout" in why for why in failed.values()) or attempt == DEPLOY_ATTEMPTS:
                break
            report("a run is in the way of the deploy; trying again")
            time.sleep(attempt)
    if failed:
        reasons = "; ".join(f"{name}: {why}" for name, why in failed.items())
        raise ClarityError(f"dbt could not deploy. {reasons} ({folder / 'dbt.log'})")
    plan.keep(_manifest_file(new), prepared)
    plan.switch_to(new)
    plan.of(rules.of_nobody(), database.owner_conninfo())
    report(f"dbt: {sum(isinstance(node, ModelNode) for node in parsed.nodes.values())} models are in place")


def follow(mark: str) -> None:
    """Have here what another machine deployed from the same project. Nothing is said to the database but questions."""
    new = replace(plan.as_it_is(), mark=mark)
    with session(database.registry_conninfo()):
        plan.keep(_manifest_file(new), packed(parse(plan.folder() / "deploy")))
    plan.switch_to(new)
    plan.of(rules.of_nobody(), database.conninfo_in_force(database.platform_login(database.REGISTRY)))


def work_out(variables: Mapping[str, Any], conninfo: str) -> Plan:
    """What a run says to the database under these mappings and rules; any login that may read the catalogue will do.

    Of a tenant that has its own, only what reads them: the rest is what everybody's plan says.
    """
    everybodys = plan.kept(rules.of_nobody())
    if everybodys is None:
        return _worked_out(variables, conninfo, *plan.LAYERS)
    reading = _reading_rules(_manifest_file(plan.deployed()))
    # a test is there if it reads them, not because a model of its does
    own = _worked_out(variables, conninfo, *reading, "--indirect-selection", "empty")
    models = {model.id: model for model in own.models}
    tests = {test.id: test for test in own.tests}
    return Plan(
        # of what is needed first a part of the plan does not know all
        [replace(models.get(model.id, model), needs=model.needs) for model in everybodys.models],
        [replace(tests.get(test.id, test), needs=test.needs) for test in everybodys.tests],
    )


def _worked_out(variables: Mapping[str, Any], conninfo: str, *select: str) -> Plan:
    with tempfile.TemporaryDirectory(prefix="planning-", dir=plan.folder()) as temporary, session(conninfo):
        folder = Path(temporary)
        outcome = invoke(
            folder,
            [
                *("build", "--target", "plan", "--select", *select),
                *("--exclude", "config.materialized:view", *(f"test_name:{name}" for name in HELD_BY_THE_DATABASE)),
                *("--exclude-resource-type", "unit_test", "--vars", orjson.dumps(variables).decode()),
            ],
            manifest=manifest(),
        )
        if failed := failures(outcome, folder):
            reasons = "; ".join(f"{result.node.name}: {reason(result.message)}" for result in failed)
            raise ClarityError(f"dbt can't work out what a run has to do. {reasons}")
        return _plan([result.node for result in results(outcome)])


def models(folder: Path, of: Manifest, select: Sequence[str], *more: str) -> list[ModelNode]:
    """The models that a selection means, in dbt's own words. MisuseError if it means none."""
    listed = invoke(
        folder, [*("ls", "--resource-type", "model", "--output", "name", "--select", *select), *more], manifest=of
    )
    if listed.exception:
        raise MisuseError(f"--select {' '.join(select)} can't be understood: {reason(str(listed.exception))}")
    names = set(listed.result) if isinstance(listed.result, list) else set()
    if not names:
        raise MisuseError(f"--select {' '.join(select)} means no model; `ls dbt/models/*` shows what there is")
    return [node for node in of.nodes.values() if isinstance(node, ModelNode) and node.name in names]


def selected(select: Sequence[str]) -> list[str]:
    """The models with a part in a run that a selection means. MisuseError if there are none."""
    known = manifest()
    with session(database.owner_conninfo()):
        chosen = models(plan.folder() / "select", known, select)
    written = [node.name for node in chosen if node.config.materialized == "incremental"]
    if not written:
        raise MisuseError(f"{', '.join(node.name for node in chosen)}: always up to date, a run has no part in it")
    return written


def document() -> Path:
    """Everything that is known of the deployed models, with their lineage, as one HTML file. Returns where it is."""
    folder = plan.folder() / "docs"
    with session(database.owner_conninfo()):
        outcome = invoke(
            folder, ["docs", "generate", "--static", "--write-json", "--target", "deploy"], manifest=manifest()
        )
    made = folder / "target" / "static_index.html"
    if not outcome.success or not made.is_file():
        raise ClarityError(f"the documentation can't be built: {reason(str(outcome.exception))} ({folder / 'dbt.log'})")
    return made.replace(folder / "index.html")


# ── dbt ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


@contextmanager
def session(conninfo: str, **more: str) -> Iterator[None]:
    """The environment that the profile reads. dbt looks at it at each connection, so two can't share this process."""
    with _one_at_a_time:
        before = dict(os.environ)
        try:
            os.environ.update(environment(conninfo), **more)
            yield
        finally:
            os.environ.clear()
            os.environ.update(before)


def environment(conninfo: str) -> dict[str, str]:
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


def invoke(
    folder: Path,
    command: Sequence[str],
    manifest: Manifest | None = None,
    listeners: Sequence[Callable[[Any], None]] = (),
) -> dbtRunnerResult:
    """dbt with paths of its own: a target that others share would make each of them parse the project anew."""
    words = list(takewhile(lambda word: not word.startswith("-"), command))
    options = command[len(words) :]
    return dbtRunner(manifest=manifest, callbacks=list(listeners)).invoke(
        [
            *words,
            *("--project-dir", str(plan.project_folder()), "--profiles-dir", str(plan.project_folder())),
            *("--target-path", str(folder / "target"), "--log-path", str(folder)),
            *("--quiet", "--log-level", "none", "--log-level-file", "info", "--no-use-colors-file"),
            *("--no-write-json", "--no-print", "--no-send-anonymous-usage-stats", "--no-version-check"),
            # last, so that a command may want it otherwise
            *options,
        ]
    )


def parse(folder: Path) -> Manifest:
    """The project in the working tree. Parsed anew unless it is to the letter what was last parsed here: on top of
    another state dbt keeps traces of what a file said then.
    """
    # what is parsed names the database
    database_name = hashlib.sha256(os.environ["CLARITY_DBT_DBNAME"].encode()).hexdigest()[:8]
    file = folder / f"parsed-{plan.as_it_is().fingerprint}-{database_name}.msgpack"
    if file.is_file():
        return restored(file.read_bytes())
    parsed = invoke(folder, ["parse", "--target", "deploy", "--no-partial-parse"])
    if not isinstance(parsed.result, Manifest):
        raise ClarityError(f"the dbt project can't be parsed: {reason(str(parsed.exception))}")
    # the last one stays: who takes an edit back finds it
    for outdated in sorted(folder.glob("parsed-*"), key=lambda known: known.stat().st_mtime)[:-1]:
        outdated.unlink(missing_ok=True)
    plan.keep(file, packed(parsed.result))
    return parsed.result


def results(outcome: dbtRunnerResult) -> Sequence[Any]:
    found: Sequence[Any] = getattr(outcome.result, "results", ())
    return found


def failures(outcome: dbtRunnerResult, folder: Path) -> list[Any]:
    """The results that are errors. Raises if dbt could not even begin."""
    if outcome.exception:
        raise ClarityError(f"dbt did not start: {reason(str(outcome.exception))} ({folder / 'dbt.log'})")
    return [result for result in results(outcome) if result.status == NodeStatus.Error]


def reason(message: str | None) -> str:
    """The line that says what is wrong, out of a message that also says where dbt was."""
    lines = [line.strip() for line in (message or "").splitlines() if line.strip()]
    where = ("Database Error in", "Compilation Error", "Parsing Error", "Runtime Error")
    telling = [line for line in lines if not line.startswith(where)]
    return (telling or lines or ["no reason given"])[0]


# ── the manifest ─────────────────────────────────────────────────────────────────────────────────────────────────────


def manifest() -> Manifest:
    """Of what is deployed. A copy for one invocation: dbt keeps what it compiled in it."""
    return restored(_bytes(_manifest_file(plan.deployed())))


def write(known: Manifest, file: Path) -> None:
    """As JSON, which is how other dbt commands read it as a state."""
    # dbt notes in it whether it may phone home, and asks for that what its last command in this process was told
    if not hasattr(get_flags(), "SEND_ANONYMOUS_USAGE_STATS"):
        set_flags(Namespace(SEND_ANONYMOUS_USAGE_STATS=False))
    known.writable_manifest().write(str(file))


def packed(known: Manifest) -> bytes:
    return bytes(known.to_msgpack(extended_mashumaro_encoder))


def restored(packed_manifest: bytes) -> Manifest:
    known: Manifest = Manifest.from_msgpack(packed_manifest, decoder=extended_mashumuro_decoder)
    return known


def renamed(packed_manifest: bytes, old: str, new: str) -> bytes:
    """The same project with another word in the place of this one, wherever it stands: parsing anew takes seconds."""

    def told(content: Any) -> Any:
        if isinstance(content, str):
            return content.replace(old, new)
        if isinstance(content, list):
            return [told(item) for item in content]
        if isinstance(content, dict):
            return {told(key): told(value) for key, value in content.items()}
        return content

    content = extended_mashumuro_decoder(packed_manifest)
    return bytes(extended_mashumaro_encoder(told(content)))


def _manifest_file(of: Deployment) -> Path:
    return plan.folder() / f"manifest-{of.fingerprint}.msgpack"


@cache
def _bytes(file: Path) -> bytes:
    return file.read_bytes()


@cache
def _parents(file: Path) -> Mapping[str, Sequence[str]]:
    """What each node depends on, in the manifest that is kept there."""
    nodes = restored(_bytes(file)).nodes.values()
    return {node.unique_id: node.depends_on_nodes for node in nodes if isinstance(node, CompiledNode)}


@cache
def _reading_rules(file: Path) -> Sequence[str]:
    """The models and tests whose statements depend on a tenant's mappings and rules: in what they say themselves, in
    the macros that they call, or in what is a part of them. Everything else is a relation to them, whatever is in it.
    """
    known = restored(_bytes(file))

    @cache
    def macro_reads(unique_id: str) -> bool:
        macro = known.macros[unique_id]
        return bool(READS_RULES.search(macro.macro_sql)) or any(map(macro_reads, macro.depends_on.macros))

    @cache
    def reads(unique_id: str) -> bool:
        node = known.nodes.get(unique_id)
        if not isinstance(node, CompiledNode):
            return False
        parts = [part for part in node.depends_on_nodes if _is_a_part(known.nodes.get(part))]
        return bool(
            READS_RULES.search(node.raw_code) or any(map(macro_reads, node.depends_on.macros)) or any(map(reads, parts))
        )

    return [
        node.name
        for unique_id, node in known.nodes.items()
        if node.resource_type in ("model", "test") and not _is_a_part(node) and reads(unique_id)
    ]


def _is_a_part(node: Any) -> bool:
    """Not a relation of its own: its text stands in that of its readers."""
    return isinstance(node, ModelNode) and node.config.materialized == "ephemeral"


# ── what dbt wrote, as a plan ────────────────────────────────────────────────────────────────────────────────────────


def _plan(nodes: Sequence[Any]) -> Plan:
    written = {node.unique_id: orjson.loads(Path(node.build_path).read_bytes()) for node in nodes}
    parents = _parents(_manifest_file(plan.deployed()))

    @cache
    def ancestors(unique_id: str) -> frozenset[str]:
        own = parents.get(unique_id, ())
        return frozenset(own).union(*map(ancestors, own))

    def tested_before(unique_id: str) -> set[str]:
        """As in `dbt build`: upon what fails a test nobody builds."""
        return {node.unique_id for node in tests if ancestors(unique_id).issuperset(parents[node.unique_id])}

    tests = [node for node in nodes if node.resource_type == "test"]
    return Plan(
        [
            Model(
                node.unique_id,
                node.name,
                sorted(ancestors(node.unique_id) & written.keys() | tested_before(node.unique_id)),
                node.fqn[1],
                **written[node.unique_id],
            )
            for node in nodes
            if node.resource_type == "model"
        ],
        [
            DataTest(
                node.unique_id,
                node.name,
                sorted(written.keys() & set(node.depends_on_nodes)),
                (node.attached_node or node.depends_on_nodes[0]).rsplit(".", 1)[-1],
                **written[node.unique_id],
            )
            for node in tests
        ],
    )
