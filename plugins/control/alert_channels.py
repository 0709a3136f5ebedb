"""Where a tenant's own people want to be told of incidents. Sealed as connectors are: an address can be a secret."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from control import access, audit, sealing
from warehouse import database
from warehouse.errors import MisuseError


class _Channel(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class Slack(_Channel):
    url: str = Field(pattern=r"^https?://\S+$", max_length=2_000)


class Webhook(_Channel):
    url: str = Field(pattern=r"^https?://\S+$", max_length=2_000)
    # what the receiver checks the signature with
    secret: str = Field(min_length=16, max_length=500)


class Email(_Channel):
    # through the platform's own mail server
    to: list[str] = Field(min_length=1, max_length=20)


KINDS: dict[str, type[_Channel]] = {"slack": Slack, "webhook": Webhook, "email": Email}


@dataclass(frozen=True)
class Shown:
    kind: str
    created_at: datetime
    updated_at: datetime


def put(tenant_id: str, kind: str, config: Mapping[str, Any], *, actor: str) -> None:
    """Tell of this tenant's incidents there as well."""
    access.require(tenant_id, actor, "alerts.set")
    _check(kind, config)
    envelope = sealing.seal(config, tenant_id=tenant_id, connector_id=_bound_to(kind))
    with database.control_session(tenant_id) as connection:
        connection.execute(
            "insert into control.alert_channels (tenant_id, kind, sealed) values (%s, %s, %s)"
            " on conflict (tenant_id, kind) do update set sealed = excluded.sealed",
            [tenant_id, kind, envelope],
        )
        audit.record(
            connection, tenant_id=tenant_id, actor=actor, action="alerts.set", resource="alert_channel",
            resource_id=kind, after={"keys": sorted(config)},
        )  # fmt: skip


def remove(tenant_id: str, kind: str, *, actor: str) -> None:
    access.require(tenant_id, actor, "alerts.remove")
    with database.control_session(tenant_id) as connection:
        gone = connection.execute(
            "delete from control.alert_channels where tenant_id = %s and kind = %s", [tenant_id, kind]
        ).rowcount
        if not gone:
            raise MisuseError(f"this tenant has no {kind[:40]} channel: `clarity alerts show` lists those it has")
        audit.record(
            connection, tenant_id=tenant_id, actor=actor, action="alerts.remove", resource="alert_channel",
            resource_id=kind,
        )  # fmt: skip


def show(tenant_id: str, *, actor: str) -> Sequence[Shown]:
    """Which there are; what is in them is nobody's to read."""
    access.require(tenant_id, actor, "alerts.show")
    with database.control_session(tenant_id) as connection:
        rows = connection.execute(
            "select kind, created_at, updated_at from control.alert_channels where tenant_id = %s order by kind",
            [tenant_id],
        ).fetchall()
    return [Shown(*row) for row in rows]


def envelopes(connection: psycopg.Connection, tenant_id: str) -> dict[str, str]:
    """The tenant's channels by kind, sealed."""
    return dict(
        connection.execute(
            "select kind, sealed from control.alert_channels where tenant_id = %s order by kind", [tenant_id]
        ).fetchall()
    )


def unseal(tenant_id: str, kind: str, envelope: str) -> dict[str, Any]:
    return sealing.unseal(envelope, tenant_id=tenant_id, connector_id=_bound_to(kind))


def key_use(connection: psycopg.Connection, tenant_id: str) -> dict[str, int]:
    """How many of the tenant's channels are sealed with which key."""
    return Counter(sealing.key_id(envelope) for envelope in envelopes(connection, tenant_id).values())


def reseal(connection: psycopg.Connection, tenant_id: str, newest: str) -> tuple[int, list[str]]:
    """Seal with the newest key what another one has sealed. Returns how many, and what does not open with why."""
    resealed, failures = 0, []
    for kind, envelope in envelopes(connection, tenant_id).items():
        if sealing.key_id(envelope) == newest:
            continue
        try:
            config = unseal(tenant_id, kind, envelope)
        except sealing.Unopenable as error:
            failures.append(f"alerts by {kind}: {error}")
            continue
        new = sealing.seal(config, tenant_id=tenant_id, connector_id=_bound_to(kind))
        resealed += connection.execute(
            "update control.alert_channels set sealed = %s where tenant_id = %s and kind = %s and sealed = %s",
            [new, tenant_id, kind, envelope],
        ).rowcount
    return resealed, failures


def _check(kind: str, config: Mapping[str, Any]) -> None:
    if kind not in KINDS:
        raise MisuseError(f"there is no channel {kind[:40]!r}; there are {', '.join(KINDS)}")
    try:
        KINDS[kind].model_validate(config)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(map(str, first["loc"])) or "the file"
        raise MisuseError(f"{kind}: {field}: {first['msg']}. It takes {', '.join(KINDS[kind].model_fields)}") from None


def _bound_to(kind: str) -> str:
    return f"alerts:{kind}"
