"""Rehearsal: the working tree's models tried on one tenant's rows, beside what is live, with what would change.

A deploy and a run as ever, on another stage: as the owner dbt makes the selected models in a private schema, then fills
them with the tenant's run login, each from nothing. What is not selected is read where it is live. No lease is needed:
live is only read, and no mark is moved.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import psycopg
from dbt.artifacts.resources.v1.config import Severity
from dbt.artifacts.schemas.results import NodeStatus
from dbt.cli.main import dbtRunnerResult
from dbt.contracts.graph.manifest import Manifest
from dbt.contracts.graph.nodes import GenericTestNode, ModelNode, SingularTestNode
from psycopg import sql

from control import access, registry
from control.registry import TenantEntry
from steps import plan, project, rules
from steps.transform import ModelResult, OnResult
from warehouse import database, private, roles
from warehouse.errors import ClarityError, MisuseError
from warehouse.home import home, locked

CHANGED = ("state:modified+",)
SHOWN = 5
# The schema that a working tree is parsed for. What comes of it names this one, so it serves every stage.
ANY_STAGE = "stage_of_anybody"
# written by the database or by when a row was first seen, so never the same twice
INCOMPARABLE = {"created_at", "updated_at", "landed_at", "known_since"}

# what the lists of things to be done hold on this stage: everything there is
EVERYTHING = {
    "watermarks": sql.SQL(
        "select tenant_id, model, connector || '__' || stream as stream, 0::bigint as seq, last_seq as upto"
        " from control.stream_states, unnest({models}::text[]) as model"
    ),
    "touched_entities": sql.SQL("select distinct tenant_id, entity, id from {identities}"),
    "touched_attributes": sql.SQL(
        "select tenant_id, 'account' as entity, id from {accounts}"
        " union all select tenant_id, 'person' as entity, id from {people}"
    ),
    "moved_entities": sql.SQL("select * from canonical.{table} where false"),
    "touched_person_days": sql.SQL(
        "select tenant_id, person_id, array_agg(distinct (occurred_at at time zone 'UTC')::date) as days"
        " from {activities} where person_id is not null group by tenant_id, person_id"
    ),
    "touched_days": sql.SQL(
        "select distinct tenant_id, (occurred_at at time zone 'UTC')::date as day from {activities}"
    ),
}


@dataclass(frozen=True)
class Example:
    """A row that differs. Of one that is on both sides, only what differs: {column: (live, here)}."""

    key: dict[str, Any]
    side: str
    values: dict[str, tuple[Any, Any]]


@dataclass(frozen=True)
class Difference:
    """What a model would make of the tenant's rows, beside what is live. Counts are rows."""

    model: str
    equal: int = 0
    changed: int = 0
    only_live: int = 0
    only_here: int = 0
    columns: dict[str, int] = field(default_factory=dict)
    new_columns: tuple[str, ...] = ()
    gone_columns: tuple[str, ...] = ()
    is_new: bool = False
    examples: tuple[Example, ...] = ()


@dataclass(frozen=True)
class FailedTest:
    model: str
    test: str
    what: str


@dataclass(frozen=True)
class Rehearsal:
    schema: str
    failed_tests: tuple[FailedTest, ...]
    differences: tuple[Difference, ...]


def run(
    slug: str,
    *,
    actor: str,
    select: Sequence[str] = (),
    report: Callable[[str], None] = lambda _line: None,
    on_result: OnResult | None = None,
) -> Rehearsal:
    """Build the selected models, by default those that differ from what is deployed and all that reads them.

    The private schema is made anew each time and stays, to look at and for plain dbt, until `drop` or the tenant's end.
    """
    tenant, schema = _stage(slug, actor)
    with locked(home() / f"{schema}.lock", report):
        report("preparing dbt")
        state = live_state()
        folder = plan.folder() / schema
        parsed = _parsed(schema, report)
        with _dbt(database.owner_conninfo(), schema):
            chosen = _chosen(folder, parsed, select, state)
            _adapt(parsed, chosen)
            manifest = project.packed(parsed)
            private.make(schema, tenant.id)
            _furnish(schema, chosen, parsed)
            names = [node.name for node in chosen]
            deferring = ("--defer", "--state", str(state), "--select", *names)
            made = project.invoke(
                folder, ["run", "--target", "deploy", *deferring], manifest=project.restored(manifest)
            )
            _raise_if_failed(slug, made, folder)
        variables = _variables(tenant.id, schema)
        with _dbt(database.conninfo_in_force(database.run_login(tenant.id)), schema):
            filling = ("--target", "run", *deferring, "--vars", orjson.dumps(variables).decode())
            filled = project.invoke(
                folder,
                ["build", *filling, "--exclude-resource-type", "unit_test"],
                manifest=project.restored(manifest),
                listeners=[_listener(on_result)] if on_result else (),
            )
            _raise_if_failed(slug, filled, folder)
            report("unit tests")
            unit_tests = ("test", *filling, "--resource-type", "unit_test", "--no-use-colors")
            tried = project.invoke(folder, unit_tests, manifest=project.restored(manifest))
            _raise_if_failed(slug, tried, folder)
        report("comparing with live")
        with database.run_session(tenant.id, application="rehearsal") as connection:
            # both sides as they are at one moment
            connection.execute("set transaction isolation level repeatable read, read only")
            connection.execute("set local enable_nestloop = off")
            differences = tuple(_compare(connection, schema, node) for node in chosen if _is_kept(node))
    return Rehearsal(schema, tuple(_failed_tests(filled, tried)), differences)


