"""The two sides of bench-writeback, each in a process of its own.

org     a Salesforce of the sandbox with so many accounts, until its input ends
night   what a run's last task does: `steps.writeback`
"""

from __future__ import annotations

import sys
import time
import uuid
from pathlib import Path

import orjson

from benchmarks.measure import peak_memory, report, say

SCORE, TIER, SCORED_AT, BECAUSE = "GTM_Score__c", "GTM_Tier__c", "GTM_Scored_At__c", "GTM_Because__c"
FIELD_MAP = [
    {"canonicalField": "combinedScore", "targetField": SCORE},
    {"canonicalField": "tier", "targetField": TIER},
    {"canonicalField": "scoredAt", "targetField": SCORED_AT},
    {"canonicalField": "because", "targetField": BECAUSE},
]


def org(accounts: int, payloads: Path) -> None:
    """What a sync would have read of it goes into a file, line by line."""
    from sandbox.salesforce import Org, serve

    made = Org(seed=7, accounts=1, activities_per_year=1)
    made.add_field("Account", TIER, "picklist", picklist=("Hot", "Warm", "Cool", "Cold"))
    made.add_field("Account", BECAUSE)
    ids = [made.create("Account", Name=f"Company {number}", Industry="Software") for number in range(accounts)]
    truth = made.truth("Account")
    with payloads.open("wb") as file:
        file.writelines(orjson.dumps(truth[record_id]) + b"\n" for record_id in ids)
    with serve(made) as served:
        identity = made.identity
        config = {
            "login_url": served.url,
            "client_id": identity.client_id,
            "client_secret": identity.client_secret,
            "backoff_seconds": 0.1,
        }
        print(orjson.dumps(config).decode(), flush=True)
        sys.stdin.read()


def night(tenant_id: str) -> None:
    from steps import writeback
    from warehouse import lease

    planned: list[float] = []

    def told(line: str) -> None:
        say(f"    {line}")
        if line.endswith("records differ"):
            planned.append(time.perf_counter())

    with lease.hold(tenant_id, "bench", stage="writeback") as held:
        start = time.perf_counter()
        done = writeback.run(tenant_id, f"bench {uuid.uuid4()}", held.fence, report=told)
        seconds = time.perf_counter() - start
    written = done["records"].get("written", 0)
    report(seconds=seconds, planning=planned[0] - start, memory=peak_memory(), written=written)


if __name__ == "__main__":
    if sys.argv[1] == "org":
        org(int(sys.argv[2]), Path(sys.argv[3]))
    else:
        night(sys.argv[2])
