"""What `clarity demo` does: three tenants, from their vendors and files to scores in a browser, in the real Airflow.

The demo's world has a clock of its own, set on the day it is first run: run again, nothing has changed and nothing is
written. `clarity demo advance DAYS` lets time pass in it. The vendors are stand-ins, up for as long as Airflow is.
"""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from rich.live import Live
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table

from cli import airflow_env, platform, vendors
from cli.airflow_api import SETTLED, Airflow
from cli.context import Context, console
from control import bi_users, consent, registry
from sandbox import companies, demo_vendors
from sandbox.demo_tenants import DEMO_TENANTS, DemoTenant
from steps import provision
from warehouse import database
from warehouse.database import Login
from warehouse.errors import ClarityError
from warehouse.home import home, write_private

STAGES = ("extract", "transform", "score", "publish", "writeback")
SHOWN_ACCOUNTS = 4
PATIENCE_SECONDS = 240
DAG_PATIENCE_SECONDS = 90
MARKS = {
    "success": "[green]✓[/green]",
    "failed": "[red]✗[/red]",
    "upstream_failed": "[red]·[/red]",
    "skipped": "[dim]-[/dim]",
    "running": "[yellow]●[/yellow]",
    "up_for_retry": "[yellow]↻[/yellow]",
}
TIER_COLOURS = {"hot": "red", "warm": "yellow", "cool": "cyan", "cold": "blue"}


def run(here: Context, days: int = 0) -> None:
    """Score the demo's tenants as of the day that its clock shows, moved on by so many days."""
    today = (_clock() or _today()) + timedelta(days=days)
    began = time.monotonic()
    with platform.progress(here) as report:
        plan = vendors.plan(() if airflow_env.is_in_container() else demo_vendors.places(), today)
        address = platform.start(report)
        for tenant in _tenants():
            report(f"making {tenant.name}")
            _provision(tenant, plan, here.actor)
    _set_clock(today)
    # a world that is asleep is scored as of today all the same: signals decay while nobody looks
    runs = _score_all(here, max(today, _today()))
    results = {tenant.slug: _top_accounts(tenant) for tenant in _tenants()}
    if here.as_json:
        here.say("", airflow=address, runs=runs, top_accounts=results)
        return
    for tenant in _tenants():
        _show(tenant, results[tenant.slug])
    _show_doors(address, time.monotonic() - began)


def _tenants() -> Sequence[DemoTenant]:
    """In containers all are read from files: to a worker there, a stand-in on this one's loopback is nowhere."""
    if airflow_env.is_in_container():
        return [replace(tenant, sources=("files",)) for tenant in DEMO_TENANTS]
    return DEMO_TENANTS


def _provision(tenant: DemoTenant, plan: vendors.Plan, actor: str) -> None:
    first, today = (date.fromisoformat(plan.days[place]) for place in (0, -1))
    known = {entry.slug: entry.id for entry in registry.everybody()}
    tenant_id = known.get(tenant.slug) or provision.create_tenant(
        tenant.name, tenant.slug, actor=actor, timezone=tenant.timezone
    )
    for source in tenant.sources:
        if source == "files":
            folder = home() / "demo" / tenant.slug
            _write_world(folder, tenant, today)
            config: dict[str, Any] = {"folder": str(folder)}
        else:
            config = demo_vendors.connector_config(source, plan.ports[f"{tenant.slug}/{source}"])
        provision.add_connector(tenant_id, source, config, actor=actor)
    if "o365" in tenant.sources:
        # whose mail may be read, and what was said in meetings, is for somebody to decide; here it is the demo
        consent.accept_dpa(tenant_id, "the demo", actor=actor)
        consent.allow_domains(tenant_id, demo_vendors.domains(tenant, first), actor=actor)
    provision.set_scoring_config(tenant_id, "fit", tenant.ideal_customer.fit_config(), actor=actor)


def _write_world(folder: Path, tenant: DemoTenant, today: date) -> None:
    if (folder / companies.WORLD_FILE).exists():
        company = companies.read_world(folder)
        days = (today - company.world.today).days
        if days == 0:
            return
        company = companies.advance(company, days)
    else:
        company = companies.generate(tenant.seed, tenant.accounts, today, market=tenant.market)
    companies.write_csv(folder, company)


