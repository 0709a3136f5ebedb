"""The vendors of the demo's tenants, all in one process: each tenant's company as each of its systems knows it.

A plan says where they stand and which days have come, so that every start shows the same: `{"days": ["2026-03-10",
"2026-03-17"], "ports": {"tolmarra/salesforce": 41001}}`.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack
from datetime import date
from itertools import pairwise
from pathlib import Path
from typing import Any, Protocol

from sandbox import companies, customerio, delivrai, fathom, graph, salesforce
from sandbox.customerio import Workspace
from sandbox.customerio.workspace import EVERYBODY
from sandbox.delivrai import Index
from sandbox.demo_tenants import DEMO_TENANTS, DemoTenant
from sandbox.fathom import Studio
from sandbox.graph import Directory
from sandbox.graph.world import OWN_DOMAIN
from sandbox.salesforce import Org
from sandbox.view import HISTORY

# what is researched in the invented world that a seller of software would like to hear of
TOPICS = ("planning-software", "supplier-comparison", "automation", "compliance")
# whose visits are told
WEBSITE = "1d7b5e3c-7a9e-4e31-91a8-0b2d9f2b7a10"


class World(Protocol):
    def advance(self, days: int = 0, seconds: int = 0) -> None:
        """Time passes, and the company goes on."""


MADE: Mapping[str, Callable[..., Any]] = {
    "salesforce": Org,
    "customerio": Workspace,
    "o365": Directory,
    "fathom": Studio,
    "delivrai": Index,
}
SERVED: Mapping[str, Callable[..., AbstractContextManager[Any]]] = {
    "salesforce": salesforce.serve,
    "customerio": customerio.serve,
    "o365": graph.serve,
    "fathom": fathom.serve,
    "delivrai": delivrai.serve,
}


def places() -> Iterator[str]:
    """What needs a port: `tolmarra/salesforce` and so on."""
    for tenant in DEMO_TENANTS:
        yield from (f"{tenant.slug}/{source}" for source in tenant.sources if source in MADE)


def connector_config(source: str, port: int) -> dict[str, Any]:
    """What a connector needs to come in, secrets included."""
    url = f"http://127.0.0.1:{port}"
    application = {"client_id": "sandbox-client", "client_secret": "sandbox-secret"}  # pragma: allowlist secret
    match source:
        case "salesforce":
            return {"login_url": url, **application}
        case "customerio":
            key = "sandbox-app-key"  # pragma: allowlist secret
            return {"base_url": url, "api_key": key, "people_segment": EVERYBODY}
        case "o365":
            way_in = {"directory_id": "sandbox-directory", **application}
            return {"base_url": f"{url}/v1.0", "login_url": url, "own_domain": OWN_DOMAIN, **way_in}
        case "delivrai":
            key, pair = "sandbox-delivrai-key", "sandbox-delivrai-secret"  # pragma: allowlist secret
            # not `contacts`: whom it asks about is known after the first run alone, so that the second would be another
            streams = ["people_intent", "company_intent", "visits"]
            asked = {"topics": TOPICS, "min_score": "medium", "project_id": WEBSITE}
            return {"base_url": url, "api_key": key, "api_secret": pair, "streams": streams, **asked}
        case _:
            # a real Fathom would be read for an hour at its sixty calls a minute
            key = "sandbox-fathom-key"  # pragma: allowlist secret
            return {"base_url": f"{url}/external/v1", "api_key": key, "calls_per_minute": 6_000}


def domains(tenant: DemoTenant, began: date) -> tuple[str, ...]:
    """Those of the companies that the tenant sells to."""
    company = companies.generate(tenant.seed, tenant.accounts, began, since=began - HISTORY, market=tenant.market)
    return tuple(sorted({account.domain for account in company.accounts if account.domain}))


def stand(plan: Path) -> AbstractContextManager[Any]:
    """All of them at their ports, with every day of the plan behind them."""
    told = json.loads(plan.read_text(encoding="utf-8"))
    days = [date.fromisoformat(day) for day in told["days"]]
    tenants = {tenant.slug: tenant for tenant in DEMO_TENANTS}
    with ExitStack() as standing:
        for place, port in told["ports"].items():
            slug, _, source = place.partition("/")
            standing.enter_context(SERVED[source](world(source, tenants[slug], days), port=port))
        return standing.pop_all()


def world(source: str, tenant: DemoTenant, days: list[date]) -> World:
    """The tenant's company as this vendor knows it on the last of these days."""
    made: World = MADE[source](tenant.seed, tenant.accounts, today=days[0], market=tenant.market)
    # as it was shown before: a week in one step might tell of it otherwise than seven days
    for earlier, later in pairwise(days):
        made.advance(days=(later - earlier).days)
    return made
