"""`clarity db dump` and `clarity db restore`: the whole platform from one PostgreSQL to another."""

from pathlib import Path
from typing import Annotated

import typer

from cli.context import Context
from control import access


def register(db_app: typer.Typer) -> None:
    db_app.command("dump")(dump)
    db_app.command("restore")(restore)


def dump(
    context: typer.Context, folder: Annotated[Path, typer.Argument(help="A new folder, for nobody else to read.")]
) -> None:
    """Write both databases, ours and Airflow's, into a folder. Stop Airflow before: `clarity down`."""
    from warehouse import dump as whole

    here = Context.current(context)
    access.require_system(here.actor, "db dump")
    whole.dump(folder, here.report)
    here.say(
        f"All tenants are in {folder}: personal data, keep it safe. It opens only with the same encryption keys, which"
        " are not in it. Next: clarity db restore, docs/deploying.md says where",
        folder=str(folder),
    )


def restore(
    context: typer.Context, folder: Annotated[Path, typer.Argument(help="What `clarity db dump` wrote.")]
) -> None:
    """Load a dump into a PostgreSQL without a platform, with its tenants' logins, policies and passwords."""
    from steps import deploy
    from warehouse import dump as whole

    here = Context.current(context)
    access.require_system(here.actor, "db restore")
    whole.load(folder, here.report)
    deploy.run(here.report)
    unknown = whole.renew_bi_logins(folder)
    here.say("The platform is restored. Next: clarity up, or start the containers", restored=True, unknown=unknown)
    if unknown and not here.as_json:
        here.say(f"BI logins that need a new password, by bi-user revoke and add: {', '.join(unknown)}")
