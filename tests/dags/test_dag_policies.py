"""What holds for every DAG, and what parsing may cost."""

import ast
import cProfile
import json
import logging
import os
import pstats
import runpy
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from uuid import uuid4
from zoneinfo import ZoneInfo

import pendulum
import psycopg
import pytest

from cli import airflow_env, parsing
from control import registry
from control.registry import TenantEntry
from warehouse.errors import MisuseError, NotNow
from warehouse.home import project_root

if TYPE_CHECKING:
    from airflow.dag_processing.dagbag import DagBag
    from airflow.sdk import DAG

DAGS = project_root() / "dags"
PARSING_ONE_OF = "_AIRFLOW_PARSING_CONTEXT_DAG_ID"


@pytest.fixture(scope="module")
def airflow(platform: Path) -> Iterator[None]:
    """Airflow configured as the platform configures it, before anything imports it."""
    before = dict(os.environ)
    os.environ.update(airflow_env.settings())
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture
def parse(airflow: None) -> "Callable[[], DagBag]":
    from airflow.dag_processing.dagbag import DagBag

    return lambda: DagBag(dag_folder=DAGS)


@pytest.fixture
def tenants(monkeypatch: pytest.MonkeyPatch) -> list[TenantEntry]:
    """The registry's answer. A test may change it."""
    entries = [_tenant("acme"), _tenant("globex", connectors=("files", "salesforce")), _tenant("idle", paused=True)]
    monkeypatch.setattr(registry, "tenants", lambda _, slug=None: [it for it in entries if slug in (None, it.slug)])
    return entries


def _tenant(slug: str, *, paused: bool = False, connectors: tuple[str, ...] = ("files",)) -> TenantEntry:
    created_at = "2026-03-10T08:00:00+00:00"
    return TenantEntry(f"id-{slug}", slug, slug.title(), "UTC", paused, created_at, connectors)


def _of_tenants(bag: "DagBag") -> "list[DAG]":
    """The DAGs that the registry made."""
    return [dag for dag in bag.dags.values() if dag.dag_id.startswith(("pipeline__", "rescore__"))]


def test_every_dag_file_imports_without_an_error(parse: "Callable[[], DagBag]", tenants: list[TenantEntry]) -> None:
    bag = parse()
    assert bag.import_errors == {}
    assert {dag.dag_id for dag in _of_tenants(bag)} == {
        f"{kind}__{slug}" for kind in ("pipeline", "rescore") for slug in ("acme", "globex", "idle")
    }


def test_every_dag_says_whose_it_is_what_it_does_and_what_to_do_when_it_fails(
    parse: "Callable[[], DagBag]", tenants: list[TenantEntry]
) -> None:
    for dag in parse().dags.values():
        assert dag.owner not in ("", "airflow"), dag.dag_id
        assert dag.tags, dag.dag_id
        assert dag.description, dag.dag_id
        assert "When it fails" in (dag.doc_md or ""), dag.dag_id
        assert "{" not in (dag.doc_md or ""), f"{dag.dag_id} shows a placeholder"


def test_every_task_is_retried_soon_and_can_not_run_for_ever(
    parse: "Callable[[], DagBag]", tenants: list[TenantEntry]
) -> None:
    for dag in parse().dags.values():
        for task in dag.tasks:
            assert task.retries == 2, task
            assert task.retry_exponential_backoff > 1, task
            assert task.retry_delay <= timedelta(seconds=30), task
            assert task.execution_timeout is not None, task
            assert task.execution_timeout <= timedelta(hours=2), task


def test_every_task_goes_to_a_queue_that_workers_take(
    parse: "Callable[[], DagBag]", tenants: list[TenantEntry]
) -> None:
    queues = {task.task_id: task.queue for dag in parse().dags.values() for task in dag.tasks}
    assert set(queues.values()) == set(airflow_env.QUEUES)
    # what leaves the house needs the way out; nothing else does
    assert {task for task, queue in queues.items() if queue == "extract"} == {"extract", "writeback", "provision"}


def test_no_dag_catches_up_or_overtakes_itself(parse: "Callable[[], DagBag]", tenants: list[TenantEntry]) -> None:
    for dag in parse().dags.values():
        assert dag.catchup is False
        assert dag.max_active_runs == 1


