"""Commands about a tenant's connectors: their configuration, their secrets, and what they are allowed to read."""

import getpass
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from cli.arguments import Slug, read_json
from cli.context import Context
from control import access, connectors, consent, registry, rotation
from warehouse.errors import MisuseError

connector_app = typer.Typer(help="A tenant's connectors.", no_args_is_help=True)

# what a vendor signs its webhooks with, as --secret calls it
SIGNING_SECRET = "signing"  # noqa: S105 - a name, not a secret

Type = Annotated[str, typer.Argument(metavar="TYPE", help="The connector's type, like files.")]


@connector_app.command("add")
def add_connector(
    context: typer.Context,
    tenant: Slug,
    connector: Type,
    config: Annotated[Path, typer.Option(help="A JSON file with the connector's configuration.")],
    secret: Annotated[
        list[str] | None,
        typer.Option(help="KEY=env:VARIABLE, KEY=file:PATH, or KEY alone to be asked. May be repeated."),
    ] = None,
) -> None:
    """Add a connector to a tenant, or change its configuration. A secret that is not given again stays as it was."""
    from steps import provision

    here = Context.current(context)
    sources = dict(map(_source, secret or ()))
    found = registry.tenant(tenant)
    access.require(found.id, here.actor, "connector.add")
    provision.check_secret_names(connector, sources)
    complete = {**read_json(config), **{key: _read_secret(key, source) for key, source in sources.items()}}
    connector_id = provision.add_connector(found.id, connector, complete, actor=here.actor)
    here.say(f"{tenant} has a {connector} connector. Next: clarity run {tenant}", id=connector_id, type=connector)


@connector_app.command("list")
def list_connectors(context: typer.Context, tenant: Slug) -> None:
    """A tenant's connectors and how their last sync went."""
    here = Context.current(context)
    here.table(
        ("type", "status", "last sync", "last error"),
        connectors.overview(registry.tenant(tenant).id, actor=here.actor),
        empty="No connectors yet: clarity connector add",
    )


@connector_app.command("show")
def show_connector(context: typer.Context, tenant: Slug, connector: Type) -> None:
    """A connector and its configuration, secrets as ***."""
    from steps import provision

    here = Context.current(context)
    shown = provision.show_connector(registry.tenant(tenant).id, connector, actor=here.actor)
    lines = [f"{key}: {'' if value is None else value}" for part in shown.values() for key, value in part.items()]
    here.say("\n".join(lines), **shown)


@connector_app.command("test")
def test_connector(context: typer.Context, tenant: Slug, connector: Type) -> None:
    """Ask the other side whether the connector would work, without reading data."""
    from steps import extract

    here = Context.current(context)
    access.require(registry.tenant(tenant).id, here.actor, "connector.test")
    health = extract.check(tenant, connector)
    here.say(health.message, ok=health.ok, message=health.message)
    if not health.ok:
        raise typer.Exit(1)


@connector_app.command("webhook")
def webhook(
    context: typer.Context,
    tenant: Slug,
    connector: Type,
    secret: Annotated[
        list[str] | None,
        typer.Option(help="signing=env:VARIABLE, signing=file:PATH, or signing alone to be asked."),
    ] = None,
) -> None:
    """Say where the vendor may send what happens, as it happens; with --secret, keep what it signs with."""
    from steps import webhooks

    here = Context.current(context)
    sources = dict(map(_source, secret or ()))
    if sources.keys() - {SIGNING_SECRET}:
        raise MisuseError(f"of a webhook there is one secret: --secret {SIGNING_SECRET}=env:VARIABLE, or =file:PATH")
    given = [_read_secret(key, source) for key, source in sources.items()]
    endpoint = webhooks.endpoint(tenant, connector, secret=given[0] if given else None, actor=here.actor)
    then = (
        "What comes there is landed by the next sync."
        if endpoint.is_signed
        else f"Next: clarity connector webhook {tenant} {connector} --secret {SIGNING_SECRET}, as the vendor shows it"
    )
    here.say(
        f"{connector} may send to {endpoint.path} of `clarity webhooks`. {then}",
        path=endpoint.path,
        is_signed=endpoint.is_signed,
    )


@connector_app.command("remove")
def remove_connector(
    context: typer.Context,
    tenant: Slug,
    connector: Type,
    yes: Annotated[bool, typer.Option("--yes", help="Really.")] = False,
    purge: Annotated[bool, typer.Option("--purge", help="Remove what it had read from raw, too.")] = False,
) -> None:
    """Take a connector away, and with it its credentials, mappings, writeback settings, sync logs and receipts.

    What it had read stays in raw, unless --purge is said; accounts, people, activities and scores that were made of it
    stay in any case, until `clarity tenant erase` or `clarity tenant delete`. Added again, it reads from the start and
    nothing is counted twice.
    """
    here = Context.current(context)
    found = registry.tenant(tenant)
    if not yes:
        raise MisuseError(
            f"this removes the credentials, mappings, sync logs and receipts of {connector[:40]};"
            " say --yes if that is meant"
        )
    removed = connectors.remove(found.id, connector, actor=here.actor, purge=purge, report=here.report)
    here.say(f"{tenant} has no {connector} connector any more. {_counted(removed)}", removed=removed)


