"""A DAG per tenant with a task per model, as Cosmos makes it of our dbt project; see benchmarks/fleet_cosmos.py."""

import json
import os
from datetime import UTC, datetime
from pathlib import Path

from airflow.sdk import get_parsing_context

# only the peer's environment has it
from cosmos import (  # type: ignore[import-not-found]
    DbtDag,
    ExecutionConfig,
    ExecutionMode,
    ProfileConfig,
    ProjectConfig,
    RenderConfig,
)
from cosmos.constants import InvocationMode, LoadMode, TestBehavior  # type: ignore[import-not-found]

told = json.loads(Path(os.environ["CLARITY_BENCH_FLEET"]).read_text())
project = Path(told["project"])
wanted = get_parsing_context().dag_id

for slug, tenant in told["tenants"].items():
    dag_id = f"by_model__{slug}"
    if wanted in (None, dag_id):
        globals()[dag_id] = DbtDag(
            dag_id=dag_id,
            schedule=None,
            start_date=datetime(2026, 3, 10, tzinfo=UTC),
            params={"as_of": None},
            default_args={"retries": 2},
            max_active_runs=1,
            project_config=ProjectConfig(project, manifest_path=told["manifest"], install_dbt_deps=False),
            profile_config=ProfileConfig("clarity", "run", profiles_yml_filepath=project / "profiles.yml"),
            execution_config=ExecutionConfig(
                execution_mode=ExecutionMode.LOCAL, invocation_mode=InvocationMode.DBT_RUNNER
            ),
            # the tests that a run of ours makes go with their models in a run of Cosmos only as tasks of their own:
            # they are left out here, in its favour
            render_config=RenderConfig(
                load_method=LoadMode.DBT_MANIFEST,
                select=["config.materialized:incremental"],
                test_behavior=TestBehavior.NONE,
                emit_datasets=False,
            ),
            operator_args={"vars": tenant["vars"], "env": tenant["environment"], "append_env": True},
        )