def _score_all(here: Context, as_of: date) -> dict[str, str]:
    airflow = Airflow()
    dags = {tenant.slug: f"pipeline__{tenant.slug}" for tenant in _tenants()}
    with platform.progress(here) as report:
        report("waiting for Airflow to find the three tenants")
        _wait(
            lambda: all(
                airflow.has_dag(dags[tenant.slug], tag=f"source:{source}")
                for tenant in _tenants()
                for source in tenant.sources
            ),
            DAG_PATIENCE_SECONDS,
            "find the demo's DAGs",
        )
    runs = {slug: airflow.trigger(dag, {"as_of": as_of.isoformat()}) for slug, dag in dags.items()}
    deadline = time.monotonic() + PATIENCE_SECONDS
    with Live(console=console, refresh_per_second=4, transient=here.as_json) as live:
        while True:
            states = {slug: airflow.run_state(dags[slug], run) for slug, run in runs.items()}
            if not here.as_json:
                live.update(_grid({slug: airflow.tasks(dags[slug], run) for slug, run in runs.items()}, states))
            if all(state in SETTLED for state in states.values()):
                break
            if time.monotonic() > deadline:
                raise ClarityError(f"the runs did not end within {PATIENCE_SECONDS} s: {_where_to_look()}")
            time.sleep(0.5)
    failed = [slug for slug, state in states.items() if state != "success"]
    if failed:
        raise ClarityError(f"the runs of {', '.join(failed)} failed: {_where_to_look()}")
    return runs


def _grid(tasks: dict[str, Any], states: dict[str, str]) -> Table:
    grid = Table("tenant", *STAGES, "run", box=None, header_style="dim")
    for tenant in _tenants():
        found = {task.name: task.state for task in tasks[tenant.slug]}
        marks = (MARKS.get(found.get(stage) or "", "[dim]·[/dim]") for stage in STAGES)
        grid.add_row(escape(tenant.name), *marks, states[tenant.slug])
    return grid


def _top_accounts(tenant: DemoTenant) -> list[dict[str, Any]]:
    """The best accounts, read as a BI tool reads them: from the mart, through a login that sees this tenant alone."""
    with database.connect(database.conninfo(_bi_login(tenant))) as connection:
        rows = connection.execute(
            "select name, fit::float8, engagement::float8, combined::float8, tier, because, to_be_hot"
            " from marts.mart_revenue__scores where entity_type = 'account'"
            " order by combined desc, name limit %s",
            [SHOWN_ACCOUNTS],
        ).fetchall()
    columns = ("name", "fit", "engagement", "combined", "tier", "because", "to_be_hot")
    return [dict(zip(columns, row, strict=True)) for row in rows]


def _bi_login(tenant: DemoTenant) -> Login:
    """The tenant's BI login; the demo plays the user who noted the password down."""
    note = home() / "demo" / f"{tenant.slug}.bi.json"
    tenant_id = registry.tenant(tenant.slug).id
    if note.exists():
        login = Login(**json.loads(note.read_text(encoding="utf-8")))
        if login.name in bi_users.names(tenant_id, actor="system:demo"):
            return login
    login = bi_users.add(tenant_id, actor="system:demo")
    write_private(note, json.dumps({"name": login.name, "password": login.password}))
    return login


def _show(tenant: DemoTenant, accounts: list[dict[str, Any]]) -> None:
    reads = f"{escape(tenant.about)}; read from {', '.join(tenant.sources)}"
    console.print(f"\n[bold]{escape(tenant.name)}[/bold] [dim]{reads}[/dim]", soft_wrap=True)
    for account in accounts:
        colour = TIER_COLOURS[account["tier"]]
        fit = "unknown" if account["fit"] is None else f"{account['fit']:.0f}"
        console.print(
            f"  [bold]{account['combined']:5.1f}[/bold] [{colour}]{account['tier']:4}[/{colour}]"
            f" {escape(account['name'])} [dim]fit {fit}, engagement {account['engagement']:.0f}[/dim]"
        )
        console.print(Padding(escape(account["because"]), (0, 0, 0, 13)), style="dim")


def _show_doors(address: str, seconds: float) -> None:
    first = _tenants()[0]
    marts = database.url(database.conninfo(_bi_login(first)))
    console.print(f"\n[bold]Ready in {seconds:.0f} s.[/bold]")
    for name, value in (
        ("Airflow", address),
        ("", f"login {airflow_env.ADMIN}, password {airflow_env.admin_password()}"),
        ("Marts", marts),
        ("", f"the BI login of {first.name}: that tenant's marts and nothing else"),
        ("Next", "make help, .venv/bin/clarity --help, .venv/bin/clarity demo advance 7, make down"),
    ):
        console.print(f"  {name:9}{escape(value)}", soft_wrap=True)


def _clock_file() -> Path:
    return home() / "demo" / "today"


def _clock() -> date | None:
    try:
        return date.fromisoformat(_clock_file().read_text(encoding="utf-8").strip())
    except FileNotFoundError:
        return None


def _set_clock(today: date) -> None:
    _clock_file().parent.mkdir(parents=True, exist_ok=True)
    _clock_file().write_text(f"{today}\n", encoding="utf-8")


def _today() -> date:
    return datetime.now(UTC).date()


def _wait(condition: Callable[[], bool], patience: float, what: str) -> None:
    deadline = time.monotonic() + patience
    while not condition():
        if time.monotonic() > deadline:
            raise ClarityError(f"Airflow did not {what} within {patience:.0f} s: {_where_to_look()}")
        time.sleep(0.5)


def _where_to_look() -> str:
    return f"look at {airflow_env.web_address()}, or run `clarity status`"