def test_a_pipeline_reads_like_the_data_flows(parse: "Callable[[], DagBag]", tenants: list[TenantEntry]) -> None:
    dag = parse().dags["pipeline__acme"]
    _follow_each_other(dag, ["extract", "transform", "score", "publish", "writeback", "conclude"])
    assert dag.get_task("extract").is_mapped


def test_a_night_scores_publishes_and_writes_back_without_reading_anything(
    parse: "Callable[[], DagBag]", tenants: list[TenantEntry]
) -> None:
    _follow_each_other(parse().dags["rescore__acme"], ["score", "publish", "writeback", "conclude"])


def _follow_each_other(dag: "DAG", order: list[str]) -> None:
    assert [task.task_id for task in dag.tasks] == order
    for before, after in pairwise(order):
        assert dag.get_task(before).downstream_task_ids == {after}


def test_an_extract_bears_its_connectors_name_and_takes_a_slot_of_its_vendors_pool(
    parse: "Callable[[], DagBag]", tenants: list[TenantEntry]
) -> None:
    from airflow.models.taskinstance import TaskInstance
    from airflow.serialization.serialized_objects import DagSerialization

    dag = parse().dags["pipeline__globex"]
    assert "connector" in (dag.get_task("extract").map_index_template or "")
    # what the scheduler has before it is what was serialized
    seen = DagSerialization.from_dict(DagSerialization.to_dict(dag))
    pools = [
        TaskInstance(seen.get_task(task), dag_version_id=uuid4(), map_index=index).pool
        for task, index in (("extract", 0), ("extract", 1), ("transform", -1))
    ]
    assert pools == ["files", "salesforce", "default_pool"]


