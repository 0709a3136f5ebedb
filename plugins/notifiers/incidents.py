"""A run has ended: who has to know is told.

It hangs on the last task, in whose process it costs next to nothing, and on the failure of the whole run, which the
dag-processor notices even where the last task was killed or never began. Twice is no harm: an incident is told once.
"""

from typing import Any

from airflow.configuration import conf
from airflow.sdk import BaseNotifier
from airflow.sdk.definitions.context import Context


class TellOfIncidents(BaseNotifier):
    """For a tenant's run. `is_failure` says whether it hangs on a success or on a failure."""

    def __init__(self, slug: str, *, is_failure: bool) -> None:
        super().__init__()
        self.slug = slug
        self.is_failure = is_failure

    def notify(self, context: Context) -> None:
        from steps import alerts

        alerts.settle(
            self.slug,
            _run_of(context),
            _why(context) if self.is_failure else "",
            airflow=conf.get("api", "base_url", fallback=""),
        )


def _run_of(context: Context) -> str:
    """The name of the run across the platform."""
    known: Any = context
    return f"{known['dag'].dag_id}/{known['run_id']}"


def _why(context: Context) -> str:
    """What Airflow knows of it."""
    known: Any = context
    return str(known.get("exception") or known.get("reason") or "it failed")
