"""Commands about the platform itself: its database and its processes."""

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from shlex import quote
from typing import Annotated

import typer

from cli.context import Context, console
from control import access
from warehouse import database
from warehouse.errors import MisuseError
from warehouse.home import home

db_app = typer.Typer(help="The database.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    app.command()(migrate)
    app.command()(up)
    app.command()(down)
    app.command()(status)
    app.command()(docs)
    app.add_typer(db_app, name="db")


def migrate(
    context: typer.Context,
    with_airflow: Annotated[
        bool,
        typer.Option("--with-airflow", help="Airflow's own tables and pools too, where `clarity up` does not run."),
    ] = False,
) -> None:
    """Bring the database to where this code expects it: roles, schema, landing tables, dbt's relations."""
    from steps import deploy

    here = Context.current(context)
    deploy.run(here.report)
    if with_airflow:
        from cli import containers

        containers.prepare_airflow(here.report)
    here.say("The database is up to date.", migrated=True)


def up(context: typer.Context) -> None:
    """Start the platform: PostgreSQL, migrations, Airflow. Returns when all of it is healthy."""
    from cli import airflow_env

    here = Context.current(context)
    with progress(here) as report:
        address = start(report)
    here.say(
        f"Airflow: {address}   login: admin   password: {airflow_env.admin_password()}",
        airflow=address,
        login="admin",
        password_file=str(home() / "secrets.json"),
    )


def start(report: Callable[[str], None]) -> str:
    """Everything that `clarity up` starts. Returns Airflow's address."""
    from cli import airflow_env, broker, supervisor
    from cli.airflow_api import Airflow
    from steps import deploy

    pools = airflow_env.pools(deploy.vendors())
    if airflow_env.by_celery():
        broker.ask()
    report("starting PostgreSQL")
    database.ensure_up()
    deploy.ensure(report)
    if not airflow_env.is_in_container():
        report("starting Airflow")
        supervisor.up(report)
    with closing(Airflow()) as airflow:
        airflow.set_pools(pools)
    return airflow_env.public_address()


def down(context: typer.Context) -> None:
    """Stop Airflow, then the embedded PostgreSQL. Nothing is lost."""
    from cli import airflow_env, supervisor

    here = Context.current(context)
    if airflow_env.is_in_container():
        raise MisuseError("in a container nothing else runs: whoever started the containers stops them")
    with progress(here) as report:
        supervisor.down(report)
    here.say("The platform is stopped.", stopped=True)


def status(context: typer.Context) -> None:
    """What runs and what does not. Exit code 1 unless all of it does."""
    from cli import supervisor

    here = Context.current(context)
    states = supervisor.status()
    here.table(
        ("component", "state", "pid", "detail"),
        [(state.name, state.state, state.pid, state.detail) for state in states],
        empty="nothing is known",
    )
    if any(state.state != "running" for state in states):
        raise typer.Exit(1)


def docs(context: typer.Context) -> None:
    """Build dbt's documentation of every source, model and column, with the lineage: one HTML file."""
    from steps import deploy, project

    here = Context.current(context)
    database.ensure_up()
    deploy.ensure(here.report)
    page = project.document()
    here.say(f"The documentation of the models is in {page}: open it in a browser.", page=str(page))


@db_app.command("url")
def db_url(
    context: typer.Context,
    role: Annotated[str | None, typer.Option(help="owner, registry or admin.")] = None,
    tenant: Annotated[str | None, typer.Option(help="A tenant's run login.")] = None,
) -> None:
    """Print the address to log in with, password included: for psql and dbt, not for logs."""
    here = Context.current(context)
    access.require_system(here.actor, "db url")
    if (role is None) == (tenant is None):
        raise MisuseError("say either --role owner (or registry, admin) or --tenant SLUG")
    if tenant is not None:
        from control import registry

        conninfo = database.conninfo_in_force(database.run_login(registry.tenant(tenant).id))
    else:
        known: dict[str, Callable[[], str]] = {
            "owner": database.owner_conninfo,
            "registry": database.registry_conninfo,
            "admin": database.admin_conninfo,
        }
        if role is None or role not in known:
            raise MisuseError(f"there is no role {role!r}; there are {', '.join(known)}")
        conninfo = known[role]()
    address = database.url(conninfo)
    here.say(address, url=address)


@db_app.command("env")
def db_env(
    context: typer.Context, tenant: Annotated[str, typer.Option(help="The tenant whose rows to work on.")]
) -> None:
    """Print what plain dbt needs, password included, for a shell: eval "$(clarity db env --tenant TENANT)"."""
    from steps import rehearsal

    here = Context.current(context)
    needed = rehearsal.environment(tenant, actor=here.actor)
    here.say("\n".join(f"export {name}={quote(value)}" for name, value in needed.items()), **needed)


@contextmanager
def progress(here: Context) -> Iterator[Callable[[str], None]]:
    """A line that says what is going on now, above it what has been done."""
    if here.as_json or not console.is_terminal:
        yield here.report
        return
    with console.status("starting") as line:

        def report(text: str) -> None:
            here.report(text)
            line.update(text)

        yield report