def test_the_vendors_pools_leave_half_of_the_workers_to_others_unless_somebody_says_how_many(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    half = airflow_env.parallelism() // 2
    assert airflow_env.pools(["files", "salesforce"]) == {"files": half, "salesforce": half}
    monkeypatch.setenv("CLARITY_POOLS", "salesforce=1")
    assert airflow_env.pools(["files", "salesforce"]) == {"files": half, "salesforce": 1}
    for wrong in ("salesforce", "salesforce=0", "salesforce=many", "nobody=1"):
        monkeypatch.setenv("CLARITY_POOLS", wrong)
        with pytest.raises(MisuseError, match="vendors are files, salesforce"):
            airflow_env.pools(["files", "salesforce"])


def test_who_waits_for_a_publication_is_told_whose_it_is(
    parse: "Callable[[], DagBag]", tenants: list[TenantEntry]
) -> None:
    for dag in _of_tenants(parse()):
        (published,) = dag.get_task("publish").outlets
        slug = dag.dag_id.partition("__")[2]
        assert published.uri == f"postgres://gtm-clarity:5432/clarity/scores/engagements?tenant={slug}"


def test_a_run_can_be_asked_for_a_day_some_streams_everything_or_nothing_but_a_look(
    parse: "Callable[[], DagBag]", tenants: list[TenantEntry]
) -> None:
    dags = parse().dags
    assert set(dags["pipeline__acme"].params) == {"as_of", "dry_run", "full", "streams"}
    assert set(dags["rescore__acme"].params) == {"as_of", "dry_run"}
    for dag in _of_tenants(parse()):
        for name in dag.params:
            assert dag.params.get_param(name).description, name


def test_each_tenant_has_a_minute_of_its_own_that_never_changes(
    parse: "Callable[[], DagBag]", tenants: list[TenantEntry]
) -> None:
    dags = parse().dags
    assert dags["pipeline__acme"].schedule == _cron("36 3-23/4 * * *")
    assert dags["pipeline__globex"].schedule == _cron("26 0-23/4 * * *")
    assert dags["rescore__acme"].schedule == _cron("12 2 * * *")
    assert dags["rescore__globex"].schedule == _cron("54 2 * * *")


def test_a_thousand_tenants_are_spread_over_the_whole_interval(airflow: None) -> None:
    places = _minutes_of_a_thousand()
    for kind, minutes in {"pipeline": 240, "rescore": 60}.items():
        assert len(places[kind]) > 0.95 * minutes
        # no minute has to carry four times its share
        assert max(places[kind].values()) < 4 * 1000 / minutes + 5


def _minutes_of_a_thousand() -> dict[str, Counter[int]]:
    from orchestration.tenant_dags import place

    return {
        kind: Counter(place(_tenant(f"t{number}"), kind, minutes) for number in range(1000))
        for kind, minutes in (("pipeline", 240), ("rescore", 60))
    }


@pytest.mark.parametrize(
    ("timezone", "changes"),
    [
        ("Europe/Berlin", ("2026-03-29", "2026-10-25")),
        ("America/New_York", ("2026-03-08", "2026-11-01")),
        ("Australia/Lord_Howe", ("2026-04-05", "2026-10-04")),
        ("Asia/Kathmandu", ("2026-03-29", "2026-10-25")),
    ],
)
def test_when_the_clocks_change_no_night_is_left_out_and_none_comes_twice(
    airflow: None, timezone: str, changes: tuple[str, str]
) -> None:
    from airflow.serialization.encoders import coerce_to_core_timetable

    every_night = runpy.run_path(str(DAGS / "tenant_nights.py"))["every_night"]
    every_four_hours = runpy.run_path(str(DAGS / "tenant_pipelines.py"))["every_four_hours"]
    zone = ZoneInfo(timezone)
    for slug in ("acme", "globex", "initech", "umbrella"):
        tenant = replace(_tenant(slug), timezone=timezone)
        for schedule, per_day in ((every_night(tenant), 1), (every_four_hours(tenant), 6)):
            timetable = coerce_to_core_timetable(schedule)
            for change in changes:
                first = datetime.fromisoformat(change).replace(tzinfo=zone) - timedelta(days=3)
                runs = _runs(timetable, first, days=7)
                assert runs == sorted(set(runs))
                by_day = Counter(run.astimezone(zone).date() for run in runs)
                assert set(by_day.values()) == {per_day}, (slug, by_day)
                if per_day == 1:
                    assert {run.astimezone(zone).hour for run in runs} <= {1, 2, 3}


def _runs(timetable: Any, first: datetime, days: int) -> list[datetime]:
    """What Airflow would start in these days, one after the other, if it is up all the time."""
    from airflow.timetables.base import DataInterval, TimeRestriction

    end = first + timedelta(days=days)
    restriction = TimeRestriction(earliest=pendulum.instance(first), latest=None, catchup=True)
    runs: list[datetime] = []
    last = None
    while (info := timetable.next_dagrun_info(last_automated_data_interval=last, restriction=restriction)) is not None:
        if info.run_after >= end:
            return runs
        runs.append(info.run_after)
        last = DataInterval(info.data_interval.start, info.data_interval.end)
    return runs


def test_after_forty_missed_runs_there_is_one(airflow: None) -> None:
    from airflow.serialization.encoders import coerce_to_core_timetable
    from airflow.timetables.base import DataInterval, TimeRestriction

    file = runpy.run_path(str(DAGS / "tenant_pipelines.py"))
    timetable = coerce_to_core_timetable(file["every_four_hours"](_tenant("acme")))
    now = pendulum.now("UTC")
    long_ago = now.subtract(days=7)
    restriction = TimeRestriction(earliest=long_ago, latest=None, catchup=False)
    first = timetable.next_dagrun_info(
        last_automated_data_interval=DataInterval(long_ago, long_ago), restriction=restriction
    )
    assert first is not None
    assert now.subtract(hours=4) < first.run_after <= now
    second = timetable.next_dagrun_info(last_automated_data_interval=first.data_interval, restriction=restriction)
    assert second is not None
    assert second.run_after > now


def test_a_task_that_has_to_wait_gives_its_worker_back_but_not_for_longer_than_a_while(airflow: None) -> None:
    from airflow.sdk.exceptions import AirflowRescheduleException

    from orchestration.operators import no_worker_waiting as waiting

    began = datetime.now(UTC)
    task_instance = SimpleNamespace(get_first_reschedule_date=lambda context: context["began"])
    context: Any = {"ti": task_instance, "began": None}

    soon = NotNow("the vendor is busy", began + timedelta(minutes=1))
    with pytest.raises(AirflowRescheduleException) as again, waiting(context):
        raise soon
    assert again.value.reschedule_date == soon.until
    context["began"] = began - timedelta(minutes=30)
    with pytest.raises(NotNow, match="the vendor is busy"), waiting(context):
        raise soon


def test_a_paused_tenants_dag_stays_to_be_looked_at_and_is_not_scheduled(
    parse: "Callable[[], DagBag]", tenants: list[TenantEntry]
) -> None:
    for dag in (parse().dags["pipeline__idle"], parse().dags["rescore__idle"]):
        assert dag.schedule is None
        assert "paused" in dag.tags
        assert "clarity tenant resume idle" in (dag.doc_md or "")


def test_a_tasks_process_builds_no_dag_but_its_own(
    parse: "Callable[[], DagBag]", tenants: list[TenantEntry], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(PARSING_ONE_OF, "rescore__globex")
    assert {dag.dag_id for dag in _of_tenants(parse())} == {"rescore__globex"}


def test_a_tasks_process_asks_for_no_tenant_but_its_own(
    parse: "Callable[[], DagBag]", tenants: list[TenantEntry], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, str | None]] = []
    answer = registry.tenants

    def noted(kind: str, slug: str | None = None) -> list[TenantEntry]:
        asked.append((kind, slug))
        return answer(kind, slug)

    monkeypatch.setattr(registry, "tenants", noted)
    monkeypatch.setenv(PARSING_ONE_OF, "pipeline__globex")
    parse()
    assert asked == [("pipeline", "globex")]


def test_a_tenant_that_is_gone_takes_its_dags_along(parse: "Callable[[], DagBag]", tenants: list[TenantEntry]) -> None:
    tenants.pop(0)
    assert {dag.dag_id.partition("__")[2] for dag in _of_tenants(parse())} == {"globex", "idle"}


@pytest.mark.parametrize(("file", "queries"), [*((file, 1) for file in parsing.FILES.values()), ("platform.py", 0)])
def test_parsing_a_file_asks_the_registrys_one_query_and_nothing_else(
    airflow: None, platform: Path, monkeypatch: pytest.MonkeyPatch, file: str, queries: int
) -> None:
    from airflow.dag_processing.dagbag import DagBag

    statements: list[str] = []
    execute = psycopg.Connection.execute

    def noted(self: psycopg.Connection, query: Any, *args: Any, **options: Any) -> Any:
        if self.info.user != "clarity_admin":  # the embedded server is asked whether it is up
            statements.append(f"{self.info.user}: {query}")
        return execute(self, query, *args, **options)

    monkeypatch.setattr(psycopg.Connection, "execute", noted)
    assert DagBag(dag_folder=DAGS / file).import_errors == {}
    assert len(statements) == queries, statements
    assert all(statement.startswith("clarity_registry: select") for statement in statements)


def test_no_dag_file_asks_airflow_for_a_variable_or_a_connection() -> None:
    for file in (*DAGS.glob("*.py"), *(project_root() / "plugins" / "orchestration").glob("*.py")):
        named = {node.id for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Name)}
        assert named.isdisjoint({"Variable", "Connection", "BaseHook"}), file