@connector_app.command("accept-dpa")
def accept_dpa(
    context: typer.Context,
    tenant: Slug,
    user: Annotated[str, typer.Option(help="The person who accepts the data processing agreement.")],
) -> None:
    """Note who accepted the data processing agreement: before that, no mailbox and no transcript is read."""
    here = Context.current(context)
    accepted = consent.accept_dpa(registry.tenant(tenant).id, user, actor=here.actor)
    here.say(
        f"{user} has accepted for {tenant}. Next: clarity connector allow-domains {tenant} DOMAIN ..."
        if accepted
        else f"It was accepted already for {tenant}; nothing has changed.",
        accepted=True,
        changed=accepted,
    )


@connector_app.command("withdraw-dpa")
def withdraw_dpa(context: typer.Context, tenant: Slug) -> None:
    """Withdraw the agreement: mail, calendar and transcripts are read no more, and what was read is removed."""
    here = Context.current(context)
    purged = consent.withdraw_dpa(registry.tenant(tenant).id, actor=here.actor, report=here.report)
    if purged is None:
        here.say(f"Nobody had accepted for {tenant}; nothing has changed.", changed=False)
    else:
        here.say(f"Withdrawn for {tenant}. {_counted(purged)} {SCORES_FOLLOW}", changed=True, purged=purged)


@connector_app.command("allow-domains")
def allow_domains(
    context: typer.Context,
    tenant: Slug,
    domains: Annotated[list[str] | None, typer.Argument(metavar="DOMAIN...", help="All that are allowed.")] = None,
    none: Annotated[bool, typer.Option("--none", help="Allow no domain at all.")] = False,
) -> None:
    """Say with which domains mail and calendar may be read: the whole list, in the place of the one before.

    What was read of a domain that is listed no more is removed. A domain does not stand for those below it.
    """
    here = Context.current(context)
    if bool(domains) == none:
        raise MisuseError("name all domains that are allowed, or say --none, which removes everything read so far")
    allowed, purged = consent.allow_domains(
        registry.tenant(tenant).id, domains or (), actor=here.actor, report=here.report
    )
    follow = f"{_counted(purged)} {SCORES_FOLLOW}" if any(purged.values()) else _counted(purged)
    here.say(f"Allowed: {', '.join(allowed) or 'nothing'}. {follow}", domains=allowed, purged=purged)


@connector_app.command("rotate-keys")
def rotate_keys(context: typer.Context) -> None:
    """Seal all tenants' credentials with the newest of CLARITY_ENCRYPTION_KEYS, while everything runs.

    To replace a key: put the new one in front (CLARITY_ENCRYPTION_KEYS=new:...,old:...), restart with `clarity up`, run
    this, then take the old one out. Where several machines work together, let all of them know the new key first, at
    the end of the list. Killed, it goes on where it stopped.
    """
    here = Context.current(context)
    done = rotation.rotate_keys(actor=here.actor, report=here.report)
    here.say(
        f"{done.resealed} connectors sealed anew, {done.logins} logins have new passwords. {_retirable(done)}",
        key=done.key,
        resealed=done.resealed,
        logins=done.logins,
        key_use=done.key_use,
        erasure_keys=sorted(done.erasure_keys),
    )


SCORES_FOLLOW = "Scores follow with the next run."


def _retirable(done: rotation.Rotation) -> str:
    if late := sorted(set(done.key_use) - {done.key}):
        return f"Keep key {', '.join(late)}: something was sealed with it meanwhile, run this again."
    if bound := sorted(done.erasure_keys - {done.key}):
        return f"Keep key {', '.join(bound)}, last in the list: by it erased people are recognised. Others can leave."
    return f"All use key {done.key}: older ones can leave CLARITY_ENCRYPTION_KEYS."


def _counted(removed: dict[str, int]) -> str:
    counts = [f"{count} from {table}" for table, count in removed.items() if count]
    return f"Removed: {', '.join(counts)}." if counts else "Nothing had to be removed."


def _source(word: str) -> tuple[str, str | None]:
    """A --secret as key and where its value is; None is to be asked for. The word itself is never repeated."""
    key, equals, source = word.partition("=")
    if not key.strip() or (equals and not source.startswith(("env:", "file:"))):
        raise MisuseError(
            "a secret never stands on the command line, where the shell and other users see it:"
            " write --secret KEY=env:VARIABLE or KEY=file:PATH, or KEY alone to be asked"
        )
    return key, source or None


def _read_secret(key: str, source: str | None) -> str:
    kind, _, place = (source or "").partition(":")
    match kind:
        case "env":
            value = os.environ.get(place, "")
            missing = f"the environment has no variable {place[:80]}"
        case "file":
            value, missing = _read_file(Path(place)), f"{place} is empty"
        case _:
            value, missing = _ask(f"{key}: "), "nothing was entered"
    if not value:
        raise MisuseError(f"the secret {key} was not given: {missing}")
    return value


def _read_file(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8").rstrip("\r\n")
    except OSError as error:
        raise MisuseError(f"{file} can't be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise MisuseError(f"{file} is not UTF-8 text") from None


def _ask(prompt: str) -> str:
    """A line that a person types unseen, or that a program pipes in."""
    if sys.stdin.isatty():
        return getpass.getpass(prompt, stream=sys.stderr)
    return sys.stdin.readline().rstrip("\r\n")
