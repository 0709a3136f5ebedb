"""What a run tells of itself while it goes: lineage (steps/lineage.py), metrics, and whose a line in the log is.

Metrics go to StatsD over UDP, to the address that Airflow's own go to (AIRFLOW__METRICS__STATSD_ON, _HOST, _PORT):

    clarity.rows_landed.<tenant>.<connector>.<stream>     versions that landed                                counter
    clarity.rows_refused.<tenant>.<connector>.<stream>    records that went to quarantine                     counter
    clarity.stage.<tenant>.<stage>                        how long a stage of a run took                      timer
    clarity.stage_failed.<tenant>.<stage>                 that it failed                                      counter
    clarity.model.<tenant>.<model>                        how long a model took                               timer
    clarity.model_rows.<tenant>.<model>                   rows that it wrote                                  counter
    clarity.scores_moved.<tenant>                         published scores that are others than before        counter
    clarity.data_age.<tenant>.<connector>                 seconds since a sync last ended well                gauge
    clarity.score_age.<tenant>                            seconds since scores were last published            gauge

A packet that nobody takes is lost, and no run waits for it.
"""

import os
import re
import socket
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from typing import Any, Protocol

import psycopg

from connectors import catalogue
from control import registry
from steps import lineage
from steps.lineage import Dataset, Job
from warehouse import database
from warehouse.errors import ClarityError, NotNow

PREFIX = "clarity"
# what fits into one packet on any network
PACKET = 1_400

READS: dict[str, tuple[str, ...]] = {
    "score": (
        "canonical.accounts",
        "canonical.people",
        "canonical.opportunities",
        "rollups.rollup_person_signals_daily",
        "rollups.rollup_opportunity_facts",
        "rollups.rollup_opportunity_contacts",
    ),
    "publish": ("scores.score_candidates",),
    "writeback": ("scores.engagements",),
}
WRITES: dict[str, tuple[str, ...]] = {
    "score": ("scores.score_candidates",),
    "publish": ("scores.engagements", "scores.score_history", "scores.buying_groups", "scores.buying_group_members"),
    "writeback": ("scores.writeback_receipts",),
}


class ModelResult(Protocol):
    @property
    def model(self) -> str: ...
    @property
    def status(self) -> str: ...
    @property
    def rows(self) -> int: ...
    @property
    def seconds(self) -> float: ...
    @property
    def message(self) -> str: ...


@contextmanager
def stage(slug: str, run_id: str, name: str) -> Iterator[None]:
    """A stage of a tenant's run, from its beginning to its end or its failure."""
    started = time.monotonic()
    with ExitStack() as lines:
        # Airflow's log is made of such lines already; nobody else pays for the library
        if structlog := sys.modules.get("structlog"):
            lines.enter_context(structlog.contextvars.bound_contextvars(tenant=slug, run=run_id, stage=name))
        job = _job(slug, run_id, name) if lineage.is_on() else None
        if job:
            lineage.tell([job.event("START", datetime.now(UTC))])
        try:
            yield
        except BaseException as error:
            # who comes back later, or is told to stop, has not failed
            failed = isinstance(error, Exception) and not isinstance(error, NotNow)
            if failed:
                _count([f"stage_failed.{slug}.{name}:1|c"])
            if job:
                kind: lineage.Kind = "FAIL" if failed else "ABORT"
                lineage.tell([job.event(kind, datetime.now(UTC), error=_sentence(error))])
            raise
        _count([f"stage.{slug}.{name}:{1000 * (time.monotonic() - started):.0f}|ms"])
        if job:
            lineage.tell([job.event("COMPLETE", datetime.now(UTC))])


def landed(slug: str, connector: str, streams: Mapping[str, Mapping[str, int]]) -> None:
    """What a sync has landed, by stream."""
    for stream, counts in streams.items():
        rows = counts["created"] + counts["updated"] + counts["deleted"]
        _count(
            [
                f"rows_landed.{slug}.{connector}.{stream}:{rows}|c",
                f"rows_refused.{slug}.{connector}.{stream}:{counts['failed']}|c",
            ]
        )


