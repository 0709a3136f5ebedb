"""Arguments that several commands share, and how they are read."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from warehouse.errors import MisuseError

Slug = Annotated[str, typer.Argument(metavar="TENANT", help="The tenant's slug.")]


def read_json(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise MisuseError(f"{file} can't be read: {error.strerror}") from None
    except ValueError as error:
        raise MisuseError(f"{file} is not JSON: {error}") from None
    if not isinstance(content, dict):
        raise MisuseError(f'{file} must hold a JSON object, like {{"folder": "/data/acme"}}')
    return content
