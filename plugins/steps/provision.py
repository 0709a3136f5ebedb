"""New tenants, with the scoring defaults of the engine."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from connectors import catalogue
from connectors.contract import ConnectorError
from control import access, configs, connectors, consent, tenants
from control.content import refuse_unstorable, shown
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
    """Give a tenant a connector whose configuration its own code accepts. Returns the connector's id.

    A secret that `config` leaves out stays as it was: the vendor may have rotated it since it was given.
    """
    access.require(tenant_id, actor, "connector.add")
    with _refusals_as_misuse(), database.control_session(tenant_id) as connection:
        catalogue.streams(connector_type)
        known = connectors.known_config(connection, tenant_id, connector_type)
        kept = {key: value for key, value in known.items() if catalogue.is_secret(connector_type, key)}
        complete = {**kept, **config}
        catalogue.connect(connector_type, complete)
        connector_id = connectors.add(
            connection, tenant_id=tenant_id, connector_type=connector_type, config=complete, actor=actor
        )
        if connector_type == consent.MAIL:
            consent.note_own_domain(connection, tenant_id, complete["own_domain"])
        return connector_id


def show_connector(tenant_id: str, connector_type: str, *, actor: str) -> dict[str, dict[str, Any]]:
    """A connector and its configuration, secrets as `***`."""
    with _refusals_as_misuse():
        return connectors.show(
            tenant_id, connector_type, is_secret=lambda key: catalogue.is_secret(connector_type, key), actor=actor
        )


def check_secret_names(connector_type: str, keys: Iterable[str]) -> None:
    """Raise unless each names a secret field of this type. What does not is not repeated: it may be the secret."""
    with _refusals_as_misuse():
        if not all(catalogue.is_secret(connector_type, key) for key in keys):
            raise MisuseError(
                f"--secret names a field that is no secret of a {connector_type} connector: it belongs in --config FILE"
            )


@contextmanager
def _refusals_as_misuse() -> Iterator[None]:
    try:
        yield
    except ConnectorError as error:
        raise MisuseError(str(error)) from None


def set_scoring_config(tenant_id: str, kind: str, config: dict[str, Any], *, actor: str) -> int:
    """Check a configuration and put it in force as a new version. Returns the version in force."""
    access.require(tenant_id, actor, "config.set")
    checked = _checked(configs.known(kind), config)
    with database.control_session(tenant_id) as connection:
        return configs.put(connection, tenant_id=tenant_id, type_=kind, config=checked, actor=actor)


def rollback_scoring_config(tenant_id: str, kind: str, version: int, *, actor: str) -> int:
    """Put an old version's content in force as a new version, if the engine still takes it."""
    access.require(tenant_id, actor, "config.rollback")
    with database.control_session(tenant_id) as connection:
        config = _checked(kind, configs.of_version(connection, tenant_id, kind, version))
        return configs.put(
            connection, tenant_id=tenant_id, type_=kind, config=config, actor=actor, action="config.rollback"
        )


def can_be_written_to(connector_type: str) -> bool:
    """Whether connectors of this type take scores back."""
    return connector_type in catalogue.names() and hasattr(
        import_module(f"connectors.{connector_type}.client").Client, "writer"
    )


def _checked(kind: str, config: dict[str, Any]) -> dict[str, Any]:
    refuse_unstorable(config, kind)
    try:
        checked: dict[str, Any] = getattr(read_configs({kind: config}), kind).model_dump(mode="json")
    except ConfigError as error:
        raise MisuseError("; ".join(_with_what_is_allowed(line) for line in str(error).splitlines())) from None
    return checked


def _with_what_is_allowed(problem: str) -> str:
    """The engine names a field that it does not know; here its neighbours are named too."""
    place, _, message = problem.partition(": ")
    if not message.startswith("Extra inputs"):
        return problem
    *parents, name = place.split(".")
    known: Any = default_configs()
    for parent in parents:
        known = known.get(parent) if isinstance(known, dict) else None
    there_are = f"; there are {', '.join(known)}" if isinstance(known, dict) and known else ""
    return f"{place}: there is no field {shown(name)}{there_are}"
