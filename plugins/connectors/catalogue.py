"""Which connectors there are: every folder beside this file that declares streams. A new vendor is a new folder.

Declarations are cheap to read; the client, and whatever vendor library it needs, is imported only when it is asked for.
"""

from collections.abc import Collection, Iterator, Mapping
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, cast

from connectors.contract import Acquaintances, Connector, Consent, Fatal, Renew, Stream
from connectors.webhooks import Scheme


@cache
def names() -> tuple[str, ...]:
    return tuple(sorted(folder.parent.name for folder in Path(__file__).parent.glob("*/streams.py")))


@cache
def streams(name: str) -> tuple[Stream, ...]:
    declared: tuple[Stream, ...] = import_module(f"connectors.{_known(name)}.streams").STREAMS
    return declared


def is_secret(name: str, key: str) -> bool:
    """Whether this field of the connector's configuration is to be kept from people's eyes."""
    declared: Collection[str] | None = getattr(import_module(f"connectors.{_known(name)}.streams"), "SECRETS", None)
    return declared is None or key in declared


def webhooks(name: str) -> Scheme | None:
    """How this vendor signs what it sends us; None of one that sends nothing."""
    declared: Scheme | None = getattr(import_module(f"connectors.{_known(name)}.streams"), "WEBHOOKS", None)
    return declared


def is_behind_consent(name: str) -> bool:
    """Whether the tenant has to allow what this connector reads."""
    return bool(getattr(import_module(f"connectors.{_known(name)}.streams"), "BEHIND_CONSENT", False))


def asks_about_people(name: str) -> bool:
    """Whether this connector's vendor is asked about those whom the tenant knows."""
    return bool(getattr(import_module(f"connectors.{_known(name)}.streams"), "ASKS_ABOUT_PEOPLE", False))


def all_streams() -> Iterator[tuple[str, Stream]]:
    """Every stream of every connector: what raw needs a table for."""
    return ((name, stream) for name in names() for stream in streams(name))


def connect(
    name: str,
    config: Mapping[str, Any],
    renew: Renew | None = None,
    consent: Consent | None = None,
    acquaintances: Acquaintances | None = None,
) -> Connector:
    given: dict[str, Any] = {"consent": consent} if is_behind_consent(name) else {}
    if asks_about_people(name):
        given["acquaintances"] = acquaintances
    return cast(Connector, import_module(f"connectors.{_known(name)}.client").Client(config, renew, **given))


def _known(name: str) -> str:
    if name not in names():
        raise Fatal(f"There is no connector {name[:40]!r}. There are: {', '.join(names())}.")
    return name
