"""New tenants, with the scoring defaults of the engine."""

from typing import Any

from connectors import catalogue
from connectors.contract import ConnectorError
from control import configs, connectors, tenants
from scoring.configs import ConfigError, default_configs, read_configs
from warehouse import database
from warehouse.errors import MisuseError

# what a purchase of business software usually needs; required roles count towards a group's completeness
DEFAULT_ROLES = [
    {"role": "economic_buyer", "required": True, "weight": 1.0},
    {"role": "champion", "required": True, "weight": 1.0},
    {"role": "technical_evaluator", "required": True, "weight": 0.8},
    {"role": "end_user", "required": False, "weight": 0.5},
    {"role": "legal_procurement", "required": False, "weight": 0.5},
]


def create_tenant(name: str, slug: str, *, actor: str, timezone: str = "UTC", clerk_org_id: str | None = None) -> str:
    """Make a tenant that can be scored as soon as it has data. Returns its id."""
    defaults = tenants.Defaults(
        scoring=default_configs(), role_template={"name": "Default buying group", "roles": DEFAULT_ROLES}
    )
    return tenants.create(name, slug, defaults=defaults, actor=actor, timezone=timezone, clerk_org_id=clerk_org_id)


def add_connector(tenant_id: str, connector_type: str, config: dict[str, Any], *, actor: str) -> str:
    """Give a tenant a connector whose configuration its own code accepts. Returns the connector's id."""
    try:
        catalogue.connect(connector_type, config)
    except ConnectorError as error:
        raise MisuseError(str(error)) from None
    with database.control_session(tenant_id) as connection:
        return connectors.add(
            connection, tenant_id=tenant_id, connector_type=connector_type, config=config, actor=actor
        )


def set_scoring_config(tenant_id: str, kind: str, config: dict[str, Any], *, actor: str) -> int:
    """Check a configuration and put it in force as a new version. Returns the version in force."""
    if kind not in configs.TYPES:
        raise MisuseError(f"there is no configuration {kind!r}; there are {', '.join(configs.TYPES)}")
    try:
        checked = getattr(read_configs({kind: config}), kind).model_dump(mode="json")
    except ConfigError as error:
        raise MisuseError("; ".join(str(error).splitlines())) from None
    with database.control_session(tenant_id) as connection:
        return configs.put(connection, tenant_id=tenant_id, type_=kind, config=checked, actor=actor)
