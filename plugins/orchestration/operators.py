"""A tenant's tasks: operators with hardly an argument, for decorated functions take twice as long to parse.

Steps are imported inside them: what they need is neither parsed nor paid for by a DAG file.
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from typing import Any

from airflow.sdk import BaseOperator, Context
from airflow.sdk.exceptions import (
    AirflowFailException,
    AirflowRescheduleException,
    AirflowSkipException,
    DownstreamTasksSkipped,
)

# What takes longer to wait for is waited for without a worker: the task gives it back and comes again.
SECONDS_WITH_A_WORKER = 10
# Whoever waits for a vendor holds up the tenant's other connectors: later than this is the next run's affair.
LONGEST_WAIT = timedelta(minutes=30)


class Extract(BaseOperator):
    """Its pool is that of its vendor: plugins/airflow_local_settings.py"""

    def __init__(self, *, connector: str, **options: Any) -> None:
        super().__init__(**options)
        self.connector = connector

    def execute(self, context: Context) -> dict[str, Any]:
        from steps import pipeline

        asked = context["params"]
        with no_worker_waiting(context):
            summary = pipeline.extract(
                slug(context),
                self.connector,
                run_id(context),
                full=asked["full"],
                streams=asked["streams"],
                patience=SECONDS_WITH_A_WORKER,
            )
        if not summary["streams"] and asked["streams"]:
            raise AirflowSkipException(summary["notes"][0])
        return told(summary)


class Transform(BaseOperator):
    def execute(self, context: Context) -> dict[str, Any]:
        from steps import pipeline

        with no_worker_waiting(context):
            return told(pipeline.transform(slug(context), run_id(context)))


class Score(BaseOperator):
    def execute(self, context: Context) -> dict[str, Any]:
        from steps import pipeline

        asked = context["params"]
        with no_worker_waiting(context):
            summary = pipeline.score(
                slug(context),
                run_id(context),
                as_of(context),
                dry_run=asked["dry_run"],
                # a day that somebody asks for by name is meant
                forwards_only=not asked["as_of"],
                patience=SECONDS_WITH_A_WORKER,
            )
        if not summary["kept"]:
            day, moves = summary["as_of"], summary["would_move"]
            print(f"Nothing is published: scores as of {day} would move like this: {moves}")
            leave_out_the_rest(context, summary)
        return told(summary)


class Publish(BaseOperator):
    def execute(self, context: Context) -> dict[str, Any]:
        from steps import pipeline, quality

        try:
            with no_worker_waiting(context):
                summary = pipeline.publish(slug(context), run_id(context))
        except quality.Breach as breach:
            # the same candidates will not look better in a minute
            raise AirflowFailException(str(breach)) from None
        # a task that looks and skips itself would cost as much as one that works
        if because := pipeline.no_writeback(slug(context)):
            print(f"No writeback: {because}")
            leave_out_the_rest(context, summary)
        return told(summary)


class Writeback(BaseOperator):
    def execute(self, context: Context) -> dict[str, Any]:
        from steps import pipeline

        summary = pipeline.writeback(slug(context), run_id(context))
        if summary["writeback"] == "off":
            raise AirflowSkipException(summary["because"])
        return told(summary)


class Conclude(BaseOperator):
    def __init__(self, *, connectors: Sequence[str], **options: Any) -> None:
        super().__init__(**options)
        self.connectors = connectors

    def execute(self, context: Context) -> None:
        from steps import pipeline

        pipeline.conclude(slug(context), run_id(context))
        if failed := failed_tasks(context, self.connectors):
            raise AirflowFailException(
                f"failed: {', '.join(failed)}. `clarity why-red {slug(context)}` says why and what to do."
            )


def slug(context: Context) -> str:
    return context["dag_run"].dag_id.partition("__")[2]


def run_id(context: Context) -> str:
    """One name for the run across the platform: in the lease, in sync_logs, in control.model_runs."""
    run = context["dag_run"]
    return f"{run.dag_id}/{run.run_id}"


def as_of(context: Context) -> date:
    """The day to score at: the one asked for, else the one that the run is for. A retry gets the same."""
    if asked := context["params"]["as_of"]:
        return date.fromisoformat(asked)
    run = context["dag_run"]
    return (run.logical_date or run.run_after).date()


@contextmanager
def no_worker_waiting(context: Context) -> Iterator[None]:
    """Whatever can't be now is tried again then, by a new process: until then the worker is somebody else's."""
    from steps import pipeline

    try:
        yield
    except pipeline.NotNow as wait:
        began = context["ti"].get_first_reschedule_date(context) or datetime.now(UTC)
        if wait.until - began > LONGEST_WAIT:
            raise
        print(f"Comes again at {wait.until:%H:%M:%S} UTC. {wait}")
        raise AirflowRescheduleException(wait.until) from None  # type: ignore[no-untyped-call]


def told(summary: dict[str, Any]) -> dict[str, Any]:
    """The last words of a task's log: what came of it."""
    print(f"Done: {json.dumps(summary, ensure_ascii=False, default=str)}")
    return summary


def leave_out_the_rest(context: Context, summary: dict[str, Any]) -> None:
    """Ends the task well, and skips what comes next without a process that would find out that there is nothing."""
    task_instance = context["ti"]
    task_instance.xcom_push("return_value", told(summary))
    raise DownstreamTasksSkipped(  # type: ignore[no-untyped-call]
        tasks=sorted(task_instance.task.downstream_task_ids)
    )


def failed_tasks(context: Context, connectors: Sequence[str]) -> list[str]:
    """The tasks of this run that failed, an extract by its connector's name."""
    run, ti = context["dag_run"], context["ti"]
    states = ti.get_task_states(dag_id=run.dag_id, run_ids=[run.run_id])[run.run_id]
    names = {f"extract_{position}": f"extract {connector}" for position, connector in enumerate(connectors)}
    return [names.get(name, name) for name, state in sorted(states.items()) if state == "failed"]