def environment(slug: str, *, actor: str) -> dict[str, str]:
    """What plain dbt needs to work on this tenant's private schema, with the tenant's run login."""
    tenant, schema = _stage(slug, actor)
    return {
        **project.environment(database.conninfo_in_force(database.run_login(tenant.id))),
        "CLARITY_DBT_SCHEMA": schema,
        # a tenant's own mappings and rules: dbt takes variables by --vars alone
        "CLARITY_DBT_VARS": orjson.dumps(_variables(tenant.id, schema)).decode(),
        "DBT_DEFER": "true",
        "DBT_STATE": str(live_state()),
        # seeds are the same for all tenants: only a deploy loads them
        "DBT_EXCLUDE_RESOURCE_TYPES": "seed",
        "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
    }


def drop(slug: str, *, actor: str) -> bool:
    """Remove this user's private schema of the tenant. False if there was none."""
    tenant, schema = _stage(slug, actor)
    there = schema in private.of_tenant(tenant.id)
    private.drop(schema)
    return there


def live_state() -> Path:
    """The folder with the manifest of what is deployed, for dbt's --state and --defer."""
    fingerprint = plan.deployed().fingerprint
    folder = plan.folder() / "live"
    stamp = folder / "made-of"
    if not stamp.is_file() or stamp.read_text() != fingerprint:
        folder.mkdir(parents=True, exist_ok=True)
        project.write(project.manifest(), folder / "manifest.json")
        stamp.write_text(fingerprint)
    return folder


def _stage(slug: str, actor: str) -> tuple[TenantEntry, str]:
    access.require_system(actor, "transform --dev")
    return registry.tenant(slug), private.name_for(actor.removeprefix("system:"), slug)


@contextmanager
def _dbt(conninfo: str, schema: str) -> Iterator[None]:
    with project.session(conninfo, CLARITY_DBT_SCHEMA=schema):
        yield


def _variables(tenant_id: str, schema: str) -> dict[str, Any]:
    with database.run_session(tenant_id, application="rehearsal") as connection:
        return {"tenant_id": tenant_id, "run_id": schema, "fence": 0, **rules.variables(connection, tenant_id)}


def _listener(on_result: OnResult) -> Callable[[Any], None]:
    def listen(event: Any) -> None:
        if event.info.name == "NodeFinished" and event.data.node_info.resource_type == "model":
            node, result = event.data.node_info, event.data.run_result
            rows = int(dict(result.adapter_response).get("rows_affected") or 0)
            on_result(
                ModelResult(
                    node.node_name,
                    node.node_status,
                    max(rows, 0),
                    result.execution_time,
                    project.reason(result.message),
                )
            )

    return listen


def _parsed(schema: str, report: Callable[[str], None]) -> Manifest:
    """The working tree, as it is on this stage. Parsed once for all of them: it takes longer than most rehearsals."""
    folder = plan.folder() / ANY_STAGE
    with locked(home() / f"{ANY_STAGE}.lock", report), _dbt(database.owner_conninfo(), ANY_STAGE):
        parsed = project.packed(project.parse(folder))
    return project.restored(project.renamed(parsed, ANY_STAGE, schema))


def _chosen(folder: Path, manifest: Manifest, select: Sequence[str], state: Path) -> list[ModelNode]:
    try:
        return project.models(
            folder, project.restored(project.packed(manifest)), select or CHANGED, "--state", str(state)
        )
    except MisuseError:
        if select:
            raise
        raise MisuseError("no model differs from what is deployed: name some with --select") from None