def models(slug: str, run_id: str, results: Sequence[ModelResult], statements: Callable[[str], Iterable[str]]) -> None:
    """What each model did. `statements` are those by which a model writes: they name what it reads."""
    _count(
        line
        for result in results
        for line in (
            f"model.{slug}.{result.model}:{1000 * result.seconds:.0f}|ms",
            f"model_rows.{slug}.{result.model}:{result.rows}|c",
        )
    )
    if not lineage.is_on():
        return
    ended, place = datetime.now(UTC), _postgres()
    events = []
    for result in results:
        if result.status == "skipped":
            continue
        named = lineage.relations_in(statements(result.model))
        own = [name for name in named if name.endswith(f".{result.model}")]
        job = Job(
            f"{slug}.transform.{result.model}",
            "MODEL",
            run_id,
            slug,
            inputs=[Dataset(place, name) for name in named if name not in own],
            outputs=[Dataset(place, name, result.rows) for name in own],
        )
        events.append(job.event("START", datetime.fromtimestamp(ended.timestamp() - result.seconds, UTC)))
        failed = result.status != "success"
        events.append(job.event("FAIL" if failed else "COMPLETE", ended, error=result.message if failed else ""))
    lineage.tell(events)


def published(slug: str, counts: Mapping[str, int]) -> None:
    _count([f"scores_moved.{slug}:{counts['moved']}|c"])


def freshness(*, report: Callable[[str], None] = lambda _line: None) -> dict[str, Any]:
    """Tell how old the data and the scores of every tenant are; of paused ones nobody expects fresh ones."""
    if _statsd() is None:
        return {"metrics": "off", "because": "AIRFLOW__METRICS__STATSD_ON is not true: there is nobody to tell"}
    lines: list[str] = []
    unknown: list[str] = []
    for tenant in registry.everybody():
        if tenant.paused:
            continue
        try:
            with database.run_session(tenant.id, application="freshness") as connection:
                lines += _ages(connection, tenant.id, tenant.slug)
        except (ClarityError, psycopg.Error) as error:
            unknown.append(tenant.slug)
            report(f"{tenant.slug}: {error}")
    _count(lines)
    return {"metrics": "on", "told": len(lines), "unknown": unknown}


def _ages(connection: psycopg.Connection, tenant_id: str, slug: str) -> list[str]:
    rows = connection.execute(
        "select 'data_age.' || %(slug)s || '.' || type, last_sync_at from control.connectors"
        " where tenant_id = %(tenant)s union all"
        " select 'score_age.' || %(slug)s, max(scored_at) from scores.engagements where tenant_id = %(tenant)s",
        {"slug": slug, "tenant": tenant_id},
    ).fetchall()
    now = datetime.now(UTC)
    return [f"{name}:{max(0.0, (now - at).total_seconds()):.0f}|g" for name, at in rows if at is not None]


def _job(slug: str, run_id: str, name: str) -> Job:
    kind, _, connector = name.partition(" ")
    place = _postgres()
    if kind == "extract":
        streams = [stream.name for stream in catalogue.streams(connector)]
        inputs = [Dataset(connector, stream) for stream in streams]
        outputs = [Dataset(place, f"{database.database_name()}.raw.{connector}__{stream}") for stream in streams]
    else:
        inputs, outputs = (
            [Dataset(place, f"{database.database_name()}.{table}") for table in tables.get(kind, ())]
            for tables in (READS, WRITES)
        )
    return Job(f"{slug}.{name.replace(' ', '.')}", "TASK", run_id, slug, inputs, outputs)


def _postgres() -> str:
    from psycopg.conninfo import conninfo_to_dict

    parameters = conninfo_to_dict(database.registry_conninfo())
    return f"postgres://{parameters.get('host', 'localhost')}:{parameters.get('port', 5432)}"


def _sentence(error: BaseException) -> str:
    return str(error).partition("\n")[0] or type(error).__name__


def _statsd() -> tuple[str, int] | None:
    if os.environ.get("AIRFLOW__METRICS__STATSD_ON", "").lower() not in ("true", "1", "t"):
        return None
    port = os.environ.get("AIRFLOW__METRICS__STATSD_PORT", "8125")
    return os.environ.get("AIRFLOW__METRICS__STATSD_HOST", "localhost"), int(port) if port.isdecimal() else 8125


def _count(lines: Iterable[str]) -> None:
    """Send lines of metrics, as many in a packet as fit."""
    address = _statsd()
    if address is None:
        return
    packet = b""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as courier:
        for line in (f"{PREFIX}.{_clean(line)}".encode() for line in lines):
            if packet and len(packet) + 1 + len(line) > PACKET:
                _send(courier, packet, address)
                packet = b""
            packet += (b"\n" if packet else b"") + line
        if packet:
            _send(courier, packet, address)


def _clean(line: str) -> str:
    """A stage's name has a blank in it, and a metric's can't."""
    return re.sub(r"[^A-Za-z0-9_.:|+-]", ".", line)


def _send(courier: socket.socket, packet: bytes, address: tuple[str, int]) -> None:
    try:
        courier.sendto(packet, address)
    except OSError:
        lineage.log.debug("nobody takes metrics at %s:%s", *address)
