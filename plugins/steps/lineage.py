"""Lineage: OpenLineage events of what a run reads and writes, stage by stage and model by model.

Runs go by plans and not by dbt, so nobody else could tell of them. Off unless an address is given, by the variables
that every producer of OpenLineage knows:

    OPENLINEAGE_URL                              where events are sent: OPENLINEAGE_ENDPOINT, api/v1/lineage by default,
                                                 with OPENLINEAGE_API_KEY if it asks for one
    OPENLINEAGE__TRANSPORT__TYPE=file            or a file, a line each: OPENLINEAGE__TRANSPORT__LOG_FILE_PATH
    OPENLINEAGE_NAMESPACE                        whose jobs they are, clarity by default
    OPENLINEAGE_DISABLED=true                    not now

What can't be told is noted in the log and fails no run.
"""

import logging
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal
from uuid import UUID, uuid4, uuid5

import orjson

log = logging.getLogger(__name__)

PRODUCER = "urn:gtm-clarity"
SPECIFICATION = "https://openlineage.io/spec"
RUN_EVENT = f"{SPECIFICATION}/2-0-2/OpenLineage.json#/$defs/RunEvent"
FACETS = {
    "parent": "1-1-0/ParentRunFacet.json#/$defs/ParentRunFacet",
    "errorMessage": "1-0-1/ErrorMessageRunFacet.json#/$defs/ErrorMessageRunFacet",
    "jobType": "2-0-3/JobTypeJobFacet.json#/$defs/JobTypeJobFacet",
    "outputStatistics": "1-0-2/OutputStatisticsOutputDatasetFacet.json#/$defs/OutputStatisticsOutputDatasetFacet",
}
RUNS = UUID("4a0d2f52-0a52-4c3e-8a39-6c1d6a5a3a10")
PATIENCE_SECONDS = 3.0

Kind = Literal["START", "COMPLETE", "FAIL", "ABORT"]

# what dbt calls a relation in the statements of a plan
_RELATION = re.compile(r'"(\w+)"\."(\w+)"\."(\w+)"')


@dataclass(frozen=True)
class Dataset:
    """A table, or whatever a vendor calls what we read. `rows` is how many were written this time."""

    namespace: str
    name: str
    rows: int | None = None


@dataclass(frozen=True)
class Job:
    """One execution of one thing: a stage of a tenant's run, or a model in it."""

    name: str
    kind: str
    run: str
    parent: str
    inputs: Sequence[Dataset] = ()
    outputs: Sequence[Dataset] = ()
    id: UUID = field(default_factory=uuid4)

    def event(self, kind: Kind, at: datetime, *, error: str = "") -> dict[str, Any]:
        facets = {
            # the whole run, by the name that it has in sync_logs and model_runs
            "parent": _facet(
                "parent",
                run={"runId": str(uuid5(RUNS, self.run))},
                job={"namespace": _namespace(), "name": self.parent},
            )
        }
        if error:
            facets["errorMessage"] = _facet("errorMessage", message=error, programmingLanguage="Python")
        return {
            "eventType": kind,
            "eventTime": at.astimezone(UTC).isoformat(),
            "run": {"runId": str(self.id), "facets": facets},
            "job": {
                "namespace": _namespace(),
                "name": self.name,
                "facets": {
                    "jobType": _facet("jobType", processingType="BATCH", integration="CLARITY", jobType=self.kind)
                },
            },
            "inputs": [{"namespace": one.namespace, "name": one.name} for one in self.inputs],
            "outputs": [_output(one) for one in self.outputs],
            "producer": PRODUCER,
            "schemaURL": RUN_EVENT,
        }


def is_on() -> bool:
    return bool(_address() or _file()) and os.environ.get("OPENLINEAGE_DISABLED", "").lower() not in ("true", "1")


def relations_in(statements: Iterable[str]) -> list[str]:
    """The relations that statements of a plan name, as database.schema.table."""
    return sorted({".".join(found) for statement in statements for found in _RELATION.findall(statement)})


def tell(events: Sequence[dict[str, Any]]) -> None:
    """Hand the events over. One that is not taken is noted, and the rest of them is not tried either."""
    if not events or not is_on():
        return
    try:
        if address := _address():
            for event in events:
                _post(address, event)
        elif file := _file():
            # one write in append mode: lines of processes that write at a time stay whole
            with file.open("ab", buffering=0) as stream:
                stream.write(b"".join(orjson.dumps(event) + b"\n" for event in events))
    except (OSError, ValueError) as error:
        log.warning("%d lineage events were not taken: %s", len(events), type(error).__name__)


def _output(dataset: Dataset) -> dict[str, Any]:
    told: dict[str, Any] = {"namespace": dataset.namespace, "name": dataset.name}
    if dataset.rows is not None:
        told["outputFacets"] = {"outputStatistics": _facet("outputStatistics", rowCount=dataset.rows)}
    return told


def _facet(name: str, **content: Any) -> dict[str, Any]:
    return {"_producer": PRODUCER, "_schemaURL": f"{SPECIFICATION}/facets/{FACETS[name]}", **content}


def _namespace() -> str:
    return os.environ.get("OPENLINEAGE_NAMESPACE") or "clarity"


def _address() -> str:
    url = os.environ.get("OPENLINEAGE_URL", "").rstrip("/")
    endpoint = os.environ.get("OPENLINEAGE_ENDPOINT", "api/v1/lineage").lstrip("/")
    return f"{url}/{endpoint}" if url.startswith(("http://", "https://")) else ""


def _file() -> Path | None:
    if os.environ.get("OPENLINEAGE__TRANSPORT__TYPE", "").lower() != "file":
        return None
    path = os.environ.get("OPENLINEAGE__TRANSPORT__LOG_FILE_PATH", "")
    return Path(path) if path else None


def _post(address: str, event: dict[str, Any]) -> None:
    from urllib.request import Request, urlopen  # whoever tells nobody does not pay for it

    headers = {"Content-Type": "application/json"}
    if key := os.environ.get("OPENLINEAGE_API_KEY"):
        headers["Authorization"] = f"Bearer {key}"
    request = Request(address, orjson.dumps(event), headers, method="POST")  # noqa: S310 - the address begins with http
    with urlopen(request, timeout=PATIENCE_SECONDS):  # noqa: S310
        """Taken."""