def _adapt(manifest: Manifest, chosen: Sequence[ModelNode]) -> None:
    """What is otherwise on this stage: nothing points at live tables, and a failed test holds nobody up."""
    for node in chosen:
        for column in node.columns.values():
            # dropping the table would lock what it points at
            column.constraints = [item for item in column.constraints if item.type != "foreign_key"]
        node.constraints = [item for item in node.constraints if item.type != "foreign_key"]
    for test in manifest.nodes.values():
        if isinstance(test, GenericTestNode | SingularTestNode):
            test.config.severity = Severity("warn")


def _furnish(schema: str, chosen: Sequence[ModelNode], manifest: Manifest) -> None:
    """What dbt does not make: the tables of migrations, after those that are live, and the lists of what is to be done.

    On this stage everything is to be done, so the lists are views that name it all.
    """
    here = {node.alias for node in chosen}
    with database.connect(database.owner_conninfo(), application="rehearsal") as owner:

        def of(table: str) -> sql.Identifier:
            return sql.Identifier(schema if table in here else "canonical", table)

        for node in chosen:
            if node.config.schema == "canonical" and _is_kept(node):
                owner.execute(
                    sql.SQL("create table {} (like {} including all)").format(
                        sql.Identifier(schema, node.alias), sql.Identifier("canonical", node.alias)
                    )
                )
                owner.execute("select control.secure(%s::regclass)", [f'"{schema}"."{node.alias}"'])
        sources = {source.name for source in manifest.sources.values() if source.schema == schema}
        for name in sorted({"watermarks"} | sources - here):
            query = EVERYTHING.get(name, sql.SQL("select * from canonical.{table}")).format(
                table=sql.Identifier(name),
                models=sql.Literal(sorted(here)),
                **{table: of(table) for table in ("identities", "accounts", "people", "activities")},
            )
            view = sql.Identifier(schema, name)
            owner.execute(sql.SQL("create view {} with (security_invoker = true) as {}").format(view, query))
            owner.execute(sql.SQL("grant select on {} to {}").format(view, sql.Identifier(roles.PIPELINE)))


def _is_kept(node: ModelNode) -> bool:
    return bool(node.config.materialized == "incremental")


def _raise_if_failed(slug: str, outcome: dbtRunnerResult, folder: Path) -> None:
    broken = [
        f"{result.node.name}: {project.reason(result.message)}"
        for result in project.failures(outcome, folder)
        # a unit test with an error is one that fails: the model was built before
        if result.node.resource_type != "unit_test"
    ]
    if broken:
        raise ClarityError(f"{slug}: the rehearsal failed. {'; '.join(broken)} ({folder / 'dbt.log'})")


def _failed_tests(*outcomes: dbtRunnerResult) -> Iterator[FailedTest]:
    for result in (result for outcome in outcomes for result in project.results(outcome)):
        if result.node.resource_type == "test" and result.status == NodeStatus.Warn:
            tested = result.node.attached_node or result.node.depends_on.nodes[0]
            yield FailedTest(_name(tested), result.node.name, f"{result.failures} rows")
        elif result.node.resource_type == "unit_test" and result.status in (NodeStatus.Fail, NodeStatus.Error):
            yield FailedTest(result.node.unique_id.split(".")[-2], result.node.name, _text(result.message))


def _text(message: str | None) -> str:
    return "\n".join((message or "").split("\r\n")).strip()


def _name(unique_id: str) -> str:
    return unique_id.rsplit(".", 1)[-1]


def _compare(connection: psycopg.Connection, schema: str, node: ModelNode) -> Difference:
    """Row by row, by the model's key; of a history, what is known by now rather than since when."""
    here, live = sql.Identifier(schema, node.alias), sql.Identifier(str(node.config.schema), node.alias)
    columns_here, columns_live = _columns(connection, here), _columns(connection, live)
    if not columns_live:
        row = connection.execute(sql.SQL("select count(*) from {}").format(here)).fetchone()
        return Difference(node.name, only_here=int(row[0]) if row else 0, is_new=True)
    keys = [column for column in _key(node) if column not in INCOMPARABLE]
    compared = [column for column in columns_here if column in columns_live and column not in {*keys, *INCOMPARABLE}]
    is_history = "known_since" in columns_here
    pairs = _pairs(
        _side(here, keys, compared, is_history),
        _side(live, keys, compared, is_history),
        keys,
        [(column, columns_here[column] == columns_live[column]) for column in compared],
    )
    counts: dict[str, int] = {}
    by_column: dict[str, int] = {}
    for side, column, count in connection.execute(
        sql.SQL(
            "with pairs as ({}) select side, null, count(*) from pairs group by side"
            " union all select 'column', name, count(*) from pairs, unnest(differing) as name group by name"
            " order by 3 desc, 2"
        ).format(pairs)
    ).fetchall():
        if side == "column":
            by_column[column] = count
        else:
            counts[side] = count
    return Difference(
        node.name,
        equal=counts.get("equal", 0),
        changed=counts.get("changed", 0),
        only_live=counts.get("only_live", 0),
        only_here=counts.get("only_here", 0),
        columns=by_column,
        new_columns=tuple(column for column in columns_here if column not in columns_live),
        gone_columns=tuple(
            column for column in columns_live if column not in columns_here and column not in INCOMPARABLE
        ),
        examples=_examples(connection, pairs) if set(counts) - {"equal"} else (),
    )


