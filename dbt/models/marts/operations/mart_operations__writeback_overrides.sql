{{ config(
    unique_key=["tenant_id", "connector", "record_id", "field"],
    meta={"vanished_rows": "delete"},
    indexes=[{"columns": ["tenant_id", "connector", "record_id", "field"], "unique": true}],
) }}

select
    overrides.tenant_id,
    connectors.type as connector,
    overrides.stream,
    overrides.record_id,
    overrides.field,
    overrides.entity_type,
    overrides.entity_id,
    entities.name,
    overrides.ours,
    overrides.theirs,
    overrides.changed_by,
    overrides.policy,
    overrides.run_id,
    overrides.noticed_at,
    overrides.released_at
from {{ source("scores", "writeback_overrides") }} as overrides
inner join {{ source("control", "connectors") }} as connectors
    on
        overrides.tenant_id = connectors.tenant_id
        and overrides.connector_id = connectors.id
left join {{ ref("int_entities__named") }} as entities
    on
        overrides.tenant_id = entities.tenant_id
        and overrides.entity_type = entities.entity_type
        and overrides.entity_id = entities.entity_id
