"""What is known about a tenant at a glance, and what is left to do until its scores can be trusted."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import psycopg

from control import access
from control.registry import TenantEntry
from warehouse import database

CRITERIA = ("industries", "employees", "revenue", "custom")


@dataclass(frozen=True)
class Item:
    what: str
    need: Literal["required", "recommended"]
    done: bool
    command: str


@dataclass(frozen=True)
class Overview:
    facts: Mapping[str, Any]
    checklist: list[Item]


def overview(tenant: TenantEntry, *, actor: str) -> Overview:
    access.require(tenant.id, actor, "tenant.show")
    with database.control_session(tenant.id) as connection:
        return Overview(_facts(connection, tenant), _checklist(connection, tenant))


def _facts(connection: psycopg.Connection, tenant: TenantEntry) -> dict[str, Any]:
    row = connection.execute(
        """
        select
            clerk_org_id,
            (select string_agg(type, ', ' order by type) from control.connectors where tenant_id = t.id),
            (select count(*) from control.members where tenant_id = t.id),
            (select count(*) from canonical.accounts
            where tenant_id = t.id and deleted_at is null and external_id <> '_none'),
            (select count(*) from canonical.people where tenant_id = t.id and deleted_at is null),
            (select count(*) from canonical.opportunities where tenant_id = t.id and deleted_at is null),
            (select max(last_sync_at) from control.connectors where tenant_id = t.id),
            coalesce(
                (select moved_at from scores.scoring_marks where tenant_id = t.id),
                (select max(scored_at) from scores.engagements where tenant_id = t.id)
            )
        from control.tenants as t where t.id = %s
        """,
        [tenant.id],
    ).fetchone()
    assert row is not None
    organisation, connectors, members, accounts, people, opportunities, synced, scored = row
    return {
        "id": tenant.id,
        "slug": tenant.slug,
        "name": tenant.name,
        "organisation": organisation,
        "timezone": tenant.timezone,
        "state": "paused" if tenant.paused else "running",
        "created": tenant.created_at,
        "connectors": connectors or "none",
        "members": members,
        "accounts": accounts,
        "people": people,
        "opportunities": opportunities,
        "last sync": synced,
        "scores last moved": scored,
    }


def _checklist(connection: psycopg.Connection, tenant: TenantEntry) -> list[Item]:
    configs = _configs(connection, tenant.id)
    slug = tenant.slug

    def there_is(table: str) -> bool:
        found = connection.execute(
            f"select exists (select from {table} where tenant_id = %s)".encode(),  # noqa: S608 - tables named below
            [tenant.id],
        ).fetchone()
        return found == (True,)

    return [
        Item(
            "scoring configuration",
            "required",
            {"fit", "engagement", "combined"} <= set(configs),
            f"clarity config set {slug} fit|engagement|combined FILE",
        ),
        Item(
            "data source",
            "required",
            there_is("control.connectors"),
            f"clarity connector add {slug} TYPE --config FILE",
        ),
        Item(
            "ideal customer profile",
            "required",
            _differs(configs, "fit", _profile),
            f"clarity config set {slug} fit FILE",
        ),
        Item(
            "decay parameters",
            "recommended",
            _differs(configs, "engagement", _decay),
            f"clarity config set {slug} engagement FILE",
        ),
        Item("team", "recommended", there_is("control.members"), f"clarity member add {slug} USER --role ROLE"),
        Item(
            "field mappings",
            "recommended",
            there_is("control.field_mappings"),
            f"clarity mapping set {slug} TYPE ENTITY FILE",
        ),
        Item("role templates", "recommended", there_is("control.role_templates"), f"clarity template set {slug} FILE"),
    ]


def _configs(connection: psycopg.Connection, tenant_id: str) -> dict[str, tuple[Any, Any]]:
    """Of each kind of score, the configuration in force and the one that the tenant began with."""
    rows = connection.execute(
        "select c.type, c.config, first.config from control.scoring_configs as c"
        " left join control.scoring_config_versions as first"
        " on first.tenant_id = c.tenant_id and first.type = c.type and first.version = 1"
        " where c.tenant_id = %s and c.is_active",
        [tenant_id],
    ).fetchall()
    return {type_: (in_force, first) for type_, in_force, first in rows}


def _differs(configs: Mapping[str, tuple[Any, Any]], type_: str, part: Any) -> bool:
    """Whether the tenant has made this part its own: the defaults suit nobody in particular."""
    in_force, first = configs.get(type_, ({}, {}))
    return bool(part(in_force) != part(first or {}))


def _profile(fit: Mapping[str, Any]) -> list[Any]:
    return [fit.get(criterion) for criterion in CRITERIA]


def _decay(engagement: Mapping[str, Any]) -> list[Any]:
    signals = engagement.get("signals") or {}
    own = {name: signal["half_life_days"] for name, signal in signals.items() if signal.get("half_life_days")}
    return [engagement.get("half_life_days"), engagement.get("saturation"), own]
