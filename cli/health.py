"""Whether one process of the platform is well: `python -m cli.health NAME`, for the health checks of containers.

It runs every half a minute beside each of them, so it imports nothing but the standard library: 0.1 s of a processor,
where Airflow's own check takes 3.
"""

import json
import os
import sys
import urllib.error
import urllib.request
from datetime import UTC, datetime
from typing import Any

OLDEST_HEARTBEAT = 60.0
PATIENCE = 5
# past any proxy: these are neighbours
_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def trouble(name: str) -> str | None:
    """What is wrong with it, None if nothing is."""
    if name == "webhooks":
        return None if _ask("http://127.0.0.1:8065/health") is not None else "it does not answer"
    health = _ask(f"{os.environ['CLARITY_AIRFLOW_URL']}/api/v2/monitor/health")
    if health is None:
        return "Airflow's API server does not answer"
    told = json.loads(health)
    if told["metadatabase"]["status"] != "healthy":
        return "Airflow has lost its database"
    return None if name == "api-server" else _late(told.get(name.replace("-", "_")) or {}, name)


def _late(told: dict[str, Any], name: str) -> str | None:
    beat = told.get(f"latest_{name.replace('-', '_')}_heartbeat")
    if not beat:
        return "it has never given a heartbeat"
    age = (datetime.now(UTC) - datetime.fromisoformat(beat)).total_seconds()
    return f"its last heartbeat is {age:.0f} s old" if age > OLDEST_HEARTBEAT else None


def _ask(address: str) -> bytes | None:
    try:
        with _opener.open(address, timeout=PATIENCE) as answer:
            content: bytes = answer.read()
            return content
    except (urllib.error.URLError, OSError):
        return None


if __name__ == "__main__":
    found = trouble(sys.argv[1])
    print(found or "well")
    sys.exit(1 if found else 0)
