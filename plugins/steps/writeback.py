"""Scores back into the CRM: off unless the tenant's settings and a writeback configuration both say on."""

from control import settings
from warehouse import database
from warehouse.errors import ClarityError


def run(tenant_id: str) -> dict[str, str]:
    """Say whether anything is to be written. Switched on for a connector that can't write is an error, not a no-op."""
    with database.run_session(tenant_id) as connection:
        if not settings.effective(connection, tenant_id).features.writeback:
            return {"writeback": "off", "because": "features.writeback is off in the tenant's settings"}
        enabled = connection.execute(
            "select c.type, w.entity_type from control.writeback_configs as w"
            " join control.connectors as c on c.tenant_id = w.tenant_id and c.id = w.connector_id"
            " where w.tenant_id = %s and w.enabled order by 1, 2",
            [tenant_id],
        ).fetchall()
    if not enabled:
        return {"writeback": "off", "because": "no writeback configuration is enabled"}
    names = ", ".join(f"{connector} {entity}" for connector, entity in enabled)
    raise ClarityError(f"writeback is on for {names}, but this connector can't be written to: disable it")
