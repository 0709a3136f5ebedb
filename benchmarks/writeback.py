"""What writing scores back costs: seconds to plan, calls to send, memory; `make bench-writeback`.

Everything is made for the run and gone afterwards: a database server, a Salesforce of the sandbox, a tenant for each
size that has read it and scored it.
"""

import argparse
import json
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from benchmarks.measure import PROJECT, ran, say
from benchmarks.writeback_step import FIELD_MAP
from control import settings, writeback_configs
from steps import deploy, provision, writeback_targets
from tests.conftest import temporary_home
from warehouse import database

SIZES = (1_000, 10_000, 100_000)
ACTOR = "system:bench"
FIRST, AGAIN, MOVED = "a first night", "nothing new", "1 % moved"

# Collections take 200 records a call; a job is made, filled and started.
RECORDS_PER_CALL, RECORDS_WORTH_A_JOB, CALLS_PER_JOB = 200, 10_000, 3
PLANNING_SECONDS, MEGABYTES = 10, 300


@dataclass(frozen=True)
class Result:
    contender: str
    records: int
    seconds: float
    planning: float
    memory: float
    written: int
    writing_calls: int
    calls: int

    @property
    def fewest(self) -> int:
        """The writing calls that the API needs for so many records at the least."""
        return CALLS_PER_JOB if self.written > RECORDS_WORTH_A_JOB else -(-self.written // RECORDS_PER_CALL)


def measure(sizes: list[int]) -> list[Result]:
    results: list[Result] = []
    with temporary_home(), tempfile.TemporaryDirectory(prefix="clarity-bench-") as folder:
        say("starting a database server of its own")
        deploy.run(report=lambda _line: None)
        for records in sizes:
            say(f"{records:,} accounts")
            with _org(records, Path(folder)) as (config, payloads):
                tenant_id = _tenant(records, config, payloads)
                for contender in (FIRST, AGAIN, MOVED):
                    if contender == MOVED:
                        _move(tenant_id)
                    _tidied()
                    results.append(_ran(contender, records, tenant_id, config["login_url"]))
    return results


@contextmanager
def _org(records: int, folder: Path) -> Iterator[tuple[dict[str, Any], Path]]:
    payloads = folder / f"{records}.jsonl"
    command = [sys.executable, "-m", "benchmarks.writeback_step", "org", str(records), str(payloads)]
    with subprocess.Popen(command, cwd=PROJECT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield json.loads(process.stdout.readline()), payloads
        finally:
            process.kill()


def _tenant(records: int, config: dict[str, Any], payloads: Path) -> str:
    slug = f"bench_{records}"
    tenant_id = provision.create_tenant(slug, slug, actor=ACTOR)
    provision.add_connector(tenant_id, "salesforce", config, actor=ACTOR)
    with database.connect(database.admin_conninfo()) as admin:
        admin.execute("set local session_replication_role = replica")
        admin.execute("create temporary table told (payload jsonb) on commit drop")
        # a separator and a quote that no payload holds: a line is a payload
        with (
            admin.cursor().copy("copy told from stdin (format csv, delimiter e'\\x01', quote e'\\x02')") as copy,
            payloads.open("rb") as file,
        ):
            while block := file.read(1 << 20):
                copy.write(block)
        for statement in STATEMENTS:
            admin.execute(statement.encode(), {"tenant": tenant_id})
    writeback_configs.put(tenant_id, "salesforce", "accounts", {"field_map": FIELD_MAP, "policies": {}}, actor=ACTOR)
    writeback_targets.enable(tenant_id, "salesforce", "accounts", actor=ACTOR)
    settings.change(tenant_id, actor=ACTOR, assignments=["features.writeback=true"])
    return tenant_id


STATEMENTS = (
    """
    insert into canonical.accounts (id, tenant_id, name, source, external_id, source_data)
    select md5(%(tenant)s || (payload ->> 'Id'))::uuid::text, %(tenant)s, payload ->> 'Name', 'salesforce',
        payload ->> 'Id', payload
    from told
    """,
    """
    insert into scores.engagements (
        id, tenant_id, entity_type, entity_id, fit_score, engagement_score, combined_score, tier, score_breakdown
    )
    select md5('score' || id)::uuid::text, %(tenant)s, 'account', id, drawn.score, drawn.score, drawn.score,
        case when drawn.score >= 50 then 'hot' else 'cold' end,
        jsonb_build_object('because', 'of a demo request three days ago and four visits of the pricing page')
    from canonical.accounts
    cross join lateral (select round((hashtext(id) & 1023) / 10.24, 1) as score) as drawn
    where tenant_id = %(tenant)s
    """,
)


def _move(tenant_id: str) -> None:
    with database.connect(database.admin_conninfo(), autocommit=True) as admin:
        admin.execute(
            "update scores.engagements set combined_score = (combined_score + 30) %% 100 where tenant_id = %s"
            " and hashtext(id) %% 100 = 0",
            [tenant_id],
        )


def _tidied() -> None:
    with database.connect(database.admin_conninfo(), autocommit=True) as admin:
        for table in (
            "canonical.accounts",
            "scores.engagements",
            "scores.writeback_receipts",
            "scores.writeback_records",
        ):
            admin.execute(f"vacuum analyze {table}".encode())
        admin.execute("checkpoint")


def _ran(contender: str, records: int, tenant_id: str, url: str) -> Result:
    before = len(_calls(url))
    figures = ran([sys.executable, "-m", "benchmarks.writeback_step", "night", tenant_id])
    made = [call for call in _calls(url)[before:] if "/oauth2" not in call["path"]]
    writing = [
        call
        for call in made
        if call["method"] in ("PATCH", "PUT", "POST") and "/composite/sobjects/" not in call["path"]
    ]
    result = Result(contender, records, writing_calls=len(writing), calls=len(made), **figures)
    say(
        f"  {contender}: planned in {result.planning:.1f} s, done in {result.seconds:.1f} s, {result.calls} calls,"
        f" {result.memory:.0f} MB"
    )
    return result


def _calls(url: str) -> list[dict[str, Any]]:
    told: list[dict[str, Any]] = httpx.get(f"{url}/_sandbox/calls", timeout=120).raise_for_status().json()
    return told


def table(results: list[Result]) -> str:
    lines = [
        "| | records | written | planned in | done in | calls | of them writing | fewest possible | peak memory |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    lines += [
        f"| {it.contender} | {it.records:,} | {it.written:,} | {it.planning:.1f} s | {it.seconds:.1f} s | {it.calls}"
        f" | {it.writing_calls} | {it.fewest} | {it.memory:.0f} MB |"
        for it in results
    ]
    return "\n".join(lines)


def verdicts(results: list[Result]) -> list[tuple[str, bool]]:
    planning, memory = max(it.planning for it in results), max(it.memory for it in results)
    return [
        (f"planned in {planning:.1f} s; under {PLANNING_SECONDS} s promised", planning < PLANNING_SECONDS),
        (
            "as few writing calls as the API allows; no more promised",
            all(it.writing_calls <= it.fewest for it in results),
        ),
        (f"{memory:.0f} MB of memory; under {MEGABYTES} MB promised", memory < MEGABYTES),
    ]


def main() -> int:
    parser = argparse.ArgumentParser(prog="make bench-writeback", description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, metavar="RECORDS", help="default: %(default)s")
    arguments = parser.parse_args()
    if min(arguments.sizes) < 1:
        parser.error("a size is a number of records, 1 or more")
    # also who is ended leaves nothing behind
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended"))
    results = measure(sorted(set(arguments.sizes)))
    print(f"\n{table(results)}\n")
    outcome = verdicts(results)
    for sentence, is_kept in outcome:
        print(f"{'kept' if is_kept else 'BROKEN'}: {sentence}")
    return 0 if all(is_kept for _, is_kept in outcome) else 1


if __name__ == "__main__":
    sys.exit(main())