def _columns(connection: psycopg.Connection, relation: sql.Identifier) -> dict[str, str]:
    rows = connection.execute(
        "select attname::text, format_type(atttypid, atttypmod) from pg_attribute"
        " where attrelid = to_regclass(%s) and attnum > 0 and not attisdropped order by attnum",
        [relation.as_string(connection)],
    ).fetchall()
    return dict(rows)


def _key(node: ModelNode) -> list[str]:
    key = node.config.unique_key
    return [key] if isinstance(key, str) else list(key or ())


def _side(relation: sql.Identifier, keys: Sequence[str], compared: Sequence[str], is_history: bool) -> sql.Composed:
    key = sql.SQL(", ").join(map(sql.Identifier, keys))
    values = sql.SQL(", ").join(map(sql.Identifier, compared)) if compared else sql.SQL("1 as nothing")
    if not is_history:
        return sql.SQL("select {}, {} from {}").format(key, values, relation)
    if list(compared) == ["count"]:
        # differences, so that what is known is their sum
        return sql.SQL("select {0}, sum(count) as count from {1} group by {0} having sum(count) <> 0").format(
            key, relation
        )
    return sql.SQL("select distinct on ({0}) {0}, {1} from {2} order by {0}, known_since desc").format(
        key, values, relation
    )


def _pairs(
    here: sql.Composed, live: sql.Composed, keys: Sequence[str], compared: Sequence[tuple[str, bool]]
) -> sql.Composed:
    """One row per key that either side has: which have it, in which columns they differ, and the values there."""

    def differs(column: str, same_type: bool) -> sql.Composed:
        form = "h.{0} is distinct from l.{0}" if same_type else "to_jsonb(h.{0}) is distinct from to_jsonb(l.{0})"
        return sql.SQL(form).format(sql.Identifier(column))

    differing = [
        sql.SQL("case when {} then {} end").format(differs(column, same), sql.Literal(column))
        for column, same in compared
    ]
    return sql.SQL(
        "select *, case when not is_live then 'only_here' when not is_here then 'only_live'"
        " when cardinality(differing_if_both) > 0 then 'changed' else 'equal' end as side,"
        " case when is_live and is_here then differing_if_both else '{{}}' end as differing from ("
        "select coalesce(h.key, l.key) as key, h.key is not null as is_here, l.key is not null as is_live,"
        " to_jsonb(h) - 'key' as here, to_jsonb(l) - 'key' as live,"
        " array_remove(array[{differing}]::text[], null) as differing_if_both"
        " from (select *, jsonb_build_object({named}) as key from ({here}) as h) as h"
        " full join (select *, jsonb_build_object({named}) as key from ({live}) as l) as l on {matching}) as paired"
    ).format(
        differing=sql.SQL(", ").join(differing),
        named=sql.SQL(", ").join(
            part for key in keys if key != "tenant_id" for part in (sql.Literal(key), sql.Identifier(key))
        ),
        here=here,
        live=live,
        matching=sql.SQL(" and ").join(sql.SQL("h.{0} = l.{0}").format(sql.Identifier(key)) for key in keys),
    )


def _examples(connection: psycopg.Connection, pairs: sql.Composed) -> tuple[Example, ...]:
    rows = connection.execute(
        sql.SQL(
            "select key, side, differing, live, here from (select *, row_number() over (partition by side order by key)"
            " as place from ({}) as pairs where side <> 'equal') as differing where place <= {} order by side, place"
        ).format(pairs, sql.Literal(SHOWN))
    ).fetchall()
    return tuple(
        Example(key, side, {column: (live[column], here[column]) for column in differing})
        for key, side, differing, live, here in rows
    )
