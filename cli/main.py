"""The `clarity` command: a thin door. Each command asks its room, says what it says, and knows no SQL."""

import sys
from typing import Annotated

import psycopg
import typer

from cli import (
    alerts,
    audit_trail,
    containers,
    explain,
    maintenance,
    platform,
    prove,
    provision,
    quality,
    quarantine,
    webhooks,
    why_red,
    work,
    worker,
    writeback,
)
from cli.alerts import alert_app
from cli.bi_users import bi_app
from cli.configs import config_app
from cli.connectors import connector_app
from cli.context import Context
from cli.demo import app as demo_app
from cli.groups import group_app
from cli.mappings import mapping_app
from cli.members import member_app
from cli.templates import template_app
from cli.tenants import tenant_app
from cli.writeback_configs import writeback_config_app
from warehouse.errors import ClarityError

app = typer.Typer(
    name="clarity",
    help="GTM Clarity: multi-tenant B2B scoring on Airflow, dbt and PostgreSQL.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.callback()
def options(
    context: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="Answer in JSON, for programs.")] = False,
    actor: Annotated[
        str | None, typer.Option(help="Who acts, for the audit trail. Default: system:<your login>.")
    ] = None,
) -> None:
    context.obj = Context.of(as_json=as_json, actor=actor)


platform.register(app)
work.register(app)
quarantine.register(app)
quality.register(app)
alerts.register(app)
prove.register(app)
audit_trail.register(app)
explain.register(app)
writeback.register(app)
webhooks.register(app)
provision.register(app)
maintenance.register(app)
worker.register(app)
why_red.register(app)
containers.register(app)
app.add_typer(tenant_app, name="tenant")
app.add_typer(connector_app, name="connector")
app.add_typer(config_app, name="config")
app.add_typer(mapping_app, name="mapping")
app.add_typer(template_app, name="template")
app.add_typer(group_app, name="group")
app.add_typer(writeback_config_app, name="writeback-config")
app.add_typer(member_app, name="member")
app.add_typer(bi_app, name="bi-user")
app.add_typer(alert_app, name="alerts")
app.add_typer(demo_app, name="demo")


def main() -> None:
    """Run the command; whatever goes wrong in a known way is one line on stderr and an exit code."""
    try:
        app()
    except ClarityError as error:
        print(f"clarity: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except psycopg.Error as error:
        line = " ".join(str(error).split())
        print(f"clarity: PostgreSQL refused or went away: {line}. `clarity status` tells more", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