def test_a_database_that_is_down_keeps_the_tenants_known_last(
    parse: "Callable[[], DagBag]",
    platform: Path,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    known = asdict(_tenant("known"))
    monkeypatch.setenv("CLARITY_HOME", str(tmp_path))
    for kind in parsing.FILES:
        (tmp_path / f"registry-{kind}.json").write_text(json.dumps([known]))
    monkeypatch.setenv("CLARITY_DATABASE_URL", "postgresql://nobody:nothing@127.0.0.1:1/clarity")
    started = time.monotonic()
    with caplog.at_level(logging.WARNING):
        bag = parse()
    assert bag.import_errors == {}
    assert {dag.dag_id for dag in _of_tenants(bag)} == {"pipeline__known", "rescore__known"}
    assert time.monotonic() - started < 5
    assert "the registry does not answer, going on with the 1 tenants known last" in caplog.text


# A DAG file with nothing in it but what a hundred tenants have as well: 206 DAGs on a schedule, with five tasks each.
PLAIN = """
from datetime import datetime
from airflow.sdk import DAG, CronTriggerTimetable, chain
from airflow.providers.standard.operators.empty import EmptyOperator

for number in range(206):
    daily = CronTriggerTimetable("0 3 * * *", timezone="UTC")
    with DAG(f"plain_{number}", schedule=daily, start_date=datetime(2026, 3, 10), catchup=False):
        chain(*[EmptyOperator(task_id=f"task_{place}") for place in range(5)])
"""


def test_parsing_a_tenant_is_little_more_work_than_parsing_the_plainest_dags_with_as_many_tasks(
    airflow: None, tenants: list[TenantEntry], tmp_path: Path
) -> None:
    from airflow.dag_processing.dagbag import DagBag

    tenants.extend(_tenant(f"tenant_{number}") for number in range(100))
    plain = tmp_path / "plain.py"
    plain.write_text(PLAIN)

    def calls(*files: Path) -> int:
        """Counted, not timed: a machine that others use as well says the same."""
        dags = calls = 0
        for file in files:
            DagBag(dag_folder=file)
            profile = cProfile.Profile()
            dags += len(profile.runcall(DagBag, dag_folder=file).dags)
            calls += int(vars(pstats.Stats(profile))["total_calls"])
        assert dags == 206
        return calls

    ratio = calls(*(DAGS / file for file in parsing.FILES.values())) / calls(plain)
    print(f"parsing: {ratio:.2f} times the work of the plainest")
    # with decorated functions for tasks it was 1.9 times
    assert ratio < 1.4


def test_in_a_tasks_process_five_hundred_tenants_cost_what_one_does(
    parse: "Callable[[], DagBag]", tenants: list[TenantEntry], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(PARSING_ONE_OF, "pipeline__globex")

    def seconds() -> float:
        started = time.process_time()
        assert len(_of_tenants(parse())) == 1
        return time.process_time() - started

    with_three = min(seconds() for _ in range(3))
    tenants.extend(_tenant(f"tenant_{number}") for number in range(500))
    assert min(seconds() for _ in range(3)) < 2 * with_three + 0.05


FORKS_TASKS = {
    ("scheduler", "LocalExecutor"): True,
    ("scheduler", "CeleryExecutor"): False,
    ("celery worker", "CeleryExecutor"): True,
    ("api-server", "CeleryExecutor"): False,
}


@pytest.fixture(scope="module")
def told(airflow: None) -> dict[str, Any]:
    """What a fresh dag-processor knows of itself. To start one takes seconds, so one tells it all."""
    return _told_by_a(
        "dag-processor",
        "import airflow_local_settings as ours",
        f"forks = [ours.forks_tasks(['airflow', *words.split()], executor) for words, executor in {list(FORKS_TASKS)}]",
        "import runpy",
        *(f"runpy.run_path({str(DAGS / file)!r})" for file in parsing.FILES.values()),
        "dag_files = list(sys.modules)",
        "from airflow import plugins_manager",
        "_, errors = plugins_manager._get_plugins()",
        "modules = {name: getattr(module, '__file__', None) for name, module in sys.modules.items()}",
        "told |= {'forks': forks, 'dag_files': dag_files, 'errors': errors, 'modules': modules}",
    )


def _told_by_a(component: str, *lines: str) -> dict[str, Any]:
    """What a fresh process of Airflow's tells: the modules that it starts with, and what the lines add."""
    program = [
        "import json, sys",
        f"sys.argv = ['airflow', {component!r}]",
        "import airflow",
        "told = {'starts_with': list(sys.modules)}",
        *lines,
        "print(json.dumps(told))",
    ]
    ran = subprocess.run(
        [sys.executable, "-c", "\n".join(program)], env=airflow_env.environment(), capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stderr
    found: dict[str, Any] = json.loads(ran.stdout.strip().splitlines()[-1])
    return found


def test_a_dag_file_loads_neither_steps_nor_what_they_need(told: dict[str, Any]) -> None:
    assert "orchestration" in told["dag_files"]
    assert not {"steps", "dbt", "pandas", "connectors", "scoring"} & set(told["dag_files"])


def test_only_the_scheduler_loads_the_big_libraries_before_it_forks(told: dict[str, Any]) -> None:
    big = {"numpy", "pandas"}
    assert not big & set(told["starts_with"])
    assert big <= set(_told_by_a("scheduler")["starts_with"])


def test_with_workers_on_other_machines_it_is_these_who_fork_tasks(told: dict[str, Any]) -> None:
    assert told["forks"] == list(FORKS_TASKS.values())


def test_airflow_registers_none_of_our_libraries_under_a_bare_name(told: dict[str, Any]) -> None:
    plugins = project_root() / "plugins"
    files = {name: Path(file) for name, file in told["modules"].items() if file}
    ours = {name: file for name, file in files.items() if file.is_relative_to(plugins)}
    assert told["errors"] == {}
    assert "airflow_local_settings" in ours
    for name, file in ours.items():
        assert name == ".".join(file.relative_to(plugins).with_suffix("").parts).removesuffix(".__init__"), name


def _cron(expression: str) -> Any:
    from airflow.sdk import CronTriggerTimetable

    return CronTriggerTimetable(expression, timezone="UTC", run_immediately=False)
