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
        holds_nul = _holds_nul(content)
    except OSError as error:
        raise MisuseError(f"{file} can't be read: {error.strerror}") from None
    except RecursionError:
        raise MisuseError(f"{file} is nested too deeply") from None
    except ValueError as error:
        raise MisuseError(f"{file} is not JSON: {error}") from None
    if holds_nul:
        raise MisuseError(f"{file} holds a NUL character, which no database stores")
    if not isinstance(content, dict):
        raise MisuseError(f'{file} must hold a JSON object, like {{"folder": "/data/acme"}}')
    return content


def _holds_nul(content: Any) -> bool:
    if isinstance(content, str):
        return "\0" in content
    if isinstance(content, dict):
        return any(_holds_nul(part) for pair in content.items() for part in pair)
    return isinstance(content, list) and any(map(_holds_nul, content))
