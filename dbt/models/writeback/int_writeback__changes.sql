select
    tenant_id,
    connector_id,
    connector,
    stream,
    record_id,
    entity_type,
    entity_id,
    name,
    version,
    jsonb_object_agg(field, shown) filter (where action = 'write') as shown,
    jsonb_object_agg(field, wanted) filter (where action = 'write') as wanted
from {{ ref("int_writeback__fields") }}
group by tenant_id, connector_id, connector, stream, record_id, entity_type, entity_id, name, version
having bool_or(is_material)
