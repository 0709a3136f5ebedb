"""How commands tell of what has versions."""

import json
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from cli.context import Context
from control.versions import Change, Version

VersionNumber = Annotated[int, typer.Argument(metavar="VERSION", help="The version to bring back.", min=1)]


def list_versions(here: Context, versions: Sequence[Version], empty: str) -> None:
    here.table(
        ("version", "made at", "by", "in force"),
        [
            (version.version, version.created_at, version.created_by, "yes" if version is versions[-1] else "")
            for version in versions
        ],
        empty=empty,
    )


def tell_change(here: Context, what: str, change: Change) -> None:
    here.say(
        f"{what} is at version {change.version}." if change.changed else f"{what} was like that already.",
        version=change.version,
        changed=change.changed,
    )


def as_file(content: Any) -> str:
    """Content as the command that sets it reads it."""
    return json.dumps(content, indent=2, ensure_ascii=False)
