"""What decides how a tenant's records are read, beside the dbt project itself: its mappings and settings, for dbt."""

from typing import Any

import psycopg

from control import settings
from control.expressions import compile_sql
from control.mappings import Entry
from scoring.configs import read_configs
from steps import plan

# the column of canonical, where staging has another name for what fills it
STAGED_AS = {"activities": {"type": "source_type"}}
PAYLOAD = "source_data"


def variables(connection: psycopg.Connection, tenant_id: str) -> dict[str, Any]:
    """For dbt's `--vars`. Expressions are compiled from validated trees: nothing in them is a tenant's own SQL."""
    chosen = settings.effective(connection, tenant_id)
    return _variables(chosen, _mappings(connection, tenant_id), _custom_fields(connection, tenant_id))


def of_nobody() -> dict[str, Any]:
    """What holds for a tenant without mappings and rules of its own, as most are."""
    return _variables(settings.Settings(), {}, [])


def _variables(
    chosen: settings.Settings, mappings: dict[str, dict[str, Any]], custom_fields: list[str]
) -> dict[str, Any]:
    return {
        "code": plan.deployed().code,
        "mappings": mappings,
        "rules": {
            "personal_domains": chosen.domains.personal,
            "user_agents": chosen.bots.user_agents,
            "custom_fields": custom_fields,
        },
    }


def _mappings(connection: psycopg.Connection, tenant_id: str) -> dict[str, dict[str, Any]]:
    """By entity and connector, of those that are the tenant's own. The defaults are what staging does."""
    rows = connection.execute(
        "select entity_type, connectors.type, mappings from control.field_mappings"
        " join control.connectors on connectors.tenant_id = field_mappings.tenant_id"
        " and connectors.id = field_mappings.connector_id"
        " where field_mappings.tenant_id = %s and not coalesce(is_default, false) order by 1, 2",
        [tenant_id],
    ).fetchall()
    compiled: dict[str, dict[str, Any]] = {}
    for entity, connector, stored in rows:
        entries = [Entry.model_validate(entry) for entry in stored]
        named = STAGED_AS.get(entity, {})
        columns = [(named.get(entry.target_field, entry.target_field), entry) for entry in entries]
        compiled.setdefault(entity, {})[connector] = {
            "columns": {column: compile_sql(entry.tree, PAYLOAD) for column, entry in columns},
            "required": sorted(column for column, entry in columns if entry.required),
        }
    return compiled


def _custom_fields(connection: psycopg.Connection, tenant_id: str) -> list[str]:
    """Those of the source's own fields that fit is scored on: their history is kept with the other attributes."""
    configs = settings.scoring_configs(connection, tenant_id).configs
    return sorted(criterion.field for criterion in read_configs(configs).fit.custom)
